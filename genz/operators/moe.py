"""Mixtures of experts: how many experts a batch touches, and what they demand."""

from __future__ import annotations

from genz.numerics import Number, expm1, log1p
from genz.operators.demand import Demand


def touched_experts(tokens: Number, *, experts: int, top_k: int, local_experts: int | None = None) -> Number:
    """Expected number of distinct experts that `tokens` reach under uniform routing.

    E_local (1 - (1 - k / E)^T): each token picks k different experts of E, all alike. Mixtral (8, 2): 2.0 at
    one token, 7.2 at 8, 8.0 at 64.
    """
    local = experts if local_experts is None else local_experts
    if top_k >= experts:
        return local * (tokens / tokens)
    return -local * expm1(tokens * log1p(-top_k / experts))


def expert_gemm(
    tokens: Number,
    n: int,
    k: int,
    *,
    experts: int,
    top_k: int,
    weight_bytes: Number,
    input_bytes: Number,
    output_bytes: Number,
    matrix_type: str,
) -> Demand:
    """A grouped GEMM: each token's [k] activation with the [k, n] weights of its `top_k` experts.

    FLOPs = 2 T top_k n k; weights are read for the experts that are touched, not for all.
    """
    rows = tokens * top_k
    return Demand(
        matrix_flops=2.0 * rows * n * k,
        weight_bytes=touched_experts(tokens, experts=experts, top_k=top_k) * n * k * weight_bytes,
        activation_bytes=rows * (k * input_bytes + n * output_bytes),
        matrix_type=matrix_type,
    )
