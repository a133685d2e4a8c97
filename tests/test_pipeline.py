"""Pipelines: the bubble of prefill, the steady period of decode, and stages that differ."""

import pytest

import genz
from genz.inference.phase import PhaseCost
from genz.inference.pipeline import pipeline_cost


def stage(time: float, energy: float = 1.0) -> PhaseCost:
    return PhaseCost((), 1, time, 0.0, time, energy, False)


@pytest.mark.parametrize(("stages", "micro_batches"), [(2, 1), (4, 4), (8, 32), (8, 1)])
def test_prefill_bubble(stages: int, micro_batches: int) -> None:
    """Of (m + p - 1) stage times, p - 1 are bubble. Source: GPipe, arXiv:1811.06965, section 2.3."""
    cost = pipeline_cost([(stage(1.0), stages)], "prefill", micro_batches)
    assert cost.time == pytest.approx(micro_batches + stages - 1)
    assert 1 - micro_batches / cost.time == pytest.approx((stages - 1) / (micro_batches + stages - 1))


@pytest.mark.parametrize(("stages", "micro_batches", "period"), [(4, 1, 4), (4, 4, 4), (4, 9, 9)])
def test_decode_period(stages: int, micro_batches: int, period: int) -> None:
    assert pipeline_cost([(stage(1.0), stages)], "decode", micro_batches).time == pytest.approx(period)


def test_uneven_stages_wait_for_the_slowest() -> None:
    uneven = [(stage(1.0), 2), (stage(3.0), 1)]
    assert pipeline_cost(uneven, "prefill", 4).time == pytest.approx(5 + 3 * 3)
    assert pipeline_cost(uneven, "decode", 4).time == pytest.approx(12)
    assert pipeline_cost(uneven, "decode", 1).time == pytest.approx(5)


def test_energy_is_that_of_all_stages_and_micro_batches() -> None:
    assert pipeline_cost([(stage(1.0, 2.0), 3), (stage(1.0, 5.0), 1)], "prefill", 4).dynamic_energy == pytest.approx(4 * 11)


def test_one_request_goes_through_all_stages_one_after_the_other() -> None:
    """At the roofline a token takes as long over 8 stages as on one device that had the memory, but for the hand-overs."""
    one = genz.predict("llama-3.1-8b", "h100-sxm", input=1000, output=100, fidelity="roofline")
    eight = genz.predict("llama-3.1-8b", "8x h100-sxm", pp=8, input=1000, output=100, fidelity="roofline")
    assert one.tpot is not None and eight.tpot is not None
    assert one.tpot < eight.tpot < one.tpot * 1.05
    assert eight.memory.weights_bytes < one.memory.weights_bytes / 4


def test_a_full_pipeline_outruns_one_device() -> None:
    one = genz.predict("llama-3.1-8b", "h100-sxm", input=1000, output=100, batch=64, fidelity="roofline")
    eight = genz.predict("llama-3.1-8b", "8x h100-sxm", pp=8, input=1000, output=100, batch=512, fidelity="roofline")
    # With 8 micro-batches prefill takes 15 of 8 stage times, so the gain lies between 8 x 8 / 15 and 8.
    assert 8 * 8 / 15 < eight.throughput / one.throughput < 8
