"""Time of attention of one or a few new tokens over a long cache: streams of keys and values, split over cores.

References: Dao et al., Flash-Decoding, crfm.stanford.edu/2023/10/12/flashdecoding.html (splits of the keys, and their
reduction); Ainslie et al., GQA, arXiv:2305.13245; DeepSeek-V2, arXiv:2405.04434, section 2.1 (the latent as only KV head).
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number, ceil_div, clip, maximum, minimum, where
from genz.operators.shapes import AttentionShape
from genz.specs.hardware import Chip
from genz.timing.kernels.attention_parts import (
    BLOCK_KEYS,
    all_keys,
    head_factor,
    is_windowed,
    overlapped,
    query_bytes,
    transfer_times,
    window_of,
)
from genz.timing.kernels.constants import constant

# A loop over a cache larger than the chip's evicts every line before its next use: hit = 1 / (1 + x^8) is nearly a step.
SHARPNESS = 3
# Query rows that a core works on at once: an instruction of the matrix units takes up to 64.
TILE_ROWS = 64


@dataclass(frozen=True, slots=True)
class DecodeAttentionConstants:
    """What a chip and a library of kernels sustain in attention over a cache."""

    launch: float = constant(7e-6, "s", 1e-6, 4e-4, "start and end of the call, with the kernels around attention")
    bandwidth: float = constant(0.85, "1", 0.05, 1.1, "memory bandwidth over the data sheet")
    core_bandwidth: float = constant(2.0, "1", 0.3, 20, "rate of the cores' own streams, all together, over the memory's")
    efficiency: float = constant(0.4, "1", 0.02, 1.0, "rate of a busy core's multiplication over the data sheet")
    prologue: float = constant(1.5e-6, "s", 1e-8, 6e-5, "start and end of a core's share of the work")
    exposed: float = constant(0.3, "1", 0.01, 1.0, "share of cores' or memory's time that the other does not hide")
    split_keys: float = constant(150.0, "1", 30, 20000, "fewest keys that a core is given")
    reduction: float = constant(2e-6, "s", 1e-8, 6e-5, "adding up what the cores found, where keys are split")
    query_passes: float = constant(3.0, "1", 0.05, 40, "passes over queries and outputs: attention, rotation, copies")
    append: float = constant(6e-8, "s", 1e-10, 8e-6, "a core's time for each new token: writing the cache, paging")
    cache_share: float = constant(0.7, "1", 0.1, 2.0, "share of the cache's capacity that keeps keys and values")
    masked: float = constant(0.005, "1", 1e-4, 1.0, "cost of a key outside of the window over that of one inside")
    head_64: float = constant(1.05, "1", 0.3, 6, "time per head dimension over that at 128: heads up to 64")
    head_192: float = constant(1.1, "1", 0.3, 6, "time per head dimension over that at 128: heads of 129 to 192")
    head_256: float = constant(1.0, "1", 0.3, 6, "time per head dimension over that at 128: heads of 193 to 256")
    head_512: float = constant(1.0, "1", 0.3, 6, "time per head dimension over that at 128: heads above 256")


# Pieces that a kernel of few splits makes of a piece at most: the default of SGLang's --triton-attention-num-kv-splits.
FEW_SPLITS = 8
VARIANTS = ("packed", "per_head", "packed_unless_windowed", "packed_few_splits")


def decode_attention_time(
    shape: AttentionShape, chip: Chip, constants: DecodeAttentionConstants, variant: str, *, warm: bool = False
) -> Number:
    """Time of one call [s]; fields of `shape` may be arrays, window and head dimensions too.

    n pieces of work (a KV head of a sequence with up to 64 rows of queries, or a query head) over C cores; where there are
    fewer pieces than cores, each is split in s = clip(C / n, 1, keys / split_keys). With a core's stream of b bytes and its
    multiplication of r rows, for each of k keys,

        t_key = h(d) max(b C / (core_bandwidth B), 2 r (d_k + d_v) C / (efficiency F)),    B = bandwidth x data sheet
        t_cores = ceil(n / C) (prologue h(d) + k / s t_key)
        t_memory = h(d) (cache + query_passes Q) / B
        t = launch + max(t_cores, t_memory) + exposed min(t_cores, t_memory) + reduction (1 - 1/s) + append tokens / C

    `variant`: "packed" (query heads of a KV head share a piece), "per_head", "packed_unless_windowed", as FlashAttention-2
    does it, or "packed_few_splits" (s <= 8). `warm`: keys and values that fit the chip's cache stay there from call to call.
    """
    group = shape.query_heads / shape.kv_heads
    rows, heads = _pieces(shape, group, variant)
    cores = chip.cores.count
    keys = all_keys(shape)
    inside = window_of(shape)
    worked = inside if shape.window is None else inside + constants.masked * (keys - inside)
    blocks = BLOCK_KEYS * ceil_div(worked, BLOCK_KEYS)
    pieces = shape.sequences * heads
    most = maximum(blocks / constants.split_keys, 1.0)
    splits = clip(cores / pieces, 1.0, minimum(most, FEW_SPLITS) if variant == "packed_few_splits" else most)
    slower = head_factor(shape.key_dim, constants)
    memory = constants.bandwidth * chip.main_memory.bandwidth
    token_bytes = shape.cached_width * shape.cache_bytes
    stream = token_bytes / shape.kv_heads / (constants.core_bandwidth * memory)
    multiplication = rows * (2.0 * (shape.key_dim + shape.value_dim)) / _matrix_rate(shape, chip, constants)
    key_time = cores * slower * maximum(stream, multiplication)
    of_cores = ceil_div(pieces, cores) * (constants.prologue * slower + blocks / splits * key_time)
    of_memory = slower * _memory_time(shape, chip, constants, worked * token_bytes, warm)
    return (
        constants.launch
        + overlapped(of_cores, of_memory, constants.exposed)
        + constants.reduction * (1.0 - 1.0 / splits)
        + constants.append / cores * shape.sequences * shape.new_tokens
    )


def _pieces(shape: AttentionShape, group: Number, variant: str) -> tuple[Number, Number]:
    """Query rows of a piece of work, and pieces for each sequence."""
    rows = group * shape.new_tokens
    packed = minimum(rows, TILE_ROWS), shape.kv_heads * ceil_div(rows, TILE_ROWS)
    alone = minimum(shape.new_tokens, TILE_ROWS), shape.query_heads * ceil_div(shape.new_tokens, TILE_ROWS)
    if variant == "per_head":
        return alone
    if variant != "packed_unless_windowed":
        return packed
    windowed = is_windowed(shape)
    return where(windowed, alone[0], packed[0]), where(windowed, alone[1], packed[1])


def _matrix_rate(shape: AttentionShape, chip: Chip, constants: DecodeAttentionConstants) -> Number:
    """Rate of multiplication, of all cores together [FLOP/s]."""
    return constants.efficiency * chip.multiply_rate(shape.matrix_type)


def _memory_time(
    shape: AttentionShape, chip: Chip, constants: DecodeAttentionConstants, sequence_bytes: Number, warm: bool
) -> Number:
    """Time of keys and values, each read once, and of queries and outputs [s]."""
    cache, queries = shape.sequences * sequence_bytes, query_bytes(shape)
    moved = (cache + constants.query_passes * queries) / constants.bandwidth
    if not warm:
        return moved / chip.main_memory.bandwidth
    return moved * transfer_times(cache + queries, chip, constants.cache_share, SHARPNESS)
