"""Collectives as a library such as NCCL runs them: three protocols, each the fastest over its own range of sizes.

One protocol has the least latency (LL, which sends a flag with each word), one is in the middle (LL128), one has the most
bandwidth (Simple, or a reduction in the switch). Shares are of a link's bandwidth in one direction.

Sources: Z. Hu et al., Demystifying NCCL: an in-depth analysis of GPU communication protocols and algorithms,
arXiv:2507.04786 (2025); Thakur et al., IJHPCA 19(1), 2005 (volumes and steps of the algorithms).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from genz.errors import unknown_name
from genz.numerics import Number, log2, maximum, minimum, where
from genz.timing.kernels.blend import smooth_maximum, smooth_minimum
from genz.timing.kernels.constants import constant

# Which constants carry over: those of rings hold for every collective that goes around one.
KERNEL_OF = {
    "all_reduce": "ring",
    "all_gather": "ring",
    "reduce_scatter": "ring",
    "broadcast": "ring",
    "all_to_all": "all_to_all",
    "send_receive": "send_receive",
}
# Libraries take the switch's reduction on a full node of eight; among fewer devices a ring moves about as little.
FEWEST_FOR_SWITCH = 8


@dataclass(frozen=True, slots=True)
class CollectiveConstants:
    """Constants of collectives on one kind of link, of a library or of an engine's direct all-reduce over it."""

    launch: float = constant(5e-6, "s", 5e-7, 4e-4, "time of a kernel that moves nothing, without its steps")
    step: float = constant(9e-7, "s", 1e-9, 2e-4, "latency of each step from rank to rank, or handshake with each peer")
    quick_share: float = constant(0.022, "1", 1e-4, 1.0, "share of the link, protocol of least latency or one-shot")
    middle_latency: float = constant(1.2e-6, "s", 1e-8, 1e-3, "what the middle protocol adds, or two-shot for each peer")
    middle_share: float = constant(0.4, "1", 1e-4, 1.0, "share of the link, middle protocol or two-shot")
    size_limit: float = constant(1.2e7, "B", 1e5, 1e9, "message above which a direct kernel leaves it to the library")
    bulk_latency: float = constant(1.5e-5, "s", 1e-8, 5e-3, "what the protocol of most bandwidth adds to the launch")
    bulk_share: float = constant(0.88, "1", 1e-3, 1.0, "share of the link, protocol of most bandwidth")
    switch_share: float = constant(0.66, "1", 1e-2, 1.0, "share of the link where the switch adds up")
    copy: float = constant(0.7, "1", 0.01, 2.0, "copy of a rank's own part, as if so much of it crossed the link")
    growth: float = constant(0.25, "1", 0.01, 1.2, "power of the steps with which the two later latencies grow")
    crowding: float = constant(0.01, "1", 1e-3, 2.5, "power of the devices with which they slow each other's links")
    host: float = constant(2e-5, "s", 1e-7, 5e-4, "host time of a call that no graph holds")


# Where to start for direct kernels, which read their peers' memory with plain loads.
DIRECT = CollectiveConstants(
    launch=4e-6, step=1e-7, quick_share=0.6, middle_latency=1.5e-6, middle_share=0.65, bulk_latency=3e-5, bulk_share=0.85
)


class Share(NamedTuple):
    """A rank's share of a collective: bytes that it sends and bytes that are its own [B], steps one after the other."""

    sent: Number
    own: Number
    steps: Number


def share_of_rank(kind: str, message_bytes: Number, devices: Number) -> Share:
    """What each of n devices does for a collective of M bytes.

    All-reduce sends 2 (n - 1) / n M in 2 (n - 1) steps; all-gather and reduce-scatter (n - 1) / n M in n - 1;
    all-to-all as much in log2 n; a broadcast and a message M in one. Raises `UnknownNameError` for another kind.
    """
    others = devices - 1
    own = message_bytes / devices
    if kind == "all_reduce":
        return Share(2 * others * own, own, 2 * others)
    if kind in ("all_gather", "reduce_scatter"):
        return Share(others * own, own, others)
    if kind == "all_to_all":
        return Share(others * own, own, log2(devices))
    if kind in ("broadcast", "send_receive"):
        return Share(minimum(others, 1) * message_bytes, 0.0 * own, minimum(others, 1))
    raise unknown_name("collective", kind, KERNEL_OF)


def collective_kernel_time(
    kind: str,
    message_bytes: Number,
    *,
    devices: Number,
    link_bandwidth: Number,
    constants: CollectiveConstants,
    in_network_reduction: bool = False,
    captured: bool = True,
) -> Number:
    """Seconds of a collective of `message_bytes` [B] among n `devices`, over links of W `link_bandwidth` [B/s per direction].

    t = launch + step s + smin( V / (q W'), lm s^g + V / (m W'), lb s^g + Vb / (b W') ),    W' = W (2 / n)^crowding

    V is what a rank sends and what it copies of its own, s the steps (`share_of_rank`); Vb may be the (n + 1) / n M that a
    switch asks for that adds up (`in_network_reduction`, all-reduce). `message_bytes` is the buffer of each rank for an
    all-reduce, an all-to-all and a message, and the whole buffer for an all-gather and a reduce-scatter, as in nccl-tests.
    With `captured` false the call waits for the host, in whose time the kernel hides. Among devices of several nodes the
    link is the one between nodes. Never faster than what must be sent over the link. Raises `UnknownNameError` for
    another collective.
    """
    sent, own, steps = share_of_rank(kind, message_bytes, devices)
    moved = sent + constants.copy * own
    rate = link_bandwidth * crowded(devices, constants)
    later = steps**constants.growth
    bulk, floor = moved / (constants.bulk_share * rate), sent / link_bandwidth
    if in_network_reduction and kind == "all_reduce":
        bulk, floor = with_switch(bulk, floor, own, devices, link_bandwidth=link_bandwidth, constants=constants)
    transfer = smooth_minimum(
        moved / (constants.quick_share * rate),
        constants.middle_latency * later + moved / (constants.middle_share * rate),
        constants.bulk_latency * later + bulk,
    )
    time = constants.launch + constants.step * steps + maximum(transfer, floor)
    return time if captured else smooth_maximum(time, constants.host)


def crowded(devices: Number, constants: CollectiveConstants) -> Number:
    """Share of its link that each of n devices has while all send: (2 / n)^crowding, 1 over a switch that blocks nothing."""
    share: Number = (2 / maximum(devices, 2)) ** constants.crowding
    return share


def with_switch(
    bulk: Number, floor: Number, own: Number, devices: Number, *, link_bandwidth: Number, constants: CollectiveConstants
) -> tuple[Number, Number]:
    """Time of an all-reduce's bytes and its bound [s], by the switch where that is faster: (n + 1) / n M cross each link."""
    is_added_up = devices >= FEWEST_FOR_SWITCH
    through = (devices + 1) * own / link_bandwidth
    added_up = through / (constants.switch_share * crowded(devices, constants))
    return where(is_added_up, minimum(bulk, added_up), bulk), where(is_added_up, minimum(floor, through), floor)
