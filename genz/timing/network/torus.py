"""Collectives on a ring or torus, whose devices reach only their neighbours.

The bucket algorithm goes around one axis after the other with what the axes before have left over. With m axes the
buffer is cut into m parts that start on different axes, so that all links are busy.
Sources: Barnett, Littlefield, Payne and van de Geijn, Global combine on mesh architectures with wormhole routing,
IPPS 1993; Sack and Gropp, Faster topology-aware collective algorithms through non-minimal communication, PPoPP 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations

from genz.numerics import Number
from genz.timing.network.layout import Axis, Hop
from genz.timing.network.rates import axis_bandwidth, axis_reach, axis_share


def bucket(message_bytes: Number, hop: Hop) -> Number:
    """All-gather or reduce-scatter: sum over axes (p - 1) alpha + (P - 1) / P n / B on a torus of equal sides [s]."""
    steps = sum((axis.ranks - 1) * axis.stride for axis in hop.axes)
    return steps * hop.dimension.latency + bucket_load(hop.axes) * message_bytes / axis_bandwidth(hop)


def bidirectional_bucket(message_bytes: Number, hop: Hop) -> Number:
    """All-gather or reduce-scatter, each block sent both ways: sum over axes floor(p / 2) alpha + (P - 1) / P n / B [s].

    Source: Austin et al., How to Scale Your Model, 2025, "Sharded Matrices".
    """
    steps = sum(axis_reach(axis) * axis.stride for axis in hop.axes)
    return steps * hop.dimension.latency + bucket_load(hop.axes) * message_bytes / axis_bandwidth(hop)


@cache
def bucket_load(axes: tuple[Axis, ...]) -> float:
    """Seconds of the bucket algorithm's transfers, in units of n over the bandwidth of one axis."""
    return min(min(sum(_phases(order)), _in_parts(order)) for order in permutations(axes))


def _phases(order: Sequence[Axis]) -> list[float]:
    """Seconds of each phase when the axes are taken in this order, the whole buffer on one axis at a time."""
    seconds, left = [], 1.0
    for axis in order:
        seconds.append(left * (axis.ranks - 1) / axis.ranks / axis_share(axis))
        left /= axis.ranks
    return seconds


def _in_parts(order: Sequence[Axis]) -> float:
    """m parts, the i-th starting on axis i of the order; each phase lasts as long as its slowest part."""
    parts = [_phases([*order[first:], *order[:first]]) for first in range(len(order))]
    slowest: list[float] = [max(phase) for phase in zip(*parts, strict=True)]
    return sum(slowest) / len(order)
