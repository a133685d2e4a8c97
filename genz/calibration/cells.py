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
# The share of rows that a band covers.
COVERED = 0.9
# Fewer held-out rows than this say too little of quantiles; fitted rows are taken along, whose errors are a little smaller.
MIN_HELD_OUT = 20
FITTED_WIDENING = 1.3


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
    """Constants of one cell, the score on rows held out, and log(measured / predicted) of those rows.

    `band` are the 5 % and 95 % quantiles of these, `span` the shortest and longest time fitted [s], `unseen`
    the rows held out.
    """

    chip: str
    family: str
    key: CellKey
    variant: str
    fitted: Fitted
    rows: int
    held_out: Score
    residuals: Array
    band: tuple[float, float]
    span: tuple[float, float]
    unseen: pd.DataFrame


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
    prior = start if start is not None else _prior(family, key)
    variant = _choose_variant(family, train, chip, prior)
    fitted = _fit(family, train, chip, prior, variant)
    unseen = _measured_and_predicted(family, test, chip, fitted.constants, variant)
    seen = _measured_and_predicted(family, train, chip, fitted.constants, variant)
    residuals = np.log(unseen[0] / unseen[1])
    return FittedCell(
        chip=chip.name,
        family=family.name,
        key=key,
        variant=variant,
        fitted=fitted,
        rows=len(train),
        held_out=Score.of(unseen[1], unseen[0]),
        residuals=residuals,
        band=_band(residuals, np.log(seen[0] / seen[1])),
        span=(float(seen[0].min()), float(seen[0].max())),
        unseen=test,
    )


def _prior(family: Family, key: CellKey) -> Any:
    """Where the fit of a cell starts: families whose kernels work in different ways say so themselves."""
    prior = getattr(family, "prior", None)
    return family.constants() if prior is None else prior(key)


def _measured_and_predicted(
    family: Family, rows: pd.DataFrame, chip: Chip, constants: Any, variant: str
) -> tuple[Array, Array]:
    measured = rows["measured_s"].to_numpy(float)
    return measured, family.times(rows, chip, constants, variant) if len(rows) else np.empty(0)


def _band(unseen: Array, seen: Array) -> tuple[float, float]:
    """The band that covers nine in ten rows of the kind held out; of the fitted ones, widened, where too few were."""
    if len(unseen) >= MIN_HELD_OUT:
        return quantile_band(unseen)
    low, high = quantile_band(np.concatenate([unseen, seen]))
    return low * FITTED_WIDENING, high * FITTED_WIDENING


def quantile_band(residuals: Array) -> tuple[float, float]:
    """5 % and 95 % quantiles of residuals, each taken one rank further out: the finite-sample rule of split conformal bands.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Romano et al., arXiv:1905.03222.
    """
    ordered = np.sort(residuals)
    tail = max(int(np.floor((len(ordered) + 1) * (1 - COVERED) / 2)), 1)
    return float(min(ordered[tail - 1], 0.0)), float(max(ordered[-tail], 0.0))


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
