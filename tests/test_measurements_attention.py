"""Families of attention: which rows they answer, which cell each falls into, and that a fit finds known constants again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from genz.calibration.cells import cells_of, fit_cell
from genz.measurements.attention import (
    DECODE_ATTENTION,
    LATENT_DECODE,
    LATENT_PREFILL,
    PREFILL_ATTENTION,
    AttentionFamily,
)
from genz.measurements.attention_shapes import latent_shape, multiplied_in, plain_shape
from genz.measurements.family import Family
from genz.measurements.latent_module import LATENT_DECODE_MODULE, LATENT_PREFILL_MODULE
from genz.specs import catalog
from genz.timing.kernels.decode_attention import DecodeAttentionConstants, decode_attention_time
from genz.timing.kernels.prefill_attention import PrefillAttentionConstants

H100 = catalog.chip("h100-sxm")
FAMILIES = (PREFILL_ATTENTION, DECODE_ATTENTION, LATENT_PREFILL, LATENT_DECODE, LATENT_PREFILL_MODULE, LATENT_DECODE_MODULE)
TEXT = {
    "framework": "vllm",
    "framework_version": "1.0",
    "kernel": "fa",
    "dtype": "bfloat16",
    "kv_dtype": "bfloat16",
    "notes": None,
}
NUMBERS = {"batch": 4, "q_len": 512, "past_kv": 0, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128, "window": np.nan}


def table(op: str, *changes: dict[str, object]) -> pd.DataFrame:
    rows = [{"op": op, **TEXT, **NUMBERS, "measured_s": 1e-4, **change} for change in changes or ({},)]
    return pd.DataFrame(rows)


def kernels(family: AttentionFamily, rows: pd.DataFrame) -> list[str]:
    return family.keys(rows)["kernel"].tolist()


def test_the_families_keep_the_protocol() -> None:
    checked: list[Family] = list(FAMILIES)
    ops = [op for family in checked for op in family.ops]
    assert len(ops) == len(set(ops)) == 7
    assert len({family.name for family in checked}) == len(checked)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"n_kv_heads": np.nan}, ""),
        ({"batch": np.nan}, "batch is missing"),
        ({"batch": 0}, "batch"),
        ({"q_len": -4}, "q_len"),
        ({"q_len": 2.5}, "q_len"),
        ({"n_heads": np.inf}, "n_heads"),
        ({"head_dim": 1e12}, "head_dim"),
        ({"past_kv": -1}, "past_kv"),
        ({"window": -128}, "window"),
        ({"n_kv_heads": 64}, "n_kv_heads"),
        ({"n_kv_heads": 0}, "n_kv_heads"),
        ({"dtype": "int3"}, "dtype"),
        ({"dtype": None}, "dtype"),
        ({"kv_dtype": "fp2"}, "kv_dtype"),
    ],
)
def test_odd_rows_are_refused_with_the_reason(change: dict[str, object], words: str) -> None:
    rows = table("prefill_attention", change)
    (reason,) = PREFILL_ATTENTION.refusals(rows)
    assert words in reason
    assert bool(reason) == bool(words)
    # Whatever stands there, keys and names can be asked for.
    if np.isfinite(rows[list(NUMBERS)].fillna(0).to_numpy(float)).all():
        assert len(PREFILL_ATTENTION.shape_names(rows)) == len(PREFILL_ATTENTION.keys(rows)) == 1


def test_a_module_needs_the_format_of_its_projections() -> None:
    rows = table("mla_module_decode", {"notes": "gemm_type=fp8_block; model=x"}, {"notes": "gemm_type=fp7"}, {"notes": None})
    assert [bool(reason) for reason in LATENT_DECODE_MODULE.refusals(rows)] == [False, True, False]
    assert kernels(LATENT_DECODE_MODULE, rows) == ["fa:fp8_block", "fa:fp7", "fa:bfloat16"]


def test_formats_tell_the_cache_and_fp8_queries() -> None:
    rows = table(
        "prefill_attention",
        {},
        {"kv_dtype": "fp8"},
        {"kv_dtype": "fp8", "dtype": "fp8"},
        {"kv_dtype": None},
        {"dtype": "float16", "kv_dtype": None},
    )
    assert PREFILL_ATTENTION.keys(rows)["format"].tolist() == ["bfloat16", "fp8", "fp8_query", "bfloat16", "bfloat16"]


def test_engines_dispatch_by_the_shape() -> None:
    decode = table(
        "decode_attention",
        {"kernel": "torch_flow", "n_kv_heads": 32},
        {"kernel": "torch_flow"},
        {"kernel": "torch_flow", "n_heads": 64, "n_kv_heads": 1},
        {"kernel": "flashinfer", "n_kv_heads": 16},
        {"kernel": "flashinfer", "n_kv_heads": 8},
        {"kernel": "triton", "window": 128},
        {"kernel": "triton", "window": 0},
    )
    assert kernels(DECODE_ATTENTION, decode) == [
        "torch_flow:per_head",
        "torch_flow",
        "torch_flow:per_head",
        "flashinfer",
        "flashinfer:matrix",
        "triton:window",
        "triton",
    ]
    prompts = table("prefill_attention", {"q_len": 1}, {"q_len": 1, "framework": "sglang"}, {}, {"kernel": None})
    assert kernels(PREFILL_ATTENTION, prompts) == ["fa:single", "fa", "fa", ""]
    assert kernels(PREFILL_ATTENTION, table("encoder_attention", {"q_len": 1})) == ["fa:encoder"]


def test_columns_become_shapes() -> None:
    shape = plain_shape(table("prefill_attention", {"window": 128, "past_kv": 64}, {"window": 0}), H100, "prefill")
    assert shape.window.tolist() == [128, np.inf]  # type: ignore[union-attr]
    assert shape.context.tolist() == [64, 0]  # type: ignore[attr-defined]
    assert shape.cached_width.tolist() == [2048, 2048]  # type: ignore[attr-defined]
    assert (shape.causal, shape.cache_bytes, shape.matrix_type) == (True, 2.0, "bf16")
    assert plain_shape(table("prefill_attention"), H100, "prefill").window is None
    assert not plain_shape(table("encoder_attention"), H100, "prefill").causal
    fp8 = plain_shape(table("prefill_attention", {"dtype": "fp8", "kv_dtype": "fp8"}), H100, "prefill")
    assert (fp8.matrix_type, fp8.cache_bytes, fp8.activation_bytes) == ("fp8", 1.0, 2.0)


def test_the_latent_is_expanded_for_a_prompt_and_one_head_for_a_step() -> None:
    # DeepSeek-V3: 128 + 64 dimensions of a key, 128 of a value, a latent of 512 + 64.
    prompt = latent_shape(table("mla_prefill"), H100, "prefill")
    assert (prompt.key_dim, prompt.value_dim, prompt.cached_width, prompt.latent) == (192, 128, 576, "expanded")
    step = latent_shape(table("mla_decode", {"q_len": 1}), H100, "decode")
    assert (step.key_dim, step.value_dim, step.kv_heads, step.latent) == (576, 512, 1, "absorbed")


def test_a_chip_multiplies_in_what_it_has() -> None:
    assert multiplied_in("fp8", H100) == "fp8"
    assert multiplied_in("fp8", catalog.chip("a100-sxm-80gb")) == "bf16"
    for name in ("v100-sxm-32gb", "epyc-9754", "m2-ultra"):
        chip = catalog.chip(name)
        for data_type in ("bf16", "fp16", "fp32", "fp8"):
            assert chip.multiply_rate(multiplied_in(data_type, chip)) > 0


def test_only_what_the_rows_show_is_free() -> None:
    plain = set(PREFILL_ATTENTION.free(table("prefill_attention"), "128"))
    assert not plain & {"masked", "split_keys", "head_64", "head_192", "head_256", "head_512"}
    assert "split_keys" in PREFILL_ATTENTION.free(table("prefill_attention"), "128_split")
    several = table("prefill_attention", {"head_dim": 64}, {"head_dim": 80, "window": 128}, {"head_dim": 256})
    assert {"masked", "head_64", "head_256"} <= set(PREFILL_ATTENTION.free(several, "128"))
    # Without a head of 128 one factor stands in the other constants already.
    assert "head_64" not in PREFILL_ATTENTION.free(table("prefill_attention", {"head_dim": 64}, {"head_dim": 256}), "128")
    assert "efficiency" not in PREFILL_ATTENTION.free(table("prefill_attention", {"q_len": 1}), "128")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_times_its_rows(family: AttentionFamily) -> None:
    lengths = [1] if "decode" in family.name else [1, 64, 4096]
    for op in family.ops:
        rows = table(op, *({"q_len": n, "past_kv": past} for n in lengths for past in (0, 1000)))
        assert (family.refusals(rows) == "").all()
        for variant in family.variants:
            times = family.times(rows, H100, family.constants(), variant)
            assert times.shape == (len(rows),)
            assert np.isfinite(times).all()
            assert (times > 0).all()
            assert (times < 1).all()


def test_a_block_takes_at_least_its_projections_and_its_kernel() -> None:
    rows = table("mla_module_prefill", {"q_len": 4096, "n_heads": 128, "notes": "gemm_type=fp8_block"})
    constants = LATENT_PREFILL_MODULE.constants(product_efficiency=1.0)
    kernel = LATENT_PREFILL.times(rows.assign(op="mla_prefill"), H100, PrefillAttentionConstants(), "128")
    block = LATENT_PREFILL_MODULE.times(rows, H100, constants, "128")
    # DeepSeek-V3's attention has 187.1 M parameters in a layer (arXiv:2412.19437), the norms' 2 k aside.
    products = 2 * 187.1e6 * 4 * 4096 / 1978.9e12
    assert block - kernel == pytest.approx(products, rel=0.15)
    assert (block - kernel >= products * 0.999).all()


def test_a_fit_finds_the_constants_again() -> None:
    truth = replace(DecodeAttentionConstants(), launch=5e-6, bandwidth=0.9, prologue=3e-6)
    shapes = [
        {"batch": batch, "q_len": 1, "past_kv": past, "n_heads": heads, "n_kv_heads": shared}
        for batch in (1, 8, 64, 256)
        for past in (63, 511, 4095, 32767)
        for heads, shared in ((8, 8), (32, 8), (64, 4))
    ]
    rows = table("decode_attention", *shapes)
    exact = decode_attention_time(plain_shape(rows, H100, "decode"), H100, truth, "packed", warm=True)
    ((key, cell),) = cells_of(DECODE_ATTENTION, rows.assign(measured_s=exact))
    fitted = fit_cell(DECODE_ATTENTION, key, cell, H100)
    assert fitted is not None
    assert fitted.held_out.mean < 0.01
    assert fitted.fitted.constants.launch == pytest.approx(truth.launch, rel=0.05)
    assert fitted.fitted.constants.bandwidth == pytest.approx(truth.bandwidth, rel=0.05)
