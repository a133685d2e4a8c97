"""Which parts of a network a group of ranks spans.

Ranks count through the innermost dimension first, and within a torus through its first side first: rank r
sits at position r mod size of the innermost dimension, at (r // size) mod size of the next, and so on. A group
holds the ranks 0, s, 2 s, ... of a stride s (a tensor-parallel group has stride 1, its pipeline neighbours have
stride tp), and the s groups that interleave with it do the same at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genz.errors import InvalidValueError
from genz.specs.hardware import NetworkDimension


@dataclass(frozen=True)
class Axis:
    """A group's part of one ring: `ranks` of `size` positions, each `stride` positions from the next."""

    ranks: int
    size: int
    stride: int

    @property
    def closes(self) -> bool:
        """Whether the group goes all around; otherwise it lies on a line."""
        return self.ranks * self.stride == self.size


@dataclass(frozen=True)
class Hop:
    """A group's part of one dimension: `ranks` of its positions, each `stride` positions from the next.

    In a ring or torus it is the product of `axes`, one for each side that the group spans.
    """

    dimension: NetworkDimension
    ranks: int
    stride: int = 1
    axes: tuple[Axis, ...] = ()


Span = tuple[Hop, ...]


def span(dimensions: Sequence[NetworkDimension], ranks: int, stride: int = 1) -> Span:
    """The dimensions that a group of `ranks` spans, innermost first; none for a single rank.

    A group must lie the same way in each instance of a dimension: either it fits into one, or it fills the
    positions at its stride before it goes on into the next dimension. Raises `InvalidValueError` otherwise.
    """
    _check_whole("ranks", ranks)
    _check_whole("stride", stride)
    if ranks == 1:
        return ()
    sides = [_sides(dimension) for dimension in dimensions]
    placed = _place([side for group in sides for side in group], ranks, stride)
    if placed is None:
        raise _does_not_fit(dimensions, ranks, stride)
    hops, start = [], 0
    for dimension, own in zip(dimensions, sides, strict=True):
        parts = placed[start : start + len(own)]
        start += len(own)
        inside = math.prod(part_ranks for part_ranks, _ in parts)
        if inside > 1:
            hops.append(Hop(dimension, inside, _stride_within(parts, own), _axes(dimension, parts, own)))
    return tuple(hops)


def ranks_of(span_: Span) -> int:
    """Ranks of the group that spans these hops."""
    return math.prod(hop.ranks for hop in span_)


def _sides(dimension: NetworkDimension) -> tuple[int, ...]:
    return dimension.shape or (dimension.size,)


def _place(sizes: Sequence[int], ranks: int, stride: int) -> list[tuple[int, int]] | None:
    """Ranks and stride of a group in each of the sizes, or None where it does not fit evenly."""
    placed = []
    for size in sizes:
        if ranks == 1:
            placed.append((1, 1))
        elif stride >= size:
            if stride % size:
                return None
            placed.append((1, 1))
            stride //= size
        elif ranks * stride <= size:
            placed.append((ranks, stride))
            ranks = 1
        else:
            inside = size // stride
            if size % stride or ranks % inside:
                return None
            placed.append((inside, stride))
            ranks //= inside
            stride = 1
    return placed if ranks == 1 else None


def _stride_within(parts: Sequence[tuple[int, int]], sides: Sequence[int]) -> int:
    """Positions of a dimension between neighbours of the group."""
    before = 1
    for (ranks, stride), side in zip(parts, sides, strict=True):
        if ranks > 1:
            return before * stride
        before *= side
    return 1


def _axes(dimension: NetworkDimension, parts: Sequence[tuple[int, int]], sides: Sequence[int]) -> tuple[Axis, ...]:
    if dimension.topology not in ("ring", "torus"):
        return ()
    pairs = zip(parts, sides, strict=True)
    return tuple(Axis(ranks, side, stride) for (ranks, stride), side in pairs if ranks > 1)


def _check_whole(field: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidValueError(
            f"{field} = {value!r} is no whole number from 1", field=field, value=value, allowed="1 and more"
        )


def _does_not_fit(dimensions: Sequence[NetworkDimension], ranks: int, stride: int) -> InvalidValueError:
    if not dimensions:
        message = f"a group of {ranks} ranks needs a network, and this platform has none"
        return InvalidValueError(message, field="ranks", value=ranks, allowed="1")
    sizes = [side for dimension in dimensions for side in _sides(dimension)]
    shape = " x ".join("x".join(map(str, _sides(dimension))) for dimension in dimensions)
    total = math.prod(sizes)
    needs = f"; it needs {ranks * stride} of {total} devices" if ranks * stride > total else ""
    legal = _nearest(ranks, 2, total // stride, lambda other: _place(sizes, other, stride) is not None)
    hint = f"nearest number of ranks that does: {legal}"
    if not legal:
        strides = _nearest(stride, 1, total // 2, lambda other: _place(sizes, 2, other) is not None)
        hint = f"nearest stride at which two ranks do: {strides}" if strides else "only a group of 1 does"
    return InvalidValueError(
        f"a group of {ranks} ranks at stride {stride} does not lie evenly on the network of {shape} devices{needs}",
        field="ranks",
        value=ranks,
        hint=hint,
    )


def _nearest(value: int, low: int, high: int, allows: Callable[[int], bool]) -> str:
    """The allowed numbers just below and just above a value, between `low` and `high`."""
    below = next((number for number in range(min(value - 1, high), low - 1, -1) if allows(number)), None)
    above = next((number for number in range(max(value + 1, low), high + 1) if allows(number)), None)
    return " or ".join(str(number) for number in (below, above) if number is not None)
