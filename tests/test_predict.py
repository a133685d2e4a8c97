"""Predictions against calculations by hand, and the contract of what they contain."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genz
from genz.specs import catalog

H100_BF16 = 989.4e12  # FLOP/s, data sheet
H100_BANDWIDTH = 3.35e12  # B/s, data sheet
HEAD = 128_256 * 4_096  # parameters of the language-model head of Llama 3.1 8B
# Llama 3.1 8B: query and output, keys and values of 8 heads, three matrices of 14336; 32 layers.
LAYERS = 32 * (2 * 4_096 * 4_096 + 2 * 4_096 * 1_024 + 3 * 4_096 * 14_336)
KV_BYTES = 32 * 2 * 8 * 128 * 2  # a token in bf16
IDEAL: dict[str, Any] = {"engine": "ideal", "fidelity": "roofline"}


def llama_8b(platform: str = "h100-sxm", **asked: Any) -> genz.Prediction:
    return genz.predict("llama-3.1-8b", platform, **{"input": 2_048, "output": 256, **asked})


# By hand, at the speed of light.


@pytest.mark.parametrize(("batch", "input_tokens", "output"), [(1, 2_048, 256), (8, 1_000, 2), (1, 100_000, 50)])
def test_decode_streams_weights_and_cache(batch: int, input_tokens: int, output: int) -> None:
    """TPOT: each step reads every matrix but the token table once, and the cache of its growing context."""
    found = llama_8b(batch=batch, input=input_tokens, output=output, **IDEAL)
    mean_context = input_tokens + 1 + (output - 2) / 2
    read = 2 * (LAYERS + HEAD) + batch * mean_context * KV_BYTES
    assert found.tpot == pytest.approx(read / H100_BANDWIDTH, rel=5e-3)
    assert found.bound["decode"] == "memory"


@pytest.mark.parametrize("prompt", [2_048, 16_384])
def test_prefill_multiplies_every_weight_by_every_token(prompt: int) -> None:
    """TTFT: 2 FLOPs a weight and token, half the square of attention; the head sees the last token only."""
    found = llama_8b(input=prompt, **IDEAL)
    gemm = 2 * LAYERS * prompt
    attention = 32 * 2 * 2 * 4_096 * prompt * (prompt + 1) / 2
    assert found.outcome.prefill.matrix_flops == pytest.approx(gemm + attention + 2 * HEAD, rel=1e-3)
    assert found.ttft == pytest.approx((gemm + attention) / H100_BF16 + 2 * HEAD / H100_BANDWIDTH, rel=1e-2)
    assert found.bound["prefill"] == "compute"


def test_two_ranks_share_the_weights_and_their_bandwidth() -> None:
    found = llama_8b("2x h100-sxm", tp=2, **IDEAL)
    frame = found.to_frame().query("phase == 'decode'")
    device = frame[frame.category != "collective"].time_s.sum()
    assert device / 255 == pytest.approx((2 * (LAYERS + HEAD) + 2_176 * KV_BYTES) / 2 / H100_BANDWIDTH, rel=1e-2)


def test_narrow_weights_shorten_decode_by_their_width() -> None:
    """Half a byte and a 16-bit scale for each 128 of them, for all but the head."""
    found = llama_8b(precision="int4", **IDEAL)
    read = (4 + 16 / 128) / 8 * LAYERS + 2 * HEAD + (2_048 + 1 + 127) * KV_BYTES
    assert found.tpot == pytest.approx(read / H100_BANDWIDTH, rel=1e-2)


def test_memory_by_hand() -> None:
    memory = llama_8b(batch=4, **IDEAL).memory
    assert memory.kv_cache_bytes == 4 * (2_048 + 256) * KV_BYTES
    assert memory.weights_bytes == 2 * 8_030_261_248
    assert memory.capacity_bytes == 81_559 * 2**20
    assert memory.total_bytes == pytest.approx(
        memory.weights_bytes + memory.kv_cache_bytes + memory.activations_bytes + memory.logits_bytes
    )


def test_cost_and_carbon_by_hand() -> None:
    found = llama_8b("2x h100-sxm", tp=2, batch=8, price="2.5 USD/h", energy_price="0.10 USD/kWh", carbon_intensity="400 g/kWh")
    tokens = 8 * 256
    joules_per_kwh = 3.6e6
    rent = 2 * 2.5 / 3_600 * found.e2e
    electricity = 0.10 * found.energy / joules_per_kwh
    assert found.cost["usd_per_hour"] == pytest.approx((rent + electricity) / found.e2e * 3_600)
    assert found.cost["usd_per_million_output_tokens"] == pytest.approx((rent + electricity) / tokens * 1e6)
    assert found.cost["carbon_g_per_million_output_tokens"] == pytest.approx(400 * found.energy / joules_per_kwh / tokens * 1e6)


def test_without_a_price_there_is_no_cost() -> None:
    assert catalog.chip("rtx-4090").price.hourly is None
    assert set(llama_8b("rtx-4090").cost.values()) == {None}


def test_the_list_price_stands_in_for_a_price() -> None:
    hourly = catalog.chip("h100-sxm").price.hourly
    assert hourly is not None
    assert llama_8b("8x h100-sxm").cost["usd_per_hour"] == pytest.approx(8 * 3_600 * hourly)
    assert llama_8b("8x h100-sxm", price=0).cost["usd_per_hour"] == 0


# Replicas, ranks and beams.


def test_replicas_share_the_batch_evenly() -> None:
    """16 requests on 8 devices, two a copy: four copies, which do what one does with four requests."""
    whole, one = llama_8b("8x h100-sxm", tp=2, batch=16), llama_8b("2x h100-sxm", tp=2, batch=4)
    assert (whole.question.replicas, whole.question.requests_per_rank) == (4, 4)
    assert (whole.ttft, whole.tpot) == pytest.approx((one.ttft, one.tpot))
    assert whole.memory == one.memory
    assert whole.throughput == pytest.approx(4 * one.throughput)
    assert whole.power == pytest.approx(4 * one.power)
    assert whole.outcome.energy_per_output_token == pytest.approx(one.outcome.energy_per_output_token)


def test_a_batch_that_replicas_cannot_share_evenly_waits_for_the_fullest() -> None:
    uneven, fullest = llama_8b("8x h100-sxm", tp=2, batch=18), llama_8b("2x h100-sxm", tp=2, batch=5)
    assert uneven.question.requests_per_rank == 5
    assert (uneven.ttft, uneven.e2e) == pytest.approx((fullest.ttft, fullest.e2e))
    assert uneven.memory == fullest.memory
    assert uneven.throughput == pytest.approx(18 * 256 / fullest.e2e)
    assert uneven.energy < 4 * fullest.energy


def test_idle_replicas_draw_their_idle_power() -> None:
    busy, mostly_idle = llama_8b("h100-sxm"), llama_8b("8x h100-sxm")
    assert mostly_idle.e2e == pytest.approx(busy.e2e)
    assert mostly_idle.power == pytest.approx(busy.power + 7 * catalog.chip("h100-sxm").power.idle)


def test_one_rank_exchanges_nothing() -> None:
    assert "collective" not in set(llama_8b("8x h100-sxm").to_frame().category)
    shared = llama_8b("8x h100-sxm", tp=2)
    assert "collective" in set(shared.to_frame().category)
    assert shared.phases["decode"].time_by_bound["network"] > 0


def test_one_output_token_has_no_decode() -> None:
    found = llama_8b(output=1)
    assert found.tpot is None
    assert found.e2e == found.ttft
    assert found.bound == {"prefill": found.bound["prefill"], "decode": None}
    assert list(found.phases) == ["prefill"]
    assert set(found.to_frame().phase) == {"prefill"}
    assert found.throughput == pytest.approx(1 / found.ttft)


def test_two_output_tokens_are_one_decode_step() -> None:
    found = llama_8b(output=2)
    assert found.tpot == pytest.approx(found.e2e - found.ttft)
    assert found.phases["decode"].steps == 1


def test_beams_share_the_prompt_and_give_back_one_sequence() -> None:
    one, four = llama_8b(batch=2), llama_8b(batch=2, beams=4)
    assert four.ttft == one.ttft
    assert four.tpot > one.tpot
    assert four.throughput == pytest.approx(2 * 256 / four.e2e)
    assert four.memory.kv_cache_bytes == one.memory.kv_cache_bytes + 3 * 2 * 256 * KV_BYTES


def test_a_cached_prefix_shortens_the_first_token_alone() -> None:
    times = [llama_8b(cached=cached) for cached in (0, 1_024, 2_047)]
    assert times[0].ttft > times[1].ttft > times[2].ttft
    assert {found.tpot for found in times} == {times[0].tpot}
    assert {found.memory.kv_cache_bytes for found in times} == {times[0].memory.kv_cache_bytes}


def test_cached_tokens_are_still_attended_to() -> None:
    assert llama_8b(input=30_000, cached=29_000).ttft > llama_8b(input=1_000).ttft


# Objectives.


def test_objectives_that_are_met_and_missed() -> None:
    small = genz.predict("llama-3.2-1b", "h100-sxm", use_case="question-answering")
    assert small.slo is not None
    assert small.slo_met == {"ttft": True, "tpot": True}
    large = genz.predict("llama-3.1-70b", "8x a100", use_case="question-answering", tp=8)
    assert large.slo_met == {"ttft": large.ttft <= 0.2, "tpot": False}


def test_a_verdict_compares_with_the_objective() -> None:
    case = catalog.use_case("chat")
    plain = llama_8b()
    for factor, met in ((1.0, True), (0.999, False)):
        slo = case.slo.model_copy(update={"ttft": plain.ttft * factor, "tpot": (plain.tpot or 0) * factor})
        changed = case.model_copy(update={"slo": slo})
        assert llama_8b(use_case=changed, beams=1).slo_met == {"ttft": met, "tpot": met}


def test_without_a_use_case_nothing_is_promised() -> None:
    assert llama_8b().slo_met == {}
    assert "tpot" not in llama_8b(use_case="chat", output=1).slo_met


# The contract.

KEYS = {
    "ttft_s",
    "tpot_s",
    "e2e_s",
    "output_tokens_per_s",
    "energy_j_per_output_token",
    "power_w",
    "bound",
    "fidelity",
    "interval",
    "memory",
    "model",
}
MEMORY_KEYS = {"weights_bytes", "kv_cache_bytes", "total_bytes", "capacity_bytes"}
MODEL_KEYS = {"parameters", "active_parameters", "kv_bytes_per_token"}
BOUNDS = {"compute", "memory", "network", "host"}


def refuse(token: str) -> None:
    raise AssertionError(f"{token} is no JSON")


def test_the_contract_of_the_json() -> None:
    found = genz.predict(
        "llama-3.1-70b",
        "8x h100-sxm",
        tp=8,
        batch=16,
        input=2_048,
        output=256,
        precision="fp8",
        engine="vllm",
    )
    data = json.loads(found.to_json(), parse_constant=refuse)
    assert data.keys() >= KEYS
    assert data["memory"].keys() >= MEMORY_KEYS
    assert data["model"].keys() >= MODEL_KEYS
    assert data["tpot_s"] == pytest.approx((data["e2e_s"] - data["ttft_s"]) / 255)
    assert data["output_tokens_per_s"] == pytest.approx(16 * 256 / data["e2e_s"])
    assert data["power_w"] * data["e2e_s"] == pytest.approx(data["energy_j_per_output_token"] * 16 * 256)
    assert set(data["bound"].values()) <= BOUNDS
    assert data["fidelity"] == "calibrated"
    for metric, (low, high) in data["interval"].items():
        assert low < data[metric] < high
    assert data["memory"]["total_bytes"] <= data["memory"]["capacity_bytes"] == 81_559 * 2**20
    assert data["model"]["parameters"] == data["model"]["active_parameters"] == 70_553_706_496
    # 80 layers, keys and values, 8 heads of 128, 16 bits: fp8 leaves the cache alone.
    assert data["model"]["kv_bytes_per_token"] == 80 * 2 * 8 * 128 * 2


def test_an_8_bit_cache_halves_it() -> None:
    assert llama_8b(kv_cache_dtype="fp8").to_dict()["model"]["kv_bytes_per_token"] == KV_BYTES / 2


def test_one_output_token_leaves_nulls() -> None:
    data = json.loads(llama_8b(output=1).to_json(), parse_constant=refuse)
    assert data["tpot_s"] is None
    assert data["bound"]["decode"] is None


def test_active_parameters_of_a_mixture() -> None:
    data = genz.predict("mixtral-8x7b", "2x h100", tp=2, input=8, output=8).to_dict()["model"]
    assert 12e9 < data["active_parameters"] < 13e9 < 46e9 < data["parameters"] < 47e9


def test_an_operator_table_holds_the_whole_time() -> None:
    found = llama_8b(**IDEAL)
    frame = found.to_frame()
    assert frame.query("phase == 'prefill'").time_s.sum() == pytest.approx(found.ttft)
    assert frame.time_s.sum() == pytest.approx(found.e2e)
    assert frame.groupby("phase").share.sum().tolist() == pytest.approx([1, 1])


def test_time_by_bound_is_all_the_time() -> None:
    for phase in llama_8b("2x h100-sxm", tp=2).phases.values():
        assert sum(phase.time_by_bound.values()) == pytest.approx(phase.time)
        assert phase.bound == max(phase.time_by_bound, key=phase.time_by_bound.__getitem__)


def test_a_prediction_prints_and_forgets_nothing() -> None:
    found = llama_8b()
    assert str(found) == str(found)
    assert found.latency == found.e2e
    assert set(found.interval) == {"ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s"}
    assert found.fidelity == "calibrated"
    assert llama_8b(fidelity="engine").interval is None


MODELS = (
    "llama-3.1-8b",
    "gpt-oss-20b",
    "gemma-3-4b",
    "deepseek-v2-lite",
    "qwen1.5-moe-a2.7b",
    "falcon-7b",
    "gpt2-xl",
    "mistral-7b-v0.1",
)
PLATFORMS = ("h100-sxm", "a100-sxm-80gb", "mi300x", "l40s", "b200", "rtx-5090", "gaudi3", "m2-ultra")
QUESTIONS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS),
        "platform": st.sampled_from(PLATFORMS),
        "engine": st.sampled_from(("vllm", "sglang", "tensorrt-llm", "pytorch", "llama.cpp", "ideal")),
        "input": st.integers(1, 700),
        "output": st.integers(1, 300),
        "batch": st.integers(1, 40),
        "beams": st.integers(1, 3),
    }
)


@settings(max_examples=60, deadline=None)
@given(QUESTIONS)
def test_every_answer_is_sound(asked: dict[str, Any]) -> None:
    """Finite, positive, consistent with one another, within the power limit, and no faster than light."""
    try:
        found = genz.predict(**asked)
    except genz.DoesNotFitError:
        return
    data = json.loads(found.to_json(), parse_constant=refuse)
    numbers = [data[key] for key in ("ttft_s", "e2e_s", "output_tokens_per_s", "energy_j_per_output_token", "power_w")]
    assert all(math.isfinite(number) and number > 0 for number in numbers)
    assert data["output_tokens_per_s"] * data["e2e_s"] == pytest.approx(asked["batch"] * asked["output"])
    if asked["output"] > 1:
        assert data["tpot_s"] == pytest.approx((data["e2e_s"] - data["ttft_s"]) / (asked["output"] - 1))
    power = found.question.platform.chip.power
    assert power.idle <= data["power_w"] <= power.tdp * (1 + 1e-9)
    light = genz.predict(**asked, fidelity="roofline")
    assert light.ttft <= found.ttft
    assert light.e2e <= found.e2e
