"""Write the accuracy page from measurements.

    python benchmarks/accuracy.py FOLDER [--out docs/accuracy.md]

FOLDER holds measurements in the tidy schemas: `ops.parquet`, `collectives.parquet` and `e2e.parquet`. The page has every
group of rows, the bad ones too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import three_constants

import genz
from genz.calibration.calibrate import BORROWED, CALIBRATIONS
from genz.calibration.engines import ENGINE
from genz.measurements.holdout import HELD_OUT_PER_CENT, is_held_out
from genz.measurements.positions import alike
from genz.measurements.registry import family_of
from genz.validation.score import score

INTRODUCTION = """# Where predictions stand

Written by `python benchmarks/accuracy.py FOLDER` from public measurements; every group of rows stays, the bad ones too.
Errors are |predicted / measured - 1| in per cent: their mean, their median and what nine tenths are below; the bias keeps
its sign. *Covered* is the share of measured values within the predicted 90 % interval. A dash: nothing was answered.

`roofline` is the data sheet: the larger of FLOPs over the matrix rate and bytes over the bandwidth of the fastest memory
that could hold them. *Three constants* are a launch and the reached shares of compute and bandwidth, fitted for each chip,
operator, engine, format and kernel, on the same rows as the calibration.
"""
FIGURES = {"mape": "mean", "median_ape": "median", "p90_ape": "90 % below", "bias": "bias", "coverage": "covered"}
BINS = (0.0, 1e-5, 3e-5, 1e-4, 1e-3, np.inf)
LENGTHS = ("below 10 us", "10 to 30 us", "30 to 100 us", "0.1 to 1 ms", "above 1 ms")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/accuracy.md"))
    arguments = parser.parse_args()
    folder = arguments.folder
    parts = [
        INTRODUCTION,
        _kernels("Operators", folder / "ops.parquet", three_constants.operator_times),
        _kernels("Collectives", folder / "collectives.parquet", three_constants.collective_times),
        _borrowed(),
        _requests(folder / "e2e.parquet"),
    ]
    arguments.out.write_text("\n".join(parts), encoding="utf-8")


def _kernels(title: str, path: Path, three: Any) -> str:
    """Rows held out of the fit, by chip and operator, at each fidelity."""
    report = genz.validate(path)
    rows = report.rows
    held_out = _held_out(rows)
    rows = rows.assign(
        roofline=genz.validate(path, fidelity="roofline").rows["predicted"],
        three=three(rows, held_out),
        length=pd.cut(rows["measured"], list(BINS), labels=list(LENGTHS)),
    )
    unseen = rows[held_out]
    return f"""## {title}

{len(unseen):,} of {len(rows):,} rows, of shapes that no fit has seen: those whose text's MD5, modulo 100, is below
{HELD_OUT_PER_CENT}.

{_table(unseen, ["op", "hardware"])}

By source and engine:

{_table(unseen, ["source", "op", "framework"])}

By the measured time:

{_table(unseen, ["op", "length"])}

{_refusals(report)}
"""


def _held_out(rows: pd.DataFrame) -> np.ndarray:
    """Whether each row's shape is kept from the fits; rows that no family knows are shown all."""
    found = np.ones(len(rows), dtype=bool)
    for (op, _), positions in alike(rows, ["op", "hardware"]):
        family = family_of(str(op))
        some = rows.iloc[positions]
        answerable = np.flatnonzero((some["refusal"] == "").to_numpy())
        if family is not None and len(answerable):
            found[positions[answerable]] = is_held_out(family.shape_names(some.iloc[answerable]))
    return found


def _table(rows: pd.DataFrame, by: list[str]) -> str:
    """Figures of the calibrated predictions, beside the mean errors of the roofline and of three constants."""
    table = score(rows, by)
    for name, title in (("three", "three constants"), ("roofline", "roofline")):
        other = score(rows.assign(predicted=rows[name].where(rows["predicted"].notna())), by)
        table[title] = other["mape"]
    return _markdown(table, by, ("three constants", "roofline"))


def _borrowed() -> str:
    """What predictions are worth where a chip was left out of the fit, as the fit itself found it."""
    path = Path(__file__).parents[1] / CALIBRATIONS / BORROWED
    table = pd.read_csv(path, keep_default_na=False)
    lines = [
        "| family | format | chip | left out | cells | rows | mean | median | bias |",
        "|---|---|---|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.family} | {row.format} | {row.chip} | {row.experiment} | {row.cells} | {row.rows} | {100 * row.mean:.1f} | "
        f"{100 * row.median:.1f} | {100 * row.bias:+.1f} |"
        for row in table.itertuples()
    ]
    return f"""## Borrowed constants

Rows held out, priced with the constants that the selection finds when something is left out: *version*, this cell alone;
*kernel*, all versions of this kernel on the chip; *sibling*, the chip; *generation*, all chips of its architecture.
Means over cells, in per cent.

{chr(10).join(lines)}
"""


def _requests(path: Path) -> str:
    """Whole requests by source, metric, chip and engine, at each fidelity."""
    by = ["source", "metric", "hardware", "framework"]
    report = genz.validate(path)
    rows = report.rows
    for fidelity in ("engine", "roofline"):
        rows[fidelity] = genz.validate(path, fidelity=fidelity).rows["predicted"]
    static = rows[rows["load_kind"] == "static_batch"]
    table, summary = (_requests_table(static, keys) for keys in (by, ["source", "metric"]))
    unseen = _requests_table(static[is_held_out(ENGINE.shape_names(static))], ["source", "metric"])
    return f"""## Whole requests

Static batches. `engine` is the data sheet with the flat efficiencies and overheads that the engines' files state. By source
and metric:

{summary}

Of these, deployments whose model and workload no fit of an engine has seen:

{unseen}

All, by chip and engine too:

{table}

{_refusals(report)}
"""


def _requests_table(rows: pd.DataFrame, by: list[str]) -> str:
    table = score(rows, by)
    for fidelity in ("engine", "roofline"):
        table[fidelity] = score(rows.assign(predicted=rows[fidelity]), by)["mape"]
    return _markdown(table, by, ("engine", "roofline"))


def _refusals(report: Any) -> str:
    lines = [f"- {count:,} rows: {reason}" for reason, count in report.refusals.itertuples(index=False, name=None)]
    return f"{sum(report.refusals['count']):,} rows not answered:\n\n" + "\n".join(lines)


def _markdown(table: pd.DataFrame, by: list[str], others: tuple[str, ...]) -> str:
    """A table in Markdown, fractions in per cent."""
    header = [*by, "rows", "answered", *FIGURES.values(), *others]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(by) + "---:|" * (len(header) - len(by))]
    for row in table.to_dict(orient="records"):
        words = [_word(row[key]) for key in by]
        counts = [f"{int(row['rows']):,}", f"{int(row['answered']):,}"]
        figures = [_per_cent(row[name], signed=name == "bias") for name in (*FIGURES, *others)]
        lines.append("| " + " | ".join([*words, *counts, *figures]) + " |")
    return "\n".join(lines)


def _word(value: Any) -> str:
    return "-" if pd.isna(value) else str(value)


def _per_cent(value: float, *, signed: bool) -> str:
    if np.isnan(value):
        return "-"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
