"""The metrics of measured requests as functions of what GenZ predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from genz.inference.prediction import Prediction
from genz.validation.requests import NotAnsweredError, Request
from genz.validation.sources import Source

Conversion = Callable[[float, Request], float]


class Metric(NamedTuple):
    """A metric: which quantity of a prediction it follows from, and how."""

    base: str
    convert: Conversion


class Value(NamedTuple):
    """A predicted metric and the ends of its 90 % interval, not numbers where none was earned."""

    predicted: float
    low: float
    high: float


def _same(value: float, _: Request) -> float:
    return value


def _output_rate(seconds: float, request: Request) -> float:
    return request.batch * request.output / seconds


METRICS: dict[str, Metric] = {
    "ttft_s": Metric("ttft", _same),
    "tpot_s": Metric("tpot", _same),
    "e2e_s": Metric("e2e", _same),
    "output_tok_per_s": Metric("e2e", _output_rate),
    "total_tok_per_s": Metric("e2e", lambda t, r: r.batch * (r.prompt + r.output) / t),
    "prefill_tok_per_s": Metric("ttft", lambda t, r: r.batch * r.prompt / t),
    "request_per_s": Metric("e2e", lambda t, r: r.batch / t),
    "peak_mem_gb": Metric("memory", _same),
    "avg_power_frac_tdp": Metric("power", lambda p, r: p / r.platform.devices / r.platform.chip.power.tdp),
    "avg_gpu_power_w_gpu0": Metric("power", lambda p, r: p / r.platform.devices),
    "avg_gpu_power_w_total": Metric("power", _same),
    "gpu_energy_j_batch": Metric("energy", _same),
    "joules_per_request": Metric("energy", lambda e, r: e / r.batch),
    "joules_per_output_token": Metric("energy", lambda e, r: e / (r.batch * r.output)),
}
# Where a source means something else by a name.
TPOT_OF_REQUEST = Metric("e2e", lambda t, r: t / r.output)
RATE_OF_DECODE = Metric("tpot", lambda t, r: r.batch / t)
# Why GenZ has no such figure, by what is in the metric's name.
_REASONS = (
    ("system", "it is of the whole computer, and GenZ predicts its accelerators"),
    ("cpu", "it is of the host's processor, which GenZ does not predict"),
    ("peak_power", "a peak of power, where GenZ predicts averages"),
    ("p99", "a percentile, which one static batch does not have"),
)


def metric_of(name: str, source: Source) -> Metric:
    """How a metric of a source follows from a prediction. Raises `NotAnsweredError` for one that does not."""
    if name == "tpot_s" and source.tpot == "request":
        return TPOT_OF_REQUEST
    if name == "output_tok_per_s" and source.output_rate == "decode":
        return RATE_OF_DECODE
    if name in METRICS:
        return METRICS[name]
    reason = next((reason for part, reason in _REASONS if part in name), f"known: {', '.join(METRICS)}")
    raise NotAnsweredError(f"metric {name!r} is not predicted: {reason}")


def value_of(metric: Metric, prediction: Prediction, request: Request, source: Source) -> Value:
    """A metric of a prediction. Raises `NotAnsweredError` where the prediction has none."""
    base = memory_of(prediction) / source.memory_unit if metric.base == "memory" else getattr(prediction, metric.base)
    if base is None:
        raise NotAnsweredError("one output token has no time per token after it")
    low, high = (prediction.interval or {}).get(f"{metric.base}_s", (float("nan"), float("nan")))
    ends = sorted(metric.convert(float(end), request) for end in (low, high))
    return Value(metric.convert(float(base), request), *ends)


def memory_of(prediction: Prediction) -> float:
    """Peak of the allocator [B]: what is held, without the driver's context; the whole pool of engines that take one."""
    question, memory = prediction.question, prediction.memory
    if question.engine.memory.utilization < 1:
        return float(question.engine.memory.utilization * question.platform.chip.main_memory.capacity)
    return float(memory.total_bytes - memory.reserve_bytes)
