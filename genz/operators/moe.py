"""Mixtures of experts: how loaded the fullest rank is, how many experts a batch touches, and what they demand."""

from __future__ import annotations

from statistics import NormalDist

from genz.errors import unknown_name
from genz.numerics import Number, expm1, log1p, maximum, minimum
from genz.operators.demand import Demand
from genz.operators.shapes import ExpertsPart

ROUTINGS = ("balanced", "uniform", "worst")
# Probabilities are held this far below one, where a logarithm would not be finite.
ALMOST_ONE = 1 - 1e-12


def rank_load(routing: str, tokens: Number, *, experts: int, top_k: int, ranks: int) -> Number:
    """Token-expert pairs on the most loaded of `ranks`, over their mean.

    "balanced" is 1. "uniform" draws experts at random: the expected maximum of `ranks` normal loads of mean
    mu = T k / r and variance mu (1 - 1 / r), 1 + z sqrt((r - 1) / (T k)) with z = Phi^-1((r - 0.375) / (r + 0.25))
    (Blom, Statistical Estimates and Transformed Beta-Variables, 1958). "worst" sends every token to as many experts of
    one rank as it can: min(k, E / r) r / k. Raises `UnknownNameError` for another routing.
    """
    if routing not in ROUTINGS:
        raise unknown_name("routing", str(routing), ROUTINGS)
    worst = min(top_k, -(-experts // ranks)) * ranks / top_k
    if routing == "balanced" or ranks == 1:
        return 1.0
    if routing == "worst":
        return worst
    quantile = NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))
    spread: Number = ((ranks - 1) / maximum(tokens * top_k, 1)) ** 0.5
    return minimum(1 + quantile * spread, worst)


def touched_experts(
    tokens: Number, *, experts: int, top_k: int, local_experts: int | None = None, load: Number = 1.0
) -> Number:
    """Expected number of distinct experts that `tokens` reach on one rank.

    E_local (1 - (1 - p)^T) with p = k / E: each token picks k different experts of E, all alike. Mixtral (8, 2): 2.0 at
    one token, 7.2 at 8, 8.0 at 64. On a rank with `load` times the mean, p grows by as much.
    """
    local = experts if local_experts is None else local_experts
    probability = minimum(load * top_k / experts, ALMOST_ONE)
    return -local * expm1(tokens * log1p(-probability))


def expert_gemm(
    rows: Number,
    n: int,
    k: int,
    *,
    touched: Number,
    weight_bytes: Number,
    input_bytes: Number,
    output_bytes: Number,
    matrix_type: str,
    shape: ExpertsPart | None = None,
) -> Demand:
    """A grouped GEMM over `rows` token-expert pairs, each an activation of width k with its expert's [k, n] weights.

    FLOPs = 2 R n k; weights are read for the `touched` experts, not for all.
    """
    return Demand(
        matrix_flops=2.0 * rows * n * k,
        weight_bytes=touched * n * k * weight_bytes,
        activation_bytes=rows * (k * input_bytes + n * output_bytes),
        matrix_type=matrix_type,
        shape=shape,
    )
