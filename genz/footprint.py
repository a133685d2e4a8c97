"""What a device must hold: weights, KV cache, activations, logits, communication buffers, reserve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from genz.numerics import Number, ceil_div, maximum, minimum, where
from genz.specs.channel_mixers import ChannelMixer, MixtureOfExperts
from genz.specs.engine import Engine
from genz.specs.layers import Encoder, Layer
from genz.specs.linear import Linear
from genz.specs.linear import ceil_div as whole_ceil_div
from genz.specs.model import ModelSpec
from genz.specs.offload import Offload
from genz.specs.parallelism import Parallelism, Stage, distinct_stages, whole_model
from genz.specs.precision import Widths
from genz.specs.token_mixers import TokenMixer
from genz.specs.workload import Media, Workload

# Residual stream, its norm, and the widest pair of operands of a layer are alive at once.
LIVE_HIDDEN_COPIES = 3
BUFFERED_LAYERS = 2  # of what is offloaded: the layer in use and the one that is fetched
LOGIT_BYTES = 4  # engines sample from fp32 logits


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest device. `capacity_bytes` is the whole memory, `budget_bytes` what the engine may take of it."""

    weights_bytes: Number
    kv_cache_bytes: Number
    activations_bytes: Number
    logits_bytes: Number
    communication_bytes: Number
    reserve_bytes: Number
    capacity_bytes: Number
    budget_bytes: Number
    state_bytes: Number = 0.0

    @property
    def persistent_bytes(self) -> Number:
        """What outlives a step: weights, cache and states [B]."""
        return self.weights_bytes + self.kv_cache_bytes + self.state_bytes

    @property
    def total_bytes(self) -> Number:
        """The sum of all terms [B]."""
        return (
            self.persistent_bytes + self.activations_bytes + self.logits_bytes + self.communication_bytes + self.reserve_bytes
        )

    @property
    def fits(self) -> Any:
        """Whether the total is within the budget: a bool, or an array of them."""
        return self.total_bytes <= self.budget_bytes

    def to_dict(self) -> dict[str, Any]:
        """All terms, the total and whether it fits, ready for JSON."""
        terms = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**terms, "total_bytes": self.total_bytes, "fits": bool(self.fits)}


def local_elements(linear: Linear, tensor_parallel: int) -> int:
    """Elements of a matrix on the fullest rank."""
    inputs, outputs = linear.local(tensor_parallel)
    return inputs * outputs


def weight_bytes(model: ModelSpec, widths: Widths, parallelism: Parallelism, stage: Stage | None = None) -> Number:
    """Bytes of the weights on one device of a pipeline stage, or of the whole model where there is one stage [B].

    Matrices are split over tensor-parallel ranks and experts over expert ranks, norms are on all of them, the vocabulary
    is split, and a head tied to the token table is held once (twice where a pipeline has them at both its ends).
    """
    stage = stage or whole_model(model)
    total, seen = _embedding_bytes(model, widths, parallelism.tensor, stage), set[str]()
    if stage.is_first:
        total += sum(encoder_weight_bytes(encoder, widths, parallelism) for encoder in model.encoders)
    return total + _layers_bytes(model.groups_between(stage.start, stage.end), widths, parallelism, seen)


def encoder_weight_bytes(encoder: Encoder, widths: Widths, parallelism: Parallelism) -> Number:
    """Bytes of an encoder, its projector included, on one device [B]."""
    return _layers_bytes(encoder.all_layers, widths, parallelism, set())


def encoder_activation_bytes(
    encoder: Encoder, media: Media, *, requests: Number, widths: Widths, parallelism: Parallelism, engine: Engine
) -> Number:
    """Activations of an encoder at its widest point, of as many tokens as the engine takes at once, and of one sequence [B]."""
    most = maximum(engine.memory.max_num_batched_tokens, media.tokens)
    tokens = minimum(requests * media.sequences * media.tokens, most) / parallelism.context
    return tokens * _widest(encoder.hidden, (layer for layer, _ in encoder.layer_groups), parallelism) * widths.base_bytes


def _layers_bytes(groups: Iterable[tuple[Layer, int]], widths: Widths, parallelism: Parallelism, seen: set[str]) -> Number:
    """Bytes of layers on one device; what several of them share is held once (`seen` names it)."""
    total: Number = 0.0
    for layer, count in groups:
        total += count * sum(_part_bytes(part, widths, parallelism) for part in layer.own_parts)
        times = count
        if layer.shared is not None:
            times = 0 if layer.shared in seen else 1
            seen.add(layer.shared)
            total += times * sum(_part_bytes(part, widths, parallelism) for part in layer.parts if part not in layer.further)
        total += times * layer.norms * layer.norm_parameters * widths.base_bytes
    return total


def _part_bytes(part: TokenMixer | ChannelMixer, widths: Widths, parallelism: Parallelism) -> Number:
    """Bytes of a part of a layer on one device."""
    held = part.vectors * widths.base_bytes + _matrix_bytes(part.linears, widths, parallelism.tensor)
    if isinstance(part, MixtureOfExperts):
        experts = whole_ceil_div(part.experts + parallelism.redundant_experts, parallelism.expert)
        held += experts * _matrix_bytes(part.expert.linears, widths, parallelism.expert_tensor, expert=True)
    return held


def _matrix_bytes(linears: tuple[Linear, ...], widths: Widths, ranks: int, *, expert: bool = False) -> Number:
    total: Number = 0.0
    for linear in linears:
        elements = local_elements(linear, ranks)
        total += elements * widths.weight_bytes(quantised=linear.quantised, expert=expert)
        if linear.bias:
            outputs = linear.local(ranks)[1]
            total += outputs * widths.base_bytes
    return total


def _embedding_bytes(model: ModelSpec, widths: Widths, ranks: int, stage: Stage) -> Number:
    embedding = model.embedding
    tables, others = 0, 0
    if stage.is_first:
        rows, width = embedding.layer_table
        tables += whole_ceil_div(embedding.vocabulary, ranks) * embedding.width + whole_ceil_div(rows, ranks) * width
        others += embedding.positions * embedding.hidden + embedding.embedding_norm_parameters
        others += sum(linear.parameters for linear in embedding.projections[:1])
    if stage.is_last:
        shares_table = embedding.tied and stage.is_first
        tables += 0 if shares_table or embedding.headless else local_elements(embedding.head, ranks)
        others += embedding.final_norm_parameters + (embedding.vocabulary if embedding.head_bias else 0)
        others += sum(linear.parameters for linear in (*embedding.projections[1:], *embedding.exits))
    return tables * widths.embedding_bytes + others * widths.base_bytes


def kv_bytes_per_token(model: ModelSpec, widths: Widths) -> Number:
    """KV bytes that one more token takes at full context, that is, in layers without a window or chunk [B].

    Where every layer has a window, the bytes a token takes in all of them while it is in sight.
    """
    growing = [(m, n) for m, n in _mixers(model) if m.reach is None and m.source is None and m.cache_heads]
    bounded = [(m, n) for m, n in _mixers(model) if m.source is None]
    return sum(m.cached_width() * n for m, n in growing or bounded) * widths.kv_cache_bytes


def _mixers(model: ModelSpec, stage: Stage | None = None) -> list[tuple[TokenMixer, int]]:
    stage = stage or whole_model(model)
    groups = model.groups_between(stage.start, stage.end)
    return [(mixer, count) for layer, count in groups for mixer in layer.token_mixers]


def cached_tokens(mixer: TokenMixer, tokens: Number) -> Number:
    """Tokens that a layer keeps of a sequence of `tokens`: all, or what its window or chunk can still see."""
    return tokens if mixer.reach is None else minimum(tokens, mixer.reach)


def request_cache_bytes(
    model: ModelSpec,
    widths: Widths,
    workload: Workload,
    *,
    parallelism: Parallelism | None = None,
    block_size: int = 1,
    stage: Stage | None = None,
) -> Number:
    """KV cache of one request on one device when its last token is there [B].

    Its beams hold the prompt once, and each what it generated itself; a window leaves of both what it
    can still see. Context-parallel ranks hold a share of the tokens each.
    """
    parallelism = parallelism or Parallelism()
    shares = parallelism.context * parallelism.decode_context
    total: Number = 0.0
    for mixer, count in _mixers(model, stage):
        if not mixer.cache_heads:
            continue
        own = 0 if mixer.source is not None else cached_tokens(mixer, workload.generated_tokens)
        prompt = workload.source_tokens if mixer.source is not None else workload.input_tokens
        prompt = prompt if mixer.reach is None else minimum(prompt, mixer.reach - own)
        blocks = ceil_div((prompt + own) / shares, block_size) + (workload.beams - 1) * ceil_div(own / shares, block_size)
        total += count * blocks * block_size * mixer.cached_width(parallelism.tensor)
    return total * widths.kv_cache_bytes


def request_state_bytes(
    model: ModelSpec,
    widths: Widths,
    workload: Workload,
    *,
    parallelism: Parallelism | None = None,
    stage: Stage | None = None,
    narrow: bool = False,
) -> Number:
    """State of the recurrent layers of one request on one device, of each of its beams [B]: no matter how long it is.

    `narrow`: the engine keeps a state in the type of activations unless the model's configuration names another.
    """
    ranks = (parallelism or Parallelism()).tensor
    total: Number = 0.0
    for mixer, count in _mixers(model, stage):
        for buffer in mixer.state(ranks):
            total += count * buffer.bytes(widths.base_bytes, narrow=narrow)
    return total * workload.beams


def footprint(
    model: ModelSpec,
    workload: Workload,
    *,
    requests: Number,
    parallelism: Parallelism,
    widths: Widths,
    engine: Engine,
    capacity_bytes: Number,
    utilization: Number | None = None,
    offload: Offload | None = None,
) -> Memory:
    """Memory of the fullest device that serves `requests` at once [B]: of each pipeline stage one, and the fullest of these.

    `requests` are those of one data-parallel rank. Activations are those of the largest step: the prompts' tokens, as
    far as the engine takes them in one step. `utilization` replaces the engine's own share of the device's memory. Of what
    is offloaded, the device holds two layers' worth: the one in use and the one that is fetched.
    """
    offload = offload or Offload()
    share = engine.memory.utilization if utilization is None else utilization
    tokens = minimum(requests * workload.new_prompt_tokens, engine.memory.max_num_batched_tokens) / parallelism.context
    exchanged = 2 * tokens * model.hidden * widths.base_bytes
    shared_terms = {
        "activations_bytes": _activation_bytes(
            model, workload, tokens, requests=requests, widths=widths, parallelism=parallelism, engine=engine
        ),
        "communication_bytes": exchanged if parallelism.devices > parallelism.replicas else 0.0 * tokens,
        "reserve_bytes": engine.memory.reserve,
        "capacity_bytes": capacity_bytes,
        "budget_bytes": capacity_bytes * share,
    }

    def stage_memory(stage: Stage) -> Memory:
        samples = stage.is_last and not model.embedding.headless
        sampled = requests * workload.beams if samples else 0.0 * requests
        vocabulary = whole_ceil_div(model.embedding.vocabulary, parallelism.tensor)
        return Memory(
            weights_bytes=weight_bytes(model, widths, parallelism, stage)
            * _stored_share(model, widths)
            * _resident_share(offload.weights, stage),
            kv_cache_bytes=requests
            * _resident_share(offload.cache, stage)
            * request_cache_bytes(
                model, widths, workload, parallelism=parallelism, block_size=engine.memory.block_size, stage=stage
            ),
            state_bytes=requests
            * request_state_bytes(model, widths, workload, parallelism=parallelism, stage=stage, narrow=engine.narrow_states),
            logits_bytes=sampled * vocabulary * (LOGIT_BYTES + widths.base_bytes),
            **shared_terms,
        )

    fullest, *others = (stage_memory(stage) for stage, _ in distinct_stages(model, parallelism.pipeline))
    for other in others:
        fullest = _fuller(fullest, other)
    return fullest


def _resident_share(offloaded: Number, stage: Stage) -> Number:
    """What the device holds of something that is offloaded in part."""
    return 1 - offloaded + minimum(offloaded, BUFFERED_LAYERS / (stage.end - stage.start) * offloaded)


def _fuller(first: Memory, second: Memory) -> Memory:
    """The one of two devices that holds more, element by element."""
    second_is = second.total_bytes > first.total_bytes
    return Memory(**{f.name: where(second_is, getattr(second, f.name), getattr(first, f.name)) for f in fields(Memory)})


def _stored_share(model: ModelSpec, widths: Widths) -> Number:
    """Weight files know better than the formula: mixed and padded tensors are counted as they are stored."""
    if model.stored_weight_bytes is None or widths.name not in ("auto", _own_precision(model)):
        return 1.0
    return model.stored_weight_bytes / weight_bytes(model, widths, Parallelism())


def _own_precision(model: ModelSpec) -> str:
    return model.precision.name if model.precision is not None else model.dtype


def _activation_bytes(
    model: ModelSpec,
    workload: Workload,
    tokens: Number,
    *,
    requests: Number,
    widths: Widths,
    parallelism: Parallelism,
    engine: Engine,
) -> Number:
    """Activations of the largest step [B]: of the prompts' tokens, or of an encoder, which runs before them."""
    elements = _widest(model.hidden, (layer for layer, _ in model.layer_groups), parallelism)
    held: Number = tokens * elements * widths.base_bytes
    towers = {encoder.name: encoder for encoder in model.encoders}
    for media in workload.media:
        passing = encoder_activation_bytes(
            towers[media.encoder], media, requests=requests, widths=widths, parallelism=parallelism, engine=engine
        )
        held = maximum(held, passing)
    return held


def _widest(hidden: int, layers: Iterable[Layer], parallelism: Parallelism) -> int:
    """Elements per token alive at the widest point of any layer.

    The residual stream and its norm, what the first matrices of a mixer made, and what its last one reads: a feed-forward
    network holds gate, up and their product at once.
    """
    widest = 0
    for layer in layers:
        for part in layer.parts:
            alive = _operands(part.linears, parallelism.tensor)
            if isinstance(part, MixtureOfExperts):
                pairs = whole_ceil_div(part.top_k * parallelism.coupled_data, parallelism.expert)
                alive += pairs * (_operands(part.expert.linears, parallelism.expert_tensor) + part.hidden)
            widest = max(widest, alive)
    return LIVE_HIDDEN_COPIES * hidden + widest


def _operands(linears: tuple[Linear, ...], ranks: int) -> int:
    """Elements per token that all but the last of a chain of matrices make, and that the last one reads."""
    return sum(linear.local(ranks)[1] for linear in linears[:-1]) + linears[-1].local(ranks)[0]
