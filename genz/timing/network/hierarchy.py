"""Collectives that work through the dimensions one after the other, each with the best algorithm of its own.

`best(kind, bytes, span)` prices a collective on one dimension. Source: Cho et al., BlueConnect: decomposing all-reduce
for deep learning on heterogeneous network hierarchy, MLSys 2019.
"""

from __future__ import annotations

from collections.abc import Callable

from genz.numerics import Number, total
from genz.timing.network.layout import Hop, Span

Best = Callable[[str, Number, Span], Number]


def all_reduce(message_bytes: Number, span: Span, best: Best) -> Number:
    """Reduce-scatter from the inside out, all-reduce outermost, all-gather back, which costs the same [s].

    Each dimension works on what the ones inside of it have left: n over the ranks inside.
    """
    *inner, (outermost, part) = _parts(message_bytes, span)
    return 2 * total([best("all_gather", n, (hop,)) for hop, n in inner]) + best("all_reduce", part, (outermost,))


def gather(message_bytes: Number, span: Span, best: Best, *, kind: str) -> Number:
    """All-gather from the outside in, or reduce-scatter from the inside out [s]."""
    return total([best(kind, n, (hop,)) for hop, n in _parts(message_bytes, span)])


def all_to_all(message_bytes: Number, span: Span, best: Best) -> Number:
    """In each dimension in turn, the whole buffer: to the peers that stand where its destinations do [s]."""
    return total([best("all_to_all", message_bytes, (hop,)) for hop in span])


def broadcast(message_bytes: Number, span: Span, best: Best) -> Number:
    """Outermost first, one rank of each instance; then inwards, all of n each time [s]."""
    return total([best("broadcast", message_bytes, (hop,)) for hop in span])


def scatter_gather(message_bytes: Number, span: Span, best: Best) -> Number:
    """Scatter inside, broadcast the parts outermost over every inner rank's own link, all-gather inside [s].

    The scatter costs what the all-gather does: the root sends as much as each rank there receives.
    """
    *inner, (outermost, part) = _parts(message_bytes, span)
    return 2 * total([best("all_gather", n, (hop,)) for hop, n in inner]) + best("broadcast", part, (outermost,))


def _parts(message_bytes: Number, span: Span) -> list[tuple[Hop, Number]]:
    """Each dimension with what is left of the buffer when those inside of it are done."""
    parts, inner = [], 1
    for hop in span:
        parts.append((hop, message_bytes / inner))
        inner *= hop.ranks
    return parts
