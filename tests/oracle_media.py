"""What transformers says of multimodal models: parameters of each part on the meta device, FLOPs of towers on tiny models.

Configurations are tiny and uneven: no value is a default. Towers run on the CPU in eager mode under `FlopCounterMode`, which
counts convolutions and matrix products; a convolution that works on each channel by itself is counted too.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoModelForMultimodalLM, Qwen3OmniMoeThinkerForConditionalGeneration
from transformers import logging as transformers_logging

transformers_logging.set_verbosity_error()
Config = dict[str, Any]
LLAMA = {
    "model_type": "llama", "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 150, "max_position_embeddings": 512,
}  # fmt: skip
QWEN = {
    "hidden_size": 48, "intermediate_size": 88, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 151, "max_position_embeddings": 512,
}  # fmt: skip
MROPE = {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}
CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3,
    "num_attention_heads": 5, "image_size": 30, "patch_size": 6, "projection_dim": 16,
}  # fmt: skip
SIGLIP = {**CLIP, "model_type": "siglip_vision_model", "vision_use_head": False, "image_size": 24}
SIGLIP.pop("projection_dim")
PIXTRAL = {
    "model_type": "pixtral", "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 5,
    "image_size": 60, "patch_size": 5, "head_dim": 8,
}  # fmt: skip
EXPERTS = {"moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 2, "head_dim": 12}
QWEN3_TOWER = {
    "depth": 4, "hidden_size": 48, "intermediate_size": 56, "num_heads": 4, "patch_size": 6, "spatial_merge_size": 2,
    "temporal_patch_size": 2, "out_hidden_size": 48, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 2],
}  # fmt: skip
TINY: dict[str, Config] = {
    "llava": {"text_config": LLAMA, "vision_config": CLIP},
    "llava_two_layers": {
        "text_config": LLAMA, "vision_config": CLIP, "vision_feature_layer": [-2, -1], "multimodal_projector_bias": False,
        "vision_feature_select_strategy": "full", "tie_word_embeddings": True,
    },
    "llava_pixtral": {
        "text_config": LLAMA, "vision_config": PIXTRAL, "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
    },
    "llava_next": {
        "text_config": LLAMA, "vision_config": CLIP, "image_grid_pinpoints": [[30, 60], [60, 30], [60, 60], [90, 30]],
    },
    "llava_onevision": {
        "text_config": {**QWEN, "model_type": "qwen2"}, "vision_config": SIGLIP, "vision_aspect_ratio": "anyres_max_4",
        "image_grid_pinpoints": [[24, 48], [48, 48], [72, 72]],
    },
    "mistral3": {
        "text_config": {**LLAMA, "model_type": "mistral", "sliding_window": None}, "vision_config": PIXTRAL,
        "spatial_merge_size": 3, "tie_word_embeddings": False,
    },
    "paligemma": {
        "text_config": {**LLAMA, "model_type": "gemma", "head_dim": 12}, "vision_config": SIGLIP, "projection_dim": 48,
    },
    "gemma3": {
        "text_config": {**LLAMA, "model_type": "gemma3_text", "head_dim": 12, "sliding_window": 8},
        "vision_config": SIGLIP, "mm_tokens_per_image": 4,
    },
    "internvl": {
        "text_config": {**QWEN, "model_type": "qwen2"}, "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "internvl_vision", "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3,
            "num_attention_heads": 5, "image_size": [24, 24], "patch_size": [6, 6], "use_qk_norm": True,
            "norm_type": "rms_norm", "attention_bias": True, "use_mask_token": True,
        },
    },
    "llama4": {
        "text_config": {
            **LLAMA, "model_type": "llama4_text", "head_dim": 12, "intermediate_size_mlp": 60, "num_local_experts": 3,
            "num_experts_per_tok": 1, "attention_chunk_size": 16, "interleave_moe_layer_step": 2,
        },
        "vision_config": {
            "model_type": "llama4_vision_model", "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 2, "image_size": 24, "patch_size": 6, "projector_input_dim": 28,
            "projector_output_dim": 28, "vision_output_dim": 28, "pixel_shuffle_ratio": 0.5,
        },
    },
    "mllama": {
        "text_config": {
            **LLAMA, "model_type": "mllama_text_model", "num_hidden_layers": 5, "cross_attention_layers": [1, 3],
            "pad_token_id": 0,
        },
        "vision_config": {
            "model_type": "mllama_vision_model", "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 4,
            "num_global_layers": 2, "attention_heads": 5, "image_size": 24, "patch_size": 6, "max_num_tiles": 3,
            "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [2, 1], [3, 1]], "intermediate_layers_indices": [0, 2],
            "vision_output_dim": 120,
        },
    },
    "idefics3": {
        "text_config": LLAMA, "scale_factor": 2,
        "vision_config": {**SIGLIP, "model_type": "idefics3_vision"},
    },
    "smolvlm": {
        "text_config": LLAMA, "scale_factor": 4,
        "vision_config": {**SIGLIP, "model_type": "smolvlm_vision"},
    },
    "qwen2_vl": {
        "text_config": {**QWEN, "rope_parameters": MROPE},
        "vision_config": {"depth": 3, "embed_dim": 48, "hidden_size": 48, "num_heads": 4, "mlp_ratio": 3, "patch_size": 6},
    },
    "qwen2_5_vl": {
        "text_config": {**QWEN, "rope_parameters": MROPE}, "tie_word_embeddings": True,
        "vision_config": {
            "depth": 4, "hidden_size": 48, "intermediate_size": 54, "num_heads": 4, "patch_size": 6, "window_size": 48,
            "out_hidden_size": 48, "fullatt_block_indexes": [1, 3],
        },
    },
    "qwen3_vl": {"text_config": {**QWEN, "head_dim": 12, "rope_parameters": MROPE}, "vision_config": QWEN3_TOWER},
    "qwen3_vl_moe": {
        "text_config": {**QWEN, **EXPERTS, "rope_parameters": MROPE}, "vision_config": QWEN3_TOWER,
        "tie_word_embeddings": False,
    },
    "qwen2_audio": {
        "text_config": {**QWEN, "model_type": "qwen2"},
        "audio_config": {
            "model_type": "qwen2_audio_encoder", "num_mel_bins": 10, "encoder_layers": 3, "encoder_attention_heads": 5,
            "encoder_ffn_dim": 72, "d_model": 40, "max_source_positions": 26,
        },
    },
    "qwen3_omni_moe_thinker": {
        "text_config": {**QWEN, **EXPERTS, "rope_parameters": MROPE}, "vision_config": QWEN3_TOWER,
        "audio_config": {
            "num_mel_bins": 20, "encoder_layers": 3, "encoder_attention_heads": 5, "encoder_ffn_dim": 72, "d_model": 40,
            "max_source_positions": 60, "n_window": 50, "n_window_infer": 200, "output_dim": 48, "downsample_hidden_size": 6,
        },
    },
    "phi4_multimodal": {
        **QWEN, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": [2],
        "vision_config": {
            "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 5, "image_size": 24,
            "patch_size": 3, "crop_size": 24,
        },
        "audio_config": {
            "hidden_size": 40, "intermediate_size": 56, "num_blocks": 2, "num_attention_heads": 5, "input_size": 20,
            "ext_pw_out_channel": 40, "depthwise_separable_out_channel": 40, "nemo_conv_channels": 6, "kernel_size": 5,
            "bias_max_distance": 30, "time_reduction": 4,
        },
    },
    "blip-2": {
        "text_config": {
            "model_type": "opt", "hidden_size": 48, "ffn_dim": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
            "vocab_size": 150, "max_position_embeddings": 64, "word_embed_proj_dim": 48,
        },
        "vision_config": {
            "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 5, "image_size": 24,
            "patch_size": 6,
        },
        "qformer_config": {
            "hidden_size": 36, "intermediate_size": 60, "num_hidden_layers": 5, "num_attention_heads": 4,
            "cross_attention_frequency": 2, "encoder_hidden_size": 40,
        },
        "num_query_tokens": 7,
    },
}  # fmt: skip
TYPES = {"llava_two_layers": "llava", "llava_pixtral": "llava"}


def config_of(name: str) -> Config:
    """A tiny configuration, as its file would say it."""
    return {"model_type": TYPES.get(name, name), **TINY[name]}


def build(config: Config, device: str) -> Any:
    """The model of a configuration in eager mode, on the meta device or the CPU."""
    settled = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    with torch.device(device):
        if config["model_type"] == "qwen3_omni_moe_thinker":
            model = Qwen3OmniMoeThinkerForConditionalGeneration._from_config(settled, attn_implementation="eager")
        else:
            model = AutoModelForMultimodalLM.from_config(settled, attn_implementation="eager")
    return model.eval()


def is_text(name: str) -> bool:
    """Whether a parameter belongs to the text part."""
    parts = ("language_model", "text_model", "lm_head")
    own = ("model.layers.", "model.embed_tokens.", "model.norm.")
    return any(part in name for part in parts) or name.startswith(own)


def parameters(config: Config) -> tuple[int, int]:
    """(all parameters, tied ones once; those outside of the text part)."""
    model = build(config, "meta")
    named = list(model.named_parameters())
    return sum(p.numel() for _, p in named), sum(p.numel() for name, p in named if not is_text(name))


@cache
def tiny(name: str) -> Any:
    """A tiny model on the CPU, with values."""
    torch.manual_seed(0)
    return build(config_of(name), "cpu")


def counted(run: Callable[[], Any]) -> int:
    """FLOPs of what runs."""
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops()
