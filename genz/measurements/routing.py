"""How benchmarks of mixtures of experts load the rank that they measure.

They fix how many pairs each expert gets, rather than draw them: "balanced" deals tokens out in turn, "power_law_1.2" rounds
loads of that popularity to whole pairs. What rounding leaves goes to the most loaded experts first, one pair to each, and then
to idle ones at random. The most loaded of the ranks is measured (collectors of NVIDIA's aiconfigurator).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genz.operators.moe import exponent_of
from genz.operators.power_law import PowerLaw, largest_of, skewed

Array = npt.NDArray[np.float64]
# Counts up to this are rounded one by one; what is lost to rounding of larger ones averages out.
ROUNDED = 6


class Load(NamedTuple):
    """Pairs on the measured rank, and experts of it that get any."""

    rows: Array
    touched: Array


def benchmark_load(distribution: str, tokens: Any, experts: Any, top_k: Any, ranks: Any) -> Load:
    """Load of the measured rank under "balanced" or a power law. Raises `UnknownNameError` for another distribution."""
    exponent = exponent_of(distribution)
    pairs, own = tokens * top_k, experts / ranks
    if exponent is None:
        rows = np.clip(np.ceil(pairs / ranks), 1.0, pairs)
        return Load(rows, np.minimum(rows, own))
    return _rounded_load(PowerLaw(exponent, tokens, experts, top_k), ranks)


def _rounded_load(law: PowerLaw, ranks: Array) -> Load:
    """Load of the most loaded of `ranks` by a power law rounded to whole pairs."""
    mean: Any = law.mean
    own: Any = law.experts / ranks
    pairs = mean * law.experts
    tails = _tails(law)
    # sum (2j - 1) P(n >= j) is the mean of n^2, sum (3j^2 - 3j + 1) P(n >= j) that of n^3.
    first, second, third = (sum((j**p - (j - 1) ** p) * tail for j, tail in enumerate(tails, start=1)) for p in (1, 2, 3))
    variance = np.maximum(second - first**2, 1e-12)
    variation: Any = np.where(law.few, variance / first**2, law.variation)
    skewness: Any = np.where(law.few, (third - 3 * first * second + 2 * first**3) / variance**1.5, law.skewness)
    counts, places = np.unique(ranks, return_inverse=True)
    quantile: Any = np.array([largest_of(int(count)) if count > 1 else 0.0 for count in counts])[places]
    tilt: Any = skewed(quantile, (variation / own * (1 - 1 / ranks)) ** 0.5, skewness / own**0.5)
    tilt = np.where(ranks > 1, np.minimum(tilt, law.ends[1] / law.moment(1) + law.few / mean), 1.0)
    most = law.tokens * np.minimum(law.top_k, own)
    rows = np.clip(mean * own * tilt, 1.0, np.minimum(most, pairs))
    tilt = rows / (mean * own)
    # Where most experts are idle, a rank is the fullest for having more experts at work and more pairs on each.
    few_touched = own * tails[0] * tilt ** (tails[0] / first) ** 0.5
    touched = np.where(law.few, few_touched, own * law.at_least(0.5 / tilt))
    return Load(rows, np.clip(touched, 1.0, np.minimum(rows, own)))


def _tails(law: PowerLaw) -> list[Array]:
    """Shares of experts with 1, 2, ... pairs or more, after rounding and after the remainder is given away."""
    plain = [law.at_least(j - 0.5) for j in range(1, ROUNDED + 1)]
    rounded = law.mean - law.mean_below(ROUNDED - 0.5) + sum(plain[:-1]) - (ROUNDED - 1) * plain[-1]
    left = np.maximum(law.mean - rounded, 0.0)
    busy = np.maximum(plain[0], 1e-12)
    raised = np.minimum(left, busy) / busy
    some = np.minimum(plain[0] + np.maximum(left - busy, 0.0), 1.0)
    return [some, *(high + raised * (low - high) for low, high in pairwise(plain))]
