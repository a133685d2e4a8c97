"""The all-reduce kernels that serving engines bring along, in which every rank reads its peers' memory directly.

One-shot: each rank reads everything from everyone and adds up by itself. Two-shot: it adds up its own part, and all gather
the parts. Above a size limit engines leave it to their library. Sources: the custom all-reduce of vLLM and SGLang
(csrc/custom_all_reduce.cuh) and that of TensorRT-LLM, which choose between the two by size.
"""

from __future__ import annotations

from genz.numerics import Number, maximum, minimum
from genz.timing.kernels.blend import smooth_maximum, smooth_minimum
from genz.timing.kernels.collectives import CollectiveConstants, crowded, with_switch

# How sharply the library takes over: 5 % of the way at 0.83 of the limit, 95 % at 1.2 of it. Limits are powers of two.
_STEEPNESS = 16
_FAR_ABOVE = 16.0


def direct_all_reduce_time(
    message_bytes: Number,
    *,
    devices: Number,
    link_bandwidth: Number,
    constants: CollectiveConstants,
    in_network_reduction: bool = False,
    captured: bool = True,
) -> Number:
    """Seconds of an all-reduce of M `message_bytes` [B] among n `devices`, over links of W `link_bandwidth` [B/s].

    t = launch + step (n - 1) + smin( (n - 1) M / (q W'), lm (n - 1) + 2 (n - 1) / n M / (m W') )    up to the size limit

    and above it the library's launch + step (n - 1) + lb + Vb / (b W'), which is never less than the kernel takes at the
    limit. Vb = (2 (n - 1) + copy) / n M, or the (n + 1) / n M of a switch that adds up (`in_network_reduction`); W' = W (2 /
    n)^crowding. With `captured` false the call waits for the host, in whose time the kernel hides. Never faster than
    what must be sent over the link.
    """
    peers, own = devices - 1, message_bytes / devices
    rate = link_bandwidth * crowded(devices, constants)
    within = minimum(message_bytes, constants.size_limit)
    direct = smooth_minimum(
        peers * within / (constants.quick_share * rate),
        constants.middle_latency * peers + 2 * peers / devices * within / (constants.middle_share * rate),
    )
    bulk, floor = (2 * peers + constants.copy) * own / (constants.bulk_share * rate), 2 * peers * own / link_bandwidth
    if in_network_reduction:
        bulk, floor = with_switch(bulk, floor, own, devices, link_bandwidth=link_bandwidth, constants=constants)
    library = maximum(constants.bulk_latency + bulk, direct)
    excess = minimum(message_bytes / constants.size_limit, _FAR_ABOVE) ** _STEEPNESS
    transfer = direct + (library - direct) * excess / (1 + excess)
    time = constants.launch + constants.step * peers + maximum(transfer, floor)
    return time if captured else smooth_maximum(time, constants.host)
