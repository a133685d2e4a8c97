"""vLLM: `vllm serve`.

Flags: documentation of vLLM, Engine Arguments and CLI Reference, as of 2026 (V1 engine).
"""

from __future__ import annotations

import math

from genz.export import checks
from genz.export.launch import KvBlocks, Launch
from genz.export.memory import GIB, loads, offloaded_gib, vllm_cache_bytes
from genz.export.paging import Group, bytes_per_block, groups_of
from genz.export.precisions import VLLM, cache_type, weights_of
from genz.inference.limits import largest_whole
from genz.inference.question import Question
from genz.specs.linear import ceil_div
from genz.specs.parallelism import FLAGS
from genz.specs.token_mixers import Attention, LatentAttention

ENGINE = "vLLM"
MAKERS = {"gpu": ("nvidia", "amd", "intel")}
# FlashMLA and FlashInfer's MLA kernels page 64 tokens: vllm/platforms/cuda.py, check_and_update_config.
LATENT_BLOCK = 64
OFFLOAD_UNIT = 0.001  # [GiB]


def launch(question: Question) -> Launch:
    """The `vllm serve` command that realises a question, and the KV blocks that vLLM would report.

    Expert parallelism of vLLM is over all tensor x data ranks of one server, and without it a server with data-parallel
    ranks splits its experts over all of them: replicas of a mixture of experts are servers of their own.

    Raises `UnsupportedError` for what vLLM cannot realise.
    """
    _check(question)
    laid = question.parallelism
    tokens, blocks = checks.plan_step(question, ENGINE, lambda step: kv_blocks(question, step))
    weights = weights_of(question, VLLM)
    ranks, servers = _ranks(question)
    flags: dict[str, object] = {
        "--tensor-parallel-size": laid.tensor,
        "--pipeline-parallel-size": laid.pipeline if laid.pipeline > 1 else None,
        "--data-parallel-size": ranks if ranks > 1 else None,
        "--enable-expert-parallel": True if laid.expert > 1 else None,
        "--decode-context-parallel-size": laid.decode_context if laid.decode_context > 1 else None,
        "--max-model-len": checks.request_length(question),
        "--max-num-seqs": checks.sequences_of(question),
        "--max-num-batched-tokens": tokens,
        "--gpu-memory-utilization": utilization_of(question),
        "--block-size": block_size_of(question),
        "--dtype": weights.dtype,
        "--quantization": weights.flag,
        "--kv-cache-dtype": cache_type(question, VLLM),
        "--cpu-offload-gb": f"{_offloaded(question):.3f}" if question.offload.weights else None,
    }
    return Launch(
        engine=question.engine.name,
        command=("vllm", "serve", weights.model, *arguments(flags)),
        kv_cache=blocks,
        environment=_environment(question),
        notes=(*weights.notes, *_notes(question, ranks, servers)),
        instances=servers,
    )


def arguments(flags: dict[str, object]) -> list[str]:
    """Flags as words of a command: True is a flag alone, None is left out."""
    words: list[str] = []
    for flag, value in flags.items():
        if value is not None:
            words += [flag] if value is True else [flag, f"{value}"]
    return words


def utilization_of(question: Question) -> float:
    """The share of the device's whole memory that vLLM takes."""
    asked = question.utilization
    return float(question.engine.memory.utilization if asked is None else asked)


def block_size_of(question: Question) -> int:
    """Tokens in a block: the engine's, or what the kernels for latent attention page."""
    latent = any(isinstance(layer.token_mixer, LatentAttention) for layer, _ in question.model.layer_groups)
    usual = int(question.engine.memory.block_size)
    return max(usual, LATENT_BLOCK) if latent and question.platform.chip.vendor == "nvidia" else usual


def kv_blocks(question: Question, step_tokens: int) -> KvBlocks:
    """The blocks that vLLM allots, and how many requests they hold.

    blocks = floor(KV bytes / bytes of a block), the least of all pipeline stages; tokens = blocks // groups x block size x
    decode-context ranks, as its log says. One block is kept empty. Source: vllm/v1/core/kv_cache_utils.py,
    `get_kv_cache_configs`, `_report_kv_cache_config` and `get_max_concurrency_for_kv_cache_config`.
    """
    laid, element_bytes = question.parallelism, question.widths.kv_cache_bytes
    groups = groups_of(question.model, tensor=laid.tensor, block_size=block_size_of(question), element_bytes=element_bytes)
    capacity = question.platform.chip.main_memory.capacity
    room = []
    offloaded = _offloaded(question) * GIB
    for load in loads(question, step_tokens=step_tokens, sequences=checks.sequences_of(question), offloaded=offloaded):
        free = vllm_cache_bytes(capacity, utilization_of(question), weights=load.weights, step=load.step, reserve=load.reserve)
        size = bytes_per_block(question.model, groups, load.stage, tensor=laid.tensor, element_bytes=element_bytes)
        room.append((max(0, math.floor(free / size)), size))
    blocks, size = min(room)
    length, shares = checks.request_length(question), laid.decode_context
    each = sum(group.page.blocks_in_step(length, step_tokens, shares) for group in groups)
    smallest = min(group.page.block_size for group in groups)
    return KvBlocks(
        block_size=smallest,
        bytes_per_block=float(size),
        blocks=blocks,
        tokens=blocks // len(groups) * smallest * shares,
        length=length,
        reported=blocks / each,
        concurrency=largest_whole(lambda requests: _needed(question, groups, step_tokens, requests) <= blocks - 1),
    )


def _needed(question: Question, groups: tuple[Group, ...], step_tokens: int, requests: int) -> int:
    """Blocks of so many requests that end together, while one more step of prompts is in the windowed groups."""
    workload, shares = question.workload, question.parallelism.decode_context
    prompt, length, beams = int(workload.input_tokens), checks.request_length(question), int(workload.beams)
    needed = 0
    for group in groups:
        held = requests * group.page.blocks_at_end(prompt, length, beams, shares)
        if group.page.kind != "full":
            all_of_them = requests * beams * ceil_div(length, group.page.block_size)
            held = min(held + ceil_div(step_tokens, group.page.block_size), max(all_of_them, held))
        needed += held
    return needed


def _check(question: Question) -> None:
    laid = question.parallelism
    checks.check_chip(question, ENGINE, MAKERS)
    checks.check_model(question, ENGINE)
    checks.check_layout(question, ENGINE, decode_context=True)
    if 1 < laid.expert < laid.tensor:
        raise checks.refuse(
            FLAGS["expert"], laid.expert, f"expert parallelism of vLLM is over all tensor x data ranks of a server: "
            f"it would spread the experts over {laid.tensor}", f"1 or {laid.tensor}", nearest=laid.tensor,
        )  # fmt: skip
    if laid.decode_context > 1 and checks.is_windowed(question):
        reason = "vLLM cannot split the cache of sliding windows and chunks"
        raise checks.refuse(FLAGS["decode_context"], laid.decode_context, reason, "1", nearest=1)


def _ranks(question: Question) -> tuple[int, int]:
    """Data-parallel ranks of one server, and servers."""
    laid = question.parallelism
    if question.model.is_mixture_of_experts:
        return laid.coupled_data, laid.replicas
    return laid.data, 1


def _offloaded(question: Question) -> float:
    return offloaded_gib(question, unit=OFFLOAD_UNIT)


def _environment(question: Question) -> dict[str, str]:
    variables = {}
    if checks.request_length(question) > question.model.max_context:
        variables["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"
    if sizes := checks.uneven_stages(question):
        variables["VLLM_PP_LAYER_PARTITION"] = ",".join(map(str, sizes))
    if any(isinstance(m, Attention) and m.chunk for layer, _ in question.model.layer_groups for m in layer.token_mixers):
        # Without it, layers that attend within chunks keep the cache of all positions.
        variables["VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE"] = "1"
    return variables


def _notes(question: Question, ranks: int, servers: int) -> list[str]:
    devices = question.parallelism.tensor * question.parallelism.pipeline * ranks
    notes = [
        *checks.model_notes(question),
        *checks.instance_notes(servers, ": data-parallel ranks of one server would split the experts"),
        *checks.host_notes(question, devices, "add --nnodes, --node-rank and --master-addr on each, or use Ray"),
    ]
    if question.workload.beams > 1:
        notes.append("beams are asked for by each request (use_beam_search), and share their prompt by prefix caching")
    if question.offload.weights:
        notes.append("vLLM moves whole parameters and does not fetch ahead: it may be slower than predicted")
    return notes
