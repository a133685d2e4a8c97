"""Operators of the channel mixers: feed-forward networks and mixtures of experts."""

from __future__ import annotations

from collections.abc import Iterable

from genz.graph.context import Context
from genz.graph.step import Operator
from genz.operators.elementwise import ACTIVATION_FLOPS, elementwise
from genz.operators.moe import expert_gemm
from genz.specs.layers import FeedForward, MixtureOfExperts


def feed_forward_operators(mixer: FeedForward, context: Context, *, reduces: bool = True) -> Iterable[Operator]:
    """Up (and gate), activation, down, and the sum over tensor-parallel ranks."""
    *first, down = mixer.linears
    yield from context.linears(tuple(first), context.tokens, fuse=context.engine.fuses("gate_up"))
    yield from _activation(mixer, context, rows=context.tokens, name="activation")
    yield context.linear(down, context.tokens)
    if reduces and context.tensor_parallel > 1:
        yield context.all_reduce("feed_forward_all_reduce", mixer.hidden)


def _activation(mixer: FeedForward, context: Context, *, rows: float, name: str) -> Iterable[Operator]:
    if context.engine.fuses("activation"):
        return
    inner = mixer.linears[0].local(context.tensor_parallel)[1]
    yield context.operator(name, "elementwise", elementwise(
        rows * inner, reads=2 if mixer.gated else 1, writes=1, flops=ACTIVATION_FLOPS, element_bytes=context.widths.base_bytes,
    ))  # fmt: skip


def mixture_operators(mixer: MixtureOfExperts, context: Context) -> Iterable[Operator]:
    """Router, routed experts (each expert's matrices split over the ranks), shared experts, and one sum."""
    tokens = context.tokens
    yield context.linear(mixer.router, tokens)
    *first, down = mixer.expert.linears
    widths = context.widths
    shapes = [linear.local(context.tensor_parallel) for linear in first]
    for name, outputs, inputs in (
        ("experts_gate_up_gemm" if mixer.expert.gated else "experts_up_gemm", sum(n for _, n in shapes), shapes[0][0]),
        ("experts_down_gemm", down.local(context.tensor_parallel)[1], down.local(context.tensor_parallel)[0]),
    ):
        demand = expert_gemm(
            tokens, outputs, inputs, experts=mixer.experts, top_k=mixer.top_k,
            weight_bytes=widths.weight_bytes(quantised=True, expert=True),
            input_bytes=widths.input_bytes(quantised=True, expert=True), output_bytes=widths.base_bytes,
            matrix_type=widths.matrix_type(quantised=True, expert=True),
        )  # fmt: skip
        yield context.operator(name, "experts", demand)
        if name != "experts_down_gemm":
            yield from _activation(mixer.expert, context, rows=tokens * mixer.top_k, name="experts_activation")
    if mixer.shared is not None:
        if mixer.shared_gate:
            yield context.linear(mixer.linears[1], tokens)
        yield from feed_forward_operators(mixer.shared, context, reduces=False)
    if context.tensor_parallel > 1:
        yield context.all_reduce("feed_forward_all_reduce", mixer.hidden)
