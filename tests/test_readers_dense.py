"""The further dense decoders against transformers: parameters, FLOPs by kind, windows and caches."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import cache_bytes, parameter_count
from oracle_dense import KINDS, MODEL_TYPES, TINY, complete_default, flops_by_kind, windows

from genz.errors import SpecError
from genz.footprint import request_cache_bytes
from genz.graph.builder import build, matrix_flops
from genz.graph.step import Group, Step
from genz.specs import catalog
from genz.specs.huggingface import model_from_config
from genz.specs.parallelism import Parallelism
from genz.specs.readers import READERS
from genz.specs.workload import Workload

# Phase, sequences, new tokens of each, context of each: beyond the tiny models' windows of 8.
STEPS = {"prefill": ("prefill", 2, 11, 0), "chunk": ("prefill", 2, 5, 20), "decode": ("decode", 3, 1, 13)}


def read_windows(model: Any) -> list[int | None]:
    return [layer.token_mixer.window for layer in model.layers]


def found_by_kind(model: Any, step: tuple[Any, ...], widths: Any) -> dict[str, float]:
    phase, sequences, new_tokens, context = step
    operators = build(
        model,
        Step(phase, (Group(sequences, new_tokens, context),)),
        parallelism=Parallelism(),
        widths=widths,
        engine=catalog.engine("pytorch"),
    )
    counted = dict.fromkeys(KINDS, 0.0)
    for operator in operators:
        kind = "head" if operator.name == "lm_head_gemm" else "attention" if operator.category == "attention" else "linear"
        counted[kind] += matrix_flops([operator])
    return counted


def test_every_type_has_a_reader() -> None:
    assert set(MODEL_TYPES) <= set(READERS)


@pytest.mark.parametrize("name", TINY)
def test_tiny_parameters_and_windows(name: str) -> None:
    model = model_from_config(TINY[name], name=name)
    assert model.parameters == parameter_count(TINY[name])
    assert read_windows(model) == windows(TINY[name])


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_default_parameters_and_windows(model_type: str) -> None:
    config = complete_default(model_type)
    model = model_from_config(config, name=model_type)
    assert model.parameters == parameter_count(config)
    assert read_windows(model) == windows(config)


@pytest.mark.parametrize("name", TINY)
def test_tiny_flops(name: str, bf16: Any) -> None:
    model = model_from_config(TINY[name], name=name)
    assert found_by_kind(model, STEPS["chunk"], bf16) == flops_by_kind(TINY[name], *STEPS["chunk"][1:])


@pytest.mark.slow
@pytest.mark.parametrize("step", ["prefill", "decode"])
@pytest.mark.parametrize("name", TINY)
def test_tiny_flops_of_other_steps(name: str, step: str, bf16: Any) -> None:
    found = found_by_kind(model_from_config(TINY[name], name=name), STEPS[step], bf16)
    assert found == flops_by_kind(TINY[name], *STEPS[step][1:])


def catalog_config(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load(Path(catalog.files("model")[name]).read_text(encoding="utf-8"))["config"]
    return raw


CATALOG = [name for name in catalog.names("model") if catalog_config(name)["model_type"] in MODEL_TYPES]


@pytest.mark.parametrize("name", CATALOG)
def test_catalog_parameters_and_windows(name: str) -> None:
    model, config = catalog.model(name), catalog_config(name)
    assert model.parameters == parameter_count(config)
    assert read_windows(model) == windows(config)


# Types whose code lies beside their weights: what the makers' files count.
CUSTOM_CODE = {
    "baichuan2-7b": 7_505_973_248,
    "baichuan2-13b": 13_896_668_160,
    "internlm2.5-7b": 7_737_708_544,
    "internlm2.5-20b": 19_861_149_696,
    "qwen-7b": 7_721_324_544,
    "qwen-14b": 14_167_290_880,
    "qwen-72b": 72_287_920_128,
    "chatglm3-6b": 6_243_584_000,
    "glm-4-9b": 9_399_951_360,  # the same model as transformers' glm at its defaults
    "exaone-3.5-7.8b": 7_818_448_896,
    "minicpm-2b": 2_724_880_896,
}


@pytest.mark.parametrize("name", CUSTOM_CODE)
def test_published_parameters_of_custom_code(name: str) -> None:
    assert catalog.model(name).parameters == CUSTOM_CODE[name]


def test_glm_4_of_both_files_is_one_model() -> None:
    """GLM-4-9B was published as chatglm and converted to transformers' glm: parameters and KV cache must be the same."""
    own, converted = catalog.model("glm-4-9b"), model_from_config(complete_default("glm"), name="glm")
    assert own.parameters == converted.parameters == parameter_count(complete_default("glm"))
    assert own.layers == converted.layers


@pytest.mark.slow
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_default_flops(model_type: str, bf16: Any) -> None:
    config = complete_default(model_type)
    model = model_from_config(config, name=model_type)
    for step in STEPS.values():
        assert found_by_kind(model, step, bf16) == flops_by_kind(config, *step[1:])


# What transformers keeps differs: a sliding layer keeps one token fewer than its window (the present one always brings its
# own key), GPT-Neo's local layers keep all tokens though they see the last ones alone.


@pytest.mark.parametrize("name", [name for name in TINY if not name.startswith("gpt_neo")])
@pytest.mark.parametrize("tokens", [6, 15])
def test_cache(name: str, tokens: int, bf16: Any) -> None:
    config = TINY[name]
    model = model_from_config(config, name=name)
    found = request_cache_bytes(model, bf16, Workload(tokens - 1, 1))
    full = [m for m in (layer.token_mixer for layer in model.layers) if m.window is not None and m.window <= tokens]
    kept_less = 2 * sum(mixer.cached_width() for mixer in full)
    assert found - kept_less == cache_bytes(config, 1, tokens)


COMMON = {
    "hidden_size": st.integers(1, 10).map(lambda n: 12 * n),
    "intermediate_size": st.integers(1, 90),
    "vocab_size": st.integers(3, 200),
    "num_hidden_layers": st.integers(1, 7),
    "num_attention_heads": st.sampled_from([2, 4, 6]),
    "num_key_value_heads": st.just(2),
    "tie_word_embeddings": st.booleans(),
    "max_position_embeddings": st.just(64),
    "pad_token_id": st.none(),
    "bos_token_id": st.none(),
    "eos_token_id": st.none(),
}
BIASES = {"attention_bias": st.booleans(), "mlp_bias": st.booleans()}
WIDE = {"head_dim": st.integers(1, 12).map(lambda n: 2 * n)}
WINDOWS = {"sliding_window": st.just(8)}
SHAPES: dict[str, dict[str, Any]] = {
    "starcoder2": {**COMMON, "use_bias": st.booleans(), "sliding_window": st.none() | st.just(8)},
    "gemma": {**COMMON, **WIDE, "attention_bias": st.booleans()},
    "phi": {**COMMON, "qk_layernorm": st.booleans()},
    "stablelm": {
        **COMMON,
        "qk_layernorm": st.booleans(),
        "use_parallel_residual": st.booleans(),
        "use_qkv_bias": st.booleans(),
    },
    "cohere": {**COMMON, "use_qk_norm": st.booleans(), "attention_bias": st.booleans()},
    "cohere2": {**COMMON, **WINDOWS, "sliding_window_pattern": st.integers(1, 4), "attention_bias": st.booleans()},
    "olmo2": {**COMMON, "attention_bias": st.booleans()},
    "olmo3": {**COMMON, **WINDOWS, "attention_bias": st.booleans()},
    "granite": {**COMMON, **BIASES},
    "glm4": {**COMMON, **WIDE, "attention_bias": st.booleans()},
    "nemotron": {**COMMON, **WIDE, **BIASES},
    "smollm3": {
        **COMMON,
        **BIASES,
        **WINDOWS,
        "use_sliding_window": st.booleans(),
        "no_rope_layer_interval": st.integers(1, 4),
    },
    "exaone4": {**COMMON, **WIDE, **WINDOWS, "sliding_window_pattern": st.integers(1, 5)},
    "ernie4_5": {**COMMON, **WIDE, "use_bias": st.booleans()},
    "hunyuan_v1_dense": {**COMMON, **WIDE, "attention_bias": st.booleans()},
    "seed_oss": {**COMMON, **WIDE, **BIASES, "attention_out_bias": st.booleans()},
    "arcee": {**COMMON, **WIDE, **BIASES},
    "apertus": {**COMMON, "attention_bias": st.booleans()},
    "ministral": {**COMMON, **WIDE, "sliding_window": st.none() | st.just(8)},
}


@pytest.mark.parametrize("model_type", SHAPES)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_parameters_and_windows(model_type: str, data: st.DataObject) -> None:
    config = {"model_type": model_type, **data.draw(st.fixed_dictionaries(SHAPES[model_type]))}
    model = model_from_config(config, name="random")
    assert model.parameters == parameter_count(config)
    assert read_windows(model) == windows(config)


# Keys that transformers derives from others, or reads in a form of its own.
DERIVED = ("layer_types", "no_rope_layers", "attention_types", "attention_layers")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_key_left_out_is_asked_for_or_taken_as_transformers_does(model_type: str) -> None:
    whole = complete_default(model_type)
    expected = parameter_count(whole), windows(whole)
    wrong = {}
    for key in whole.keys() - {"model_type", *COMPLETED.get(model_type, ())}:
        try:
            model = model_from_config({name: value for name, value in whole.items() if name != key}, name=model_type)
        except SpecError as error:
            fine, found = error.field == SPELLINGS.get(key, key), error.field
        else:
            fine, found = (model.parameters, read_windows(model)) == expected, model.parameters
        if not fine:
            wrong[key] = found
    assert wrong == {}


COMPLETED = {"nemotron": ("num_key_value_heads",)}
SPELLINGS = {
    "n_embd": "hidden_size",
    "d_model": "hidden_size",
    "n_head": "num_attention_heads",
    "n_heads": "num_attention_heads",
    "num_heads": "num_attention_heads",
    "attention_heads": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_layers": "num_hidden_layers",
    "num_layers": "num_hidden_layers",
    "max_seq_len": "max_position_embeddings",
    "n_positions": "max_position_embeddings",
    "head_dim": "hidden_size",
}


@pytest.mark.parametrize(
    ("base", "changes", "field"),
    [
        ("gpt_neo", {"attention_types": [[["global", "local"], 1]]}, "attention_types"),
        ("gpt_neo", {"attention_types": [[["global", "sideways"], 2]]}, "attention_types"),
        ("gpt_neo", {"attention_types": ["global"]}, "attention_types"),
        ("mpt", {"no_bias": False}, "no_bias"),
        ("mpt", {"attn_config": {"qk_ln": True}}, "attn_config.qk_ln"),
        ("mpt", {"attn_config": {"attn_type": "round_attention"}}, "attn_config.attn_type"),
        ("mpt", {"attn_config": {"attn_type": "grouped_query_attention"}}, "kv_n_heads"),
        ("mpt", {"attn_config": {"attn_type": "grouped_query_attention", "kv_n_heads": 3}}, "attn_config.kv_n_heads"),
        ("mpt", {"attn_config": []}, "attn_config"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ("smollm3", {"no_rope_layers": [1, 0, 2, 1]}, "no_rope_layers"),
        ("exaone4", {"sliding_window_pattern": "LLX"}, "sliding_window_pattern"),
        ("olmo3", {"layer_types": ["full_attention"]}, "layer_types"),
        ("cohere2", {"layer_types": ["chunked_attention"] * 6}, "layer_types"),
        ("ministral-8b-style", {"sliding_window": None}, "sliding_window"),
        ("stablelm", {"qk_layernorm": "yes"}, "qk_layernorm"),
        ("glm", {"num_key_value_heads": 4}, "num_key_value_heads"),
        ("phi", {"hidden_size": 50}, "hidden_size"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_impossible_configurations_name_the_key(base: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_from_config({**TINY[base], **changes}, name="broken")
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("own", "kv_heads"),
    [({"attn_type": "multiquery_attention"}, 1), ({"attn_type": "grouped_query_attention", "kv_n_heads": 2}, 2)],
    ids=["multi-query", "grouped"],
)
def test_key_heads_of_mpt(own: dict[str, Any], kv_heads: int) -> None:
    """As in MosaicML's own code: of 4 heads of 10, each key head that is left out saves 2 x 40 x 10 in each of 3 layers."""
    model = model_from_config({**TINY["mpt"], "attn_config": own}, name="mpt")
    assert model.layers[0].token_mixer.kv_heads == kv_heads  # type: ignore[union-attr]
    assert parameter_count(TINY["mpt"]) - model.parameters == 3 * (4 - kv_heads) * 2 * 40 * 10


def test_letters_say_which_layers_slide() -> None:
    """LLLG: three local layers to a global one, and the last is global whatever its letter says."""
    config = {**TINY["exaone4"], "sliding_window_pattern": "LLLG"}
    assert read_windows(model_from_config(config, name="letters")) == [8, 8, 8, None, 8, None]
