"""Matrix multiplication of activations with weights."""

from __future__ import annotations

from genz.numerics import Number
from genz.operators.demand import Demand
from genz.operators.shapes import GemmShape


def gemm(
    m: Number,
    n: Number,
    k: Number,
    *,
    weight_bytes: Number,
    input_bytes: Number,
    output_bytes: Number,
    matrix_type: str,
    format: str,  # noqa: A002
    batch: Number = 1,
) -> Demand:
    """`batch` products of [m, k] activations with [k, n] weights.

    FLOPs = 2 m n k; bytes = w n k + a m k + o m n, each times `batch`, with w, a, o the bytes of a
    weight (its share of scales included), an input and an output element. `m` is the number of tokens. `format` names the
    kernel's number format (see `GemmShape`).
    """
    return Demand(
        matrix_flops=2.0 * batch * m * n * k,
        weight_bytes=batch * n * k * weight_bytes,
        activation_bytes=batch * m * (k * input_bytes + n * output_bytes),
        matrix_type=matrix_type,
        shape=GemmShape(m, n, k, weight_bytes, input_bytes, output_bytes, matrix_type, format, batch),
    )
