"""Time of a matrix multiplication: tiles over cores, their operands and results, memory, and the power limit.

A kernel cuts the product into tiles, and where those are too few for the cores it cuts the sum over k as well. Cores and memory
work at the same time, and hide one another but for a share. What is fitted is dimensionless where physics allows, so that it
carries over to a chip that was never measured.

References: Williams et al., Roofline, CACM 52(4), 2009; Osama et al., Stream-K, PPoPP 2023 (waves, splitting of k); Volkov,
Better performance at lower occupancy, GTC 2010 (latency of the main loop).
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number, maximum, minimum, where
from genz.operators.shapes import GemmShape
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import constant
from genz.timing.kernels.residency import residency
from genz.timing.kernels.tiles import Cores, tiled_time, time_by_rows, time_on_arrays

# How far two limits slow each other where they meet: by 9 % at the power limit, which takes hold by and by, by 6 % where the
# host is as slow as the device.
POWER_SOFTNESS, HOST_SOFTNESS = 0.09, 0.06
# Formats whose activations a kernel of their own quantises before the multiplication.
QUANTISED_ACTIVATIONS = frozenset({"fp8", "fp8_block", "nvfp4", "sq", "w4a8_mxfp4_mxfp8"})
# Feeding of operands goes by the rate of the type that a core is built around, the first of these that it multiplies in.
REFERENCE_TYPES = ("bf16", "fp16", "tf32", "fp32")


@dataclass(frozen=True, slots=True)
class GemmConstants:
    """What a chip and a library of kernels sustain, for one number format.

    Latencies are in cycles of the data sheet's clock and rates of a core in bytes per FLOP: so they are alike on chips of
    1.4 to 2.5 GHz and of 1.8 to 16 TFLOP/s a core (launches of 4400 to 4700 cycles, feeds of 0.016 to 0.025 B/FLOP).
    """

    launch: float = constant(4500, "cycles", 200, 2e5, "start and end of the kernel, or of two with quantisation")
    latency: float = constant(2.4, "cycles", 0.05, 20, "main loop, for each element of k, however small the tile")
    feed: float = constant(0.018, "B/FLOP", 0.003, 0.1, "operands that a core takes in, per FLOP of its 16-bit rate")
    store: float = constant(0.0045, "B/FLOP", 1e-4, 0.1, "results that a core puts out, per FLOP of its 16-bit rate")
    compute: float = constant(0.98, "1", 0.2, 1.2, "rate of a busy core over the data sheet")
    power: float = constant(0.75, "1", 0.1, 1.1, "rate that the power limit sustains over the data sheet")
    memory: float = constant(0.87, "1", 0.2, 1.0, "memory bandwidth over the data sheet")
    waves: float = constant(0.3, "1", 0.01, 1.0, "how far the last wave of tiles counts in full")
    split: float = constant(5400, "cycles", 200, 1e6, "adding up partial sums where k is split")
    exposed: float = constant(0.4, "1", 0.01, 1.0, "share of cores' or memory's time that the other does not hide")
    vector: float = constant(0.5, "1", 0.01, 4.0, "latency of a product with one row, over that of the main loop")
    quantise: float = constant(4.0, "B", 1e-2, 60, "traffic of quantising an activation, for each element")
    quantise_row: float = constant(1e-10, "s", 1e-12, 3e-8, "quantising an activation, for each row")
    host: float = constant(5e-5, "s", 1e-6, 1e-3, "the host's time for a call that no graph captures")
    copies: float = constant(5.0, "1", 1.0, 12.0, "weights that a benchmark goes through before it comes back to the same")
    cache: float = constant(0.6, "1", 0.1, 1.5, "bandwidth of the cache over the data sheet, for what stays in it")


VARIANTS = ("split", "whole", "by_rows")


def gemm_time(
    shape: GemmShape,
    chip: Chip,
    constants: GemmConstants,
    variant: str,
    *,
    warm: bool = False,
    captured: bool = True,
) -> Number:
    """Time of one call [s].

    With S cores, tiles of u x v and s pieces of k, of which the fastest choice counts,

        x = batch ceil(m/u) ceil(n/v) s / S                     waves, 1 at least; the last counts in part (`waves`)
        t_cores = k/s max(x 2uv/F, x (u a + v w)/B, latency)    FLOPs, operands, latency of the main loop
                  + x min(u,m) min(v,n) o / O                   results, which nothing hides
                  + [s > 1] (split + 8 s m n / (S B))           partial sums
        t_memory = (w n k + a m k + o m n) / bandwidth
        t = launch + meet(t_cores, t_memory) + quantisation of activations, and not below 2mnk / (power peak)

    Times in cycles are over the clock. F, B and O are a core's rates of FLOPs, operands and results; w, a, o the bytes of a
    weight, an input and an output; meet(t, u) = (t + u + sqrt((t - u)^2 + 4 e^2 t u)) / 2, the larger of both for e = 0 and
    their sum for e = 1.

    `variant` is the choice of tiles: "split" (any tile, any number of pieces), "whole" (k in one piece), "by_rows" (a tile
    by the rows alone). On a chip whose cores are systolic arrays all are alike: n and k fill up whole arrays. `warm`:
    operands that fit the cache stay in it from call to call. Calls that are not `captured` in a graph wait for the host.
    """
    time = _cores_time(shape, chip, constants, variant)
    time = _meet(time, _memory_time(shape, chip, constants, warm), constants.exposed)
    flops = 2.0 * shape.batch * shape.m * shape.n * shape.k
    time = _meet(time, flops / (constants.power * chip.multiply_rate(shape.matrix_type)), POWER_SOFTNESS)
    time = time + constants.launch / chip.cores.clock
    if shape.format in QUANTISED_ACTIVATIONS:
        moved = constants.quantise * shape.k / (constants.memory * chip.main_memory.bandwidth)
        time = time + shape.batch * shape.m * (moved + constants.quantise_row)
    return time if captured else _meet(time, constants.host, HOST_SOFTNESS)


def _meet(one: Number, other: Number, exposed: Number) -> Number:
    """Time of two that run at once and hide each other but for the share `exposed` [s]."""
    apart = one - other
    width: Number = (apart * apart + 4.0 * exposed * exposed * (one * other)) ** 0.5
    return 0.5 * (one + other + width)


def _memory_time(shape: GemmShape, chip: Chip, constants: GemmConstants, warm: bool) -> Number:
    """Time of weights, inputs and outputs at the memory, or at the cache for what stays in it [s]."""
    weights = shape.batch * shape.n * shape.k * shape.weight_bytes
    activations = shape.batch * shape.m * (shape.k * shape.input_bytes + shape.n * shape.output_bytes)
    slow = constants.memory * chip.main_memory.bandwidth
    levels = list(chip.memory.values())
    if not warm or len(levels) == 1:
        return (weights + activations) / slow
    cache = levels[1]
    fast = maximum(constants.cache * cache.bandwidth, slow)
    hit = weights * residency((constants.copies * weights + activations) / cache.capacity)
    hit = hit + activations * residency((weights + activations) / cache.capacity)
    return (weights + activations - hit) / slow + hit / fast


def _cores_time(shape: GemmShape, chip: Chip, constants: GemmConstants, variant: str) -> Number:
    """Time of the busiest core [s]."""
    count, clock, reference = chip.cores.count, chip.cores.clock, _reference_rate(chip)
    cores = Cores(
        count=count,
        flops=constants.compute * chip.multiply_rate(shape.matrix_type) / count,
        feed=constants.feed * reference / count,
        store=constants.store * reference / count,
        latency=constants.latency / clock,
        waves=constants.waves,
        split=constants.split / clock,
    )
    if chip.cores.array is not None:
        return time_on_arrays(shape, cores, chip.cores.array.rows, chip.cores.array.columns)
    time = time_by_rows(shape, cores) if variant == "by_rows" else tiled_time(shape, cores, may_split=variant == "split")
    # A product with one row needs no tile: its threads share k among them.
    return where(shape.m <= 1, minimum(time, shape.k * (constants.latency * constants.vector / clock)), time)


def _reference_rate(chip: Chip) -> Number:
    """Rate of the type that a core is built around [FLOP/s]."""
    return chip.multiply_rate(next((t for t in REFERENCE_TYPES if t in chip.matrix_flops), chip.computable[0]))
