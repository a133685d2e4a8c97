"""What transformers says about the further mixtures of experts: tiny configs, parameters, FLOPs by kind, cache bytes.

Built on `oracle`, whose docstring says what is counted; nothing here may import genz. What differs:

* LongCat-Flash's zero experts: transformers allocates gate and up matrices for them which nothing reads, and which the
  published weights lack (`unused_parameters`).
* LongCat-Flash and DBRX loop over the experts that were hit, so that they cannot run on the meta device: their FLOPs are
  those of a tiny model that really runs on the CPU. Picks of zero experts multiply nothing there: how many there are is
  a matter of the random weights, so that configurations without zero experts are compared.
* Sparse attention: transformers computes attention over all keys and masks those that were not selected, and expands all
  latents. `index_flops` are those of the scores alone, as a rectangle of new tokens x keys.
"""

import re
from collections import Counter
from copy import deepcopy
from typing import Any

import torch
from oracle import default_config, flops_by_module, parameter_count
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache

Config = dict[str, Any]

GROUPED_QUERY: tuple[str, ...] = (
    "phimoe",
    "olmoe",
    "flex_olmo",
    "granitemoe",
    "granitemoeshared",
    "dbrx",
    "minimax_m2",
    "glm4_moe",
    "solar_open",
    "dots1",
    "exaone_moe",
    "afmoe",
    "ernie4_5_moe",
    "hunyuan_v1_moe",
)
LATENT: tuple[str, ...] = ("glm4_moe_lite", "deepseek_v32", "glm_moe_dsa", "longcat_flash")
LOOPED_EXPERTS = frozenset({"dbrx", "longcat_flash"})
SPARSE_ATTENTION = frozenset({"deepseek_v32", "glm_moe_dsa"})
MODEL_TYPES = (*GROUPED_QUERY, *LATENT)

COMPLETIONS: dict[str, Config] = {
    "dots1": {"n_shared_experts": 2, "n_routed_experts": 8, "num_experts_per_tok": 3},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 16, "moe_topk": 4},
    "dbrx": {"rope_theta": 10000.0, "attn_config": {"kv_n_heads": 1, "rope_theta": 10000.0}},
}
"""What the default configs of these types lack, so that transformers itself fails to build or run the model from them."""

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
_LATENT: Config = {
    "num_key_value_heads": 6,
    "moe_intermediate_size": 21,
    "q_lora_rank": 33,
    "kv_lora_rank": 26,
    "qk_nope_head_dim": 14,
    "qk_rope_head_dim": 6,
    "v_head_dim": 11,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_group": 1,
    "topk_group": 1,
}
_INDEX: Config = {"index_topk": 7, "index_n_heads": 5, "index_head_dim": 10}


def _tiny(model_type: str, **changes: Any) -> Config:
    return {"model_type": model_type, **_COMMON, **changes}


_DBRX: Config = {
    "model_type": "dbrx",
    "d_model": 48,
    "n_heads": 6,
    "n_layers": 3,
    "max_seq_len": 64,
    "vocab_size": 101,
    "rope_theta": 10000.0,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
    "ffn_config": {"ffn_hidden_size": 37, "moe_num_experts": 5, "moe_top_k": 3},
}
_GLM = {"moe_intermediate_size": 19, "n_routed_experts": 8, "num_experts_per_tok": 3, "head_dim": 10}
_EXAONE = {"moe_intermediate_size": 19, "num_experts": 7, "num_experts_per_tok": 3, "head_dim": 10, "sliding_window": 8}
_AFMOE = {**_EXAONE, "head_dim": 12, "num_hidden_layers": 6}
_ERNIE = {"moe_intermediate_size": 19, "moe_num_experts": 7, "moe_k": 3}
_OTHER_NAMES = (
    "num_hidden_layers",
    "intermediate_size",
    "moe_intermediate_size",
    "num_experts_per_tok",
    "n_group",
    "topk_group",
)
_LONGCAT = {
    **{key: value for key, value in _tiny("longcat_flash", **_LATENT).items() if key not in _OTHER_NAMES},
    "num_layers": 2,
    "ffn_hidden_size": 71,
    "expert_ffn_hidden_size": 23,
    "moe_topk": 3,
    "zero_expert_num": 4,
    "head_dim": 6,
}

TINY: dict[str, Config] = {
    "phimoe": _tiny("phimoe", num_local_experts=5, num_experts_per_tok=2),
    "phimoe-3.5-style": _tiny(
        "phimoe", num_local_experts=7, num_experts_per_tok=2, attention_bias=True, lm_head_bias=True, sliding_window=8
    ),
    "olmoe": _tiny("olmoe", num_experts=9, num_experts_per_tok=4, num_key_value_heads=6),
    "olmoe-biased": _tiny("olmoe", num_experts=9, num_experts_per_tok=2, attention_bias=True, tie_word_embeddings=True),
    "flex_olmo": _tiny("flex_olmo", num_experts=7, num_experts_per_tok=5),
    "granitemoe": _tiny("granitemoe", num_local_experts=5, tie_word_embeddings=True),
    "granitemoeshared": _tiny("granitemoeshared", num_local_experts=5, shared_intermediate_size=29, attention_bias=True),
    "dbrx": _DBRX,
    "minimax_m2": _tiny("minimax_m2", num_local_experts=7, num_experts_per_tok=3, head_dim=14),
    "glm4_moe": _tiny("glm4_moe", **_GLM, attention_bias=True, use_qk_norm=True),
    "glm4_moe-grouped": _tiny("glm4_moe", **_GLM, first_k_dense_replace=2, n_group=4, topk_group=2, n_shared_experts=2),
    "solar_open": _tiny("solar_open", **_GLM),
    "dots1": _tiny("dots1", **_GLM, n_shared_experts=2, first_k_dense_replace=1),
    "dots1-sliding": _tiny("dots1", **_GLM, n_shared_experts=1, sliding_window=8, max_window_layers=2, attention_bias=True),
    "exaone_moe": _tiny("exaone_moe", **_EXAONE),
    "exaone_moe-listed": _tiny(
        "exaone_moe",
        **_EXAONE,
        sliding_window_pattern=2,
        num_shared_experts=2,
        mlp_layer_types=["sparse", "dense", "sparse", "dense"],
    ),
    "afmoe": _tiny("afmoe", **_AFMOE),
    "afmoe-2-dense": _tiny("afmoe", **_AFMOE, num_dense_layers=2, global_attn_every_n_layers=2, num_shared_experts=1),
    "ernie4_5_moe": _tiny("ernie4_5_moe", **_ERNIE),
    "ernie4_5_moe-between": _tiny(
        "ernie4_5_moe",
        **_ERNIE,
        num_hidden_layers=7,
        moe_layer_start_index=2,
        moe_layer_end_index=5,
        moe_layer_interval=2,
        moe_num_shared_experts=1,
        use_bias=True,
        tie_word_embeddings=False,
    ),
    "hunyuan_v1_moe": _tiny("hunyuan_v1_moe", num_experts=5, moe_topk=2, head_dim=10),
    "hunyuan_v1_moe-by-layer": _tiny(
        "hunyuan_v1_moe", num_experts=6, moe_topk=[1, 2, 3, 4], head_dim=10, attention_bias=True, tie_word_embeddings=True
    ),
    "glm4_moe_lite": _tiny("glm4_moe_lite", **_LATENT),
    "glm4_moe_lite-listed": _tiny(
        "glm4_moe_lite", **_LATENT, attention_bias=True, mlp_layer_types=["sparse", "dense", "sparse", "sparse"]
    ),
    "deepseek_v32": _tiny("deepseek_v32", **_LATENT, **_INDEX, first_k_dense_replace=1),
    "deepseek_v32-grouped": _tiny(
        "deepseek_v32", **{**_LATENT, "n_group": 4, "topk_group": 2}, **_INDEX, n_shared_experts=2, attention_bias=True
    ),
    "glm_moe_dsa": _tiny("glm_moe_dsa", **_LATENT, **_INDEX),
    "glm_moe_dsa-shared": _tiny(
        "glm_moe_dsa", **_LATENT, **_INDEX, num_hidden_layers=6, index_topk_freq=3, index_skip_topk_offset=2
    ),
    "glm_moe_dsa-pattern": _tiny("glm_moe_dsa", **_LATENT, **_INDEX, index_topk_pattern="FSFS", first_k_dense_replace=2),
    "longcat_flash": _LONGCAT,
    "longcat_flash-no-zero": {**_LONGCAT, "zero_expert_num": 0, "attention_bias": True, "router_bias": True},
}
"""Name -> a tiny config as it would stand in a config.json, each name beginning with its model_type."""

KINDS = ("attention", "experts", "expansion", "head", "index", "linear", "router")
_ATTENTION = re.compile(r"\.(?:layers|blocks)\.(\d+)\.(?:norm_attn_norm\.attn|self_attn(?:\.(\d))?)$")
_LEAVES = {
    "kv_b_proj": "expansion",
    "experts": "experts",
    "lm_head": "head",
    "gate": "router",
    "router": "router",
    "classifier": "router",
    "wg": "router",
    "indexer": "index",
}


def complete_default(model_type: str) -> Config:
    """Transformers' default config of a type, with what it lacks to be built."""
    return {**default_config(model_type), **COMPLETIONS.get(model_type, {})}


def unused_parameters(config: Config) -> int:
    """Parameters that transformers allocates and nothing reads."""
    if config["model_type"] != "longcat_flash":
        return 0
    defaults = {"num_layers": 28, "zero_expert_num": 256, "expert_ffn_hidden_size": 2048, "hidden_size": 6144}
    layers, zero, inner, hidden = ({**defaults, **config}[key] for key in defaults)
    return int(layers * zero * 2 * inner * hidden)


def parameters(config: Config) -> int:
    """Parameters of transformers' model that something reads."""
    return parameter_count(config) - unused_parameters(config)


def rectangles_by_kind(config: Config, batch: int, new_tokens: int, context: int) -> tuple[dict[str, int], list[int]]:
    """FLOPs by kind but for attention, and those of scores and values of each attention block, as full rectangles."""
    counted = Counter(dict.fromkeys(KINDS, 0))
    blocks: Counter[int] = Counter()
    is_double = config["model_type"] == "longcat_flash"
    count = _cpu_flops_by_module if config["model_type"] in LOOPED_EXPERTS else flops_by_module
    for name, flops in count(config, batch, new_tokens, context).items():
        match = _ATTENTION.search(name)
        if match:
            blocks[2 * int(match[1]) + int(match[2]) if is_double else int(match[1])] += flops
        else:
            counted[_kind(name.split("."))] += flops
    del counted["attention"]
    return dict(counted), [blocks[block] for block in sorted(blocks)]


def _kind(path: list[str]) -> str:
    """What a module is, by its own name, or by that of experts or a router around it (DBRX)."""
    around = next((part for part in path if part in ("experts", "router")), "")
    return _LEAVES.get(path[-1]) or _LEAVES.get(around, "linear")


def _cpu_model(config: Config, dtype: torch.dtype) -> Any:
    hf_config = CONFIG_MAPPING[config["model_type"]].from_dict(deepcopy(config))
    experts = {} if config["model_type"] in LOOPED_EXPERTS else {"experts_implementation": "batched_mm"}
    model = AutoModelForCausalLM.from_config(hf_config, dtype=dtype, attn_implementation="eager", **experts)
    return model.eval().requires_grad_(False)


def _pass(model: Any, batch: int, new_tokens: int, past: DynamicCache) -> None:
    tokens = torch.randint(50, (batch, new_tokens))
    with torch.no_grad():
        model(input_ids=tokens, past_key_values=past, use_cache=True, logits_to_keep=1)


def _cpu_flops_by_module(config: Config, batch: int, new_tokens: int, context: int) -> dict[str, int]:
    """FLOPs of a tiny model by the module that multiplies itself, its rotary embedding left out."""
    model = _cpu_model(config, torch.float32)
    past = DynamicCache(config=model.config)
    if context:
        _pass(model, batch, context, past)
    with FlopCounterMode(display=False) as counter:
        _pass(model, batch, new_tokens, past)
    totals = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items() if name != "Global"}
    own = dict(totals)
    for name, flops in totals.items():
        parents = [other for other in totals if name.startswith(f"{other}.")]
        if parents:
            own[max(parents, key=len)] -= flops
    return {name: flops for name, flops in own.items() if flops and "rotary_emb" not in name}


def cache_bytes(config: Config, tokens: int) -> tuple[int, int]:
    """Bytes of keys and values (or latents), and of the indexers' keys, after `tokens` of one sequence in a tiny model."""
    model = _cpu_model(config, torch.bfloat16)
    past: Any = DynamicCache(config=model.config)
    for step in (tokens - 1, 1):
        _pass(model, 1, step, past)
    index = [getattr(layer, "indexer_keys", None) for layer in past.layers]
    return (
        sum(layer.keys.nbytes + layer.values.nbytes for layer in past.layers),
        sum(keys.nbytes for keys in index if keys is not None),
    )
