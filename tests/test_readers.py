"""Models as GenZ reads them against transformers' own models and against what their makers publish."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import INCOMPLETE_DEFAULTS, MODEL_TYPES, TINY, default_config, layer_windows, parameter_count

from genz.errors import SpecError
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.readers import READERS

COMPLETE = [model_type for model_type in MODEL_TYPES if model_type not in INCOMPLETE_DEFAULTS]
MODELS = catalog.names("model")


def catalog_config(name: str) -> dict[str, Any]:
    """The config of a catalog file, without what transformers would need other packages for."""
    raw = yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))
    return {key: value for key, value in raw["config"].items() if key != "quantization_config"}


# Those of the oracle's types; the others stand in the tests of their own readers.
# Those without a head, which give embeddings, stand in the tests of encoders.
OF_THE_ORACLE = [n for n in MODELS if catalog_config(n)["model_type"] in MODEL_TYPES and catalog.model(n).generates]


def windows(model: Any) -> list[int | None]:
    """By layer, the window or chunk that GenZ read."""
    return [layer.token_mixer.window or layer.token_mixer.chunk for layer in model.layers]


def missing_gates(config: dict[str, Any]) -> int:
    """Parameters of the gates that transformers builds and `gated: false`, GenZ's own key, leaves out."""
    if config.get("gated", True):
        return 0
    networks = config["num_hidden_layers"] * config.get("num_local_experts", 1)
    return networks * config["hidden_size"] * config["intermediate_size"]


def test_every_type_of_the_oracle_has_a_reader() -> None:
    assert set(MODEL_TYPES) <= set(READERS)


@pytest.mark.parametrize("name", TINY)
def test_tiny_parameters(name: str, read_model: Any) -> None:
    assert read_model(TINY[name]).parameters == parameter_count(TINY[name])


@pytest.mark.parametrize("model_type", COMPLETE)
def test_default_parameters(model_type: str, read_model: Any) -> None:
    config = default_config(model_type)
    assert read_model(config).parameters == parameter_count(config)


def test_incomplete_default_is_refused_and_right_once_complete(read_model: Any) -> None:
    """deepseek_v2's default config has no num_experts_per_tok; how many are picked changes no parameter."""
    config = default_config("deepseek_v2")
    with pytest.raises(SpecError, match="num_experts_per_tok") as caught:
        read_model(config)
    assert caught.value.field == "num_experts_per_tok"
    assert read_model({**config, "num_experts_per_tok": 6}).parameters == parameter_count(config)


@pytest.mark.parametrize("name", OF_THE_ORACLE)
def test_catalog_parameters(name: str) -> None:
    config = catalog_config(name)
    assert catalog.model(name).parameters == parameter_count(config) - missing_gates(config)


@pytest.mark.parametrize("name", TINY)
def test_tiny_windows(name: str, read_model: Any) -> None:
    assert windows(read_model(TINY[name])) == layer_windows(TINY[name])


@pytest.mark.parametrize("model_type", COMPLETE)
def test_default_windows(model_type: str, read_model: Any) -> None:
    config = default_config(model_type)
    assert windows(read_model(config)) == layer_windows(config)


@pytest.mark.parametrize("name", OF_THE_ORACLE)
def test_catalog_windows(name: str) -> None:
    assert windows(catalog.model(name)) == layer_windows(catalog_config(name))


DERIVED = ("layer_types", "no_rope_layers", "moe_layers")
SPELLINGS = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "num_local_experts": "num_experts",
}


@pytest.mark.parametrize("model_type", COMPLETE)
def test_a_key_left_out_is_asked_for_or_taken_as_transformers_does(model_type: str, read_model: Any) -> None:
    """Without any one key of transformers' default config, GenZ reads the same model or says which key it needs.

    So too without the lists that transformers derives from other keys.
    """
    whole = default_config(model_type)
    lean = {key: value for key, value in whole.items() if key not in DERIVED}
    expected = parameter_count(whole), layer_windows(whole)
    wrong = {}
    for key in lean.keys() - {"model_type"}:
        for config in (whole, lean):
            try:
                model = read_model({name: value for name, value in config.items() if name != key})
            except SpecError as error:
                found = error.field
                fine = found in (key, SPELLINGS.get(key))
            else:
                found = model.parameters, windows(model)
                fine = found == expected
            if not fine:
                wrong[key] = found
    assert wrong == {}


@pytest.mark.parametrize("model_type", ["gpt2", "opt", "falcon", "gemma2", "gemma3_text"])
def test_context_length_where_the_file_has_none(model_type: str) -> None:
    """Published files of these types leave it out, so GenZ supplies what transformers would."""
    config = default_config(model_type)
    longest = config.get("max_position_embeddings") or config["n_positions"]
    bare = {key: value for key, value in config.items() if key not in ("max_position_embeddings", "n_positions", "n_ctx")}
    assert model_from_config(bare, name=model_type).max_context == longest


# Random shapes, so that no formula fits the hand-picked configurations alone.

WIDTHS = st.integers(1, 12)
COMMON = {
    "hidden_size": WIDTHS.map(lambda n: 12 * n),
    "intermediate_size": st.integers(1, 90),
    "vocab_size": st.integers(3, 200),
    "num_hidden_layers": st.integers(1, 7),
    "num_key_value_heads": st.just(2),
    "num_attention_heads": st.sampled_from([2, 4, 6]),
    "head_dim": WIDTHS.map(lambda n: 2 * n),
    "attention_bias": st.booleans(),
    "tie_word_embeddings": st.booleans(),
    "max_position_embeddings": st.just(64),
    "pad_token_id": st.none(),
    "bos_token_id": st.none(),
    "eos_token_id": st.none(),
}
EXPERTS = {"num_experts_per_tok": st.integers(1, 3)}
SLIDING = {"use_sliding_window": st.booleans(), "sliding_window": st.just(8), "max_window_layers": st.integers(0, 7)}
SHAPES = {
    "llama": {**COMMON, "mlp_bias": st.booleans()},
    "qwen3_moe": {
        **COMMON,
        **EXPERTS,
        "num_experts": st.integers(3, 9),
        "moe_intermediate_size": WIDTHS,
        "decoder_sparse_step": st.integers(1, 3),
        "mlp_only_layers": st.sampled_from([[], [0]]),
    },
    "qwen2": {**COMMON, **SLIDING},
    "qwen2_moe": {
        **COMMON,
        **EXPERTS,
        **SLIDING,
        "num_experts": st.integers(3, 9),
        "moe_intermediate_size": WIDTHS,
        "shared_expert_intermediate_size": WIDTHS,
        "qkv_bias": st.booleans(),
    },
    "gpt_oss": {**COMMON, **EXPERTS, "num_local_experts": st.integers(3, 9)},
    "llama4_text": {
        **COMMON,
        **EXPERTS,
        "num_local_experts": st.integers(3, 9),
        "intermediate_size_mlp": st.integers(1, 90),
        "interleave_moe_layer_step": st.integers(1, 3),
    },
    "gemma3_text": {**COMMON, "sliding_window_pattern": st.integers(1, 4), "sliding_window": st.just(8)},
    "deepseek_v3": {
        **{key: value for key, value in COMMON.items() if key not in ("head_dim", "num_key_value_heads")},
        **EXPERTS,
        "num_key_value_heads": st.none(),
        "q_lora_rank": st.none() | WIDTHS,
        "kv_lora_rank": WIDTHS,
        "qk_nope_head_dim": WIDTHS,
        "qk_rope_head_dim": WIDTHS.map(lambda n: 2 * n),
        "v_head_dim": WIDTHS,
        "n_routed_experts": st.sampled_from([4, 6, 8]),
        "n_shared_experts": st.integers(1, 3),
        "n_group": st.just(2),
        "topk_group": st.just(1),
        "moe_intermediate_size": WIDTHS,
        "first_k_dense_replace": st.integers(0, 4),
    },
}


@pytest.mark.parametrize("model_type", SHAPES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_parameters(model_type: str, data: st.DataObject) -> None:
    config = {"model_type": model_type, **data.draw(st.fixed_dictionaries(SHAPES[model_type]))}
    model = model_from_config(config, name="random")
    assert model.parameters == parameter_count(config)
    assert windows(model) == layer_windows(config)


# What the makers publish, to the digits that they print.

HALF_PERCENT = 0.005
TOTALS = {
    "deepseek-v3": 671e9,  # arXiv:2412.19437, abstract; without the multi-token-prediction module
    "deepseek-v2": 236e9,  # arXiv:2405.04434, abstract
    "deepseek-v2-lite": 15.7e9,  # model card of deepseek-ai/DeepSeek-V2-Lite
    "mixtral-8x7b": 46.7e9,  # mistral.ai/news/mixtral-of-experts, 2023-12-11
    "mixtral-8x22b": 141e9,  # mistral.ai/news/mixtral-8x22b, 2024-04-17
    "qwen1.5-moe-a2.7b": 14.3e9,  # model card of Qwen/Qwen1.5-MoE-A2.7B
    "qwen2-57b-a14b": 57.4e9,  # Qwen2 technical report, arXiv:2407.10671, table 1 (57B); hub: 57.4B
    "qwen3-235b-a22b": 235e9,  # Qwen3 technical report, arXiv:2505.09388, and model card
    "qwen3-30b-a3b": 30.5e9,  # model card of Qwen/Qwen3-30B-A3B
    "qwen3-coder-480b-a35b": 480e9,  # model card of Qwen/Qwen3-Coder-480B-A35B-Instruct
    "gpt-oss-120b": 116.83e9,  # gpt-oss model card, arXiv:2508.10925, table 1
    "gpt-oss-20b": 20.91e9,  # the same
    "llama-3.1-405b": 405e9,  # arXiv:2407.21783, abstract
    "llama-3.1-70b": 70.6e9,  # model card of meta-llama/Llama-3.1-70B, size shown by the hub
    "llama-3.1-8b": 8.03e9,  # the same for 8B
    "llama-3.2-1b": 1.23e9,  # model card of meta-llama/Llama-3.2-1B
    "llama-3.2-3b": 3.21e9,  # the same
    "llama-4-maverick": 400e9,  # model card of meta-llama/Llama-4-Maverick-17B-128E
    "llama-13b": 13.0e9,  # arXiv:2302.13971, table 2
    "mistral-7b-v0.1": 7.24e9,  # size shown by the hub
    "gemma-2-27b": 1_180e6 + 26_047e6,  # arXiv:2408.00118, table 2: embedding and other parameters
    "gemma-2-9b": 918e6 + 8_324e6,  # the same
    "gemma-2-2b": 590e6 + 2_024e6,  # the same
    "gemma-3-27b": 1_416e6 + 25_600e6,  # arXiv:2503.19786, table 1: without the image encoder
    "gemma-3-12b": 1_012e6 + 10_759e6,  # the same
    "gemma-3-4b": 675e6 + 3_209e6,  # the same
    "gemma-3-1b": 302e6 + 698e6,  # the same
    "phi-4": 14.7e9,  # size shown by the hub; arXiv:2412.08905 says 14B
    "phi-3-mini": 3.82e9,  # size shown by the hub; arXiv:2404.14219 says 3.8B
    "qwen2.5-7b": 7.61e9,  # model card of Qwen/Qwen2.5-7B
    "qwen2.5-72b": 72.7e9,  # model card of Qwen/Qwen2.5-72B
    "gpt2": 124e6,  # README of openai/gpt-2
    "gpt2-xl": 1558e6,  # the same
    "gpt3-175b": 174_600e6,  # arXiv:2005.14165, table D.1
    "opt-66b": 66e9,  # arXiv:2205.01068, table 1
    "opt-175b": 175e9,  # the same
}


@pytest.mark.parametrize("name", TOTALS)
def test_published_totals(name: str) -> None:
    assert catalog.model(name).parameters == pytest.approx(TOTALS[name], rel=HALF_PERCENT)


@pytest.mark.parametrize("name", MODELS)
def test_catalog_agrees_with_its_own_published_total(name: str) -> None:
    model = catalog.model(name)
    if model.published is None or model.published.estimate:
        pytest.skip("its makers have published no size; the catalog says that it is an estimate")
    assert model.parameters == pytest.approx(model.published.total, rel=HALF_PERCENT)


# name: (published, whether the maker counts the input embedding table as active, tolerance: half a unit of the last digit)
ACTIVE = {
    "mixtral-8x7b": (12.9e9, True, 0.05e9),  # mistral.ai/news/mixtral-of-experts
    "mixtral-8x22b": (39e9, True, 0.5e9),  # mistral.ai/news/mixtral-8x22b
    "qwen1.5-moe-a2.7b": (2.7e9, True, 0.05e9),  # model card
    "qwen2-57b-a14b": (14e9, True, 0.5e9),  # arXiv:2407.10671, table 1
    "qwen3-235b-a22b": (22e9, True, 0.5e9),  # arXiv:2505.09388
    "qwen3-30b-a3b": (3.3e9, True, 0.06e9),  # model card; 3.353 was cut, not rounded
    "qwen3-coder-480b-a35b": (35e9, True, 0.5e9),  # model card
    "llama-4-scout": (17e9, True, 0.5e9),  # model card
    "llama-4-maverick": (17e9, True, 0.5e9),  # model card
    "deepseek-v2": (21e9, False, 0.5e9),  # arXiv:2405.04434, abstract
    "deepseek-v2-lite": (2.4e9, False, 0.06e9),  # model card; 2.451 was cut, not rounded
    "deepseek-v3": (36.7e9, False, 0.1e9),  # README_WEIGHTS.md (its tables of 0.9B counted once); "37B" in arXiv:2412.19437
    "gpt-oss-120b": (5.13e9, False, 0.005e9),  # arXiv:2508.10925, table 1: "unembedding ... but not embeddings"
    "gpt-oss-20b": (3.61e9, False, 0.005e9),  # the same
}


@pytest.mark.parametrize("name", ACTIVE)
def test_published_active_parameters(name: str) -> None:
    published, counts_table, tolerance = ACTIVE[name]
    model = catalog.model(name)
    table = 0 if counts_table else model.embedding.table_parameters
    assert model.active_parameters - table == pytest.approx(published, abs=tolerance)


# Qwen's and Google's cards give the parameters outside of the tables as well.
OUTSIDE_OF_TABLES = {
    "qwen2.5-7b": 6.53e9,  # model card of Qwen/Qwen2.5-7B: "Number of Paramaters (Non-Embedding)"
    "qwen2.5-72b": 70.0e9,
    "qwen3-235b-a22b": 234e9,
    "qwen3-30b-a3b": 29.9e9,
    "gemma-3-27b": 25_600e6,  # arXiv:2503.19786, table 1
    "gemma-3-1b": 698e6,
    "gemma-2-9b": 8_324e6,  # arXiv:2408.00118, table 2
}


@pytest.mark.parametrize("name", OUTSIDE_OF_TABLES)
def test_published_parameters_outside_of_tables(name: str) -> None:
    model = catalog.model(name)
    tables = model.embedding.parameters - model.embedding.final_norm_parameters
    assert model.parameters - tables == pytest.approx(OUTSIDE_OF_TABLES[name], rel=HALF_PERCENT)


def test_dense_models_are_wholly_active() -> None:
    model = catalog.model("llama-3.1-8b")
    assert model.active_parameters == model.parameters
    assert not model.is_mixture_of_experts


@pytest.mark.parametrize(
    ("base", "changes", "field"),
    [
        ("llama-multi-head", {"hidden_size": None}, "hidden_size"),
        ("llama-multi-head", {"num_key_value_heads": 4}, "num_key_value_heads"),
        ("llama-multi-head", {"hidden_size": 50}, "hidden_size"),
        ("llama-multi-head", {"vocab_size": -3}, "vocab_size"),
        ("llama-multi-head", {"attention_bias": "yes"}, "attention_bias"),
        ("mixtral", {"num_experts_per_tok": 6}, "num_experts_per_tok"),
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types"),
        ("gemma2", {"layer_types": ["round_attention"] * 5}, "layer_types"),
        ("qwen2-layer-types", {"use_sliding_window": False}, "sliding_window"),
        ("qwen3_moe", {"mlp_only_layers": [5]}, "mlp_only_layers"),
        ("deepseek_v3", {"moe_layer_freq": 2}, "moe_layer_freq"),
        ("llama4_text-moe-layers", {"no_rope_layers": [1]}, "no_rope_layers"),
        ("llama4_text-moe-layers", {"layer_types": ["sliding_attention"] * 5}, "layer_types"),
        ("llama-multi-head", {"model_type": "lama"}, "model_type"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_impossible_configurations_name_the_key(base: str, changes: dict[str, Any], field: str) -> None:
    config = {"max_position_embeddings": 64, **TINY[base], **changes}
    with pytest.raises(SpecError) as caught:
        model_from_config(config, name="broken")
    assert caught.value.field == field
