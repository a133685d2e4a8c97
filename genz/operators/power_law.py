"""Popularity of experts that follows a truncated power law, in closed form.

A batch of T tokens, k experts each of E, loads an expert with c = s x: x is drawn from the density x^-alpha on [1, 0.8 T], or
on [0.01, 2] where pairs are no more than experts (T k <= E), and s brings the sum of all to T k. That is how kernels of
mixtures are benchmarked (the collectors of NVIDIA's aiconfigurator), and a fair picture of skewed traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

from genz.numerics import Condition, Number, clip, log2, maximum, minimum, where

# Ends of the popularity of experts: from 1 to a share of the tokens, or these two where pairs are few.
LARGEST_SHARE = 0.8
FEW_LOW, FEW_HIGH = 0.01, 2.0
# The upper end is held this far above the lower one, for a batch of one or two tokens.
LEAST_SPAN = 1.001
# An integral of x^(p - 1) is taken for a logarithm where p is closer to zero than this.
LOGARITHMIC = 1e-9


def largest_of(ranks: int) -> float:
    """Standard deviations by which the largest of `ranks` normal draws exceeds their mean, on average.

    Phi^-1((r - 0.375) / (r + 0.25)) (Blom, Statistical Estimates and Transformed Beta-Variables, 1958).
    """
    return NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


def skewed(quantile: Number, deviation: Number, skewness: Number) -> Number:
    """A draw of mean 1 that lies where a normal one lies `quantile` standard deviations above its mean.

    1 + sigma (z + (z^2 - 1) gamma / 6) (Cornish and Fisher, Rev. Inst. Int. Stat. 5(4), 1938).
    """
    return 1 + deviation * maximum(quantile + (quantile**2 - 1) * skewness / 6, 0.0)


@dataclass(frozen=True)
class PowerLaw:
    """Pairs of `tokens` on one of `experts`, `top_k` to each token, with the exponent `alpha`."""

    alpha: float
    tokens: Number
    experts: Number
    top_k: Number

    @cached_property
    def few(self) -> Condition:
        """Whether there are no more pairs than experts."""
        return self.tokens * self.top_k <= self.experts

    @cached_property
    def ends(self) -> tuple[Number, Number]:
        """Least and largest popularity, before it is scaled."""
        return where(self.few, FEW_LOW, 1.0), where(self.few, FEW_HIGH, maximum(LARGEST_SHARE * self.tokens, LEAST_SPAN))

    @cached_property
    def mean(self) -> Number:
        """Mean pairs on an expert."""
        return self.tokens * self.top_k / self.experts

    @cached_property
    def scale(self) -> Number:
        """Pairs for each unit of popularity."""
        return self.mean / self.moment(1)

    @cached_property
    def _total(self) -> Number:
        return _power_integral(1 - self.alpha, *self.ends)

    def moment(self, order: int) -> Number:
        """Mean of popularity raised to `order`, before it is scaled."""
        return _power_integral(order + 1 - self.alpha, *self.ends) / self._total

    def at_least(self, pairs: Number) -> Number:
        """Share of experts with so many pairs or more."""
        low, high = self.ends
        return _power_integral(1 - self.alpha, clip(pairs / self.scale, low, high), high) / self._total

    def mean_below(self, pairs: Number) -> Number:
        """Mean pairs on an expert that has fewer than `pairs`, the others counted as none."""
        low, high = self.ends
        return self.scale * _power_integral(2 - self.alpha, low, clip(pairs / self.scale, low, high)) / self._total

    def quantile(self, share: float) -> Number:
        """Pairs below which a share of the experts lies."""
        low, high = self.ends
        power = 1 - self.alpha
        drawn: Number
        if abs(power) < LOGARITHMIC:
            drawn = low * (high / low) ** share
        else:
            drawn = (low**power + share * (high**power - low**power)) ** (1 / power)
        return self.scale * drawn

    @cached_property
    def variation(self) -> Number:
        """Variance of popularity over its mean squared."""
        return self.moment(2) / self.moment(1) ** 2 - 1

    @cached_property
    def skewness(self) -> Number:
        """Third central moment of popularity over its standard deviation cubed."""
        first, second, third = (self.moment(order) for order in (1, 2, 3))
        central = third - 3 * first * second + 2 * first**3
        cubed: Number = maximum(second - first**2, 1e-12) ** 1.5
        return central / cubed

    def largest_load(self, ranks: int, *, among: int | None = None) -> Number:
        """Mean load of the most loaded of `ranks` over the mean of all: experts are dealt out, and pairs drawn, at random.

        An expert's pairs are Poisson about its popularity: with v and gamma of popularity and m pairs on the mean expert,
        variance v + 1/m and third moment gamma v^1.5 + 3 v/m + 1/m^2, both over powers of the mean. A rank has n experts, and
        can hold no more than n of the most popular. It is the largest `among` so many, where other ranks share other experts
        alike.
        """
        quantile = largest_of(among or ranks)
        own = self.experts / ranks
        thinness = 1 / maximum(self.mean, 1e-12)
        variance = self.variation + thinness
        third = self.skewness * self.variation**1.5 + 3 * self.variation * thinness + thinness**2
        deviation = (variance / own * (1 - 1 / ranks)) ** 0.5
        most = self.ends[1] / self.moment(1)
        most = most + maximum(quantile, 0.0) * (most * thinness) ** 0.5
        return minimum(skewed(quantile, deviation, third / variance**1.5 / own**0.5), most)


def _power_integral(power: float, low: Number, high: Number) -> Number:
    """Integral of x^(power - 1) from `low` to `high`."""
    if abs(power) < LOGARITHMIC:
        return log2(high / low) * math.log(2)
    difference: Number = high**power - low**power
    return difference / power
