"""Pareto fronts: rows that no other row beats in every objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genz.errors import InvalidValueError, unknown_name

if TYPE_CHECKING:
    import pandas as pd


def pareto_front(
    frame: pd.DataFrame, *, maximise: str | Sequence[str] = (), minimise: str | Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of a table that no other row dominates, sorted by the first objective, the best first.

    A row dominates another if it is no worse in every column of `maximise` (more is better) and `minimise` (less is better),
    and better in one. Equal rows are all kept; rows in which an objective is missing, or not finite, are left out.

    Raises `UnknownNameError` for a column that is not there, `InvalidValueError` where no objective is given, one is given
    twice, or a column holds no numbers.
    """
    upwards, downwards = ([names] if isinstance(names, str) else list(names) for names in (maximise, minimise))
    _check(frame, [*upwards, *downwards])
    costs = np.column_stack(
        [*(-_numbers(frame, name) for name in upwards), *(_numbers(frame, name) for name in downwards)],
    )
    rows = np.flatnonzero(non_dominated(costs))
    return frame.iloc[rows[np.lexsort(costs[rows].T[::-1])]]


def _check(frame: pd.DataFrame, names: list[str]) -> None:
    if not names:
        raise InvalidValueError(
            "pareto_front: no objective is given", field="objectives", allowed="columns to maximise or minimise"
        )
    for name in names:
        if name not in frame.columns:
            raise unknown_name("column", str(name), map(str, frame.columns))
        if names.count(name) > 1:
            raise InvalidValueError(
                f"pareto_front: {name} is given twice", field="objectives", value=name, allowed="each column once"
            )


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    try:
        return frame[name].astype(float).to_numpy()
    except (TypeError, ValueError):
        problem = f"pareto_front: the column {name} holds no numbers"
        raise InvalidValueError(problem, field=name, allowed="a column of numbers") from None


def non_dominated(costs: np.ndarray) -> np.ndarray:
    """Which rows of an array (rows x objectives, less is better) no other row dominates; those that are not finite are not.

    Two objectives: one pass over the sorted rows. More: rows in order of their first objective, each against those that
    remain (Kung, Luccio and Preparata, Journal of the ACM 22(4), 1975, treat the general problem).
    """
    finite = np.isfinite(costs).all(axis=1)
    unique, position = np.unique(costs[finite], axis=0, return_inverse=True)
    kept = _of_two(unique) if unique.shape[1] <= 2 else _of_many(unique)
    found = np.zeros(len(costs), dtype=bool)
    found[np.flatnonzero(finite)] = kept[position.reshape(-1)]
    return found


def _of_two(unique: np.ndarray) -> np.ndarray:
    """Rows are sorted and distinct: a row is on the front if its last objective is below that of all rows before."""
    if not len(unique):
        return np.zeros(0, dtype=bool)
    last = unique[:, -1]
    before = np.minimum.accumulate(np.concatenate([[np.inf], last[:-1]]))
    kept: np.ndarray = last < before
    if unique.shape[1] == 1:
        kept = np.arange(len(unique)) == 0
    return kept


def _of_many(unique: np.ndarray) -> np.ndarray:
    """A later row never dominates an earlier one, as they are sorted: each survivor removes what it dominates."""
    kept = np.ones(len(unique), dtype=bool)
    for row in range(len(unique)):
        if kept[row]:
            later = np.flatnonzero(kept[row + 1 :]) + row + 1
            kept[later] = (unique[later] < unique[row]).any(axis=1)
    return kept
