"""What a device must hold: weights, KV cache, activations, logits, communication buffers, reserve."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from genz.numerics import Number, ceil_div, minimum
from genz.specs.engine import Engine
from genz.specs.layers import Attention, LatentAttention, Linear, MixtureOfExperts
from genz.specs.layers import ceil_div as whole_ceil_div
from genz.specs.model import ModelSpec
from genz.specs.parallelism import Parallelism
from genz.specs.precision import Widths
from genz.specs.workload import Workload

# Residual stream, its norm, and the widest pair of operands of a layer are alive at once.
LIVE_HIDDEN_COPIES = 3
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

    @property
    def total_bytes(self) -> Number:
        """The sum of all terms [B]."""
        return (
            self.weights_bytes + self.kv_cache_bytes + self.activations_bytes + self.logits_bytes
            + self.communication_bytes + self.reserve_bytes
        )  # fmt: skip

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


def weight_bytes(model: ModelSpec, widths: Widths, parallelism: Parallelism) -> Number:
    """Bytes of the weights on one device [B].

    Matrices are split over tensor-parallel ranks, norms and biases are on all of them, the vocabulary
    is split, and a head tied to the token table is held once.
    """
    ranks = parallelism.tensor
    total: Number = 0.0
    for layer, count in model.layer_groups:
        held: Number = layer.norms * layer.norm_parameters * widths.base_bytes
        for part in layer.parts:
            held += part.vectors * widths.base_bytes + _matrix_bytes(part.linears, widths, ranks)
            if isinstance(part, MixtureOfExperts):
                held += part.experts * _matrix_bytes(part.expert.linears, widths, ranks, expert=True)
        total += count * held
    return total + _embedding_bytes(model, widths, ranks)


def _matrix_bytes(linears: tuple[Linear, ...], widths: Widths, ranks: int, *, expert: bool = False) -> Number:
    total: Number = 0.0
    for linear in linears:
        elements = local_elements(linear, ranks)
        total += elements * widths.weight_bytes(quantised=linear.quantised, expert=expert)
        if linear.bias:
            outputs = linear.local(ranks)[1]
            total += outputs * widths.base_bytes
    return total


def _embedding_bytes(model: ModelSpec, widths: Widths, ranks: int) -> Number:
    embedding = model.embedding
    table = whole_ceil_div(embedding.vocabulary, ranks) * embedding.width
    head = 0 if embedding.tied else local_elements(embedding.head, ranks)
    others = embedding.positions * embedding.hidden + embedding.final_norm_parameters + embedding.embedding_norm_parameters
    others += sum(linear.parameters for linear in embedding.projections) + (embedding.vocabulary if embedding.head_bias else 0)
    return (table + head) * widths.embedding_bytes + others * widths.base_bytes


def cache_elements_per_token(mixer: Attention | LatentAttention, ranks: int = 1) -> int:
    """Elements that one layer caches for one token on one rank: keys and values of each KV head, or the latent."""
    if isinstance(mixer, LatentAttention):
        return mixer.latent_width
    return whole_ceil_div(mixer.kv_heads, ranks) * 2 * mixer.head_dim


def kv_bytes_per_token(model: ModelSpec, widths: Widths) -> Number:
    """KV bytes that one more token takes at full context, that is, in layers without a window or chunk [B].

    Where every layer has a window, the bytes a token takes in all of them while it is in sight.
    """
    unbounded = [(m, n) for m, n in _mixers(model) if m.window is None and m.chunk is None]
    counted = unbounded or _mixers(model)
    return sum(cache_elements_per_token(m) * n for m, n in counted) * widths.kv_cache_bytes


def _mixers(model: ModelSpec) -> list[tuple[Attention | LatentAttention, int]]:
    return [(layer.token_mixer, count) for layer, count in model.layer_groups if layer.token_mixer is not None]


def cached_tokens(mixer: Attention | LatentAttention, tokens: Number) -> Number:
    """Tokens that a layer keeps of a sequence of `tokens`: all, or what its window or chunk can still see."""
    limit = mixer.window or mixer.chunk
    return tokens if limit is None else minimum(tokens, limit)


def request_cache_bytes(
    model: ModelSpec, widths: Widths, workload: Workload, *, ranks: int = 1, block_size: int = 1
) -> Number:
    """KV cache of one request when its last token is there [B].

    Its beams hold the prompt once, and each what it generated itself; a window leaves of both what it
    can still see.
    """
    total: Number = 0.0
    for mixer, count in _mixers(model):
        own = cached_tokens(mixer, workload.output_tokens)
        limit = mixer.window or mixer.chunk
        prompt = workload.input_tokens if limit is None else minimum(workload.input_tokens, limit - own)
        blocks = ceil_div(prompt + own, block_size) + (workload.beams - 1) * ceil_div(own, block_size)
        total += count * blocks * block_size * cache_elements_per_token(mixer, ranks)
    return total * widths.kv_cache_bytes


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
) -> Memory:
    """Memory of the fullest device that serves `requests` at once [B].

    Activations are those of the largest step: the prompts' tokens, as far as the engine takes them in
    one step. `utilization` replaces the engine's own share of the device's memory.
    """
    ranks = parallelism.tensor
    weights = weight_bytes(model, widths, parallelism)
    if model.stored_weight_bytes is not None and widths.name in ("auto", _own_precision(model)):
        # The weight files know better than the formula: mixed and padded tensors are counted as they are.
        computed = weight_bytes(model, widths, Parallelism())
        weights = weights * (model.stored_weight_bytes / computed)
    tokens = minimum(requests * workload.new_prompt_tokens, engine.memory.max_num_batched_tokens)
    share = engine.memory.utilization if utilization is None else utilization
    sampled = requests * workload.beams
    buffers = 2 * tokens * model.hidden * widths.base_bytes if ranks > 1 else 0.0 * tokens
    return Memory(
        weights_bytes=weights,
        kv_cache_bytes=requests
        * request_cache_bytes(model, widths, workload, ranks=ranks, block_size=engine.memory.block_size),
        activations_bytes=tokens * _peak_activation_elements(model, ranks) * widths.base_bytes,
        logits_bytes=sampled * whole_ceil_div(model.embedding.vocabulary, ranks) * (LOGIT_BYTES + widths.base_bytes),
        communication_bytes=buffers,
        reserve_bytes=engine.memory.reserve,
        capacity_bytes=capacity_bytes,
        budget_bytes=capacity_bytes * share,
    )


def _own_precision(model: ModelSpec) -> str:
    return model.precision.name if model.precision is not None else model.dtype


def _peak_activation_elements(model: ModelSpec, ranks: int) -> int:
    """Elements per token alive at the widest point of any layer: residuals, and the operands of its largest operator."""
    widest = 0
    for layer, _ in model.layer_groups:
        for part in layer.parts:
            outputs = sum(linear.local(ranks)[1] for linear in part.linears[:-1])
            if isinstance(part, MixtureOfExperts):
                inner = sum(linear.local(ranks)[1] for linear in part.expert.linears[:-1])
                outputs += part.top_k * (inner + part.hidden)
            widest = max(widest, outputs)
    return LIVE_HIDDEN_COPIES * model.hidden + widest
