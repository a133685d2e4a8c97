"""Build the operators of a step: the embedding, each kind of layer once with its count, and the head."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from genz.graph.attention import attention_operators
from genz.graph.context import Context
from genz.graph.feed_forward import feed_forward_operators, matrices_operators, mixture_operators
from genz.graph.state_space import state_space_operators
from genz.graph.step import Operator, Step
from genz.numerics import total
from genz.operators.elementwise import NORM_FLOPS, RESIDUAL_FLOPS, SAMPLING_FLOPS, elementwise, gather
from genz.operators.gemm import gemm
from genz.specs.channel_mixers import Matrices, MixtureOfExperts
from genz.specs.engine import Engine
from genz.specs.layers import Encoder, Layer
from genz.specs.model import ModelSpec
from genz.specs.parallelism import Parallelism, Stage
from genz.specs.precision import Widths
from genz.specs.token_mixers import LatentAttention, StateSpace, TokenMixer


def build(
    model: ModelSpec,
    step: Step,
    *,
    parallelism: Parallelism,
    widths: Widths,
    engine: Engine,
    stage: Stage | None = None,
    routing: str = "balanced",
) -> tuple[Operator, ...]:
    """The operators of a step on the fullest device of a pipeline stage (the whole model if none is named).

    They stand in order of execution, alike layers grouped. The step is what the stage processes at once: with
    micro-batches, one of them. `routing` is how tokens spread over experts (see `genz.operators.moe`).
    """
    context = Context(step, widths, engine, parallelism, routing)
    stage = stage or Stage(0, len(model.layers), is_first=True, is_last=True)
    operators: list[Operator] = [*_entry_operators(model, context)] if stage.is_first else []
    built: Parts = {}
    for layer, count in model.groups_between(stage.start, stage.end):
        if not _is_passed_over(layer, step):
            operators += _layer_operators(layer, count, context, built)
    if stage.is_last:
        operators += _exit_operators(model, context)
    else:
        operators.append(_hand_over(model, context))
    return tuple(operators)


def build_encoder(
    encoder: Encoder,
    step: Step,
    *,
    parallelism: Parallelism,
    widths: Widths,
    engine: Engine,
) -> tuple[Operator, ...]:
    """The operators of one pass through an encoder: the way in, its layers, and the way out over its merged tokens."""
    context = Context(step, widths, engine, parallelism)
    end = context.within(encoder.name, 1)
    passing = context.tokens - total([group.sequences for group in step.groups]) * encoder.class_tokens / context.prompt_split
    operators = [_look_up(end, encoder.hidden, encoder.tables)] if encoder.tables else []
    operators += [end.linear(linear, passing * rate) for linear, rate in encoder.entry_rows]
    built: Parts = {}
    for layer, count in encoder.layer_groups:
        operators += _layer_operators(layer, count, context, built)
    return (*operators, *(end.linear(linear, passing * rate) for linear, rate in encoder.exit_rows))


def _look_up(context: Context, width: int, tables: int) -> Operator:
    """Rows of `tables` for every token: of tokens, and of positions where they are learned."""
    widths = context.widths
    demand = gather(context.tokens * tables, width, table_bytes=widths.embedding_bytes, output_bytes=widths.base_bytes)
    return context.operator("embedding", "embedding", demand)


def _is_passed_over(layer: Layer, step: Step) -> bool:
    """Whether a layer attends to an encoder's output alone and there is none: a prompt without images skips it whole."""
    crosses = layer.token_mixer is not None and layer.token_mixer.source is not None
    return crosses and all(isinstance(group.source_tokens, int) and group.source_tokens == 0 for group in step.groups)


def _hand_over(model: ModelSpec, step_context: Context) -> Operator:
    """The hidden states of every token go to the next stage; tensor ranks send a share each."""
    context = step_context.within("pipeline", 1)
    streams = max(layer.streams for layer, _ in model.layer_groups)
    message = context.tokens * streams * model.hidden * context.widths.base_bytes / context.tensor_parallel
    return context.collective("stage_send", "send_receive", message, ranks=2, stride=context.parallelism.pipeline_stride)


def layer_label(layer: Layer) -> str:
    """A short name of a kind of layer, such as "window 1024 + dense"."""
    names = [_mixer_label(mixer) for mixer in layer.token_mixers]
    if layer.channel_mixer is not None:
        kinds = {MixtureOfExperts: "experts", Matrices: "matrices"}
        names.append(kinds.get(type(layer.channel_mixer), "dense"))
    return " + ".join(names) or "matrices"


def _mixer_label(mixer: TokenMixer) -> str:
    if isinstance(mixer, StateSpace):
        return "convolution" if mixer.scan == "none" else "state"
    if isinstance(mixer, LatentAttention):
        return "latent"
    if mixer.source is not None:
        return "cross"
    if not mixer.causal:
        return "both ways" if mixer.reach is None else f"windows of {mixer.reach}"
    return f"window {mixer.window}" if mixer.window else f"chunk {mixer.chunk}" if mixer.chunk else "full"


def _norm_name(layer: Layer) -> str:
    """Layer norms, which have biases besides their weights, are kernels of their own."""
    return "layer_norm" if layer.norm_parameters > layer.hidden else "norm"


# Operators of the parts of layers that are built already, and of how many layers: kinds often differ in one part only.
Parts = dict[tuple[Any, ...], tuple[int, tuple[Operator, ...]]]


def _layer_operators(layer: Layer, count: int, context: Context, built: Parts) -> Iterable[Operator]:
    """The operators of `count` layers of a kind; parts that an earlier kind has too share their runs with it."""
    parts: list[tuple[tuple[Any, ...], Callable[[Context], Iterable[Operator]]]] = [
        (("norm", layer.norms, layer.norm_parameters, layer.hidden), partial(_norm_operators, layer)),
        *((("token_mixer", m, layer.parallel), partial(_token_mixer_operators, m, layer)) for m in layer.token_mixers),
        *((("matrices", matrices), partial(matrices_operators, matrices)) for matrices in layer.further),
        (("channel_mixer", layer.channel_mixer), partial(_channel_mixer_operators, layer)),
        (("residual", layer.hidden, layer.residuals, layer.streams), partial(_residual_operators, layer)),
    ]
    label = layer_label(layer)
    for key, build_part in parts:
        if key in built:
            layers, operators = built[key]
            yield from (replace(each, layer=label, count=each.count // layers * count) for each in operators)
        else:
            built[key] = (count, tuple(build_part(context.within(label, count))))
            yield from built[key][1]


def _norm_operators(layer: Layer, context: Context) -> Iterable[Operator]:
    if context.engine.fuses("norm") or not layer.norms:
        return
    # A norm that takes the residual addition along also reads and writes the residual.
    passes = 2 if context.engine.fuses("residual") else 1
    yield context.operator(
        _norm_name(layer),
        "elementwise",
        elementwise(
            context.elementwise_tokens * layer.hidden,
            reads=passes,
            writes=passes,
            flops=NORM_FLOPS,
            element_bytes=context.widths.base_bytes,
        ),
        times=layer.norms,
    )


def _token_mixer_operators(mixer: TokenMixer, layer: Layer, context: Context) -> Iterable[Operator]:
    if isinstance(mixer, StateSpace):
        yield from state_space_operators(mixer, context, reduces=not layer.parallel)
    else:
        yield from attention_operators(mixer, context, reduces=not layer.parallel)


def _channel_mixer_operators(layer: Layer, context: Context) -> Iterable[Operator]:
    if isinstance(layer.channel_mixer, MixtureOfExperts):
        yield from mixture_operators(layer.channel_mixer, context)
    elif isinstance(layer.channel_mixer, Matrices):
        yield from matrices_operators(layer.channel_mixer, context)
    elif layer.channel_mixer is not None:
        yield from feed_forward_operators(layer.channel_mixer, context)


def _residual_operators(layer: Layer, context: Context) -> Iterable[Operator]:
    if context.engine.fuses("residual") or not layer.residuals:
        return
    yield context.operator(
        "residual",
        "elementwise",
        elementwise(
            context.elementwise_tokens * layer.hidden,
            reads=2,
            writes=1,
            flops=RESIDUAL_FLOPS,
            element_bytes=context.widths.base_bytes,
        ),
        times=layer.residuals,
    )
    if layer.streams > 1:
        # All streams are predicted from all, and corrected by what became of one: each is read and written twice.
        demand = elementwise(
            context.elementwise_tokens * layer.hidden,
            reads=2 * layer.streams + 1,
            writes=2 * layer.streams,
            flops=2 * layer.streams**2 + 2 * layer.streams,
            element_bytes=context.widths.base_bytes,
        )
        yield context.operator("streams", "elementwise", demand)


def _entry_operators(model: ModelSpec, step_context: Context) -> Iterable[Operator]:
    context = step_context.within("embedding", 1)
    embedding, widths = model.embedding, step_context.widths
    yield _look_up(context, embedding.width, 2 if embedding.positions else 1)
    made = context.tokens - context.sequences * embedding.class_tokens / context.prompt_split
    # Patches become tokens once: what is decoded later has none.
    entry = embedding.projections[:1] if not embedding.class_tokens or context.step.phase == "prefill" else ()
    for projection in entry:
        yield context.linear(projection, made)
    yield from context.sum_over_ranks("embedding", embedding.hidden)
    rows, width = embedding.layer_table
    if rows:
        demand = gather(context.tokens, width, table_bytes=widths.embedding_bytes, output_bytes=widths.base_bytes)
        yield context.operator("layer_embedding", "embedding", demand)
        yield from context.sum_over_ranks("layer_embedding", width)


def _exit_operators(model: ModelSpec, step_context: Context) -> Iterable[Operator]:
    context = step_context.within("head", 1)
    embedding, widths = model.embedding, step_context.widths
    sampled = context.step.sampled
    normed = context.tokens if embedding.headless else sampled
    if not context.engine.fuses("norm") and (embedding.final_norm_parameters or not embedding.headless):
        yield context.operator(
            "final_norm",
            "elementwise",
            elementwise(
                normed * embedding.hidden,
                reads=1,
                writes=1,
                flops=NORM_FLOPS,
                element_bytes=widths.base_bytes,
            ),
        )
    for projection in embedding.projections[1:]:
        yield context.linear(projection, context.tokens)
    for matrix in embedding.exits:
        yield context.linear(matrix, sampled if embedding.pools else context.tokens)
    if embedding.headless:
        return
    inputs, outputs = embedding.head.local(context.tensor_parallel)
    yield context.operator(
        "lm_head_gemm",
        "gemm",
        gemm(
            sampled,
            outputs,
            inputs,
            weight_bytes=widths.embedding_bytes,
            input_bytes=widths.base_bytes,
            output_bytes=widths.base_bytes,
            matrix_type=widths.base,
            format=widths.kernel_format(quantised=False),
        ),
    )
    if context.tensor_parallel > 1:
        message = sampled * embedding.vocabulary * widths.base_bytes
        yield context.collective("logits_all_gather", "all_gather", message, ranks=context.tensor_parallel)
    if not context.engine.fuses("logits"):
        yield context.operator(
            "sampling",
            "elementwise",
            elementwise(
                sampled * embedding.vocabulary,
                reads=1,
                writes=0,
                flops=SAMPLING_FLOPS,
                element_bytes=widths.base_bytes,
            ),
        )


def matrix_flops(operators: Iterable[Operator], *, categories: frozenset[str] | None = None) -> float:
    """Matrix FLOPs of operators over all their runs, of some categories or of all [FLOP]."""
    total = 0.0
    for operator in operators:
        if categories is None or operator.category in categories:
            for run in operator.runs:
                last = run.last or run.first
                total = total + operator.count * run.weight * run.length * (run.first.matrix_flops + last.matrix_flops) / 2
    return total
