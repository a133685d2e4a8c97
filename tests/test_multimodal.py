"""Multimodal models against transformers: parameters of each part, FLOPs of towers, and the cache of cross attention."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import oracle_media
import pytest
import torch
import yaml
from oracle_media import TINY, config_of, counted, is_text, parameters, tiny
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel, DynamicCache

from genz.errors import SpecError
from genz.footprint import request_cache_bytes
from genz.graph.builder import build, build_encoder, matrix_flops
from genz.graph.step import Group, Step
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.media.passes import Passes
from genz.specs.media.sound import PaddedWindow
from genz.specs.parallelism import Parallelism
from genz.specs.readers import multimodal, multimodal_fused, multimodal_qwen, multimodal_tiles
from genz.specs.token_mixers import Attention
from genz.specs.workload import Workload

COMPOSITES = {
    **multimodal.COMPOSITES,
    **multimodal_tiles.COMPOSITES,
    **multimodal_qwen.COMPOSITES,
    **multimodal_fused.COMPOSITES,
}
# Classes whose defaults contradict themselves (a pixel shuffle that does not fit, heads that do not divide) or that
# transformers builds as a part of another.
NO_DEFAULTS = ("llama4", "qwen3_omni_moe", "qwen3_omni_moe_thinker", "internvl_chat", "phi4mm", "cobra")
QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_omni_moe_thinker")
CATALOG = {
    name: config
    for name in catalog.names("model")
    if (config := yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))["config"])["model_type"]
    in COMPOSITES
}
# Read through custom code, or whose file names a model of several: their totals are the published ones.
NOT_IN_TRANSFORMERS = ("internvl_chat", "phi4mm", "qwen3_omni_moe", "cobra")


def read(config: dict[str, Any]) -> Any:
    return model_from_config(config, name="tiny")


def tower_parameters(model: Any) -> int:
    return sum(encoder.parameters for encoder in model.encoders)


# Parameters, of all and of the towers.


@pytest.mark.parametrize("name", TINY)
def test_tiny_parameters(name: str) -> None:
    model = read(config_of(name))
    assert (model.parameters, tower_parameters(model)) == parameters(config_of(name))


@pytest.mark.parametrize("model_type", sorted({*COMPOSITES} - {*NO_DEFAULTS}))
def test_default_parameters(model_type: str) -> None:
    model = read({"model_type": model_type})
    assert (model.parameters, tower_parameters(model)) == parameters({"model_type": model_type})


@pytest.mark.parametrize("name", [name for name in CATALOG if CATALOG[name]["model_type"] not in NOT_IN_TRANSFORMERS])
def test_catalog_parameters(name: str) -> None:
    model = catalog.model(name)
    assert (model.parameters, tower_parameters(model)) == parameters(CATALOG[name])


@pytest.mark.parametrize("name", CATALOG)
def test_catalog_totals(name: str) -> None:
    """Totals are integers where the hub's are known; those of a page are rounded."""
    model = catalog.model(name)
    exact = model.published.total % 100_000 != 0
    assert model.parameters == pytest.approx(model.published.total, rel=1e-7 if exact else 1e-2)


# FLOPs of towers.


def tower_flops(model: Any, passes: Passes, bf16: Any) -> float:
    """GenZ's matrix FLOPs of everything that one image or clip passes."""
    towers = {encoder.name: encoder for encoder in model.encoders}
    total = 0.0
    for media in passes.media:
        group = Group(
            media.sequences,
            media.tokens,
            0,
            sampled=0,
            advance=0,
            source_tokens=media.source_tokens,
            chunk_keys=media.window_keys,
        )
        step = Step("prefill", (group,))
        total += matrix_flops(
            build_encoder(towers[media.encoder], step, parallelism=Parallelism(), widths=bf16, engine=catalog.engine("pytorch"))
        )
    return total


def blank(images: int, width: int, height: int | None = None) -> torch.Tensor:
    return torch.zeros(images, 3, height or width, width)


def features(name: str, **given: Any) -> Callable[[], Any]:
    return lambda: tiny(name).get_image_features(**given)


SIZED = torch.tensor([[60, 60]])
# Width and height of an image, and transformers' pass of it through the tower and its projector.
IMAGES: dict[str, tuple[int, int, Callable[[], Any]]] = {
    "llava": (30, 30, features("llava", pixel_values=blank(1, 30))),
    "llava_two_layers": (30, 30, features("llava_two_layers", pixel_values=blank(1, 30))),
    "llava_pixtral": (45, 30, features("llava_pixtral", pixel_values=blank(1, 45, 30), image_sizes=[(30, 45)])),
    "llava_next": (60, 60, features("llava_next", pixel_values=torch.zeros(1, 5, 3, 30, 30), image_sizes=SIZED)),
    "llava_onevision": (
        48,
        48,
        features("llava_onevision", pixel_values=torch.zeros(1, 5, 3, 24, 24), image_sizes=torch.tensor([[48, 48]])),
    ),
    "mistral3": (45, 30, features("mistral3", pixel_values=blank(1, 45, 30), image_sizes=[(30, 45)])),
    "paligemma": (24, 24, features("paligemma", pixel_values=blank(1, 24))),
    "gemma3": (24, 24, features("gemma3", pixel_values=blank(1, 24))),
    "internvl": (48, 24, features("internvl", pixel_values=blank(3, 24))),
    "idefics3": (96, 96, features("idefics3", pixel_values=torch.ones(1, 17, 3, 24, 24))),
    "smolvlm": (96, 96, features("smolvlm", pixel_values=torch.ones(1, 17, 3, 24, 24))),
    "blip-2": (24, 24, features("blip-2", pixel_values=blank(1, 24))),
    "llama4": (
        48,
        24,
        lambda: tiny("llama4").multi_modal_projector(
            tiny("llama4").vision_model(blank(3, 24)).last_hidden_state.reshape(-1, 28)
        ),
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_flops_of_towers(name: str, bf16: Any) -> None:
    width, height, run = IMAGES[name]
    model = read(config_of(name))
    assert tower_flops(model, model.images.passes(width, height), bf16) == counted(run)


@pytest.mark.parametrize(("columns", "rows"), [(11, 7), (4, 4), (8, 8), (1, 9)])
@pytest.mark.parametrize("name", QWEN)
def test_flops_of_towers_in_the_images_own_shape(name: str, columns: int, rows: int, bf16: Any) -> None:
    """Windows that the edge cuts, too."""
    model = read(config_of(name))
    rule = replace(model.images, min_pixels=1, max_pixels=10**6)
    patches = torch.zeros(4 * columns * rows, 3 * 2 * 6 * 6)
    grid = torch.tensor([[1, 2 * rows, 2 * columns]])
    expected = counted(lambda: tiny(name).get_image_features(pixel_values=patches, image_grid_thw=grid))
    assert tower_flops(model, rule.passes(12 * columns, 12 * rows), bf16) == expected


def test_flops_of_tiles_that_attend_to_each_other(bf16: Any) -> None:
    """But for the product of the mask with itself, 2 n^2, which makes a mask of tiles that are padding."""
    model, vision, project = read(config_of("mllama")), *_mllama_parts()
    passes = model.images.passes(24, 24)
    tokens = passes.media[0].tokens
    ratio, mask = torch.ones(1, 1, dtype=torch.long), torch.ones(1, 1, 3, dtype=torch.long)
    expected = counted(
        lambda: project(
            vision(torch.zeros(1, 1, 3, 3, 24, 24), aspect_ratio_ids=ratio, aspect_ratio_mask=mask).last_hidden_state
        )
    )
    assert tower_flops(model, passes, bf16) == expected - 2 * tokens**2


def _mllama_parts() -> tuple[Any, Any]:
    whole = tiny("mllama").model
    return whole.vision_model, whole.multi_modal_projector


class Unused(torch.nn.Module):
    """In the place of a pooling head whose output nothing reads."""

    def forward(self, hidden_state: Any, attention_mask: Any = None) -> Any:
        return hidden_state


def test_flops_of_crops(bf16: Any) -> None:
    """Without the pooling head, which transformers runs and throws away."""
    model, embed = read(config_of("phi4_multimodal")), tiny("phi4_multimodal").model.embed_tokens_extend.image_embed
    embed.img_processor.head = Unused()
    seen = torch.ones(3, 8, 8, dtype=torch.bool)
    expected = counted(
        lambda: embed.img_projection_down(embed.img_projection_up(embed.get_img_features(blank(3, 24), attention_mask=seen)))
    )
    assert tower_flops(model, model.images.passes(48, 24), bf16) == expected


def test_flops_of_whispers_encoder(bf16: Any) -> None:
    model, whole = read(config_of("qwen2_audio")), tiny("qwen2_audio").model
    expected = counted(lambda: whole.multi_modal_projector(_pooled(whole.audio_tower, torch.zeros(1, 10, 52))))
    assert tower_flops(model, PaddedWindow(26).passes(0.52), bf16) == expected


def _pooled(tower: Any, spectrogram: torch.Tensor) -> Any:
    return tower(spectrogram).last_hidden_state


@pytest.mark.parametrize("frames", [500, 400, 100])
def test_flops_of_chunks_of_sound(frames: int, bf16: Any) -> None:
    """Whole chunks: the last one, where it is not, is padded for the convolutions, which GenZ counts without padding."""
    name = "qwen3_omni_moe_thinker"
    model, tower = read(config_of(name)), tiny(name).model.audio_tower
    expected = counted(lambda: tower(torch.zeros(20, frames), feature_lens=torch.tensor([frames])))
    assert tower_flops(model, model.audio.passes(frames / 100), bf16) == expected


def test_flops_of_the_conformer(bf16: Any) -> None:
    """But for convolutions on each channel by itself, and the margin that the matrix behind them works through."""
    config = config_of("phi4_multimodal")["audio_config"]
    model, embed = read(config_of("phi4_multimodal")), tiny("phi4_multimodal").model.embed_tokens_extend.audio_embed
    seen = torch.ones(1, 80, dtype=torch.bool)
    expected = counted(
        lambda: embed.down_proj_for_speech(embed.up_proj_for_speech(embed.encoder(torch.zeros(1, 80, 20), seen)))
    )
    tokens, hidden, kernel = 20, config["hidden_size"], config["kernel_size"]
    padded = tokens + kernel - 1
    by_channel = config["num_blocks"] * 2 * hidden * kernel * padded + 2 * 9 * config["nemo_conv_channels"] * 5 * tokens
    margin = config["num_blocks"] * 2 * hidden * hidden * (kernel - 1)
    passes = model.audio.passes(79 * 0.01 + 0.025)
    assert passes.media[0].tokens == tokens
    assert tower_flops(model, passes, bf16) == expected - by_channel - margin


# Cross attention of Llama 3.2 Vision.


def test_cross_attention_of_a_prompt(bf16: Any) -> None:
    """FLOPs of the text part: its own attention is causal in GenZ and a rectangle in transformers."""
    config, prompt = config_of("mllama"), 9
    model, hf = read(config), tiny("mllama")
    sources = model.images.passes(24, 24).source_tokens
    states = torch.zeros(1, sources, 48)
    inputs = {"inputs_embeds": torch.zeros(1, prompt, 48), "cross_attention_states": states}
    expected = counted(lambda: hf.model.language_model(**inputs)) + 2 * 48 * 150
    step = Step("prefill", (Group(1, prompt, source_tokens=sources),))
    found = matrix_flops(build(model, step, parallelism=Parallelism(), widths=bf16, engine=catalog.engine("pytorch")))
    own_layers, hidden = 3, 48
    rectangle = own_layers * 4 * hidden * prompt * prompt
    assert found == expected - rectangle + own_layers * 4 * hidden * prompt * (prompt + 1) / 2


def test_a_prompt_without_images_skips_cross_attention(bf16: Any) -> None:
    config, prompt = config_of("mllama"), 9
    model, hf = read(config), tiny("mllama")
    expected = counted(lambda: hf.model.language_model(inputs_embeds=torch.zeros(1, prompt, 48))) + 2 * 48 * 150
    step = Step("prefill", (Group(1, prompt),))
    found = matrix_flops(build(model, step, parallelism=Parallelism(), widths=bf16, engine=catalog.engine("pytorch")))
    own_layers, hidden = 3, 48
    assert found == expected - own_layers * 4 * hidden * prompt * (prompt - 1) / 2


def test_cache_of_cross_attention(bf16: Any) -> None:
    model, hf, prompt = read(config_of("mllama")), tiny("mllama"), 9
    sources = model.images.passes(24, 24).source_tokens
    past = DynamicCache(config=hf.config.text_config)
    with torch.no_grad():
        hf.model.language_model(
            inputs_embeds=torch.zeros(1, prompt, 48),
            cross_attention_states=torch.zeros(1, sources, 48),
            past_key_values=past,
            use_cache=True,
        )
    elements = sum(layer.keys.numel() + layer.values.numel() for layer in past.layers)
    workload = Workload(prompt - 1, 1, source_tokens=sources)
    assert request_cache_bytes(model, bf16, workload) == 2 * elements


# Towers side by side.


def test_towers_side_by_side(bf16: Any) -> None:
    """DINOv2 against transformers, the whole of Cobra against what its name says."""
    keys = {"hidden_size": 40, "num_hidden_layers": 3, "num_attention_heads": 5, "image_size": 24, "patch_size": 6}
    keys |= {"num_register_tokens": 3, "mlp_ratio": 2}
    model = read(
        {
            "model_type": "cobra",
            "text_config": {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 90},
            "vision_config": {**oracle_media.SIGLIP},
            "further_vision_config": {"model_type": "dinov2_with_registers", **keys},
        }
    )
    tower = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**keys, attn_implementation="eager")).eval()
    further = model.encoders[1]
    assert further.parameters == sum(p.numel() for p in tower.parameters())
    passes = model.images.passes(24, 24)
    assert [media.tokens for media in passes.media] == [16, 20]
    only = Passes(passes.media[1:], 16)
    assert tower_flops(model, only, bf16) == counted(lambda: tower(blank(1, 24)))


# What a file may not say.


def broken(name: str, **changed: Any) -> dict[str, Any]:
    config = config_of(name)
    for path, value in changed.items():
        *parts, key = path.split("__")
        target = config
        for part in parts:
            target[part] = dict(target[part])
            target = target[part]
        target[key] = value
    return config


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("mllama", {"text_config__cross_attention_layers": [1, 5]}, "cross_attention_layers = 5 .* 0 to 4"),
        ("mllama", {"vision_config__vision_output_dim": 80}, "vision_output_dim = 80 .* 120"),
        ("mllama", {"vision_config__intermediate_layers_indices": [4]}, "intermediate_layers_indices = 4"),
        ("llava", {"vision_config__model_type": "clip"}, "model_type 'clip' is not supported.*clip_vision_model"),
        ("llava", {"vision_config": 5}, "vision_config = 5 is not allowed"),
        ("llava", {"vision_config__patch_size": 31}, "patch_size = 31 .* at most image_size"),
        ("llava", {"vision_config__image_size": [30, 20]}, "image_size = .* equal"),
        ("llava", {"vision_feature_layer": []}, "vision_feature_layer"),
        ("llava", {"vision_feature_select_strategy": "cls"}, "default, full"),
        ("llava", {"text_config__model_type": "lama"}, "'lama' is not supported.*'llama'"),
        ("llava_next", {"image_grid_pinpoints": [[30]]}, "image_grid_pinpoints"),
        ("llava_onevision", {"vision_aspect_ratio": "anyres"}, "anyres_max_"),
        ("llama4", {"vision_config__pixel_shuffle_ratio": 0.3}, "pixel_shuffle_ratio = 0.3"),
        ("llama4", {"vision_config__intermediate_size": 60}, "intermediate_size = 60 .* 64"),
        ("internvl", {"vision_config__norm_type": "batch_norm"}, "layer_norm, rms_norm"),
        ("internvl", {"force_image_size": 48}, "force_image_size = 48"),
        ("gemma3", {"mm_tokens_per_image": 5}, "mm_tokens_per_image = 5 .* divisor"),
        ("qwen2_5_vl", {"vision_config__fullatt_block_indexes": [4]}, "fullatt_block_indexes = 4"),
        ("qwen2_5_vl", {"vision_config__window_size": 8}, "window_size = 8"),
        ("qwen3_vl", {"vision_config__num_heads": 5}, "a multiple of the 5 heads"),
        ("qwen3_omni_moe_thinker", {"audio_config__n_window_infer": 150}, "n_window_infer = 150"),
    ],
)
def test_broken_configurations(name: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(broken(name, **changed))


def test_a_processor_of_its_own(tmp_path: Path) -> None:
    """A preprocessor_config.json beside the config.json says what an image becomes."""
    import json

    config = tmp_path / "config.json"
    config.write_text(json.dumps(CATALOG["qwen2.5-vl-7b"]), encoding="utf-8")
    assert catalog.model(str(config)).images.passes(4000, 3000).prompt_tokens == 107 * 143
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"max_pixels": 1003520}), encoding="utf-8")
    assert catalog.model(str(config)).images.passes(4000, 3000).prompt_tokens <= 1280
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"max_pixels": 100}), encoding="utf-8")
    with pytest.raises(SpecError, match="min_pixels"):
        catalog.model(str(config))


def test_flat_and_nested_files_are_one_model() -> None:
    flat = CATALOG["qwen2.5-vl-3b"]
    nested = {key: flat[key] for key in ("model_type", "vision_config", "tie_word_embeddings")}
    nested["text_config"] = {key: value for key, value in flat.items() if key not in nested}
    assert read(nested).parameters == read(flat).parameters == 3754622976


def test_the_text_part_alone() -> None:
    """`--as` reads a multimodal file as its text part; the towers are left out."""
    whole = catalog.model("gemma-3-4b-multimodal")
    alone = model_from_config(CATALOG["gemma-3-4b-multimodal"], name="text", treat_as="gemma3_text")
    assert alone.parameters == whole.parameters - tower_parameters(whole) == catalog.model("gemma-3-4b").parameters


def test_adapters_run_beside_the_layers() -> None:
    """Phi-4 multimodal: rank 256 for images runs, rank 320 for speech is held; both beside four matrices of a layer."""
    layer = catalog.model("phi-4-multimodal").layers[0]
    widths = 3072 + 5120 + 3072 + 3072 + 3072 + 16384 + 8192 + 3072
    (adapter,) = layer.further
    assert sum(linear.parameters for linear in adapter.linears) == 256 * widths
    assert adapter.vectors == 320 * widths


def test_cross_attention_reads_the_tower() -> None:
    model = catalog.model("llama-3.2-11b-vision")
    crossing = [i for i, layer in enumerate(model.layers) if isinstance(m := layer.token_mixer, Attention) and m.source]
    assert crossing == [3, 8, 13, 18, 23, 28, 33, 38]


def test_the_oracle_knows_what_is_text() -> None:
    assert is_text("model.language_model.layers.0.mlp") and is_text("lm_head.weight") and not is_text("model.visual.blocks.0")
    assert {oracle_media.TYPES.get(name, name) for name in TINY} <= {*COMPOSITES}
