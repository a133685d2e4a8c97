"""What Hugging Face transformers itself says about a model: parameters, matmul FLOPs and KV cache bytes.

Tests hold GenZ's formulas against these figures, so nothing here may import genz.

Where each figure comes from:

* `parameter_count` and `matmul_flops` build the model on torch's meta device, so full size configs work as well as
  the tiny ones in `TINY`; no weights are allocated and nothing is computed but shapes.
* `cache_bytes` and `mla_latent_bytes` really run a small model on the CPU; give them tiny configs only.

What `matmul_flops` counts (2 FLOPs per multiply-add; mm, addmm, bmm and baddbmm only):

* every linear layer (gpt2's Conv1D too) on every new token. Biases, norms, activations, softmax, embeddings look-ups
  and position embeddings are free. The output head is counted on one token per sequence (`logits_to_keep=1`), tied or
  not, and with opt's `project_out` on all tokens.
* the router of an MoE layer, and qwen2_moe's 1-wide `shared_expert_gate`, on all tokens.
* experts by their routed rows, tokens x num_experts_per_tok, but llama4_text runs EVERY expert on EVERY token
  (`COUNTS_ALL_EXPERTS`); `routed_flops` gives the figure cut down to its top k.
* attention scores and values as full rectangles, new_tokens x keys, with no saving for causality. `keys` is
  context + new_tokens for a full layer; for a sliding (window w) or llama4 chunked (chunk w) layer it is
  min(context, w - 1) + new_tokens, for the layer's cache keeps w - 1 tokens and the new ones all stand beside them
  (in a prefill also those beyond the window). `key_lengths` tells them by layer.
* of deepseek's MLA the expanded form: the cache holds latents, so `kv_b_proj` runs on context + new_tokens at each
  step, with attention over heads of qk_nope + qk_rope and v_head_dim.
* rotary embeddings are taken out by module name (in transformers 5.23 they are elementwise: nothing to take out).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import get_layer_types_and_kwargs

Config = dict[str, Any]

MODEL_TYPES: tuple[str, ...] = (
    "gpt2",
    "opt",
    "bloom",
    "gptj",
    "gpt_neox",
    "falcon",
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "gemma2",
    "gemma3_text",
    "phi3",
    "deepseek_v2",
    "deepseek_v3",
    "gpt_oss",
    "llama4_text",
)

MLA_TYPES: frozenset[str] = frozenset({"deepseek_v2", "deepseek_v3"})

COUNTS_ALL_EXPERTS: dict[str, bool] = {
    "mixtral": False,
    "qwen2_moe": False,
    "qwen3_moe": False,
    "deepseek_v2": False,
    "deepseek_v3": False,
    "gpt_oss": False,
    "llama4_text": True,
}
"""MoE types -> whether `matmul_flops` counts all experts on all tokens, rather than the routed rows only."""

INCOMPLETE_DEFAULTS: frozenset[str] = frozenset({"deepseek_v2"})
"""Types whose default config can be built but not run (deepseek_v2 has num_experts_per_tok None)."""

_IMPLEMENTATIONS = {"attn_implementation": "eager", "experts_implementation": "batched_mm"}
_ATTENTION_MODULES = frozenset({"attn", "self_attn", "self_attention", "attention"})
_ROUTER_MODULES = frozenset({"gate", "router", "shared_expert_gate"})
_DATA_DEPENDENT_ROPE = frozenset({"dynamic", "longrope", "su"})

_GPT2: Config = {
    "model_type": "gpt2",
    "vocab_size": 97,
    "n_positions": 128,
    "n_embd": 36,
    "n_head": 3,
    "n_layer": 3,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

_OPT: Config = {
    "model_type": "opt",
    "vocab_size": 101,
    "hidden_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 5,
    "ffn_dim": 72,
    "max_position_embeddings": 128,
}

_BLOOM: Config = {"model_type": "bloom", "vocab_size": 89, "hidden_size": 40, "n_layer": 3, "n_head": 5}

_GPTJ: Config = {
    "model_type": "gptj",
    "vocab_size": 91,
    "n_positions": 128,
    "n_embd": 48,
    "n_layer": 3,
    "n_head": 4,
    "rotary_dim": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

_NEOX: Config = {
    "model_type": "gpt_neox",
    "vocab_size": 93,
    "hidden_size": 48,
    "intermediate_size": 77,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}

_FALCON: Config = {
    "model_type": "falcon",
    "vocab_size": 103,
    "hidden_size": 60,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 128,
}

_LLAMA: Config = {
    "model_type": "llama",
    "vocab_size": 107,
    "hidden_size": 48,
    "intermediate_size": 83,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 128,
}

_MISTRAL: Config = {
    "model_type": "mistral",
    "vocab_size": 109,
    "hidden_size": 44,
    "intermediate_size": 79,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 14,
    "sliding_window": 8,
}

_MIXTRAL: Config = {
    "model_type": "mixtral",
    "vocab_size": 113,
    "hidden_size": 40,
    "intermediate_size": 51,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
}

_QWEN2: Config = {
    "model_type": "qwen2",
    "vocab_size": 127,
    "hidden_size": 56,
    "intermediate_size": 93,
    "num_hidden_layers": 5,
    "num_attention_heads": 7,
    "num_key_value_heads": 1,
}

_QWEN2_MOE: Config = {
    "model_type": "qwen2_moe",
    "vocab_size": 131,
    "hidden_size": 48,
    "intermediate_size": 85,
    "moe_intermediate_size": 19,
    "shared_expert_intermediate_size": 37,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "num_experts": 7,
    "num_experts_per_tok": 3,
}

_QWEN3: Config = {
    "model_type": "qwen3",
    "vocab_size": 137,
    "hidden_size": 50,
    "intermediate_size": 87,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 14,
}

_QWEN3_MOE: Config = {
    "model_type": "qwen3_moe",
    "vocab_size": 139,
    "hidden_size": 50,
    "intermediate_size": 71,
    "moe_intermediate_size": 23,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "num_experts": 9,
    "num_experts_per_tok": 4,
}

_GEMMA2: Config = {
    "model_type": "gemma2",
    "vocab_size": 149,
    "hidden_size": 42,
    "intermediate_size": 77,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "head_dim": 12,
    "sliding_window": 8,
}

_GEMMA3: Config = {
    "model_type": "gemma3_text",
    "vocab_size": 151,
    "hidden_size": 42,
    "intermediate_size": 67,
    "num_hidden_layers": 7,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "sliding_window": 8,
}

_PHI3: Config = {
    "model_type": "phi3",
    "vocab_size": 157,
    "hidden_size": 48,
    "intermediate_size": 91,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "eos_token_id": 0,
    "pad_token_id": 0,
}

_DEEPSEEK_V2: Config = {
    "model_type": "deepseek_v2",
    "vocab_size": 163,
    "hidden_size": 45,
    "intermediate_size": 81,
    "moe_intermediate_size": 21,
    "num_hidden_layers": 4,
    "num_attention_heads": 5,
    "num_key_value_heads": 5,
    "kv_lora_rank": 26,
    "q_lora_rank": 33,
    "qk_nope_head_dim": 14,
    "qk_rope_head_dim": 6,
    "v_head_dim": 11,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
}

_DEEPSEEK_V3: Config = {
    **_DEEPSEEK_V2,
    "model_type": "deepseek_v3",
    "vocab_size": 167,
    "hidden_size": 47,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 2,
}

_GPT_OSS: Config = {
    "model_type": "gpt_oss",
    "vocab_size": 173,
    "hidden_size": 46,
    "intermediate_size": 29,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "num_local_experts": 7,
    "num_experts_per_tok": 3,
    "sliding_window": 8,
}

_LLAMA4: Config = {
    "model_type": "llama4_text",
    "vocab_size": 179,
    "hidden_size": 46,
    "intermediate_size": 31,
    "intermediate_size_mlp": 59,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "attention_chunk_size": 8,
    "max_position_embeddings": 256,
}

TINY: dict[str, Config] = {
    "gpt2-inner": {**_GPT2, "n_inner": 50},
    "gpt2-untied": {**_GPT2, "tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True},
    "gpt2-upcast": {**_GPT2, "n_head": 4, "n_layer": 2, "reorder_and_upcast_attn": True},
    "gpt2-common-names": {
        "model_type": "gpt2",
        "vocab_size": 97,
        "max_position_embeddings": 64,
        "hidden_size": 30,
        "num_attention_heads": 5,
        "num_hidden_layers": 2,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "opt-pre-norm": _OPT,
    "opt-350m-style": {**_OPT, "word_embed_proj_dim": 24, "do_layer_norm_before": False},
    "opt-wide-untied": {
        **_OPT,
        "word_embed_proj_dim": 52,
        "enable_bias": False,
        "layer_norm_elementwise_affine": False,
        "tie_word_embeddings": False,
    },
    "opt-no-final-norm": {**_OPT, "_remove_final_layer_norm": True},
    "bloom": _BLOOM,
    "gptj": _GPTJ,
    "gptj-inner": {**_GPTJ, "n_inner": 71},
    "gpt_neox": _NEOX,
    "gpt_neox-serial": {**_NEOX, "use_parallel_residual": False, "tie_word_embeddings": True},
    "gpt_neox-no-bias": {**_NEOX, "attention_bias": False},
    "falcon-7b-style": {**_FALCON, "hidden_size": 50, "num_attention_heads": 5, "multi_query": True},
    "falcon-40b-style": {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon-11b-style": {
        **_FALCON,
        "new_decoder_architecture": True,
        "num_kv_heads": 3,
        "num_ln_in_parallel_attn": 1,
        "ffn_hidden_size": 101,
        "tie_word_embeddings": False,
    },
    "falcon-rw-style": {**_FALCON, "alibi": True, "bias": True, "multi_query": False, "parallel_attn": False},
    "falcon-alibi-multi-query": {**_FALCON, "alibi": True, "bias": True, "multi_query": True},
    "falcon-serial-multi-query": {**_FALCON, "bias": True, "parallel_attn": False, "ffn_hidden_size": 99},
    "falcon-parallel-multi-head": {**_FALCON, "multi_query": False},
    "llama-multi-head": {**_LLAMA, "rope_theta": 10000.0, "torch_dtype": "float16"},
    "llama-biased": {
        **_LLAMA,
        "num_key_value_heads": 2,
        "head_dim": 10,
        "attention_bias": True,
        "mlp_bias": True,
    },
    "llama-3.2-style": {
        **_LLAMA,
        "num_key_value_heads": 3,
        "head_dim": 12,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "llama-multi-query": {**_LLAMA, "num_key_value_heads": 1, "dtype": "bfloat16"},
    "llama-rope-parameters": {
        **_LLAMA,
        "num_key_value_heads": 2,
        "dtype": "bfloat16",
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
    },
    "mistral-sliding": _MISTRAL,
    "mistral-full": {**_MISTRAL, "sliding_window": None, "tie_word_embeddings": True},
    "mixtral": _MIXTRAL,
    "mixtral-sliding": {**_MIXTRAL, "sliding_window": 8, "head_dim": 14, "num_experts_per_tok": 3},
    "qwen2": {**_QWEN2, "tie_word_embeddings": True},
    "qwen2-sliding": {**_QWEN2, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    "qwen2-unused-window": {**_QWEN2, "use_sliding_window": False, "sliding_window": 8, "max_window_layers": 2},
    "qwen2-head-dim": {**_QWEN2, "head_dim": 10},
    "qwen2-layer-types": {
        **_QWEN2,
        "num_hidden_layers": 3,
        "use_sliding_window": True,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "qwen2_moe": _QWEN2_MOE,
    "qwen2_moe-sparse-step": {**_QWEN2_MOE, "num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    "qwen2_moe-no-bias": {**_QWEN2_MOE, "qkv_bias": False, "mlp_only_layers": [0], "tie_word_embeddings": True},
    "qwen2_moe-sliding": {
        **_QWEN2_MOE,
        "use_sliding_window": True,
        "sliding_window": 8,
        "max_window_layers": 3,
        "norm_topk_prob": True,
    },
    "qwen3": {**_QWEN3, "tie_word_embeddings": True},
    "qwen3-sliding": {
        **_QWEN3,
        "attention_bias": True,
        "use_sliding_window": True,
        "sliding_window": 8,
        "max_window_layers": 1,
    },
    "qwen3_moe": {**_QWEN3_MOE, "norm_topk_prob": True},
    "qwen3_moe-sparse-step": {
        **_QWEN3_MOE,
        "attention_bias": True,
        "decoder_sparse_step": 2,
        "mlp_only_layers": [1],
        "tie_word_embeddings": True,
    },
    "qwen3_moe-sliding": {**_QWEN3_MOE, "use_sliding_window": True, "sliding_window": 8},
    "qwen3_moe-local-experts": {
        **{key: value for key, value in _QWEN3_MOE.items() if key != "num_experts"},
        "num_local_experts": 6,
        "mlp_only_layers": [0],
    },
    "gemma2": _GEMMA2,
    "gemma2-untied": {
        **_GEMMA2,
        "attention_bias": True,
        "tie_word_embeddings": False,
        "layer_types": ["full_attention", *["sliding_attention"] * 3, "full_attention"],
    },
    "gemma3_text": _GEMMA3,
    "gemma3_text-pattern": {**_GEMMA3, "sliding_window_pattern": 3, "attention_bias": True},
    "gemma3_text-layer-types": {
        **_GEMMA3,
        "num_hidden_layers": 3,
        "num_key_value_heads": 1,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "tie_word_embeddings": False,
    },
    "phi3": _PHI3,
    "phi3-sliding": {**_PHI3, "sliding_window": 8, "tie_word_embeddings": True, "partial_rotary_factor": 0.5},
    "phi3-head-dim": {**_PHI3, "head_dim": 14, "num_key_value_heads": 1},
    "phi3-longrope": {
        **_PHI3,
        "max_position_embeddings": 256,
        "original_max_position_embeddings": 64,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4},
    },
    "deepseek_v2": _DEEPSEEK_V2,
    "deepseek_v2-lite-style": {**_DEEPSEEK_V2, "q_lora_rank": None, "attention_bias": True, "mlp_bias": True},
    "deepseek_v2-grouped": {
        **_DEEPSEEK_V2,
        "topk_method": "group_limited_greedy",
        "n_group": 3,
        "topk_group": 2,
        "first_k_dense_replace": 0,
        "tie_word_embeddings": True,
    },
    "deepseek_v3": _DEEPSEEK_V3,
    "deepseek_v3-no-q-lora": {**_DEEPSEEK_V3, "q_lora_rank": None, "attention_bias": True, "n_shared_experts": 2},
    "deepseek_v3-all-dense": {**_DEEPSEEK_V3, "first_k_dense_replace": 9, "tie_word_embeddings": True},
    "gpt_oss": _GPT_OSS,
    "gpt_oss-no-bias": {
        **_GPT_OSS,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "layer_types": ["full_attention", "full_attention", "sliding_attention", "full_attention"],
    },
    "llama4_text-scout-style": _LLAMA4,
    "llama4_text-maverick-style": {**_LLAMA4, "interleave_moe_layer_step": 2, "use_qk_norm": False},
    "llama4_text-all-dense": {**_LLAMA4, "moe_layers": [], "layer_types": ["full_attention"] * 5},
    "llama4_text-moe-layers": {
        **_LLAMA4,
        "moe_layers": [1, 2],
        "num_experts_per_tok": 2,
        "no_rope_layers": [1, 0, 1, 1, 0],
        "attention_bias": True,
        "tie_word_embeddings": True,
    },
}
"""Name -> a tiny config as it would stand in a config.json, each name beginning with its model_type."""


def default_config(model_type: str) -> Config:
    """Transformers' whole default config of this type, as a config.json dict."""
    return AutoConfig.for_model(model_type).to_dict()


def parameter_count(config: Config) -> int:
    """Parameters of the causal language model, tied weights once, buffers not counted."""
    return sum(parameter.numel() for parameter in _meta_model(_key(config)).parameters())


def parameters_by_name(config: Config) -> dict[str, int]:
    """The same by parameter name, for debugging."""
    return {name: parameter.numel() for name, parameter in _meta_model(_key(config)).named_parameters()}


def matmul_flops(config: Config, batch: int, new_tokens: int, context: int = 0) -> int:
    """Matmul FLOPs of one forward pass of `new_tokens` per sequence upon `context` cached ones.

    The module's docstring says what is counted.
    """
    return sum(flops_by_module(config, batch, new_tokens, context).values())


def routed_flops(config: Config, batch: int, new_tokens: int, context: int = 0) -> int:
    """`matmul_flops`, with the experts counted on num_experts_per_tok of them in every type (see llama4_text)."""
    flops = flops_by_kind(config, batch, new_tokens, context)
    if COUNTS_ALL_EXPERTS.get(config["model_type"], False):
        hf_config = _hf_config(config)
        flops["experts"] = flops["experts"] * hf_config.num_experts_per_tok // hf_config.num_local_experts
    return sum(flops.values())


def flops_by_kind(config: Config, batch: int, new_tokens: int, context: int = 0) -> dict[str, int]:
    """`matmul_flops` by kind.

    The kinds: attention (scores and values), expansion (MLA's kv_b_proj), experts (routed ones), router (with
    qwen2_moe's shared expert gate), head (the output head), linear (all else, shared experts among them).
    """
    kinds = dict.fromkeys(("attention", "expansion", "experts", "router", "head", "linear"), 0)
    for name, flops in flops_by_module(config, batch, new_tokens, context).items():
        kinds[_kind(name)] += flops
    return kinds


def flops_by_module(config: Config, batch: int, new_tokens: int, context: int = 0) -> dict[str, int]:
    """`matmul_flops` by the module that does the matmuls itself: its submodules' FLOPs are not in its own."""
    return dict(_counted_flops(_key(config), batch, new_tokens, context))


def key_lengths(config: Config, new_tokens: int, context: int = 0) -> list[int]:
    """By layer, how many keys each new token's row of scores is counted against."""
    model = _meta_model(_key(config))
    past = _filled_cache(model, 1, context)
    return [past.get_mask_sizes(new_tokens, layer)[0] for layer in range(model.config.num_hidden_layers)]


def layer_windows(config: Config) -> list[int | None]:
    """By layer, the sliding window or attention chunk that transformers' cache honours; None for a full layer."""
    _, layer_kwargs = get_layer_types_and_kwargs(_hf_config(config))
    return [kwargs.get("sliding_window") for kwargs in layer_kwargs]


def cache_bytes(config: Config, batch: int, tokens: int, dtype: str = "bfloat16") -> int:
    """Bytes of the keys and values that transformers' cache really holds after `tokens` tokens per sequence.

    A tiny model runs on the CPU: a prefill of all tokens but the last, then one decode step. Sliding layers of window
    w (llama4's chunked ones too) hold min(tokens, w - 1) tokens, for the current one always comes with its own key.
    Falcon's new_decoder_architecture holds keys and values broadcast to all num_attention_heads, not num_kv_heads.
    MLA types hold the latents, kv_lora_rank + qk_rope_head_dim a token and layer.
    """
    past: Any = _run_on_cpu(_cpu_model(config, dtype), batch, tokens)
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in past.layers)


def mla_latent_bytes(config: Config, batch: int, tokens: int, dtype: str = "bfloat16") -> int:
    """Bytes of the compressed tensors of MLA: all that its `kv_a_proj_with_mqa` layers put out for these tokens."""
    if config["model_type"] not in MLA_TYPES:
        raise ValueError(f"{config['model_type']} has no latent attention")
    model = _cpu_model(config, dtype)
    with _collected_bytes(model, "kv_a_proj_with_mqa") as sizes:
        _run_on_cpu(model, batch, tokens)
    return sum(sizes)


def _key(config: Config) -> str:
    return json.dumps(config, sort_keys=True)


def _hf_config(config: Config) -> Any:
    return CONFIG_MAPPING[config["model_type"]].from_dict(deepcopy(config))


def _without_data_dependent_rope(config: Any) -> Any:
    """Put the default rotary embedding, as wide, where the kind asks for the positions' values (none on meta)."""
    rope = getattr(config, "rope_parameters", None)
    if isinstance(rope, dict) and rope.get("rope_type") in _DATA_DEPENDENT_ROPE:
        kept = ("rope_theta", "partial_rotary_factor")
        config.rope_parameters = {"rope_type": "default", **{key: rope[key] for key in kept if key in rope}}
    return config


@lru_cache(maxsize=128)
def _meta_model(key: str) -> Any:
    """The model without storage, with eager attention and batched_mm experts, from a config's JSON."""
    config = _without_data_dependent_rope(_hf_config(json.loads(key)))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **_IMPLEMENTATIONS)
    return model.eval()


def _forward(model: Any, batch: int, new_tokens: int, past: DynamicCache) -> None:
    """One pass on the meta device over `new_tokens`, which `past` takes up.

    The explicit mask broadcasts over queries and keys, so it fits full and sliding layers alike. BLOOM, and Falcon
    with alibi, need to make their own, out of the mask's shape; BLOOM takes no positions.
    """
    seen = past.get_seq_length()
    is_bloom = model.config.model_type == "bloom"
    needs_own_mask = is_bloom or getattr(model.config, "alibi", False)
    with torch.no_grad(), torch.device("meta"):
        positions = {} if is_bloom else {"position_ids": torch.arange(seen, seen + new_tokens).expand(batch, -1)}
        model(
            input_ids=torch.zeros(batch, new_tokens, dtype=torch.long),
            **positions,
            attention_mask=None if needs_own_mask else torch.zeros(batch, 1, 1, 1),
            past_key_values=past,
            use_cache=True,
            logits_to_keep=1,
        )


def _filled_cache(model: Any, batch: int, context: int) -> DynamicCache:
    past = DynamicCache(config=model.config)
    if context:
        _forward(model, batch, context, past)
    return past


@cache
def _counted_flops(key: str, batch: int, new_tokens: int, context: int) -> tuple[tuple[str, int], ...]:
    """Pairs of module name and own FLOPs, rotary embeddings left out."""
    model = _meta_model(key)
    past = _filled_cache(model, batch, context)
    counter = FlopCounterMode(display=False)
    with counter:
        _forward(model, batch, new_tokens, past)
    own = _own_flops({name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()})
    return tuple((name, flops) for name, flops in own.items() if flops and "rotary_emb" not in name)


def _own_flops(totals: dict[str, int]) -> dict[str, int]:
    """Take each module's total off its parent's."""
    own = dict(totals)
    for name, flops in totals.items():
        if name != "Global":
            own[_parent(name, totals)] -= flops
    return own


def _parent(name: str, totals: dict[str, int]) -> str:
    """The nearest enclosing module that ran: a ModuleList between has no forward pass of its own."""
    while "." in name:
        name = name.rpartition(".")[0]
        if name in totals:
            return name
    return "Global"


def _kind(module: str) -> str:
    leaf = module.rpartition(".")[2]
    if leaf in _ATTENTION_MODULES:
        return "attention"
    if leaf in _ROUTER_MODULES:
        return "router"
    return {"kv_b_proj": "expansion", "experts": "experts", "lm_head": "head", "embed_out": "head"}.get(leaf, "linear")


def _cpu_model(config: Config, dtype: str) -> Any:
    model = AutoModelForCausalLM.from_config(_hf_config(config), dtype=getattr(torch, dtype), **_IMPLEMENTATIONS)
    return model.eval()


def _run_on_cpu(model: Any, batch: int, tokens: int) -> DynamicCache:
    """Prefill all tokens but the last, decode that one, and hand back the cache."""
    past = DynamicCache(config=model.config)
    for step in (tokens - 1, 1):
        if step:
            input_ids = torch.randint(model.config.vocab_size, (batch, step))
            with torch.no_grad():
                model(input_ids=input_ids, past_key_values=past, use_cache=True, logits_to_keep=1)
    return past


@contextmanager
def _collected_bytes(model: Any, module_name: str) -> Iterator[list[int]]:
    """A list that fills with the byte sizes of all that the modules of this name put out."""
    sizes: list[int] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.nbytes))
        for name, module in model.named_modules()
        if name.rpartition(".")[2] == module_name
    ]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
