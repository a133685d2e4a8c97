"""How far off borrowed constants are: every cell's held-out rows, priced as if the cell had never been measured.

Three experiments. "kernel": the same chip's other kernels stand in. "sibling": the chip is left out. "generation": all chips of
its architecture are. Each takes what the selection would take, so that the bands are those of the rule in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.calibration.cells import FittedCell, Score, quantile_band
from genz.measurements.family import Family
from genz.specs import catalog
from genz.specs.calibration import Cell
from genz.specs.calibrations import engine_name
from genz.timing.kernels.selection import Library, Selected, select

Array = npt.NDArray[np.float64]
EXPERIMENTS = ("version", "kernel", "sibling", "generation")
KEYS = ["family", "format", "chip", "experiment"]
# Rows that stand for one cell in a band, so that cells count alike.
ROWS_A_CELL = 100


@dataclass(frozen=True)
class Borrowed:
    """One cell's held-out rows, priced with the constants of another one."""

    experiment: str
    cell: FittedCell
    source: str
    score: Score
    residuals: Array


def borrow(
    fitted: Sequence[FittedCell], families: Mapping[str, Family], as_cell: Callable[[FittedCell], Cell]
) -> list[Borrowed]:
    """All experiments for all cells, where there is a relative to borrow from.

    `as_cell` turns a fitted cell into what a calibration file says of it.
    """
    shelf: dict[str, list[tuple[FittedCell, str, Cell]]] = {}
    for cell in fitted:
        shelf.setdefault(cell.chip, []).append((cell, engine_name(cell.key.engine), as_cell(cell)))
    return [
        _score(experiment, cell, found, families[cell.family])
        for cell in fitted
        if len(cell.unseen)
        for experiment, found in _stand_ins(cell, shelf)
    ]


def _stand_ins(cell: FittedCell, shelf: Mapping[str, list[tuple[FittedCell, str, Cell]]]) -> Iterator[tuple[str, Selected]]:
    """What the selection finds for a cell when it, its chip, or its architecture is left out."""
    chip = catalog.chip(cell.chip)
    others = [(engine, entry) for fitted, engine, entry in shelf[cell.chip] if not _same_kernel(fitted, cell)]
    versions = [(engine, entry) for fitted, engine, entry in shelf[cell.chip] if fitted is not cell]
    strangers = tuple(name for name in shelf if catalog.chip(name).architecture != chip.architecture)
    libraries = {
        "version": Library((cell.chip,), lambda _: versions),
        "kernel": Library((cell.chip,), lambda _: others),
        "sibling": _library(shelf, tuple(name for name in shelf if name != cell.chip)),
        "generation": _library(shelf, strangers),
    }
    for experiment, library in libraries.items():
        found = select(
            chip,
            cell.family,
            engine=engine_name(cell.key.engine),
            version=cell.key.version,
            format=cell.key.format,
            kernel=cell.key.kernel,
            library=library,
        )
        if found is not None and found.relation == experiment:
            yield experiment, found


def _same_kernel(one: FittedCell, other: FittedCell) -> bool:
    return one.key._replace(version="") == other.key._replace(version="") and one.family == other.family


def _library(shelf: Mapping[str, list[tuple[FittedCell, str, Cell]]], chips: tuple[str, ...]) -> Library:
    return Library(chips, lambda name: [(engine, entry) for _, engine, entry in shelf[name]])


def _score(experiment: str, cell: FittedCell, found: Selected, family: Family) -> Borrowed:
    rows = cell.unseen
    measured = rows["measured_s"].to_numpy(float)
    predicted = family.times(rows, catalog.chip(cell.chip), found.constants(family.constants), found.variant)
    return Borrowed(experiment, cell, found.source, Score.of(predicted, measured), np.log(measured / predicted))


def bands_of(borrowed: Sequence[Borrowed]) -> dict[str, dict[str, dict[str, float]]]:
    """{family: {relation: band}} over the residuals of all cells, as many rows of each."""
    pooled: dict[tuple[str, str], list[Array]] = {}
    draw = np.random.default_rng(0)
    for item in borrowed:
        some = draw.choice(item.residuals, min(len(item.residuals), ROWS_A_CELL), replace=False)
        pooled.setdefault((item.cell.family, item.experiment), []).append(some)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (family, experiment), parts in sorted(pooled.items()):
        residuals = np.concatenate(parts)
        low, high = quantile_band(residuals)
        found.setdefault(family, {})[experiment] = {"low": low, "high": high, "rows": len(residuals)}
    return found


def table_of(borrowed: Sequence[Borrowed]) -> pd.DataFrame:
    """One row a family, number format, chip and experiment: means over cells of their mean and median errors and their bias."""
    rows = [
        {
            "family": item.cell.family,
            "format": item.cell.key.format,
            "chip": item.cell.chip,
            "experiment": item.experiment,
            "rows": item.score.rows,
            "mean": item.score.mean,
            "median": item.score.median,
            "bias": item.score.bias,
        }
        for item in borrowed
    ]
    if not rows:
        return pd.DataFrame(columns=[*KEYS, "cells", "rows", "mean", "median", "bias"])
    grouped = pd.DataFrame(rows).groupby(KEYS)
    means = grouped[["mean", "median", "bias"]].mean().round(4)
    return means.assign(cells=grouped.size(), rows=grouped["rows"].sum()).reset_index()
