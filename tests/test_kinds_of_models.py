"""Sweeps, plans, requirements, closed forms and plots over every kind of model: each is held against `genz.predict`."""

from typing import Any

import pytest

import genz

# A model of each kind, and what its requests are.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "state space": ("mamba-2.8b", {"input": 512, "output": 32}),
    "hybrid": ("falcon-h1-7b", {"input": 512, "output": 32}),
    "linear attention": ("rwkv-7-2.9b", {"input": 100, "output": 10}),
    "images": ("qwen2.5-vl-7b", {"input": 200, "output": 32, "images": 1, "image_size": "640x480"}),
    "cross attention": ("llama-3.2-11b-vision", {"input": 200, "output": 32, "images": 1}),
    "encoder": ("bge-large-en", {"input": 256}),
    "encoder of images": ("vit-large", {}),
    "encoder-decoder": ("t5-large", {"input": 200, "output": 32}),
    "sound": ("whisper-large-v3", {"audio": "30 s", "output": 32}),
}
DENOISERS = ("dit-xl-2", "llada-8b")


@pytest.mark.parametrize("fidelity", ["roofline", "engine", "calibrated"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_says_what_predict_says(kind: str, fidelity: str) -> None:
    model, requests = KINDS[kind]
    frame = genz.sweep(model=model, platform="h100-sxm", fidelity=fidelity, batch=[1, 3], **requests)
    assert frame.feasible.all(), frame.why.tolist()
    for _, row in frame.iterrows():
        answer = genz.predict(model, "h100-sxm", fidelity=fidelity, batch=row.batch, **requests)
        assert row.ttft_s == pytest.approx(answer.ttft, rel=1e-9)
        assert row.e2e_s == pytest.approx(answer.e2e, rel=1e-9)
        assert row.memory_total_bytes == pytest.approx(answer.memory.total_bytes, rel=1e-9)


@pytest.mark.parametrize("kind", ["images", "encoder-decoder"])
def test_a_plan_waits_for_encoders(kind: str) -> None:
    model, requests = KINDS[kind]
    found = genz.plan(model, platforms=["h100-sxm"], requests_per_second=0.01, slo={"ttft": "9 s"}, max_devices=1, **requests)
    alone = genz.predict(model, "h100-sxm", **requests)
    assert alone.outcome.encoding_time > 0
    assert found.best.figures["ttft_s"] >= alone.ttft * (1 - 1e-9)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "encoder" not in kind or kind == "encoder-decoder"])
def test_the_required_machine_keeps_the_objectives(kind: str) -> None:
    model, requests = KINDS[kind]
    slo = {"ttft": 2.0, "tpot": 0.05}
    machine = genz.require(model, slo=slo, **requests).platform
    answer = genz.predict(model, machine, engine="ideal", fidelity="roofline", **requests)
    assert answer.ttft <= slo["ttft"] * (1 + 1e-6) and answer.tpot <= slo["tpot"] * (1 + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_forms_and_sensitivities_know_it(kind: str) -> None:
    model, requests = KINDS[kind]
    answer = genz.predict(model, "h100-sxm", fidelity="roofline", **requests)
    assert genz.explain(model, "h100-sxm", **requests).evaluate()["parameters"] == answer.question.model.parameters
    found = genz.sensitivity(model, "h100-sxm", fidelity="roofline", metrics=("e2e_s",), **requests)
    # Twice the bandwidth never takes longer, and never less than half of the time.
    what_if = found.what_if("chip.memory.hbm.bandwidth", 2.0)
    assert what_if.before.e2e == pytest.approx(answer.e2e, rel=1e-9)
    assert 0.5 - 1e-9 <= what_if.after.e2e / answer.e2e <= 1 + 1e-9


@pytest.mark.parametrize("kind", ["images", "encoder-decoder", "hybrid", "encoder"])
def test_plots_draw_every_phase(kind: str) -> None:
    model, requests = KINDS[kind]
    answer = genz.predict(model, "h100-sxm", **requests)
    stacked = genz.plots.stacked_time([answer])
    assert len({trace.xaxis for trace in stacked.data}) == len(answer.phases)
    assert genz.plots.roofline(answer).data
    assert genz.plots.memory_waterfall(answer).data


@pytest.mark.parametrize("name", DENOISERS)
def test_what_denoises_is_left_to_diffuse(name: str) -> None:
    for ask in (
        lambda: genz.predict(name, "h100-sxm", input=64, output=64),
        lambda: genz.plan(name, platforms=["h100-sxm"], requests_per_second=1, input=64, output=64),
        lambda: genz.require(name, slo={"ttft": 1.0}, input=64, output=64),
    ):
        with pytest.raises(genz.UnsupportedError, match=r"denois|genz\.diffuse"):
            ask()
    frame = genz.sweep(model=name, platform="h100-sxm", input=64, output=64)
    assert not frame.feasible.any() and "denois" in frame.why[0]
