"""Collectives and exchanges of tokens with constants fitted to measured kernels.

Within one dimension of the network the fitted kernel models hold. Over several nobody's measurements carry over: there the
dimensions work in turn, the innermost as measured, the others by alpha-beta at the share of bandwidth that is reached inside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from genz.numerics import Number, maximum, minimum, where
from genz.operators.exchange import TokenExchange
from genz.specs.hardware import Chip
from genz.timing.kernels.collectives import CollectiveConstants, collective_kernel_time
from genz.timing.kernels.direct_all_reduce import direct_all_reduce_time
from genz.timing.kernels.dispatch import DispatchConstants
from genz.timing.kernels.dispatch import dispatch_time as dispatch_kernel_time
from genz.timing.network import hierarchy
from genz.timing.network.collectives import collective_time
from genz.timing.network.dispatch import exchange_time
from genz.timing.network.layout import Hop, Span, ranks_of
from genz.timing.network.rates import neighbour_rate, spread_rate

_HIERARCHICAL: dict[str, Callable[..., Number]] = {
    "all_reduce": hierarchy.all_reduce,
    "all_gather": partial(hierarchy.gather, kind="all_gather"),
    "reduce_scatter": partial(hierarchy.gather, kind="reduce_scatter"),
    "all_to_all": hierarchy.all_to_all,
    "broadcast": hierarchy.broadcast,
}


def calibrated_collective(
    kind: str,
    message_bytes: Number,
    group: Span,
    *,
    library: CollectiveConstants,
    direct: CollectiveConstants | None = None,
    captured: bool = True,
) -> Number:
    """Seconds of a collective of `message_bytes` [B] over a group of ranks.

    `library` are constants of the library's kernel for this collective (`KERNEL_OF` names it), `direct` those of the
    engine's own all-reduce, which is taken up to its size limit, and above it the library's. With `captured` false each
    call waits for the host. `message_bytes` counts as in `collective_time`. Raises `UnknownNameError` for another
    collective.
    """
    if not group:
        return 0.0 * message_bytes
    inside = partial(_on_one, library=library, direct=direct, captured=captured)
    if len(group) == 1 and not group[0].axes:
        return inside(kind, message_bytes, group)
    if len(group) == 1 or kind not in _HIERARCHICAL:
        return _beyond(kind, message_bytes, group, library)
    innermost = group[0]

    def best(part: str, part_bytes: Number, span: Span) -> Number:
        is_inside = span[0] is innermost and not innermost.axes
        return inside(part, part_bytes, span) if is_inside else _beyond(part, part_bytes, span, library)

    return _HIERARCHICAL[kind](message_bytes, group, best=best)


def calibrated_exchange(exchange: TokenExchange, group: Span, chip: Chip, constants: DispatchConstants) -> Number:
    """Seconds of sending tokens to the ranks of their experts, or back, over a group of ranks of a chip.

    On one dimension the kernel model within a node, on two that across nodes: `constants` are of the one or the other.
    Over more, and where ranks lie on rings, the alpha-beta time at the share of bandwidth that is reached.
    """
    if not group:
        return 0.0 * exchange.tokens
    routing, outermost = exchange.routing, group[-1]
    if len(group) > 2 or any(hop.axes for hop in group):
        return constants.launch + exchange_time(exchange, group, efficiency=constants.link_share)
    ranks = ranks_of(group)
    return dispatch_kernel_time(
        exchange.tokens * routing.skew,
        exchange.token_bytes,
        top_k=routing.sent,
        experts=routing.experts or ranks,
        devices=ranks,
        nodes=outermost.ranks if len(group) == 2 else 1,
        link_bandwidth=link_rate(outermost),
        cores=chip.cores.count,
        clock=chip.cores.clock,
        constants=constants,
        each_expert=routing.mode == "low_latency",
        balanced=routing.even_groups > 1,
        reachable=(routing.node_limit or ranks) if len(group) == 2 else ranks,
    )


def link_rate(hop: Hop) -> Number:
    """Bandwidth of a rank's link as the kernel models take it [B/s]: how devices share a bus is one of their constants."""
    return neighbour_rate(hop) if hop.dimension.topology == "bus" else spread_rate(hop)


def _on_one(
    kind: str,
    message_bytes: Number,
    span: Span,
    *,
    library: CollectiveConstants,
    direct: CollectiveConstants | None,
    captured: bool,
) -> Number:
    """A collective on one dimension."""
    (hop,) = span
    rate, reduces = link_rate(hop), hop.dimension.in_network_reduction
    of_library = collective_kernel_time(
        kind,
        message_bytes,
        devices=hop.ranks,
        link_bandwidth=rate,
        constants=library,
        in_network_reduction=reduces,
        captured=captured,
    )
    if direct is None or kind != "all_reduce":
        return of_library
    own = direct_all_reduce_time(
        minimum(message_bytes, direct.size_limit),
        devices=hop.ranks,
        link_bandwidth=rate,
        constants=direct,
        in_network_reduction=reduces,
        captured=captured,
    )
    return where(message_bytes > direct.size_limit, maximum(of_library, own), own)


def _beyond(kind: str, message_bytes: Number, span: Span, library: CollectiveConstants) -> Number:
    """A collective where no kernel was measured: alpha-beta at the share of bandwidth of the measured ones."""
    return library.launch + collective_time(kind, message_bytes, span=span, efficiency=library.bulk_share)
