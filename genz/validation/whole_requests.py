"""Predictions of measured requests: each deployment is asked about once, whatever was measured of it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from genz.errors import DoesNotFitError, GenZError
from genz.inference.predict import predict
from genz.inference.prediction import Prediction
from genz.measurements.positions import Positions, alike
from genz.validation.answers import Answers, reason_of
from genz.validation.metrics import metric_of, value_of
from genz.validation.requests import NotAnsweredError, Request, request_of
from genz.validation.sources import Source, known_sources

# The columns that tell one deployment from another; `notes` may hold degrees of parallelism.
DEPLOYMENT = [
    *("source", "hardware", "n_devices", "tp", "pp", "ep", "dp", "mode", "model", "framework", "weight_dtype", "kv_dtype"),
    *("load_kind", "batch_or_concurrency", "input_tokens", "output_tokens", "notes"),
]
# Engines that let requests wait for memory instead of failing.
QUEUEING = frozenset({"vllm", "tensorrt-llm", "sglang", "deepspeed", "vllm-2023"})
IN_WAVES = "the batch does not fit in memory at once: the engine ran it in waves"
DOES_NOT_FIT = "the batch does not fit in memory at once"


def answer_requests(rows: pd.DataFrame, fidelity: str) -> Answers:
    """Predicted metrics of rows of the `e2e` schema."""
    answers = Answers.none(len(rows))
    asked: dict[Request, Prediction | str] = {}
    metrics = rows["metric"].to_numpy(dtype=object)
    for _, positions in alike(rows, DEPLOYMENT):
        first = next(rows.iloc[positions[:1]].itertuples())
        try:
            request = request_of(first)
        except (NotAnsweredError, GenZError) as error:
            answers.refuse(positions, reason_of(error) if isinstance(error, GenZError) else str(error))
            continue
        if request not in asked:
            asked[request] = _predict(request, fidelity)
        _fill(answers, positions, metrics, asked[request], request=request, source=known_sources().of(first.source))
    return answers


def _predict(request: Request, fidelity: str) -> Prediction | str:
    """The prediction, or why there is none.

    What was measured did fit: an engine without a scheduler has all of the memory. One with a queue that does not fit a
    batch runs it in waves, which is no static batch.
    """
    try:
        try:
            return predict(**request.asked, fidelity=fidelity)
        except DoesNotFitError:
            if request.engine in QUEUEING:
                return IN_WAVES
            return predict(**request.asked, fidelity=fidelity, gpu_memory_utilization=1.0)
    except DoesNotFitError:
        return DOES_NOT_FIT
    except GenZError as error:
        return reason_of(error)


def _fill(
    answers: Answers, positions: Positions, metrics: Any, prediction: Prediction | str, *, request: Request, source: Source
) -> None:
    for position in positions:
        try:
            metric = metric_of(metrics[position], source)
            if isinstance(prediction, str):
                answers.refusal[position] = prediction
                continue
            value = value_of(metric, prediction, request, source)
        except NotAnsweredError as error:
            answers.refusal[position] = str(error)
            continue
        answers.predicted[position], answers.low[position], answers.high[position] = value
