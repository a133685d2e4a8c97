"""Predicted times of measured operators and collectives, cell by cell: rows of one chip and one kernel at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.errors import GenZError
from genz.measurements.family import CellKey, Family
from genz.measurements.positions import Positions, alike
from genz.measurements.registry import family_of, on_chip, unknown_operator
from genz.specs import catalog
from genz.specs.hardware import Chip
from genz.timing.kernels.selection import select

Array = npt.NDArray[np.float64]
NO_CONSTANTS = "no kernel like it has been measured on any chip"


@dataclass
class Answers:
    """For each row: predicted seconds and the ends of its 90 % interval, or why there are none."""

    predicted: Array
    low: Array
    high: Array
    refusal: npt.NDArray[np.object_]
    relation: npt.NDArray[np.object_] = field(repr=False)

    @classmethod
    def none(cls, rows: int) -> Answers:
        """So many rows, all still open."""
        predicted, low, high = (np.full(rows, np.nan) for _ in range(3))
        return cls(predicted, low, high, np.full(rows, "", dtype=object), np.full(rows, "", dtype=object))

    def refuse(self, positions: Any, reason: str) -> None:
        """Leave rows unanswered for a reason."""
        self.refusal[positions] = reason


def answer_operators(rows: pd.DataFrame, column: str) -> Answers:
    """Calibrated times of rows of the `ops` or `collectives` schema; `column` names what was run."""
    answers = Answers.none(len(rows))
    for (hardware, op), positions in alike(rows, ["hardware", column]):
        family = family_of(str(op))
        if family is None:
            answers.refuse(positions, unknown_operator(str(op)))
            continue
        try:
            chip = catalog.chip(str(hardware))
        except GenZError as error:
            answers.refuse(positions, reason_of(error))
            continue
        _answer(rows.iloc[positions], positions, on_chip(family, chip), chip, answers)
    return answers


def reason_of(error: GenZError) -> str:
    """An error as a reason that rows share: what is wrong and the nearest valid thing."""
    hint = (error.hint or "").partition("? ")[0]
    return f"{error.message}; {hint.rstrip('?')}?" if hint.startswith("did you mean") else error.message


def _answer(rows: pd.DataFrame, positions: Positions, family: Family, chip: Chip, answers: Answers) -> None:
    """Rows of one chip and one operator."""
    refusals = family.refusals(rows).to_numpy(dtype=object)
    answers.refusal[positions] = refusals
    answered = np.flatnonzero(refusals == "")
    if not len(answered):
        return
    some = rows.iloc[answered]
    keys = family.keys(some)
    for names, members in alike(keys, CellKey._fields):
        key = CellKey(*(str(name) for name in names))
        where = positions[answered[members]]
        chosen = select(chip, family.name, engine=key.engine, version=key.version, format=key.format, kernel=key.kernel)
        if chosen is None:
            answers.refuse(where, NO_CONSTANTS)
            continue
        try:
            constants: Any = chosen.constants(family.constants)
            predicted: Any = family.times(some.iloc[members], chip, constants, chosen.variant)
        except GenZError as error:
            answers.refuse(where, reason_of(error))
            continue
        low, high = (np.exp(end) for end in chosen.band_at(predicted))
        answers.predicted[where] = predicted
        answers.low[where], answers.high[where] = predicted * low, predicted * high
        answers.relation[where] = chosen.relation
