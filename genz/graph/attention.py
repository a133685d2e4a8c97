"""Operators of the token mixers: projections, rotary positions, attention itself, and the output projection."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from genz.graph.context import Context
from genz.graph.step import Group, Operator, Run
from genz.operators import attention as kernels
from genz.operators.demand import Demand
from genz.operators.elementwise import NORM_FLOPS, ROPE_FLOPS, elementwise
from genz.operators.gemm import gemm
from genz.operators.visibility import Sight, stretches
from genz.specs.layers import Attention, LatentAttention, TokenMixer, ceil_div

AttentionDemand = Callable[[Sight, Group], Demand]
UNFUSED_ATTENTION_KERNELS = 3


def attention_operators(mixer: TokenMixer, context: Context, *, reduces: bool) -> Iterable[Operator]:
    """All operators of a token mixer; `reduces`: it ends with a sum over tensor-parallel ranks of its own."""
    if isinstance(mixer, LatentAttention):
        yield from _latent(mixer, context)
    else:
        yield from _grouped_query(mixer, context)
    yield context.linear(mixer.linears[-1], context.tokens)
    if reduces and context.tensor_parallel > 1:
        yield context.all_reduce("attention_all_reduce", mixer.hidden)


def _core(name: str, mixer: TokenMixer, context: Context, demand: AttentionDemand) -> Operator:
    """The attention kernel over all groups, with its demand over the repeats of the step."""
    runs = tuple(
        Run(demand(stretch.first, group), demand(stretch.last, group), stretch.length, stretch.weight)
        for group in context.step.groups
        for stretch in stretches(
            group.context, group.new_tokens, context.step.repeats,
            window=mixer.window, chunk=mixer.chunk, shared=_shared_context(mixer, group, context),
        )
    )  # fmt: skip
    launched = 1 if context.engine.fuses("attention") else UNFUSED_ATTENTION_KERNELS
    return Operator(name, context.layer, "attention", context.count, runs, launched)


def _shared_context(mixer: TokenMixer, group: Group, context: Context) -> float:
    """Context tokens whose cache beams share and read once: where the engine can, and in full attention."""
    is_shared = context.engine.shared_prefix_attention and mixer.window is None and mixer.chunk is None
    return group.shared_context if is_shared else 0


def _rope_and_norms(mixer: TokenMixer, context: Context, *, elements_per_token: int, normalised: bool) -> Iterable[Operator]:
    elements = context.tokens * elements_per_token
    element_bytes = context.widths.base_bytes
    if normalised and not context.engine.fuses("norm"):
        demand = elementwise(elements, reads=1, writes=1, flops=NORM_FLOPS, element_bytes=element_bytes)
        yield context.operator("query_key_norm", "elementwise", demand)
    if mixer.rope and not context.engine.fuses("rope"):
        demand = elementwise(elements, reads=1, writes=1, flops=ROPE_FLOPS, element_bytes=element_bytes)
        yield context.operator("rope", "elementwise", demand)


def _grouped_query(mixer: Attention, context: Context) -> Iterable[Operator]:
    widths = context.widths
    heads = ceil_div(mixer.heads, context.tensor_parallel)
    kv_heads = ceil_div(mixer.kv_heads, context.tensor_parallel)
    yield from context.linears(mixer.linears[:3], context.tokens, fuse=context.engine.fuses("qkv"))
    yield from _rope_and_norms(
        mixer, context, elements_per_token=(heads + kv_heads) * mixer.head_dim, normalised=mixer.normalises_queries
    )

    def demand(sight: Sight, group: Group) -> Demand:
        return kernels.attention(
            sight, sequences=group.sequences, new_tokens=group.new_tokens, query_heads=heads, kv_heads=kv_heads,
            key_dim=mixer.head_dim, value_dim=mixer.head_dim, cache_bytes=widths.kv_cache_bytes,
            activation_bytes=widths.base_bytes, matrix_type=widths.base, fused=context.engine.fuses("attention"),
            beams=group.beams,
        )  # fmt: skip

    yield _core("attention", mixer, context, demand)


def _latent(mixer: LatentAttention, context: Context) -> Iterable[Operator]:
    *projections, latent_up, _output = mixer.linears
    if mixer.query_rank is None:
        yield from context.linears(tuple(projections), context.tokens, fuse=context.engine.fuses("qkv"))
    else:
        query_down, query_up, latent_down = projections
        yield from context.linears((query_down, latent_down), context.tokens, fuse=context.engine.fuses("qkv"))
        yield context.linear(query_up, context.tokens)
    heads = ceil_div(mixer.heads, context.tensor_parallel)
    yield from _rope_and_norms(mixer, context, elements_per_token=(heads + 1) * mixer.rope_dim, normalised=False)
    if context.step.phase == "decode" and context.engine.latent_attention == "absorbed":
        yield from _absorbed(mixer, context, heads)
    else:
        yield from _expanded(mixer, context, heads)


def _absorbed(mixer: LatentAttention, context: Context, heads: int) -> Iterable[Operator]:
    """The up-projection is split: its key part moves into the queries, its value part behind the attention."""
    widths = context.widths

    def per_head(name: str, outputs: int, inputs: int) -> Operator:
        return context.operator(name, "gemm", gemm(
            context.tokens, outputs, inputs, batch=heads, weight_bytes=widths.weight_bytes(quantised=True),
            input_bytes=widths.base_bytes, output_bytes=widths.base_bytes, matrix_type=widths.base,
        ))  # fmt: skip

    def demand(sight: Sight, group: Group) -> Demand:
        return kernels.absorbed_latent_attention(
            sight, sequences=group.sequences, new_tokens=group.new_tokens, query_heads=heads,
            latent_rank=mixer.latent_rank, rope_dim=mixer.rope_dim, cache_bytes=widths.kv_cache_bytes,
            activation_bytes=widths.base_bytes, matrix_type=widths.base, fused=context.engine.fuses("attention"),
            beams=group.beams,
        )  # fmt: skip

    yield per_head("query_absorb_gemm", mixer.latent_rank, mixer.nope_dim)
    yield _core("latent_attention", mixer, context, demand)
    yield per_head("value_expand_gemm", mixer.value_dim, mixer.latent_rank)


def _expanded(mixer: LatentAttention, context: Context, heads: int) -> Iterable[Operator]:
    """Keys and values of all heads are made from the latents of all keys, cached ones too, in every step."""
    widths = context.widths
    inputs, outputs = mixer.linears[-2].local(context.tensor_parallel)

    def expansion(sight: Sight, group: Group) -> Demand:
        return gemm(
            group.sequences * sight.keys, outputs, inputs, weight_bytes=widths.weight_bytes(quantised=True),
            input_bytes=widths.input_bytes(quantised=True), output_bytes=widths.base_bytes,
            matrix_type=widths.matrix_type(quantised=True),
        )  # fmt: skip

    def demand(sight: Sight, group: Group) -> Demand:
        return kernels.expanded_latent_attention(
            sight, sequences=group.sequences, new_tokens=group.new_tokens, query_heads=heads,
            latent_width=mixer.latent_width, key_dim=mixer.query_key_dim, value_dim=mixer.value_dim,
            cache_bytes=widths.kv_cache_bytes, activation_bytes=widths.base_bytes, matrix_type=widths.base,
            fused=context.engine.fuses("attention"),
        )  # fmt: skip

    expand = _core("latent_expand_gemm", mixer, context, expansion)
    yield Operator(expand.name, expand.layer, "gemm", expand.count, expand.runs)
    yield _core("attention", mixer, context, demand)
