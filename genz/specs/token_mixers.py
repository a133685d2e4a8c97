"""What mixes tokens: attention with its cache, and recurrences with their state.

Each mixer tells its matrices, what one token leaves in the cache of one rank (`cached_width`), what one sequence keeps
whatever its length (`state`), and over how many ranks it can be split (`units`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from genz.specs.linear import Linear, ceil_div


@dataclass(frozen=True)
class State:
    """A buffer of one sequence that does not grow: `elements` on one rank, in fp32 or in the width of activations."""

    name: str
    elements: int
    in_fp32: bool = False


@dataclass(frozen=True)
class Attention:
    """Softmax attention with `heads` query heads over `kv_heads` key and value heads (MHA, GQA, MQA).

    `window`: a query sees that many keys at most, itself included. `chunk`: a query sees only keys of
    its own chunk of that many positions. `sinks`: one learned logit a head. `query_key_norm`: the
    number of parameters of the norms on queries and keys. Attention that is not `causal` sees what comes after, too, and
    keeps no cache. `source` is the width of what is attended where that is not the sequence itself: the output of an
    encoder (cross attention), whose keys and values are made once and kept.
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
    causal: bool = True
    source: int | None = None
    input_width: int | None = None

    kind = "attention"

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        query, key_value = self.heads * self.head_dim, self.kv_heads * self.head_dim
        split = {"split": "column", "unit": self.head_dim, "fused_as": "qkv", "bias": self.qkv_bias}
        read = self.input_width or self.hidden
        attended = read if self.source is None else self.source
        return (
            Linear("query", read, query, **split),  # type: ignore[arg-type]
            Linear("key", attended, key_value, replicable=True, **split),  # type: ignore[arg-type]
            Linear("value", attended, key_value, replicable=True, **split),  # type: ignore[arg-type]
            Linear("output", query, self.hidden, bias=self.output_bias, split="row", unit=self.head_dim),
        )

    @property
    def vectors(self) -> int:
        return self.query_key_norm + (self.heads if self.sinks else 0)

    @property
    def units(self) -> int:
        """Heads, which tensor parallelism splits."""
        return self.heads

    @property
    def reach(self) -> int | None:
        """Tokens that the cache keeps at most; None where it keeps all."""
        return self.window or self.chunk

    @property
    def cache_heads(self) -> int:
        """Heads whose caches differ; none where nothing is cached: each pass of an encoder starts anew."""
        return self.kv_heads if self.causal or self.source is not None else 0

    def cached_width(self, ranks: int = 1) -> int:
        """Elements that one token leaves in the cache of one rank: keys and values of its KV heads."""
        return ceil_div(self.cache_heads, ranks) * 2 * self.head_dim

    def state(self, ranks: int = 1) -> tuple[State, ...]:  # noqa: ARG002 (as all token mixers have it)
        """Nothing: attention keeps a cache alone."""
        return ()


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

    source = None
    causal = True

    @property
    def units(self) -> int:
        """Heads, which tensor parallelism splits."""
        return self.heads

    @property
    def reach(self) -> int | None:
        """Tokens that the cache keeps at most; None where it keeps all."""
        return self.window or self.chunk

    @property
    def cache_heads(self) -> int:
        """One latent serves all heads."""
        return 1

    def cached_width(self, ranks: int = 1) -> int:  # noqa: ARG002 (each rank holds the whole latent)
        """Elements that one token leaves in the cache: the latent and the rotary key."""
        return self.latent_width

    def state(self, ranks: int = 1) -> tuple[State, ...]:  # noqa: ARG002 (as all token mixers have it)
        """Nothing: attention keeps a cache alone."""
        return ()


Scan = Literal["selective", "chunked", "delta", "none"]


@dataclass(frozen=True)
class StateSpace:
    """A layer that hands a state from token to token instead of keeping a cache: Mamba, linear attention, and their kin.

    Tokens pass the `inputs` (matrices), a causal convolution of `convolution_width` over `convolved` channels (none where
    that is 0), the `scan`, and `output`. The state of each of `heads` is `key_dim` x `value_dim` elements and `state_extras`
    more; `groups` of heads share their keys and queries (B and C of Mamba). How a prompt is scanned:

    - "selective": token by token on the vector units (Mamba-1: the channels are heads with a value_dim of 1; gated linear
      recurrences: key_dim 1 too);
    - "chunked": in chunks of `scan_chunk` tokens, by products of matrices inside of them (Mamba-2, RWKV, lightning attention);
    - "delta": the same with the delta rule (gated delta nets);
    - "none": there is no recurrence, the convolution is all.

    `own_vectors` are parameters that are no matrix (the convolution's kernel, decays, biases, norms), `gate_norm`: the output
    is normalised and gated. `carried` elements of a sequence are kept as they are (token shift).
    """

    hidden: int
    heads: int
    key_dim: int
    value_dim: int
    inputs: tuple[Linear, ...]
    output: Linear
    scan: Scan
    groups: int = 1
    convolved: int = 0
    convolution_width: int = 0
    scan_chunk: int = 64
    own_vectors: int = 0
    gate_norm: bool = True
    state_extras: int = 0
    carried: int = 0
    state_in_fp32: bool = True

    kind = "state_space"
    reach = None
    window = None
    source = None
    causal = True
    rope = False
    cache_heads = 0

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        return (*self.inputs, self.output)

    @property
    def vectors(self) -> int:
        return self.own_vectors

    @property
    def units(self) -> int:
        """Heads, which tensor parallelism splits."""
        return self.heads

    def local_heads(self, ranks: int) -> int:
        """Heads on the fullest rank."""
        return ceil_div(self.heads, ranks)

    def local_groups(self, ranks: int) -> int:
        """Groups on the fullest rank: their shared keys and queries are copied where ranks are more."""
        return ceil_div(self.groups, ranks)

    def local_channels(self, ranks: int) -> int:
        """Channels of the convolution on the fullest rank."""
        return ceil_div(self.convolved, ranks)

    def cached_width(self, ranks: int = 1) -> int:  # noqa: ARG002 (as all token mixers have it)
        """Nothing: its memory does not grow."""
        return 0

    def state(self, ranks: int = 1) -> tuple[State, ...]:
        """The last tokens that the convolution looks back at, the state of each head, and what is carried along."""
        buffers = (
            State("convolution", self.local_channels(ranks) * max(self.convolution_width - 1, 0)),
            State(
                "recurrence",
                0 if self.scan == "none" else self.local_heads(ranks) * (self.key_dim * self.value_dim + self.state_extras),
                self.state_in_fp32,
            ),
            State("carried", self.carried),
        )
        return tuple(buffer for buffer in buffers if buffer.elements)


TokenMixer = Attention | LatentAttention | StateSpace
