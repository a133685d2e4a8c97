"""All-reduce: every rank ends with the sum of all ranks' buffers of n bytes.

alpha is the latency of a message, o the overhead of each further message of a step, B the bandwidth of a rank, P the
ranks.
"""

from __future__ import annotations

from genz.numerics import Number, total
from genz.timing.network.layout import Hop, Span, ranks_of
from genz.timing.network.patterns import around, levels, passages, to_all
from genz.timing.network.rates import pair_rate, ring_rate
from genz.timing.network.torus import bidirectional_bucket, bucket


def ring(message_bytes: Number, span: Span) -> Number:
    """2 (P - 1) alpha + 2 (P - 1) / P n / B: a reduce-scatter and an all-gather around a ring [s].

    Source: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, J. Parallel Distrib. Comput. 69(2), 2009.
    """
    return 2 * (bucket(message_bytes, span[0]) if span[0].axes else around(message_bytes, span))


def bidirectional_ring(message_bytes: Number, span: Span) -> Number:
    """2 floor(P / 2) alpha + 2 (P - 1) / P n / B on a ring: blocks go both ways around [s]."""
    return 2 * bidirectional_bucket(message_bytes, span[0])


def tree(message_bytes: Number, span: Span) -> Number:
    """2 ceil(log2 P) alpha + 2 n / B: reduce up and broadcast down a double binary tree in fine pieces [s].

    Each rank is an inner node of one tree and a leaf of the other, so all links work both ways. Source: Sanders, Speck
    and Traeff, Two-tree algorithms for full bandwidth broadcast, reduction and scan, Parallel Computing 35(12), 2009.
    """
    times = [levels(p.hop.ranks) * p.hop.dimension.latency + p.share * message_bytes / ring_rate(p.hop) for p in passages(span)]
    return 2 * total(times)


def one_shot(message_bytes: Number, span: Span) -> Number:
    """alpha + (P - 2) o + (P - 1) n / B: every rank sends all it has to every other, and each adds up [s].

    Source: the custom all-reduce of vLLM and TensorRT-LLM for small messages.
    """
    return to_all(message_bytes, span)


def two_shot(message_bytes: Number, span: Span) -> Number:
    """2 alpha + 2 (P - 2) o + 2 (P - 1) / P n / B: a direct reduce-scatter, then a direct all-gather [s].

    Source: the custom all-reduce of vLLM and TensorRT-LLM for larger messages.
    """
    return 2 * to_all(message_bytes / ranks_of(span), span)


def recursive_halving_doubling(message_bytes: Number, span: Span) -> Number:
    """2 log2(P) alpha + 2 (P - 1) / P n / B; other than a power of two folds its surplus in: 2 (alpha + n / B) more [s].

    B is that of one pair at a time. Source: Thakur, Rabenseifner and Gropp, Optimization of collective communication
    operations in MPICH, IJHPCA 19(1), 2005.
    """
    (hop,) = span
    alpha, seconds = hop.dimension.latency, message_bytes / pair_rate(hop)
    power = 1 << (hop.ranks.bit_length() - 1)
    exchange = 2 * levels(power) * alpha + 2 * (power - 1) / power * seconds
    return exchange if power == hop.ranks else exchange + 2 * (alpha + seconds)


def in_network(message_bytes: Number, span: Span) -> Number:
    """2 alpha + v n / B: the switches add what the ranks send and return the sum [s].

    A fat tree streams the buffer up and the sum down, v = 1 (SHARP). Through one switch each rank collects the sum of
    its share and sends it to all, v = (P + 1) / P (NVLink SHARP). Sources: Graham et al., Scalable hierarchical
    aggregation protocol, COMHPC 2016; Klenk et al., An in-network architecture for accelerating shared-memory
    multiprocessor collectives, ISCA 2020.
    """
    (hop,) = span
    return 2 * hop.dimension.latency + in_network_volume(hop) * message_bytes / hop.dimension.bandwidth


def in_network_volume(hop: Hop) -> float:
    """Bytes that each rank sends for a byte of the buffer when the network reduces."""
    return 1.0 if hop.dimension.topology == "fat_tree" else (hop.ranks + 1) / hop.ranks
