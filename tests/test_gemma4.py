"""Gemma 4 against transformers: parameters with each of its parts on and off, towers, FLOPs of matrices, and cache."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from oracle import default_config, flops_by_module, parameter_count
from oracle_dense import kept_cache_bytes
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoModelForMultimodalLM
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor

from genz.errors import SpecError
from genz.footprint import request_cache_bytes, weight_bytes
from genz.graph.builder import build, build_encoder, matrix_flops
from genz.graph.step import Group, Step
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.media.sound import StridedFrames
from genz.specs.parallelism import Parallelism
from genz.specs.workload import Workload

TINY: dict[str, Any] = {
    "model_type": "gemma4_text",
    "vocab_size": 103,
    "vocab_size_per_layer_input": 107,
    "hidden_size": 48,
    "hidden_size_per_layer_input": 10,
    "intermediate_size": 70,
    "num_hidden_layers": 7,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 14,
    "global_head_dim": 22,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 3 + ["full_attention"],
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
SHARED = {**TINY, "num_kv_shared_layers": 3, "use_double_wide_mlp": True}
NARROW = {**TINY, "num_kv_shared_layers": 3, "num_global_key_value_heads": 3}
ONE_MATRIX = {**TINY, "attention_k_eq_v": True, "num_global_key_value_heads": 3, "hidden_size_per_layer_input": 0}
EXPERTS = {
    **ONE_MATRIX,
    "enable_moe_block": True,
    "num_experts": 5,
    "top_k_experts": 2,
    "moe_intermediate_size": 19,
    "attention_bias": True,
    "tie_word_embeddings": False,
}
PATTERN = {**TINY, "num_hidden_layers": 9, "layer_types": None}
OWN = {"head_dim": 18, "num_key_value_heads": 3}
LISTED = {**TINY, "per_layer_config": {"01": OWN, "03": OWN, "05": OWN, "06": OWN}}
FORCED = {**TINY, "layer_types": ["full_attention"] + ["sliding_attention"] * 6}
TEXTS = {
    "plain": TINY,
    "shared": SHARED,
    "narrow": NARROW,
    "one_matrix": ONE_MATRIX,
    "experts": EXPERTS,
    "pattern": PATTERN,
    "listed": LISTED,
    "forced": FORCED,
    "default": default_config("gemma4_text"),
}
VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 24,
    "intermediate_size": 34,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "patch_size": 4,
    "position_embedding_size": 50,
    "pooling_kernel_size": 2,
    "standardize": True,
}
AUDIO = {
    "model_type": "gemma4_audio",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "subsampling_conv_channels": [16, 8],
    "conv_kernel_size": 3,
    "output_proj_dims": 20,
}
WHOLES: dict[str, dict[str, Any]] = {
    "both": {"text_config": SHARED, "vision_config": VISION, "audio_config": AUDIO},
    "vision": {"text_config": EXPERTS, "vision_config": VISION, "audio_config": None, "tie_word_embeddings": False},
    "text": {"text_config": TINY, "vision_config": None, "audio_config": None},
    "defaults": {"text_config": TINY, "vision_config": {}, "audio_config": {}},
}


@pytest.mark.parametrize("config", TEXTS.values(), ids=TEXTS)
def test_text_parameters(config: dict[str, Any], bf16: Any) -> None:
    model = model_from_config(config, name="gemma4")
    assert model.parameters == parameter_count(config)
    assert weight_bytes(model, bf16, Parallelism()) == 2 * model.parameters


def test_a_file_that_says_nothing_is_the_class_default() -> None:
    assert model_from_config({"model_type": "gemma4_text"}, name="gemma4").parameters == parameter_count(TEXTS["default"])


def whole_parameters(config: dict[str, Any]) -> int:
    settled = CONFIG_MAPPING["gemma4"].from_dict({key: value for key, value in config.items() if key != "model_type"})
    with torch.device("meta"):
        return sum(p.numel() for p in AutoModelForMultimodalLM.from_config(settled).parameters())


@pytest.mark.parametrize("parts", WHOLES.values(), ids=WHOLES)
def test_parameters_with_towers(parts: dict[str, Any]) -> None:
    config = {"model_type": "gemma4", **parts}
    model = model_from_config(config, name="gemma4")
    assert model.parameters == whole_parameters(config)


@pytest.mark.parametrize("name", ["gemma-4-e2b", "gemma-4-e4b", "gemma-4-26b-a4b", "gemma-4-31b"])
def test_catalog_parameters(name: str) -> None:
    config = yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))["config"]
    assert catalog.model(name).parameters == whole_parameters(config)


@pytest.mark.parametrize("name", ["plain", "shared", "one_matrix", "experts"])
@pytest.mark.parametrize("context", [0, 5])
def test_flops(name: str, context: int, bf16: Any) -> None:
    """A decode step that no window cuts: one new token sees every key."""
    model = model_from_config(TEXTS[name], name="gemma4")
    step = Step("decode", (Group(3, 1, context),))
    operators = build(model, step, parallelism=Parallelism(), widths=bf16, engine=catalog.engine("pytorch"))
    assert matrix_flops(operators) == sum(flops_by_module(TEXTS[name], 3, 1, context).values())


@pytest.mark.parametrize("tokens", [6, 15])
@pytest.mark.parametrize("name", ["plain", "shared", "one_matrix"])
def test_cache(name: str, tokens: int, bf16: Any) -> None:
    """Keys and values of one matrix are kept both; transformers keeps one token fewer of a window that is full."""
    model = model_from_config(TEXTS[name], name="gemma4")
    mixers = [layer.token_mixer for layer in model.layers]
    full = [m for m in mixers if m is not None and m.window is not None and m.window <= tokens]
    kept_less = 2 * sum(mixer.cached_width() for mixer in full)
    assert request_cache_bytes(model, bf16, Workload(tokens - 1, 1)) - kept_less == kept_cache_bytes(TEXTS[name], 1, tokens)


@pytest.mark.parametrize("milliseconds", [25, 1000, 3333, 20_010, 30_000])
def test_tokens_of_sound(milliseconds: int) -> None:
    """Against the processor's own arithmetic, but for clips of no frame."""
    extractor = SimpleNamespace(frame_length=320, hop_length=160)
    processor = SimpleNamespace(feature_extractor=extractor, audio_seq_length=750)
    length = Gemma4Processor._compute_audio_num_tokens(processor, range(16 * milliseconds), 16_000)
    assert StridedFrames().passes(milliseconds / 1000).prompt_tokens == length


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"num_kv_shared_layers": 6}, "num_kv_shared_layers"),
        ({"num_kv_shared_layers": 7}, "num_kv_shared_layers"),
        ({"layer_types": ["full_attention"] * 6}, "layer_types"),
        ({"use_bidirectional_attention": "all"}, "use_bidirectional_attention"),
        ({"enable_moe_block": True}, "num_experts"),
        ({"enable_moe_block": True, "num_experts": 2, "top_k_experts": 3}, "top_k_experts"),
        ({"per_layer_config": {"0": {"sliding_window": 3}}}, "per_layer_config"),
    ],
    ids=str,
)
def test_impossible_configurations_name_the_key(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({**TINY, **changes}, name="broken")
    assert caught.value.field == field


def tower_flops(name: str, tokens: int, bf16: Any) -> float:
    model = model_from_config({"model_type": "gemma4", **WHOLES["both"]}, name="gemma4")
    encoder = next(encoder for encoder in model.encoders if encoder.name == name)
    step = Step("prefill", (Group(1, tokens, 0, sampled=0, advance=0),))
    engine = catalog.engine("pytorch")
    return matrix_flops(build_encoder(encoder, step, parallelism=Parallelism(), widths=bf16, engine=engine))


def test_vision_tower_flops(bf16: Any) -> None:
    """Six by four patches, averaged by a product with 6 x 24 weights, which GenZ leaves out."""
    settled = CONFIG_MAPPING["gemma4"].from_dict(WHOLES["both"])
    model = AutoModelForMultimodalLM.from_config(settled, attn_implementation="eager").model
    positions = torch.tensor([[[x, y] for y in range(4) for x in range(6)]])
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.get_image_features(torch.zeros(1, 24, 48), positions)
    assert tower_flops("vision", 24, bf16) + 2 * 6 * 24 * 24 == counter.get_total_flops()
