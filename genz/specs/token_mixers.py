"""What mixes tokens: attention with its cache, and recurrences with their state.

Each mixer tells its matrices, what one token leaves in the cache of one rank (`cached_width`), what one sequence keeps
whatever its length (`state`), and over how many ranks it can be split (`units`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from genz.numerics import Number
from genz.specs.linear import Linear, Parts, ceil_div, local_width


@dataclass(frozen=True)
class State:
    """A buffer of one sequence that does not grow: `elements` on one rank, each of `element_bytes`.

    Without these it is as wide as activations are; `by_default` an engine may take activations' width as well, as no
    configuration names a type.
    """

    name: str
    elements: int
    element_bytes: float | None = None
    by_default: bool = False

    def bytes(self, activation_bytes: Number, *, narrow: bool) -> Number:
        """Its size where activations take `activation_bytes` an element [B]; `narrow`: so do states that name no type."""
        width = activation_bytes if self.element_bytes is None or (narrow and self.by_default) else self.element_bytes
        return self.elements * width


@dataclass(frozen=True)
class Attention:
    """Softmax attention with `heads` query heads over `kv_heads` key and value heads (MHA, GQA, MQA).

    `window`: a query sees that many keys at most, itself included. `chunk`: a query sees only keys of
    its own chunk of that many positions. `sinks`: one learned logit a head. `query_key_norm`: the
    number of parameters of the norms on queries and keys. `gated`: each head's output is multiplied by a gate that is made
    with its queries. Attention that is not `causal` sees what comes after, too, and
    keeps no cache. `source` is the width of what is attended where that is not the sequence itself: the output of an
    encoder (cross attention), whose keys and values are made once and kept. Keys may go without the others' `key_bias`.
    A layer that `borrows` attends to the keys and values of an earlier one and makes and keeps none. Where `keys_are_values`
    one matrix makes both, which are normalised and kept apart.
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
    gated: bool = False
    key_bias: bool = True
    borrows: bool = False
    keys_are_values: bool = False

    kind = "attention"

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        query, key_value = self.heads * self.head_dim, self.kv_heads * self.head_dim
        split = {"split": "column", "unit": self.head_dim, "fused_as": "qkv", "bias": self.qkv_bias}
        read = self.input_width or self.hidden
        attended = read if self.source is None else self.source
        queries = Linear("query", read, 2 * query if self.gated else query, **split)  # type: ignore[arg-type]
        output = Linear("output", query, self.hidden, bias=self.output_bias, split="row", unit=self.head_dim)
        if self.borrows:
            return queries, output
        keys = Linear("key", attended, key_value, replicable=True, **split | {"bias": self.qkv_bias and self.key_bias})  # type: ignore
        if self.keys_are_values:
            return queries, keys, output
        return queries, keys, Linear("value", attended, key_value, replicable=True, **split), output  # type: ignore[arg-type]

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
        """Heads whose caches differ; none where nothing is kept: a pass of an encoder starts anew, another layer keeps it."""
        return self.kv_heads if self.causal and not self.borrows else 0

    def cached_width(self, ranks: int = 1) -> int:
        """Elements that one token leaves in the cache of one rank: keys and values of its KV heads."""
        return ceil_div(self.cache_heads, ranks) * 2 * self.head_dim

    def state(self, ranks: int = 1) -> tuple[State, ...]:  # noqa: ARG002 (as all token mixers have it)
        """Nothing: attention keeps a cache alone."""
        return ()


@dataclass(frozen=True)
class Indexer:
    """What chooses the tokens that sparse attention reads: `heads` small queries score every token's one key of `head_dim`.

    Queries are made of the latent of attention's queries, `query_rank` wide, keys and the weights of heads of the layer's
    input. Every rank scores for itself. Source: DeepSeek-V3.2-Exp, report of 2025, section 2.1.
    """

    hidden: int
    query_rank: int
    heads: int
    head_dim: int

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        return (
            Linear("index_query", self.query_rank, self.heads * self.head_dim),
            Linear("index_key", self.hidden, self.head_dim),
            Linear("index_weights", self.hidden, self.heads, quantised=False),
        )

    @property
    def vectors(self) -> int:
        """The layer norm of keys."""
        return 2 * self.head_dim


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (MLA): keys and values are expanded from one cached latent.

    Where attention is sparse a query sees the `selected` tokens that an indexer scores highest: this layer's own `indexer`,
    or that of a layer before it. Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.
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
    selected: int | None = None
    indexer: Indexer | None = None

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
            *(self.indexer.linears if self.indexer else ()),
            *queries,
            Linear("latent_down", self.hidden, self.latent_width, bias=self.bias, fused_as="latent_down"),
            Linear("latent_up", self.latent_rank, self.heads * per_head, split="column", unit=per_head),
            Linear("output", self.heads * self.value_dim, self.hidden, bias=self.bias, split="row", unit=self.value_dim),
        )

    @property
    def vectors(self) -> int:
        return self.latent_rank + (self.query_rank or 0) + (self.indexer.vectors if self.indexer else 0)

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
        """Elements that one token leaves in the cache: the latent and the rotary key, and the indexer's key."""
        return self.latent_width + (self.indexer.head_dim if self.indexer else 0)

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

    `convolved` are the channels of the convolution, part by part. `own_vectors` are parameters that are no matrix (the
    convolution's kernel, decays, biases, norms), `gate_norm`: the output is normalised and gated. `carried` elements of a
    sequence are kept as they are (token shift). A state's element takes `state_bytes` (none: as activations); unless
    `names_state_type` an engine may keep it as it keeps activations. `blocks`: heads are split in that many units at most.
    """

    hidden: int
    heads: int
    key_dim: int
    value_dim: int
    inputs: tuple[Linear, ...]
    output: Linear
    scan: Scan
    groups: int = 1
    convolved: Parts = ()
    convolution_width: int = 0
    scan_chunk: int = 64
    own_vectors: int = 0
    gate_norm: bool = True
    state_extras: int = 0
    carried: int = 0
    state_bytes: float | None = 4.0
    names_state_type: bool = False
    blocks: int | None = None

    kind = "state_space"
    reach = None
    window = None
    chunk = None
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
        """Heads, or blocks of them, which tensor parallelism splits."""
        return self.blocks or self.heads

    def local_heads(self, ranks: int) -> int:
        """Heads on the fullest rank."""
        return self.heads // self.units * ceil_div(self.units, ranks)

    def local_groups(self, ranks: int) -> int:
        """Groups on the fullest rank: their shared keys and queries are copied where ranks are more."""
        return ceil_div(self.groups, ranks)

    def local_channels(self, ranks: int) -> int:
        """Channels of the convolution on the fullest rank."""
        return local_width(self.convolved, ranks)

    @property
    def state_elements(self) -> int:
        """Elements of one head's recurrent state."""
        return 0 if self.scan == "none" else self.key_dim * self.value_dim + self.state_extras

    def cached_width(self, ranks: int = 1) -> int:  # noqa: ARG002 (as all token mixers have it)
        """Nothing: its memory does not grow."""
        return 0

    def state(self, ranks: int = 1) -> tuple[State, ...]:
        """The last tokens that the convolution looks back at, the state of each head, and what is carried along."""
        buffers = (
            State("convolution", self.local_channels(ranks) * max(self.convolution_width - 1, 0)),
            State(
                "recurrence",
                self.local_heads(ranks) * self.state_elements,
                self.state_bytes,
                by_default=not self.names_state_type,
            ),
            State("carried", self.carried),
        )
        return tuple(buffer for buffer in buffers if buffer.elements)


TokenMixer = Attention | LatentAttention | StateSpace
