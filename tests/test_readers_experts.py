"""Mixtures of experts against transformers: parameters, FLOPs by kind, windows, caches; others against published sizes."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import key_lengths, layer_windows
from oracle_experts import (
    COMPLETIONS,
    KINDS,
    LATENT,
    LOOPED_EXPERTS,
    MODEL_TYPES,
    SPARSE_ATTENTION,
    TINY,
    cache_bytes,
    complete_default,
    parameters,
    rectangles_by_kind,
)

from genz.errors import SpecError
from genz.footprint import request_cache_bytes
from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Step
from genz.operators.visibility import sight
from genz.specs import catalog
from genz.specs.channel_mixers import MixtureOfExperts
from genz.specs.huggingface import model_from_config
from genz.specs.parallelism import Parallelism
from genz.specs.readers import READERS
from genz.specs.workload import Workload

# Phase, sequences, new tokens of each, context of each: beyond the tiny models' windows of 8.
STEPS = {"prefill": ("prefill", 2, 11, 0), "chunk": ("prefill", 2, 5, 20), "decode": ("decode", 3, 1, 13)}
CUSTOM_CODE = ("hunyuan", "grok-1", "deepseek", "bailing_moe", "arctic", "PanguProMoE", "kimi_k2")
DENSE_ATTENTION = [name for name in TINY if name.partition("-")[0] not in SPARSE_ATTENTION]
# Picks of LongCat's zero experts are a matter of chance.
CERTAIN = [name for name in DENSE_ATTENTION if name != "longcat_flash"]
MODELS = {
    name: config
    for name in catalog.names("model")
    if (config := yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))["config"])["model_type"]
    in (*MODEL_TYPES, *CUSTOM_CODE)
}


def read_windows(model: Any) -> list[int | None]:
    return [layer.token_mixer.window for layer in model.layers]


def windows_of(config: dict[str, Any]) -> list[int | None]:
    """By block of attention, the window that transformers' cache honours; latent ones have none."""
    if config["model_type"] in LATENT:
        return [None] * len(model_from_config(config, name="latent").layers)
    return layer_windows(config)


def found_by_kind(model: Any, step: tuple[Any, ...], widths: Any) -> dict[str, float]:
    """GenZ's matrix FLOPs under the oracle's kinds."""
    phase, sequences, new_tokens, context = step
    operators = build(
        model,
        Step(phase, (Group(sequences, new_tokens, context),)),
        parallelism=Parallelism(),
        widths=widths,
        engine=catalog.engine("pytorch"),
    )
    names = {
        "router_gemm": "router",
        "lm_head_gemm": "head",
        "latent_expand_gemm": "expansion",
        "index_scores": "index",
    }
    counted = Counter(dict.fromkeys(KINDS, 0.0))
    for operator in operators:
        kind = names.get(operator.name) or ("linear" if operator.category == "gemm" else operator.category)
        if flops := matrix_flops([operator]):
            counted[kind] += flops
    return dict(counted)


def expected_by_kind(config: dict[str, Any], batch: int, new_tokens: int, context: int) -> dict[str, int]:
    """The oracle's FLOPs, with attention cut down to the pairs that are seen."""
    flops, rectangles = rectangles_by_kind(config, batch, new_tokens, context)
    sees_all = config["model_type"] in (*LATENT, *LOOPED_EXPERTS)
    lengths = [context + new_tokens] * len(rectangles) if sees_all else key_lengths(config, new_tokens, context)
    flops["attention"] = 0
    for rectangle, keys, window in zip(rectangles, lengths, windows_of(config), strict=True):
        per_pair, rest = divmod(rectangle, new_tokens * keys)
        assert rest == 0
        flops["attention"] += per_pair * int(sight(context, new_tokens, window=window).pairs)
    return flops


def test_every_type_has_a_reader() -> None:
    assert {*MODEL_TYPES, *CUSTOM_CODE} <= set(READERS)


@pytest.mark.parametrize("name", TINY)
def test_tiny_parameters_and_windows(name: str) -> None:
    model = model_from_config(TINY[name], name=name)
    assert model.parameters == parameters(TINY[name])
    assert read_windows(model) == windows_of(TINY[name])


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_default_parameters_and_windows(model_type: str) -> None:
    config = complete_default(model_type)
    model = model_from_config(config, name=model_type)
    assert model.parameters == parameters(config)
    assert read_windows(model) == windows_of(config)


@pytest.mark.parametrize("name", CERTAIN)
def test_tiny_flops(name: str, bf16: Any) -> None:
    model = model_from_config(TINY[name], name=name)
    for step in STEPS.values():
        assert found_by_kind(model, step, bf16) == expected_by_kind(TINY[name], *step[1:])


def test_zero_experts_are_expected_as_often_as_their_share(bf16: Any) -> None:
    """LongCat with 8 experts and 4 zero ones, 3 picked: 2 of 3 picks multiply. All else is what transformers counts."""
    model = model_from_config(TINY["longcat_flash"], name="longcat")
    found = found_by_kind(model, STEPS["prefill"], bf16)
    expected = expected_by_kind(TINY["longcat_flash"], *STEPS["prefill"][1:])
    layers, tokens, hidden, inner = 2, 2 * 11, 48, 23
    assert found.pop("experts") == pytest.approx(layers * tokens * 2 * (2 * 3 * hidden * inner), rel=1e-12)
    del expected["experts"]
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("model_type", [t for t in MODEL_TYPES if t not in (*SPARSE_ATTENTION, "dbrx", "longcat_flash")])
def test_default_flops(model_type: str, bf16: Any) -> None:
    config = complete_default(model_type)
    model = model_from_config(config, name=model_type)
    for step in STEPS.values():
        assert found_by_kind(model, step, bf16) == expected_by_kind(config, *step[1:])


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("tokens", [6, 15])
def test_cache(name: str, tokens: int, bf16: Any) -> None:
    """Of a window transformers keeps one token less: the present one comes with its own key."""
    model = model_from_config(TINY[name], name=name)
    kept_less = sum(
        2 * layer.token_mixer.cached_width() for layer in model.layers if (layer.token_mixer.window or 99) <= tokens
    )
    assert request_cache_bytes(model, bf16, Workload(tokens - 1, 1)) - kept_less == sum(cache_bytes(TINY[name], tokens))


@pytest.mark.parametrize("name", [name for name, config in MODELS.items() if config["model_type"] in MODEL_TYPES])
def test_catalog_parameters(name: str) -> None:
    config = {key: value for key, value in MODELS[name].items() if key != "quantization_config"}
    assert catalog.model(name).parameters == parameters(config)


# Random shapes.

WIDTHS = st.integers(1, 12)
COMMON = {
    "hidden_size": WIDTHS.map(lambda n: 12 * n),
    "intermediate_size": st.integers(1, 90),
    "vocab_size": st.integers(3, 200),
    "num_hidden_layers": st.integers(1, 6),
    "num_attention_heads": st.sampled_from([2, 4, 6]),
    "num_key_value_heads": st.just(2),
    "head_dim": WIDTHS.map(lambda n: 2 * n),
    "tie_word_embeddings": st.booleans(),
    "max_position_embeddings": st.just(64),
    **{f"{name}_token_id": st.none() for name in ("pad", "bos", "eos")},
}
ROUTED = {
    "moe_intermediate_size": WIDTHS,
    "n_routed_experts": st.sampled_from([4, 6, 8]),
    "num_experts_per_tok": st.integers(1, 3),
}
LATENT_SHAPES = {
    **{key: value for key, value in COMMON.items() if key not in ("head_dim", "num_key_value_heads")},
    **ROUTED,
    "q_lora_rank": WIDTHS,
    "kv_lora_rank": WIDTHS,
    "qk_nope_head_dim": WIDTHS,
    "qk_rope_head_dim": WIDTHS.map(lambda n: 2 * n),
    "v_head_dim": WIDTHS,
    "attention_bias": st.booleans(),
}
INDEXED = {"index_n_heads": WIDTHS, "index_head_dim": WIDTHS.map(lambda n: 24 + 2 * n), "index_topk": st.just(4)}
NO_HEAD_DIM = {key: value for key, value in COMMON.items() if key != "head_dim"}
SHAPES: dict[str, dict[str, Any]] = {
    "phimoe": {
        **NO_HEAD_DIM,
        "num_local_experts": st.integers(2, 7),
        "attention_bias": st.booleans(),
        "lm_head_bias": st.booleans(),
    },
    "olmoe": {**NO_HEAD_DIM, "num_experts": st.integers(8, 11), "attention_bias": st.booleans()},
    "granitemoeshared": {**NO_HEAD_DIM, "num_local_experts": st.integers(2, 9), "shared_intermediate_size": st.integers(0, 33)},
    "minimax_m2": {**COMMON, "num_local_experts": st.integers(8, 12)},
    "glm4_moe": {
        **COMMON,
        **ROUTED,
        "attention_bias": st.booleans(),
        "use_qk_norm": st.booleans(),
        "first_k_dense_replace": st.integers(0, 7),
        "n_shared_experts": st.integers(1, 3),
    },
    "solar_open": {**COMMON, **ROUTED, "attention_bias": st.booleans(), "n_shared_experts": st.integers(1, 3)},
    "dots1": {
        **COMMON,
        **ROUTED,
        "n_shared_experts": st.integers(1, 3),
        "sliding_window": st.none() | st.just(8),
        "max_window_layers": st.integers(0, 6),
        "attention_bias": st.booleans(),
    },
    "exaone_moe": {
        **COMMON,
        "moe_intermediate_size": WIDTHS,
        "num_experts": st.integers(8, 12),
        "first_k_dense_replace": st.integers(0, 7),
        "num_shared_experts": st.integers(1, 3),
        "sliding_window_pattern": st.integers(1, 5),
    },
    "afmoe": {
        **COMMON,
        "moe_intermediate_size": WIDTHS,
        "num_experts": st.integers(6, 12),
        "num_dense_layers": st.integers(0, 7),
        "num_shared_experts": st.integers(1, 3),
        "global_attn_every_n_layers": st.integers(1, 5),
    },
    "ernie4_5_moe": {
        **NO_HEAD_DIM,
        "moe_num_experts": st.integers(6, 12),
        "moe_intermediate_size": WIDTHS,
        "use_bias": st.booleans(),
        "moe_layer_start_index": st.integers(0, 6),
        "moe_layer_interval": st.integers(1, 4),
        "moe_num_shared_experts": st.integers(0, 3),
    },
    "hunyuan_v1_moe": {
        **COMMON,
        "num_experts": st.integers(4, 9),
        "moe_topk": st.integers(1, 4),
        "attention_bias": st.booleans(),
    },
    "glm4_moe_lite": {**LATENT_SHAPES, "q_lora_rank": st.none() | WIDTHS, "n_shared_experts": st.integers(1, 3)},
    "deepseek_v32": {
        **LATENT_SHAPES,
        **INDEXED,
        "n_group": st.just(1),
        "topk_group": st.just(1),
        "first_k_dense_replace": st.integers(0, 7),
    },
    "glm_moe_dsa": {
        **LATENT_SHAPES,
        **INDEXED,
        "index_topk_freq": st.integers(1, 4),
        "index_skip_topk_offset": st.integers(1, 4),
    },
}


@pytest.mark.parametrize("model_type", SHAPES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_parameters(model_type: str, data: st.DataObject) -> None:
    config = {"model_type": model_type, **data.draw(st.fixed_dictionaries(SHAPES[model_type]))}
    model = model_from_config(config, name="random")
    assert model.parameters == parameters(config)
    assert read_windows(model) == windows_of(config)


DERIVED = ("layer_types", "mlp_layer_types", "indexer_types")
SPELLINGS = {
    "n_routed_experts": ("num_experts",),
    "intermediate_size": ("moe_intermediate_size",),
    "ffn_hidden_size": ("intermediate_size",),
    "expert_ffn_hidden_size": ("moe_intermediate_size",),
}


@pytest.mark.parametrize("model_type", [name for name in MODEL_TYPES if name != "dbrx"])
def test_a_key_left_out_is_asked_for_or_taken_as_transformers_does(model_type: str) -> None:
    """Without any one key of transformers' default config, GenZ reads the same model or says which key it needs."""
    whole = {key: value for key, value in complete_default(model_type).items() if key not in DERIVED}
    expected = model_from_config(whole, name="whole")
    wrong = {}
    for key in whole.keys() - {"model_type", *COMPLETIONS.get(model_type, {})}:
        try:
            model = model_from_config({name: value for name, value in whole.items() if name != key}, name="lean")
        except SpecError as error:
            fine = error.field == key or error.field in SPELLINGS.get(key, ())
            found: Any = error.field
        else:
            found = model.parameters, read_windows(model), model.active_parameters
            fine = found == (expected.parameters, read_windows(expected), expected.active_parameters)
        if not fine:
            wrong[key] = found
    assert wrong == {}


# What only its makers' code builds: sizes worked out by hand.

GROK: dict[str, Any] = {
    "model_type": "grok-1", "vocab_size": 101, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip
BAILING: dict[str, Any] = {
    **GROK, "model_type": "bailing_moe", "moe_intermediate_size": 19, "num_experts": 8, "num_experts_per_tok": 3,
    "num_shared_experts": 2, "first_k_dense_replace": 1, "max_position_embeddings": 64,
}  # fmt: skip
PANGU: dict[str, Any] = {
    **GROK, "model_type": "PanguProMoE", "moe_intermediate_size": 19, "num_experts": 16, "num_experts_per_tok": 8,
    "shared_expert_intermediate_size": 31, "max_position_embeddings": 64,
}  # fmt: skip
ATTENTION = 48 * (48 + 2 * 16) + 48 * 48
TABLES = 2 * 101 * 48 + 48
BY_HAND = {
    "grok-1": (GROK, 3 * (ATTENTION + 4 * 3 * 48 * 64 + 48 * 4 + 4 * 48) + TABLES - 101 * 48),
    "bailing": (BAILING, 3 * (ATTENTION + 2 * 48) + 3 * 48 * 64 + 2 * ((8 + 2) * 3 * 48 * 19 + 48 * 8) + TABLES),
    "bailing-2-style": (
        {**BAILING, "use_qk_norm": True, "moe_router_enable_expert_bias": True, "moe_shared_expert_intermediate_size": 23},
        3 * (ATTENTION + 2 * 48 + 2 * 8) + 3 * 48 * 64 + 2 * (8 * 3 * 48 * 19 + 2 * 3 * 48 * 23 + 48 * 8 + 8) + TABLES,
    ),
    "deepseek": (
        {
            **BAILING,
            "model_type": "deepseek",
            "n_routed_experts": 8,
            "n_shared_experts": 2,
        },
        3 * (ATTENTION + 2 * 48) + 3 * 48 * 64 + 2 * ((8 + 2) * 3 * 48 * 19 + 48 * 8) + TABLES,
    ),
    "arctic": (
        {**GROK, "model_type": "arctic", "num_local_experts": 4, "max_position_embeddings": 64},
        3 * (ATTENTION + 4 * 3 * 48 * 64 + 48 * 4 + 3 * 48 * 48 + 3 * 48) + TABLES,
    ),
    "pangu": (
        PANGU,
        3 * (ATTENTION + 48 + 2 * 16 + 48 + 16 * 3 * 48 * 19 + 48 * 16 + 16 + 3 * 48 * 31 + 2 * 48) + TABLES,
    ),
}


def test_every_other_layer_of_hunyuan_large_keeps_no_cache(bf16: Any) -> None:
    """Cross-layer attention: 32 of 64 layers have 8 heads of 80 for keys and as many for values."""
    model = catalog.model("hunyuan-large")
    assert request_cache_bytes(model, bf16, Workload(1_000, 24)) == 1_024 * 32 * 2 * 8 * 80 * 2
    with_own = model.layers[0].token_mixer.linears  # type: ignore[union-attr]
    borrowed = model.layers[1].token_mixer.linears  # type: ignore[union-attr]
    assert [linear.name for linear in with_own] == ["query", "key", "value", "output"]
    assert [linear.name for linear in borrowed] == ["query", "output"]


@pytest.mark.parametrize("name", BY_HAND)
def test_sizes_by_hand(name: str) -> None:
    config, expected = BY_HAND[name]
    assert model_from_config(config, name=name).parameters == expected


@pytest.mark.parametrize("name", [name for name, config in MODELS.items() if config["model_type"] in CUSTOM_CODE])
def test_published_sizes(name: str) -> None:
    model = catalog.model(name)
    assert model.published is not None
    assert model.parameters == pytest.approx(model.published.total, rel=0.006 if name == "grok-1" else 0.005)


# Layers that take different numbers of experts.


def test_layers_may_take_different_numbers_of_experts() -> None:
    """LExI: a list in place of one number; parameters stay, those that a token uses do not."""
    config = {**TINY["olmoe"], "num_experts_per_tok": [4, 2, 1, 3]}
    model = model_from_config(config, name="lexi")
    assert [layer.channel_mixer.top_k for layer in model.layers] == [4, 2, 1, 3]
    assert model.parameters == parameters(TINY["olmoe"])
    expert = 3 * 48 * 83
    whole = model_from_config(TINY["olmoe"], name="olmoe")
    assert whole.active_parameters - model.active_parameters == (4 * 4 - 10) * expert


@pytest.mark.parametrize("base", ["glm4_moe", "deepseek_v32", "ernie4_5_moe", "afmoe"])
def test_every_mixture_takes_a_list(base: str) -> None:
    config = TINY[base]
    key = "moe_k" if base == "ernie4_5_moe" else "num_experts_per_tok"
    top_ks = [1 + i % 3 for i in range(config["num_hidden_layers"])]
    model = model_from_config({**config, key: top_ks}, name="listed")
    found = {
        i: layer.channel_mixer.top_k
        for i, layer in enumerate(model.layers)
        if isinstance(layer.channel_mixer, MixtureOfExperts)
    }
    assert found == {i: top_ks[i] for i in found}


@pytest.mark.parametrize(
    ("base", "changes", "field"),
    [
        ("olmoe", {"num_experts_per_tok": [4, 2]}, "num_experts_per_tok"),
        ("olmoe", {"num_experts_per_tok": [4, 2, 10, 1]}, "num_experts_per_tok"),
        ("olmoe", {"num_experts_per_tok": [4, 2, "two", 1]}, "num_experts_per_tok"),
        ("glm4_moe_lite-listed", {"mlp_layer_types": ["sparse"] * 3}, "mlp_layer_types"),
        ("glm4_moe_lite-listed", {"mlp_layer_types": ["thick"] * 4}, "mlp_layer_types"),
        ("glm_moe_dsa", {"indexer_types": ["shared"] * 4}, "indexer_types"),
        ("glm_moe_dsa", {"indexer_types": ["full", "half", "full", "full"]}, "indexer_types"),
        ("glm_moe_dsa", {"index_topk_pattern": "FS"}, "index_topk_pattern"),
        ("deepseek_v32", {"q_lora_rank": None}, "q_lora_rank"),
        ("longcat_flash", {"zero_expert_type": "drop"}, "zero_expert_type"),
        ("minimax_m2", {"attn_type_list": [1, 0, 1, 1]}, "attn_type_list"),
        ("afmoe", {"attention_bias": True}, "attention_bias"),
        ("dbrx", {"ffn_config": 3}, "ffn_config"),
        ("hunyuan_v1_moe", {"num_experts": [5, 5, 1, 5]}, "moe_topk"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_impossible_configurations_name_the_key(base: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({**TINY[base], **changes}, name="broken")
    assert caught.value.field == field


@pytest.mark.parametrize(("key", "value"), [("num_experts", 12), ("num_experts_per_tok", 6)])
def test_pangu_needs_whole_groups(key: str, value: int) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({**PANGU, key: value}, name="broken")
    assert caught.value.field == key
