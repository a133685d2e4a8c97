"""Calibrated predictions: bounds, arrays against scalars, sums over a run against its steps, and what is borrowed."""

from dataclasses import replace

import numpy as np
import pytest

import genz
from genz.errors import UnsupportedError
from genz.operators.shapes import AttentionShape
from genz.timing.kernels.pricing import Kernels

QUESTIONS = [
    ("llama-3.1-8b", "h100-sxm", {"tp": 1}),
    ("llama-3.1-70b", "4x h200", {"tp": 4, "precision": "fp8"}),
    ("deepseek-v3", "8x b200", {"tp": 8}),
    ("gpt-oss-120b", "2x h100-sxm", {"tp": 2}),
    ("gemma-3-4b", "l40s", {}),
    ("qwen3-30b-a3b", "2x a100", {"tp": 2, "engine": "sglang"}),
    ("llama-3.1-8b", "mi300x", {}),
    ("llama-3.1-8b", "tpu-v5p", {}),
]


def predict(model: str, platform: str, asked: dict, **more) -> genz.Prediction:
    return genz.predict(model, platform, **{"input": 1024, "output": 64, "batch": 4, **asked, **more})


@pytest.mark.parametrize(("model", "platform", "asked"), QUESTIONS)
def test_never_faster_than_the_speed_of_light(model: str, platform: str, asked: dict) -> None:
    # Boost clocks lie above the data sheet's: a busy core may exceed its rate by a fifth, a whole phase hardly does.
    light = predict(model, platform, asked, fidelity="roofline")
    found = predict(model, platform, asked)
    assert found.ttft > 0.95 * light.ttft
    assert found.tpot > 0.95 * light.tpot
    assert found.power <= found.question.platform.devices * found.question.platform.chip.power.tdp * (1 + 1e-9)


@pytest.mark.parametrize(("model", "platform", "asked"), QUESTIONS)
def test_arrays_are_their_elements(model: str, platform: str, asked: dict) -> None:
    question = predict(model, platform, asked).question
    batch, prompt, output = np.array([1.0, 3.0, 16.0]), np.array([17.0, 512.0, 900.0]), np.array([2.0, 33.0, 64.0])
    together = genz.evaluate(question.with_workload(batch=batch, input_tokens=prompt, output_tokens=output))
    for i in range(3):
        alone = genz.evaluate(
            question.with_workload(batch=int(batch[i]), input_tokens=int(prompt[i]), output_tokens=int(output[i]))
        )
        assert together.ttft[i] == pytest.approx(alone.ttft, rel=1e-9)
        assert together.tpot[i] == pytest.approx(alone.tpot, rel=1e-9)
        assert together.energy[i] == pytest.approx(alone.energy, rel=1e-9)


@pytest.mark.parametrize("figure", ["chip.memory.hbm.bandwidth", "chip.cores.clock"])
def test_more_of_the_hardware_is_no_slower(figure: str) -> None:
    question = genz.settle_question("llama-3.1-8b", "h100-sxm", input=2048, output=64, batch=8)
    platform = genz.platform("h100-sxm")
    base = platform.chip.memory["hbm"].bandwidth if "bandwidth" in figure else platform.chip.cores.clock
    scale = np.linspace(0.5, 3.0, 40)
    outcome = genz.evaluate(question.on(genz.bind(platform, {figure: base * scale})))
    assert (np.diff(outcome.tpot) <= 1e-12).all()
    assert (np.diff(outcome.ttft) <= 1e-12).all()


def test_a_run_is_the_mean_of_its_steps() -> None:
    kernels = Kernels(genz.chip("h200"), genz.engine("vllm"))
    first = AttentionShape(
        sequences=16,
        new_tokens=1,
        context=700,
        query_heads=32,
        kv_heads=8,
        key_dim=128,
        value_dim=128,
        cached_width=2048,
        cache_bytes=2,
        activation_bytes=2,
        matrix_type="bf16",
        format="bfloat16",
        phase="decode",
    )
    steps = 400
    each = [kernels.price(replace(first, context=700 + t)).time for t in range(steps)]
    run = kernels.over_run(first, replace(first, context=700 + steps - 1), steps)
    assert run.time == pytest.approx(np.mean(each), rel=0.01)
    assert kernels.over_run(first, first, 1).time == pytest.approx(each[0])
    two = kernels.over_run(first, replace(first, context=701), 2)
    assert two.time == pytest.approx((each[0] + each[1]) / 2)


def test_borrowed_constants_are_named_and_less_certain() -> None:
    own, borrowed = (genz.predict("llama-3.1-8b", chip, input=1024, output=64) for chip in ("h100-sxm", "mi325x"))
    sources = {cost.constants.source.split()[0] for cost in borrowed.outcome.decode.operators if cost.constants}
    assert "mi325x" not in sources and sources

    def width(prediction: genz.Prediction) -> float:
        low, high = prediction.interval["tpot_s"]
        return (high - low) / prediction.tpot

    assert width(borrowed) > width(own) > 0


def test_symbols_stay_with_the_roofline() -> None:
    import sympy

    question = genz.settle_question("llama-3.1-8b", "h100-sxm", input=128, output=16)
    with pytest.raises(UnsupportedError, match="not symbols"):
        genz.evaluate(question.with_workload(batch=sympy.Symbol("b", positive=True)))


def test_identical_sequences_share_their_experts() -> None:
    # Of 16 identical sequences a decode step reads top-k experts, of 16 different ones nearly all 8 of Mixtral's.
    def experts_read(routing: str) -> float:
        rows = predict("mixtral-8x7b", "4x h100-sxm", {"tp": 4}, batch=16, output=2, routing=routing).to_frame()
        chosen = rows[(rows.phase == "decode") & (rows.operator == "experts_down_gemm")]
        return float(chosen.memory_bytes.iloc[0])

    alike, different = experts_read("identical"), experts_read("balanced")
    assert different / alike == pytest.approx(8 * (1 - 0.75**16) / 2, rel=0.02)


def test_an_engine_that_was_measured_adds_what_was_measured() -> None:
    found = genz.predict("llama-3.1-8b", "h100-sxm", input=128, output=64)
    engine = found.outcome.decode.engine_constants
    assert engine is not None and engine.source.startswith("h100-sxm vllm engine")
    ideal = genz.predict("llama-3.1-8b", "h100-sxm", input=128, output=64, engine="ideal")
    assert ideal.outcome.decode.engine_constants is None
    assert ideal.tpot < found.tpot
