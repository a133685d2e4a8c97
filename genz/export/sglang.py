"""SGLang: `python -m sglang.launch_server`.

Flags: documentation of SGLang, Server Arguments, as of 0.5.
"""

from __future__ import annotations

import math

from genz.errors import UnsupportedError
from genz.export import checks
from genz.export.launch import KvBlocks, Launch
from genz.export.memory import GIB, Load, loads, offloaded_gib, rounded_down, sglang_cache_bytes, sglang_fraction
from genz.export.paging import cached_elements
from genz.export.precisions import SGLANG, cache_type, weights_of
from genz.export.vllm import arguments
from genz.inference.limits import largest_whole
from genz.inference.question import Question
from genz.specs.linear import ceil_div
from genz.specs.parallelism import Stage
from genz.specs.token_mixers import TokenMixer

ENGINE = "SGLang"
MAKERS = {"gpu": ("nvidia", "amd")}
# SGLang keeps a pool of its own for windowed layers of few architectures: `is_hybrid_swa_model` in
# python/sglang/srt/configs/model_config.py, less those that server_args.py switches off (Gemma 2 and 3).
WINDOW_POOL_TYPES = ("gpt_oss", "llama4", "llama4_text")
WINDOW_POOL_RATIO = 0.8  # default of --swa-full-tokens-ratio
OFFLOAD_UNIT = 1.0  # [GiB]: --cpu-offload-gb is a whole number


def launch(question: Question) -> Launch:
    """The `sglang.launch_server` command that realises a question, and the KV pool that SGLang would report.

    Its tensor-parallel size counts all ranks that share experts: with attention-DP, `--dp-size` of them divide the
    batch, and requests and prefill tokens are given for all of these together (server_args.py,
    `_handle_data_parallelism`, and `max_running_requests // dp_size`).

    Raises `UnsupportedError` for what SGLang cannot realise.
    """
    _check(question)
    laid = question.parallelism
    tokens, blocks = checks.plan_step(question, ENGINE, lambda step: kv_blocks(question, step))
    weights = weights_of(question, SGLANG)
    coupled = laid.coupled_data
    servers = laid.replicas if coupled > 1 else 1
    ranks = coupled if coupled > 1 else laid.data
    flags: dict[str, object] = {
        "--model-path": weights.model,
        "--tp-size": laid.tensor * coupled,
        "--pp-size": laid.pipeline if laid.pipeline > 1 else None,
        "--dp-size": ranks if ranks > 1 else None,
        "--enable-dp-attention": True if coupled > 1 else None,
        "--ep-size": laid.expert if laid.expert > 1 else None,
        "--context-length": checks.request_length(question),
        "--max-running-requests": checks.sequences_of(question) * coupled,
        "--chunked-prefill-size": tokens * coupled,
        "--mem-fraction-static": fraction_of(question, _loads(question, tokens)),
        "--dtype": weights.dtype,
        "--quantization": weights.flag,
        "--kv-cache-dtype": cache_type(question, SGLANG),
        "--swa-full-tokens-ratio": WINDOW_POOL_RATIO if _has_window_pool(question) else None,
        "--cpu-offload-gb": int(_offloaded(question)) if question.offload.weights else None,
    }
    return Launch(
        engine=question.engine.name,
        command=("python", "-m", "sglang.launch_server", *arguments(flags)),
        kv_cache=blocks,
        environment=_environment(question),
        notes=(*weights.notes, *_notes(question, ranks, servers)),
        instances=servers,
    )


def fraction_of(question: Question, held: list[Load]) -> float:
    """`mem_fraction_static`: SGLang's default, or what makes all of it take the share of the memory that was asked for.

    Rounded down to four decimals. Raises `UnsupportedError` where nothing is left.
    """
    if question.utilization is None:
        return float(question.engine.memory.utilization)
    capacity = question.platform.chip.main_memory.capacity
    exact = min(sglang_fraction(capacity, question.utilization, step=load.step, reserve=load.reserve) for load in held)
    fraction = rounded_down(exact)
    if fraction <= 0:
        raise checks.refuse("gpu_memory_utilization", question.utilization, "steps of SGLang need more", "more, up to 1")
    return fraction


def kv_blocks(question: Question, step_tokens: int) -> KvBlocks:
    """The tokens of SGLang's KV pool, and how many requests they hold.

    tokens = floor(KV bytes / bytes of a token in all layers), the least of all pipeline stages. A pool of windowed layers
    of its own has 0.8 times as many tokens, and a token of it counts 0.8. Source: SGLang 0.5,
    python/sglang/srt/model_executor/pool_configurator.py, `DefaultPoolConfigurator` and `HybridSWAPoolConfigurator`.
    """
    held = _loads(question, step_tokens)
    fraction = fraction_of(question, held)
    page = int(question.engine.memory.block_size)
    free_before = question.platform.chip.main_memory.capacity - question.engine.memory.reserve
    room = []
    for load in held:
        free = sglang_cache_bytes(free_before, fraction, weights=load.weights, step=load.step)
        size = token_bytes(question, load.stage)
        room.append((max(0, math.floor(free / size)) // page, size * page))
    pages, size = min(room)
    tokens, length = pages * page, checks.request_length(question)
    window_tokens = int(tokens * WINDOW_POOL_RATIO) // page * page if _has_window_pool(question) else tokens

    def holds(requests: int) -> bool:
        own = ceil_div(length, page) * page
        seen = min(requests * own, requests * min(own, _reach(question, own) + page) + step_tokens)
        return requests * own <= tokens and seen <= window_tokens

    return KvBlocks(page, float(size), pages, tokens, length, tokens / length, largest_whole(holds))


def token_bytes(question: Question, stage: Stage) -> float:
    """Bytes that the pools take for each token, on a device of a stage [B]."""
    total = 0.0
    for layer, count in question.model.groups_between(stage.start, stage.end):
        mixer = layer.token_mixer
        if mixer is not None:
            share = WINDOW_POOL_RATIO if _has_window_pool(question) and _is_windowed(mixer) else 1
            total += count * share * cached_elements(mixer, question.parallelism.tensor) * float(question.widths.kv_cache_bytes)
    return total


def _loads(question: Question, step_tokens: int) -> list[Load]:
    offloaded = _offloaded(question) * GIB
    return loads(question, step_tokens=step_tokens, sequences=checks.sequences_of(question), offloaded=offloaded)


def _offloaded(question: Question) -> float:
    return offloaded_gib(question, unit=OFFLOAD_UNIT)


def _is_windowed(mixer: TokenMixer) -> bool:
    return bool(mixer.reach)


def _has_window_pool(question: Question) -> bool:
    return question.model.model_type in WINDOW_POOL_TYPES


def _reach(question: Question, length: int) -> int:
    """Positions that windowed layers can see; all where they have no pool of their own."""
    if not _has_window_pool(question):
        return length
    reaches = [m.reach for layer, _ in question.model.layer_groups if (m := layer.token_mixer)]
    return max((reach for reach in reaches if reach), default=length)


def _check(question: Question) -> None:
    checks.check_chip(question, ENGINE, MAKERS)
    checks.check_model(question, ENGINE)
    checks.check_layout(question, ENGINE)
    if question.workload.beams > 1:
        raise UnsupportedError("beams: SGLang has no beam search", field="beams", value=question.workload.beams, allowed="1",
                               hint="the nearest is 1; vLLM and TensorRT-LLM have it")  # fmt: skip


def _environment(question: Question) -> dict[str, str]:
    variables = {}
    if checks.request_length(question) > question.model.max_context:
        variables["SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"] = "1"
    if sizes := checks.uneven_stages(question):
        variables["SGLANG_PP_LAYER_PARTITION"] = ",".join(map(str, sizes))
    return variables


def _notes(question: Question, ranks: int, servers: int) -> list[str]:
    devices = question.parallelism.tensor * question.parallelism.pipeline * ranks
    notes = [
        *checks.model_notes(question),
        *checks.instance_notes(servers),
        *checks.host_notes(question, devices, "add --nnodes, --node-rank and --dist-init-addr on each"),
    ]
    if checks.is_windowed(question) and not _has_window_pool(question):
        notes.append(f"SGLang keeps all tokens of the windowed layers of {question.model.name}")
    return notes
