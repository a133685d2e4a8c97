"""Exported commands: their flags are those of the engines' documentation, their degrees those of the question."""

import json
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

import genz
from genz.cli import main
from genz.export import ENGINES, Launch, launch_for
from genz.specs import catalog
from genz.specs.hardware import StorageTier

# docs.vllm.ai, CLI Reference of `vllm serve` and Engine Arguments of 2026.
VLLM_FLAGS = {
    "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--enable-expert-parallel",
    "--decode-context-parallel-size", "--max-model-len", "--max-num-seqs", "--max-num-batched-tokens",
    "--gpu-memory-utilization", "--block-size", "--dtype", "--quantization", "--kv-cache-dtype", "--cpu-offload-gb",
}  # fmt: skip
# docs.sglang.io, Server Arguments of 0.5.
SGLANG_FLAGS = {
    "--model-path", "--tp-size", "--pp-size", "--dp-size", "--enable-dp-attention", "--ep-size", "--context-length",
    "--max-running-requests", "--chunked-prefill-size", "--mem-fraction-static", "--dtype", "--quantization",
    "--kv-cache-dtype", "--swa-full-tokens-ratio", "--cpu-offload-gb",
}  # fmt: skip
SWITCHES = {"--enable-expert-parallel", "--enable-dp-attention"}
# nvidia.github.io/TensorRT-LLM, LLM API reference (1.0 to 1.3): TorchLlmArgs and KvCacheConfig.
TENSORRT_LLM_OPTIONS = {
    "dtype", "tensor_parallel_size", "pipeline_parallel_size", "pp_partition", "moe_expert_parallel_size",
    "enable_attention_dp", "max_batch_size", "max_num_tokens", "max_seq_len", "max_beam_width", "kv_cache_config",
}  # fmt: skip
KV_CACHE_OPTIONS = {"free_gpu_memory_fraction", "tokens_per_block", "dtype"}
# The choices that the same pages list.
CHOICES = {
    "--dtype": {"auto", "half", "float16", "bfloat16", "float", "float32"},
    "--kv-cache-dtype": {"auto", "bfloat16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2"},
    "--quantization": {"awq", "gptq", "fp8", "gguf", "bitsandbytes", "compressed-tensors", "modelopt"},
    "--block-size": {"1", "8", "16", "32", "64", "128"},
}


def launch(name: str, engine: str = "vllm", platform: str = "dgx-h200", **asked: Any) -> Launch:
    return launch_for(genz.settle_question(name, platform, **{"input": 1024, "output": 128, "batch": 16, **asked}), engine)


def flags_of(found: Launch) -> dict[str, str | None]:
    """{flag: value} of the command, read back from its shell line."""
    words = shlex.split(found.shell)[len(found.environment) :]
    assert words == list(found.command)
    flags: dict[str, str | None] = {}
    rest = iter(words[words.index(next(w for w in words if w.startswith("--"))) :])
    for word in rest:
        assert word.startswith("--"), word
        flags[word] = None if word in SWITCHES else next(rest)
    return flags


def options_of(found: Launch) -> Any:
    (text,) = found.files.values()
    return yaml.safe_load(text)


LAYOUTS: list[tuple[str, dict[str, Any]]] = [
    ("llama-3.1-8b", {"dp": 8}),
    ("llama-3.1-70b", {"tp": 4, "dp": 2}),
    ("llama-3.1-70b", {"tp": 2, "pp": 4, "precision": "fp8", "kv_cache_dtype": "fp8"}),
    ("llama-3.1-405b", {"tp": 8, "precision": "awq", "gpu_memory_utilization": 0.8}),
    ("mixtral-8x22b", {"tp": 8, "ep": 8, "precision": "fp8"}),
    ("mixtral-8x7b", {"tp": 4, "dp": 2, "precision": "fp8"}),
    ("deepseek-v3", {"dp": 8, "ep": 8}),
    ("deepseek-v3", {"tp": 8}),
    ("gemma-3-27b", {"tp": 8}),
    ("gpt-oss-120b", {"tp": 2, "dp": 4}),
    ("opt-6.7b", {"tp": 8}),
    ("falcon-7b", {"dp": 8}),
    ("llama-4-scout", {"tp": 8}),
]


@pytest.mark.parametrize(("name", "asked"), LAYOUTS)
def test_flags_are_those_of_the_documentation(name: str, asked: dict[str, Any]) -> None:
    for engine, known in (("vllm", VLLM_FLAGS), ("sglang", SGLANG_FLAGS)):
        found = flags_of(launch(name, engine, **asked))
        assert set(found) <= known
        for flag in set(found) & set(CHOICES):
            assert found[flag] in CHOICES[flag]
    found = launch(name, "tensorrt-llm", **asked)
    assert flags_of(found) == {"--extra_llm_api_options": "extra-llm-api-config.yml"}
    options = options_of(found)
    assert set(options) <= TENSORRT_LLM_OPTIONS
    assert set(options["kv_cache_config"]) <= KV_CACHE_OPTIONS


@pytest.mark.parametrize(("name", "asked"), LAYOUTS)
def test_every_engine_uses_all_devices(name: str, asked: dict[str, Any]) -> None:
    vllm = launch(name, "vllm", **asked)
    flags = flags_of(vllm)
    degrees = [int(flags.get(f"--{kind}-parallel-size") or 1) for kind in ("tensor", "pipeline", "data")]
    assert vllm.instances * degrees[0] * degrees[1] * degrees[2] == 8
    sglang = launch(name, "sglang", **asked)
    flags = flags_of(sglang)
    copies = 1 if "--enable-dp-attention" in flags else int(flags.get("--dp-size") or 1)
    assert sglang.instances * int(flags["--tp-size"] or 1) * int(flags.get("--pp-size") or 1) * copies == 8
    tensorrt = launch(name, "tensorrt-llm", **asked)
    options = options_of(tensorrt)
    assert tensorrt.instances * options["tensor_parallel_size"] * options["pipeline_parallel_size"] == 8


def test_vllm_command_in_full() -> None:
    found = launch("llama-3.1-70b", tp=4, dp=2, precision="fp8", kv_cache_dtype="fp8")
    assert found.shell == (
        "vllm serve meta-llama/Llama-3.1-70B --tensor-parallel-size 4 --data-parallel-size 2 --max-model-len 1152 "
        "--max-num-seqs 8 --max-num-batched-tokens 8192 --gpu-memory-utilization 0.9 --block-size 16 --dtype bfloat16 "
        "--quantization fp8 --kv-cache-dtype fp8"
    )
    assert (found.engine, found.instances, dict(found.files)) == ("vllm", 1, {})


def test_attention_dp_with_experts_over_all_ranks() -> None:
    """DeepSeek-V3 on 8 devices: a rank's attention has 2 of 16 requests; SGLang counts those of all ranks together."""
    asked = {"dp": 8, "ep": 8}
    vllm, sglang = (flags_of(launch("deepseek-v3", engine, **asked)) for engine in ("vllm", "sglang"))
    assert (vllm["--tensor-parallel-size"], vllm["--data-parallel-size"], vllm["--max-num-seqs"]) == ("1", "8", "2")
    assert "--enable-expert-parallel" in vllm
    assert (sglang["--tp-size"], sglang["--dp-size"], sglang["--ep-size"]) == ("8", "8", "8")
    assert (sglang["--max-running-requests"], sglang["--chunked-prefill-size"]) == ("16", "65536")
    assert "--enable-dp-attention" in sglang
    options = options_of(launch("deepseek-v3", "tensorrt-llm", **asked))
    wanted = {"tensor_parallel_size": 8, "moe_expert_parallel_size": 8, "enable_attention_dp": True, "max_batch_size": 2}
    assert wanted.items() <= options.items()


def test_replicas_of_a_mixture_of_experts_are_servers_of_their_own() -> None:
    """One vLLM server of 2 data-parallel ranks would split its experts over all 8 devices."""
    found = launch("mixtral-8x22b", tp=4, dp=2, ep=4, precision="fp8")
    flags = flags_of(found)
    assert found.instances == 2
    assert (flags["--tensor-parallel-size"], flags["--max-num-seqs"]) == ("4", "8")
    assert "--data-parallel-size" not in flags
    assert "--enable-expert-parallel" in flags
    assert any("start the command 2 times" in note for note in found.notes)
    sglang = launch("mixtral-8x22b", "sglang", tp=4, dp=2, ep=4, precision="fp8")
    assert (sglang.instances, flags_of(sglang)["--dp-size"]) == (1, "2")


def test_sglang_and_tensorrt_llm_split_experts_inside_of_tensor_ranks() -> None:
    assert flags_of(launch("mixtral-8x22b", "sglang", tp=8, ep=4, precision="fp8"))["--ep-size"] == "4"
    options = options_of(launch("mixtral-8x22b", "tensorrt-llm", tp=8, ep=4, precision="fp8"))
    assert (options["tensor_parallel_size"], options["moe_expert_parallel_size"]) == (8, 4)


@pytest.mark.parametrize(("engine", "variable"), [("vllm", "VLLM_PP_LAYER_PARTITION"), ("sglang", "SGLANG_PP_LAYER_PARTITION")])
def test_uneven_stages_are_dealt_out_as_genz_does(engine: str, variable: str) -> None:
    found = launch("llama-3.1-8b", engine, "6x h200", pp=6)
    sizes = [int(part) for part in found.environment[variable].split(",")]
    assert (len(sizes), sum(sizes), max(sizes) - min(sizes)) == (6, 32, 1)
    assert not launch("llama-3.1-8b", engine, pp=8).environment


def test_tensorrt_llm_stages_and_batches_in_flight() -> None:
    options = options_of(launch("llama-3.1-8b", "tensorrt-llm", "6x h200", pp=6, batch=20, beams=2))
    assert sum(options["pp_partition"]) == 32
    assert (options["max_batch_size"], options["max_beam_width"]) == (4, 2)


@pytest.mark.parametrize(
    ("engine", "variable"),
    [("vllm", "VLLM_ALLOW_LONG_MAX_MODEL_LEN"), ("sglang", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN")],
)
def test_beyond_the_models_own_length(engine: str, variable: str) -> None:
    found = launch("llama-3-8b", engine, "h200", input=10_000, batch=1, max_model_len=16_384)
    assert found.environment == {variable: "1"}
    assert found.shell.startswith(f"{variable}=1 ")
    assert not launch("llama-3-8b", engine, "h200").environment


def test_chunked_layers_keep_a_chunk_only_when_vllm_is_told() -> None:
    assert launch("llama-4-scout", tp=8).environment == {"VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE": "1"}


def test_the_users_own_limit_of_sequences_stays() -> None:
    assert flags_of(launch("llama-3.1-8b", dp=8, max_num_seqs=64))["--max-num-seqs"] == "64"


def test_quantised_files_are_named_where_the_models_own_are_not() -> None:
    found = launch("llama-3.1-8b", platform="h200", precision="awq")
    assert "./llama-3.1-8b-awq" in found.command
    assert "--quantization" not in found.command
    assert any("meta-llama/Llama-3.1-8B" in note and "AWQ" in note for note in found.notes)
    own = launch("gpt-oss-20b", platform="h200")
    assert "openai/gpt-oss-20b" in own.command
    assert not own.notes
    other = launch("deepseek-v2-lite", "tensorrt-llm", "h200", precision="fp8")
    assert "./deepseek-v2-lite-fp8" in other.command


def test_a_model_without_hub_id() -> None:
    model = replace(catalog.model("llama-3.1-8b"), name="mine", aliases=("mine-too",))
    found = launch_for(genz.settle_question(model, "h200", input=10, output=10))
    assert "./mine" in found.command
    assert any("put the path" in note for note in found.notes)


def test_several_hosts_are_noted() -> None:
    for engine in ENGINES:
        assert any("32 devices" in note for note in launch("llama-3.1-405b", engine, "dgx-h100-x4", tp=8, pp=4).notes)


# What cannot be realised: the field, the value, what is allowed and the nearest.


@pytest.mark.parametrize(
    ("name", "engine", "asked", "field", "value", "says"),
    [
        ("falcon-7b", "vllm", {"tp": 8}, "tensor_parallel_size", 8, "allowed: 1, 71; the nearest is 1"),
        ("qwen2.5-7b", "sglang", {"tp": 8}, "tensor_parallel_size", 8, "allowed: 1, 2, 4; the nearest is 4"),  # 28 heads over 4
        ("mixtral-8x22b", "vllm", {"tp": 8, "ep": 4, "precision": "fp8"}, "expert_parallel_size", 4,
         "it would spread the experts over 8; allowed: 1 or 8; the nearest is 8"),
        ("llama-3.1-8b", "vllm", {"tp": 4, "cp": 2}, "context_parallel_size", 2, "allowed: 1"),
        ("llama-3.1-8b", "tensorrt-llm", {"tp": 4, "cp": 2}, "context_parallel_size", 2, "allowed: 1"),
        ("deepseek-v3", "sglang", {"tp": 8, "dcp": 2}, "decode_context_parallel_size", 2, "allowed: 1"),
        ("gemma-3-4b", "vllm", {"tp": 8, "dcp": 2}, "decode_context_parallel_size", 2, "sliding windows"),
        ("llama-3.1-8b", "vllm", {"tp": 8, "sequence_parallel": True}, "sequence_parallel", "True", "allowed: False"),
        ("llama-3.1-8b", "sglang", {"tp": 2, "pp": 4, "micro_batches": 2}, "micro_batches", 2, "the nearest is 4"),
        ("llama-3.1-8b", "vllm", {"tp": 8, "offload_cache": 0.5}, "offload_cache", 0.5, "the nearest is 0"),
        ("llama-3.1-8b", "tensorrt-llm", {"tp": 8, "offload_weights": 0.5}, "offload_weights", 0.5, "the nearest is 0"),
        ("llama-3.1-8b", "sglang", {"tp": 8, "beams": 2}, "beams", 2, "no beam search"),
        ("llama-3.1-8b", "tensorrt-llm", {"tp": 8, "precision": "q4_k_m"}, "precision", "q4_k_m", "the nearest is"),
        ("llama-3.1-8b", "tensorrt-llm", {"tp": 8, "precision": "int4"}, "precision", "int4", "the nearest is 'awq'"),
        ("llama-3.1-8b", "vllm", {"tp": 8, "precision": "tf32"}, "precision", "tf32", "the nearest is 'fp32'"),
        ("llama-3.1-8b", "vllm", {"tp": 8, "kv_cache_dtype": "int8"}, "kv_cache_dtype", "int8", "the nearest is 'fp8'"),
        ("deepseek-v3", "tensorrt-llm", {"tp": 2, "dp": 4, "ep": 8}, "tensor_parallel_size", 2, "attention-DP"),
        ("llama-3.1-8b", "tensorrt-llm", {"tp": 8, "gpu_memory_utilization": 1.0}, "gpu_memory_utilization", 1.0, "below 1"),
    ],
)  # fmt: skip
def test_refusals(name: str, engine: str, asked: dict[str, Any], field: str, value: Any, says: str) -> None:
    with pytest.raises(genz.UnsupportedError) as refusal:
        launch(name, engine, **asked)
    assert refusal.value.field == field
    assert str(refusal.value.value) == str(value)
    assert says in str(refusal.value)
    assert refusal.value.allowed


@pytest.mark.parametrize(
    ("platform", "refused"),
    [("cs-3", ENGINES), ("xeon-8480plus", ENGINES), ("m3-ultra", ENGINES), ("mi300x", ("tensorrt-llm",)), ("h100-sxm", ())],
)
def test_chips_that_an_engine_does_not_run_on(platform: str, refused: tuple[str, ...]) -> None:
    for engine in ENGINES:
        try:
            launch("llama-3.2-1b", engine, platform, batch=1)
        except genz.UnsupportedError as error:
            assert engine in refused
            assert error.field == "platform"
        else:
            assert engine not in refused


def test_another_tier_than_the_host() -> None:
    platform = catalog.platform("dgx-h200").model_copy(update={"storage": {"ssd": StorageTier(capacity=1e13, bandwidth=1e10)}})
    asked = {"input": 10, "output": 10, "batch": 8, "offload_weights": 0.1, "offload_tier": "ssd"}
    question = genz.settle_question("llama-3.1-8b", platform, **asked)
    with pytest.raises(genz.UnsupportedError, match="'ssd'"):
        launch_for(question)


def test_engines_by_their_other_names() -> None:
    assert launch("llama-3.1-8b", "trtllm", "h200").engine == "tensorrt-llm"
    for name, says in (("vlm", "did you mean 'vllm'"), ("ideal", "allowed: sglang, tensorrt-llm, vllm")):
        with pytest.raises(genz.UnknownNameError, match=says):
            launch("llama-3.1-8b", name, "h200")


def test_arrays_are_no_single_launch() -> None:
    with pytest.raises(genz.InvalidValueError, match="batch"):
        launch("llama-3.1-8b", platform="h200", batch=np.array([1, 2]))


def test_what_does_not_fit_the_engine_that_it_is_exported_to() -> None:
    """SGLang takes 0.88 of the memory where vLLM takes 0.9."""
    batch = genz.largest_batch("llama-3.1-8b", "h100-sxm", input=1024, output=128)
    assert launch("llama-3.1-8b", "vllm", "h100-sxm", batch=batch).kv_cache.concurrency >= batch
    with pytest.raises(genz.DoesNotFitError):
        launch("llama-3.1-8b", "sglang", "h100-sxm", batch=batch)


# The command line.

COMMAND = ["predict", "llama-3.1-8b", "--platform", "h200", "--isl", "1024", "--osl", "128", "--batch", "16"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_page_ends_with_the_launch(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(COMMAND)
    page = capsys.readouterr().out
    main([*COMMAND, "--export", engine])
    shown = capsys.readouterr().out
    assert shown == f"{page}\n{launch('llama-3.1-8b', engine, 'h200')}\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_json_has_the_launch_under_a_key(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*COMMAND, "--export", engine, "--json"])
    data = json.loads(capsys.readouterr().out)
    found = launch("llama-3.1-8b", engine, "h200")
    assert data["launch"] == json.loads(json.dumps(found.to_dict()))
    assert shlex.split(data["launch"]["shell"]) == data["launch"]["command"]
    main([*COMMAND, "--json"])
    assert "launch" not in json.loads(capsys.readouterr().out)


def test_the_printed_command_is_the_shell_line_over_several_lines() -> None:
    found = launch("llama-4-scout", tp=8)
    printed = str(found).split("\n\n")[0]
    assert printed.replace(" \\\n ", "") == found.shell


@pytest.mark.parametrize(
    ("extra", "says"), [(["--export", "vlm"], "did you mean 'vllm'"), (["--export", "vllm", "--csv"], "leave out --csv")]
)
def test_bad_exports_on_the_command_line(extra: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*COMMAND, *extra])
    assert left.value.code == 2
    assert says in capsys.readouterr().err
