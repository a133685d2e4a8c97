"""Diffusion: transformers of the papers' shapes, published totals, and times that are steps x a pass."""

import json
from typing import Any

import pytest
import torch
from oracle_encoders import DiT, flops, parameters

import genz
from genz.cli import main
from genz.graph.builder import matrix_flops
from genz.inference.diffusion import denoising_step
from genz.inference.evaluate import operators
from genz.inference.question import settle_question
from genz.specs import catalog
from genz.specs.huggingface import model_from_config

TINY = {
    "model_type": "dit", "num_attention_heads": 5, "attention_head_dim": 8, "num_layers": 3, "in_channels": 3, "patch_size": 2,
    "sample_size": 12, "num_embeds_ada_norm": 7,
}  # fmt: skip


def test_a_diffusion_transformer_is_that_of_the_paper() -> None:
    """Parameters to the integer and FLOPs by the counter, against the blocks written down in the oracle."""
    model = model_from_config(TINY, name="tiny")
    with torch.device("meta"):
        reference = DiT(hidden=40, depth=3, heads=5, patch=2, channels=3, classes=7)
        counts = flops(lambda: reference(torch.zeros(4, 36, 12)))
    assert model.parameters == parameters(reference)
    found = genz.diffuse(model, "h100-sxm", batch=2, denoising_steps=6, fidelity="roofline")
    assert found.matrix_flops == pytest.approx(6 * sum(counts.values()), rel=1e-3)


def test_the_largest_model_of_the_paper() -> None:
    """675M parameters and 118.6 billion multiply-adds for 256 x 256 pixels, 524.6 for 512 x 512 (arXiv:2212.09748).

    The fixed table of positions, which the authors keep as a parameter, is left out.
    """
    model = catalog.model("dit-xl-2")
    assert model.parameters + 256 * 1152 == pytest.approx(675e6, rel=1e-3)
    for size, published in (("256x256", 118.64e9), ("512x512", 524.6e9)):
        found = genz.diffuse(model, "h100-sxm", denoising_steps=1, guidance=False, image_size=size, fidelity="roofline")
        assert found.matrix_flops / 2 == pytest.approx(published, rel=1e-3)


@pytest.mark.parametrize(("name", "total"), [("llada-8b", 8_015_581_184), ("dream-7b", 7_615_616_512)])
def test_masked_language_models_have_the_published_totals(name: str, total: int) -> None:
    model = catalog.model(name)
    assert model.parameters == total
    assert not any(layer.token_mixer.causal for layer in model.layers)  # type: ignore[union-attr]


def test_a_pass_over_prompt_and_answer() -> None:
    """2 FLOPs a weight and token, scores and values of every pair, logits of every token; nothing is kept."""
    model = catalog.model("llada-8b")
    tokens, steps = 96 + 32, 32
    found = genz.diffuse(model, "h100-sxm", input=96, output=32, fidelity="roofline")
    layers = sum(linear.inputs * linear.outputs for layer in model.layers for part in layer.parts for linear in part.linears)
    expected = 2 * tokens * (layers + model.hidden * model.embedding.vocabulary) + 32 * 4 * 4096 * tokens**2
    assert found.matrix_flops == pytest.approx(steps * expected, rel=1e-6)
    assert found.memory.kv_cache_bytes == 0
    assert found.memory.logits_bytes == tokens * model.embedding.vocabulary * 6


def test_time_is_steps_times_a_pass() -> None:
    one, many = (genz.diffuse("llada-8b", "h100-sxm", input=64, output=64, denoising_steps=n) for n in (1, 64))
    assert many.time == pytest.approx(64 * one.time, rel=1e-6)
    assert many.step_time == pytest.approx(one.step_time, rel=1e-6)
    assert many.output_tokens_per_s == pytest.approx(64 / many.time)


def test_guidance_passes_every_sequence_twice() -> None:
    plain, guided = (
        genz.diffuse("dit-xl-2", "h100-sxm", batch=4, denoising_steps=2, guidance=g, fidelity="roofline") for g in (False, True)
    )
    assert guided.matrix_flops == pytest.approx(2 * plain.matrix_flops)
    assert genz.diffuse("dit-xl-2", "h100-sxm").guided
    assert not genz.diffuse("llada-8b", "h100-sxm", input=8, output=8).guided


def test_a_step_is_one_of_prefill() -> None:
    question = settle_question("dit-xl-2", "h100-sxm", batch=2, fidelity="roofline")
    step = denoising_step(question, 5, guided=True)
    assert (step.phase, step.repeats, step.tokens) == ("prefill", 5, 2 * 2 * 256)
    assert (
        matrix_flops(operators(question, step))
        == genz.diffuse("dit-xl-2", "h100-sxm", batch=2, denoising_steps=5, fidelity="roofline").matrix_flops
    )


def test_energy_is_at_least_idle_power() -> None:
    found = genz.diffuse("dit-xl-2", "2x h100-sxm", batch=3, denoising_steps=4)
    assert found.energy > found.time * 2 * catalog.chip("h100-sxm").power.idle
    assert found.energy_per_result == pytest.approx(found.energy / 3)
    data = found.to_dict()
    assert data["results_per_s"] == pytest.approx(3 / data["time_s"])
    assert "images/s" in str(found)


@pytest.mark.parametrize(
    ("model", "asked", "field"),
    [
        ("llama-3.1-8b", {}, "model"),
        ("bge-large", {}, "model"),
        ("llada-8b", {"input": 5}, "output_tokens"),
        ("llada-8b", {"output": 5}, "input_tokens"),
        ("llada-8b", {"input": 5, "output": 0}, "output_tokens"),
        ("llada-8b", {"input": 5, "output": 8, "denoising_steps": 9}, "denoising_steps"),
        ("llada-8b", {"input": 5, "output": 8, "denoising_steps": 0}, "denoising_steps"),
        ("llada-8b", {"input": 4000, "output": 800}, "max_model_len"),
        ("llada-8b", {"input": 5, "output": 8, "image_size": "64x64"}, "image_size"),
        ("dit-xl-2", {"input": 5}, "input"),
        ("dit-xl-2", {"image_size": "250x256"}, "image_size"),
        ("dit-xl-2", {"image_size": "32000x32000"}, "image_size"),
        ("dit-xl-2", {"denoising_steps": 2.5}, "denoising_steps"),
    ],
)
def test_questions_at_fault(model: str, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(genz.GenZError) as caught:
        genz.diffuse(model, "h100-sxm", **asked)
    assert caught.value.field == field


@pytest.mark.parametrize("asked", [{"input": 64}, {"input": 64, "output": 64}])
def test_a_prediction_token_by_token_is_refused(asked: dict[str, int]) -> None:
    with pytest.raises(genz.UnsupportedError) as caught:
        genz.predict("llada-8b", "h100-sxm", **asked)
    assert "genz.diffuse" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"norm_type": "ada_norm_single"}, "norm_type"),
        ({"sample_size": 13}, "sample_size"),
        ({"num_layers": 0}, "num_hidden_layers"),
    ],
)
def test_keys_at_fault(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(genz.SpecError) as caught:
        model_from_config({**TINY, **changed}, name="wrong")
    assert caught.value.field in (field, "num_layers")


def test_a_file_of_diffusers_names_its_class() -> None:
    keys = {key: value for key, value in TINY.items() if key != "model_type"}
    assert model_from_config({**keys, "_class_name": "DiTTransformer2DModel"}, name="tiny").model_type == "dit"


@pytest.mark.parametrize("key", ["alibi", "include_bias"])
def test_what_llada_has_not(key: str) -> None:
    shape = {"model_type": "llada", "d_model": 64, "n_heads": 4, "n_layers": 2, "mlp_hidden_size": 96, "vocab_size": 50}
    with pytest.raises(genz.SpecError) as caught:
        model_from_config({**shape, "max_sequence_length": 64, key: True}, name="wrong")
    assert caught.value.field == key


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["diffuse", "llada-8b", "--platform", "h100-sxm", "--isl", "64", "--osl", "32", "--steps", "16", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["denoising_steps"] == 16
    assert data["time_s"] == genz.diffuse("llada-8b", "h100-sxm", input=64, output=32, denoising_steps=16).time
    main(["diffuse", "dit-xl-2", "--platform", "h100-sxm", "--no-guidance"])
    assert "50 denoising steps of one pass over 256 tokens each" in capsys.readouterr().out
