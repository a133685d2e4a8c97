"""One message from a rank to the next of its group, as between pipeline stages."""

from __future__ import annotations

from genz.numerics import Number, maximum
from genz.timing.network.layout import Span
from genz.timing.network.rates import neighbour_distance, neighbour_rate


def point_to_point(message_bytes: Number, span: Span) -> Number:
    """alpha + n / B over the slowest dimension that lies between any two neighbours [s]."""
    times = [neighbour_distance(hop) * hop.dimension.latency + message_bytes / neighbour_rate(hop) for hop in span]
    return maximum(*times)
