"""Ways in which all ranks of a group move data over every dimension that it spans.

The times of the dimensions add up: a device drives one of them at a time. That makes a machine written as two
equal switch dimensions cost what it costs written as one.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number, maximum, total
from genz.timing.network.layout import Hop, Span, ranks_of
from genz.timing.network.rates import diameter, ring_rate, spread_rate


@dataclass(frozen=True)
class Passage:
    """A ring's way through one dimension: how often a block crosses it, and the share of all bytes that does."""

    hop: Hop
    crossings: int
    share: float


def passages(span: Span) -> list[Passage]:
    """The way of a ring, or of a tree, through all ranks, innermost dimension first.

    A block passes P - 1 edges; it enters a dimension's next instance only when the inner ones are through, and the
    rings of the inner ranks leave by their own links.
    """
    found, beyond, inner = [], ranks_of(span), 1
    for index, hop in enumerate(span):
        outside = beyond // hop.ranks
        is_last = index == len(span) - 1
        share = (1.0 if is_last else 1 - 1 / hop.ranks) / inner
        found.append(Passage(hop, beyond - outside, share))
        beyond, inner = outside, inner * hop.ranks
    return found


def around(message_bytes: Number, span: Span) -> Number:
    """One trip around the ring of P ranks: (P - 1) alpha + (P - 1) / P n / B [s]."""
    moved = (ranks_of(span) - 1) / ranks_of(span) * message_bytes
    return total([p.crossings * p.hop.dimension.latency + p.share * moved / ring_rate(p.hop) for p in passages(span)])


def to_all(bytes_each: Number, span: Span) -> Number:
    """Every rank sends `bytes_each` to each other at once: alpha + (P - 2) o + (P - 1) bytes / B [s].

    Peers that share the inner dimensions with a rank are reached there, the others over the outermost that differs.
    """
    inner, times = 1, []
    for hop in span:
        peers = inner * (hop.ranks - 1)
        times.append(peers * bytes_each / spread_rate(hop))
        inner *= hop.ranks
    latency = maximum(*[diameter(hop) * hop.dimension.latency for hop in span])
    overhead = maximum(*[hop.dimension.message_overhead for hop in span])
    return latency + (inner - 2) * overhead + total(times)


def has_paths_between_all(span: Span) -> bool:
    """Whether any two ranks reach each other without passing through a third."""
    return not any(hop.axes for hop in span)


def levels(ranks: int) -> int:
    """ceil(log2 p): levels of a binary tree over p ranks."""
    return (ranks - 1).bit_length()
