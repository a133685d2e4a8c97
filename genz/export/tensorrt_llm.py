"""TensorRT-LLM: `trtllm-serve` with a YAML file of options.

Options: documentation of TensorRT-LLM 1.0 to 1.3, trtllm-serve and LLM API reference (`TorchLlmArgs`, `KvCacheConfig`).
"""

from __future__ import annotations

import math
from typing import Any

import yaml

from genz.export import checks
from genz.export.launch import KvBlocks, Launch
from genz.export.memory import Load, loads, rounded_down, tensorrt_llm_cache_bytes, tensorrt_llm_fraction
from genz.export.paging import blocks_of_beams, cached_elements
from genz.export.precisions import TENSORRT_LLM, cache_type, weights_of
from genz.inference.question import Question
from genz.specs.linear import ceil_div
from genz.specs.parallelism import FLAGS, Stage

ENGINE = "TensorRT-LLM"
MAKERS = {"gpu": ("nvidia",)}
OPTIONS_FILE = "extra-llm-api-config.yml"


def launch(question: Question) -> Launch:
    """The `trtllm-serve` command and its YAML that realise a question, and the KV blocks that TensorRT-LLM would report.

    Attention-DP is over all tensor-parallel ranks of a server, each with `max_batch_size` and `max_num_tokens` of its own;
    every pipeline stage has a batch of `max_batch_size` in flight.

    Raises `UnsupportedError` for what TensorRT-LLM cannot realise.
    """
    _check(question)
    laid = question.parallelism
    tokens, blocks = checks.plan_step(question, ENGINE, lambda step: kv_blocks(question, step))
    weights = weights_of(question, TENSORRT_LLM)
    coupled = laid.coupled_data
    beams = int(question.workload.beams)
    cache: dict[str, Any] = {
        "free_gpu_memory_fraction": fraction_of(question, _loads(question, tokens)),
        "tokens_per_block": int(question.engine.memory.block_size),
        "dtype": cache_type(question, TENSORRT_LLM),
    }
    options: dict[str, Any] = {
        "dtype": weights.dtype,
        "tensor_parallel_size": laid.tensor * coupled,
        "pipeline_parallel_size": laid.pipeline,
        "pp_partition": checks.uneven_stages(question) or None,
        "moe_expert_parallel_size": laid.expert if question.model.is_mixture_of_experts else None,
        "enable_attention_dp": coupled > 1,
        "max_batch_size": ceil_div(ceil_div(checks.sequences_of(question), beams), laid.pipeline),
        "max_num_tokens": tokens,
        "max_seq_len": checks.request_length(question),
        "max_beam_width": beams if beams > 1 else None,
        "kv_cache_config": {name: value for name, value in cache.items() if value is not None},
    }
    text = yaml.safe_dump({name: value for name, value in options.items() if value is not None}, sort_keys=False)
    return Launch(
        engine=question.engine.name,
        command=("trtllm-serve", weights.model, "--extra_llm_api_options", OPTIONS_FILE),
        kv_cache=blocks,
        files={OPTIONS_FILE: text},
        notes=(*weights.notes, *_notes(question)),
        instances=laid.replicas,
    )


def fraction_of(question: Question, held: list[Load]) -> float:
    """`free_gpu_memory_fraction`: its default, or what makes all of TensorRT-LLM take the share that was asked for.

    Rounded down to four decimals. Raises `UnsupportedError` where nothing, or all, of the memory would be taken.
    """
    if question.utilization is None:
        return float(question.engine.memory.utilization)
    capacity = question.platform.chip.main_memory.capacity
    exact = min(tensorrt_llm_fraction(capacity, question.utilization, held=load.total) for load in held)
    fraction = rounded_down(exact)
    if not 0 < fraction < 1:
        reason = "TensorRT-LLM takes a part of the memory that weights and steps leave free"
        raise checks.refuse("gpu_memory_utilization", question.utilization, reason, "more than they take, and below 1")
    return fraction


def kv_blocks(question: Question, step_tokens: int) -> KvBlocks:
    """The blocks that TensorRT-LLM allots, and how many requests they hold.

    blocks = ceil(floor(KV bytes / bytes of a token in all layers) / tokens per block), the least of all pipeline stages.
    Without `max_attention_window`, windowed layers keep all tokens. Source: TensorRT-LLM 1.0,
    tensorrt_llm/_torch/pyexecutor/resource_manager.py, `KVCacheManager.calculate_max_num_blocks`.
    """
    held = _loads(question, step_tokens)
    fraction, capacity = fraction_of(question, held), question.platform.chip.main_memory.capacity
    block_size = int(question.engine.memory.block_size)
    room = []
    for load in held:
        free = tensorrt_llm_cache_bytes(capacity, fraction, weights=load.weights, step=load.step, reserve=load.reserve)
        size = token_bytes(question, load.stage)
        room.append((ceil_div(max(0, math.floor(free / size)), block_size), size * block_size))
    blocks, size = min(room)
    workload, length = question.workload, checks.request_length(question)
    each = blocks_of_beams(int(workload.input_tokens), length, int(workload.beams), block_size)
    tokens = blocks * block_size
    return KvBlocks(block_size, size, blocks, tokens, length, tokens / length, blocks // each)


def token_bytes(question: Question, stage: Stage) -> float:
    """Bytes of one token in all layers, on a device of a stage [B]."""
    counted = question.model.groups_between(stage.start, stage.end)
    mixers = [(layer.token_mixer, count) for layer, count in counted if layer.token_mixer is not None]
    elements = sum(cached_elements(mixer, question.parallelism.tensor) * count for mixer, count in mixers)
    return elements * float(question.widths.kv_cache_bytes)


def _loads(question: Question, step_tokens: int) -> list[Load]:
    return loads(question, step_tokens=step_tokens, sequences=checks.sequences_of(question))


def _check(question: Question) -> None:
    laid = question.parallelism
    checks.check_chip(question, ENGINE, MAKERS)
    checks.check_model(question, ENGINE)
    checks.check_layout(question, ENGINE, weight_offload=False)
    if laid.coupled_data > 1 and laid.tensor > 1:
        reason = "attention-DP of TensorRT-LLM is over all ranks that share experts"
        raise checks.refuse(FLAGS["tensor"], laid.tensor, reason, "1, with experts over data-parallel ranks", nearest=1)


def _notes(question: Question) -> list[str]:
    laid, name = question.parallelism, question.model.name
    devices = laid.tensor * laid.pipeline * laid.coupled_data
    notes = [
        f"save the text of {OPTIONS_FILE} where the command runs",
        *checks.model_notes(question),
        *checks.instance_notes(laid.replicas),
        *checks.host_notes(question, devices, "start it under mpirun or srun with trtllm-llmapi-launch"),
    ]
    if checks.is_windowed(question):
        notes.append(f"the cache keeps all tokens of the windowed layers of {name}, as no max_attention_window is set")
    return notes
