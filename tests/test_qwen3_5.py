"""Qwen3.5 with its vision tower against transformers: parameters of the whole, dense and of experts."""

from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForMultimodalLM

from genz.errors import SpecError
from genz.specs.huggingface import model_from_config

TEXT: dict[str, Any] = {
    "vocab_size": 103,
    "hidden_size": 48,
    "intermediate_size": 70,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "layer_types": ["linear_attention", "full_attention", "linear_attention", "full_attention"],
    "linear_conv_kernel_dim": 3,
    "linear_key_head_dim": 10,
    "linear_value_head_dim": 14,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": None,
}
EXPERTS = {
    **TEXT,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 18,
    "shared_expert_intermediate_size": 22,
}
VISION = {
    "depth": 3,
    "hidden_size": 24,
    "intermediate_size": 34,
    "num_heads": 4,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 48,
    "num_position_embeddings": 36,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "dense": {"model_type": "qwen3_5", "text_config": TEXT, "vision_config": VISION},
    "tied": {"model_type": "qwen3_5", "text_config": TEXT, "vision_config": VISION, "tie_word_embeddings": True},
    "experts": {"model_type": "qwen3_5_moe", "text_config": EXPERTS, "vision_config": VISION},
    "default tower": {"model_type": "qwen3_5", "text_config": TEXT, "vision_config": {}},
}


def whole_parameters(config: dict[str, Any]) -> int:
    settled = CONFIG_MAPPING[config["model_type"]].from_dict({k: v for k, v in config.items() if k != "model_type"})
    with torch.device("meta"):
        return sum(p.numel() for p in AutoModelForMultimodalLM.from_config(settled).parameters())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_parameters(config: dict[str, Any]) -> None:
    model = model_from_config(config, name="qwen")
    assert model.parameters == whole_parameters(config)
    assert model.images is not None
    assert model.images.passes(512, 512).prompt_tokens > 0


def test_outputs_of_inner_layers_are_refused() -> None:
    """Keys of Qwen3-VL's tower that this one does not have."""
    with pytest.raises(SpecError) as caught:
        model_from_config({**CONFIGS["dense"], "vision_config": {**VISION, "deepstack_visual_indexes": [1]}}, name="qwen")
    assert caught.value.field == "deepstack_visual_indexes"
