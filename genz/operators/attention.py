"""Softmax attention over a KV cache: grouped queries, and the two forms of latent attention."""

from __future__ import annotations

from genz.numerics import Number
from genz.operators.demand import Demand
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
    kv_heads: int,
    key_dim: int,
    value_dim: int,
    cache_bytes: Number,
    activation_bytes: Number,
    matrix_type: str,
    fused: bool = True,
    beams: Number = 1,
) -> Demand:
    """Attention of `sequences` with `new_tokens` queries each, heads as on one device.

    FLOPs = 2 B h P (d_k + d_v) with P pairs; the cache is read once per key and KV head (not query
    head), and written for each new token: B g (K + n) (d_k + d_v) c bytes. Keys of a prompt that
    `beams` share are read once for all of them. A fused kernel keeps the scores on the chip.
    """
    pairs = sequences * query_heads * sight.pairs
    keys = sequences * (sight.keys - sight.shared * (1 - 1 / beams))
    per_token = kv_heads * (key_dim + value_dim) * cache_bytes
    scores = 0.0 if fused else UNFUSED_SCORE_PASSES * sequences * query_heads * new_tokens * sight.keys
    return Demand(
        matrix_flops=2.0 * pairs * (key_dim + value_dim),
        vector_flops=SOFTMAX_FLOPS * pairs,
        cache_bytes=(keys + sequences * new_tokens) * per_token,
        activation_bytes=(sequences * new_tokens * query_heads * (key_dim + value_dim) + scores) * activation_bytes,
        matrix_type=matrix_type,
    )


def absorbed_latent_attention(
    sight: Sight,
    *,
    sequences: Number,
    new_tokens: Number,
    query_heads: int,
    latent_rank: int,
    rope_dim: int,
    cache_bytes: Number,
    activation_bytes: Number,
    matrix_type: str,
    fused: bool = True,
    beams: Number = 1,
) -> Demand:
    """Attention on the latent itself: one KV head of width rank + rope for keys, rank for values.

    FLOPs = 2 B h P (2 r + d_rope); bytes B (K + n) (r + d_rope) c, since values are part of the keys.
    Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.2.
    """
    width = latent_rank + rope_dim
    pairs = sequences * query_heads * sight.pairs
    keys = sequences * (sight.keys - sight.shared * (1 - 1 / beams))
    scores = 0.0 if fused else UNFUSED_SCORE_PASSES * sequences * query_heads * new_tokens * sight.keys
    return Demand(
        matrix_flops=2.0 * pairs * (width + latent_rank),
        vector_flops=SOFTMAX_FLOPS * pairs,
        cache_bytes=(keys + sequences * new_tokens) * width * cache_bytes,
        activation_bytes=(sequences * new_tokens * query_heads * (width + latent_rank) + scores) * activation_bytes,
        matrix_type=matrix_type,
    )


def expanded_latent_attention(
    sight: Sight,
    *,
    sequences: Number,
    new_tokens: Number,
    query_heads: int,
    latent_width: int,
    key_dim: int,
    value_dim: int,
    cache_bytes: Number,
    activation_bytes: Number,
    matrix_type: str,
    fused: bool = True,
) -> Demand:
    """Attention on keys and values that were expanded from the latent for every head.

    FLOPs = 2 B h P (d_k + d_v). The cache gives the latents of all keys and takes the new ones; the
    expanded keys and values are activations.
    """
    pairs = sequences * query_heads * sight.pairs
    expanded = sequences * (sight.keys + new_tokens) * query_heads * (key_dim + value_dim)
    scores = 0.0 if fused else UNFUSED_SCORE_PASSES * sequences * query_heads * new_tokens * sight.keys
    return Demand(
        matrix_flops=2.0 * pairs * (key_dim + value_dim),
        vector_flops=SOFTMAX_FLOPS * pairs,
        cache_bytes=sequences * (sight.keys + new_tokens) * latent_width * cache_bytes,
        activation_bytes=(expanded + scores) * activation_bytes,
        matrix_type=matrix_type,
    )
