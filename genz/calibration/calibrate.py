"""From measurement tables to calibration files, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from genz.calibration.borrowing import Borrowed, borrow
from genz.calibration.cells import FittedCell
from genz.calibration.files import as_cell, fit_tables, write_bands, write_calibrations
from genz.errors import InvalidValueError
from genz.measurements.registry import families


def calibrate_tables(
    tables: Sequence[pd.DataFrame],
    out: Path,
    *,
    command: str = "genz calibrate --from",
    only: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> tuple[list[Path], list[FittedCell], list[Borrowed]]:
    """Fit every cell that tidy tables of operators or collectives identify, and write `<out>/<chip>/<engine>.yaml`.

    With more than one chip the experiments of `genz.calibration.borrowing` are made too, and `<out>/bands.yaml` is written.
    `only` names families; all if it is left out. Returns the files, the fitted cells and the experiments. Raises
    `InvalidValueError` where no row identifies a constant.
    """
    known = {family.name: family for family in families().values()}
    chosen = [family for name, family in known.items() if not only or name in only]
    fitted = fit_tables(tables, chosen, progress=progress)
    if not fitted:
        raise InvalidValueError(
            "no cell of the measurements has rows enough to identify its constants: all keep their priors",
            field="measurements",
            allowed="at least 12 rows of one chip, engine, number format and kernel",
        )
    sources = sorted({str(source) for table in tables if "source" in table for source in table["source"].dropna().unique()})
    written = write_calibrations(fitted, chosen, out, sources=sources, command=command)
    borrowed: list[Borrowed] = []
    if len({cell.chip for cell in fitted}) > 1:
        borrowed = borrow(fitted, {family.name: family for family in chosen}, as_cell)
        written.append(write_bands(borrowed, out, sources=sources, command=command))
    return written, fitted, borrowed
