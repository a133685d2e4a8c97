"""The bandwidth and latency that each rank of a group has on one dimension of the network.

A bandwidth counts what a rank sends while all other ranks of the group, and of the groups that interleave with
it, send in the same pattern: to the next rank around a ring, to all others at once, or to one other.
"""

from __future__ import annotations

from genz.numerics import Number, maximum
from genz.timing.network.layout import Axis, Hop


def ring_rate(hop: Hop) -> Number:
    """Bandwidth while each rank sends to the next around a ring, on as many rings as the links allow [B/s].

    Fully connected: p ranks of n hold p - 1 of each other's n - 1 links, B (p - 1) / (n - 1): K_p falls into that
    many directed rings. Source: Tillson, J. Combinatorial Theory B 29(1), 1980 (all p but 4 and 6).
    """
    dimension = hop.dimension
    if hop.axes:
        return min(axis_share(axis) for axis in hop.axes) * axis_bandwidth(hop)
    if dimension.topology == "fully_connected":
        return dimension.bandwidth * (hop.ranks - 1) / (dimension.size - 1)
    if dimension.topology == "bus":
        return dimension.bandwidth / (hop.ranks * hop.stride)
    if dimension.topology == "fat_tree" and _ranks_per_leaf(hop) < hop.ranks:
        # Each group leaves a leaf once, so the leaf's way out is shared by the groups that it holds.
        crossing = min(hop.stride, _leaf(hop)) / _leaf(hop)
        return dimension.bandwidth / maximum(1.0, dimension.oversubscription * crossing)
    return dimension.bandwidth


def spread_rate(hop: Hop) -> Number:
    """Bandwidth while each rank sends to all others alike, at once [B/s].

    On a ring or torus every byte crosses the links of its shortest path, which is the bound of the bisection.
    """
    dimension = hop.dimension
    if hop.axes:
        share = (hop.ranks - 1) / hop.ranks
        return share / max(axis_load(axis) for axis in hop.axes) * axis_bandwidth(hop)
    if dimension.topology == "fat_tree":
        leaving = (hop.ranks - _ranks_per_leaf(hop)) / (hop.ranks - 1)
        return dimension.bandwidth / maximum(1.0, dimension.oversubscription * leaving)
    return ring_rate(hop)


def pair_rate(hop: Hop) -> Number:
    """Bandwidth while each rank of a group without a ring topology exchanges with one other, near or far [B/s]."""
    dimension = hop.dimension
    if dimension.topology == "fully_connected":
        return dimension.bandwidth / (dimension.size - 1)
    if dimension.topology == "fat_tree" and _ranks_per_leaf(hop) < hop.ranks:
        return dimension.bandwidth / dimension.oversubscription
    return ring_rate(hop)


def root_rate(hop: Hop) -> Number:
    """Bandwidth of one rank of each group that sends to all others, or receives from them, while they are idle [B/s]."""
    if hop.axes:
        return sum(axis_share(axis) for axis in hop.axes) * axis_bandwidth(hop)
    if hop.dimension.topology == "bus":
        return hop.dimension.bandwidth / hop.stride
    return ring_rate(hop)


def neighbour_rate(hop: Hop) -> Number:
    """Bandwidth while each rank sends to the next of its group, over the link between them [B/s]."""
    dimension = hop.dimension
    if hop.axes:
        return min(_links_to_next(axis) / (2 * axis.stride) for axis in hop.axes) * axis_bandwidth(hop)
    if dimension.topology == "fully_connected":
        return pair_rate(hop)
    if dimension.topology == "bus":
        return dimension.bandwidth / hop.stride
    return ring_rate(hop)


def neighbour_distance(hop: Hop) -> int:
    """Links between a rank and the next of its group."""
    return sum(axis.stride for axis in hop.axes) if hop.axes else 1


def diameter(hop: Hop) -> int:
    """Links between the two ranks that are farthest apart."""
    return sum(axis_reach(axis) * axis.stride for axis in hop.axes) if hop.axes else 1


def axis_bandwidth(hop: Hop) -> Number:
    """Bandwidth of a device along one side of a ring or torus, both directions together [B/s]."""
    shape = hop.dimension.shape or (hop.dimension.size,)
    return hop.dimension.bandwidth / sum(side > 1 for side in shape)


def axis_share(axis: Axis) -> float:
    """Share of an axis's bandwidth with which a ring runs on it.

    Interleaved groups share its links; on a line the way back takes one of the two directions.
    """
    return (1.0 if axis.closes else 0.5) / axis.stride


def axis_reach(axis: Axis) -> int:
    """Ranks between the two that are farthest apart on an axis."""
    return axis.ranks // 2 if axis.closes else axis.ranks - 1


def axis_load(axis: Axis) -> float:
    """What each of the axis's links carries when every rank sends a total of 1 evenly to all ranks, itself too.

    It is scaled to the axis's bandwidth: the seconds of an all-to-all are n load / B. Around a ring of p the
    distances from a rank sum to floor(p^2 / 4); on a line its middle link carries floor(p/2) ceil(p/2) / p one way.
    """
    half = axis.ranks**2 // 4
    return half * axis.stride / axis.ranks * (1 if axis.closes else 2)


def mean_distance(axis: Axis) -> float:
    """Links between two ranks of an axis, in the mean over all pairs, a rank with itself too."""
    p = axis.ranks
    total = p**2 // 4 * p if axis.closes else (p**3 - p) / 3
    return total * axis.stride / p**2


def _links_to_next(axis: Axis) -> int:
    """Both links of a device in a ring of two lead to the same other."""
    return 2 if axis.size == 2 else 1


def _leaf(hop: Hop) -> int:
    """Devices under one leaf switch; where it is not known, every message is taken to leave its leaf."""
    return hop.dimension.leaf or 1


def _ranks_per_leaf(hop: Hop) -> int:
    """Ranks of the group under one leaf switch, the group starting at the first device of a leaf."""
    return min(hop.ranks, max(1, _leaf(hop) // hop.stride))
