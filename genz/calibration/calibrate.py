"""From measurement tables to calibration files, in one call: kernels, then what engines add, then bands and power."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from genz.calibration.borrowing import Borrowed, borrow, table_of
from genz.calibration.cells import FittedCell
from genz.calibration.engines import ENGINE, components, request_factors
from genz.calibration.files import as_cell, fit_family, fit_record, write_bands, write_calibrations
from genz.calibration.power import fit_power, power_rows, write_power
from genz.errors import InvalidValueError
from genz.measurements.family import Family
from genz.measurements.registry import every_family
from genz.specs import catalog

Progress = Callable[[str], None]
BORROWED = "borrowed.csv"
CALIBRATIONS = Path("hardware_specs", "calibration")


@dataclass
class Calibrated:
    """What a fit has made: its files, the fitted cells, and the experiments with borrowed constants."""

    files: list[Path] = field(default_factory=list)
    cells: list[FittedCell] = field(default_factory=list)
    borrowed: list[Borrowed] = field(default_factory=list)


def calibrate_tables(
    tables: Sequence[pd.DataFrame],
    folder: Path,
    *,
    command: str = "genz calibrate --from",
    progress: Progress = lambda _: None,
) -> Calibrated:
    """Fit all that tidy tables of operators, collectives and requests identify; write it to `<folder>/hardware_specs`.

    Kernels and collectives first (`<chip>/<engine>.yaml`), with the experiments of `genz.calibration.borrowing` where there is
    more than one chip (`bands.yaml`, `borrowed.csv`); then, with those kernels, what engines add, from whole requests; then
    power, from both.
    Raises `InvalidValueError` where no row identifies a constant.
    """
    fitting = _Fitting(tables, folder / CALIBRATIONS, command, progress)
    fitting.kernels()
    if not fitting.made.cells and not fitting.requests:
        raise InvalidValueError(
            "no cell of the measurements has rows enough to identify its constants: all keep their priors",
            field="measurements",
            allowed="at least 12 rows of one chip, engine, number format and kernel",
        )
    catalog.prefer(folder)
    if fitting.requests:
        fitting.engines()
    fitting.power()
    catalog.forget()
    return fitting.made


class _Fitting:
    """One run of the fit: its tables, where it writes, and what it has made so far."""

    def __init__(self, tables: Sequence[pd.DataFrame], out: Path, command: str, progress: Progress) -> None:
        self.tables, self.out, self.progress = tables, out, progress
        self.requests = [table for table in tables if "metric" in table]
        self.sources = sorted(
            {str(name) for table in tables if "source" in table for name in table["source"].dropna().unique()}
        )
        self.command = command
        self.families: list[Family] = every_family()
        self.made = Calibrated()

    def kernels(self) -> None:
        """Constants of kernels and collectives."""
        for family in self.families:
            self.made.cells += fit_family(family, self.tables, progress=self.progress)
        self.families.append(ENGINE)
        self._write({})

    def engines(self) -> None:
        """Engine constants from whole requests, then the factors of their intervals with those constants in place."""
        requests = pd.concat(self.requests, ignore_index=True)
        self.progress(f"pricing {len(requests):,} rows of whole requests by their kernels")
        self.made.cells += fit_family(ENGINE, [components(requests)], progress=self.progress)
        self._write({})
        catalog.forget()
        self.progress("whole requests again, for the intervals")
        self._write(request_factors(components(requests, fitted=True)))

    def power(self) -> None:
        """Constants of power from kernels whose power was measured, and from runs."""
        operators = [t for t in self.tables if "op" in t and "power_w" in t and t["power_w"].notna().any()]
        if not operators and not self.requests:
            return
        self.progress("power of kernels and runs")
        catalog.forget()
        found = fit_power(power_rows(*(_joined(tables) for tables in (operators, self.requests)), fidelity="calibrated"))
        self.made.files += write_power(found, self.out, record=fit_record(self.sources, self.command))

    def _write(self, factors: dict[str, dict[str, dict[str, float]]]) -> None:
        made, sources, command = self.made, self.sources, self.command
        files = write_calibrations(made.cells, self.families, self.out, sources=sources, command=command)
        if len({cell.chip for cell in made.cells}) > 1:
            made.borrowed = borrow(made.cells, {family.name: family for family in self.families}, as_cell)
            files.append(write_bands(made.borrowed, factors, self.out, sources=sources, command=command))
            files.append(self.out / BORROWED)
            table_of(made.borrowed).to_csv(files[-1], index=False)
        made.files = files


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
