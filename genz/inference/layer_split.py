"""Some layers on the accelerator, the others on the host's processor, as llama.cpp does with `--n-gpu-layers`."""

from __future__ import annotations

from dataclasses import dataclass

from genz.energy import energy_constants
from genz.errors import InvalidValueError
from genz.footprint import request_cache_bytes, weight_bytes
from genz.graph.step import Step
from genz.inference.evaluate import decode_step, operators, prefill_step
from genz.inference.lengths import check_plain_decoder
from genz.inference.phase import phase_cost
from genz.inference.question import Question
from genz.numerics import Number, safe_divide
from genz.specs import catalog
from genz.specs.hardware import Platform
from genz.specs.parallelism import Stage
from genz.specs.workload import check_count
from genz.timing.machine import Machine


@dataclass(frozen=True)
class LayerSplit:
    """A model whose first `host_layers` run on the host and the others on the device. Times in seconds, sizes in bytes."""

    host_layers: int
    device_layers: int
    ttft: Number
    tpot: Number
    device_bytes: Number
    host_bytes: Number


def split_layers(question: Question, host: str | Platform, *, device_layers: int) -> LayerSplit:
    """Price a question on one device with `device_layers` layers, and the rest with the embedding on `host`.

    The host passes its layers first, then hands the hidden states over the device's host link: the times add up, as a
    token needs both. Raises `InvalidValueError` for more layers than the model has, or a question on several devices.
    """
    check_plain_decoder(question.model, question.workload, "a split of layers")
    layers = len(question.model.layers)
    check_count(device_layers, "device_layers", least=0, most=layers)
    if question.parallelism.devices != 1:
        raise InvalidValueError(
            "a split of layers is between one device and its host",
            field="platform",
            value=question.platform.name,
            allowed="1 device",
        )
    processor = catalog.platform(host) if isinstance(host, str) else host
    cut = layers - device_layers
    parts = [(processor, Stage(0, cut, is_first=True, is_last=cut == layers))]
    if device_layers:
        parts.append((question.platform, Stage(cut, layers, is_first=False, is_last=True)))
    held = [_held(question, stage) for _, stage in parts]

    def time(step: Step) -> Number:
        passing = sum(
            _stage_time(question, platform, stage, step, size) for (platform, stage), size in zip(parts, held, strict=True)
        )
        return passing + (_hand_over_time(question, step) if device_layers else 0.0)

    decode = time(decode_step(question))
    return LayerSplit(
        host_layers=cut,
        device_layers=device_layers,
        ttft=time(prefill_step(question)),
        tpot=safe_divide(decode, question.workload.output_tokens - 1, float("nan")),
        device_bytes=held[1] if device_layers else 0.0,
        host_bytes=held[0],
    )


def _held(question: Question, stage: Stage) -> Number:
    """Weights and cache of the layers of one part [B]."""
    cache = request_cache_bytes(question.model, question.widths, question.workload, stage=stage)
    return weight_bytes(question.model, question.widths, question.parallelism, stage) + question.requests_per_rank * cache


def _stage_time(question: Question, platform: Platform, stage: Stage, step: Step, held: Number) -> Number:
    machine = Machine(platform, question.engine, question.fidelity, held)
    inside = [operator for operator in operators(question, step, stage) if not operator.collective]
    return phase_cost(inside, step, machine, energy_constants(platform)).time


def _hand_over_time(question: Question, step: Step) -> Number:
    """Seconds in which the hidden states of every step cross the device's host link."""
    chip = question.platform.chip
    if "host" not in chip.links:
        raise InvalidValueError(f"{chip.name} has no link to a host", field="platform", value=chip.name)
    link = chip.links["host"]
    message = step.tokens * question.model.hidden * question.widths.base_bytes
    return step.repeats * (link.latency + message / link.bandwidth)
