"""What a model is made of: linear maps, what mixes tokens, what mixes channels, and layers of both.

Each part lists its matrices (`linears`) and its other parameters (`vectors`), from which everything
else follows: parameter counts, weight bytes, and the GEMMs of the graph. A new architecture is a new
way to assemble these parts, or a new part beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

Split = Literal["column", "row", "replicated"]


def ceil_div(value: int, divisor: int) -> int:
    """Whole-number division, rounded up."""
    return -(-value // divisor)


@dataclass(frozen=True)
class Linear:
    """A matrix of `inputs` x `outputs`, and its place under tensor parallelism.

    A column-split matrix divides its outputs over the ranks, a row-split one its inputs, in whole
    units of `unit` features (a head); when there are fewer units than ranks they are replicated, if
    `replicable`. Matrices of one `fused_as` group make one GEMM in an engine that fuses them.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool = False
    split: Split = "replicated"
    unit: int = 1
    replicable: bool = False
    fused_as: str | None = None
    quantised: bool = True

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)

    def local(self, tensor_parallel: int) -> tuple[int, int]:
        """(inputs, outputs) on the fullest of `tensor_parallel` ranks."""
        if self.split == "column":
            return self.inputs, self.unit * ceil_div(self.outputs // self.unit, tensor_parallel)
        if self.split == "row":
            return self.unit * ceil_div(self.inputs // self.unit, tensor_parallel), self.outputs
        return self.inputs, self.outputs


class Mixer(Protocol):
    """What every part of a layer can tell."""

    @property
    def linears(self) -> tuple[Linear, ...]: ...

    @property
    def vectors(self) -> int:
        """Parameters outside of the matrices: norm weights, attention sinks, ..."""
        ...


@dataclass(frozen=True)
class Attention:
    """Softmax attention with `heads` query heads over `kv_heads` key and value heads (MHA, GQA, MQA).

    `window`: a query sees that many keys at most, itself included. `chunk`: a query sees only keys of
    its own chunk of that many positions. `sinks`: one learned logit a head. `query_key_norm`: the
    number of parameters of the norms on queries and keys.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    chunk: int | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    query_key_norm: int = 0
    normalises_queries: bool = False
    sinks: bool = False
    rope: bool = True

    kind = "attention"

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        query, key_value = self.heads * self.head_dim, self.kv_heads * self.head_dim
        split = {"split": "column", "unit": self.head_dim, "fused_as": "qkv", "bias": self.qkv_bias}
        return (
            Linear("query", self.hidden, query, **split),  # type: ignore[arg-type]
            Linear("key", self.hidden, key_value, replicable=True, **split),  # type: ignore[arg-type]
            Linear("value", self.hidden, key_value, replicable=True, **split),  # type: ignore[arg-type]
            Linear("output", query, self.hidden, bias=self.output_bias, split="row", unit=self.head_dim),
        )

    @property
    def vectors(self) -> int:
        return self.query_key_norm + (self.heads if self.sinks else 0)


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (MLA): keys and values are expanded from one cached latent.

    Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.
    """

    hidden: int
    heads: int
    query_rank: int | None
    latent_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    bias: bool = False
    window: int | None = None
    chunk: int | None = None
    rope: bool = True

    kind = "latent_attention"

    @property
    def latent_width(self) -> int:
        """Cached elements per token: the latent and the shared rotary key."""
        return self.latent_rank + self.rope_dim

    @property
    def query_key_dim(self) -> int:
        return self.nope_dim + self.rope_dim

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        query = self.heads * self.query_key_dim
        queries: tuple[Linear, ...]
        if self.query_rank is None:
            queries = (Linear("query", self.hidden, query, split="column", unit=self.query_key_dim),)
        else:
            queries = (
                Linear("query_down", self.hidden, self.query_rank, bias=self.bias, fused_as="latent_down"),
                Linear("query_up", self.query_rank, query, split="column", unit=self.query_key_dim),
            )
        per_head = self.nope_dim + self.value_dim
        return (
            *queries,
            Linear("latent_down", self.hidden, self.latent_width, bias=self.bias, fused_as="latent_down"),
            Linear("latent_up", self.latent_rank, self.heads * per_head, split="column", unit=per_head),
            Linear("output", self.heads * self.value_dim, self.hidden, bias=self.bias, split="row", unit=self.value_dim),
        )

    @property
    def vectors(self) -> int:
        return self.latent_rank + (self.query_rank or 0)


@dataclass(frozen=True)
class FeedForward:
    """Two matrices with an activation between them, or three where a gate multiplies (SwiGLU, GeGLU)."""

    hidden: int
    intermediate: int
    gated: bool = True
    bias: bool = False

    kind = "feed_forward"

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        names = ("gate", "up") if self.gated else ("up",)
        first = tuple(
            Linear(name, self.hidden, self.intermediate, bias=self.bias, split="column", fused_as="gate_up") for name in names
        )
        return (*first, Linear("down", self.intermediate, self.hidden, bias=self.bias, split="row"))

    @property
    def vectors(self) -> int:
        return 0


@dataclass(frozen=True)
class MixtureOfExperts:
    """`experts` feed-forward networks of which a router picks `top_k` a token, and shared ones that all tokens pass.

    `groups_per_token`: experts are grouped, a group to a node, and a token's experts lie in that many groups at most.
    """

    hidden: int
    experts: int
    top_k: int
    expert: FeedForward
    router_bias: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False
    groups_per_token: int | None = None

    kind = "mixture_of_experts"

    @cached_property
    def router(self) -> Linear:
        return Linear("router", self.hidden, self.experts, bias=self.router_bias, quantised=False)

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """Matrices that every token passes; those of the experts are `expert.linears`, `experts` times."""
        gate = (Linear("shared_gate", self.hidden, 1, quantised=False),) if self.shared_gate else ()
        return (self.router, *gate, *(self.shared.linears if self.shared else ()))

    @property
    def vectors(self) -> int:
        return 0


TokenMixer = Attention | LatentAttention
ChannelMixer = FeedForward | MixtureOfExperts


@dataclass(frozen=True)
class Layer:
    """One block: a token mixer, a channel mixer, and norms around them.

    `norms` is how many norms of the hidden width it has and `norm_parameters` how many parameters
    each holds. `parallel`: both mixers read the same input and add to the residual once.
    """

    token_mixer: TokenMixer | None
    channel_mixer: ChannelMixer | None
    hidden: int
    norms: int = 2
    norm_parameters: int = 0
    parallel: bool = False

    @property
    def parts(self) -> tuple[TokenMixer | ChannelMixer, ...]:
        return tuple(part for part in (self.token_mixer, self.channel_mixer) if part is not None)

    @cached_property
    def parameters(self) -> int:
        """Parameters of the layer, all experts included."""
        return self._count(all_experts=True)

    @cached_property
    def active_parameters(self) -> int:
        """Parameters of the layer that one token uses."""
        return self._count(all_experts=False)

    def _count(self, *, all_experts: bool) -> int:
        total = self.norms * self.norm_parameters
        for part in self.parts:
            total += part.vectors + sum(linear.parameters for linear in part.linears)
            if isinstance(part, MixtureOfExperts):
                experts = part.experts if all_experts else part.top_k
                total += experts * sum(linear.parameters for linear in part.expert.linears)
        return total


@dataclass(frozen=True)
class Embedding:
    """The way in and out: token and position tables, projections, final norm and language-model head."""

    vocabulary: int
    width: int
    hidden: int
    positions: int = 0
    tied: bool = False
    head_bias: bool = False
    final_norm_parameters: int = 0
    projections: tuple[Linear, ...] = field(default=())
    embedding_norm_parameters: int = 0

    @property
    def table_parameters(self) -> int:
        """Parameters of the tables that are read by row."""
        return self.vocabulary * self.width + self.positions * self.hidden

    @cached_property
    def head(self) -> Linear:
        """The language-model head; its matrix is the token table where they are tied."""
        return Linear("lm_head", self.width, self.vocabulary, bias=self.head_bias, split="column", quantised=False)

    @property
    def parameters(self) -> int:
        head = self.head.parameters - (self.width * self.vocabulary if self.tied else 0)
        projections = sum(linear.parameters for linear in self.projections)
        return self.table_parameters + head + projections + self.final_norm_parameters + self.embedding_norm_parameters
