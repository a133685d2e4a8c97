"""Reading `config.json`: what is taken, and what a broken, strange or hostile file is told."""

import copy
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from time_limit import time_limit

from genz.errors import GenZError, InvalidValueError, SpecError
from genz.specs import catalog
from genz.specs.config import Config
from genz.specs.huggingface import model_from_config, model_from_path
from genz.specs.model import ModelSpec
from genz.specs.readers import COMPOSITES, READERS

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
GEMMA: dict[str, Any] = {
    **LLAMA,
    "model_type": "gemma2",
    "head_dim": 8,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
MIXTRAL: dict[str, Any] = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
QWEN_MOE: dict[str, Any] = {
    **LLAMA,
    "model_type": "qwen3_moe",
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "head_dim": 8,
    "mlp_only_layers": [0],
}
DEEPSEEK: dict[str, Any] = {
    **LLAMA,
    "model_type": "deepseek_v3",
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}
BASES = {"llama": LLAMA, "gemma2": GEMMA, "mixtral": MIXTRAL, "qwen3_moe": QWEN_MOE, "deepseek_v3": DEEPSEEK}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., ModelSpec]:
    """Write a config.json into a folder of its own and load it by the path of the file."""

    def load(content: Any, name: str = "config.json", **options: Any) -> ModelSpec:
        path = tmp_path / "model" / name
        path.parent.mkdir(exist_ok=True)
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return catalog.model(str(path), **options)

    return load


def refused(act: Callable[[], Any], *words: str, kind: type[GenZError] = SpecError) -> GenZError:
    with pytest.raises(kind) as caught:
        act()
    for word in words:
        assert word in str(caught.value)
    return caught.value


# What is taken


def test_a_config_by_file_by_folder_and_by_mapping_is_the_same_model(load: Any, tmp_path: Path) -> None:
    by_file = load(LLAMA)
    by_folder = catalog.model(str(tmp_path / "model"))
    by_mapping = model_from_config(LLAMA, name="model")
    for model in (by_file, by_folder, by_mapping):
        assert (model.name, model.model_type, model.dtype, model.max_context) == ("model", "llama", "bf16", 2048)
        assert model.layers == by_file.layers and model.embedding == by_file.embedding
    # 2 x 1000 x 64 tables, 3 x (64 x (64 + 16 + 16) + 64 x 64 attention + 3 x 64 x 128 network + 2 x 64 norms), 64 norm
    assert by_file.parameters == 2 * 64_000 + 3 * (64 * 96 + 4096 + 24_576 + 128) + 64


@pytest.mark.parametrize("name", BASES)
def test_the_bases_of_these_tests_are_sound(name: str) -> None:
    assert model_from_config(BASES[name], name=name).parameters > 0


def test_whole_numbers_may_be_written_as_floats() -> None:
    assert model_from_config({**LLAMA, "hidden_size": 64.0}, name="x").hidden == 64


def test_newer_spellings_go_before_older_ones_and_null_is_absent() -> None:
    model = model_from_config({**LLAMA, "dtype": "float16", "head_dim": None, "num_key_value_heads": None}, name="x")
    assert model.dtype == "fp16"
    assert model.layers[0].token_mixer is not None and model.layers[0].token_mixer.kv_heads == 8  # type: ignore[union-attr]


def test_a_file_without_a_type_holds_single_precision() -> None:
    assert model_from_config({k: v for k, v in LLAMA.items() if k != "torch_dtype"}, name="x").dtype == "fp32"


def test_keys_that_nobody_knows_are_ignored() -> None:
    assert model_from_config({**LLAMA, "zzz": {"a": [1, None]}, "rope_scaling": 3}, name="x").parameters


def test_treat_as_reads_another_type(load: Any) -> None:
    assert load({**LLAMA, "model_type": "yi"}, treat_as="llama").model_type == "llama"
    refused(lambda: load({**LLAMA, "model_type": "yi"}, treat_as="lama"), "'lama'", "'llama'")
    for wrong in (3, ["llama"], {}):
        refused(lambda wrong=wrong: catalog.model("llama-3-8b", treat_as=wrong), "treat_as", kind=InvalidValueError)  # type: ignore[misc]


def test_the_reading_does_not_change_the_mapping() -> None:
    for base in BASES.values():
        before = copy.deepcopy(base)
        model_from_config(base, name="x")
        assert base == before


# What is no config.json

NO_JSON: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "not valid JSON"),
    "blank": (" \n", "not valid JSON"),
    "truncated": (json.dumps(LLAMA)[:-40], "not valid JSON"),
    "two documents": (json.dumps(LLAMA) * 2, "not valid JSON"),
    "yaml": ("model_type: llama\n", "not valid JSON"),
    "html": ("<!DOCTYPE html><html></html>", "not valid JSON"),
    "git lfs pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "not valid JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + json.dumps(LLAMA).encode(), "not valid JSON"),
    "not utf-8": (json.dumps({**LLAMA, "x": "é"}, ensure_ascii=False).encode("latin-1"), "UTF-8"),
    "utf-16": (json.dumps(LLAMA).encode("utf-16"), "UTF-8"),
    "binary": (bytes(range(256)) * 10, "UTF-8"),
    "list": ("[]", "holds a list"),
    "null": ("null", "holds nothing"),
    "number": ("3", "a single value"),
    "text": ('"llama"', "holds a text"),
    "nested lists": ('{"layer_types": ' + "[" * 10_000 + "]" * 10_000 + "}", "not valid JSON"),
    "nested objects": ('{"a": ' * 10_000 + "1" + "}" * 10_000, "not valid JSON"),
    "nested and open": ("[" * 10**6, "not valid JSON"),
    "nested less": (json.dumps(LLAMA)[:-1] + ', "x": ' + "[" * 500 + "]" * 500 + "}", "nested"),
    "endless integer": (json.dumps(LLAMA)[:-1] + ', "hidden_size": ' + "9" * 10_000 + "}", "not valid JSON"),
    "contradiction": (json.dumps(LLAMA)[:-1] + ', "hidden_size": 128}', "'hidden_size' is given twice"),
}


@pytest.mark.parametrize(("content", "words"), NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json(load: Any, content: str | bytes, words: str) -> None:
    error = refused(lambda: load(content), "config.json", words)
    assert len(str(error)) < 1000


OTHER_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "tokenizer_config.json": ({"tokenizer_class": "LlamaTokenizer", "model_max_length": 2048}, "tokenizer"),
    "tokenizer.json": ({"version": "1.0", "added_tokens_decoder": {}}, "tokenizer"),
    "generation_config.json": ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, "generation_config"),
    "generation_config.json of gpt2": ({"_from_model_config": True, "bos_token_id": 50256}, "generation_config"),
    "model.safetensors.index.json": ({"metadata": {"total_size": 1}, "weight_map": {"a": "b"}}, "index of weight files"),
    "empty object": ({}, "model_type"),
}


@pytest.mark.parametrize(("content", "words"), OTHER_FILES.values(), ids=OTHER_FILES.keys())
def test_another_file_of_the_hub_is_recognised(load: Any, content: dict[str, Any], words: str) -> None:
    error = refused(lambda: load(content), "there is no 'model_type'", words, "llama")
    assert error.field == "model_type"


@pytest.mark.parametrize("value", [3, True, ["llama"], {"a": 1}, 1.5], ids=repr)
def test_a_type_that_is_no_text(load: Any, value: Any) -> None:
    refused(lambda: load({**LLAMA, "model_type": value}), "model_type", repr(value), "llama")


@pytest.mark.parametrize(
    ("wrong", "near"), [("lama", "llama"), ("qwen3moe", "qwen3_moe"), ("gemma33", "gemma3"), ("mixtrl", "mixtral")]
)
def test_an_unknown_type_names_the_nearest_and_the_way_out(load: Any, wrong: str, near: str) -> None:
    error = refused(lambda: load({**LLAMA, "model_type": wrong}), repr(wrong), f"the nearest is {near!r}", f"'--as {near}'")
    assert error.field == "model_type" and error.value == wrong
    assert set(str(error.allowed).split(", ")) == {*READERS, *COMPOSITES}


def test_a_type_that_is_like_no_other_still_names_the_way_out(load: Any) -> None:
    refused(lambda: load({**LLAMA, "model_type": "zzzzzz"}), "'zzzzzz'", "--as")


# Keys

REQUIRED = [
    (base, key)
    for base, keys in {
        "llama": (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "max_position_embeddings",
        ),
        "mixtral": ("num_local_experts",),
        "qwen3_moe": ("num_experts", "num_experts_per_tok", "moe_intermediate_size"),
        "deepseek_v3": ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "n_routed_experts"),
    }.items()
    for key in keys
]


@pytest.mark.parametrize("lost", ["absent", "null"])
@pytest.mark.parametrize(("base", "key"), REQUIRED, ids=[f"{b}-{k}" for b, k in REQUIRED])
def test_a_missing_key_is_named(load: Any, base: str, key: str, lost: str) -> None:
    raw = {k: v for k, v in BASES[base].items() if k != key} | ({key: None} if lost == "null" else {})
    error = refused(lambda: load(raw), f"the key {key!r} is missing", "config.json")
    assert error.field == key and f"nearest key in it is {key!r}" not in str(error)


def test_a_misspelt_key_is_found(load: Any) -> None:
    raw = {("hiden_size" if k == "hidden_size" else k): v for k, v in LLAMA.items()}
    refused(lambda: load(raw), "'hidden_size' is missing", "the nearest key in it is 'hiden_size'")


COUNTS = [("llama", key) for key in LLAMA if isinstance(LLAMA[key], int) and not isinstance(LLAMA[key], bool)]
COUNTS += [
    ("llama", "head_dim"),
    ("gemma2", "sliding_window"),
    ("mixtral", "num_local_experts"),
    ("mixtral", "num_experts_per_tok"),
]
COUNTS += [("qwen3_moe", "num_experts"), ("qwen3_moe", "moe_intermediate_size"), ("qwen3_moe", "decoder_sparse_step")]
COUNTS += [("deepseek_v3", k) for k in ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "v_head_dim", "n_routed_experts")]
# As they stand in the file.
NO_COUNTS = {
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "overflow": "1e400",
    "nan": "NaN",
    "negative": "-8",
    "zero": "0",
    "true": "true",
    "false": "false",
    "text": '"64"',
    "empty text": '""',
    "list": "[64]",
    "object": '{"value": 64}',
    "half": "64.5",
    "absurd": "1e30",
    "absurd integer": "1" + "0" * 40,
    "nested": "[" * 90 + "]" * 90,
    "tiny": "1e-300",
}


@pytest.mark.parametrize("value", NO_COUNTS.values(), ids=NO_COUNTS.keys())
@pytest.mark.parametrize(("base", "key"), COUNTS, ids=[f"{b}-{k}" for b, k in COUNTS])
def test_a_count_that_cannot_be_is_refused(load: Any, base: str, key: str, value: str) -> None:
    text = json.dumps({**BASES[base], key: "HERE"}).replace('"HERE"', value)
    # Experts a token may be told layer by layer.
    is_list = key == "num_experts_per_tok" and value.startswith("[")
    error = refused(lambda: load(text), "config.json", key, "a list of" if is_list else "a whole number from 1 to")
    assert error.field == key and len(str(error)) < 600


FLAGS = [
    ("llama", "tie_word_embeddings"),
    ("llama", "attention_bias"),
    ("llama", "mlp_bias"),
    ("qwen3_moe", "use_sliding_window"),
]


@pytest.mark.parametrize("value", ["1", "0", '"true"', "[]", "NaN", "{}"])
@pytest.mark.parametrize(("base", "key"), FLAGS, ids=[k for _, k in FLAGS])
def test_a_flag_that_is_none_is_refused(load: Any, base: str, key: str, value: str) -> None:
    text = json.dumps({**BASES[base], key: "HERE"}).replace('"HERE"', value)
    error = refused(lambda: load(text), key, "true or false")
    assert error.field == key


@pytest.mark.parametrize("value", [3, True, [], {}, 1.5], ids=repr)
def test_a_type_of_numbers_that_is_no_text(load: Any, value: Any) -> None:
    refused(lambda: load({**LLAMA, "torch_dtype": value}), "torch_dtype", repr(value), "a text")


@pytest.mark.parametrize(
    ("value", "near"), [("bfloat61", None), ("bf61", "bf16"), ("", None), ("auto", None), ("\ud800", None)], ids=repr
)
def test_an_unknown_type_of_numbers(load: Any, value: str, near: str | None) -> None:
    error = refused(lambda: load({**LLAMA, "torch_dtype": value}), "config.json", "torch_dtype", "bf16, ")
    assert near is None or f"did you mean {near!r}" in str(error)
    str(error).encode()  # it can be printed


SHAPES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "heads that do not divide the width": (
        {**LLAMA, "num_attention_heads": 7, "num_key_value_heads": 7},
        ["hidden_size = 64", "a multiple of", "heads = 7"],
    ),
    "key heads that do not divide the heads": ({**LLAMA, "num_key_value_heads": 3}, ["num_key_value_heads = 3", "divisor of"]),
    "more key heads than heads": ({**LLAMA, "num_key_value_heads": 16}, ["num_key_value_heads = 16", "divisor of"]),
    "too few layer types": (
        {**GEMMA, "layer_types": ["full_attention"] * 2},
        ["layer_types = [", "has 2 entries", "a list of 3 entries"],
    ),
    "too many layer types": (
        {**GEMMA, "layer_types": ["full_attention"] * 4},
        ["layer_types = [", "has 4 entries", "a list of 3 entries"],
    ),
    "no layer types": ({**GEMMA, "layer_types": []}, ["layer_types = []", "has 0 entries", "a list of 3 entries"]),
    "layer types as text": ({**GEMMA, "layer_types": "full_attention"}, ["layer_types = 'full_attention' is not a list"]),
    "unknown layer type": (
        {**GEMMA, "layer_types": ["full_attention", "mamba", "full_attention"]},
        ["layer_types = 'mamba'", "full_attention"],
    ),
    "layer type as a number": ({**GEMMA, "layer_types": [1, 2, 3]}, ["layer_types = 1"]),
    "layer type as a list": ({**GEMMA, "layer_types": [["full_attention"]] * 3}, ["layer_types = ['full_attention']"]),
    "too many layers": ({**LLAMA, "num_hidden_layers": 10_001}, ["num_hidden_layers = 10001", "10,000"]),
    "more experts picked than there are": (
        {**MIXTRAL, "num_experts_per_tok": 5},
        ["num_experts_per_tok = 5", "at most the number of experts, 4"],
    ),
    "more experts picked, deepseek": ({**DEEPSEEK, "num_experts_per_tok": 5}, ["num_experts_per_tok = 5", "4"]),
    "dense layer beyond the last": ({**QWEN_MOE, "mlp_only_layers": [3]}, ["mlp_only_layers = 3", "0 to 2"]),
    "dense layer before the first": ({**QWEN_MOE, "mlp_only_layers": [-1]}, ["mlp_only_layers = -1"]),
    "dense layer as truth": ({**QWEN_MOE, "mlp_only_layers": [True]}, ["mlp_only_layers = True"]),
    "dense layers as a number": ({**QWEN_MOE, "mlp_only_layers": 1}, ["mlp_only_layers = 1 is not a list"]),
    "unknown quantisation": (
        {**LLAMA, "quantization_config": {"quant_method": "quip"}},
        ["quantization_config.quant_method = 'quip'", "awq"],
    ),
    "quantisation as text": ({**LLAMA, "quantization_config": "awq"}, ["quantization_config = 'awq'", "a mapping"]),
}


@pytest.mark.parametrize(("raw", "words"), SHAPES.values(), ids=SHAPES.keys())
def test_a_shape_that_cannot_be_is_refused(load: Any, raw: dict[str, Any], words: list[str]) -> None:
    error = refused(lambda: load(raw), "config.json", *words)
    assert error.field and error.allowed


def test_a_long_value_is_cut_in_the_error(load: Any) -> None:
    error = refused(lambda: load({**GEMMA, "layer_types": ["full_attention"] * 50_000}), "50000 entries")
    assert len(str(error)) < 400
    error = refused(lambda: load({**LLAMA, "hidden_size": "x" * 10**6}), "hidden_size = 'xxx")
    assert len(str(error)) < 600


def test_the_readers_of_keys_say_what_they_need() -> None:
    config = Config({"a": 3, "b": "x", "c": [1], "d": 0}, origin="here")
    assert config.count("z", "a") == 3 and config.count("z", default=5) == 5 and config.optional_count("z") is None
    assert config.text("b", default="y") == "x" and config.text("z", default="y") == "y"
    assert (
        config.sequence("c", length=1) == [1] and config.sequence("z") is None and config.indices("z", below=1) == frozenset()
    )
    assert config.flag("z", default=True) is True and config.count("d", least=0) == 0
    refused(lambda: config.count("d"), "here: d = 0 is not allowed; allowed: a whole number from 1 to 100,000,000")
    refused(lambda: config.count("a", most=2), "from 1 to 2")
    refused(lambda: config.text("a", default=""), "a = 3", "a text")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 200) | st.floats() | st.sampled_from(["full_attention", "float16", "", "8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize("base", BASES)
@given(data=st.data())
def test_any_value_of_any_key_gives_a_model_or_a_typed_error(base: str, data: st.DataObject) -> None:
    raw = BASES[base]
    changes = data.draw(st.dictionaries(st.sampled_from([*sorted(raw), "quantization_config", "head_dim"]), values, max_size=2))
    try:
        model = model_from_config({**raw, **changes}, name="x")
    except GenZError:
        return
    assert model.parameters > 0 and model.max_context > 0 and 0 < model.active_parameters <= model.parameters


# Files and folders


def test_missing_paths_and_folders(tmp_path: Path) -> None:
    refused(lambda: catalog.model(str(tmp_path / "nowhere" / "config.json")), "No such file")
    refused(lambda: catalog.model(str(tmp_path / "nowhere")), "nowhere", kind=GenZError)
    refused(lambda: catalog.model("./nowhere"), "No such file")
    refused(lambda: catalog.model(str(tmp_path)), "is a folder without a config.json")
    refused(lambda: model_from_path(tmp_path), "is a folder without a config.json")


def test_things_named_config_json_that_are_no_files(tmp_path: Path) -> None:
    for name, make in {
        "folder": lambda p: p.mkdir(),
        "pipe": os.mkfifo,
        "loop": lambda p: p.symlink_to(p),
        "dangling": lambda p: p.symlink_to("nothing"),
        "device": lambda p: p.symlink_to("/dev/zero"),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        make(folder / "config.json")
        with time_limit(5):
            refused(lambda folder=folder: catalog.model(str(folder)), "config.json")  # type: ignore[misc]
            refused(lambda folder=folder: catalog.model(str(folder / "config.json")), "config.json")  # type: ignore[misc]


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (str(tmp_path / "pipe.json"), "/dev/zero", "/dev/null"):
        with time_limit(5):
            refused(lambda path=path: catalog.model(path), "is not a plain file")  # type: ignore[misc]


def test_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**30)
    refused(lambda: catalog.model(str(path)), "1,073,741,824 bytes", "at most")
    refused(lambda: catalog.model(str(tmp_path)), "1,073,741,824 bytes")


def test_a_folder_named_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").mkdir()
    refused(lambda: catalog.model(str(tmp_path / "model.yaml")), "model.yaml")


def test_a_changed_file_is_read_anew(load: Any, tmp_path: Path) -> None:
    assert load(LLAMA).hidden == 64
    assert load({**LLAMA, "hidden_size": 128}).hidden == 128
    folder = tmp_path / "model"
    assert catalog.model(str(folder)).precision is None
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')
    assert catalog.model(str(folder)).precision is not None
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}')
    assert catalog.model(str(folder)).precision.name == "modelopt-nvfp4"  # type: ignore[union-attr]


# hf_quant_config.json

MODELOPT: dict[str, tuple[dict[str, Any], float, str, str]] = {
    "FP8": ({"quant_algo": "FP8", "kv_cache_quant_algo": None}, 1.0, "fp8", "base"),
    "FP8 with cache": ({"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}, 1.0, "fp8", "fp8"),
    "NVFP4": ({"quant_algo": "NVFP4", "group_size": 16, "kv_cache_quant_algo": "FP8"}, 0.5625, "fp4", "fp8"),
    "W4A16": ({"quant_algo": "W4A16_AWQ", "group_size": 64}, (4 + 16 / 64) / 8, "base", "base"),
    "cache only": ({"quant_algo": None, "kv_cache_quant_algo": "FP8"}, 8.0, "base", "fp8"),
}


@pytest.mark.parametrize(("settings", "bytes_", "compute", "cache"), MODELOPT.values(), ids=MODELOPT.keys())
def test_hf_quant_config_is_honoured(load: Any, tmp_path: Path, settings: Any, bytes_: float, compute: str, cache: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "hf_quant_config.json").write_text(json.dumps({"producer": {"name": "modelopt"}, "quantization": settings}))
    precision = load({**LLAMA, "quantization_config": {"quant_method": "awq", "bits": 4}}).precision
    assert precision.weights.bytes_per_element == pytest.approx(bytes_)
    assert (precision.compute, precision.kv_cache) == (compute, cache)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"quantization": 8}',
        '{"quantization": {"quant_algo": "FP7"}}',
        '{"quantization": {"quant_algo": ["FP8"]}}',
        '{"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP2"}}',
        '{"quantization": {"quant_algo": "NVFP4", "group_size": 0}}',
    ],
)
def test_a_broken_hf_quant_config_is_told_of(load: Any, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "hf_quant_config.json").write_text(content)
    refused(lambda: load(LLAMA), "hf_quant_config.json")


# The model files of the catalog

MODEL = {
    "model": "toy",
    "title": "Toy",
    "aliases": ["acme/toy"],
    "sources": {"config": "config.json of acme/toy"},
    "published_parameters": {"total": 1e6, "active": 5e5, "source": "config", "estimate": True},
    "notes": "a note",
    "config": LLAMA,
}


@pytest.fixture
def load_yaml(tmp_path: Path) -> Callable[..., ModelSpec]:
    def load(**changes: Any) -> ModelSpec:
        raw = {k: v for k, v in {**MODEL, **changes}.items() if v != "ABSENT"}
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(raw))
        return catalog.model(str(path))

    return load


def test_a_model_file_is_read_whole(load_yaml: Any) -> None:
    model = load_yaml()
    assert (model.name, model.title, model.aliases, model.notes) == ("toy", "Toy", ("acme/toy",), "a note")
    published = model.published
    assert (published.total, published.active, published.source, published.estimate) == (
        1e6,
        5e5,
        "config.json of acme/toy",
        True,
    )
    assert load_yaml(published_parameters="ABSENT").published is None
    assert load_yaml(title="ABSENT", aliases="ABSENT", notes="ABSENT").title == ""


BROKEN_MODELS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "misspelt key": ({"sorces": {}}, ["unknown key 'sorces'", "did you mean 'sources'"]),
    "no config": ({"config": "ABSENT"}, ["config: this key is missing"]),
    "config as text": ({"config": "llama"}, ["config: this key is missing"]),
    "no sources": ({"sources": "ABSENT"}, ["sources: this key is missing"]),
    "empty sources": ({"sources": {}}, ["sources: this key is missing"]),
    "sources as a list": ({"sources": ["a"]}, ["'sources'"]),
    "empty citation": ({"sources": {"config": " "}}, ["'sources'"]),
    "name as a number": ({"model": 3}, ["model = 3", "a text"]),
    "title as a list": ({"title": ["x"]}, ["title = ['x']", "a text"]),
    "aliases as text": ({"aliases": "acme/toy"}, ["aliases = 'acme/toy'", "a list"]),
    "aliases as a number": ({"aliases": 3}, ["aliases = 3"]),
    "notes as a number": ({"notes": 3}, ["notes = 3"]),
    "size without a source": ({"published_parameters": {"total": 1e6}}, ["published_parameters.total", "no source"]),
    "size from nowhere": ({"published_parameters": {"total": 1e6, "source": "confg"}}, ["'confg'", "did you mean 'config'"]),
    "no total": ({"published_parameters": {"active": 1e6, "source": "config"}}, ["published_parameters", "total"]),
    "size as a number": ({"published_parameters": {"source": "config"}}, ["published_parameters"]),
    "negative size": ({"published_parameters": {"total": -1, "source": "config"}}, ["published_parameters.total = -1"]),
    "infinite size": ({"published_parameters": {"total": math.inf, "source": "config"}}, ["published_parameters.total = inf"]),
    "size nan": ({"published_parameters": {"total": math.nan, "source": "config"}}, ["published_parameters.total = nan"]),
    "size as truth": ({"published_parameters": {"total": True, "source": "config"}}, ["published_parameters.total = True"]),
    "size as text": ({"published_parameters": {"total": "7B", "source": "config"}}, ["published_parameters.total = '7B'"]),
    "broken config": ({"config": {**LLAMA, "hidden_size": -1}}, ["toy.yaml", "hidden_size = -1"]),
    "unknown type": ({"config": {**LLAMA, "model_type": "lama"}}, ["toy.yaml", "'lama'", "'--as llama'"]),
}


@pytest.mark.parametrize(("changes", "words"), BROKEN_MODELS.values(), ids=BROKEN_MODELS.keys())
def test_broken_model_files(load_yaml: Any, changes: dict[str, Any], words: list[str]) -> None:
    refused(lambda: load_yaml(**changes), "toy.yaml", *words)


def test_the_text_part_of_a_multimodal_configuration_is_read_as_itself() -> None:
    """Keys as in the config.json of google/gemma-3-4b-it."""
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    }
    raw = {
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "text_config": text,
        "vision_config": {"model_type": "siglip_vision_model", "image_size": 896, "patch_size": 14, "hidden_size": 1152},
    }
    whole = model_from_config(raw, name="gemma-3-4b-it")
    assert [encoder.name for encoder in whole.encoders] == ["vision"]
    model = model_from_config(raw, name="gemma-3-4b-it", treat_as="gemma3_text")
    assert model.parameters == catalog.model("gemma-3-4b").parameters
    assert model.dtype == "bf16"
