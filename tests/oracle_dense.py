"""What transformers says about the further dense decoders: tiny configs, and FLOPs by kind with attention layer by layer.

Built on `oracle`, whose docstring says what is counted; nothing here may import genz. What differs:

* GPT-Neo's local layers: transformers computes and keeps all keys and masks those out of sight, so the pairs that are
  seen come from `attention_types`.
* BioGPT's head is called output_projection.
* XGLM takes no mask that broadcasts, so its FLOPs are those of a BioGPT of its shape, which has the same matrices.
"""

import re
from collections import Counter
from functools import cache
from typing import Any

import oracle
import torch
from oracle import default_config, flops_by_module, key_lengths, layer_windows
from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

Config = dict[str, Any]

MODEL_TYPES: tuple[str, ...] = (
    "gpt_neo",
    "gpt_bigcode",
    "starcoder2",
    "codegen",
    "mpt",
    "gemma",
    "phi",
    "stablelm",
    "cohere",
    "cohere2",
    "olmo",
    "olmo2",
    "olmo3",
    "granite",
    "glm",
    "glm4",
    "nemotron",
    "smollm3",
    "exaone4",
    "ernie4_5",
    "hunyuan_v1_dense",
    "seed_oss",
    "helium",
    "apertus",
    "arcee",
    "ministral",
    "ministral3",
    "persimmon",
    "biogpt",
    "xglm",
    "internlm3",
    "hyperclovax",
    "jais2",
    "vaultgemma",
)

COMPLETIONS: dict[str, Config] = {
    "nemotron": {"num_key_value_heads": 8},
    "hunyuan_v1_dense": {"head_dim": 128},
    "ministral": {"head_dim": 128},
}
"""What the default configs of these types lack, so that transformers itself fails to build the model from them."""

_COMMON: Config = {
    "vocab_size": 103,
    "hidden_size": 48,
    "intermediate_size": 83,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def _tiny(model_type: str, **changes: Any) -> Config:
    """The common shape with changes; a key whose change is None stays with a null."""
    return {"model_type": model_type, **_COMMON, **changes}


def _without(config: Config, *names: str) -> Config:
    return {key: value for key, value in config.items() if key not in names}


_GPT_NAMES = {"n_positions": 128, "n_embd": 48, "n_layer": 3, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
_NEO: Config = {
    "model_type": "gpt_neo",
    "vocab_size": 97,
    "max_position_embeddings": 64,
    "hidden_size": 40,
    "num_layers": 4,
    "num_heads": 5,
    "attention_types": [[["global", "local"], 2]],
    "window_size": 8,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_MPT: Config = {"model_type": "mpt", "vocab_size": 101, "d_model": 40, "n_heads": 4, "n_layers": 3, "max_seq_len": 64}
_XGLM: Config = {
    "model_type": "xglm",
    "vocab_size": 107,
    "d_model": 40,
    "ffn_dim": 67,
    "num_layers": 3,
    "attention_heads": 5,
    "max_position_embeddings": 64,
}
_ROPE = {
    "rope_type": "default",
    "rope_theta": 1e6,
    "original_max_position_embeddings": 64,
    "llama_4_scaling_beta": 0.1,
}
_SLIDING = {"sliding_window": 8, "num_hidden_layers": 6}

TINY: dict[str, Config] = {
    "gpt_neo": _NEO,
    "gpt_neo-inner-local-first": {
        **_NEO,
        "intermediate_size": 71,
        "attention_types": [[["local"], 1], [["global", "global", "local"], 1]],
    },
    "gpt_bigcode": {"model_type": "gpt_bigcode", "vocab_size": 91, **_GPT_NAMES},
    "gpt_bigcode-multi-head": {
        "model_type": "gpt_bigcode",
        "vocab_size": 91,
        **_GPT_NAMES,
        "multi_query": False,
        "n_inner": 77,
        "tie_word_embeddings": False,
    },
    "starcoder2": _tiny("starcoder2", sliding_window=8),
    "starcoder2-no-bias": _tiny("starcoder2", use_bias=False, tie_word_embeddings=False),
    "codegen": {"model_type": "codegen", "vocab_size": 89, **_GPT_NAMES, "rotary_dim": 4, "n_inner": 75},
    "mpt": _MPT,
    "mpt-untied": {**_MPT, "tie_word_embeddings": False, "attn_config": {"alibi": True, "clip_qkv": 8.0, "attn_impl": "torch"}},
    "gemma": _tiny("gemma", head_dim=10, num_key_value_heads=1),
    "gemma-biased": _tiny("gemma", head_dim=14, attention_bias=True, tie_word_embeddings=False),
    "phi": _tiny("phi"),
    "phi-normed": _tiny("phi", qk_layernorm=True, num_key_value_heads=6, tie_word_embeddings=True),
    "stablelm": _tiny("stablelm"),
    "stablelm-2-12b-style": _tiny("stablelm", qk_layernorm=True, use_parallel_residual=True),
    "stablelm-zephyr-style": _tiny("stablelm", use_qkv_bias=True, num_key_value_heads=6, tie_word_embeddings=True),
    "cohere": _tiny("cohere"),
    "cohere-plus-style": _tiny("cohere", use_qk_norm=True, attention_bias=True, num_key_value_heads=3),
    "cohere2": _tiny("cohere2", **_SLIDING),
    "cohere2-pattern": _tiny("cohere2", **_SLIDING, sliding_window_pattern=3, attention_bias=True, tie_word_embeddings=False),
    "olmo": _tiny("olmo", clip_qkv=8.0),
    "olmo-biased": _tiny("olmo", attention_bias=True, tie_word_embeddings=True),
    "olmo2": _tiny("olmo2"),
    "olmo2-biased": _tiny("olmo2", attention_bias=True, num_key_value_heads=6, tie_word_embeddings=True),
    "olmo3": _tiny("olmo3", **_SLIDING),
    "olmo3-layer-types": _tiny("olmo3", sliding_window=8, layer_types=["full_attention", *["sliding_attention"] * 3]),
    "granite": _tiny("granite", attention_multiplier=0.1, residual_multiplier=0.2),
    "granite-biased": _tiny("granite", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "glm": _tiny("glm", head_dim=10),
    "glm-no-bias": _tiny("glm", head_dim=8, attention_bias=False, tie_word_embeddings=True),
    "glm4": _tiny("glm4", head_dim=10),
    "nemotron": _tiny("nemotron"),
    "nemotron-biased": _tiny("nemotron", head_dim=10, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "smollm3": _tiny("smollm3"),
    "smollm3-sliding": _tiny(
        "smollm3", use_sliding_window=True, sliding_window=8, no_rope_layers=[1, 0, 0, 1], attention_bias=True, mlp_bias=True
    ),
    "exaone4": _tiny("exaone4", **_SLIDING),
    "exaone4-1.2b-style": _tiny(
        "exaone4", sliding_window=None, sliding_window_pattern=None, layer_types=["full_attention"] * 4, head_dim=10
    ),
    "exaone4-pattern": _tiny("exaone4", **_SLIDING, sliding_window_pattern=2, tie_word_embeddings=True),
    "ernie4_5": _tiny("ernie4_5", head_dim=10),
    "ernie4_5-biased": _tiny("ernie4_5", head_dim=12, use_bias=True, tie_word_embeddings=False),
    "hunyuan_v1_dense": _tiny("hunyuan_v1_dense", head_dim=10),
    "hunyuan_v1_dense-biased": _tiny("hunyuan_v1_dense", head_dim=12, attention_bias=True, tie_word_embeddings=True),
    "seed_oss": _tiny("seed_oss", head_dim=10),
    "seed_oss-biased": _tiny("seed_oss", head_dim=12, attention_out_bias=True, mlp_bias=True, attention_bias=False),
    "helium": _tiny("helium", head_dim=8),
    "helium-biased": _tiny("helium", head_dim=8, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "apertus": _tiny("apertus"),
    "apertus-biased": _tiny("apertus", attention_bias=True, hidden_act="relu2", tie_word_embeddings=True),
    "arcee": _tiny("arcee"),
    "arcee-biased": _tiny("arcee", head_dim=10, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "ministral": _tiny("ministral", sliding_window=8, head_dim=10),
    "ministral-8b-style": _tiny(
        "ministral",
        sliding_window=8,
        head_dim=10,
        layer_types=["full_attention", *["sliding_attention"] * 3],
        tie_word_embeddings=True,
    ),
    "ministral3": _tiny("ministral3", head_dim=10, rope_parameters=_ROPE),
    "ministral3-sliding": _tiny("ministral3", head_dim=12, sliding_window=8, rope_parameters=_ROPE),
    "persimmon": _without(_tiny("persimmon"), "num_key_value_heads"),
    "persimmon-unnormed": _without(_tiny("persimmon", qk_layernorm=False, tie_word_embeddings=True), "num_key_value_heads"),
    "biogpt": _without(_tiny("biogpt", pad_token_id=1), "num_key_value_heads"),
    "xglm": _XGLM,
    "internlm3": _tiny("internlm3", head_dim=10),
    "internlm3-biased": _tiny("internlm3", head_dim=8, qkv_bias=True, bias=True, tie_word_embeddings=True),
    "hyperclovax": _tiny("hyperclovax"),
    "hyperclovax-biased": _tiny("hyperclovax", use_post_norm=False, attention_bias=True, mlp_bias=True),
    "jais2": _tiny("jais2"),
    "jais2-no-bias": _tiny("jais2", head_dim=10, attention_bias=False, mlp_bias=False, tie_word_embeddings=True),
    "vaultgemma": _tiny("vaultgemma", head_dim=10, **_SLIDING),
}
"""Name -> a tiny config as it would stand in a config.json, each name beginning with its model_type."""

KINDS = ("attention", "head", "linear")
_HEADS = ("lm_head", "embed_out", "output_projection")
_ATTENTION = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.(?:self_attn|attn\.attention|attn|self_attention|attention)$")


def complete_default(model_type: str) -> Config:
    """Transformers' default config of a type, with what it lacks to be built."""
    return {**default_config(model_type), **COMPLETIONS.get(model_type, {})}


def windows(config: Config) -> list[int | None]:
    """By layer, how many keys a query sees at most."""
    if config["model_type"] != "gpt_neo":
        return layer_windows(config)
    kinds = [kind for group, times in config["attention_types"] for _ in range(times) for kind in group]
    return [config["window_size"] if kind == "local" else None for kind in kinds]


def flops_by_kind(config: Config, batch: int, new_tokens: int, context: int) -> dict[str, int]:
    """FLOPs of the head, of attention over the pairs that are seen, and of all else."""
    config = _xglm_twin(config) if config["model_type"] == "xglm" else config
    counted = Counter(dict.fromkeys(KINDS, 0))
    rectangles: Counter[int] = Counter()
    for name, flops in flops_by_module(config, batch, new_tokens, context).items():
        match = _ATTENTION.search(name)
        if match:
            rectangles[int(match[1])] += flops
        else:
            counted["head" if name.rpartition(".")[2] in _HEADS else "linear"] += flops
    lengths = key_lengths(config, new_tokens, context)
    for layer, (keys, window) in enumerate(zip(lengths, windows(config), strict=True)):
        per_pair, rest = divmod(rectangles[layer], new_tokens * keys)
        if rest:
            raise ValueError(f"layer {layer}: {rectangles[layer]} FLOPs are no rectangle of {new_tokens} x {keys}")
        counted["attention"] += per_pair * seen_pairs(window, new_tokens, context)
    return dict(counted)


def kept_cache_bytes(config: Config, batch: int, tokens: int, dtype: str = "bfloat16") -> int:
    """`oracle.cache_bytes` of a model of which some layers keep nothing, as they attend to what an earlier one keeps."""
    past: Any = oracle._run_on_cpu(oracle._cpu_model(config, dtype), batch, tokens)
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in past.layers if layer.keys is not None)


def _xglm_twin(config: Config) -> Config:
    """A BioGPT with the matrices of an XGLM."""
    names = {"d_model": "hidden_size", "ffn_dim": "intermediate_size", "num_layers": "num_hidden_layers"}
    names |= {"attention_heads": "num_attention_heads"}
    kept = ("vocab_size", "max_position_embeddings")
    return {
        "model_type": "biogpt",
        "pad_token_id": 1,
        **{new: config[old] for old, new in names.items()},
        **{k: config[k] for k in kept},
    }


@cache
def seen_pairs(window: int | None, new_tokens: int, context: int) -> int:
    """Pairs of a new query and a key that the mask functions of transformers let through."""
    function = causal_mask_function if window is None else sliding_window_causal_mask_function(window)
    queries, keys = torch.arange(context, context + new_tokens), torch.arange(context + new_tokens)
    return int(function(torch.tensor(0), torch.tensor(0), queries[:, None], keys[None, :]).sum())
