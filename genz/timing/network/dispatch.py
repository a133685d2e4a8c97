"""Dispatch of tokens to the ranks of their experts, and the way back, as DeepEP and its kin do it.

A token that goes to several experts of one rank, or of one node, is sent there once: it crosses the scale-out network
once for each node and is copied inside. A node is an instance of the innermost dimension. Source: DeepSeek-AI,
DeepSeek-V3 technical report, 2024, section 3.2.2; the DeepEP library.
"""

from __future__ import annotations

import math

from genz.errors import InvalidValueError
from genz.numerics import Number, maximum, total
from genz.operators.exchange import Routing, TokenExchange
from genz.timing.network.layout import Span, ranks_of
from genz.timing.network.rates import diameter, spread_rate

FP8_BYTES = 1 + 4 / 128  # of an element in DeepEP's FP8 dispatch, where 128 of them share an fp32 scale
BF16_BYTES = 2.0


def dispatch_time(
    tokens: Number,
    hidden: Number,
    routing: Routing,
    *,
    span: Span,
    element_bytes: Number = FP8_BYTES,
    efficiency: Number = 1.0,
) -> Number:
    """Seconds to send the `tokens` of each rank to the ranks of their experts, by default in FP8 with block scales.

    sum alpha + max tokens x bytes x copies / B over the dimensions: copies are made in the node while others still
    arrive. `element_bytes` [B] counts the scales. In the mode `low_latency` each copy is a message of its own.
    """
    return _exchange_time(tokens, hidden * element_bytes, routing, span, efficiency)


def combine_time(
    tokens: Number,
    hidden: Number,
    routing: Routing,
    *,
    span: Span,
    element_bytes: Number = BF16_BYTES,
    efficiency: Number = 1.0,
) -> Number:
    """Seconds to bring the experts' results back, by default in BF16: added up in the node, then sent once [s]."""
    return _exchange_time(tokens, hidden * element_bytes, routing, span, efficiency)


def exchange_time(exchange: TokenExchange, group: Span, *, efficiency: Number = 1.0) -> Number:
    """Seconds of an exchange of tokens with their experts over the ranks of a span, as `dispatch_time`."""
    return _exchange_time(exchange.tokens, exchange.token_bytes, exchange.routing, group, efficiency)


def exchanged_bytes(exchange: TokenExchange, group: Span) -> tuple[Number, ...]:
    """Bytes that each rank sends over each dimension of a span, innermost first [B]."""
    return tuple(exchange.tokens * exchange.token_bytes * crossing for crossing in copies(exchange.routing, group))


def copies(routing: Routing, span: Span) -> tuple[float, ...]:
    """Copies of a token that leave a rank over each dimension of a span, innermost first, expected.

    D (1 - 1/p): D is the number of distinct instances of what lies inside of the dimension that the token goes to,
    one of p of them its own. The mode `low_latency` sends k copies evenly to all ranks.
    """
    found, inner, ranks = [], 1, ranks_of(span)
    for hop in span:
        if routing.mode == "low_latency":
            found.append(routing.sent * inner * (hop.ranks - 1) / ranks)
        else:
            found.append(_distinct_in_reach(inner, span, routing) * (1 - 1 / hop.ranks))
        inner *= hop.ranks
    return tuple(found)


def distinct_groups(groups: int, top_k: int, experts: float | None = None, *, zero_experts: int = 0) -> float:
    """How many of `groups` equal groups of experts a token's top k fall into, expected: n (1 - (1 - 1/n)^k).

    Of a known number E of experts the k differ: n (1 - C(E - E/n, k) / C(E, k)). With Z `zero_experts`, which lie in no group,
    they are drawn of E + Z: n (1 - C(E + Z - E/n, k) / C(E + Z, k)).
    """
    if experts is None:
        return groups * -math.expm1(top_k * math.log1p(-1 / groups)) if groups > 1 else 1.0
    drawn_of = experts + zero_experts
    elsewhere = drawn_of - experts / groups
    return groups * (1 - math.prod(max(elsewhere - drawn, 0.0) / (drawn_of - drawn) for drawn in range(top_k)))


def _distinct_in_reach(inner: int, span: Span, routing: Routing) -> float:
    """Distinct groups of `inner` ranks that a token goes to, within the nodes that it may go to."""
    in_node = span[0].ranks
    nodes = ranks_of(span) // in_node
    reached = min(nodes, routing.node_limit or nodes)
    experts = None if routing.experts is None else routing.experts * reached / nodes
    if experts is not None and experts < routing.top_k:
        raise InvalidValueError(
            f"node_limit = {routing.node_limit} of {nodes} nodes holds {experts:g} experts, fewer than top_k = {routing.top_k}",
            field="node_limit",
            value=routing.node_limit,
            hint=f"nearest number of nodes that holds them: {math.ceil(routing.top_k * nodes / (routing.experts or 1))}",
        )
    groups = reached * in_node if inner == 1 else min(ranks_of(span) // inner, reached)
    # Where experts are picked evenly over groups of their own, every share of the ranks that holds whole ones is reached.
    shares = math.gcd(routing.even_groups, groups)
    return shares * distinct_groups(
        groups // shares,
        routing.top_k // shares,
        None if experts is None else experts / shares,
        zero_experts=routing.zero_experts // shares,
    )


def _exchange_time(tokens: Number, bytes_each: Number, routing: Routing, span: Span, efficiency: Number) -> Number:
    if not span:
        return 0.0 * tokens * bytes_each
    times = []
    for hop, crossing in zip(span, copies(routing, span), strict=True):
        sent = tokens * crossing
        messages = sent if routing.mode == "low_latency" else hop.ranks - 1
        further = maximum(messages - 1, 0) * hop.dimension.message_overhead
        times.append(further + routing.skew * sent * bytes_each / (efficiency * spread_rate(hop)))
    latencies = [diameter(hop) * hop.dimension.latency for hop in span]
    return maximum(*times) + (maximum(*latencies) if routing.mode == "low_latency" else total(latencies))
