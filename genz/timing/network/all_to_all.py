"""All-to-all: every rank sends a different part of its n bytes to every rank, and keeps one.

`skew` is the most loaded rank's share over the mean: what it receives beyond the mean passes its own links.
alpha is the latency of a message, o the overhead of each further message of a step, B the bandwidth of a rank.
"""

from __future__ import annotations

from genz.numerics import Number
from genz.timing.network.layout import Span, ranks_of
from genz.timing.network.patterns import to_all
from genz.timing.network.rates import axis_bandwidth, axis_share, pair_rate, root_rate


def direct(message_bytes: Number, span: Span, skew: Number = 1.0) -> Number:
    """alpha + (P - 2) o + (P - 1) / P n / B: all parts at once, each by its shortest path [s].

    A ring or torus is limited by its bisection: n p / (4 B') on its longest side of p ranks, where B' is the bandwidth
    along one side, and messages to the farthest rank pass its diameter. Source: Dally and Towles, Principles and
    Practices of Interconnection Networks, 2004, chapter 3.
    """
    return to_all(message_bytes / ranks_of(span), span) + _surplus(message_bytes, span, skew)


def pairwise(message_bytes: Number, span: Span, skew: Number = 1.0) -> Number:
    """(P - 1) (alpha + n / P / B): P - 1 exchanges, one partner at a time [s]. Source: Thakur et al., 2005."""
    (hop,) = span
    return (hop.ranks - 1) * (hop.dimension.latency + skew * message_bytes / hop.ranks / pair_rate(hop))


def ring(message_bytes: Number, span: Span, skew: Number = 1.0) -> Number:
    """(P - 1) alpha + (P - 1) / 2 n / B: parts are handed on around a ring, half of the way each in the mean [s]."""
    (hop,) = span
    (axis,) = hop.axes
    rate = axis_share(axis) * axis_bandwidth(hop)
    steps = (axis.ranks - 1) * axis.stride
    return steps * hop.dimension.latency + (axis.ranks - 1) / 2 * message_bytes / rate + _surplus(message_bytes, span, skew)


def _surplus(message_bytes: Number, span: Span, skew: Number) -> Number:
    """Seconds in which the most loaded rank receives what exceeds the mean."""
    beyond, inner = 0.0, 1
    for hop in span:
        beyond = beyond + inner * (hop.ranks - 1) / root_rate(hop)
        inner *= hop.ranks
    return (skew - 1) * message_bytes / inner * beyond
