"""Closed forms are what `genz.evaluate` says at the roofline, at any point; some of them worked by hand."""

import json
import math
from typing import Any

import numpy as np
import pytest
import sympy

import genz
from genz.explore.symbolic.expressions import compiled
from genz.inference.limits import largest_batch

LENGTHS = {"batch": 8, "input": 1000, "output": 33}
CASES: dict[str, dict[str, Any]] = {
    "dense": {"model": "llama-3.1-70b", "platform": "8x h100-sxm", "tp": 8},
    "replicas": {"model": "llama-3.1-8b", "platform": "4x l40s", "tp": 2},
    "windows": {"model": "gemma-3-4b", "platform": "h100-sxm"},
    "experts": {"model": "mixtral-8x7b", "platform": "2x h100-sxm", "tp": 2, "precision": "fp8"},
    "chunks": {"model": "llama-4-scout", "platform": "8x h100-sxm", "tp": 8},
    "latent": {"model": "deepseek-v3", "platform": "dgx-h200-x4", "ep": 32},
    "pipeline": {"model": "llama-3.1-70b", "platform": "8x h100-sxm", "tp": 2, "pp": 4},
    "offload": {"model": "llama-3.1-8b", "platform": "gh200-superchip", "offload_weights": 0.5},
    "caches": {"model": "qwen3-0.6b", "platform": "epyc-9755"},
}
MADE: dict[str, genz.Explanation] = {}


def explained(name: str) -> genz.Explanation:
    """Each explanation once."""
    if name not in MADE:
        MADE[name] = genz.explain(**CASES[name], **LENGTHS)
    return MADE[name]


@pytest.mark.parametrize("name", CASES)
def test_closed_forms_are_predictions(name: str) -> None:
    """At random points of batch, context, bandwidth and FLOP/s."""
    found, rng = explained(name), np.random.default_rng(7)
    chip = found.question.platform.chip
    main = next(iter(chip.memory))
    for _ in range(3):
        batch, context = int(rng.integers(1, 64)), int(rng.integers(1, 9000))
        bandwidth, flops = 10.0 ** rng.uniform(11, 13.5), 10.0 ** rng.uniform(13, 16)
        scale = flops / chip.multiply_rate(found.question.widths.matrix_type(quantised=True))
        rates = {f"chip.matrix_flops.{key}": scale * rate for key, rate in chip.matrix_flops.items()}
        machine = genz.bind(found.question.platform, {f"chip.memory.{main}.bandwidth": bandwidth, **rates})
        outcome = genz.evaluate(found.question.with_workload(batch=batch, input_tokens=context).on(machine))
        values = found.evaluate(batch=batch, context=context, bandwidth=bandwidth, flops=flops)
        told = {
            "ttft_s": outcome.ttft,
            "tpot_s": outcome.tpot,
            "memory_bytes": outcome.memory.total_bytes,
            "cache_bytes": outcome.memory.kv_cache_bytes,
            "prefill_flops": outcome.prefill.matrix_flops,
            "prefill_bytes": outcome.prefill.memory_bytes,
            "prefill_intensity": outcome.prefill.matrix_flops / outcome.prefill.memory_bytes,
        }
        assert {key: values[key] for key in told} == pytest.approx(told, rel=1e-9)
        one_step = genz.evaluate(outcome.question.with_workload(output_tokens=2)).decode
        step = {"step_s": one_step.time, "decode_flops": one_step.matrix_flops, "decode_bytes": one_step.memory_bytes}
        assert {key: values[key] for key in step} == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_batch_where_memory_ends(name: str) -> None:
    found = explained(name)
    for context in (1, 700, 5000):
        told = found.evaluate(context=context)["largest_batch"]
        assert told == largest_batch(found.question.with_workload(input_tokens=context))
        expression = found["largest_batch"]
        if expression is not None:
            symbols = [meaning.symbol for meaning in found.symbols.values()]
            points = [context if str(symbol) == "S" else 1 for symbol in symbols]
            assert compiled(expression, symbols)(*points) == told
    assert name in ("pipeline",) or found["largest_batch"] is not None


@pytest.mark.parametrize("name", [name for name in CASES if name != "chunks"])
def test_the_context_where_attention_outweighs_the_network(name: str) -> None:
    """Held against `genz.evaluate` one token before and at it; the names of operators are told here by hand."""
    found = explained(name)
    values = found.evaluate()
    network = {"gate_up_gemm", "activation", "down_gemm", "router_gemm", "experts_gate_up_gemm", "experts_activation"}
    network |= {"experts_down_gemm"}
    for key, of in (("flops", "matrix_flops"), ("bytes", "memory_bytes"), ("time", "device_time")):
        edge = values[f"attention_overtakes_{key}"]
        assert edge is not None and edge > 1
        for context, overtaken in ((edge - 1, False), (edge, True)):
            question = found.question.with_workload(input_tokens=context, output_tokens=2)
            decode = genz.evaluate(question).decode
            attention = sum(getattr(cost, of) for cost in decode.operators if cost.operator.category == "attention")
            others = sum(getattr(cost, of) for cost in decode.operators if cost.operator.name in network)
            assert (attention >= others * (1 - 1e-12)) is overtaken, key


def test_forms_worked_by_hand() -> None:
    """Llama 3.1 70B in BF16 over 8 devices: 80 layers of 64 heads (8 for keys and values) of 128, width 8192, inner 28672."""
    found = explained("dense")
    batch, context = (found.symbols[name].symbol for name in ("batch", "context"))
    layers, hidden, inner, heads, kv_heads, width, vocabulary = 80, 8192, 28672, 64, 8, 128, 128256
    matrices = layers * (hidden * (heads + 2 * kv_heads) * width + heads * width * hidden + 3 * hidden * inner)
    pairs = context * (context + 1) / 2
    scores = layers * 4 * heads * width * pairs
    prefill = batch * (2 * matrices * context + scores + 2 * hidden * vocabulary) / 8
    assert sympy.simplify(found["prefill_flops"] - sympy.expand(prefill)) == 0
    step = batch * (2 * matrices + layers * 4 * heads * width * (context + 1) + 2 * hidden * vocabulary) / 8
    assert sympy.simplify(found["decode_flops"] - sympy.expand(step)) == 0
    assert found["kv_bytes_per_token"] == layers * 2 * kv_heads * width * 2
    blocks = sympy.ceiling((context + 33) / sympy.Integer(16))
    assert sympy.expand(found["cache_bytes"] - batch * blocks * 16 * layers * 2 * width * 2) == 0
    bandwidth, flops = (found.symbols[name].symbol for name in ("bandwidth", "flops"))
    assert found["critical_batch"] == flops / bandwidth  # F w / (2 W), w = 2 B
    # One token's attention over S + 1 keys against three matrices: 4 h d (S + 1) >= 6 H I.
    assert found.evaluate()["attention_overtakes_flops"] == 6 * hidden * inner // (4 * heads * width) - 1
    assert found["attention_overtakes_flops"] == 6 * hidden * inner // (4 * heads * width) - 1


def test_what_is_local_to_chunks_has_no_crossing() -> None:
    found = explained("chunks")
    assert "attention_overtakes_time" in found.unclosed
    with pytest.raises(genz.UnsupportedError, match=r"no closed form.*chunks"):
        found["attention_overtakes_time"]
    assert "not closed" in str(found)


def test_arrays_broadcast_and_have_no_times_where_they_do_not_fit() -> None:
    found = explained("dense")
    most = found.evaluate()["largest_batch"]
    values = found.evaluate(batch=np.array([[1], [8], [most + 1]]), context=np.array([1000, 500]))
    assert values["ttft_s"].shape == values["parameters"].shape == (3, 2)
    assert values["tpot_s"][1, 0] == found.evaluate(batch=8)["tpot_s"]
    assert math.isnan(values["ttft_s"][2, 0]) and values["prefill_flops"][2, 0] > 0
    with pytest.raises(genz.DoesNotFitError):
        found.evaluate(batch=most + 1)


@pytest.mark.parametrize(
    "symbols",
    [("context",), ("batch", "output", "capacity"), ("link_bandwidth", "link_latency", "vector_flops", "cache_bandwidth")],
)
def test_any_symbols_may_be_left_open(symbols: tuple[str, ...]) -> None:
    found = genz.explain(**CASES["dense"], **LENGTHS, symbols=symbols)
    letters = {meaning.symbol for meaning in found.symbols.values()}
    for form in found.forms.values():
        assert form.expression is None or form.expression.free_symbols <= letters
    answer = genz.predict(**CASES["dense"], **LENGTHS, fidelity="roofline")
    values = found.evaluate()
    assert values["ttft_s"] == pytest.approx(answer.ttft, rel=1e-9)
    assert values["tpot_s"] == pytest.approx(answer.tpot, rel=1e-9)
    assert values["largest_batch"] == answer.largest_batch


def test_other_values_of_other_symbols() -> None:
    found = genz.explain(**CASES["dense"], **LENGTHS, symbols=("output", "link_bandwidth"))
    question = found.question.with_workload(output_tokens=77)
    slower = question.on(genz.bind(question.platform, {"network.0.bandwidth": 50e9}))
    assert found.evaluate(output=77, link_bandwidth=50e9)["tpot_s"] == pytest.approx(genz.evaluate(slower).tpot, rel=1e-9)


def test_text_latex_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = explained("dense")
    page, latex = str(found), found.to_latex()
    assert "B·(163.8k·S^2 + 17.11G·S + 262.7M)" in page
    assert "F/W" in page and "attention_all_reduce" in page and "sum over" not in page
    assert latex.startswith("\\begin{align*}") and latex.count("{") == latex.count("}")
    assert r"163840 \, S^{2}" in latex and found._repr_latex_() == latex
    data = json.loads(found.to_json(), parse_constant=pytest.fail)
    names = {str(meaning.symbol): meaning.symbol for meaning in found.symbols.values()}
    assert sympy.sympify(data["forms"]["prefill_flops"]["expression"], locals=names) == found["prefill_flops"]
    assert data["forms"]["tpot_s"]["value"] == found.evaluate()["tpot_s"]
    assert data["symbols"]["bandwidth"] == {
        "letter": "W", "title": "bandwidth of main memory", "unit": "B/s", "value": 3.35e12,
    }  # fmt: skip
    assert set(found.to_frame()["name"]) == set(found.forms)
    assert found.plot() is not None


def test_the_operators_add_up() -> None:
    found = explained("latent")
    point = {meaning.symbol: meaning.value for meaning in found.symbols.values()}
    for phase, total in (("prefill", "ttft_s"), ("decode", "step_s")):
        times = [compiled(one.time, list(point))(*point.values()) for one in found.operators if one.phase == phase]
        assert sum(times) == pytest.approx(found.evaluate()[total], rel=1e-12)


def test_one_output_token_has_no_tpot() -> None:
    found = genz.explain("llama-3.1-8b", "h100-sxm", input=100, output=1)
    assert "tpot_s" not in found.evaluate() and "tpot_s" in found.unclosed


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"symbols": "contxt"}, genz.UnknownNameError, "did you mean 'context'"),
        ({"symbols": ("batch", "link_latency")}, genz.UnknownNameError, "no such part"),
        ({"fidelity": "calibrated"}, genz.InvalidValueError, "roofline"),
        ({"model": "llama-3.1-70b"}, genz.DoesNotFitError, "does not fit"),
        ({"model": "lama-3.1-8b"}, genz.UnknownNameError, "llama-3.1-8b"),
    ],
)
def test_wrong_questions(asked: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        genz.explain(**({"model": "llama-3.1-8b", "platform": "h100-sxm", **LENGTHS} | asked))


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"batch": 0}, genz.InvalidValueError, "at least 1"),
        ({"batch": 1.5}, genz.InvalidValueError, "whole number"),
        ({"context": 10**9}, genz.InvalidValueError, "was made for"),
        ({"bandwidth": -1.0}, genz.InvalidValueError, "above 0"),
        ({"bandwidth": "fast"}, genz.InvalidValueError, "above 0"),
        ({"bandwith": 1e12}, genz.UnknownNameError, "did you mean 'bandwidth'"),
        ({"link_latency": 1e-6}, genz.UnknownNameError, "ask for it"),
    ],
)
def test_wrong_values(values: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        explained("dense").evaluate(**values)


def test_no_such_form() -> None:
    with pytest.raises(genz.UnknownNameError, match="did you mean 'prefill_flops'"):
        explained("dense")["prefil_flops"]
