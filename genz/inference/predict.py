"""The public question: predict one deployment of one model on one platform."""

from __future__ import annotations

from typing import Any

import numpy as np

from genz import units
from genz.errors import InvalidValueError
from genz.inference import limits
from genz.inference.evaluate import evaluate
from genz.inference.lengths import refuse_denoiser
from genz.inference.prediction import Prediction
from genz.inference.prices import NO_PRICES, Prices, settle_prices
from genz.inference.question import DEFAULT_ENGINE, DEFAULT_FIDELITY, Question, settle_question, use_case_of
from genz.numerics import Number, is_symbolic
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, Platform
from genz.specs.model import ModelSpec
from genz.specs.precision import Precision
from genz.specs.workload import SLO, UseCase


def predict(
    model: str | ModelSpec,
    platform: str | Platform | Chip,
    *,
    input: int | None = None,  # noqa: A002
    output: int | None = None,
    batch: int = 1,
    beams: int | None = None,
    cached: int = 0,
    tp: int = 1,
    pp: int = 1,
    dp: int | None = None,
    cp: int = 1,
    ep: int = 1,
    dcp: int = 1,
    redundant_experts: int = 0,
    micro_batches: int | None = None,
    sequence_parallel: bool = False,
    context_exchange: str = "ring",
    routing: str = "balanced",
    offload_weights: float = 0.0,
    offload_cache: float = 0.0,
    offload_tier: str = "host",
    precision: str | Precision = "auto",
    kv_cache_dtype: str | None = None,
    engine: str | Engine = DEFAULT_ENGINE,
    fidelity: str = DEFAULT_FIDELITY,
    use_case: str | UseCase | None = None,
    max_model_len: int | None = None,
    max_num_seqs: int | None = None,
    gpu_memory_utilization: float | None = None,
    price: str | float | None = None,
    energy_price: str | float | None = None,
    carbon_intensity: str | float | None = None,
    treat_as: str | None = None,
    images: int = 0,
    image_size: str | tuple[int, int] | None = None,
    image_tokens: int | None = None,
    audio: str | float | None = None,
    embed: bool = False,
) -> Prediction:
    """Predict TTFT, TPOT, throughput, memory, energy and power of one static batch.

    Args:
        model: name, hub id, or path of a `config.json`; or a `ModelSpec`.
        platform: chips and their number, as in `"8x h100-sxm"`, a platform's name or a path; or a spec.
        input, output: tokens of each request's prompt and answer; from the use case if left out. An encoder has no output;
            `input` of an encoder-decoder is what its encoder reads.
        batch: requests in the whole deployment; replicas share them.
        beams: sequences that each request keeps; they share the cache of the prompt.
        cached: tokens of each prompt that are in the cache already.
        tp, pp, dp, cp, ep, dcp: degrees of tensor, pipeline, data, context, expert and decode-context parallelism, as
            `Parallelism` describes them; dp left out is what remains of the devices.
        redundant_experts: further copies of experts in each layer, spread over the expert ranks.
        micro_batches: that a batch is cut into for the pipeline; as many as stages unless told.
        sequence_parallel: split norms and residuals over the tensor ranks.
        context_exchange: "ring" or "all_gather": how a prompt's keys and values reach all context ranks.
        offload_weights, offload_cache: shares that live in `offload_tier` ("host", or a tier of the platform's file) and are
            fetched, one layer ahead, in every step.
        routing: how tokens spread over experts and their ranks: "balanced", "uniform" (random), "worst", or by a power law
            whose exponent is named, as "power_law_1.2".
        precision: a name from the catalog, or "auto" for what the model's files say.
        kv_cache_dtype: data type of the KV cache; that of what is not quantised unless told or said by the precision.
        engine: the serving engine, whose fusion, overheads and memory rules apply.
        fidelity: "roofline" (data-sheet rates, no overheads), "engine" (with what the engine's file states) or "calibrated"
            (kernels and engines fitted to measurements, with 90 % intervals).
        use_case: lengths, beams and objectives from the catalog.
        max_model_len: allow this many tokens in all, whatever the model was made for.
        max_num_seqs: sequences that the engine of one replica runs at once.
        gpu_memory_utilization: share of the device's memory that the engine may take (0 to 1].
        price: rent of one device ("2.5 USD/h"; a number is USD per hour); the chip's list price if left out.
        energy_price: "0.10 USD/kWh"; carbon_intensity: "400 g/kWh" (numbers likewise).
        treat_as: read a configuration as another `model_type`.
        images: images of each request, before the `input` tokens of its text; each becomes the tokens that the model's
            processor makes of `image_size` ("1280x720", width by height), or `image_tokens` where a technique prunes them.
        audio: length of the clip of each request, as "30 s"; Whisper takes its windows as so many sequences.
        embed: ask a decoder for an embedding of its input: nothing is generated, and its head is not run. Encoders do no other.

    Raises:
        UnknownNameError, InvalidValueError, SpecError, UnsupportedError: the question is not sound.
        DoesNotFitError: the memory is exceeded; it carries the memory table and what would help.
    """
    case = use_case_of(use_case)
    question = settle_question(
        model,
        platform,
        input=input,
        output=output,
        batch=batch,
        beams=beams,
        cached=cached,
        tp=tp,
        pp=pp,
        dp=dp,
        cp=cp,
        ep=ep,
        dcp=dcp,
        redundant_experts=redundant_experts,
        micro_batches=micro_batches,
        sequence_parallel=sequence_parallel,
        context_exchange=context_exchange,
        routing=routing,
        offload_weights=offload_weights,
        offload_cache=offload_cache,
        offload_tier=offload_tier,
        precision=precision,
        kv_cache_dtype=kv_cache_dtype,
        engine=engine,
        fidelity=fidelity,
        use_case=case,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        gpu_memory_utilization=gpu_memory_utilization,
        treat_as=treat_as,
        images=images,
        image_size=image_size,
        image_tokens=image_tokens,
        audio=audio,
        embed=embed,
    )
    refuse_denoiser(question.model)
    prices = settle_prices(question.platform, price, energy_price, carbon_intensity)
    return answer(question, prices=prices, slo=case.slo if case else None)


def answer(question: Question, *, prices: Prices | None = None, slo: SLO | None = None) -> Prediction:
    """Evaluate a settled question. Raises `DoesNotFitError` where the memory is exceeded."""
    _check_single(question.workload.figures | {"gpu_memory_utilization": question.utilization})
    outcome = evaluate(question)
    _check_single({"platform": outcome.e2e, "memory": outcome.memory.fits})
    limits.check_fits(question, outcome.memory)
    return Prediction(outcome, prices or NO_PRICES, slo)


def _check_single(values: dict[str, Any]) -> None:
    for field, value in values.items():
        if is_symbolic(value) or np.ndim(value):
            raise InvalidValueError(
                f"{field}: an array or a symbol is no single question",
                field=field,
                value=value,
                hint="genz.evaluate(genz.settle_question(...)) takes arrays and symbols",
            )


def largest_batch(
    model: str | ModelSpec, platform: str | Platform | Chip, *, tpot: str | Number | None = None, **asked: Any
) -> int:
    """The largest batch that fits, and whose TPOT is at most `tpot` ("30 ms", or seconds) if one is given.

    The other arguments are those of `predict`. Returns 0 where not one request will do. Raises `InvalidValueError`
    for a `tpot` that is no positive time, and where one output token leaves none.
    """
    question = settle_question(model, platform, **asked)
    if tpot is None:
        return limits.largest_batch(question)
    goal = units.parse(tpot, units.TIME, field="tpot", needs_unit=isinstance(tpot, str))
    return limits.largest_batch_within(question, tpot=goal)
