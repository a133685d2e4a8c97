"""Rows of measured matrix multiplications and passes over memory: their shapes, cells and refusals."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from genz.measurements.elementwise import ELEMENTWISE
from genz.measurements.family import CellKey
from genz.measurements.gemm import GEMM
from genz.specs import catalog
from genz.timing.kernels.elementwise import ElementwiseConstants
from genz.timing.kernels.gemm import GemmConstants

CHIP = catalog.chip("h100-sxm")
COLUMNS: dict[str, Any] = {
    "hardware": "H100-SXM-80GB",
    "op": "gemm",
    "framework": "vllm",
    "framework_version": "0.24.0",
    "kernel": None,
    "dtype": "bfloat16",
    "notes": None,
    **dict.fromkeys(("m", "n", "k", "batch", "num_tokens", "n_heads", "hidden", "inter", "tp"), np.nan),
    "measured_s": 1e-5,
}


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([{**COLUMNS, **row} for row in rows])


def gemm_row(m: float = 64, n: float = 4096, k: float = 4096, **more: Any) -> dict[str, Any]:
    return {"m": float(m), "n": float(n), "k": float(k), **more}


def layer(op: str, tokens: float, model: str, tp: float = 1, **more: Any) -> dict[str, Any]:
    return {"op": op, "num_tokens": tokens, "tp": tp, "notes": f"model={model}", "dtype": "bf16", **more}


def key(row: dict[str, Any]) -> CellKey:
    return CellKey(*GEMM.keys(table(row)).iloc[0])


def test_engines_and_formats_have_one_name_each() -> None:
    assert key(gemm_row(framework="trtllm")) == key(gemm_row(framework="TensorRT-LLM"))
    assert key(gemm_row(dtype="fp16")).format == key(gemm_row(dtype="bf16")).format == "bfloat16"
    assert key(gemm_row(framework=None, framework_version=None)) == CellKey("", "", "bfloat16", "")


def test_kernels_of_quantised_formats_go_by_their_library_and_those_of_16_bits_by_none() -> None:
    assert key(gemm_row(dtype="fp8_block", kernel="CutlassFp8BlockScaledMMKernel")).kernel == "cutlass"
    assert key(gemm_row(dtype="fp8_block", kernel="DeepGemmFp8BlockScaledMMKernel")).kernel == "deepgemm"
    assert key(gemm_row(dtype="fp8", kernel="torch_flow")).kernel == ""
    assert key(gemm_row(kernel="torch.nn.functional.linear")).kernel == ""
    assert key({"op": "mla_bmm", "kernel": "vllm_torch_bmm"}).kernel == "batched"


def test_rows_without_a_shape_or_a_format_are_refused_with_the_reason() -> None:
    rows = table(
        gemm_row(),
        gemm_row(m=np.nan),
        gemm_row(k=0),
        gemm_row(n=np.inf),
        gemm_row(m=1.5),
        gemm_row(dtype="int3"),
        gemm_row(dtype=None),
        gemm_row(dtype="fp8", hardware="A100-SXM-80GB"),
        gemm_row(hardware="no such chip"),
        {"op": "mla_bmm", "num_tokens": 64.0},
        layer("layer:q_proj", 64.0, "no-such-model-7b"),
        layer("layer:q_proj", 64.0, "Llama-3.1-8B", tp=0.5),
        layer("layer:gate_proj", 64.0, "Mixtral-8x7B-v0.1"),
        {"op": "layer:q_proj", "num_tokens": 64.0},
    )
    found = GEMM.refusals(rows).tolist()
    assert found[0] == ""
    assert all("m, n and k" in reason for reason in found[1:5])
    assert "dtype 'int3'" in found[5] and "dtype ''" in found[6]
    assert "a100-sxm-80gb does not multiply in fp8" in found[7]
    assert found[8] == ""  # an unknown chip is named elsewhere
    assert "num_tokens and n_heads" in found[9]
    assert "'no-such-model-7b' is not in the catalog" in found[10]
    assert "tp is no whole number" in found[11]
    assert "mixtral-8x7b has no gate_proj" in found[12]
    assert "name no model" in found[13]


def test_shapes_of_named_layers_come_from_the_model() -> None:
    # Llama 3.1 8B: hidden 4096, 32 heads of 128 and 8 of keys, 14336 inside, 128256 tokens. Mixtral's experts are not cut.
    rows = table(
        layer("layer:q_proj", 7.0, "Llama-3.1-8B"),
        layer("layer:k_proj", 7.0, "Llama-3.1-8B", tp=2),
        layer("layer:o_proj", 7.0, "Llama-3.1-8B", tp=2),
        layer("layer:down_proj", 7.0, "Llama-3.1-8B", tp=4),
        layer("layer:lm_head", 7.0, "Llama-3.1-8B", tp=2),
        layer("layer:expert.w2", 7.0, "Mixtral-8x7B-v0.1", tp=2),
    )
    assert GEMM.refusals(rows).eq("").all()
    assert GEMM.shape_names(rows) == [
        "7x4096x4096",
        "7x512x4096",
        "7x4096x2048",
        "7x4096x3584",
        "7x64128x4096",
        "7x4096x14336",
    ]


def test_a_shape_has_one_name_on_every_chip_and_engine() -> None:
    rows = table(gemm_row(), gemm_row(hardware="L40S", framework="sglang", dtype="fp8"))
    assert GEMM.shape_names(rows) == ["64x4096x4096"] * 2
    assert GEMM.shape_names(table({"op": "mla_bmm", "num_tokens": 5.0, "n_heads": 16.0})) == ["5x512x128x16"]


def test_times_follow_the_format_and_beat_no_memory() -> None:
    times = {}
    for dtype, weight in (("bfloat16", 2.0), ("fp8", 1.0)):
        rows = table(gemm_row(1, 32768, 32768, dtype=dtype))
        times[dtype] = GEMM.times(rows, CHIP, GemmConstants(), "split")[0]
        assert times[dtype] > weight * 32768**2 / CHIP.main_memory.bandwidth
    assert times["fp8"] < 0.6 * times["bfloat16"]


def test_products_around_latent_attention_are_one_product_a_head() -> None:
    rows = table({"op": "mla_bmm", "num_tokens": 4096.0, "n_heads": 128.0})
    time = GEMM.times(rows, CHIP, GemmConstants(), "split")[0]
    flops = 2 * 4096 * 128 * 512 * 128
    assert flops / CHIP.matrix_flops["bf16"] < time < 10 * flops / CHIP.matrix_flops["bf16"]


def test_constants_that_a_cell_cannot_tell_are_not_fitted() -> None:
    bf16, fp8 = table(gemm_row(), gemm_row(m=1)), table(gemm_row(dtype="fp8_block"))
    assert {"split", "vector", "launch"} <= set(GEMM.free(bf16, "split"))
    assert not {"quantise", "quantise_row", "host"} & set(GEMM.free(bf16, "split"))
    assert "split" not in GEMM.free(bf16, "whole")
    # vLLM's block-FP8 benchmark captures no graph.
    assert {"quantise", "quantise_row", "host"} <= set(GEMM.free(fp8, "split"))
    assert "vector" not in GEMM.free(fp8, "split")


def test_a_benchmark_without_graphs_waits_for_its_host() -> None:
    constants = GemmConstants(host=5e-4)
    uncaptured = GEMM.times(table(gemm_row(dtype="fp8_block")), CHIP, constants, "whole")[0]
    captured = GEMM.times(table(gemm_row(dtype="fp8_block", framework="sglang")), CHIP, constants, "whole")[0]
    assert uncaptured == pytest.approx(5e-4, rel=0.02)
    assert captured < 1e-4


@pytest.mark.parametrize(
    ("row", "elements"),
    [
        # Passes: a norm reads and writes, a sum reads two and writes one, a gate and a value make one.
        ({"op": "norm", "hidden": 4096.0}, 2 * 4096),
        ({"op": "residual_add", "hidden": 4096.0}, 3 * 4096),
        ({"op": "embedding", "hidden": 4096.0, "tp": 8.0}, 2 * 4096),
        ({"op": "activation", "hidden": 4096.0, "inter": 11008.0, "tp": 2.0}, 3 * 5504),
        ({"op": "activation", "hidden": 2560.0, "inter": 10240.0}, 2 * 10240),
        ({"op": "rope", "hidden": 4096.0, "tp": 2.0}, 2 * 4096),
        # 32 heads of queries and 8 of keys, of 128.
        ({"op": "rope", "hidden": 4096.0, "notes": "attn_rope; model=Llama-3.1-8B"}, 2 * 40 * 128),
        ({"op": "layer:act_fn", "notes": "model=Llama-3.1-8B", "tp": 2.0}, 3 * 7168),
        ({"op": "layer:input_layernorm", "notes": "model=Llama-3.1-8B", "tp": 2.0}, 2 * 4096),
    ],
)
def test_bytes_of_a_pass(row: dict[str, Any], elements: int) -> None:
    rows = table({"num_tokens": 10_000.0, "dtype": "fp16", **row})
    assert ELEMENTWISE.refusals(rows).tolist() == [""]
    constants = ElementwiseConstants(launch=1.0, memory=1.0)
    large = rows.assign(num_tokens=1e7)
    found = ELEMENTWISE.times(large, CHIP, constants, "")[0]
    assert found == pytest.approx(1e7 * elements * 2 / CHIP.main_memory.bandwidth, rel=1e-6)


def test_passes_without_widths_are_refused_with_the_reason() -> None:
    rows = table(
        {"op": "norm", "hidden": 4096.0},
        {"op": "norm", "num_tokens": 5.0},
        {"op": "activation", "num_tokens": 5.0, "hidden": 4096.0, "notes": "model=nobody-1b"},
        {"op": "norm", "num_tokens": 5.0, "hidden": 4096.0, "dtype": "int3"},
        {"op": "norm", "num_tokens": 5.0, "hidden": 4096.0, "tp": -1.0},
        {"op": "norm", "num_tokens": 5.0, "hidden": 4096.0},
    )
    found = ELEMENTWISE.refusals(rows).tolist()
    assert "num_tokens" in found[0]
    assert "name no model" in found[1]
    assert "'nobody-1b'" in found[2]
    assert "int3" in found[3]
    assert "tp" in found[4]
    assert found[5] == ""


def test_each_kind_of_pass_is_a_cell_of_its_own() -> None:
    rows = table({"op": "residual_add"}, {"op": "layer:post_layernorm"}, {"op": "layer:rope"})
    assert ELEMENTWISE.keys(rows)["kernel"].tolist() == ["residual", "norm, eager", "rope, eager"]
    assert set(ELEMENTWISE.free(rows, "")) == {"launch", "memory", "cache"}
