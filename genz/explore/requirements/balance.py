"""Which machine to ask for, of the many that meet an objective.

TTFT and TPOT leave a region of machines. Its corners are the bounds: the least of each figure where all others are without
limit. The machine that is returned is a point on its edge, by these rules:

1. Link. With compute and memory without limit, exchanges alone may take a share of what the objectives leave: half of that
   share for latency, and with that latency all of it for bytes. (What is given stays as it is.)
2. Compute and memory. Of all ratios of FLOP/s to bandwidth, the one at which TTFT and TPOT are both met exactly: the point
   at which finding FLOP/s from TTFT and bandwidth from TPOT in turn comes to rest. Where one objective asks for more at
   every ratio, the other is met with time to spare: then the ratio is that of the bounds.
3. Each figure in turn falls to the least that still meets both, so that none can be smaller with the others as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genz.explore.requirements.figures import Figures
from genz.explore.requirements.problem import Problem
from genz.explore.requirements.search import Array, least, turn

RATIOS = 1e6  # how far from the ratio of the bounds the ratio of a machine is looked for, either way
SCALES = 1e12  # and how far beyond its bound the bandwidth is
SAFETY = 1e-9  # by which figures exceed the least, so that rounding does not miss the objective


def bounds(problem: Problem) -> dict[str, float]:
    """The least of each figure that is not given, all others that are not given without limit; the longest latency."""
    found = {name: problem.least(name, problem.limitless()) for name in problem.unknown}
    if "link_latency" in problem.kept and problem.question.fidelity != "calibrated":
        found["link_latency"] = problem.least("link_latency", problem.limitless())
    return found


def balanced(problem: Problem, *, network_share: float) -> Figures:
    """The machine that the rules above choose."""
    figures = _with_link(problem, problem.limitless(), network_share)
    if {"flops", "bandwidth"} <= set(problem.unknown):
        figures = _with_both(problem, figures)
    return _safe(_reduced(problem, figures), problem.unknown)


def _with_link(problem: Problem, figures: Figures, share: float) -> Figures:
    """Latency first, then bandwidth, within the share of the objectives that exchanges may take."""
    unknown = problem.unknown
    if not {"flops", "bandwidth"} & set(unknown):
        share = 1.0
    without = {name: float(time) for name, time in problem.times(figures).items()}

    def budget(part: float) -> dict[str, float]:
        return {name: without[name] + part * (goal - without[name]) for name, goal in problem.goals.items()}

    if "link_latency" in unknown:
        alone = "link_bandwidth" not in unknown
        longest = problem.least("link_latency", figures, budget(share if alone else share / 2))
        figures = figures.but(link_latency=longest)
    if "link_bandwidth" in unknown:
        figures = figures.but(link_bandwidth=problem.least("link_bandwidth", figures, budget(share)))
    return figures


def _with_both(problem: Problem, figures: Figures) -> Figures:
    """FLOP/s and bandwidth, the link as it is."""
    least_flops, least_bandwidth = problem.least("flops", figures), problem.least("bandwidth", figures)
    middle = least_flops / least_bandwidth

    def bandwidths(ratios: Array) -> Array:
        def holds(values: Array) -> Array:
            return problem.meets(figures.but(flops=ratios[..., None] * values, bandwidth=values))

        return least(holds, 0.999 * least_bandwidth, SCALES * least_bandwidth, problems=ratios.shape)

    def ttft_asks_more(ratios: Array) -> Array:
        found = bandwidths(ratios)
        times = problem.times(figures.but(flops=ratios * found, bandwidth=found))
        slack = {name: np.asarray(time) / problem.goals[name] for name, time in times.items()}
        return np.asarray(slack["ttft"] > slack["tpot"])

    ratio = turn(ttft_asks_more, middle / RATIOS, middle * RATIOS) if len(problem.goals) == 2 else None
    chosen = np.asarray(middle if ratio is None else ratio)
    bandwidth = bandwidths(chosen)
    return figures.but(flops=float(chosen * bandwidth), bandwidth=float(bandwidth))


def _reduced(problem: Problem, figures: Figures) -> Figures:
    """Each figure in turn at its least, the others as they are."""
    for name in problem.unknown:
        figures = figures.but(**{name: problem.least(name, figures)})
    return figures


def _safe(figures: Figures, unknown: tuple[str, ...]) -> Figures:
    changes: Mapping[str, float] = {
        name: getattr(figures, name) * (1 - SAFETY if name == "link_latency" else 1 + SAFETY) for name in unknown
    }
    return figures.but(**changes)
