"""Number formats: bytes by hand, what a chip computes, and what a model's own files ask for."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz.errors import GenZError, SpecError, UnknownNameError, UnsupportedError
from genz.specs import catalog
from genz.specs.precision import DATA_TYPES, Format, Precision, Widths, data_type, settle
from genz.specs.quantization import precision_from_config, precision_from_modelopt

PRECISIONS = catalog.names("precision")

# Bytes of one weight, worked by hand: (bits + (scale + zero point) / group) / 8.
WEIGHT_BYTES = {
    "fp32": 4.0,
    "tf32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "w8a16": 1.0,
    "fp8-block": 1 + 4 / 16384,  # a 4-byte scale for 128 x 128 weights
    "int4": 0.515625,  # (4 + 16/128) / 8
    "awq": 0.51953125,  # (4 + (16 + 4)/128) / 8
    "gptq": 0.51953125,
    "gptq-int8": 1.0234375,  # (8 + (16 + 8)/128) / 8
    "q8-0": 34 / 32,  # 34 bytes for 32 weights
    "mxfp4": 0.53125,  # (4 + 8/32) / 8
    "mxfp4-w4a4": 0.53125,
    "nvfp4": 0.5625,  # (4 + 8/16) / 8
    "nvfp4-w4a16": 0.5625,
}


def on(chip: str, precision: str, *, model_type: str = "bf16", kv_cache_dtype: str | None = None) -> Widths:
    spec = catalog.chip(chip)
    return settle(
        catalog.precision(precision),
        model_type=model_type,
        chip_name=chip,
        computable=spec.computable,
        kv_cache_dtype=kv_cache_dtype,
    )


def test_the_table_covers_all_precisions_but_mixtures() -> None:
    assert set(PRECISIONS) - set(WEIGHT_BYTES) <= {"q4-k-m"}
    assert 144 / 256 < catalog.precision("q4_k_m").weights.bytes_per_element < 210 / 256


@pytest.mark.parametrize("name", WEIGHT_BYTES)
def test_bytes_of_a_weight(name: str) -> None:
    assert catalog.precision(name).weights.bytes_per_element == pytest.approx(WEIGHT_BYTES[name], rel=1e-12)


@pytest.mark.parametrize("name", PRECISIONS)
def test_every_precision_loads_and_is_sourced(name: str) -> None:
    precision = catalog.precision(name)
    assert catalog.normalise(precision.name) == name and precision.title and precision.sources
    assert "weights.bits" in precision.provenance
    assert {precision.activations, precision.compute, precision.kv_cache} <= {"base", *DATA_TYPES}


@given(st.floats(1, 16), st.integers(1, 10**6), st.floats(0, 32), st.floats(0, 16))
def test_shared_bits_are_spread_over_the_group(bits: float, group: int, scale: float, zero: float) -> None:
    stored = Format(bits=bits, group_size=group, scale_bits=scale, zero_point_bits=zero)
    assert stored.bytes_per_element * group * 8 == pytest.approx(bits * group + scale + zero)
    whole = Format(bits=bits, scale_bits=scale, zero_point_bits=zero)
    assert whole.bytes_per_element == bits / 8 <= stored.bytes_per_element


def test_widths_of_the_data_types() -> None:
    assert {name: stored.bytes_per_element for name, stored in DATA_TYPES.items()} == {
        "fp64": 8,
        "fp32": 4,
        "tf32": 4,
        "bf16": 2,
        "fp16": 2,
        "fp8": 1,
        "fp6": 0.75,
        "fp4": 0.5,
        "int8": 1,
        "int4": 0.5,
    }


SPELLINGS = {
    "bfloat16": "bf16",
    "torch.bfloat16": "bf16",
    "BF16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "torch.half": "fp16",
    "float32": "fp32",
    "float": "fp32",
    "float64": "fp64",
    "float8_e4m3fn": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "int8": "int8",
}


@pytest.mark.parametrize(("written", "meant"), SPELLINGS.items(), ids=SPELLINGS)
def test_spellings_of_data_types(written: str, meant: str) -> None:
    assert data_type(written) == meant


@pytest.mark.parametrize(("wrong", "near"), [("bf61", "bf16"), ("float", None), ("fp9", "fp8"), ("", None), ("16", None)])
def test_unknown_data_types_name_the_nearest(wrong: str, near: str | None) -> None:
    if wrong == "float":
        assert data_type(wrong) == "fp32"
        return
    with pytest.raises(UnknownNameError) as caught:
        data_type(wrong, field="kv_cache_dtype")
    assert caught.value.field == "kv_cache_dtype" and "bf16" in str(caught.value)
    assert near is None or f"did you mean {near!r}" in str(caught.value)


# Settled for a model on a chip


def test_plain_16_bits_are_16_bits_everywhere() -> None:
    widths = on("h100-sxm", "bf16")
    assert widths.base_bytes == widths.activation_bytes == widths.kv_cache_bytes == 2
    for quantised in (True, False):
        assert widths.weight_bytes(quantised=quantised) == 2
        assert widths.matrix_type(quantised=quantised) == "bf16"


def test_fp8_quantises_matrices_and_leaves_the_rest() -> None:
    widths = on("h100-sxm", "fp8")
    assert (widths.base, widths.compute, widths.kv_cache) == ("bf16", "fp8", "bf16")
    assert (widths.weight_bytes(quantised=True), widths.weight_bytes(quantised=False)) == (1, 2)
    assert (widths.input_bytes(quantised=True), widths.input_bytes(quantised=False)) == (1, 2)
    assert (widths.matrix_type(quantised=True), widths.matrix_type(quantised=False)) == ("fp8", "bf16")


@pytest.mark.parametrize("name", ["int4", "awq", "gptq", "mxfp4", "nvfp4-w4a16", "w8a16"])
@pytest.mark.parametrize(("chip", "wide"), [("h100-sxm", "bf16"), ("a100-sxm-80gb", "bf16"), ("v100-sxm-32gb", "fp16")])
def test_weight_only_formats_compute_in_the_wider_type(name: str, chip: str, wide: str) -> None:
    widths = on(chip, name)
    assert widths.weight_bytes(quantised=True) == WEIGHT_BYTES[name] < 1.01
    assert widths.matrix_type(quantised=True) == widths.base == widths.kv_cache == wide
    assert widths.input_bytes(quantised=True) == 2


EMULATED = [
    ("a100-sxm-80gb", "fp8", "fp8", "bf16"),
    ("a100-sxm-80gb", "fp8_block", "fp8", "bf16"),
    ("a100-sxm-80gb", "nvfp4", "fp4", "bf16"),
    ("h100-sxm", "nvfp4", "fp4", "bf16"),
    ("h100-sxm", "mxfp4-w4a4", "fp4", "bf16"),
    ("v100-sxm-32gb", "fp8", "fp8", "fp16"),
    ("v100-sxm-32gb", "bf16", "bf16", "fp16"),
    ("v100-sxm-32gb", "tf32", "tf32", "fp32"),
    ("v100-sxm-32gb", "int8", "int8", "fp16"),
    ("m1-pro", "fp8", "fp8", "bf16"),
    ("tpu-v5e", "fp8", "fp8", "bf16"),
]


@pytest.mark.parametrize(("chip", "precision", "missing", "emulation"), EMULATED, ids=[f"{r[1]} on {r[0]}" for r in EMULATED])
def test_what_a_chip_cannot_compute_is_refused_and_says_what_would_emulate_it(
    chip: str, precision: str, missing: str, emulation: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        on(chip, precision)
    error = caught.value
    assert error.field == "precision" and f"computes in {missing}" in str(error) and chip in str(error)
    assert f"emulated in {emulation}" in str(error)
    computable = str(error.allowed).removeprefix("computed by this chip: ").split(", ")
    assert missing not in computable and emulation in computable


BASES = [
    ("h100-sxm", "bf16", "bf16"),
    ("h100-sxm", "fp16", "fp16"),
    ("h100-sxm", "fp32", "fp32"),
    ("v100-sxm-32gb", "bf16", "fp16"),
    ("v100-sxm-32gb", "fp16", "fp16"),
    ("tpu-v5e", "fp16", "bf16"),
    ("xeon-8480plus", "fp16", "bf16"),
]


@pytest.mark.parametrize(("chip", "model_type", "base"), BASES, ids=[f"{r[1]} on {r[0]}" for r in BASES])
def test_what_is_not_quantised_is_in_the_models_type_or_the_next_of_its_width(chip: str, model_type: str, base: str) -> None:
    widths = on(chip, "int4", model_type=model_type)
    assert (widths.base, widths.kv_cache, widths.compute) == (base, base, base)


def test_tf32_stores_single_precision() -> None:
    widths = on("h100-sxm", "tf32")
    assert widths.matrix_type(quantised=True) == "tf32" and widths.base == "fp32"
    assert widths.weight_bytes(quantised=True) == widths.base_bytes == 4


@pytest.mark.parametrize(
    ("asked", "stored"),
    [(None, "bf16"), ("auto", "bf16"), ("fp8", "fp8"), ("fp8_e5m2", "fp8"), ("int8", "int8"), ("float32", "fp32")],
)
def test_the_cache_may_have_a_type_of_its_own(asked: str | None, stored: str) -> None:
    # An A100 stores FP8 though it does not multiply in it.
    widths = on("a100-sxm-80gb", "bf16", kv_cache_dtype=asked)
    assert widths.kv_cache == stored and widths.kv_cache_bytes == DATA_TYPES[stored].bytes_per_element
    assert widths.base == "bf16"


@pytest.mark.parametrize("wrong", ["fp9", "", "8", "bf61"])
def test_unknown_cache_types_are_refused(wrong: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        on("h100-sxm", "bf16", kv_cache_dtype=wrong)
    assert caught.value.field == "kv_cache_dtype" and caught.value.allowed


@pytest.mark.parametrize(("name", "bytes_"), [("q8_0", 34 / 32), ("awq", 2), ("fp8", 2), ("bf16", 2)])
def test_tables_and_heads_are_quantised_by_some_formats_only(name: str, bytes_: float) -> None:
    assert on("h100-sxm", name).embedding_bytes == pytest.approx(bytes_)


def test_formats_that_cover_experts_only() -> None:
    precision = Precision(name="x", weights=Format(bits=4), activations="fp8", compute="fp8", experts_only=True)
    widths = settle(precision, model_type="bf16", chip_name="x", computable=("bf16", "fp8"))
    assert widths.weight_bytes(quantised=True, expert=True) == 0.5 and widths.weight_bytes(quantised=True) == 2
    assert widths.weight_bytes(quantised=False, expert=True) == 2
    assert (widths.matrix_type(quantised=True, expert=True), widths.matrix_type(quantised=True)) == ("fp8", "bf16")
    assert (widths.input_bytes(quantised=True, expert=True), widths.input_bytes(quantised=True)) == (1, 2)


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("chip", catalog.names("chip"))
def test_every_precision_on_every_chip_settles_or_is_refused(chip: str, name: str) -> None:
    spec = catalog.chip(chip)
    try:
        widths = on(chip, name)
    except UnsupportedError:
        return
    assert {widths.compute, widths.base} <= set(spec.computable)
    assert 0.5 <= widths.weight_bytes(quantised=True) <= widths.base_bytes <= 4
    assert spec.multiply_rate(widths.compute) > 0


# Precision files


BROKEN_FILES: list[tuple[str, str, str]] = [
    ("bits: 4", "bits: 0", "weights.bits = 0"),
    ("bits: 4", "bits: -4", "weights.bits = -4"),
    ("bits: 4", "bits: 65", "weights.bits = 65"),
    ("bits: 4", "bits: .nan", "weights.bits = nan"),
    ("bits: 4", "bits: .inf", "weights.bits = inf"),
    ("bits: 4", "bits: true", "weights.bits = True"),
    ("bits: 4", "bits: four", "weights.bits = 'four'"),
    ("bits: 4", "bits: '4'", "weights.bits = '4'"),
    ("bits: 4", "bts: 4", "did you mean 'bits'"),
    ("group_size: 128", "group_size: 0", "weights.group_size = 0"),
    ("group_size: 128", "group_size: 1.5", "weights.group_size = 1.5"),
    ("scale_bits: 16", "scale_bits: -1", "weights.scale_bits = -1"),
    ("scale_bits: 16", "scale_bits: .nan", "weights.scale_bits = nan"),
    ("compute: base", "compute: fp9", "'fp9' is no data type"),
    ("compute: base", "compute: 8", "compute"),
    ("compute: base", "", "compute: this key is missing"),
    ("activations: base", "activations: bfloat", "'bfloat' is no data type"),
    ("source: format", "source: formt", "did you mean 'format'"),
    ("source: format", "", "has no source"),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN_FILES, ids=[f"{r[0]} to {r[1]}" for r in BROKEN_FILES])
def test_broken_precision_files(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = catalog.files("precision")["awq"].read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SpecError) as caught:
        catalog.precision(str(path))
    assert words in str(caught.value)


# What a model's own files ask for


def asked(settings: Any) -> Precision | None:
    return precision_from_config({"quantization_config": settings}, origin="here")


def scheme(**parts: Any) -> dict[str, Any]:
    others = {key: parts.pop(key) for key in ("kv_cache_scheme",) if key in parts}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": parts}, **others}


FP8 = {"num_bits": 8, "type": "float"}
INT8 = {"num_bits": 8, "type": "int"}
# (settings, bytes of a weight, type of the arithmetic, type of the cache)
KNOWN: dict[str, tuple[dict[str, Any], float, str, str]] = {
    "fp8": ({"quant_method": "fp8", "activation_scheme": "static"}, 1.0, "fp8", "base"),
    "fbgemm": ({"quant_method": "fbgemm_fp8"}, 1.0, "fp8", "base"),
    "fp8 in blocks": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 1 + 4 / 16384, "fp8", "base"),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, 0.51953125, "base", "base"),
    "awq, old keys": ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, (4 + 20 / 64) / 8, "base", "base"),
    "gptq of 8 bits": ({"quant_method": "gptq", "bits": 8, "group_size": 32}, (8 + 24 / 32) / 8, "base", "base"),
    "gptq by channel": ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 0.5, "base", "base"),
    "mxfp4": ({"quant_method": "mxfp4"}, 0.53125, "base", "base"),
    "bitsandbytes 4": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 0.5625, "base", "base"),
    "bitsandbytes 4, doubly": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
        (4 + 8.125 / 64) / 8,
        "base",
        "base",
    ),
    "bitsandbytes 8": ({"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}, 1.0, "int8", "base"),
    "compressed w8a8": (scheme(weights=INT8, input_activations=INT8), 1.0, "int8", "base"),
    "compressed fp8": (scheme(weights=FP8, input_activations=FP8), 1.0, "fp8", "base"),
    "compressed fp8 with cache": (scheme(weights=FP8, input_activations=FP8, kv_cache_scheme=FP8), 1.0, "fp8", "fp8"),
    "compressed w4a16": (
        scheme(weights={"num_bits": 4, "type": "int", "group_size": 128}, input_activations=None),
        0.515625,
        "base",
        "base",
    ),
    "compressed w4a16 with zeros": (
        scheme(weights={"num_bits": 4, "type": "int", "group_size": 128, "symmetric": False}),
        0.51953125,
        "base",
        "base",
    ),
    "compressed nvfp4": (
        scheme(weights={"num_bits": 4, "type": "float", "group_size": 16}, input_activations={"num_bits": 4, "type": "float"}),
        0.5625,
        "fp4",
        "base",
    ),
    "compressed mxfp4": (scheme(weights={"num_bits": 4, "type": "float", "group_size": 32}), 0.53125, "base", "base"),
    "modelopt fp8": ({"quant_method": "modelopt", "quant_algo": "FP8"}, 1.0, "fp8", "base"),
    "modelopt nvfp4": ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, 0.5625, "fp4", "base"),
    "modelopt nvfp4 with cache": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_scheme": FP8},
        0.5625,
        "fp4",
        "fp8",
    ),
    "modelopt, nested": ({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}, 1.0, "fp8", "fp8"),
    "modelopt w4a8": ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, 0.515625, "fp8", "base"),
}


@pytest.mark.parametrize(("settings", "bytes_", "compute", "cache"), KNOWN.values(), ids=KNOWN.keys())
def test_quantisation_of_a_config(settings: dict[str, Any], bytes_: float, compute: str, cache: str) -> None:
    precision = asked(settings)
    assert precision is not None
    assert precision.weights.bytes_per_element == pytest.approx(bytes_, rel=1e-12)
    assert (precision.compute, precision.activations, precision.kv_cache) == (compute, compute, cache)


def test_old_files_say_compression_config() -> None:
    assert precision_from_config({"compression_config": scheme(weights=FP8)}, origin="here") is not None
    both = {"quantization_config": {"quant_method": "awq", "bits": 4}, "compression_config": scheme(weights=FP8)}
    precision = precision_from_config(both, origin="here")
    assert precision is not None and precision.name == "awq-int4"


@pytest.mark.parametrize("settings", [None, {}], ids=repr)
def test_no_quantisation(settings: Any) -> None:
    assert asked(settings) is None and precision_from_config({}, origin="here") is None


def test_experts_only_where_attention_is_left_out() -> None:
    only = asked({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]})
    assert only is not None and only.experts_only
    every = asked({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})
    assert every is not None and not every.experts_only


GROUPS = "quantization_config.config_groups"
BROKEN: dict[str, tuple[Any, list[str]]] = {
    "number": (3, ["quantization_config = 3", "a mapping"]),
    "zero": (0, ["quantization_config = 0", "a mapping"]),
    "false": (False, ["quantization_config = False"]),
    "text": ("fp8", ["quantization_config = 'fp8'"]),
    "empty text": ("", ["quantization_config = ''"]),
    "empty list": ([], ["quantization_config = []"]),
    "nan": (math.nan, ["quantization_config = nan"]),
    "no method": ({"bits": 4}, ["quant_method = None", "awq"]),
    "unknown method": ({"quant_method": "awqq"}, ["quant_method = 'awqq'", "did you mean 'awq'"]),
    "method in capitals": ({"quant_method": "FP8"}, ["quant_method = 'FP8'", "did you mean 'fp8'"]),
    "method as a number": ({"quant_method": 8}, ["quant_method = 8"]),
    "method as a list": ({"quant_method": ["fp8"]}, ["quant_method = ['fp8']"]),
    "method as a mapping": ({"quant_method": {"fp8": 1}}, ["quant_method = {'fp8': 1}"]),
    "one side of a block": ({"quant_method": "fp8", "weight_block_size": [128]}, ["weight_block_size = [128]", "two whole"]),
    "block of zero": ({"quant_method": "fp8", "weight_block_size": [0, 128]}, ["weight_block_size = [0, 128]"]),
    "block of true": ({"quant_method": "fp8", "weight_block_size": [True, 128]}, ["weight_block_size = [True, 128]"]),
    "block of halves": ({"quant_method": "fp8", "weight_block_size": [0.5, 128]}, ["weight_block_size"]),
    "huge block": ({"quant_method": "fp8", "weight_block_size": [10**30, 1]}, ["weight_block_size"]),
    "block as text": ({"quant_method": "fp8", "weight_block_size": "128x128"}, ["weight_block_size = '128x128'"]),
    "no bits": ({"quant_method": "gptq"}, ["quantization_config.bits = None", "2 to 8"]),
    "null bits": ({"quant_method": "gptq", "bits": None}, ["quantization_config.bits = None"]),
    "one bit": ({"quant_method": "gptq", "bits": 1}, ["quantization_config.bits = 1", "2 to 8"]),
    "16 bits": ({"quant_method": "awq", "bits": 16}, ["quantization_config.bits = 16"]),
    "negative bits": ({"quant_method": "awq", "bits": -4}, ["quantization_config.bits = -4"]),
    "bits as text": ({"quant_method": "awq", "bits": "4"}, ["quantization_config.bits = '4'"]),
    "bits true": ({"quant_method": "awq", "bits": True}, ["quantization_config.bits = True"]),
    "bits nan": ({"quant_method": "awq", "bits": math.nan}, ["quantization_config.bits = nan"]),
    "group of zero": ({"quant_method": "awq", "bits": 4, "group_size": 0}, ["group_size = 0", "-1 for a whole channel"]),
    "negative group": ({"quant_method": "awq", "bits": 4, "group_size": -2}, ["group_size = -2"]),
    "group of true": ({"quant_method": "awq", "bits": 4, "group_size": True}, ["group_size = True"]),
    "group as text": ({"quant_method": "awq", "bits": 4, "group_size": "128"}, ["group_size = '128'"]),
    "infinite group": ({"quant_method": "awq", "bits": 4, "group_size": math.inf}, ["group_size = inf"]),
    "huge group": ({"quant_method": "awq", "bits": 4, "group_size": 10**30}, ["group_size"]),
    "modules as a number": ({"quant_method": "mxfp4", "modules_to_not_convert": 3}, ["modules_to_not_convert = 3", "a list"]),
    "modules as text": ({"quant_method": "mxfp4", "modules_to_not_convert": "self_attn"}, ["modules_to_not_convert"]),
    "bitsandbytes of no width": ({"quant_method": "bitsandbytes"}, ["load_in_4bit", "load_in_8bit"]),
    "bitsandbytes of both widths": ({"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": True}, ["one of"]),
    "bitsandbytes in words": ({"quant_method": "bitsandbytes", "load_in_4bit": "no"}, ["load_in_4bit = 'no'", "true or false"]),
    "bitsandbytes as a number": ({"quant_method": "bitsandbytes", "load_in_8bit": 1}, ["load_in_8bit = 1"]),
    "no groups": ({"quant_method": "compressed-tensors"}, [f"{GROUPS} = None", "one group"]),
    "empty groups": ({"quant_method": "compressed-tensors", "config_groups": {}}, [f"{GROUPS} = {{}}", "one group"]),
    "groups as a list": ({"quant_method": "compressed-tensors", "config_groups": []}, [f"{GROUPS} = []"]),
    "two groups": ({"quant_method": "compressed-tensors", "config_groups": {"a": {}, "b": {}}}, [GROUPS, "one group"]),
    "group as a number": ({"quant_method": "compressed-tensors", "config_groups": {"a": 3}}, ["quantization_config.a = 3"]),
    "group of nothing": ({"quant_method": "compressed-tensors", "config_groups": {"a": None}}, ["num_bits = None"]),
    "weights as a number": (scheme(weights=8), ["quantization_config.weights = 8"]),
    "weights without bits": (scheme(weights={"type": "int"}), ["num_bits = None"]),
    "weights of unknown type": (scheme(weights={"num_bits": 8, "type": "flot"}), ["type = 'flot'", "did you mean 'float'"]),
    "floating point of 3 bits": (scheme(weights={"num_bits": 3, "type": "float"}), ["num_bits = 3", "4, 6 or 8"]),
    "inputs as text": (scheme(weights=FP8, input_activations="fp8"), ["input_activations = 'fp8'"]),
    "inputs of 5 bits": (scheme(weights=INT8, input_activations={"num_bits": 5}), ["input_activations = 'int5'", "int8"]),
    "cache as text": (scheme(weights=FP8, kv_cache_scheme="fp8"), ["kv_cache_scheme = 'fp8'"]),
    "cache of 3 bits": (scheme(weights=FP8, kv_cache_scheme={"num_bits": 3}), ["kv_cache_scheme = 'int3'"]),
    "modelopt in small letters": ({"quant_method": "modelopt", "quant_algo": "nvfp4"}, ["quant_algo = 'nvfp4'", "'NVFP4'?"]),
    "modelopt unknown": ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, ["quant_algo = 'MIXED_PRECISION'"]),
    "modelopt as a list": ({"quant_method": "modelopt", "quant_algo": ["FP8"]}, ["quant_algo = ['FP8']"]),
    "modelopt group of zero": ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 0}, ["group_size = 0"]),
    "modelopt cache": (
        {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP4"},
        ["kv_cache_quant_algo = 'FP4'"],
    ),
    "modelopt cache as a list": (
        {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": []},
        ["kv_cache_quant_algo = []"],
    ),
}


@pytest.mark.parametrize(("settings", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_quantisation_is_told_what_is_wrong(settings: Any, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        asked(settings)
    assert str(caught.value).startswith("here: ") and caught.value.field and caught.value.allowed
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"quantization": None},
        {"quantization": []},
        {"quantization": "FP8"},
        {"quantization": {"quant_algo": 8}},
        {"quantization": {"quant_algo": "FP7"}},
        {"quantization": {"kv_cache_quant_algo": "FP7"}},
        {"quantization": {"quant_algo": "NVFP4", "group_size": "16"}},
    ],
    ids=repr,
)
def test_broken_hf_quant_config(raw: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="here: ") as caught:
        precision_from_modelopt(raw, origin="here")
    assert caught.value.field and caught.value.allowed


def test_modelopt_may_quantise_the_cache_alone() -> None:
    precision = precision_from_modelopt({"quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}}, origin="here")
    assert precision is not None
    widths = settle(precision, model_type="bf16", chip_name="x", computable=("bf16",))
    assert widths.weight_bytes(quantised=True) == 2 and widths.compute == "bf16" and widths.kv_cache == "fp8"
    assert precision_from_modelopt({"quantization": {"quant_algo": None}}, origin="here") is None


leaves = (
    st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.sampled_from(["fp8", "awq", "float", "int", "FP8", ""])
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2), max_leaves=5
)
KEYS = sorted({key for settings, *_ in KNOWN.values() for key in settings} | {"weights", "input_activations", "num_bits"})


@given(st.sampled_from(list(KNOWN.values())), st.sampled_from(KEYS), trees)
def test_any_value_of_any_key_is_taken_or_refused_with_a_typed_error(
    known: tuple[dict[str, Any], float, str, str], key: str, value: Any
) -> None:
    try:
        precision = asked({**known[0], key: value})
    except GenZError:
        return
    assert precision is None or 0.2 < precision.weights.bytes_per_element <= 8
