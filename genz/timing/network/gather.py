"""All-gather, and reduce-scatter, which is its reverse and costs the same.

n is the whole buffer, of which each of P ranks brings (or keeps) n / P; alpha is the latency of a message, o the
overhead of each further message of a step, B the bandwidth of a rank.
"""

from __future__ import annotations

from genz.numerics import Number
from genz.timing.network.layout import Span, ranks_of
from genz.timing.network.patterns import around, levels, to_all
from genz.timing.network.rates import pair_rate
from genz.timing.network.torus import bidirectional_bucket, bucket


def ring(message_bytes: Number, span: Span) -> Number:
    """(P - 1) alpha + (P - 1) / P n / B [s]. Source: Thakur et al., IJHPCA 19(1), 2005."""
    return bucket(message_bytes, span[0]) if span[0].axes else around(message_bytes, span)


def bidirectional_ring(message_bytes: Number, span: Span) -> Number:
    """floor(P / 2) alpha + (P - 1) / P n / B on a ring: blocks go both ways around [s]."""
    return bidirectional_bucket(message_bytes, span[0])


def direct(message_bytes: Number, span: Span) -> Number:
    """alpha + (P - 2) o + (P - 1) / P n / B: every rank sends its share to every other [s]."""
    return to_all(message_bytes / ranks_of(span), span)


def recursive(message_bytes: Number, span: Span) -> Number:
    """ceil(log2 P) alpha + (P - 1) / P n / B: doubling for the all-gather, halving for the reduce-scatter [s].

    B is that of one pair at a time; other than a power of two takes Bruck's order. Sources: Thakur et al., IJHPCA
    19(1), 2005; Bruck et al., IEEE Trans. Parallel Distrib. Syst. 8(11), 1997.
    """
    (hop,) = span
    moved = (hop.ranks - 1) / hop.ranks * message_bytes
    return levels(hop.ranks) * hop.dimension.latency + moved / pair_rate(hop)
