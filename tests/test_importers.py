"""Files of other tools, written by hand as their documentation gives them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from genz.errors import GenZError, SpecError
from genz.measurements.importers import read_any
from genz.measurements.importers.llama_bench import read_llama_bench
from genz.measurements.importers.vllm_bench import read_vllm_bench
from genz.measurements.table import SCHEMAS, Table

PROMPT = {
    "build_commit": "8cf427ff",
    "build_number": 5163,
    "cpu_info": "AMD Ryzen 7 7800X3D 8-Core Processor",
    "gpu_info": "NVIDIA GeForce RTX 4080",
    "backends": "CUDA",
    "model_filename": "models/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    "model_type": "qwen2 7B Q4_K - Medium",
    "type_k": "f16",
    "n_prompt": 512,
    "n_gen": 0,
    "n_depth": 0,
    "avg_ns": 72135640,
    "avg_ts": 7100.0,
}
GENERATION = {**PROMPT, "n_prompt": 0, "n_gen": 128, "avg_ts": 125.0}
SERVE = {
    "date": "20250101-000000",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "num_prompts": 100,
    "request_rate": "inf",
    "max_concurrency": 16,
    "duration": 50.0,
    "completed": 100,
    "total_input_tokens": 102_400,
    "total_output_tokens": 12_800,
    "request_throughput": 2.0,
    "output_throughput": 256.0,
    "total_token_throughput": 2304.0,
    "mean_ttft_ms": 150.0,
    "median_ttft_ms": 140.0,
    "mean_tpot_ms": 20.0,
    "mean_e2el_ms": 2690.0,
    "p99_ttft_ms": 300.0,
}
LATENCY = {"avg_latency": 1.25, "latencies": [1.2, 1.3], "percentiles": {"50": 1.25}}
THROUGHPUT = {
    "elapsed_time": 10.0,
    "num_requests": 1000,
    "total_num_tokens": 384_000,
    "requests_per_second": 100.0,
    "tokens_per_second": 38_400.0,
}
CHIP = {"hardware": "h100-sxm"}


def save(tmp_path: Path, data: Any, name: str = "bench.json") -> Path:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def values(table: Table) -> dict[str, float]:
    return dict(zip(table.rows["metric"], table.rows["value"], strict=True))


def is_tidy(table: Table) -> bool:
    schema = SCHEMAS[table.kind]
    return set(schema.columns) <= set(table.rows.columns) and (table.rows["refusal"] == "").all()


@pytest.mark.parametrize("lines", [False, True])
def test_llama_bench(tmp_path: Path, lines: bool) -> None:
    records = [PROMPT, GENERATION]
    text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
    (table,) = read_any(save(tmp_path, text, "out.jsonl" if lines else "out.json"))
    assert is_tidy(table)
    first, second = table.rows.to_dict("records")
    assert (first["metric"], first["input_tokens"], first["output_tokens"]) == ("ttft_s", 512, 0)
    assert first["value"] == pytest.approx(512 / 7100)
    assert (second["metric"], second["output_tokens"], second["value"]) == ("tpot_s", 128, pytest.approx(1 / 125))
    assert first["model"] == "qwen2 7B"
    assert (first["weight_dtype"], first["kv_dtype"]) == ("q4_k_m", "f16")
    assert (first["hardware"], first["n_devices"], first["framework"]) == ("NVIDIA GeForce RTX 4080", 1, "llama.cpp")
    assert (first["framework_version"], first["load_kind"]) == ("b5163 8cf427ff", "static_batch")


def test_llama_bench_of_both_at_a_depth_and_on_several_devices(tmp_path: Path) -> None:
    both = {**PROMPT, "n_gen": 128, "avg_ts": 640.0, "gpu_info": "NVIDIA RTX A6000, NVIDIA RTX A6000"}
    deep = [{**PROMPT, "n_depth": 4096}, {**GENERATION, "n_depth": 4096}]
    rows = read_llama_bench(save(tmp_path, [both, *deep])).rows.to_dict("records")
    assert (rows[0]["metric"], rows[0]["value"], rows[0]["n_devices"], rows[0]["pp"]) == ("e2e_s", pytest.approx(1.0), 2, 2)
    assert (rows[1]["metric"], rows[1]["input_tokens"], rows[1]["value"]) == ("prefill_tok_per_s", 4608, 7100.0)
    assert (rows[2]["metric"], rows[2]["input_tokens"]) == ("tpot_s", 4096)


@pytest.mark.parametrize(
    ("kind", "model", "dtype"),
    [
        ("llama 7B mostly Q4_0", "llama 7B", "q4_0"),
        ("llama 8B F16", "llama 8B", "f16"),
        ("gpt-oss 20B MXFP4 MoE", "gpt-oss 20B MXFP4 MoE", ""),
        ("qwen3 0.6B all F32", "qwen3 0.6B", "f32"),
        ("", "Qwen2.5-7B-Instruct-Q4_K_M", ""),
    ],
)
def test_llama_bench_names_of_models(tmp_path: Path, kind: str, model: str, dtype: str) -> None:
    row = read_llama_bench(save(tmp_path, {**PROMPT, "model_type": kind}), hardware="rtx-4080").rows.iloc[0]
    assert (row["model"], row["weight_dtype"] or "", row["hardware"]) == (model, dtype, "rtx-4080")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"avg_ts": 0}, "avg_ts = 0"),
        ({"avg_ts": "fast"}, "avg_ts = 'fast'"),
        ({"n_prompt": -1}, "n_prompt = -1"),
        ({"n_prompt": 0}, "no record is a test"),
        ({"n_gen": None}, "n_gen = None"),
    ],
)
def test_llama_bench_malformed(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read_any(save(tmp_path, [{**PROMPT, **change}]))
    with pytest.raises(SpecError, match="record 2 has no 'n_prompt'"):
        read_any(save(tmp_path, [PROMPT, {"n_gen": 1}]))


def test_vllm_serve_with_clients(tmp_path: Path) -> None:
    (table,) = read_any(save(tmp_path, SERVE), CHIP)
    assert is_tidy(table)
    found = values(table)
    assert found == {
        "ttft_s": pytest.approx(0.15),
        "tpot_s": pytest.approx(0.02),
        "e2e_s": pytest.approx(2.69),
        "p99_ttft_s": pytest.approx(0.3),
        "output_tok_per_s": 256.0,
        "total_tok_per_s": 2304.0,
        "request_per_s": 2.0,
    }
    row = table.rows.iloc[0]
    assert (row["load_kind"], row["batch_or_concurrency"]) == ("concurrency", 16)
    assert (row["input_tokens"], row["output_tokens"]) == (1024, 128)
    assert (row["model"], row["framework"], row["hardware"]) == ("meta-llama/Llama-3.1-8B-Instruct", "vllm", "h100-sxm")


def test_vllm_serve_at_a_rate_and_without_bounds(tmp_path: Path) -> None:
    at_a_rate = {**SERVE, "request_rate": 4.0, "max_concurrency": None}
    assert read_vllm_bench(save(tmp_path, at_a_rate), CHIP).rows["load_kind"].unique().tolist() == ["poisson_trace"]
    unbounded = {**SERVE, "max_concurrency": None}
    row = read_vllm_bench(save(tmp_path, unbounded), CHIP).rows.iloc[0]
    assert (row["load_kind"], row["batch_or_concurrency"]) == ("saturated", 100)


def test_vllm_metadata_tells_what_the_file_does_not(tmp_path: Path) -> None:
    row = read_vllm_bench(save(tmp_path, {**SERVE, "hardware": "h200", "tp": "2", "n_devices": "2"})).rows.iloc[0]
    assert (row["hardware"], row["tp"], row["n_devices"]) == ("h200", 2, 2)


def test_vllm_latency_is_a_static_batch(tmp_path: Path) -> None:
    facts = {**CHIP, "model": "llama-3.1-8b", "batch_or_concurrency": 8, "input_tokens": 32, "output_tokens": 128}
    (table,) = read_any(save(tmp_path, LATENCY), facts)
    row = table.rows.iloc[0]
    assert (row["load_kind"], row["metric"], row["value"]) == ("static_batch", "e2e_s", 1.25)
    assert (row["batch_or_concurrency"], row["input_tokens"], row["output_tokens"]) == (8, 32, 128)


def test_vllm_throughput_is_saturated(tmp_path: Path) -> None:
    (table,) = read_any(save(tmp_path, THROUGHPUT), {**CHIP, "model": "llama-3.1-8b"})
    assert values(table) == {"request_per_s": 100.0, "total_tok_per_s": 38_400.0}
    assert set(table.rows["load_kind"]) == {"saturated"}


@pytest.mark.parametrize(
    ("data", "facts", "problem"),
    [
        (SERVE, {}, "does not tell the hardware"),
        (LATENCY, CHIP, "does not tell the model"),
        ({**SERVE, "completed": 0}, CHIP, "completed = 0"),
        ({k: v for k, v in SERVE.items() if k != "total_output_tokens"}, CHIP, "has no 'total_output_tokens'"),
        ({**LATENCY, "avg_latency": float("nan")}, {**CHIP, "model": "m"}, "avg_latency = nan"),
        (SERVE, {"chip": "h100"}, "'chip' is no fact"),
    ],
)
def test_vllm_malformed(tmp_path: Path, data: dict[str, Any], facts: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read_any(save(tmp_path, data), facts)


GEMM = pd.DataFrame(
    {
        "framework": ["VLLM", "VLLM"],
        "version": "0.24.0",
        "device": "NVIDIA H200",
        "op_name": "gemm",
        "kernel_source": "torch.nn.functional.linear",
        "gemm_dtype": ["bfloat16", "fp8"],
        "m": [16, 32],
        "n": 4096,
        "k": 1024,
        "latency": [0.0125, 0.0],
    }
)
DECODE = pd.DataFrame(
    {
        "framework": ["SGLang"],
        "version": ["0.5.14"],
        "device": ["NVIDIA H200"],
        "op_name": ["generation_attention"],
        "kernel_source": ["fa3"],
        "batch_size": [4],
        "isl": [1],
        "num_heads": [32],
        "num_key_value_heads": [8],
        "head_dim": [128],
        "attn_dtype": ["bfloat16"],
        "kv_cache_dtype": ["fp8"],
        "step": [1023],
        "latency": [0.02],
    }
)
NCCL = pd.DataFrame(
    {"nccl_dtype": ["half"], "num_gpus": [8], "message_size": [1024], "op_name": ["all_reduce"], "latency": [0.01]}
)
DEEP = pd.DataFrame(
    {
        "framework": ["sglang"],
        "version": ["0.5.12"],
        "node_num": [2],
        "hidden_size": [7168],
        "num_token": [16],
        "num_topk": [8],
        "num_experts": [256],
        "dispatch_avg_t_us": [30.0],
        "combine_avg_t_us": [40.0],
    }
)


def systems(tmp_path: Path, **tables: pd.DataFrame) -> Path:
    """A folder laid out like the package's, for the system "h200_sxm"."""
    for name, table in tables.items():
        path = tmp_path / "systems/data/h200_sxm/family/framework/1.0" / f"{name}_perf.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path)
    (tmp_path / "systems/h200_sxm.yaml").write_text("node:\n  num_gpus_per_node: 4\n")
    return tmp_path / "systems"


def test_aiconfigurator_folder(tmp_path: Path) -> None:
    folder = systems(tmp_path, gemm=GEMM, generation_attention=DECODE, nccl=NCCL, wideep_deepep_ll=DEEP, unheard_of=GEMM)
    collectives, ops = read_any(folder)
    assert (collectives.kind, ops.kind) == ("collectives", "ops")
    assert collectives.set_aside == {"GenZ knows no operator 'unheard_of'": 1}
    assert set(ops.rows["hardware"]) == {"h200_sxm"}
    gemm, refused, decode = ops.rows.sort_values(["op", "m"], ascending=[False, True]).to_dict("records")
    assert (gemm["m"], gemm["n"], gemm["k"], gemm["measured_s"]) == (16, 4096, 1024, pytest.approx(12.5e-6))
    assert (gemm["framework"], gemm["dtype"]) == ("vllm", "bfloat16")
    assert refused["refusal"] == "measured_s is no positive time"
    assert (decode["op"], decode["q_len"], decode["past_kv"], decode["kv_dtype"]) == ("decode_attention", 1, 1023, "fp8")
    assert (decode["batch"], decode["n_heads"], decode["n_kv_heads"], decode["head_dim"]) == (4, 32, 8, 128)
    rows = {row["collective"]: row for row in collectives.rows.to_dict("records")}
    assert (rows["all_reduce"]["message_bytes"], rows["all_reduce"]["framework_version"]) == (2048, "1.0")
    assert (rows["moe_dispatch"]["n_devices"], rows["moe_dispatch"]["dtype"]) == (8, "fp8")
    assert rows["moe_combine"]["measured_s"] == pytest.approx(40e-6)


def test_aiconfigurator_single_table_takes_the_device_or_a_name(tmp_path: Path) -> None:
    path = tmp_path / "gemm_perf.parquet"
    GEMM.to_parquet(path)
    assert set(read_any(path)[0].rows["hardware"]) == {"NVIDIA H200"}
    assert set(read_any(path, {"hardware": "h200"})[0].rows["hardware"]) == {"h200"}
    GEMM.drop(columns="device").to_parquet(path)
    with pytest.raises(SpecError, match="tells neither the device"):
        read_any(path)


@pytest.mark.parametrize(
    ("name", "table", "problem"),
    [
        ("gemm", GEMM.drop(columns="n"), "the column 'n' is missing"),
        ("gemm", GEMM.rename(columns={"latency": "latency_ms"}), "'latency_ms' looks like it"),
        ("gemm", GEMM.head(0), "holds no rows"),
        ("nccl", NCCL.assign(nccl_dtype="quad"), "the type 'quad' is not known"),
        ("gem", GEMM, "'gem' is not known"),
    ],
)
def test_aiconfigurator_malformed(tmp_path: Path, name: str, table: pd.DataFrame, problem: str) -> None:
    path = tmp_path / f"{name}_perf.parquet"
    table.to_parquet(path)
    with pytest.raises(SpecError, match=problem):
        read_any(path, CHIP)


def test_aiconfigurator_file_that_is_no_parquet(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SpecError, match="cannot be read"):
        read_any(save(tmp_path, "nothing", "gemm_perf.parquet"))
    with pytest.raises(SpecError, match="holds no tables"):
        read_any(empty)


def test_the_tidy_schema_passes_in_every_format(tmp_path: Path) -> None:
    row = {"hardware": "h200", "op": "gemm", "m": 1, "n": 2, "k": 3, "measured_s": 1e-5}
    frame = pd.DataFrame([row])
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    paths = [tmp_path / "a.parquet", tmp_path / "a.csv", save(tmp_path, json.dumps(row) + "\n", "a.jsonl")]
    for path in paths:
        (table,) = read_any(path)
        assert (table.kind, table.rows["measured_s"].tolist()) == ("ops", [1e-5])


@pytest.mark.parametrize("text", ["", "{", "[]", "[1, 2]", "null", '{"a": 1}', '{"a": 1}\n{"b"', "\x00"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(GenZError):
        read_any(save(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GenZError, match="does not exist"):
        read_any(tmp_path / "nowhere.json")
