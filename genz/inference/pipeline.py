"""A phase over the stages of a pipeline: fill and drain in prefill, a steady period in decode."""

from __future__ import annotations

from collections.abc import Sequence

from genz.graph.step import PhaseName
from genz.inference.phase import PhaseCost
from genz.numerics import Number, maximum, total


def pipeline_cost(stages: Sequence[tuple[PhaseCost, int]], phase: PhaseName, micro_batches: Number) -> PhaseCost:
    """The phase of a whole batch from the cost of one micro-batch on each distinct stage, and the number of stages alike.

    Prefill: the first micro-batch passes every stage, each later one follows at the pace of the slowest:
    sum of stages + (m - 1) x slowest, which for p equal stages is (m + p - 1) stage times, a bubble of
    (p - 1) / (m + p - 1) (Huang et al., GPipe, arXiv:1811.06965). Decode: a micro-batch returns to the first stage when
    it has passed all, or when the others have had their turn: max(m x slowest, sum of stages), that is max(m, p) times.

    The operators are those of one device of each distinct stage, over all micro-batches.
    """
    (first, alike), *others = stages
    if alike == 1 and not others:
        return first
    slowest = maximum(*(cost.time for cost, _ in stages))
    passage = total([cost.time * alike for cost, alike in stages])
    filled = passage + (micro_batches - 1) * slowest
    time = filled if phase == "prefill" else maximum(micro_batches * slowest, passage)
    return PhaseCost(
        operators=tuple(item.times(micro_batches) for cost, _ in stages for item in cost.operators),
        steps=first.steps,
        device_time=micro_batches * total([cost.device_time for cost, _ in stages]),
        host_time=micro_batches * total([cost.host_time for cost, _ in stages]),
        time=time,
        dynamic_energy=micro_batches * total([cost.dynamic_energy * alike for cost, alike in stages]),
        is_power_limited=first.is_power_limited,
        fetch_wait=micro_batches * total([cost.fetch_wait for cost, _ in stages]),
    )
