"""Time of a layer's routed experts on the most loaded rank: grouped GEMMs, what lies between them, and moving the pairs.

A token-expert pair is a row of the grouped GEMMs. Kernels sort the pairs of all ranks by expert, gather the rows of their own
experts, multiply twice with an activation in between, and sum what the experts of a token made.

References: Gale et al., MegaBlocks, MLSys 2023 (grouped GEMM, padding to blocks of rows); Kwon et al., PagedAttention, SOSP
2023, and its engine's fused experts (sorting of pairs); Williams et al., Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.errors import unknown_name
from genz.numerics import Number, exp, maximum, minimum
from genz.operators.shapes import ExpertsShape
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import constant

# Columns of a weight matrix that one block of threads works on, in the kernels of all engines that were measured.
TILE_COLUMNS = 128
# Pairs whose sorting is half as long as it gets: beyond a thousand, blocks of threads (1024 at most) share the work.
SORTED_AT_ONCE = 1024
# Share of a cache that looped weights can fill before they evict each other; sets and hashing leave the rest unused.
LOOP_SHARE = 0.7
# Exponents beyond this leave nothing of a share, and further ones would underflow.
MOST_TURNOVER = 50.0


@dataclass(frozen=True, slots=True)
class ExpertsConstants:
    """What a chip and a library of kernels sustain, for one number format."""

    launch: float = constant(25e-6, "s", 1e-6, 2e-3, "chain of kernels: sorting, both GEMMs, activation, sum")
    expert: float = constant(5e-8, "s", 1e-10, 1e-3, "for each expert that is touched")
    sort: float = constant(
        2e-9, "s", 1e-12, 1e-7, "sorting of each of the first pairs, before blocks of threads share the work"
    )
    memory: float = constant(0.9, "1", 0.05, 1.0, "memory bandwidth over the data sheet, for weights")
    stream: float = constant(25.0, "B", 0.5, 500.0, "weights that a tile of columns takes in, for each cycle of a core")
    compute: float = constant(0.4, "1", 0.02, 1.0, "rate of the matrix units over the data sheet")
    padding: float = constant(16.0, "1", 1.0, 256.0, "rows by which each touched expert's are filled up to whole tiles")
    passes: float = constant(1.0, "1", 0.01, 6.0, "times that activations move as often as they must")
    pair_passes: float = constant(1.0, "1", 0.01, 10.0, "passes over the pairs of all ranks, to zero and to sum them")


# How a benchmark's rows were read when constants were fitted to them; the formula is the same.
VARIANTS = ("as_named", "gated", "local", "gated_local")


def experts_parts(
    shape: ExpertsShape, chip: Chip, constants: ExpertsConstants, variant: str, *, warm: bool = False
) -> tuple[Number, Number, Number]:
    """Times of the up (and gate) projection, the activation and the down projection of routed experts [s].

    With R rows of width H over A touched experts whose inner width is I (g of it: gate and up, or up alone),

        t_gemm(n, k) = sqrt(t_weights^2 + t_cores^2)                      for (n, k) = (g I, H), then (H, I)
        t_weights = A n k w / B,   1/B = 1/(memory B_0) + 1/(stream clock tiles),   tiles = A n / 128
        t_cores = 2 (R + padding A) n k / (compute F)
        first = launch + expert A + sort p / (1 + p / 1024) + t_gemm + gather
        activation: g I in, I out;     last = t_gemm + sums + pair_passes x pairs

    w is the bytes of a weight, B_0 and F the data sheet's bandwidth and FLOP/s, p the pairs of all ranks.
    Activations and pairs stream at the bandwidth of memory, or nearer that of the cache the better they fit it.
    `variant` is how the rows were read that the constants were fitted to; all are one formula. `warm`: weights that fit the
    cache stay in it from call to call. Raises `UnknownNameError` for another variant.
    """
    if variant not in VARIANTS:
        raise unknown_name("variant", variant, VARIANTS)
    first, down = _grouped_gemms(shape, chip, constants, warm)
    columns = 2 if shape.gated else 1
    tokens = shape.tokens * shape.hidden * shape.output_bytes
    rows = shape.rows * shape.hidden
    gathered = tokens + 2 * rows * shape.input_bytes
    between = shape.rows * shape.inner * (2 * columns * shape.output_bytes + shape.input_bytes)
    summed = 2 * rows * shape.output_bytes + tokens
    per_byte = constants.passes / _streaming_rate(gathered + between + summed, chip)
    pairs = shape.pairs * shape.hidden * shape.output_bytes
    overheads = constants.launch + constants.expert * shape.touched
    overheads = overheads + constants.sort * shape.pairs / (1 + shape.pairs / SORTED_AT_ONCE)
    return (
        overheads + first + per_byte * gathered,
        per_byte * between,
        down + per_byte * summed + constants.pair_passes * pairs / _streaming_rate(pairs, chip),
    )


def experts_time(shape: ExpertsShape, chip: Chip, constants: ExpertsConstants, variant: str, *, warm: bool = False) -> Number:
    """Time of a layer's routed experts [s]: the sum of `experts_parts`."""
    first, activation, down = experts_parts(shape, chip, constants, variant, warm=warm)
    return first + activation + down


def _grouped_gemms(shape: ExpertsShape, chip: Chip, constants: ExpertsConstants, warm: bool) -> tuple[Number, Number]:
    """Times of both grouped GEMMs [s]."""
    columns = 2 if shape.gated else 1
    weights = shape.touched * shape.hidden * shape.inner * shape.weight_bytes
    memory = chip.main_memory.bandwidth
    bandwidth = _looped_bandwidth((columns + 1) * weights, chip) if warm else memory
    flops = 2.0 * (shape.rows + constants.padding * shape.touched) * shape.hidden * shape.inner
    cores = flops / (constants.compute * chip.multiply_rate(shape.matrix_type))
    tile = constants.stream * chip.cores.clock

    def gemm(count: Number, outputs: Number) -> Number:
        tiles = shape.touched * outputs / TILE_COLUMNS
        stream = count * weights * (1 / (constants.memory * bandwidth) + 1 / (tile * maximum(tiles, 1.0)))
        time: Number = (stream * stream + count * count * cores * cores) ** 0.5
        return time

    return gemm(columns, columns * shape.inner), gemm(1, shape.hidden)


def _looped_bandwidth(weights: Number, chip: Chip) -> Number:
    """Bandwidth at which weights [B] arrive that a loop reads over and over: of the cache as far as they fit it [B/s]."""
    levels = list(chip.memory.values())
    slow = levels[0].bandwidth
    if len(levels) == 1:
        return slow
    turnover = (weights / (LOOP_SHARE * levels[1].capacity)) ** 2
    return slow + maximum(levels[1].bandwidth - slow, 0.0) * exp(-minimum(turnover, MOST_TURNOVER))


def _streaming_rate(moved: Number, chip: Chip) -> Number:
    """Bandwidth of what one kernel writes and the next reads, both of which must fit the cache to stay there [B/s]."""
    levels = list(chip.memory.values())
    slow = levels[0].bandwidth
    if len(levels) == 1:
        return slow
    turnover = 2 * moved / levels[1].capacity
    return slow + maximum(levels[1].bandwidth - slow, 0.0) * exp(-minimum(turnover, MOST_TURNOVER))
