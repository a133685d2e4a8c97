"""Broadcast of n bytes from one rank to all of its group.

alpha is the latency of a message, o the overhead of each further message of a step, B the bandwidth of a rank.
"""

from __future__ import annotations

from genz.numerics import Number, where
from genz.timing.network.layout import Hop, Span
from genz.timing.network.patterns import levels
from genz.timing.network.rates import pair_rate, ring_rate, root_rate


def tree(message_bytes: Number, span: Span) -> Number:
    """ceil(log2 P) (alpha + n / B): ranks that have it pass it on, a binomial tree [s]. Source: Thakur et al., 2005."""
    (hop,) = span
    return levels(hop.ranks) * (hop.dimension.latency + message_bytes / pair_rate(hop))


def chain(message_bytes: Number, span: Span) -> Number:
    """n / B + (P - 2) alpha + 2 sqrt((P - 2) alpha n / B): a pipeline from rank to rank, cut into the best pieces [s].

    k pieces take (P - 2 + k) (alpha + n / (k B)), least at k = sqrt((P - 2) n / (alpha B)); where that is below one,
    the message goes in one piece. Source: Johnsson and Ho, Optimum broadcasting and personalized communication in hypercubes,
    IEEE Trans. Computers 38(9), 1989.
    """
    (hop,) = span
    alpha, seconds, further = hop.dimension.latency, message_bytes / ring_rate(hop), chain_links(hop) - 1
    whole = (further + 1) * (alpha + seconds)
    cut = seconds + further * alpha + 2 * (further * alpha * seconds) ** 0.5
    return where(further * seconds < alpha, whole, cut)


def one_shot(message_bytes: Number, span: Span) -> Number:
    """alpha + (P - 2) o + (P - 1) n / B: the root sends it to every other at once [s]."""
    (hop,) = span
    further = (hop.ranks - 2) * hop.dimension.message_overhead
    return hop.dimension.latency + further + (hop.ranks - 1) * message_bytes / root_rate(hop)


def chain_links(hop: Hop) -> int:
    """Links from the first to the last rank of a chain."""
    if hop.axes:
        return sum((axis.ranks - 1) * axis.stride for axis in hop.axes)
    return hop.ranks - 1
