"""Fit one family of kernels cell by cell: choose the variant on the fitted rows, score on the ones held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.calibration.fitting import Fitted, fit
from genz.measurements.family import CellKey, Family
from genz.measurements.holdout import is_held_out
from genz.specs.hardware import Chip

Array = npt.NDArray[np.float64]
# Fewer fitted rows than this do not make a cell of their own: it inherits.
MIN_ROWS = 12
# A choice among variants sees at most this many rows, which rank them as well as all do.
CHOICE_ROWS = 300


@dataclass(frozen=True)
class Score:
    """How predictions compare with measurements: errors are |predicted / measured - 1|, the bias keeps its sign."""

    rows: int
    mean: float
    median: float
    p90: float
    bias: float

    @classmethod
    def of(cls, predicted: Array, measured: Array) -> Score:
        """Score of rows; all are not a number where there is none."""
        if len(measured) == 0:
            return cls(0, *4 * (float("nan"),))
        relative = predicted / measured - 1
        size = np.abs(relative)
        values = (size.mean(), np.median(size), np.quantile(size, 0.9), relative.mean())
        return cls(len(measured), *(float(v) for v in values))


@dataclass(frozen=True)
class FittedCell:
    """Constants of one cell, the score on rows held out, and log(measured / predicted) of those rows."""

    chip: str
    family: str
    key: CellKey
    variant: str
    fitted: Fitted
    rows: int
    held_out: Score
    residuals: Array


def cells_of(family: Family, rows: pd.DataFrame) -> Iterator[tuple[CellKey, pd.DataFrame]]:
    """The cells that answerable rows of one chip and family fall into."""
    answerable = rows[(family.refusals(rows) == "").to_numpy()]
    if answerable.empty:
        return
    keys = family.keys(answerable)
    for names, group in answerable.groupby([keys[c] for c in CellKey._fields], sort=True):
        yield CellKey(*map(str, names)), group


def fit_cell(family: Family, key: CellKey, rows: pd.DataFrame, chip: Chip, start: Any | None = None) -> FittedCell | None:
    """Constants of one cell, none if too few of its rows may be fitted. `start` gives the priors."""
    held = is_held_out(family.shape_names(rows))
    train, test = rows[~held], rows[held]
    if len(train) < MIN_ROWS:
        return None
    prior = start if start is not None else family.constants()
    variant = _choose_variant(family, train, chip, prior)
    fitted = _fit(family, train, chip, prior, variant)
    measured = test["measured_s"].to_numpy(float)
    predicted = family.times(test, chip, fitted.constants, variant) if len(test) else np.empty(0)
    score = Score.of(predicted, measured)
    return FittedCell(chip.name, family.name, key, variant, fitted, len(train), score, np.log(measured / predicted))


def _choose_variant(family: Family, rows: pd.DataFrame, chip: Chip, prior: Any) -> str:
    if len(family.variants) == 1:
        return family.variants[0]
    some = rows.sample(min(len(rows), CHOICE_ROWS), random_state=0)
    losses = {v: _fit(family, some, chip, prior, v, evaluations=20).loss for v in family.variants}
    return min(losses, key=losses.__getitem__)


def _fit(family: Family, rows: pd.DataFrame, chip: Chip, prior: Any, variant: str, *, evaluations: int = 60) -> Fitted:
    measured = rows["measured_s"].to_numpy(float)

    def predict(constants: Any) -> Array:
        return family.times(rows, chip, constants, variant)

    return fit(predict, measured, prior, family.free(rows, variant), evaluations=evaluations)
