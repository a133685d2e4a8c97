"""A whole prediction: one formula for scalars, arrays and symbols, within the bounds that physics sets."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from tracer import Tracer, traced

import genz
from genz.energy import energy_constants
from genz.graph.step import Group, Step
from genz.inference.evaluate import Outcome, decode_step, evaluate, operators, prefill_step
from genz.inference.phase import phase_cost
from genz.inference.question import Question, settle_question
from genz.timing.machine import Machine

# Models that stretch the graph: dense, windows by turns, latent attention with experts, chunks, sinks, parallel blocks.
DEPLOYMENTS = [
    ("llama-3.1-8b", "h100-sxm", 1),
    ("gemma-3-27b", "h100-sxm", 1),
    ("deepseek-v3", "8x h200", 8),
    ("llama-4-scout", "8x h100-sxm", 8),
    ("gpt-oss-20b", "mi300x", 1),
    ("falcon-7b", "a100-sxm-80gb", 1),
    ("mixtral-8x7b", "4x a100-sxm-80gb", 4),
    ("opt-13b", "2x h100-sxm", 2),
]
METRICS: dict[str, Callable[[Outcome], Any]] = {
    "ttft": lambda o: o.ttft,
    "tpot": lambda o: o.tpot,
    "e2e": lambda o: o.e2e,
    "energy": lambda o: o.energy,
    "memory": lambda o: o.memory.total_bytes,
    "throughput": lambda o: o.output_tokens_per_s,
}


def ask(model: str, platform: str, tp: int, fidelity: str = "roofline", **workload: Any) -> Question:
    lengths = {"input": 1500, "output": 200, "batch": 6, **workload}
    return settle_question(model, platform, tp=tp, engine="vllm", fidelity=fidelity, **lengths)


@pytest.mark.parametrize(("model", "platform", "tp"), DEPLOYMENTS)
@pytest.mark.parametrize("fidelity", ["roofline", "engine"])
def test_arrays_agree_with_scalars(model: str, platform: str, tp: int, fidelity: str) -> None:
    question = ask(model, platform, tp, fidelity)
    points = {
        "input_tokens": [1, 700, 1024, 1900],
        "output_tokens": [1, 2, 90, 130],
        "batch": [1, 64, 3, 8],
        "beams": [1, 2, 4, 1],
        "cached_tokens": [0, 100, 1023, 0],
    }
    outcome = evaluate(question.with_workload(**{name: np.array(values) for name, values in points.items()}))
    for i in range(4):
        single = evaluate(question.with_workload(**{name: values[i] for name, values in points.items()}))
        for name, metric in METRICS.items():
            assert metric(outcome)[i] == pytest.approx(metric(single), rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize(("model", "platform", "tp"), DEPLOYMENTS)
def test_symbols_agree_with_scalars_at_the_roofline(model: str, platform: str, tp: int) -> None:
    question = ask(model, platform, tp)
    batch, context, output, bandwidth, rate = sympy.symbols("B S N W F", positive=True)
    chip = question.platform.chip
    memory = next(iter(chip.memory))
    bound = genz.bind(
        question.platform, {f"chip.memory.{memory}.bandwidth": bandwidth, f"chip.matrix_flops.{question.widths.compute}": rate}
    )
    symbolic = evaluate(question.on(bound).with_workload(batch=batch, input_tokens=context, output_tokens=output))
    values = {
        batch: 6,
        context: 1500,
        output: 200,
        bandwidth: chip.main_memory.bandwidth,
        rate: chip.matrix_flops[question.widths.compute],
    }
    scalar = evaluate(question)
    for name, metric in METRICS.items():
        closed_form = sympy.lambdify(list(values), metric(symbolic), modules="math")
        assert closed_form(*values.values()) == pytest.approx(metric(scalar), rel=1e-12), name


@pytest.mark.parametrize(("model", "platform", "tp"), DEPLOYMENTS)
@pytest.mark.parametrize("fidelity", ["roofline", "engine"])
def test_no_formula_branches_on_a_value(model: str, platform: str, tp: int, fidelity: str) -> None:
    question = ask(model, platform, tp, fidelity)
    plain = evaluate(question)
    outcome = evaluate(
        question.with_workload(
            batch=Tracer(6.0),
            input_tokens=Tracer(1500.0),
            output_tokens=Tracer(200.0),
            beams=Tracer(1.0),
            cached_tokens=Tracer(0.0),
        )
    )
    for name, metric in METRICS.items():
        assert traced(metric(outcome)) == pytest.approx(metric(plain), rel=1e-12), name


@pytest.mark.parametrize(("model", "platform", "tp"), DEPLOYMENTS)
def test_decode_is_the_sum_of_its_steps_at_the_roofline(model: str, platform: str, tp: int) -> None:
    # Lengths that cross the windows of 128 and 1,024 tokens and the chunk of 8,192.
    context = 8100 if model == "llama-4-scout" else 950
    question = ask(model, platform, tp, input=context, output=150)
    outcome = evaluate(question)
    machine = Machine(
        question.platform, question.engine, "roofline", outcome.memory.weights_bytes + outcome.memory.kv_cache_bytes
    )
    constants = energy_constants(question.platform)
    time = energy = 0.0
    for t in range(149):
        step = Step("decode", (Group(6, 1, context + t),))
        cost = phase_cost(operators(question, step), step, machine, constants)
        time += cost.time
        energy += cost.dynamic_energy
    assert outcome.decode.time == pytest.approx(time, rel=1e-12)
    assert outcome.decode.dynamic_energy == pytest.approx(energy, rel=1e-9)


SCALAR_QUESTIONS = st.builds(
    dict,
    deployment=st.sampled_from(DEPLOYMENTS),
    fidelity=st.sampled_from(["roofline", "engine"]),
    input=st.integers(1, 1500),
    output=st.integers(1, 300),
    batch=st.sampled_from([1, 3, 16, 100]),
)


@settings(max_examples=80, deadline=None)
@given(asked=SCALAR_QUESTIONS, factor=st.floats(1.01, 20.0))
def test_more_of_any_rate_is_never_slower(asked: dict[str, Any], factor: float) -> None:
    model, platform, tp = asked.pop("deployment")
    question = ask(model, platform, tp, **asked)
    base = evaluate(question)
    chip = question.platform.chip
    figures = [f"chip.memory.{name}.bandwidth" for name in chip.memory]
    figures += [f"chip.matrix_flops.{name}" for name in chip.matrix_flops] + ["chip.vector_flops.fp32"]
    figures += ["network.0.bandwidth"] if question.platform.network else []
    for path in figures:
        figure: Any = question.platform
        for part in path.split("."):
            figure = (
                figure[part] if isinstance(figure, dict) else figure[int(part)] if part.isdigit() else getattr(figure, part)
            )
        faster = evaluate(question.on(genz.bind(question.platform, {path: figure * factor})))
        assert faster.ttft <= base.ttft * (1 + 1e-12), path
        assert faster.e2e <= base.e2e * (1 + 1e-12), path


@settings(max_examples=60, deadline=None)
@given(asked=SCALAR_QUESTIONS)
def test_never_faster_than_compute_and_the_fastest_level_that_holds_the_data(asked: dict[str, Any]) -> None:
    model, platform, tp = asked.pop("deployment")
    question = ask(model, platform, tp, **asked)
    outcome = evaluate(question)
    chip = question.platform.chip
    held = outcome.memory.weights_bytes + outcome.memory.kv_cache_bytes
    for cost in (outcome.prefill, outcome.decode):
        for item in cost.operators:
            if item.operator.collective:
                continue
            types = {run.first.matrix_type for run in item.operator.runs} - {None}
            fastest = max((chip.multiply_rate(t) for t in types), default=float("inf"))
            assert item.device_time >= item.matrix_flops / fastest * (1 - 1e-9)
            assert item.device_time >= item.memory_bytes / max(level.bandwidth for level in chip.memory.values()) * (1 - 1e-9)
            persistent = (
                sum(
                    run.weight * run.length * (_persistent(run.first) + _persistent(run.last or run.first)) / 2
                    for run in item.operator.runs
                )
                * item.operator.count
            )
            if all(held > level.capacity for level in list(chip.memory.values())[1:]):
                assert item.device_time >= persistent / chip.main_memory.bandwidth * (1 - 1e-9)


def _persistent(demand: Any) -> float:
    return demand.weight_bytes + demand.cache_bytes


@settings(max_examples=40, deadline=None)
@given(asked=SCALAR_QUESTIONS)
def test_time_adds_up_over_operators(asked: dict[str, Any]) -> None:
    model, platform, tp = asked.pop("deployment")
    outcome = evaluate(ask(model, platform, tp, **asked))
    for cost in (outcome.prefill, outcome.decode):
        assert cost.device_time == pytest.approx(sum(item.device_time for item in cost.operators), rel=1e-12)
        if not cost.is_power_limited:
            assert cost.time == pytest.approx(cost.device_time + cost.host_time, rel=1e-12)
        assert sum(cost.time_by_bound()) == pytest.approx(cost.device_time + cost.host_time, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(asked=SCALAR_QUESTIONS, factor=st.floats(0.1, 10.0))
def test_slower_units_of_time_scale_the_answer(asked: dict[str, Any], factor: float) -> None:
    """Divide every rate and multiply every duration by one factor: all times grow by it, power falls by it."""
    model, platform, tp = asked.pop("deployment")
    question = ask(model, platform, tp, **asked)
    chip, spec = question.platform.chip, question.platform
    scaled: dict[str, float] = {f"chip.memory.{n}.bandwidth": level.bandwidth / factor for n, level in chip.memory.items()}
    scaled |= {f"chip.matrix_flops.{n}": rate / factor for n, rate in chip.matrix_flops.items()}
    scaled |= {f"chip.vector_flops.{n}": rate / factor for n, rate in chip.vector_flops.items()}
    scaled |= {"chip.power.tdp": chip.power.tdp / factor, "chip.power.idle": chip.power.idle / factor}
    if spec.network:
        scaled |= {
            "network.0.bandwidth": spec.network[0].bandwidth / factor,
            "network.0.latency": spec.network[0].latency * factor,
        }
    overheads = question.engine.overheads
    names = ("kernel_gap", "host_launch", "host_per_step", "host_per_sequence")
    engine = genz.bind(question.engine, {f"overheads.{name}": getattr(overheads, name) * factor for name in names})
    base = evaluate(question)
    slow = evaluate(replace(question, platform=genz.bind(spec, scaled), engine=engine))
    assert slow.ttft == pytest.approx(base.ttft * factor, rel=1e-9)
    assert slow.e2e == pytest.approx(base.e2e * factor, rel=1e-9)
    assert slow.energy == pytest.approx(base.energy, rel=1e-9)


def test_one_device_makes_no_exchange() -> None:
    question = ask("llama-3.1-8b", "8x h100-sxm", 1)
    assert not [op for op in operators(question, decode_step(question)) if op.collective]
    question = ask("llama-3.1-8b", "8x h100-sxm", 8)
    exchanged = [op.name for op in operators(question, decode_step(question)) if op.collective]
    assert exchanged == ["embedding_all_reduce", "attention_all_reduce", "feed_forward_all_reduce", "logits_all_gather"]


def test_the_roofline_is_never_slower_than_the_engine() -> None:
    for model, platform, tp in DEPLOYMENTS:
        roofline, engine = (evaluate(ask(model, platform, tp, fidelity)) for fidelity in ("roofline", "engine"))
        assert roofline.ttft < engine.ttft
        assert roofline.tpot < engine.tpot


def test_beams_read_the_shared_prompt_once_where_the_engine_can() -> None:
    question = settle_question(
        "llama-3.1-8b", "h100-sxm", input=8000, output=2, batch=1, beams=4, engine="ideal", fidelity="roofline"
    )
    shared = [run for op in operators(question, decode_step(question)) if op.name == "attention" for run in op.runs]
    # One step: the 8,000 tokens of the prompt once, one new token for each of 4 beams, read and written.
    per_token = 2 * 8 * 128 * 2
    assert shared[0].first.cache_bytes == pytest.approx((8000 + 4 + 4) * per_token)
    question = replace(question, engine=genz.engine("vllm"))
    alone = [run for op in operators(question, decode_step(question)) if op.name == "attention" for run in op.runs]
    assert alone[0].first.cache_bytes == pytest.approx((4 * 8001 + 4) * per_token)


def test_an_engine_prefills_a_large_batch_in_several_steps() -> None:
    """16 prompts of 2,048 tokens are four steps of 8,192: weights are read, and the host waited for, four times."""
    question = ask("llama-3.1-8b", "h100-sxm", 1, "engine", input=2048, output=2, batch=16)
    step = prefill_step(question)
    assert step.repeats == 4
    assert step.tokens == 8192
    at_once = ask("llama-3.1-8b", "h100-sxm", 1, "roofline", input=2048, output=2, batch=16)
    assert prefill_step(at_once).repeats == 1
    flops = [evaluate(q).prefill.matrix_flops for q in (question, at_once)]
    assert flops[0] == pytest.approx(flops[1], rel=1e-12)
    weights = [
        sum(
            op.count * run.length * run.first.weight_bytes
            for op in operators(q, prefill_step(q))
            for run in op.runs
            if op.category == "gemm" and op.layer != "head"
        )
        for q in (question, at_once)
    ]
    assert weights[0] == pytest.approx(4 * weights[1])
