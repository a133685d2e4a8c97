"""Time of attention over a prompt, or any step of many queries: FlashAttention's tiles over cores.

A kernel gives each tile of query rows to a core, which walks over the keys that the tile sees. Cores share the tiles; the
longest tile ends last. Around it engines rotate queries and keys and write the cache.

References: Dao, FlashAttention-2, arXiv:2307.08691; Shah et al., FlashAttention-3, arXiv:2407.08608.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from genz.numerics import Number, ceil_div, clip, maximum, minimum, where
from genz.operators.shapes import AttentionShape
from genz.operators.visibility import sight
from genz.specs.hardware import Chip
from genz.timing.kernels.attention_parts import (
    BLOCK_KEYS,
    all_keys,
    head_factor,
    overlapped,
    query_bytes,
    transfer_times,
    window_of,
)
from genz.timing.kernels.constants import constant

# Rows of the tiles that kernels which adapt choose from, by the rows that there are, and the widest head of the tallest.
# Source: FlashInfer, include/flashinfer/utils.cuh, FA2DetermineCtaTileQ.
ADAPTIVE_ROWS, WIDEST_TALL_HEAD = (16.0, 64.0, 128.0), 255
# A prompt's activations leave a cache by and by: hit = 1 / (1 + x^2).
SHARPNESS = 1


@dataclass(frozen=True, slots=True)
class PrefillAttentionConstants:
    """What a chip and a library of kernels sustain in attention over a prompt."""

    launch: float = constant(8e-6, "s", 1e-6, 4e-4, "start and end of the call, with the kernels around attention")
    efficiency: float = constant(0.6, "1", 0.02, 1.0, "rate of a busy core over the data sheet, softmax included")
    prologue: float = constant(2e-6, "s", 1e-8, 6e-5, "start and end of a tile: loads of queries, stores of outputs")
    tail: float = constant(0.8, "1", 0.05, 4.0, "time of a lone tile over its share of a busy core")
    exposed: float = constant(0.5, "1", 0.01, 1.0, "share of the longest tile's time that the other tiles do not hide")
    query_passes: float = constant(1.0, "1", 0.05, 20, "passes over queries and outputs: attention, rotation, copies")
    cache_passes: float = constant(2.0, "1", 0.05, 40, "passes over new keys and values: attention, rotation, the cache")
    append: float = constant(4e-8, "s", 1e-10, 4e-6, "a core's time for each new token: writing the cache, paging")
    cache_share: float = constant(0.7, "1", 0.1, 2.0, "share of the cache's capacity that keeps activations")
    masked: float = constant(0.01, "1", 2e-4, 1.0, "cost of a key outside of the window over that of one inside")
    split_keys: float = constant(1000.0, "1", 30, 20000, "fewest keys that a core is given where tiles are split by keys")
    head_64: float = constant(1.2, "1", 0.3, 12, "time per head dimension over that at 128: heads up to 64")
    head_192: float = constant(1.1, "1", 0.3, 12, "time per head dimension over that at 128: heads of 129 to 192")
    head_256: float = constant(1.0, "1", 0.3, 12, "time per head dimension over that at 128: heads of 193 to 256")
    head_512: float = constant(1.5, "1", 0.3, 12, "time per head dimension over that at 128: heads above 256")


class Tiling(NamedTuple):
    """How a kernel cuts its work: rows of a tile (0: by the rows that there are), whether the queries of all heads that share a
    KV head make up the rows, and whether tiles too few for the cores are split by keys."""

    rows: int
    packed: bool = False
    split: bool = False


TILINGS = {
    "64": Tiling(64),
    "128": Tiling(128),
    "64_packed": Tiling(64, packed=True),
    "128_packed": Tiling(128, packed=True),
    "128_split": Tiling(128, packed=True, split=True),
    "adaptive": Tiling(0, packed=True),
    "adaptive_split": Tiling(0, packed=True, split=True),
}
VARIANTS = tuple(TILINGS)


def prefill_attention_time(
    shape: AttentionShape, chip: Chip, constants: PrefillAttentionConstants, variant: str, *, warm: bool = False
) -> Number:
    """Time of one call [s]; fields of `shape` may be arrays, window and head dimensions too.

    With C cores of rate F, n tiles of r rows that see k keys in the mean, masked ones and the edges of blocks included,

        t_key = 2 r (d_k + d_v) h(d) / (efficiency F)                       a tile, for each key
        t_cores = n (prologue h(d) + k t_key) / C
        t_longest = tail (prologue h(d) + k_last t_key)                     the last tile of a sequence; its keys may be split
        t_memory = (query_passes Q + cache_passes K) t_byte + past / B      queries, outputs; new keys and values; the cache
        t = launch + max(t_cores, t_longest) + exposed min(t_cores, t_longest) + t_memory + append tokens / C

    `variant` is one of `TILINGS`. What was cached before comes from main memory unless `warm`; the new tokens' activations
    were written just now and hit the cache as far as they fit in.
    """
    tiling = TILINGS[variant]
    group = shape.query_heads / shape.kv_heads
    rows, heads = (shape.new_tokens * group, shape.kv_heads) if tiling.packed else (shape.new_tokens, shape.query_heads)
    height = tiling.rows or _adaptive_height(rows, shape.key_dim)
    tiles = shape.sequences * heads * ceil_div(rows, height)
    tokens = minimum(height / group if tiling.packed else height, shape.new_tokens)
    cores = chip.cores.count
    slower = head_factor(shape.key_dim, constants)
    rate = constants.efficiency * chip.multiply_rate(shape.matrix_type) / cores
    key_time = 2.0 * height * (shape.key_dim + shape.value_dim) * slower / rate
    prologue = constants.prologue * slower
    mean_keys, last_keys = _keys_of_tiles(shape, tokens, constants.masked)
    if tiling.split:
        last_keys = last_keys / clip(cores / tiles, 1.0, maximum(last_keys / constants.split_keys, 1.0))
    busy = tiles * (prologue + mean_keys * key_time) / cores
    longest = constants.tail * (prologue + last_keys * key_time)
    new_tokens = shape.sequences * shape.new_tokens
    return (
        constants.launch
        + overlapped(busy, longest, constants.exposed)
        + _memory_time(shape, chip, constants, warm)
        + constants.append / cores * new_tokens
    )


def _adaptive_height(rows: Number, key_dim: Number) -> Number:
    """Rows of the tile that a kernel with several chooses."""
    low, middle, high = ADAPTIVE_ROWS
    # Truths as numbers: several times as fast over arrays as nested choices.
    return low + (middle - low) * (rows > low) + (high - middle) * ((rows > middle) & (key_dim <= WIDEST_TALL_HEAD))


def _keys_of_tiles(shape: AttentionShape, tokens: Number, masked: float) -> tuple[Number, Number]:
    """Keys that a tile of so many tokens works on: in the mean, and in the last tile of a sequence.

    A tile works on whole blocks, and on every key that one of its rows sees: half a tile and half a block too many at each
    end where the mask cuts, but never more blocks than there are.
    """
    keys, window = all_keys(shape), window_of(shape)
    blocks = BLOCK_KEYS * ceil_div(keys, BLOCK_KEYS)
    if not shape.causal:
        inside = minimum(window, keys)
        mean = blocks if shape.window is None else minimum(inside + BLOCK_KEYS, blocks)
        return mean + masked * (keys - inside), mean + masked * (keys - inside)
    seen = sight(shape.context, shape.new_tokens, window=None if shape.window is None else window)  # type: ignore[arg-type]
    mean = seen.pairs / shape.new_tokens
    edge = 0.5 * (tokens + BLOCK_KEYS)
    if shape.window is None:
        return minimum(mean + edge, blocks), keys + 0.5 * BLOCK_KEYS
    hidden = shape.context + 0.5 * (shape.new_tokens + 1) - mean
    edges = edge * where(window < keys, 2.0, 1.0)
    last = minimum(keys, window + tokens)
    return minimum(mean + masked * hidden + edges, blocks), last + masked * (keys - last) + 0.5 * BLOCK_KEYS


def _memory_time(shape: AttentionShape, chip: Chip, constants: PrefillAttentionConstants, warm: bool) -> Number:
    """Time of activations and of what was cached before [s]."""
    queries = query_bytes(shape)
    key_width = shape.kv_heads * (shape.key_dim + shape.value_dim) * shape.activation_bytes
    new_keys = shape.sequences * shape.new_tokens * key_width
    past = shape.sequences * minimum(shape.context, window_of(shape)) * _past_width(shape, key_width)
    footprint = queries + new_keys + past if warm else queries + new_keys
    byte_time = transfer_times(footprint, chip, constants.cache_share, SHARPNESS)
    past_time = byte_time if warm else 1.0 / chip.main_memory.bandwidth
    return (constants.query_passes * queries + constants.cache_passes * new_keys) * byte_time + past * past_time


def _past_width(shape: AttentionShape, key_width: Number) -> Number:
    """Bytes of a token that was cached before: as cached, or as the keys and values that were made of its latent [B]."""
    return key_width if shape.latent == "expanded" else shape.cached_width * shape.cache_bytes
