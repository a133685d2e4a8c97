"""Operators of the channel mixers: feed-forward networks and mixtures of experts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from genz.graph.context import Context
from genz.graph.step import Operator
from genz.numerics import Number, minimum, total
from genz.operators.elementwise import ACTIVATION_FLOPS, elementwise
from genz.operators.exchange import Routing, TokenExchange
from genz.operators.moe import expert_gemm, rank_load, touched_experts
from genz.operators.shapes import ExpertsPart, ExpertsShape
from genz.specs.channel_mixers import FeedForward, Matrices, MixtureOfExperts
from genz.specs.parallelism import local_experts


def feed_forward_operators(mixer: FeedForward, context: Context, *, reduces: bool = True) -> Iterable[Operator]:
    """Up (and gate), activation, down, and the sum over tensor-parallel ranks."""
    *first, down = mixer.linears
    yield from context.linears(tuple(first), context.tokens, fuse=context.engine.fuses("gate_up"))
    yield from _activation(mixer, context, rows=context.tokens, name="activation", ranks=context.tensor_parallel)
    yield context.linear(down, context.tokens)
    if reduces:
        yield from context.sum_over_ranks("feed_forward", mixer.hidden)


def matrices_operators(mixer: Matrices, context: Context) -> Iterable[Operator]:
    """The GEMMs of matrices that stand by themselves, and the sum over ranks where the last one is split by its inputs."""
    rows = context.sequences if mixer.per_sequence else context.tokens
    for linear in mixer.linears:
        yield context.linear(linear, rows)
    if mixer.reduces:
        yield from context.sum_over_ranks("matrices", mixer.hidden)


def _activation(mixer: FeedForward, context: Context, *, rows: Number, name: str, ranks: int) -> Iterable[Operator]:
    if context.engine.fuses("activation"):
        return
    inner = mixer.linears[0].local(ranks)[1]
    yield context.operator(
        name,
        "elementwise",
        elementwise(
            rows * inner,
            reads=2 if mixer.gated else 1,
            writes=1,
            flops=ACTIVATION_FLOPS,
            element_bytes=context.widths.base_bytes,
        ),
    )


def mixture_operators(mixer: MixtureOfExperts, context: Context) -> Iterable[Operator]:
    """Router, routed experts, shared experts, and the exchanges between them.

    Experts lie on `expert` ranks, and each expert's matrices on `expert_tensor` of them. Where the ranks hold different
    tokens (data parallelism inside of the expert group), tokens are sent to their experts and back; else every rank has
    the tokens already, and one sum over the tensor ranks collects what the experts and the shared ones made.
    """
    yield context.linear(mixer.router, context.tokens)
    exchanges = context.parallelism.coupled_data > 1
    if exchanges:
        yield _exchange(mixer, context, "dispatch")
    yield from _routed_experts(mixer, context)
    if exchanges:
        yield _exchange(mixer, context, "combine")
        yield from _regather(mixer, context)
    if mixer.shared is not None:
        if mixer.shared_gate:
            yield context.linear(mixer.linears[1], context.tokens)
        yield from feed_forward_operators(mixer.shared, context, reduces=exchanges)
    if not exchanges:
        yield from context.sum_over_ranks("feed_forward", mixer.hidden)


def _routed_experts(mixer: MixtureOfExperts, context: Context) -> Iterable[Operator]:
    """The grouped GEMMs of the most loaded rank: the step waits for it."""
    parallelism, widths = context.parallelism, context.widths
    group_tokens = context.tokens * parallelism.coupled_data
    load = _rank_load(mixer, context)
    rows = group_tokens * mixer.picked / parallelism.expert * load
    copies = mixer.experts + parallelism.redundant_experts
    touched = touched_experts(
        _different_tokens(context),
        experts=copies,
        top_k=mixer.top_k,
        local_experts=local_experts(copies, parallelism.expert),
        load=load,
        routing=context.routing,
        even_groups=mixer.even_groups,
        zero_experts=mixer.zero_experts,
    )
    *first, down = mixer.expert.linears
    shapes = [linear.local(parallelism.expert_tensor) for linear in first]
    down_inputs, down_outputs = down.local(parallelism.expert_tensor)

    shape = ExpertsShape(
        tokens=group_tokens,
        pairs=group_tokens * mixer.picked,
        rows=rows,
        touched=touched,
        hidden=shapes[0][0],
        inner=shapes[0][1],
        gated=mixer.expert.gated,
        weight_bytes=widths.weight_bytes(quantised=True, expert=True),
        input_bytes=widths.input_bytes(quantised=True, expert=True),
        output_bytes=widths.base_bytes,
        matrix_type=widths.matrix_type(quantised=True, expert=True),
        format=widths.kernel_format(quantised=True, expert=True),
    )

    def grouped(name: str, outputs: int, inputs: int, part: int) -> Operator:
        return context.operator(
            name,
            "experts",
            expert_gemm(
                rows,
                outputs,
                inputs,
                touched=touched,
                weight_bytes=widths.weight_bytes(quantised=True, expert=True),
                input_bytes=widths.input_bytes(quantised=True, expert=True),
                output_bytes=widths.base_bytes,
                matrix_type=widths.matrix_type(quantised=True, expert=True),
                shape=ExpertsPart(shape, part),
            ),
        )

    first_name = "experts_gate_up_gemm" if mixer.expert.gated else "experts_up_gemm"
    yield grouped(first_name, sum(outputs for _, outputs in shapes), shapes[0][0], 0)
    for activation in _activation(mixer.expert, context, rows=rows, name="experts_activation", ranks=parallelism.expert_tensor):
        yield activation.shaped(ExpertsPart(shape, 1))
    yield grouped("experts_down_gemm", down_outputs, down_inputs, 2)


def _exchange(mixer: MixtureOfExperts, context: Context, name: str) -> Operator:
    """Tokens to the ranks of their experts (dispatch, in the width that the experts read) or back (combine).

    Tensor ranks, which hold the same tokens, send a share each. A decode step has few: each goes to each of its experts
    at once (low latency), where a prompt's go once to each rank.
    """
    parallelism, widths = context.parallelism, context.widths
    element_bytes = widths.input_bytes(quantised=True, expert=True) if name == "dispatch" else widths.base_bytes
    tokens = context.tokens / parallelism.tensor
    routing = Routing(
        mixer.top_k,
        experts=None if mixer.experts % parallelism.expert else mixer.experts,
        node_limit=mixer.groups_per_token,
        even_groups=mixer.even_groups,
        zero_experts=mixer.zero_experts,
        mode="low_latency" if context.step.phase == "decode" else "normal",
        skew=_rank_load(mixer, context),
    )
    exchange = TokenExchange(tokens, mixer.hidden * element_bytes, routing)
    operator = context.collective(name, name, tokens * mixer.hidden * element_bytes, ranks=parallelism.expert)
    return replace(operator, exchange=exchange, hides_behind=_dense_work(mixer, context, name))


def _dense_work(mixer: MixtureOfExperts, context: Context, name: str) -> str | None:
    """The GEMM of a layer's dense network behind which an exchange runs, where a shortcut leads past that network."""
    if not mixer.shortcut or mixer.shared is None:
        return None
    *first, down = mixer.shared.linears
    if name == "combine":
        return f"{down.name}_gemm"
    is_fused = len(first) > 1 and context.engine.fuses("gate_up")
    return f"{first[0].fused_as if is_fused else first[0].name}_gemm"


def _rank_load(mixer: MixtureOfExperts, context: Context) -> Number:
    """What the most loaded rank receives over the mean."""
    tokens = _different_tokens(context)
    return rank_load(
        context.routing,
        tokens,
        experts=mixer.experts + context.parallelism.redundant_experts,
        top_k=mixer.top_k,
        ranks=context.parallelism.expert,
        even_groups=mixer.even_groups,
        zero_experts=mixer.zero_experts,
    )


def _different_tokens(context: Context) -> Number:
    """Tokens of the expert group that choose their experts by themselves: of identical sequences, those of one."""
    tokens = context.tokens * context.parallelism.coupled_data
    if context.routing != "identical":
        return tokens
    return minimum(tokens, total([group.new_tokens for group in context.step.groups]))


def _regather(mixer: MixtureOfExperts, context: Context) -> Iterable[Operator]:
    """After the combine each tensor rank has its share of the tokens; attention needs all of them."""
    if context.tensor_parallel > 1 and not context.parallelism.sequence_parallel:
        message = context.tokens * mixer.hidden * context.widths.base_bytes
        yield context.collective("experts_all_gather", "all_gather", message, ranks=context.tensor_parallel)
