"""Predicted against measured: any file of measurements, each row answered or the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genz.errors import InvalidValueError, nearest, unknown_name
from genz.measurements.plausibility import (
    SUSPECT,
    SUSPECT_TRANSFER,
    judge_operators,
    ratio_warning,
    suspect_transfers,
)
from genz.measurements.table import Table, read_table
from genz.validation.answers import Answers, answer_operators
from genz.validation.roofline import roofline_collectives, roofline_operators
from genz.validation.score import FIGURES, score
from genz.validation.whole_requests import answer_requests

FIDELITIES = ("calibrated", "engine", "roofline")
GROUPS = ("source", "hardware", "op", "metric", "framework")
# What columns are called elsewhere.
SYNONYMS = {
    "engine": "framework",
    "version": "framework_version",
    "collective": "op",
    "chip": "hardware",
    "device": "hardware",
    "devices": "n_devices",
}
# Names that one kind of measurements has its own column for.
_OWN_NAMES: dict[str, dict[str, str]] = {
    "ops": {},
    "collectives": {"op": "collective", "kernel": "backend"},
    "e2e": {"dtype": "weight_dtype", "batch": "batch_or_concurrency"},
}


@dataclass(frozen=True)
class Report:
    """All rows with their predictions, and what they come to.

    `rows` has the columns of the files, `kind`, and `measured`, `predicted`, `low`, `high` (the 90 % interval) and
    `refusal`: why a row was not answered, empty text where it was. `relation` tells whose constants a kernel was priced with
    ("own", "sibling" ...), empty where it was not. `set_aside` counts rows that are no part of it.
    """

    rows: pd.DataFrame
    by: tuple[str, ...]
    fidelity: str
    warnings: tuple[str, ...]
    set_aside: dict[str, int]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Figures by group, as `genz.validation.score.score` gives them."""
        return score(self.rows, self.by)

    @cached_property
    def refusals(self) -> pd.DataFrame:
        """Why rows were not answered, or set aside before, and how many; the most frequent first."""
        counts = self.rows["refusal"].value_counts()
        found = [(str(reason), int(count)) for reason, count in counts.items() if reason]
        found += list(self.set_aside.items())
        found.sort(key=lambda entry: -entry[1])
        return pd.DataFrame(found, columns=["reason", "count"])

    def to_list(self) -> list[dict[str, Any]]:
        """Scores as JSON-ready data, one object a group; nothing is null where there is no figure."""
        return [_object(row) for row in self.scores.to_dict(orient="records")]

    def __str__(self) -> str:
        from genz.validation.report import page

        return page(self)


def _object(row: dict[Any, Any]) -> dict[str, Any]:
    """A group with its op or its metric, its other keys, and its figures."""
    plain = {str(key): None if pd.isna(value) else value for key, value in row.items()}
    subject = "metric" if plain.get("metric") is not None and plain.get("op") is None else "op"
    keys = dict.fromkeys(("source", "hardware", subject, "framework"))
    keys |= {
        key: value for key, value in plain.items() if key not in FIGURES and (key not in ("op", "metric") or key == subject)
    }
    return {**keys, **{figure: plain[figure] for figure in FIGURES}}


def validate(
    measurements: str | Path | Iterable[str | Path],
    *,
    kind: str | None = None,
    by: Sequence[str] | None = None,
    fidelity: str = "calibrated",
) -> Report:
    """Answer every row that can be answered, and report errors by group.

    Args:
        measurements: Parquet, CSV or JSON-lines files in the tidy schema.
        kind: "ops", "collectives" or "e2e"; told by the columns if left out.
        by: columns to group by, such as "hardware", "op", "engine", "dtype"; if left out by source, hardware, operator or
            metric, and framework.
        fidelity: "calibrated", "engine" or "roofline".

    Raises:
        SpecError: a file cannot be read, or lacks a column. UnknownNameError, InvalidValueError: no such kind, fidelity or
        column.
    """
    paths = [measurements] if isinstance(measurements, str | Path) else list(measurements)
    if not paths:
        raise InvalidValueError("measurements are missing", field="measurements", allowed="one file or more")
    if fidelity not in FIDELITIES:
        raise unknown_name("fidelity", str(fidelity), FIDELITIES)
    tables = [read_table(path, kind) for path in paths]
    parts = [_answered(table, fidelity) for table in tables]
    rows = pd.concat([part for part, _ in parts], ignore_index=True)
    set_aside: dict[str, int] = {}
    for table in tables:
        for reason, count in table.set_aside.items():
            set_aside[reason] = set_aside.get(reason, 0) + count
    warnings = tuple(dict.fromkeys(warning for _, found in parts for warning in found))
    return Report(rows, _groups(by, rows), fidelity, warnings, set_aside)


def _groups(by: Sequence[str] | None, rows: pd.DataFrame) -> tuple[str, ...]:
    """The columns to group by, each of which must be there."""
    if by is None:
        return GROUPS
    found = []
    for name in by:
        column = SYNONYMS.get(name.lower(), name)
        if column not in rows.columns:
            choices = [str(c) for c in rows.columns if c not in ("predicted", "measured", "low", "high", "refusal")]
            close = nearest(name, [*choices, *SYNONYMS])
            hint = f"did you mean {close[0]!r}?" if close else None
            raise InvalidValueError(f"by: no column {name!r}", field="by", value=name, allowed=", ".join(choices), hint=hint)
        found.append(column)
    return tuple(dict.fromkeys(found))


def _answered(table: Table, fidelity: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a table with their predictions, and what looks wrong with them."""
    usable = (table.rows["refusal"] == "").to_numpy()
    some = table.rows[usable]
    answers, warnings = _ANSWERS[table.kind](some, fidelity)
    rows = table.rows.assign(kind=table.kind, measured=table.rows[table.schema.measured])
    for name in ("predicted", "low", "high"):
        column = np.full(len(rows), np.nan)
        column[usable] = getattr(answers, name)
        rows[name] = column
    for name in ("refusal", "relation"):
        words = rows[name].to_numpy(dtype=object).copy() if name in rows else np.full(len(rows), "", dtype=object)
        words[usable] = getattr(answers, name)
        rows[name] = words
    for name, own in _OWN_NAMES[table.kind].items():
        rows[name] = rows[own]
    for name in GROUPS:
        if name not in rows:
            rows[name] = pd.Series(np.nan, rows.index, dtype=object)
    if table.kind != "ops":
        warnings += _ratio_warnings(rows)
    return rows, [f"{table.path}: {warning}" for warning in warnings]


def _answer_ops(rows: pd.DataFrame, fidelity: str) -> tuple[Answers, list[str]]:
    impossible, warnings = judge_operators(rows)
    answers = answer_operators(rows, "op") if fidelity == "calibrated" else roofline_operators(rows, fidelity)
    _withdraw(answers, impossible, SUSPECT)
    return answers, warnings


def _answer_collectives(rows: pd.DataFrame, fidelity: str) -> tuple[Answers, list[str]]:
    impossible = suspect_transfers(rows)
    calibrated = fidelity == "calibrated"
    answers = answer_operators(rows, "collective") if calibrated else roofline_collectives(rows, fidelity)
    _withdraw(answers, impossible, SUSPECT_TRANSFER)
    few = impossible.sum() <= 0.05 * max(len(rows), 1)
    doubt = "{:.0%} of the rows are faster than their links: does message_bytes count what it says, measured_s seconds?"
    return answers, [] if few else [doubt.format(impossible.mean())]


def _withdraw(answers: Answers, positions: Any, reason: str) -> None:
    answers.refuse(positions, reason)
    for figure in (answers.predicted, answers.low, answers.high):
        figure[positions] = np.nan


def _answer_requests(rows: pd.DataFrame, fidelity: str) -> tuple[Answers, list[str]]:
    return answer_requests(rows, fidelity), []


_ANSWERS: dict[str, Callable[[pd.DataFrame, str], tuple[Answers, list[str]]]] = {
    "ops": _answer_ops,
    "collectives": _answer_collectives,
    "e2e": _answer_requests,
}


def _ratio_warnings(rows: pd.DataFrame) -> list[str]:
    """Cells whose measured values are so far off that they must be in another unit."""
    answered = rows[rows["refusal"] == ""]
    subject = answered["op"].where(answered["op"].notna(), answered["metric"])
    found = []
    for (source, name), cell in answered.groupby([answered["source"], subject], sort=True):
        said = ratio_warning((cell["measured"] / cell["predicted"]).to_numpy(float))
        if said:
            found.append(f"{source}, {name}: {said}")
    return found
