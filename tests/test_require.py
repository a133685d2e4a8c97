"""Inverse design: the machine found meets its objective exactly, by the formulas that predict, and by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genz
from genz.errors import DoesNotFitError, GenZError, InvalidValueError, UnitError, UnknownNameError
from genz.explore.require import ImpossibleSLOError, paper_table, table
from genz.explore.requirements.search import least, turn
from genz.specs import catalog
from genz.specs.hardware import Chip
from genz.specs.workload import SLO

TIGHT = 1e-3  # the bar: less than 0.1 % to spare
HIDDEN, LAYERS, FEED_FORWARD, VOCABULARY, HEADS = 1024, 6, 4096, 8192, 8


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dense model of plain attention, small enough to count by hand."""
    path = tmp_path_factory.mktemp("dense") / "config.json"
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "torch_dtype": "bfloat16",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "intermediate_size": FEED_FORWARD,
        "vocab_size": VOCABULARY,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
    }
    path.write_text(json.dumps(config))
    return str(path)


def predicted(requirement: Any, model: str, **asked: Any) -> genz.Prediction:
    """What `predict` says of the required machine, asked anew."""
    return genz.predict(model, requirement.platform, **{"engine": "ideal", "fidelity": "roofline", **asked})


def assert_tight(requirement: Any, prediction: genz.Prediction) -> None:
    """Every objective is kept, and what sizes the machine has less than 0.1 % to spare."""
    spare = {}
    for name in ("ttft", "tpot"):
        goal = getattr(requirement.slo, name)
        if goal is not None:
            spare[name] = 1 - getattr(prediction, name) / goal
    assert min(spare.values()) >= 0
    assert set(requirement.binding) == {name for name, share in spare.items() if share < TIGHT}


# By hand: one device, where FLOP/s = FLOPs / TTFT and bandwidth = bytes of a step / TPOT.


def test_bounds_of_a_dense_model_by_hand(dense: str) -> None:
    prompt, answer, ttft, tpot = 2048, 129, 0.1, 0.005
    found = genz.require(dense, input=prompt, output=answer, slo={"ttft": ttft, "tpot": tpot})

    layer = 4 * HIDDEN**2 + 3 * HIDDEN * FEED_FORWARD
    attention = 2 * 2 * HIDDEN * prompt * (prompt + 1) / 2
    flops = LAYERS * (2 * layer * prompt + attention) + 2 * HIDDEN * VOCABULARY
    assert flops < found.bounds["flops"] * ttft < 1.003 * flops  # vector work is the rest

    weights = 2 * (LAYERS * layer + HIDDEN * VOCABULARY)
    mean_context = prompt + 1 + (answer - 2) / 2
    cache = 2 * 2 * LAYERS * HIDDEN * mean_context
    assert weights + cache < found.bounds["bandwidth"] * tpot < 1.005 * (weights + cache)

    held = weights + 2 * HIDDEN * VOCABULARY + 2 * 2 * LAYERS * HIDDEN * (prompt + answer)
    assert held < found.capacity < 1.4 * held  # and the activations of the whole prompt at once
    assert found.capacity == pytest.approx(found.prediction.memory.total_bytes, rel=1e-8)


def test_without_a_limit_elsewhere_the_bound_itself_is_enough(dense: str) -> None:
    asked: dict[str, Any] = {"input": 1024, "output": 65, "slo": {"ttft": 0.05, "tpot": 0.004}}
    bounds = genz.require(dense, **asked).bounds
    alone = genz.require(dense, given={"bandwidth": 1e24}, **asked)
    assert alone.flops == pytest.approx(bounds["flops"], rel=1e-6)
    assert alone.binding == ("ttft",)
    alone = genz.require(dense, given={"flops": 1e27}, **asked)
    assert alone.bandwidth == pytest.approx(bounds["bandwidth"], rel=1e-6)


def test_the_longest_latency_is_the_objective_over_the_messages(dense: str) -> None:
    """Each layer sums twice, and a step gathers its embedding and its logits: every one takes a message's latency at least."""
    found = genz.require(dense, input=512, output=65, slo={"ttft": 1.0, "tpot": 0.005}, tp=4)
    assert found.bounds["link_latency"] == pytest.approx(0.005 / (2 * LAYERS + 2), rel=1e-6)
    assert found.link_latency is not None
    assert found.link_latency == pytest.approx(0.05 * found.bounds["link_latency"], rel=1e-6)


def test_exchanges_take_the_share_that_is_asked_for(dense: str) -> None:
    asked: dict[str, Any] = {"input": 2048, "output": 65, "slo": {"ttft": 0.05, "tpot": 0.005}, "tp": 4}
    for share in (0.05, 0.1, 0.3):
        found = genz.require(dense, network_share=share, **asked)
        network = [phase.time_by_bound["network"] / phase.time for phase in found.prediction.phases.values()]
        assert max(network) == pytest.approx(share, rel=0.01)
        assert found.binding == ("ttft", "tpot")


# Exact to the formula: `require`, then `predict` on the required machine.

USE_CASES = ("chat", "code-generation", "qa-retrieval", "question-answering", "summarization")
MANY: list[tuple[str, str, dict[str, Any]]] = [
    ("llama-3.1-8b", "chat", {}),
    ("llama-3.1-8b", "code-generation", {"precision": "fp8", "tp": 2}),
    ("llama-3.1-70b", "qa-retrieval", {"precision": "fp8", "tp": 8}),
    ("llama-3.1-70b", "summarization", {"precision": "int4", "tp": 4, "pp": 2, "batch": 4}),
    ("llama-3.1-70b", "question-answering", {"tp": 2, "cp": 4}),
    ("mixtral-8x7b", "chat", {"tp": 4, "batch": 8}),
    ("mixtral-8x7b", "question-answering", {"tp": 2, "dp": 4, "ep": 8, "batch": 32, "devices": 8}),
    ("deepseek-v3", "question-answering", {"tp": 8, "dp": 4, "ep": 32, "batch": 32}),
    ("gemma-3-27b", "qa-retrieval", {"tp": 8}),
    ("gpt-oss-120b", "chat", {"tp": 4}),
    ("qwen3-30b-a3b", "chat", {"devices": 4, "tp": 2, "batch": 3}),
    ("phi-4", "question-answering", {"batch": 64}),
]


@pytest.mark.parametrize(("model", "use_case", "asked"), MANY)
def test_the_required_machine_meets_the_objective_with_nothing_to_spare(
    model: str, use_case: str, asked: dict[str, Any]
) -> None:
    found = genz.require(model, use_case=use_case, **asked)
    asked = {key: value for key, value in asked.items() if key != "devices"}
    prediction = predicted(found, model, use_case=use_case, **asked)
    assert_tight(found, prediction)
    assert found.binding == ("ttft", "tpot")
    assert prediction.slo_met == {"ttft": True, "tpot": True}
    assert (found.ttft, found.tpot) == (prediction.ttft, prediction.tpot)
    outcome = genz.evaluate(found.question)
    assert outcome.memory.fits and outcome.memory.total_bytes > (1 - TIGHT) * outcome.memory.budget_bytes
    assert all(found.figures[name] >= (1 - 1e-6) * found.bounds[name] for name in found.figures if name != "link_latency")


def smaller(requirement: Any, name: str) -> genz.Outcome:
    """The outcome where one figure is a thousandth worse."""
    platform = requirement.platform
    chip, factor = platform.chip, 1 - TIGHT
    main = next(iter(chip.memory))
    changes: dict[str, Any] = {
        "flops": {f"chip.matrix_flops.{t}": r * factor for t, r in chip.matrix_flops.items()}
        | {f"chip.vector_flops.{t}": r * factor for t, r in chip.vector_flops.items()},
        "bandwidth": {f"chip.memory.{main}.bandwidth": requirement.bandwidth * factor},
        "link_bandwidth": {"network.0.bandwidth": (requirement.link_bandwidth or 0) * factor},
        "link_latency": {"network.0.latency": (requirement.link_latency or 0) * (2 - factor)},
    }
    return genz.evaluate(requirement.question.on(genz.bind(platform, changes[name])))


@pytest.mark.parametrize("asked", [{}, {"tp": 4}, {"tp": 2, "pp": 2, "batch": 4}], ids=str)
def test_no_figure_can_be_smaller(dense: str, asked: dict[str, Any]) -> None:
    found = genz.require(dense, input=1000, output=101, slo={"ttft": 0.02, "tpot": 0.002}, **asked)
    for name in found.figures:
        if name != "capacity":
            worse = smaller(found, name)
            assert worse.ttft > 0.02 or worse.tpot > 0.002, name


@settings(max_examples=6, deadline=None)
@given(
    prompt=st.integers(64, 8192),
    answer=st.integers(2, 512),
    batch=st.integers(1, 64),
    ttft=st.floats(1e-3, 10),
    tpot=st.floats(1e-4, 1),
    tp=st.sampled_from([1, 2, 8]),
)
def test_it_is_tight_whatever_is_asked(
    dense: str, prompt: int, answer: int, batch: int, ttft: float, tpot: float, tp: int
) -> None:
    asked: dict[str, Any] = {"input": prompt, "output": answer, "batch": batch, "tp": tp}
    found = genz.require(dense, slo={"ttft": ttft, "tpot": tpot}, **asked)
    assert_tight(found, predicted(found, dense, **asked))
    assert found.binding


@settings(max_examples=3, deadline=None)
@given(ttft=st.floats(0.01, 1), tpot=st.floats(1e-3, 0.1), share=st.floats(0.3, 0.95))
def test_a_shorter_objective_never_needs_less(dense: str, ttft: float, tpot: float, share: float) -> None:
    asked: dict[str, Any] = {"input": 1000, "output": 101, "tp": 4}
    loose = genz.require(dense, slo={"ttft": ttft, "tpot": tpot}, **asked)
    for shorter in ({"ttft": ttft * share, "tpot": tpot}, {"ttft": ttft, "tpot": tpot * share}):
        tight = genz.require(dense, slo=shorter, **asked)
        for name in ("flops", "bandwidth", "link_bandwidth", "capacity"):
            assert tight.bounds[name] >= loose.bounds[name] * (1 - 1e-9), name
        assert tight.bounds["link_latency"] <= loose.bounds["link_latency"] * (1 + 1e-9)
        # Nor does a machine that was enough for the longer objective do for the shorter one, where that sized it.
        times = genz.evaluate(loose.question)
        sizes = [name for name in loose.binding if shorter[name] < getattr(loose.slo, name)]
        assert all(getattr(times, name) > shorter[name] for name in sizes)


def test_the_alternating_solution_is_the_same_machine(dense: str) -> None:
    """FLOP/s from TTFT and bandwidth from TPOT, in turn, come to rest where the balanced machine stands."""
    asked: dict[str, Any] = {"input": 4000, "output": 201, "batch": 16}
    found = genz.require(dense, slo={"ttft": 0.3, "tpot": 0.004}, **asked)
    bandwidth = 1e24
    for _ in range(12):
        flops = genz.require(dense, slo=SLO(ttft=0.3), given={"bandwidth": bandwidth}, **asked).flops
        bandwidth = genz.require(dense, slo=SLO(tpot=0.004), given={"flops": flops}, **asked).bandwidth
    assert (flops, bandwidth) == pytest.approx((found.flops, found.bandwidth), rel=1e-5)


def test_where_one_objective_asks_for_all_the_other_has_time_to_spare(dense: str) -> None:
    found = genz.require(dense, input=1000, output=101, slo={"ttft": 10.0, "tpot": 0.001})
    assert found.binding == ("tpot",)
    assert found.spare["ttft"] > 0.5
    assert "with time to spare" in str(found)


# Devices, figures that are given, other machines.


def test_n_devices_share_the_work() -> None:
    one, eight = (genz.require("llama-3.1-70b", use_case="chat", precision="fp8", tp=tp) for tp in (1, 8))
    assert one.devices == 1 and one.platform.network == () and one.link_bandwidth is None and one.link_latency is None
    assert eight.devices == 8 and eight.platform.devices == 8
    assert eight.platform.network[0].bandwidth == eight.link_bandwidth
    for name in ("flops", "bandwidth"):
        assert 0.99 < 8 * eight.bounds[name] / one.bounds[name] < 1.02  # norms are on every rank
        assert 8 * eight.figures[name] > one.figures[name]  # exchanges take their share
    assert eight.capacity < one.capacity / 7


def test_replicas_need_no_link(dense: str) -> None:
    asked: dict[str, Any] = {"input": 500, "output": 50, "slo": {"ttft": 0.01, "tpot": 0.002}}
    one, four = genz.require(dense, batch=2, **asked), genz.require(dense, batch=8, devices=4, **asked)
    assert four.devices == 4 and four.link_bandwidth is None
    assert four.figures == pytest.approx(one.figures)
    assert_tight(four, predicted(four, dense, input=500, output=50, batch=8))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bandwidth", "8 TB/s", 8e12),
        ("flops", "0.9 PFLOP/s", 9e14),
        ("link_bandwidth", "450 GB/s", 4.5e11),
        ("link_latency", "1 us", 1e-6),
    ],
)
def test_a_figure_that_is_given_is_kept(name: str, text: str, value: float) -> None:
    asked: dict[str, Any] = {"use_case": "chat", "precision": "fp8", "tp": 8}
    found = genz.require("llama-3.1-70b", given={name: text}, **asked)
    assert found.figures[name] == pytest.approx(value, rel=1e-12)
    assert name not in found.bounds
    assert_tight(found, predicted(found, "llama-3.1-70b", **asked))
    assert found.binding
    same = genz.require("llama-3.1-70b", given={name: value}, **asked)
    assert same.figures == found.figures


def test_all_figures_given_leave_what_they_leave() -> None:
    everything = {"flops": 2e15, "bandwidth": 8e12, "capacity": 180e9}
    found = genz.require("llama-3.1-8b", use_case="chat", given=everything)
    assert found.figures == pytest.approx(everything)
    assert not found.binding and min(found.spare.values()) > 0.1
    assert "with time to spare" in str(found)


def test_the_latency_alone_is_as_long_as_can_be() -> None:
    asked: dict[str, Any] = {"use_case": "chat", "precision": "fp8", "tp": 8}
    others = {"flops": 1e15, "bandwidth": 4e12, "link_bandwidth": 4.5e11}
    found = genz.require("llama-3.1-70b", given=others, **asked)
    assert found.link_latency is not None and found.link_latency > 20e-6
    assert_tight(found, predicted(found, "llama-3.1-70b", **asked))
    assert found.binding


def test_a_machine_like_another_keeps_its_ratios_and_its_latency() -> None:
    base = catalog.chip("h100-sxm")
    found = genz.require("llama-3.1-70b", use_case="chat", precision="fp8", tp=8, like="h100-sxm")
    chip = found.chip
    assert chip.matrix_flops["fp8"] / chip.matrix_flops["bf16"] == pytest.approx(
        base.matrix_flops["fp8"] / base.matrix_flops["bf16"]
    )
    assert chip.memory["l2"].capacity == base.memory["l2"].capacity
    ratio = base.memory["l2"].bandwidth / base.main_memory.bandwidth
    assert chip.memory["l2"].bandwidth / found.bandwidth == pytest.approx(ratio)
    assert found.link_latency == base.links["scale_up"].latency
    assert found.bounds["link_latency"] > found.link_latency
    assert chip.name != base.name and chip.aliases == () and chip.price.hourly is None
    assert_tight(found, predicted(found, "llama-3.1-70b", use_case="chat", precision="fp8", tp=8))


@pytest.mark.parametrize("fidelity", ["engine", "calibrated"])
@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("llama-3.1-70b", {"tp": 8, "precision": "fp8", "batch": 16}),
        ("mixtral-8x7b", {"pp": 2, "batch": 4}),
    ],
)
def test_it_holds_with_what_engines_add(fidelity: str, model: str, asked: dict[str, Any]) -> None:
    asked = {"input": 1000, "output": 101, "engine": "vllm", "fidelity": fidelity, **asked}
    found = genz.require(model, slo={"ttft": "2 s", "tpot": "60 ms"}, like="h100-sxm", **asked)
    assert_tight(found, genz.predict(model, found.platform, **asked))
    assert found.binding
    assert found.outcome.memory.budget_bytes == pytest.approx(0.9 * found.capacity)


def test_the_power_limit_slows_nothing_down() -> None:
    asked: dict[str, Any] = {"input": 2000, "output": 101, "engine": "vllm", "fidelity": "engine"}
    found = genz.require("llama-3.1-8b", slo={"ttft": "50 ms", "tpot": "5 ms"}, like="h100-sxm", **asked)
    prediction = genz.predict("llama-3.1-8b", found.platform, **asked)
    assert prediction.power <= found.power
    lifted = found.platform.model_copy(
        update={"chip": found.chip.model_copy(update={"power": found.chip.power.model_copy(update={"tdp": 1e9})})}
    )
    assert genz.predict("llama-3.1-8b", lifted, **asked).e2e == pytest.approx(prediction.e2e, rel=1e-8)


# The machine as an object, as data, as a file.


@pytest.mark.parametrize("like", [None, "h100-sxm", "tpu-v5e", "rtx-4090", "xeon-8480plus"])
def test_the_file_reads_back_as_the_chip(like: str | None, tmp_path: Path) -> None:
    found = genz.require("llama-3.2-1b", input=500, output=50, slo={"ttft": "50 ms", "tpot": "5 ms"}, tp=4, like=like)
    path = tmp_path / "required.yaml"
    path.write_text(found.to_yaml())
    chip = Chip.from_file(path)
    same = {"sources": {}, "provenance": {}}
    assert chip.model_copy(update=same) == found.chip.model_copy(update=same)
    main = next(iter(chip.memory))
    for figure in (f"memory.{main}.bandwidth", f"memory.{main}.capacity", "links.scale_up.latency", "power.tdp"):
        assert chip.provenance[figure].estimate and "TTFT 50 ms and TPOT 5 ms" in chip.provenance[figure].source
    assert all(chip.provenance[f"matrix_flops.{name}"].estimate for name in chip.matrix_flops)
    prediction = genz.predict("llama-3.2-1b", f"4x {path}", input=500, output=50, tp=4, engine="ideal", fidelity="roofline")
    assert_tight(found, prediction)


def test_the_data_has_stable_keys(dense: str) -> None:
    data = json.loads(genz.require(dense, input=500, output=50, slo={"ttft": 0.01, "tpot": 0.002}, tp=2).to_json())
    assert set(data["each_device"]) == {
        "flop_per_s", "bandwidth_b_per_s", "capacity_bytes", "link_bandwidth_b_per_s", "link_latency_s", "power_w",
    }  # fmt: skip
    assert set(data["bounds"]) == set(data["each_device"]) - {"power_w"}
    assert data["slo"] == {"ttft_s": 0.01, "tpot_s": 0.002}
    assert data["binding"] == ["ttft", "tpot"]


def test_one_output_token_has_a_first_token_alone(dense: str) -> None:
    found = genz.require(dense, input=500, output=1, slo={"ttft": 0.01, "tpot": 0.002})
    assert found.slo == SLO(ttft=0.01) and found.tpot is None
    assert found.spare == {"ttft": pytest.approx(0, abs=TIGHT)}


def test_objectives_over_those_of_the_use_case() -> None:
    found = genz.require("llama-3.2-1b", use_case="chat", slo={"tpot": "20 ms"})
    assert found.slo == SLO(ttft=0.2, tpot=0.02)
    assert genz.require("llama-3.2-1b", use_case="chat", slo={"ttft": None}).slo == SLO(tpot=0.01)
    assert genz.require("llama-3.2-1b", use_case="chat", slo=SLO(ttft=1.0)).slo == SLO(ttft=1.0)


# What cannot be.


def test_an_impossible_objective_says_which_and_by_how_much() -> None:
    asked: dict[str, Any] = {"input": 1000, "output": 101, "tp": 8}
    goals = {"ttft": 1.0, "tpot": 0.01}
    with pytest.raises(ImpossibleSLOError, match="tpot = 10 ms is out of reach with link latency 100 us") as caught:
        genz.require("llama-3.1-70b", slo=goals, given={"link_latency": "100 us"}, **asked)
    error = caught.value
    assert error.field == "slo.tpot" and error.value == 0.01
    assert error.least == pytest.approx(100e-6 * 162)  # 2 sums a layer, the embedding and the logits
    with pytest.raises(ImpossibleSLOError):
        genz.require("llama-3.1-70b", slo={**goals, "tpot": error.least}, given={"link_latency": "100 us"}, **asked)
    relaxed = genz.require(
        "llama-3.1-70b", slo={**goals, "tpot": error.least * 1.001}, given={"link_latency": "100 us"}, **asked
    )
    assert "tpot" in relaxed.binding


def test_what_an_engine_adds_can_be_too_much() -> None:
    asked: dict[str, Any] = {"input": 1000, "output": 101, "engine": "vllm", "fidelity": "engine"}
    with pytest.raises(ImpossibleSLOError, match="with what its engine adds"):
        genz.require("llama-3.1-8b", slo={"tpot": "1 us"}, **asked)


def test_too_little_memory_does_not_fit() -> None:
    with pytest.raises(DoesNotFitError):
        genz.require("llama-3.1-70b", use_case="chat", given={"capacity": "80 GB"})


BAD: list[tuple[dict[str, Any], type[GenZError], str]] = [
    ({}, InvalidValueError, "there is no objective"),
    ({"slo": {}}, InvalidValueError, "there is no objective"),
    ({"slo": {"tpot": "30 ms"}, "output": 1}, InvalidValueError, "no objective to meet, as a request of one output token"),
    ({"slo": {"ttft": "-1 s"}}, GenZError, "ttft"),
    ({"slo": {"ttft": 0}}, GenZError, "ttft"),
    ({"slo": {"ttft": float("nan")}}, GenZError, "ttft"),
    ({"slo": {"ttft": "1 GB"}}, GenZError, "ttft"),
    ({"slo": {"tfft": "1 s"}}, GenZError, "did you mean 'ttft'"),
    ({"slo": "1 s"}, InvalidValueError, "a mapping of ttft and tpot"),
    ({"given": {"bandwith": 1e12}}, UnknownNameError, "did you mean 'bandwidth'"),
    ({"given": {"bandwidth": "3 TB"}}, UnitError, "bandwidth"),
    ({"given": {"bandwidth": 0}}, InvalidValueError, "more than 0"),
    ({"given": {"flops": float("inf")}}, GenZError, "finite"),
    ({"given": {"flops": 1e31}}, InvalidValueError, "flops"),
    ({"given": [1e12]}, InvalidValueError, "a mapping of flops"),
    ({"given": {"link_bandwidth": "1 GB/s"}}, InvalidValueError, "exchange nothing"),
    ({"given": {"link_latency": "1 us"}, "tp": 2, "like": "h100", "fidelity": "calibrated"}, InvalidValueError, "measured"),
    ({"network_share": 0}, InvalidValueError, "network_share"),
    ({"network_share": 1.5}, InvalidValueError, "network_share"),
    ({"network_share": "a tenth"}, InvalidValueError, "network_share"),
    ({"fidelity": "calibrated"}, InvalidValueError, "like='h100-sxm'"),
    ({"fidelity": "exact"}, UnknownNameError, "fidelity"),
    ({"like": "h100-sxn"}, UnknownNameError, "h100-sxm"),
    ({"devices": 0}, InvalidValueError, "devices"),
    ({"devices": 2.5}, InvalidValueError, "devices"),
    ({"devices": 2, "tp": 4}, InvalidValueError, "devices"),
    ({"tp": "two"}, InvalidValueError, "tp"),
    ({"batch": 0}, InvalidValueError, "batch"),
    ({"use_case": "chatt"}, UnknownNameError, "chat"),
    ({"slo": {"tpot": 1e-40}}, ImpossibleSLOError, "tpot = 1e-40 s is out of reach"),
]


@pytest.mark.parametrize(
    ("asked", "kind", "match"), BAD, ids=lambda value: str(value)[:60] if isinstance(value, dict) else None
)
def test_a_wrong_question_gets_a_clear_answer(asked: dict[str, Any], kind: type[GenZError], match: str) -> None:
    goals = {} if match.startswith("there is no") else {"slo": {"ttft": "200 ms", "tpot": "10 ms"}}
    with pytest.raises(kind, match=match):
        genz.require("llama-3.2-1b", **{"input": 500, "output": 50, **goals, **asked})


# Tables.


def test_a_table_has_a_row_a_model_and_use_case() -> None:
    frame = table(["llama-3.2-1b", "qwen3-0.6b"], ["chat", "question-answering"], given={"bandwidth": "2 TB/s"})
    pairs = list(frame[["model", "use_case"]].itertuples(index=False, name=None))
    assert pairs == [(m, u) for m in ("llama-3.2-1b", "qwen3-0.6b") for u in ("chat", "question-answering")]
    found = genz.require("qwen3-0.6b", use_case="chat", given={"bandwidth": "2 TB/s"})
    row = frame.iloc[2]
    assert row.flop_per_s == found.flops and row.least_flop_per_s == found.bounds["flops"]
    assert row.bandwidth_b_per_s == 2e12 and row.capacity_bytes == found.capacity and row.problem == ""


def test_a_row_out_of_reach_keeps_its_place_without_figures() -> None:
    frame = table("llama-3.1-8b", ["chat", "summarization"], given={"bandwidth": "1 TB/s"})
    assert "tpot = 10 ms is out of reach" in frame.problem[0] and np.isnan(frame.flop_per_s[0])
    assert frame.problem[1] == "" and frame.flop_per_s[1] > 0
    with pytest.raises(UnknownNameError):
        table(["llama-3.1-8b", "lama-3.1-8b"], "chat")


# The decode requirements of the paper: "Req Memory BW(TB/s)" in the output of its notebook, 'Paper charts/Sec 7.  Platform
# Requirements.ipynb' of abhibambhaniya/GenZ-LLM-Analyzer (commit 12bd09f). Its MB are MiB, so its TB/s are 1.048576 of ours.
PAPER_BANDWIDTH = {
    ("llama-2-7b", "question-answering"): 0.6626,
    ("llama-2-7b", "summarization"): 0.5463,
    ("llama-2-7b", "code-generation"): 0.5613,
    ("llama-2-7b", "chat"): 0.7426,
    ("llama-2-7b", "qa-retrieval"): 0.8876,
    ("gpt3-175b", "question-answering"): 16.9938,
    ("gpt3-175b", "summarization"): 10.4319,
    ("gpt3-175b", "code-generation"): 10.5669,
    ("gpt3-175b", "chat"): 17.7138,
    ("gpt3-175b", "qa-retrieval"): 19.0188,
}


@pytest.mark.slow
def test_the_papers_table() -> None:
    frame = paper_table()
    assert len(frame) == 7 * 5 + 3 and (frame.problem == "").all()
    assert frame.precision.unique().tolist() == ["int8"]
    # Where prompts are shared by beams in both, ours has the head in 16 bits and the cache at its mean length.
    rows = frame.set_index(["model", "use_case"])
    for key, published in PAPER_BANDWIDTH.items():
        assert 0.93 < rows.loc[key].least_bandwidth_b_per_s / (published * 1.048576e12) < 1.04, key
    long = rows.loc[("gpt3-175b", "context of 2M tokens")]
    assert long.capacity_bytes > (162 + 4500) * 2**30  # its weights, and its cache near 2M tokens, in that repository


def test_a_row_of_the_papers_table() -> None:
    found = genz.require("gpt3-175b", use_case="chat", precision="int8", kv_cache_dtype="int8", max_model_len=4000)
    published = PAPER_BANDWIDTH["gpt3-175b", "chat"] * 1.048576e12
    assert found.bounds["bandwidth"] == pytest.approx(published, rel=0.02)


# The search.


def test_the_least_value_of_many_conditions_at_once() -> None:
    edges = np.array([1e-3, 0.7, 1.0, 12345.678, 2.5e29])
    found = least(lambda values: values >= edges[:, None], 1e-3, 1e30, problems=edges.shape)
    assert np.all(found >= edges) and found == pytest.approx(edges, rel=2e-9)
    assert np.isinf(least(lambda values: values > 2e30, 1e-3, 1e30))
    assert float(least(lambda values: values >= 7.0, 1.0, 100.0)) == pytest.approx(7.0, rel=2e-9)


def test_the_first_turn() -> None:
    assert turn(lambda values: values > 42.0, 1e-6, 1e6) == pytest.approx(42.0, rel=2e-9)
    assert turn(lambda values: values < 42.0, 1e-6, 1e6) == pytest.approx(42.0, rel=2e-9)
    assert turn(lambda values: values > 1e9, 1e-6, 1e6) is None


def test_the_question_can_be_asked_further() -> None:
    """The required machine stands in a question that takes arrays, as any other."""
    found = genz.require("llama-3.2-1b", use_case="chat")
    batches = np.array([1, 2, 4])
    capacity = found.platform.chip.main_memory.capacity * 10
    roomy = genz.bind(found.platform, {"chip.memory.main.capacity": capacity})
    outcome = genz.evaluate(replace(found.question.on(roomy)).with_workload(batch=batches))
    assert outcome.ttft[0] == pytest.approx(found.ttft) and np.all(np.diff(outcome.ttft) > 0)
