"""Time of a matrix multiplication on a processor: weights are packed in every call, then multiplied.

A library that gets plain weights copies them into the order that its inner loop reads, call after call, and only then
multiplies. Cores do both themselves, so that the times add up, where a GPU's copying engines would hide one behind the other.

References: Goto and van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34(3), 2008 (packing, section 4);
Van Zee and van de Geijn, BLIS, ACM TOMS 41(3), 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number, maximum, where
from genz.operators.shapes import GemmShape
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import constant
from genz.timing.kernels.residency import residency


@dataclass(frozen=True, slots=True)
class CpuGemmConstants:
    """What a processor and a library sustain, for one number format; all cores together, as the figures of the chip are."""

    launch: float = constant(1e5, "cycles", 1e3, 5e6, "way to the kernel and back, in cycles of the data sheet's clock")
    memory: float = constant(0.4, "1", 0.02, 1.0, "weights read, packed and read again, over the bandwidth of memory")
    vector: float = constant(0.5, "1", 0.02, 1.0, "weights of a product with one row, over the bandwidth of memory")
    compute: float = constant(0.9, "1", 0.05, 1.2, "rate of multiplication over the data sheet")


VARIANTS = ("packed",)


def cpu_gemm_time(shape: GemmShape, chip: Chip, constants: CpuGemmConstants, *, warm: bool = False) -> Number:
    """Time of one call [s].

        t = launch + batch (w n k / (memory B) + 2 m n k / (compute F))    for more than one row
        t = launch + batch w n k / (vector B)                              for one: a product with a vector packs nothing

    w is the bytes of a weight, B the bandwidth of memory and F the rate of the matrix type. Tiles of the inner loop that a
    few rows do not fill cost in proportion to the weights, as packing does: both are in `memory`. `warm`: weights that fit
    the cache next to memory stay in it from call to call, and come at its bandwidth.
    """
    weights = shape.batch * shape.n * shape.k * shape.weight_bytes
    seconds = weights / _bandwidth(weights, chip, warm)
    flops = 2.0 * shape.batch * shape.m * shape.n * shape.k
    product = seconds / constants.memory + flops / (constants.compute * chip.multiply_rate(shape.matrix_type))
    return constants.launch / chip.cores.clock + where(shape.m <= 1, seconds / constants.vector, product)


def _bandwidth(weights: Number, chip: Chip, warm: bool) -> Number:
    """Bandwidth at which weights [B] arrive [B/s]."""
    slow = chip.main_memory.bandwidth
    levels = list(chip.memory.values())
    if not warm or len(levels) == 1:
        return slow
    hit = residency(weights / levels[1].capacity)
    return 1.0 / ((1.0 - hit) / slow + hit / maximum(levels[1].bandwidth, slow))
