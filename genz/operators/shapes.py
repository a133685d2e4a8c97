"""Shapes of operators as a kernel sees them, on one device: what a cost model needs beyond FLOPs and bytes.

Numbers may be scalars or arrays, broadcast against each other. What is structure (a data type, whether there is a gate)
is plain.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number
from genz.operators.state_space import StateSpaceWork


@dataclass(frozen=True, slots=True)
class GemmShape:
    """`batch` products of [m, k] activations with [k, n] weights.

    Widths [B] are of one element, a weight's with its share of scales. `format` names the kernel's number format, as
    "bfloat16", "fp8_block" or "int4_wo"; `matrix_type` is what the matrix units multiply in.
    """

    m: Number
    n: Number
    k: Number
    weight_bytes: Number
    input_bytes: Number
    output_bytes: Number
    matrix_type: str
    format: str
    batch: Number = 1


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """`sequences` with `new_tokens` queries each, over `context` cached keys and the new ones, heads as on one device.

    Every query sees at most `window` keys (none: all); `causal` ones see no key that follows them. `cached_width`
    elements a token stand in the cache for all heads together, of `cache_bytes` [B] each; queries and outputs take
    `activation_bytes` [B]. `format` is that of the cache ("bfloat16", "fp8"); `query_format` that of the multiplication.
    `latent` is how latent attention works: on the latent itself ("absorbed") or on keys and values made of it
    ("expanded"); none: keys and values as they are. `phase` says which kernels serve it ("prefill", "decode").
    """

    sequences: Number
    new_tokens: Number
    context: Number
    query_heads: Number
    kv_heads: Number
    key_dim: int
    value_dim: int
    cached_width: Number
    cache_bytes: Number
    activation_bytes: Number
    matrix_type: str
    format: str
    query_format: str = "bfloat16"
    window: int | None = None
    causal: bool = True
    latent: str | None = None
    phase: str = "prefill"


@dataclass(frozen=True, slots=True)
class ExpertsShape:
    """Routed experts on the most loaded rank: `rows` token-expert pairs over `touched` of its experts.

    `tokens` are all that are routed in the group of expert-parallel ranks, `pairs` all their token-expert pairs;
    `inner` is an expert's width on this device. Widths in bytes as of `GemmShape`.
    """

    tokens: Number
    pairs: Number
    rows: Number
    touched: Number
    hidden: int
    inner: int
    gated: bool
    weight_bytes: Number
    input_bytes: Number
    output_bytes: Number
    matrix_type: str
    format: str


@dataclass(frozen=True, slots=True)
class ExpertsPart:
    """One of the three operators that routed experts are: 0 the first GEMM, 1 the activation, 2 the second GEMM."""

    whole: ExpertsShape
    part: int


@dataclass(frozen=True, slots=True)
class ElementwiseShape:
    """A pass over memory of `moved_bytes` [B] in all, such as a norm, an activation or a gather.

    `name` tells which ("norm", "activation", "rope", "residual", "embedding", "sampling").
    """

    moved_bytes: Number
    name: str


@dataclass(frozen=True, slots=True)
class StateSpaceShape:
    """A kernel of a layer with a state.

    `work` is what it does at least, `kind` what it is: "convolution" and "scan" of a prompt, "convolution_step" and
    "recurrence" of a decode step. `family` names the measured kernels that it is like ("mamba2", "gated_delta_net").
    """

    work: StateSpaceWork
    kind: str
    family: str
    matrix_type: str


Shape = GemmShape | AttentionShape | ExpertsPart | StateSpaceShape
