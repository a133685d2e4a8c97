"""Elasticities against central differences, Euler's theorem, and kinks that are placed by construction."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

import genz
from genz.explore.changes.parameters import parameter
from genz.explore.sensitivity import sensitivity_of
from genz.inference.metrics import METRICS
from genz.inference.prices import settle_prices

DENSE = {"model": "llama-3.1-70b", "platform": "8x h100-sxm", "tp": 8, "batch": 16, "input": 2048, "output": 256}
EXPERTS = {"model": "deepseek-v3", "platform": "dgx-h200-x4", "ep": 32, "batch": 96, "input": 1000, "output": 100}
WINDOWS = {"model": "gpt-oss-120b", "platform": "4x h100-sxm", "tp": 4, "batch": 24, "input": 100, "output": 200}
HBM = "chip.memory.hbm.bandwidth"


def settled(asked: dict[str, Any], fidelity: str) -> genz.Question:
    return genz.settle_question(**asked, fidelity=fidelity)


@pytest.mark.parametrize("fidelity", ["roofline", "engine", "calibrated"])
@pytest.mark.parametrize("asked", [DENSE, EXPERTS, WINDOWS], ids=["dense", "experts", "windows"])
def test_elasticities_are_central_differences(asked: dict[str, Any], fidelity: str) -> None:
    question = settled(asked, fidelity)
    found = sensitivity_of(question)
    checked = 0
    for one in found.elasticities:
        varied = one.parameter
        if varied.is_count or one.is_kink or one.steps or one.left is None or one.right is None:
            continue
        step = 1e-5
        above, below = (
            one.metric.of(genz.evaluate(moved), settle_prices(moved.platform))
            for moved in (varied.scaled(question, 1 + step), varied.scaled(question, 1 - step))
        )
        difference = math.log(above / below) / (math.log1p(step) - math.log1p(-step))  # type: ignore[operator]
        assert one.right == pytest.approx(difference, abs=1e-6), (one.metric.name, varied.name)
        assert one.left == pytest.approx(one.right, rel=1e-9, abs=1e-9)
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("metric", ["ttft_s", "tpot_s", "e2e_s"])
@pytest.mark.parametrize("asked", [DENSE, EXPERTS, WINDOWS], ids=["dense", "experts", "windows"])
def test_times_scale_with_all_rates(asked: dict[str, Any], metric: str) -> None:
    """Euler: at the roofline, times are homogeneous of degree -1 in rates and inverse latencies: elasticities add up to -1."""
    question = settled(asked, "roofline")
    rates = ["chip.matrix_flops", "chip.vector_flops"] + [
        f"chip.memory.{level}.bandwidth" for level in question.platform.chip.memory
    ]
    networks = range(len(question.platform.network))
    rates += [f"network.{i}.bandwidth" for i in networks]
    latencies = [f"network.{i}.latency" for i in networks]
    latencies += [f"network.{i}.message_overhead" for i in networks if question.platform.network[i].message_overhead]
    found = sensitivity_of(question, metrics=[metric], parameters=[*rates, *latencies])
    for side in ("left", "right"):
        total = sum(getattr(found.of(metric, name), side) for name in rates)
        total -= sum(getattr(found.of(metric, name), side) for name in latencies)
        assert total == pytest.approx(-1.0, abs=1e-9)


def test_a_batch_at_the_critical_batch_kinks() -> None:
    """With T* = F w / (2 W) tokens in a step, every GEMM takes as long to compute as to load its weights.

    Below, its time falls with the bandwidth, above it does not: both slopes differ by the share of time that GEMMs have.
    The same holds for the FLOP/s.
    """
    question = settled({**DENSE, "batch": 512, "input": 128, "output": 2}, "roofline")
    chip = question.platform.chip
    tied = question.on(genz.bind(question.platform, {HBM: chip.matrix_flops["bf16"] * 2 / (2 * 512)}))
    assert genz.critical_batch(tied.platform.chip, tied.widths) == pytest.approx(512)
    outcome = genz.evaluate(tied)
    gemms = [cost for cost in outcome.decode.operators if cost.operator.category == "gemm"]
    assert len(gemms) == 5 and all(cost.busy[0] == pytest.approx(cost.busy[2], rel=1e-14) for cost in gemms)
    share = sum(cost.device_time for cost in gemms) / outcome.tpot
    found = sensitivity_of(tied, metrics=["tpot_s"], parameters=[HBM, "chip.matrix_flops"])
    for one in found.elasticities:
        assert one.is_kink and not one.steps
        assert one.left is not None and one.right is not None
        assert one.right - one.left == pytest.approx(share, rel=1e-9)
    assert found.of("tpot_s", "chip.matrix_flops").left == pytest.approx(-share, abs=0.02)


def test_a_cache_that_just_holds_the_activations_steps() -> None:
    """A pass over as many bytes as the cache holds stays in it; with less, it crosses main memory at once."""
    question = settled({**DENSE, "batch": 512, "input": 128, "output": 2}, "roofline")
    # The norm of a decode step reads and writes the residual: 4 passes x 512 sequences x 8192 x 2 B.
    capacity = 4.0 * 512 * 8192 * 2
    edge = question.on(genz.bind(question.platform, {"chip.memory.l2.capacity": capacity}))
    one = sensitivity_of(edge, metrics=["tpot_s"], parameters=["chip.memory.l2.capacity"]).of(
        "tpot_s", "chip.memory.l2.capacity"
    )
    assert one.steps == "below" and one.below > 0 and one.above == 0
    assert one.left == one.right == 0.0
    smaller = genz.evaluate(question.on(genz.bind(question.platform, {"chip.memory.l2.capacity": capacity * (1 - 1e-6)})))
    assert one.below == pytest.approx(smaller.tpot / genz.evaluate(edge).tpot - 1, rel=1e-9)


def test_whole_numbers_are_compared_with_their_neighbours() -> None:
    question = settled(DENSE, "calibrated")
    found = sensitivity_of(question, metrics=["tpot_s"], parameters=["batch", "output"])
    tpot = {n: genz.evaluate(question.with_workload(batch=n)).tpot for n in (15, 16, 17, 18)}
    one = found.of("tpot_s", "batch")
    assert one.left == pytest.approx(math.log(tpot[16] / tpot[15]) / math.log(16 / 15))
    assert one.right == pytest.approx(math.log(tpot[17] / tpot[16]) / math.log(17 / 16))
    assert one.up == pytest.approx(tpot[18] / tpot[16] - 1)  # 10 % more is 17.6: the nearest whole number
    alone = sensitivity_of(question.with_workload(batch=1), metrics=["tpot_s"], parameters=["batch"]).of("tpot_s", "batch")
    assert alone.left is None and alone.down is None and alone.right is not None


def test_what_if_is_computed_anew() -> None:
    found = genz.sensitivity(**DENSE, metrics="tpot_s", parameters=HBM)
    told = found.what_if(HBM, 1.5)
    question = settled(DENSE, "calibrated")
    faster = genz.evaluate(question.on(genz.bind(question.platform, {HBM: 1.5 * 3.35e12})))
    assert told.change(METRICS["tpot_s"]) == pytest.approx(faster.tpot / genz.evaluate(question).tpot - 1, rel=1e-12)
    fall = 100 * (1 - faster.tpot / genz.evaluate(question).tpot)
    assert str(told).startswith(f"If HBM bandwidth grows by 50 %, TPOT falls by {fall:.3g} %")


def test_what_if_says_where_the_bound_moves() -> None:
    question, latency = settled(DENSE, "roofline"), "network.0.latency"
    told = sensitivity_of(question, metrics=["tpot_s"], parameters=[HBM]).what_if(latency, 50.0)
    slow = question.on(genz.bind(question.platform, {latency: 50 * question.platform.network[0].latency}))
    assert (genz.evaluate(question).decode.bound, genz.evaluate(slow).decode.bound) == (1, 2)
    assert told.moved_bounds == {"decode": ("memory", "network")}
    assert str(told).endswith("and the bound of decode moves from memory to network.")


def test_what_no_longer_fits_has_no_numbers() -> None:
    found = genz.sensitivity(**DENSE, metrics="tpot_s", parameters="chip.memory.hbm.capacity")
    told = found.what_if("chip.memory.hbm.capacity", 0.2)
    assert told.after is None and told.change(METRICS["tpot_s"]) is None
    assert str(told) == "If HBM capacity falls by 80 %, the model and its cache no longer fit."
    most = genz.largest_batch("llama-3.1-8b", "h100-sxm", input=8192, output=512)
    full = genz.sensitivity(
        "llama-3.1-8b", "h100-sxm", input=8192, output=512, batch=most, metrics="tpot_s", parameters="batch"
    )
    one = full.of("tpot_s", "batch")
    assert one.right is None and one.up is None and one.left is not None


def test_what_a_fidelity_does_not_react_to_is_told() -> None:
    found = genz.sensitivity(**DENSE, metrics="tpot_s")
    quiet = {one.name for one in found.unmoved}
    assert {"network.0.latency", "engine.overheads.kernel_gap", "chip.memory.hbm.capacity"} <= quiet
    assert HBM not in quiet
    stated = genz.sensitivity(**DENSE, metrics="tpot_s", fidelity="engine", parameters="engine.overheads.kernel_gap")
    assert not stated.unmoved
    assert "No reaction" in str(found) and "No reaction" not in str(stated)


def test_a_share_of_one_cannot_grow() -> None:
    question = settled(DENSE, "engine")
    ideal = replace(question, engine=genz.bind(question.engine, {"efficiency.memory": 1.0}))
    one = sensitivity_of(ideal, metrics=["tpot_s"], parameters=["engine.efficiency.memory"]).elasticities[0]
    assert one.right is None and one.up is None and one.left is not None and one.left < 0


def test_power_below_idle_is_no_question() -> None:
    found = genz.sensitivity(**DENSE, metrics="power_w", parameters="chip.power.idle")
    with pytest.raises(genz.InvalidValueError, match="must be below tdp"):
        found.what_if("chip.power.idle", 8.0)


def test_prices_are_figures_too() -> None:
    cost = "usd_per_million_output_tokens"
    found = genz.sensitivity(**DENSE, metrics=cost, parameters="chip.price.hourly")
    assert found.of(cost, "chip.price.hourly").right == pytest.approx(1.0)
    with pytest.raises(genz.InvalidValueError, match="no price is known"):
        genz.sensitivity(**DENSE, metrics="carbon_g_per_million_output_tokens", parameters=HBM)
    stated = genz.sensitivity(**DENSE, metrics="carbon_g_per_million_output_tokens", parameters=HBM, carbon_intensity=400)
    assert stated.elasticities[0].right is not None


def test_the_rates_of_all_types_are_one_parameter() -> None:
    question = settled(EXPERTS, "roofline")
    varied = parameter(question, "chip.matrix_flops")
    assert varied.value == question.platform.chip.matrix_flops["fp8"] and len(varied.figures) > 3
    parts = [f"chip.matrix_flops.{name}" for name in question.platform.chip.matrix_flops]
    found = sensitivity_of(question, metrics=["ttft_s"], parameters=["chip.matrix_flops", *parts])
    assert found.of("ttft_s", varied.name).right == pytest.approx(
        sum(found.of("ttft_s", name).right or 0.0 for name in parts), rel=1e-9
    )


def test_tables_and_json() -> None:
    found = genz.sensitivity(**DENSE, by=0.2)
    frame = found.to_frame()
    assert list(frame.columns[:9]) == [
        "metric", "parameter", "title", "value", "unit", "elasticity_left", "elasticity_right", "kink", "steps",
    ]  # fmt: skip
    assert {"change_at_-20%", "change_at_+20%", "bound_after"} <= set(frame.columns)
    row = frame[(frame.metric == "tpot_s") & (frame.parameter == HBM)].iloc[0]
    assert (row.value, row.unit) == (3.35e12, "B/s") and row.bound_after.startswith("prefill ")
    data = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert data["change"] == 0.2 and len(data["elasticities"]) == len(frame)
    assert data["metrics"]["tpot_s"] == genz.predict(**DENSE).tpot
    assert found.plot() is not None


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"metrics": "tpot"}, genz.UnknownNameError, "did you mean 'tpot_s'"),
        ({"parameters": "chip.memory.hbm.bandwith"}, genz.UnknownNameError, f"did you mean '{HBM}'"),
        ({"parameters": "bacth"}, genz.UnknownNameError, "did you mean 'batch'"),
        ({"parameters": "chip.vendor"}, genz.InvalidValueError, "is not a figure"),
        ({"parameters": "chip.memory.hbm"}, genz.InvalidValueError, "is not a figure.*capacity, bandwidth"),
        ({"parameters": "devices"}, genz.InvalidValueError, "laid out by"),
        ({"parameters": "network.0.message_overhead"}, genz.InvalidValueError, "is 0"),
        ({"parameters": []}, genz.InvalidValueError, "none is asked for"),
        ({"by": 0.0}, genz.InvalidValueError, "between 0 and 1"),
        ({"by": "10%"}, genz.InvalidValueError, "between 0 and 1"),
        ({"metrics": "tpot_s", "output": 1}, genz.InvalidValueError, "tpot_s has no elasticity"),
        ({"platform": "h100-sxm", "tp": 1}, genz.DoesNotFitError, "does not fit"),
    ],
)
def test_wrong_questions(asked: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        genz.sensitivity(**(DENSE | asked))


@pytest.mark.parametrize("factor", [0, -1.0, 1, math.nan, "2", True])
def test_no_factor(factor: Any) -> None:
    found = genz.sensitivity(**DENSE, metrics="tpot_s", parameters=HBM)
    with pytest.raises(genz.InvalidValueError, match="factor"):
        found.what_if(HBM, factor)


def test_one_output_token_has_times_but_no_tpot() -> None:
    found = genz.sensitivity(**(DENSE | {"output": 1}))
    assert "tpot_s" not in {one.metric.name for one in found.elasticities}
    with pytest.raises(genz.InvalidValueError, match="was not asked for"):
        found.of("tpot_s", HBM)
