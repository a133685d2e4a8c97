"""Softmax attention over a cache: grouped queries, and the two forms of latent attention, by one formula."""

from __future__ import annotations

from genz.numerics import Number
from genz.operators.demand import Demand
from genz.operators.shapes import AttentionShape
from genz.operators.visibility import Sight

# Per score: scale, running maximum, subtract, exponential, running sum, rescale.
# Source: Dao, FlashAttention-2, arXiv:2307.08691, algorithm 1.
SOFTMAX_FLOPS = 6
# An unfused kernel writes the scores, reads and rewrites them in the softmax, and reads them again.
UNFUSED_SCORE_PASSES = 4


def attention(
    sight: Sight,
    *,
    sequences: Number,
    new_tokens: Number,
    query_heads: int,
    key_dim: int,
    value_dim: int,
    cached_width: int,
    cache_bytes: Number,
    activation_bytes: Number,
    matrix_type: str,
    fused: bool = True,
    expands: bool = False,
    beams: Number = 1,
    writes: bool = True,
    shape: AttentionShape | None = None,
) -> Demand:
    """Attention of `sequences` with `new_tokens` queries each, heads as on one device.

    FLOPs = 2 B h P (d_k + d_v) with P pairs. The cache, `cached_width` elements a token, is read once per key (for each KV
    head, not each query head) and written for each new token: B (K + n) w c bytes; another layer's is not written. Keys of
    a prompt that `beams` share are read once for all of them. A fused kernel keeps the scores on the chip.

    - Grouped queries over g KV heads: w = g (d_k + d_v).
    - Latent attention on the latent itself: d_k = w = rank + rope, d_v = rank, as the values are part of the keys.
    - Latent attention that `expands`: w = rank + rope, and keys and values made of it for every head are activations.

    Source of the latent forms: DeepSeek-V2, arXiv:2405.04434, section 2.1.
    """
    pairs = sequences * query_heads * sight.pairs
    keys = sequences * (sight.keys - sight.shared * (1 - 1 / beams))
    operands = sequences * query_heads * (key_dim + value_dim) * (new_tokens + (sight.keys if expands else 0))
    scores = 0.0 if fused else UNFUSED_SCORE_PASSES * sequences * query_heads * new_tokens * sight.keys
    return Demand(
        matrix_flops=2.0 * pairs * (key_dim + value_dim),
        vector_flops=SOFTMAX_FLOPS * pairs,
        cache_bytes=(keys + (sequences * new_tokens if writes else 0)) * cached_width * cache_bytes,
        activation_bytes=(operands + scores) * activation_bytes,
        matrix_type=matrix_type,
        shape=shape if fused else None,
    )
