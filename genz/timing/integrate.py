"""Sums over decode steps of times that are a maximum of lines.

Between the kinks of what attention sees, each resource is busy for a time that grows linearly with
the step, and an operator takes the maximum over its resources. Such a sum is exact without visiting
the steps: cut where two lines cross, and on each piece multiply the number of steps by the maximum at
its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

from genz.numerics import Number, ascending, ceil, clip, is_symbolic, lies_above, maximum, safe_divide, sum_over_steps, total

Piece = tuple[Number, tuple[Number, ...]]  # (steps, the lines at the middle of them)


def sum_of_maximum(first: Sequence[Number], last: Sequence[Number], length: Number) -> Number:
    """The sum over `length` steps of the maximum of lines, given at the first and at the last step.

    Numbers are summed piece by piece, exactly; symbols stand as the sum itself, which is the readable form.
    """
    if is_symbolic(length, *first, *last):
        slopes = _slopes(first, last, length)
        return sum_over_steps(lambda t: maximum(*(a + slope * t for a, slope in zip(first, slopes, strict=True))), length)
    first, last = _upper(first, last)
    if len(first) == 1:
        return length * ((first[0] + last[0]) / 2)
    return total([steps * maximum(*lines) for steps, lines in pieces(first, last, length)])


def _upper(first: Sequence[Number], last: Sequence[Number]) -> tuple[list[Number], list[Number]]:
    """The lines without those that another one lies above all the way: usually one is left, and no piece to cut."""
    kept = list(range(len(first)))
    for low in range(len(first)):
        if any(high != low and lies_above(first[high], first[low]) and lies_above(last[high], last[low]) for high in kept):
            kept.remove(low)
    return [first[i] for i in kept], [last[i] for i in kept]


def pieces(first: Sequence[Number], last: Sequence[Number], length: Number) -> list[Piece]:
    """Cut `length` steps where the order of the lines may change.

    Returns, for each piece, its number of steps and the lines at its middle; the maximum over the lines is
    one and the same line within a piece.
    """
    slopes = _slopes(first, last, length)
    cuts = []
    for i, j in combinations(range(len(slopes)), 2):
        crossing = safe_divide(first[i] - first[j], slopes[j] - slopes[i], 0.0)
        cuts.append(clip(ceil(crossing), 0, length))
    bounds = [0, *ascending(cuts), length]
    result = []
    for start, end in pairwise(bounds):
        middle = (start + end - 1) / 2
        result.append((end - start, tuple(a + slope * middle for a, slope in zip(first, slopes, strict=True))))
    return result


def _slopes(first: Sequence[Number], last: Sequence[Number], length: Number) -> list[Number]:
    """Growth of each line per step."""
    span = maximum(length - 1, 1)
    return [(b - a) / span for a, b in zip(first, last, strict=True)]
