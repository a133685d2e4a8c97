"""Operators of the token mixers: projections, rotary positions, attention itself, and the output projection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from genz.graph.context import Context
from genz.graph.indexer import indexer_operators
from genz.graph.step import Group, Operator, Run
from genz.numerics import Number, maximum, minimum, total
from genz.operators.attention import attention
from genz.operators.demand import Demand
from genz.operators.elementwise import ACTIVATION_FLOPS, NORM_FLOPS, ROPE_FLOPS, elementwise
from genz.operators.gemm import gemm
from genz.operators.shapes import AttentionShape
from genz.operators.visibility import Sight, Stretch, stretches
from genz.specs.linear import ceil_div
from genz.specs.token_mixers import Attention, LatentAttention

GroupDemand = Callable[[Sight, Group], Demand]
UNFUSED_ATTENTION_KERNELS = 3


AnyAttention = Attention | LatentAttention


def attention_operators(mixer: AnyAttention, context: Context, *, reduces: bool) -> Iterable[Operator]:
    """All operators of attention; `reduces`: it ends with a sum over tensor-parallel ranks of its own."""
    if isinstance(mixer, LatentAttention):
        yield from _latent(mixer, context)
    else:
        yield from _grouped_query(mixer, context)
    yield context.linear(mixer.linears[-1], context.tokens)
    if reduces:
        yield from context.sum_over_ranks("attention", mixer.hidden)


def _grouped_query(mixer: Attention, context: Context) -> Iterable[Operator]:
    heads = ceil_div(mixer.heads, context.tensor_parallel)
    kv_heads = ceil_div(mixer.kv_heads, context.tensor_parallel)
    if mixer.source is None:
        yield from context.linears(mixer.linears[:-1], context.tokens, fuse=context.engine.fuses("qkv"))
    else:
        yield from _cross_projections(mixer, context)
    rotated = (heads + (0 if mixer.borrows else kv_heads)) * mixer.head_dim
    yield from _rope_and_norms(mixer, context, elements_per_token=rotated, normalised=mixer.normalises_queries)
    width = mixer.head_dim
    for part in context.by_phase():
        yield from _core(
            "attention", mixer, part, heads=heads, key_dim=width, value_dim=width, cached_width=2 * kv_heads * width
        )
    if mixer.gated and not context.engine.fuses("activation"):
        gate = elementwise(
            context.tokens * heads * width, reads=2, writes=1, flops=ACTIVATION_FLOPS, element_bytes=context.widths.base_bytes
        )
        yield context.operator("output_gate", "elementwise", gate)


def _cross_projections(mixer: Attention, context: Context) -> Iterable[Operator]:
    """Queries of every new token, and in prefill the keys and values of what an encoder made: they are kept for the rest."""
    query, *key_value = mixer.linears[:-1]
    yield context.linear(query, context.tokens)
    if context.step.phase == "prefill":
        tokens = total([group.sequences * group.source_tokens for group in context.step.groups])
        yield from context.linears(tuple(key_value), tokens, fuse=context.engine.fuses("qkv"))


def _latent(mixer: LatentAttention, context: Context) -> Iterable[Operator]:
    chooses = mixer.indexer
    *projections, _latent_up, _output = mixer.linears[len(chooses.linears) if chooses else 0 :]
    if mixer.query_rank is None:
        yield from context.linears(tuple(projections), context.tokens, fuse=context.engine.fuses("qkv"))
    else:
        query_down, query_up, latent_down = projections
        yield from context.linears((query_down, latent_down), context.tokens, fuse=context.engine.fuses("qkv"))
        yield context.linear(query_up, context.tokens)
    heads = ceil_div(mixer.heads, context.tensor_parallel)
    rotated = heads + 1 + (chooses.heads + 1 if chooses else 0)
    yield from _rope_and_norms(mixer, context, elements_per_token=rotated * mixer.rope_dim, normalised=False)
    if chooses is not None and mixer.selected is not None:
        yield from indexer_operators(chooses, context, selected=mixer.selected)
    for part in context.by_phase():
        # Queries that see tokens of their own choice share no expanded keys: sparse attention works on latents in prefill too.
        absorbs = part.step.phase == "decode" or mixer.selected is not None
        if absorbs and context.engine.latent_attention == "absorbed":
            yield from _absorbed(mixer, part, heads)
        else:
            yield from _expanded(mixer, part, heads)


def _absorbed(mixer: LatentAttention, context: Context, heads: int) -> Iterable[Operator]:
    """The up-projection is split: its key part moves into the queries, its value part behind the attention."""
    widths = context.widths

    def per_head(name: str, outputs: int, inputs: int) -> Operator:
        demand = gemm(
            context.tokens,
            outputs,
            inputs,
            batch=heads,
            weight_bytes=widths.weight_bytes(quantised=True),
            input_bytes=widths.base_bytes,
            output_bytes=widths.base_bytes,
            matrix_type=widths.base,
            format=widths.kernel_format(quantised=False),
        )
        return context.operator(name, "gemm", demand)

    width, rank = mixer.latent_width, mixer.latent_rank
    yield per_head("query_absorb_gemm", rank, mixer.nope_dim)
    yield from _core("latent_attention", mixer, context, heads=heads, key_dim=width, value_dim=rank, cached_width=width)
    yield per_head("value_expand_gemm", mixer.value_dim, rank)


def _expanded(mixer: LatentAttention, context: Context, heads: int) -> Iterable[Operator]:
    """Keys and values of all heads are made from the latents of all keys, cached ones too, in every step."""
    widths = context.widths
    inputs, outputs = mixer.linears[-2].local(context.tensor_parallel)

    def expansion(sight: Sight, group: Group) -> Demand:
        return gemm(
            group.sequences * sight.keys,
            outputs,
            inputs,
            weight_bytes=widths.weight_bytes(quantised=True),
            input_bytes=widths.input_bytes(quantised=True),
            output_bytes=widths.base_bytes,
            matrix_type=widths.matrix_type(quantised=True),
            format=widths.kernel_format(quantised=True),
        )

    expand = _over_groups("latent_expand_gemm", mixer, context, expansion)
    yield replace(expand, category="gemm")
    yield from _core(
        "attention",
        mixer,
        context,
        heads=heads,
        key_dim=mixer.query_key_dim,
        value_dim=mixer.value_dim,
        cached_width=mixer.latent_width,
        expands=True,
    )


def _core(
    name: str,
    mixer: AnyAttention,
    context: Context,
    *,
    heads: int,
    key_dim: int,
    value_dim: int,
    cached_width: int,
    expands: bool = False,
) -> Iterable[Operator]:
    """The attention kernel of `heads` local heads, and what devices that share its work send each other around it."""
    widths, fused = context.widths, context.engine.fuses("attention")
    borrows = isinstance(mixer, Attention) and mixer.borrows
    latent = None if isinstance(mixer, Attention) else "expanded" if expands else "absorbed"
    # No kernel was measured whose queries each choose their keys; one new token's are a cache as any other.
    is_unmeasured = _selected(mixer) is not None and context.step.phase == "prefill"

    def shape(sight: Sight, group: Group) -> AttentionShape:
        return _attention_shape(
            mixer,
            context,
            sight,
            group,
            heads=heads * context.gathered_heads,
            kv_heads=heads if expands else 1 if latent else cached_width // (key_dim + value_dim),
            key_dim=key_dim,
            value_dim=value_dim,
            cached_width=cached_width,
            latent=latent,
        )

    def demand(sight: Sight, group: Group) -> Demand:
        return attention(
            sight,
            sequences=group.sequences,
            new_tokens=context.local_new_tokens(group),
            query_heads=heads * context.gathered_heads,
            key_dim=key_dim,
            value_dim=value_dim,
            cached_width=cached_width,
            cache_bytes=widths.kv_cache_bytes,
            activation_bytes=widths.base_bytes,
            matrix_type=widths.base,
            fused=fused,
            expands=expands,
            beams=group.beams,
            writes=not borrows,
            shape=shape(sight, group) if fused and not is_unmeasured else None,
        )

    if context.engine.concatenates_cache and context.step.phase == "decode" and not borrows:
        yield _cache_append(mixer, context, cached_width)
    yield replace(_over_groups(name, mixer, context, demand), kernels=1 if fused else UNFUSED_ATTENTION_KERNELS)
    yield from _cache_exchanges(
        context, name, query_width=heads * key_dim, output_width=heads * value_dim, cached_width=cached_width
    )


def _cache_append(mixer: AnyAttention, context: Context, cached_width: int) -> Operator:
    """The copy of all keys and values into tensors that hold the new tokens too: each is read and written."""

    def copied(sight: Sight, group: Group) -> Demand:
        return Demand(cache_bytes=2 * group.sequences * sight.keys * cached_width * context.widths.kv_cache_bytes)

    return replace(_over_groups("cache_append", mixer, context, copied), category="elementwise")


def _attention_shape(
    mixer: AnyAttention,
    context: Context,
    sight: Sight,
    group: Group,
    *,
    heads: int,
    kv_heads: int,
    key_dim: int,
    value_dim: int,
    cached_width: int,
    latent: str | None,
) -> AttentionShape:
    """What one kernel call sees: keys of a shared prompt count once, and a prompt in chunks is as many short prompts.

    Queries of a prompt that is split over devices are as many fewer sequences: each has its share of the causal work.
    """
    widths, tokens = context.widths, group.new_tokens
    sequences: Number = group.sequences / context.prompt_split
    keys = sight.keys - sight.shared * (1 - 1 / group.beams)
    if mixer.chunk is not None and context.step.phase == "prefill":
        pieces = maximum(tokens / mixer.chunk, 1)
        sequences, tokens, keys = sequences * pieces, tokens / pieces, minimum(keys, mixer.chunk)
    return AttentionShape(
        sequences=sequences,
        new_tokens=tokens,
        context=maximum(keys - tokens, 0),
        query_heads=heads,
        kv_heads=kv_heads,
        key_dim=key_dim,
        value_dim=value_dim,
        cached_width=cached_width,
        cache_bytes=widths.kv_cache_bytes,
        activation_bytes=widths.base_bytes,
        matrix_type=widths.base,
        format="fp8" if widths.kv_cache == "fp8" else widths.kernel_format(quantised=False),
        window=mixer.window,
        causal=mixer.causal and mixer.source is None,
        latent=latent,
        phase=context.step.phase,
    )


def _over_groups(name: str, mixer: AnyAttention, context: Context, demand: GroupDemand) -> Operator:
    """An operator that is done group by group, with its demand over the repeats of the step."""
    runs = tuple(
        Run(
            demand(context.local_sight(stretch.first), group),
            demand(context.local_sight(stretch.last), group),
            stretch.length,
            stretch.weight,
        )
        for group in context.step.groups
        for stretch in _stretches(mixer, group, context)
    )
    return Operator(name, context.layer, "attention", context.count, runs)


def _stretches(mixer: AnyAttention, group: Group, context: Context) -> tuple[Stretch, ...]:
    """What a group's queries see over a step's repeats: the cache as it grows, or an encoder's output, which does not."""
    if mixer.source is not None:
        still = Sight(group.new_tokens * group.source_tokens, group.source_tokens)
        return (Stretch(still, still, context.step.repeats),)
    if not mixer.causal and mixer.chunk is not None and group.chunk_keys is not None:
        still = Sight(group.new_tokens * group.chunk_keys, group.new_tokens)
        return (Stretch(still, still, context.step.repeats),)
    return stretches(
        group.context,
        group.new_tokens,
        context.step.repeats,
        window=mixer.window,
        chunk=mixer.chunk,
        shared=_shared_context(mixer, group, context),
        advance=group.advance,
        causal=mixer.causal,
        selected=_selected(mixer),
    )


def _selected(mixer: AnyAttention) -> int | None:
    """Keys that a query sees at most, of its own choice."""
    return mixer.selected if isinstance(mixer, LatentAttention) else None


def _shared_context(mixer: AnyAttention, group: Group, context: Context) -> float:
    """Context tokens whose cache beams share and read once: where the engine can, and in full attention."""
    reads_all = mixer.window is None and mixer.chunk is None and _selected(mixer) is None
    return group.shared_context if context.engine.shared_prefix_attention and reads_all else 0


def _rope_and_norms(mixer: AnyAttention, context: Context, *, elements_per_token: int, normalised: bool) -> Iterable[Operator]:
    elements = context.tokens * elements_per_token
    element_bytes = context.widths.base_bytes
    if normalised and not context.engine.fuses("norm"):
        demand = elementwise(elements, reads=1, writes=1, flops=NORM_FLOPS, element_bytes=element_bytes)
        yield context.operator("query_key_norm", "elementwise", demand)
    if mixer.rope and not context.engine.fuses("rope"):
        demand = elementwise(elements, reads=1, writes=1, flops=ROPE_FLOPS, element_bytes=element_bytes)
        yield context.operator("rope", "elementwise", demand)


def _cache_exchanges(
    context: Context, core: str, *, query_width: int, output_width: int, cached_width: int
) -> Iterable[Operator]:
    """What devices that split a prompt, or a cache, send each other around attention; widths are per token and device.

    In prefill every device gathers the keys and values of the others' tokens, around a ring behind attention itself or
    before it. In decode partial outputs are combined: over context ranks, which hold the same heads, by a sum; over
    decode-context ranks, which hold different ones, queries are gathered first and outputs scattered back.
    """
    parallelism, widths, step = context.parallelism, context.widths, context.step
    if step.phase == "prefill":
        if parallelism.context > 1:
            keys = total([group.sequences * (group.context + group.new_tokens) for group in step.groups])
            hidden = core if parallelism.context_exchange == "ring" else None
            yield context.collective(
                "cache_all_gather",
                "all_gather",
                keys * cached_width * widths.kv_cache_bytes,
                ranks=parallelism.context,
                stride=parallelism.context_stride,
                hides_behind=hidden,
            )
        return
    ranks = parallelism.decode_context
    if ranks > 1:
        queries = context.tokens * ranks * widths.base_bytes
        yield context.collective("query_all_gather", "all_gather", queries * query_width, ranks=ranks)
        yield context.collective("output_reduce_scatter", "reduce_scatter", queries * output_width, ranks=ranks)
    if parallelism.context > 1:
        yield context.collective(
            "output_all_reduce",
            "all_reduce",
            context.tokens * output_width * ranks * widths.base_bytes,
            ranks=parallelism.context,
            stride=parallelism.context_stride,
        )
