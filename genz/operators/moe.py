"""Mixtures of experts: how loaded the fullest rank is, how many experts a batch touches, and what they demand."""

from __future__ import annotations

import math

from genz.errors import UnknownNameError, unknown_name
from genz.numerics import Number, exp, expm1, log1p, maximum, minimum, total
from genz.operators.demand import Demand
from genz.operators.power_law import PowerLaw, largest_of
from genz.operators.shapes import ExpertsPart

ROUTINGS = ("balanced", "uniform", "worst", "identical")
# A routing by a power law is this and its exponent, as in "power_law_1.2".
POWER_LAW = "power_law_"
# Exponents beyond this leave all but one expert idle.
LARGEST_EXPONENT = 5.0
# Probabilities are held this far below one, where a logarithm would not be finite.
ALMOST_ONE = 1 - 1e-12
# Classes of popularity, each of as many experts, that stand for all of them.
CLASSES = 16


def exponent_of(routing: str) -> float | None:
    """The exponent of a routing by a power law, none for the others. Raises `UnknownNameError` for an unknown routing."""
    if routing in ROUTINGS:
        return None
    try:
        exponent = float(str(routing).removeprefix(POWER_LAW)) if str(routing).startswith(POWER_LAW) else math.nan
    except ValueError:
        exponent = math.nan
    if not 0 < exponent <= LARGEST_EXPONENT:
        raise _unknown_routing(routing)
    return exponent


def _unknown_routing(routing: str) -> UnknownNameError:
    hint = f"{POWER_LAW}ALPHA takes an exponent above 0 and up to {LARGEST_EXPONENT:g}"
    return unknown_name("routing", str(routing), (*ROUTINGS, f"{POWER_LAW}1.2"), hint=hint)


def rank_load(
    routing: str, tokens: Number, *, experts: float, top_k: float, ranks: int, even_groups: int = 1, zero_experts: int = 0
) -> Number:
    """Token-expert pairs on the most loaded of `ranks`, over their mean.

    "balanced" is 1. "uniform" draws experts at random: the expected maximum of `ranks` normal loads of mean
    mu = T k / r and variance mu (1 - 1 / r), 1 + z sqrt((r - 1) / (T k)) with z = Phi^-1((r - 0.375) / (r + 0.25))
    (Blom, Statistical Estimates and Transformed Beta-Variables, 1958). "worst" sends every token to as many experts of
    one rank as it can: min(k, E / r) r / k. "identical" is "uniform" over the tokens of one sequence: benchmarks that give
    all sequences of a batch one prompt route them all alike (the caller counts such tokens). "power_law_1.2" deals
    experts of such popularity out to the ranks at random (`PowerLaw`, with the exponent that the name has). Raises
    `UnknownNameError` for another routing.

    Where k / G of the experts are picked in each of G `even_groups`, g = gcd(G, r) shares of the ranks hold whole groups
    each, and have exactly the g-th part of all pairs: within one, a pick falls on a rank with the probability q = g / r, and
    the variance is mu (1 - q). Of picks that fall on `zero_experts` no rank has any: mu = T k E / (E + Z) / r, q = g E / (E +
    Z) / r; in the worst case none does.
    """
    exponent = exponent_of(routing)
    shares = math.gcd(even_groups, ranks)
    within = ranks // shares
    experts, top_k, zero = experts / shares, top_k / shares, zero_experts / shares
    weighted = experts / (experts + zero)
    worst = min(top_k, math.ceil(experts / within)) * within / (top_k * weighted)
    if routing == "balanced" or within == 1:
        return 1.0
    if routing == "worst":
        return worst
    if exponent is not None:
        return minimum(PowerLaw(exponent, tokens, experts + zero, top_k).largest_load(within, among=ranks), worst)
    spread: Number = ((within - weighted) / maximum(tokens * top_k * weighted, 1)) ** 0.5
    return minimum(1 + largest_of(ranks) * spread, worst)


def touched_experts(
    tokens: Number,
    *,
    experts: float,
    top_k: float,
    local_experts: float | None = None,
    load: Number = 1.0,
    routing: str = "uniform",
    even_groups: int = 1,
    zero_experts: int = 0,
) -> Number:
    """Expected number of distinct experts that `tokens` reach on one rank.

    E_local (1 - (1 - p)^T) with p = k / E: each token picks k different experts of E, all alike. Mixtral (8, 2): 2.0 at
    one token, 7.2 at 8, 8.0 at 64. On a rank with `load` times the mean, p grows by as much. By a power law experts differ:
    E_local mean(1 - e^-c) over classes of popularity, c being an expert's pairs.

    A router that picks k / G of E / G experts in each of G `even_groups` picks any one of them as often, p = (k / G) / (E / G):
    as many are touched; by a power law, popularity is spread within each group. With Z `zero_experts` p = k / (E + Z).
    """
    local = experts if local_experts is None else local_experts
    exponent = exponent_of(routing)
    if exponent is None:
        probability = minimum(load * top_k / (experts + zero_experts), ALMOST_ONE)
        return -local * expm1(tokens * log1p(-probability))
    law = PowerLaw(exponent, tokens, (experts + zero_experts) / even_groups, top_k / even_groups)
    idle = total([exp(-load * law.quantile((i + 0.5) / CLASSES)) for i in range(CLASSES)]) / CLASSES
    return minimum(local * (1 - idle), tokens * min(top_k, local))


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
