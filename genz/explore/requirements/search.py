"""The least value for which a monotone condition holds, for many problems at once.

Each round tries many values between one that fails and one that holds, spread evenly in the logarithm, and keeps the two
neighbours between which the condition turns. Nothing is asked of the function but that it turns once: kinks, plateaus and
steps do no harm. As formulas take arrays, a thousand values cost little more than one, and few rounds are needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
POINTS = 257
FEWER_POINTS = 65  # where a search runs inside of another
PRECISION = 1e-9  # of the logarithm, that is, of the value itself


def least(holds: Callable[[Array], Array], low: float, high: float, *, problems: tuple[int, ...] = ()) -> Array:
    """The least value in [low, high] for which a condition holds, one for each of `problems`.

    `holds` takes values of the shape (*problems, how many) and returns as many truths; it must be false below some value and
    true from there on. The value returned holds, and no value that is smaller by more than `PRECISION` does. It is `low`
    where that holds already, and infinite where `high` does not hold.
    """
    bottom, top = (np.full(problems, math.log(bound)) for bound in (low, high))
    points = FEWER_POINTS if problems else POINTS
    share = np.linspace(0.0, 1.0, points)
    found = np.ones(problems, bool)
    first = True
    while np.max(top - bottom) > PRECISION:
        tried = bottom[..., None] + (top - bottom)[..., None] * share
        tried[..., -1] = top
        truths = np.broadcast_to(holds(np.exp(tried)), tried.shape)
        if first:
            found, first = truths[..., -1].copy(), False
        # Where the end holds by the round before, rounding must not say otherwise.
        index = np.where(truths.any(axis=-1), np.argmax(truths, axis=-1), points - 1)
        top = np.take_along_axis(tried, index[..., None], axis=-1)[..., 0]
        bottom = np.take_along_axis(tried, np.maximum(index - 1, 0)[..., None], axis=-1)[..., 0]
    return np.where(found, np.exp(top), np.inf)


def turn(is_above: Callable[[Array], Array], low: float, high: float) -> float | None:
    """Where a condition first turns between [low, high], going up: None where it is the same all the way.

    `is_above` takes `FEWER_POINTS` values and returns as many truths. The value is on the side that comes after the turn.
    """
    bottom, top = math.log(low), math.log(high)
    start: bool | None = None
    while top - bottom > PRECISION:
        tried = np.linspace(bottom, top, FEWER_POINTS)
        truths = np.asarray(is_above(np.exp(tried)))
        start = bool(truths[0]) if start is None else start
        turned = np.flatnonzero(truths != start)
        if not len(turned):
            if top - bottom > 1e-3:
                return None
            break
        bottom, top = tried[max(turned[0] - 1, 0)], tried[turned[0]]
    return math.exp(top)
