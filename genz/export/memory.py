"""How much memory each engine leaves to the KV cache: one formula an engine, over numbers, arrays or symbols."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from genz.footprint import weight_bytes
from genz.inference.evaluate import memory_of
from genz.inference.question import Question
from genz.numerics import Number, ceil_div, maximum, where
from genz.specs.offload import NOTHING_OFFLOADED
from genz.specs.parallelism import Stage, stages

GIB = 2**30
FRACTION_STEPS = 10_000  # a fraction of the memory is stated to four decimals


def vllm_cache_bytes(capacity: Number, utilization: Number, *, weights: Number, step: Number, reserve: Number) -> Number:
    """KV bytes = utilization x total - weights - peak activations - what is outside of torch - CUDA graphs [B].

    `gpu_memory_utilization` is a share of the device's whole memory. `step` is the peak of a profiled step of
    `max_num_batched_tokens` tokens, `reserve` the rest. Source: vLLM's V1 engine, vllm/v1/worker/gpu_worker.py,
    `determine_available_memory`: requested_memory - non_kv_cache_memory - cudagraph_memory_estimate_applied; before 2026 the
    graphs were left out, and captured in what the share leaves.
    """
    return capacity * utilization - weights - step - reserve


def sglang_cache_bytes(free: Number, fraction: Number, *, weights: Number, step: Number) -> Number:
    """KV bytes = fraction x free before - weights, where steps have room in what is left, else 0 [B].

    `mem_fraction_static` is a share of what was free before the weights were loaded, and covers weights and cache;
    activations and CUDA graphs take theirs from the rest. Source: SGLang 0.5, model_runner_kv_cache_mixin.py,
    `_profile_available_bytes`: free after loading - free before x (1 - mem_fraction_static).
    """
    return where(step <= (1 - fraction) * free, fraction * free - weights, 0.0)


def tensorrt_llm_cache_bytes(capacity: Number, fraction: Number, *, weights: Number, step: Number, reserve: Number) -> Number:
    """KV bytes = fraction x (total - weights - peak of a step - what is outside of torch) [B].

    `free_gpu_memory_fraction` is a share of what is free when the model is loaded and its largest step was tried. Source:
    TensorRT-LLM 1.0 and later, PyTorch backend, tensorrt_llm/_torch/pyexecutor/_util.py, `KvCacheCreator._cal_max_memory`.
    """
    return fraction * (capacity - weights - step - reserve)


def sglang_fraction(capacity: Number, utilization: Number, *, step: Number, reserve: Number) -> Number:
    """The `mem_fraction_static` by which all of SGLang takes a share of the device's whole memory.

    fraction = (utilization x total - reserve - step) / (total - reserve): weights and cache get what is left of the share.
    """
    return (capacity * utilization - reserve - step) / (capacity - reserve)


def tensorrt_llm_fraction(capacity: Number, utilization: Number, *, held: Number) -> Number:
    """The `free_gpu_memory_fraction` by which all of TensorRT-LLM takes a share of the device's whole memory.

    fraction = (utilization x total - held) / (total - held), of what is held beside the cache.
    """
    return (capacity * utilization - held) / (capacity - held)


@dataclass(frozen=True)
class Load:
    """What a device of one pipeline stage holds beside the KV cache [B]: weights, a step at its largest, and the rest."""

    stage: Stage
    weights: Number
    step: Number
    reserve: Number

    @property
    def total(self) -> Number:
        return self.weights + self.step + self.reserve


def rounded_down(fraction: Number) -> float:
    """A fraction to four decimals, never more than it is."""
    return math.floor(fraction * FRACTION_STEPS) / FRACTION_STEPS


def offloaded_gib(question: Question, *, unit: float) -> float:
    """Weights that each device gives to the host [GiB]: their share of the fullest stage's, rounded up to a `unit`."""
    if not question.offload.weights:
        return 0.0
    whole = max(load.weights for load in loads(question, step_tokens=1, sequences=1))
    return float(ceil_div(question.offload.weights * whole, unit * GIB)) * unit


def loads(question: Question, *, step_tokens: int, sequences: int, offloaded: Number = 0.0) -> list[Load]:
    """What the devices of each pipeline stage hold while the engine profiles its largest step.

    That step has `step_tokens` tokens of prompts and samples `sequences` tokens, whatever the question's batch is.
    `offloaded` bytes of each device's weights are elsewhere.
    """
    laid, workload, engine = question.parallelism, question.workload, question.engine
    limit = engine.memory.model_copy(update={"max_num_batched_tokens": step_tokens})
    profiled = replace(question, engine=engine.model_copy(update={"memory": limit}), offload=NOTHING_OFFLOADED)
    one_stage = replace(profiled, parallelism=replace(laid, pipeline=1))
    prompts = memory_of(profiled, ceil_div(step_tokens, workload.new_prompt_tokens))
    sampled = memory_of(one_stage, sequences / workload.beams)
    # Weight files may know better than the formula, by the same factor for every stage.
    stored = sampled.weights_bytes / weight_bytes(question.model, question.widths, one_stage.parallelism)
    found = []
    for stage in stages(len(question.model.layers), laid.pipeline):
        weights = stored * weight_bytes(question.model, question.widths, laid, stage)
        step = prompts.activations_bytes + prompts.communication_bytes + (sampled.logits_bytes if stage.is_last else 0.0)
        found.append(Load(stage, maximum(0.0, weights - offloaded), step, engine.memory.reserve))
    return found
