"""Sums over decode steps of times that are a maximum of lines.

Between the kinks of what attention sees, each resource is busy for a time that grows linearly with
the step, and an operator takes the maximum over its resources. Such a sum is exact without visiting
the steps: cut where two lines cross, and on each piece multiply the number of steps by the maximum at
its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from genz.numerics import Number, ascending, ceil, clip, maximum, safe_divide

Piece = tuple[Number, tuple[Number, ...]]  # (steps, the lines at the middle of them)


def pieces(first: Sequence[Number], last: Sequence[Number], length: Number) -> list[Piece]:
    """Cut `length` steps where the order of the lines may change.

    `first` and `last` are the lines at the first and the last step. Returns, for each piece, its number of
    steps and the lines at its middle; the maximum over the lines is one and the same line within a piece.
    """
    span = maximum(length - 1, 1)
    slopes = [(b - a) / span for a, b in zip(first, last, strict=True)]
    cuts = []
    for i, j in combinations(range(len(slopes)), 2):
        if _both_constant(first, last, i, j):
            continue
        crossing = safe_divide(first[i] - first[j], slopes[j] - slopes[i], 0.0)
        cuts.append(clip(ceil(crossing), 0, length))
    bounds = [0, *ascending(cuts), length]
    result = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        middle = (start + end - 1) / 2
        result.append((end - start, tuple(a + slope * middle for a, slope in zip(first, slopes, strict=True))))
    return result


def _both_constant(first: Sequence[Number], last: Sequence[Number], i: int, j: int) -> bool:
    """Whether two lines are level by construction (the same object at both ends), so that they never cross."""
    return first[i] is last[i] and first[j] is last[j]
