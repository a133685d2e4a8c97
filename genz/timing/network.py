"""Collectives on one dimension of a network: alpha-beta costs of real algorithms, the best one taken.

alpha is the latency of one message, 1/beta the bandwidth per device and direction, p the ranks and n
the bytes of the whole buffer. Source: Thakur, Rabenseifner and Gropp, Optimization of Collective
Communication Operations in MPICH, IJHPCA 19(1), 2005.
"""

from __future__ import annotations

import math

from genz.errors import UnsupportedError
from genz.numerics import Number, minimum
from genz.specs.hardware import NetworkDimension


def ring_all_reduce(message_bytes: Number, ranks: int, bandwidth: Number, latency: Number) -> Number:
    """2 (p - 1) alpha + 2 (p - 1) / p n / B: a reduce-scatter and an all-gather around the ring [s]."""
    return 2 * (ranks - 1) * latency + 2 * (ranks - 1) / ranks * message_bytes / bandwidth


def one_shot_all_reduce(message_bytes: Number, ranks: int, bandwidth: Number, latency: Number) -> Number:
    """alpha + (p - 1) n / B: every rank sends all it has to every other, and each adds up [s]."""
    return latency + (ranks - 1) * message_bytes / bandwidth


def two_shot_all_reduce(message_bytes: Number, ranks: int, bandwidth: Number, latency: Number) -> Number:
    """2 alpha + 2 (p - 1) / p n / B: a direct reduce-scatter, then a direct all-gather [s]."""
    return 2 * latency + 2 * (ranks - 1) / ranks * message_bytes / bandwidth


def tree_all_reduce(message_bytes: Number, ranks: int, bandwidth: Number, latency: Number) -> Number:
    """2 log2(p) alpha + 2 n / B: reduce up and broadcast down a pipelined double binary tree [s]."""
    return 2 * math.ceil(math.log2(ranks)) * latency + 2 * message_bytes / bandwidth


def in_switch_all_reduce(message_bytes: Number, ranks: int, bandwidth: Number, latency: Number) -> Number:
    """2 alpha + (p - 1) / p n / B + n / (p B): the switch adds what the ranks send and returns the sum [s]."""
    return 2 * latency + message_bytes / bandwidth * ((ranks - 1) / ranks + 1 / ranks)


def all_gather(message_bytes: Number, ranks: int, bandwidth: Number, latency: Number) -> Number:
    """alpha + (p - 1) / p n / B: every rank sends its share to every other [s]."""
    return latency + (ranks - 1) / ranks * message_bytes / bandwidth


def ring_all_gather(message_bytes: Number, ranks: int, bandwidth: Number, latency: Number) -> Number:
    """(p - 1) alpha + (p - 1) / p n / B [s]."""
    return (ranks - 1) * latency + (ranks - 1) / ranks * message_bytes / bandwidth


def collective_time(
    kind: str, message_bytes: Number, *, ranks: int, dimension: NetworkDimension, efficiency: Number = 1.0
) -> Number:
    """Seconds that a collective of `message_bytes` over `ranks` of a dimension takes, by the best algorithm.

    Direct algorithms need a path between every two ranks, so a ring or torus has only the ring ones.
    """
    bandwidth, latency = dimension.bandwidth * efficiency, dimension.latency
    direct = dimension.topology in ("switch", "fully_connected", "bus")
    arguments = (message_bytes, ranks, bandwidth, latency)
    if kind == "all_reduce":
        times = [ring_all_reduce(*arguments), tree_all_reduce(*arguments)]
        if direct:
            times += [one_shot_all_reduce(*arguments), two_shot_all_reduce(*arguments)]
        if dimension.in_network_reduction:
            times.append(in_switch_all_reduce(*arguments))
        return minimum(*times)
    if kind == "all_gather":
        return all_gather(*arguments) if direct else ring_all_gather(*arguments)
    raise UnsupportedError(f"collective {kind!r} has no cost model", field="collective", value=kind, allowed="all_reduce, all_gather")


def wire_bytes(kind: str, message_bytes: Number, ranks: int) -> Number:
    """Bytes that each rank sends over its link, by the algorithms that send least [B]."""
    share = (ranks - 1) / ranks * message_bytes
    return 2 * share if kind == "all_reduce" else share
