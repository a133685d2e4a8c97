"""Bytes that collectives put on the wires, for the energy of moving them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from genz.errors import unknown_name
from genz.numerics import Number
from genz.timing.network.all_reduce import in_network_volume
from genz.timing.network.layout import Hop, Span, ranks_of
from genz.timing.network.patterns import passages
from genz.timing.network.rates import mean_distance, neighbour_distance


def wire_bytes_by_dimension(kind: str, message_bytes: Number, span: Span) -> tuple[Number, ...]:
    """Bytes that each rank sends over the links of each dimension of a span, in the mean over ranks [B].

    They are those of the algorithms that send least, which large messages take; a link that only passes a message on
    counts too. `message_bytes` as in `collective_time`.
    """
    if kind not in _SHARES:
        raise unknown_name("collective", kind, _SHARES)
    return tuple(share * message_bytes for share in _SHARES[kind](span))


def _gathered(span: Span) -> list[float]:
    """(p - 1) / p of what the dimensions inside have left over."""
    inner = _inner_ranks(span)
    return [_passed_on(hop) / before for hop, before in zip(span, inner, strict=True)]


def _passed_on(hop: Hop) -> float:
    """What a rank sends of a buffer of 1 in an all-gather within one dimension, from neighbour to neighbour."""
    sent, left = 0.0, 1.0
    for axis in hop.axes:
        sent += left * (axis.ranks - 1) / axis.ranks * axis.stride
        left /= axis.ranks
    return sent if hop.axes else (hop.ranks - 1) / hop.ranks


def _reduced(span: Span) -> list[float]:
    shares = [2 * share for share in _gathered(span)]
    outermost = span[-1] if span else None
    if outermost is not None and outermost.dimension.in_network_reduction:
        shares[-1] = min(shares[-1], in_network_volume(outermost) / _inner_ranks(span)[-1])
    return shares


def _exchanged(span: Span) -> list[float]:
    """(p - 1) / p for each dimension, or the mean distance where messages pass through others."""
    return [sum(map(mean_distance, hop.axes)) if hop.axes else (hop.ranks - 1) / hop.ranks for hop in span]


def _spread(span: Span) -> list[float]:
    """A copy for each rank but the root."""
    return [passage.crossings / ranks_of(span) for passage in passages(span)]


def _handed_on(span: Span) -> list[float]:
    """One message from each rank but the last to the next."""
    return [p.crossings / (ranks_of(span) - 1) * neighbour_distance(p.hop) for p in passages(span)]


def _inner_ranks(span: Span) -> list[int]:
    return [math.prod(hop.ranks for hop in span[:index]) for index in range(len(span))]


_SHARES: dict[str, Callable[[Span], Sequence[float]]] = {
    "all_reduce": _reduced,
    "reduce_scatter": _gathered,
    "all_gather": _gathered,
    "all_to_all": _exchanged,
    "broadcast": _spread,
    "send_receive": _handed_on,
}
