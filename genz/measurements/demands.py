"""What the measured operators demand at least: FLOPs, bytes and the type they multiply in, from the columns of a table.

These are lower bounds of the work, from the shapes alone. They price rows at the roofline, and they show rows that no chip
can have run. Operators whose work does not follow from their columns have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.measurements.positions import alike

Array = npt.NDArray[np.float64]


class Format(NamedTuple):
    """Bytes of a weight with its scales, of an activation read, and the type that the matrix units multiply in."""

    weight: float
    activation: float
    matrix_type: str


# Scales: a float per block of 128 x 128 or a group of 128 (4 bytes), a byte per 16 (NVFP4) or 32 elements (MXFP4).
FORMATS: dict[str, Format] = {
    **dict.fromkeys(("bfloat16", "bf16"), Format(2.0, 2.0, "bf16")),
    **dict.fromkeys(("float16", "fp16", "half"), Format(2.0, 2.0, "fp16")),
    **dict.fromkeys(("float32", "fp32", "float"), Format(4.0, 4.0, "tf32")),
    "fp8": Format(1.0, 1.0, "fp8"),
    "fp8_block": Format(1.0 + 4 / 128**2, 1.0 + 4 / 128, "fp8"),
    **dict.fromkeys(("int8", "sq"), Format(1.0, 1.0, "int8")),
    "int8_wo": Format(1.0, 2.0, "bf16"),
    "int4_wo": Format(0.5 + 2 / 128, 2.0, "bf16"),
    "nvfp4": Format(0.5 + 1 / 16, 0.5 + 1 / 16, "fp4"),
    "w4a16_mxfp4": Format(0.5 + 1 / 32, 2.0, "bf16"),
    "w4a8_mxfp4_mxfp8": Format(0.5 + 1 / 32, 1.0 + 1 / 32, "fp8"),
}
SIXTEEN_BITS = FORMATS["bfloat16"]
# The latent attention that is measured has these widths (DeepSeek-V2 and V3, arXiv:2405.04434 and 2412.19437): of a head's
# keys without positions, of the rotated part, of the latent; then of the queries' latent and of the model.
NOPE, ROPE, LATENT, QUERY_LATENT, MODEL_WIDTH = 128.0, 64.0, 512.0, 1536.0, 7168.0


class Demand(NamedTuple):
    """Matrix FLOPs, bytes moved [B], and data type of each row; not a number and empty text where nothing tells."""

    flops: Array
    moved: Array
    matrix_type: npt.NDArray[np.object_]


def demands(rows: pd.DataFrame) -> Demand:
    """Demands of rows of the `ops` schema."""
    flops, moved = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    formats = rows["dtype"].map(lambda name: FORMATS.get(name, SIXTEEN_BITS), na_action="ignore")
    kinds = pd.DataFrame([f if isinstance(f, Format) else SIXTEEN_BITS for f in formats], columns=Format._fields)
    for (op,), positions in alike(rows, ["op"]):
        price = _PRICES.get(str(op))
        if price is None:
            continue
        some, widths = rows.iloc[positions], kinds.iloc[positions]
        flops[positions], moved[positions] = price(_Columns(some, widths["weight"], widths["activation"]))
    return Demand(flops, moved, kinds["matrix_type"].to_numpy(dtype=object))


class _Columns:
    """Columns of rows as arrays: of the shape by name, and the widths of their format."""

    def __init__(self, rows: pd.DataFrame, weight: pd.Series, activation: pd.Series) -> None:
        self._rows = rows
        self.weight = weight.to_numpy(float)
        self.activation = activation.to_numpy(float)
        cache = rows["kv_dtype"].map(lambda name: FORMATS.get(name, SIXTEEN_BITS).activation, na_action="ignore")
        self.cache = cache.astype(float).fillna(2.0).to_numpy()

    def __getattr__(self, name: str) -> Array:
        return self._rows[name].to_numpy(float)

    def or_else(self, name: str, default: Array | float) -> Array:
        """A column, and something else where it is empty."""
        given = getattr(self, name)
        return np.where(np.isnan(given), default, given)

    def text(self, name: str, default: str) -> npt.NDArray[np.object_]:
        """A column of words, and something else where it is empty."""
        given = self._rows[name].astype(object)
        return given.where(given.notna(), default).to_numpy(dtype=object)


Priced = tuple[Array | float, Array | float]


def _gemm(c: _Columns) -> Priced:
    """Twice mnk; both operands are read and the product, of 16 bits, is written."""
    return 2 * c.m * c.n * c.k, c.weight * c.n * c.k + c.activation * c.m * c.k + 2 * c.m * c.n


def _visible(c: _Columns) -> Array:
    """Pairs of queries and keys of a sequence: each query sees what is cached and what is not after it, in its window."""
    new, past = c.or_else("q_len", 1.0), c.or_else("past_kv", 0.0)
    window = c.or_else("window", 0.0)
    limit = np.where(window > 0, window, np.inf)
    # Queries whose context stays below the window come first.
    growing = np.clip(limit - past, 0, new)
    full = np.where(new > growing, np.minimum(limit, past + new), 0.0)
    return growing * past + growing * (growing + 1) / 2 + (new - growing) * full


def _attention(c: _Columns) -> Priced:
    """Scores and sums over what is visible; queries, outputs and the cache of the visible keys are moved."""
    new, past = c.or_else("q_len", 1.0), c.or_else("past_kv", 0.0)
    window = c.or_else("window", 0.0)
    keys = np.where(window > 0, np.minimum(past + new, window + new), past + new)
    kv_heads = c.or_else("n_kv_heads", c.n_heads)
    flops = 4 * c.batch * c.n_heads * c.head_dim * _visible(c)
    return flops, c.batch * c.head_dim * (4 * c.n_heads * new + 2 * c.cache * kv_heads * keys)


def _encoder_attention(c: _Columns) -> Priced:
    """Every query sees every key."""
    flops, moved = 4 * c.batch * c.n_heads * c.head_dim * c.q_len**2, 8 * c.batch * c.n_heads * c.head_dim * c.q_len
    return flops, moved


def _latent_prefill(c: _Columns) -> Priced:
    """Keys of 192 and values of 128 a head, over what is visible."""
    pairs = 2 * (2 * NOPE + ROPE) * _visible(c)
    moved = 2 * c.q_len * (3 * NOPE + ROPE) + c.cache * (LATENT + ROPE) * c.or_else("past_kv", 0.0) / c.n_heads
    return c.batch * c.n_heads * pairs, c.batch * c.n_heads * moved


def _latent_decode(c: _Columns) -> Priced:
    """Every head works on the latent that all share."""
    context = c.or_else("past_kv", 0.0) + 1
    flops = 2 * c.batch * c.n_heads * (2 * LATENT + ROPE) * context
    return flops, c.batch * (c.cache * (LATENT + ROPE) * context + 2 * c.n_heads * (2 * LATENT + ROPE))


def _latent_projections(c: _Columns) -> Priced:
    """The matrices around latent attention, read once; FLOPs of a token times `tokens`."""
    parameters = (
        MODEL_WIDTH * (QUERY_LATENT + LATENT + ROPE)
        + QUERY_LATENT * c.n_heads * (NOPE + ROPE)
        + 2 * LATENT * NOPE * c.n_heads
        + c.n_heads * NOPE * MODEL_WIDTH
    )
    return 2 * parameters * c.batch * c.or_else("q_len", 1.0), c.weight * parameters


def _latent_module(attention: Callable[[_Columns], Priced]) -> Callable[[_Columns], Priced]:
    def price(c: _Columns) -> Priced:
        one, other = attention(c), _latent_projections(c)
        return one[0] + other[0], one[1] + other[1]

    return price


def _latent_product(c: _Columns) -> Priced:
    """The products that bring queries into the latent and results out of it: for each head [tokens, 128] with [128, 512]."""
    matrices = c.n_heads * NOPE * LATENT
    return 2 * c.num_tokens * matrices, c.weight * matrices + 2 * c.num_tokens * c.n_heads * (NOPE + LATENT)


def _experts(c: _Columns) -> Priced:
    """Two or three matrices of each expert that a rank's even share of the tokens touches."""
    ranks, slices = c.or_else("moe_ep", 1.0), c.or_else("moe_tp", 1.0)
    pairs = c.num_tokens * c.topk / ranks
    matrices = np.where([name.endswith("nongated") for name in c.text("kernel", "")], 2, 3)
    parameters = matrices * c.hidden * c.inter / slices
    # Tokens that choose at random touch so many experts; skewed choices touch fewer, but one.
    random = c.n_experts / ranks * (1 - (1 - np.minimum(c.topk / c.n_experts, 1.0)) ** c.num_tokens)
    touched = np.where(c.text("distribution", "balanced") == "balanced", np.maximum(random, 1.0), 1.0)
    return 2 * pairs * parameters, c.weight * parameters * touched + 2 * c.num_tokens / ranks * c.hidden


def _passes(columns: str, passes: float) -> Callable[[_Columns], Priced]:
    """Elementwise work: so many passes over a 16-bit tensor of tokens by a width."""

    def price(c: _Columns) -> Priced:
        return 0.0, 2 * passes * c.num_tokens * getattr(c, columns) / c.or_else("tp", 1.0)

    return price


_PRICES: dict[str, Callable[[_Columns], Priced]] = {
    "gemm": _gemm,
    "prefill_attention": _attention,
    "decode_attention": _attention,
    "encoder_attention": _encoder_attention,
    "mla_prefill": _latent_prefill,
    "mla_decode": _latent_decode,
    "mla_module_prefill": _latent_module(_latent_prefill),
    "mla_module_decode": _latent_module(_latent_decode),
    "mla_bmm": _latent_product,
    "moe": _experts,
    # Gate and value are read and their product is written; rotary positions and norms read and write.
    "activation": _passes("inter", 3),
    "norm": lambda c: (0.0, 4 * c.num_tokens * c.hidden),
    "residual_add": lambda c: (0.0, 6 * c.num_tokens * c.hidden),
    "embedding": lambda c: (0.0, 2 * c.num_tokens * c.hidden),
}
