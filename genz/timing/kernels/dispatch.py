"""Kernels that send tokens to the ranks of their experts and bring the results back: DeepEP's, and those over NVLink.

They are bound by the link, or by the cores that they are given: a core copies a token at a time, at a rate that its loads
in flight set and not the link. Sources: the DeepEP library (github.com/deepseek-ai/DeepEP), of which the normal kernels
send a token once to each rank and, between nodes, once to each node, and the low-latency ones once to each expert;
TensorRT-LLM's one- and two-sided kernels for NVLink, which send once to each rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from genz.numerics import Condition, Number, ceil_div, expm1, log1p, maximum, minimum, where
from genz.timing.kernels.blend import smooth_maximum
from genz.timing.kernels.constants import constant


@dataclass(frozen=True, slots=True)
class DispatchConstants:
    """Constants of a dispatch or a combine kernel."""

    launch: float = constant(2e-5, "s", 1e-6, 5e-4, "time of a kernel that moves nothing, without its peers")
    peer: float = constant(5e-7, "s", 1e-9, 5e-5, "notice to each other rank, or each round over the experts")
    link_share: float = constant(0.6, "1", 1e-2, 1.0, "share of the link's bandwidth")
    core_rate: float = constant(12.0, "B", 0.1, 1e3, "bytes that a core copies in a clock cycle")
    copy: float = constant(1e-7, "s", 1e-10, 1e-4, "time of a core for a copy of no bytes")
    local: float = constant(0.3, "1", 1e-3, 20.0, "work for each token besides its copies, in copies")


def dispatch_time(
    tokens: Number,
    token_bytes: Number,
    *,
    top_k: Number,
    experts: Number,
    devices: Number,
    nodes: Number,
    link_bandwidth: Number,
    cores: Number,
    clock: Number,
    constants: DispatchConstants,
    each_expert: bool = False,
    balanced: Condition = False,
    reachable: Number = math.inf,
) -> Number:
    """Seconds to send T `tokens` of each of n `devices` to k of E experts, or back, as messages of b `token_bytes` [B].

    t = launch + peer s + smax( T b R / (share W), T (D + local) (copy + b / (r clock)) / C )

    D copies of a token are made, one for each rank that its k random experts lie on, n (1 - (1 - 1/n)^k); R of them cross
    the link of W `link_bandwidth` [B/s per direction]: all but 1/n, or among several `nodes` the like of nodes, over the
    link between them. s = n - 1 ranks are notified; C `cores` are those given to the kernel, at `clock` [Hz]. Of tokens
    dealt out evenly (`balanced`) D = min(k, n). A token's experts lie on at most so many `reachable` ranks, or nodes. With
    `each_expert` each of them gets a copy of its own, D = k; then a core serves one expert and takes s = ceil(E / cores)
    rounds, C = E / s.
    """
    groups = where(nodes > 1, nodes, devices)
    if each_expert:
        rounds: Number = ceil_div(experts, cores)
        cores = experts / rounds
        copies = crossing = top_k
    else:
        rounds = devices - 1
        copies = where(balanced, minimum(top_k, devices), _distinct(devices, top_k))
        crossing = where(balanced, minimum(top_k, groups), _distinct(minimum(groups, reachable), top_k))
    volume = tokens * token_bytes * crossing * (1 - 1 / groups)
    link = volume / (constants.link_share * link_bandwidth)
    core = tokens / cores * (copies + constants.local) * (constants.copy + token_bytes / (constants.core_rate * clock))
    return constants.launch + constants.peer * rounds + smooth_maximum(core, link)


def _distinct(groups: Number, top_k: Number) -> Number:
    """Distinct groups that k random experts lie in, expected: n (1 - (1 - 1/n)^k)."""
    return -groups * expm1(top_k * log1p(-1 / maximum(groups, 1 + 1e-9)))
