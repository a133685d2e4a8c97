"""Elementwise work, bound by memory: norms, residuals, rotary positions, activations, gathers, sampling."""

from __future__ import annotations

from genz.numerics import Number
from genz.operators.demand import Demand

# Operations per element, counted from the textbook definition of each.
NORM_FLOPS = 5
RESIDUAL_FLOPS = 1
ROPE_FLOPS = 3
ACTIVATION_FLOPS = 8
SHIFT_FLOPS = 3
SAMPLING_FLOPS = 5


def elementwise(elements: Number, *, reads: float, writes: float, flops: float, element_bytes: Number) -> Demand:
    """`elements` results, each from `reads` elements read and to `writes` elements written."""
    return Demand(vector_flops=flops * elements, activation_bytes=(reads + writes) * elements * element_bytes)


def gather(rows: Number, width: int, *, table_bytes: Number, output_bytes: Number) -> Demand:
    """`rows` rows of a table, read and written out: no arithmetic (an embedding is not a GEMM)."""
    return Demand(weight_bytes=rows * width * table_bytes, activation_bytes=rows * width * output_bytes)
