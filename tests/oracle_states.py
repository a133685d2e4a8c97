"""What transformers says of models with a state: parameters, matmul FLOPs by module, and the bytes of their real caches.

Beside `oracle.py`, and as there nothing may import genz. Where each figure comes from:

* parameters and FLOPs: the model on torch's meta device, `FlopCounterMode` by module. It counts matrix products alone
  (mm, addmm, bmm, baddbmm) and, here, convolutions not at all: they are taken out by their operator's name.
* `state_bytes` runs a tiny model on the CPU in bfloat16 and adds up the tensors of its cache, by kind.

Transformers' own storage differs from that of serving engines in this: a convolution keeps `kernel` tokens, not
`kernel - 1` (RecurrentGemma alone keeps `kernel - 1`), and BF16 models' recurrent states are fp32 except those of lightning
attention, which are bfloat16 as activations are.
"""

import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, DynamicCache

Config = dict[str, Any]

MAMBA: Config = {
    "model_type": "mamba",
    "vocab_size": 97,
    "hidden_size": 40,
    "state_size": 6,
    "num_hidden_layers": 3,
    "expand": 3,
    "conv_kernel": 5,
    "time_step_rank": 7,
}
MAMBA2: Config = {
    "model_type": "mamba2",
    "vocab_size": 101,
    "hidden_size": 48,
    "num_heads": 6,
    "head_dim": 16,
    "state_size": 10,
    "n_groups": 3,
    "num_hidden_layers": 3,
    "expand": 2,
    "conv_kernel": 3,
    "chunk_size": 8,
}
JAMBA: Config = {
    "model_type": "jamba",
    "vocab_size": 103,
    "hidden_size": 36,
    "intermediate_size": 53,
    "num_hidden_layers": 7,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "attn_layer_period": 3,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "mamba_d_state": 6,
    "mamba_d_conv": 3,
    "mamba_dt_rank": 5,
}
BAMBA: Config = {
    "model_type": "bamba",
    "vocab_size": 107,
    "hidden_size": 48,
    "intermediate_size": 71,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "attn_layer_indices": [2],
    "mamba_n_heads": 12,
    "mamba_n_groups": 3,
    "mamba_d_state": 10,
    "mamba_chunk_size": 8,
}
GRANITE: Config = {
    "model_type": "granitemoehybrid",
    "vocab_size": 109,
    "hidden_size": 48,
    "intermediate_size": 19,
    "shared_intermediate_size": 37,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_local_experts": 6,
    "num_experts_per_tok": 3,
    "layer_types": ["mamba", "attention", "mamba", "mamba"],
    "mamba_n_heads": 8,
    "mamba_d_state": 10,
    "mamba_chunk_size": 8,
}
FALCON_H1: Config = {
    "model_type": "falcon_h1",
    "vocab_size": 113,
    "hidden_size": 48,
    "intermediate_size": 59,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "mamba_d_ssm": 60,
    "mamba_n_heads": 6,
    "mamba_n_groups": 2,
    "mamba_d_state": 10,
    "mamba_chunk_size": 8,
}
NEMOTRON: Config = {
    "model_type": "nemotron_h",
    "vocab_size": 127,
    "hidden_size": 48,
    "intermediate_size": 67,
    "num_hidden_layers": 6,
    "hybrid_override_pattern": "M-M*M-",
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "mamba_num_heads": 8,
    "mamba_head_dim": 9,
    "ssm_state_size": 10,
    "n_groups": 2,
    "chunk_size": 8,
}
ZAMBA: Config = {
    "model_type": "zamba",
    "vocab_size": 131,
    "hidden_size": 40,
    "intermediate_size": 61,
    "num_hidden_layers": 9,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "attn_layer_period": 3,
    "attn_layer_offset": 1,
    "mamba_d_state": 6,
    "mamba_dt_rank": 5,
}
ZAMBA2: Config = {
    "model_type": "zamba2",
    "vocab_size": 137,
    "hidden_size": 40,
    "intermediate_size": 61,
    "num_hidden_layers": 7,
    "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid", "mamba", "hybrid", "mamba"],
    "num_attention_heads": 4,
    "num_mem_blocks": 2,
    "adapter_rank": 6,
    "mamba_d_state": 10,
    "mamba_ngroups": 2,
    "n_mamba_heads": 8,
    "chunk_size": 8,
}
QWEN3_NEXT: Config = {
    "model_type": "qwen3_next",
    "vocab_size": 139,
    "hidden_size": 48,
    "intermediate_size": 43,
    "moe_intermediate_size": 17,
    "shared_expert_intermediate_size": 29,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "linear_conv_kernel_dim": 3,
    "linear_key_head_dim": 12,
    "linear_value_head_dim": 10,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
    "num_experts": 7,
    "num_experts_per_tok": 3,
    "full_attention_interval": 3,
}
QWEN3_5: Config = {
    **{key: value for key, value in QWEN3_NEXT.items() if "expert" not in key and not key.startswith("moe")},
    "model_type": "qwen3_5_text",
}
QWEN3_5_MOE: Config = {**QWEN3_NEXT, "model_type": "qwen3_5_moe_text"}
KIMI: Config = {
    "model_type": "kimi_linear",
    "vocab_size": 149,
    "hidden_size": 44,
    "intermediate_size": 57,
    "moe_intermediate_size": 13,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 18,
    "qk_rope_head_dim": 6,
    "qk_nope_head_dim": 10,
    "v_head_dim": 12,
    "num_experts": 6,
    "num_experts_per_token": 2,
    "num_shared_experts": 2,
    "linear_attn_config": {
        "full_attn_layers": [3, 5],
        "kda_layers": [1, 2, 4],
        "head_dim": 14,
        "num_heads": 3,
        "short_conv_kernel_size": 3,
    },
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
MINIMAX: Config = {
    "model_type": "minimax",
    "vocab_size": 151,
    "hidden_size": 48,
    "intermediate_size": 31,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
    "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    "block_size": 8,
}
LFM2: Config = {
    "model_type": "lfm2",
    "vocab_size": 157,
    "hidden_size": 48,
    "intermediate_size": 91,
    "block_multiple_of": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "full_attn_idxs": [1],
}
LFM2_MOE: Config = {
    "model_type": "lfm2_moe",
    "vocab_size": 163,
    "hidden_size": 48,
    "intermediate_size": 59,
    "moe_intermediate_size": 17,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_dense_layers": 1,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "layer_types": ["conv", "full_attention", "conv", "conv"],
}
RECURRENT_GEMMA: Config = {
    "model_type": "recurrent_gemma",
    "vocab_size": 167,
    "hidden_size": 48,
    "intermediate_size": 74,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "attention_window_size": 8,
    "conv1d_width": 3,
}
RWKV: Config = {
    "model_type": "rwkv",
    "vocab_size": 173,
    "hidden_size": 40,
    "attention_hidden_size": 40,
    "intermediate_size": 91,
    "num_hidden_layers": 3,
    "context_length": 64,
}
XLSTM: Config = {
    "model_type": "xlstm",
    "vocab_size": 179,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_heads": 4,
    "chunk_size": 16,
    "ffn_round_up_to_multiple_of": 24,
}

TINY: dict[str, Config] = {
    "mamba": MAMBA,
    "mamba-biased": {**MAMBA, "use_bias": True, "use_conv_bias": False, "intermediate_size": 120, "tie_word_embeddings": False},
    "mamba-auto-rank": {key: value for key, value in MAMBA.items() if key != "time_step_rank"},
    "falcon_mamba": {**MAMBA, "model_type": "falcon_mamba", "tie_word_embeddings": False},
    "mamba2": MAMBA2,
    "mamba2-biased": {**MAMBA2, "use_bias": True, "use_conv_bias": False, "n_groups": 1, "tie_word_embeddings": True},
    "jamba": JAMBA,
    "jamba-dense": {**JAMBA, "num_experts": 1, "mamba_proj_bias": True, "mamba_conv_bias": False, "num_experts_per_tok": 1},
    "bamba": BAMBA,
    "bamba-biased": {
        **BAMBA,
        "attention_bias": True,
        "mlp_bias": True,
        "mamba_proj_bias": True,
        "mamba_conv_bias": False,
        "tie_word_embeddings": True,
    },
    "granitemoehybrid": GRANITE,
    "granitemoehybrid-dense": {**GRANITE, "num_local_experts": 0, "position_embedding_type": "rope", "attention_bias": True},
    "falcon_h1": FALCON_H1,
    "falcon_h1-biased": {
        **FALCON_H1,
        "mamba_rms_norm": True,
        "projectors_bias": True,
        "mamba_proj_bias": True,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 10,
        "tie_word_embeddings": True,
    },
    "nemotron_h": NEMOTRON,
    "nemotron_h-biased": {**NEMOTRON, "use_bias": True, "mlp_bias": True, "use_conv_bias": False},
    "nemotron_h-experts": {
        **NEMOTRON,
        "hybrid_override_pattern": "MEM*E",
        "num_hidden_layers": 5,
        "n_routed_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 21,
        "moe_shared_expert_intermediate_size": 25,
    },
    "nemotron_h-latent-experts": {
        **{key: value for key, value in NEMOTRON.items() if key not in ("hybrid_override_pattern", "num_hidden_layers")},
        "layers_block_type": ["mamba", "moe", "attention", "moe", "mlp"],
        "n_routed_experts": 6,
        "num_experts_per_tok": 3,
        "moe_latent_size": 18,
        "moe_intermediate_size": 21,
        "moe_shared_expert_intermediate_size": 25,
    },
    "zamba": ZAMBA,
    "zamba-biased": {**ZAMBA, "mamba_proj_bias": True, "mamba_conv_bias": False, "n_mamba_heads": 4},
    "zamba2": ZAMBA2,
    "zamba2-adapters": {**ZAMBA2, "use_shared_attention_adapter": True, "add_bias_linear": True, "use_mem_rope": True},
    "zamba2-one-block": {**ZAMBA2, "num_mem_blocks": 1, "num_key_value_heads": 2},
    "qwen3_next": QWEN3_NEXT,
    "qwen3_next-some-dense": {**QWEN3_NEXT, "attention_bias": True, "mlp_only_layers": [1], "tie_word_embeddings": True},
    "qwen3_5_text": QWEN3_5,
    "qwen3_5_moe_text": QWEN3_5_MOE,
    "kimi_linear": KIMI,
    "minimax": MINIMAX,
    "lfm2": LFM2,
    "lfm2-plain": {
        **LFM2,
        "block_auto_adjust_ff_dim": False,
        "conv_bias": True,
        "conv_L_cache": 4,
        "tie_word_embeddings": False,
    },
    "lfm2_moe": LFM2_MOE,
    "recurrent_gemma": RECURRENT_GEMMA,
    "recurrent_gemma-narrow": {
        **RECURRENT_GEMMA,
        "lru_width": 36,
        "attention_bias": True,
        "block_types": ["attention", "recurrent"],
    },
    "rwkv": RWKV,
    "xlstm": XLSTM,
    "xlstm-biased": {**XLSTM, "use_bias": True, "qk_dim_factor": 1.0, "v_dim_factor": 0.5},
}
"""Name -> a tiny config as it would stand in a config.json, each name beginning with its model_type."""

DEFAULT_TYPES = tuple(sorted({config["model_type"] for config in TINY.values()} - {"lfm2_moe"}))
"""Types whose default configuration can be built (that of lfm2_moe lacks its layer types)."""


def _key(config: Config) -> str:
    return json.dumps(config, sort_keys=True)


def default_config(model_type: str) -> Config:
    """Transformers' whole default config of this type, as a config.json dict."""
    return AutoConfig.for_model(model_type).to_dict()


def _hf_config(config: Config) -> Any:
    return CONFIG_MAPPING[config["model_type"]].from_dict(deepcopy(config))


@lru_cache(maxsize=128)
def _meta_model(key: str) -> Any:
    with torch.device("meta"):
        return _model(json.loads(key), torch.float32)


def _model(config: Config, dtype: torch.dtype) -> Any:
    implementations = {"attn_implementation": "eager", "experts_implementation": "batched_mm"}
    return AutoModelForCausalLM.from_config(_hf_config(config), dtype=dtype, **implementations).eval()


def parameter_count(config: Config) -> int:
    """Parameters, tied and shared ones once, buffers not counted."""
    return sum(parameter.numel() for parameter in _meta_model(_key(config)).parameters())


@cache
def _counted(key: str, batch: int, new_tokens: int, context: int) -> tuple[tuple[str, int], ...]:
    """Pairs of module name and its own FLOPs in a pass of `new_tokens` upon `context` cached ones, convolutions left out."""
    model = _meta_model(key)
    past: dict[str, Any] = {"past_key_values": DynamicCache(config=model.config)} if _takes_cache(json.loads(key)) else {}
    if context:
        past = _forward(model, batch, context, past)
    counter = FlopCounterMode(display=False)
    with counter:
        _forward(model, batch, new_tokens, past)
    totals = {
        name: sum(flops for operator, flops in counts.items() if "conv" not in str(operator))
        for name, counts in counter.get_flop_counts().items()
    }
    own = Counter(totals)
    for name, flops in totals.items():
        if name != "Global":
            own[_parent(name, totals)] -= flops
    return tuple((name, flops) for name, flops in own.items() if flops)


def _parent(name: str, totals: dict[str, int]) -> str:
    while "." in name:
        name = name.rpartition(".")[0]
        if name in totals:
            return name
    return "Global"


def _forward(model: Any, batch: int, new_tokens: int, past: dict[str, Any]) -> dict[str, Any]:
    """One pass on the meta device; what the model hands on is given to the next."""
    with torch.no_grad(), torch.device("meta"):
        out = model(input_ids=torch.zeros(batch, new_tokens, dtype=torch.long), use_cache=True, logits_to_keep=1, **past)
    return past if past and _takes_cache(model.config.to_dict()) else _handed_on(out)


def _handed_on(out: Any) -> dict[str, Any]:
    return {name: out[name] for name in ("past_key_values", "cache_params", "state") if out.get(name) is not None}


def _takes_cache(config: Config) -> bool:
    return config["model_type"] == "recurrent_gemma"


def flops_by_module(config: Config, batch: int, new_tokens: int, context: int = 0) -> dict[str, int]:
    """Matmul FLOPs by the module that does them itself."""
    return dict(_counted(_key(config), batch, new_tokens, context))


def state_bytes(config: Config, batch: int, tokens: int) -> dict[str, int]:
    """Bytes of a tiny model's real cache after `tokens` tokens of each sequence, in bfloat16 on the CPU, by kind of buffer.

    The kinds: convolution (as stored), recurrence, carried (the last token, for shifts), keys (keys and values).
    """
    model = _model(config, torch.bfloat16)
    # RecurrentGemma hands no cache back: it must be given one.
    past: dict[str, Any] = {"past_key_values": DynamicCache(config=model.config)} if _takes_cache(config) else {}
    for step in (tokens - 1, 1):
        with torch.no_grad():
            input_ids = torch.randint(model.config.vocab_size, (batch, step))
            out = model(input_ids=input_ids, use_cache=True, **past)
        past = past if _takes_cache(config) else _handed_on(out)
    kinds: Counter[str] = Counter()
    for name, tensor in _buffers(config["model_type"], model, next(iter(past.values()), None)):
        kinds[name] += tensor.nbytes
    return dict(kinds)


def _buffers(model_type: str, model: Any, held: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a cache with their kinds."""
    if model_type == "rwkv":
        yield from zip(("carried", "carried", "recurrence", "recurrence", "recurrence"), held, strict=True)
        return
    if model_type == "xlstm":
        yield from (("recurrence", tensor) for layer in held.rnn_state.values() for tensor in layer)
        return
    if model_type == "recurrent_gemma":
        for module in model.modules():
            if hasattr(module, "rg_lru"):
                yield "convolution", module.conv1d_state
                yield "recurrence", module.rg_lru.recurrent_states
    for layer in held.layers:
        for kind in ("conv_states", "recurrent_states"):
            for tensor in (getattr(layer, kind, None) or {}).values():
                if tensor is not None:
                    yield {"conv_states": "convolution", "recurrent_states": "recurrence"}[kind], tensor
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None)):
            if tensor is not None:
                yield "keys", tensor
    for tensor in getattr(held, "linear_cache", ()):
        if isinstance(tensor, torch.Tensor):
            yield "recurrence", tensor
