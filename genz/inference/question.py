"""A question, settled: every name resolved to a specification, every count checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from genz.errors import InvalidValueError, shown, unknown_name
from genz.inference.requests import settle_requests
from genz.numerics import Number, ceil_div, is_symbolic, minimum
from genz.operators.moe import exponent_of
from genz.specs import catalog
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, Platform
from genz.specs.model import ModelSpec
from genz.specs.offload import HOST, NOTHING_OFFLOADED, Offload, tier_of
from genz.specs.parallelism import FLAGS, Parallelism, fill
from genz.specs.precision import DATA_TYPES, Precision, Widths, settle
from genz.specs.workload import Rule, UseCase, Workload, check_count
from genz.timing.machine import FIDELITIES, Fidelity
from genz.timing.network import span

DEFAULT_ENGINE = "vllm"
DEFAULT_FIDELITY: Fidelity = "calibrated"


@dataclass(frozen=True)
class Question:
    """Everything that a prediction depends on."""

    model: ModelSpec
    platform: Platform
    workload: Workload
    parallelism: Parallelism
    widths: Widths
    engine: Engine
    fidelity: Fidelity
    utilization: Number | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    use_case: str | None = None
    kv_cache_dtype: str | None = None
    routing: str = "balanced"
    offload: Offload = NOTHING_OFFLOADED

    def on(self, platform: Platform) -> Question:
        """The same question on a platform whose figures were changed, as `genz.bind` does."""
        return replace(self, platform=platform)

    def with_workload(self, **changed: Any) -> Question:
        """The same question with other numbers of tokens, requests or beams, which may be arrays or symbols."""
        return replace(self, workload=replace(self.workload, **changed))

    @property
    def replicas(self) -> int:
        """Copies of the model that share the batch and run on their own."""
        return self.parallelism.replicas

    @property
    def requests_per_rank(self) -> Number:
        """Requests of the batch on the fullest data-parallel rank."""
        return ceil_div(self.workload.batch, self.parallelism.data)

    @property
    def micro_batches(self) -> Number:
        """Micro-batches that a rank's requests are cut into: as many as asked for, if there are as many requests."""
        return minimum(self.parallelism.stages_in_flight, self.requests_per_rank)

    @property
    def requests_per_micro_batch(self) -> Number:
        """Requests that one pipeline stage processes at once."""
        return ceil_div(self.requests_per_rank, self.micro_batches)


def settle_question(
    model: str | ModelSpec,
    platform: str | Platform | Chip,
    *,
    input: Number | None = None,  # noqa: A002
    output: Number | None = None,
    batch: Number = 1,
    beams: Number | None = None,
    cached: Number = 0,
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
    offload_weights: Number = 0.0,
    offload_cache: Number = 0.0,
    offload_tier: str = HOST,
    precision: str | Precision = "auto",
    kv_cache_dtype: str | None = None,
    engine: str | Engine = DEFAULT_ENGINE,
    fidelity: str = DEFAULT_FIDELITY,
    use_case: str | UseCase | None = None,
    max_model_len: int | None = None,
    max_num_seqs: int | None = None,
    gpu_memory_utilization: Number | None = None,
    treat_as: str | None = None,
    images: int = 0,
    image_size: str | tuple[int, int] | None = None,
    image_tokens: int | None = None,
    audio: str | float | None = None,
    embed: bool = False,
) -> Question:
    """Resolve names and check values; see `genz.predict` for the meaning of each argument.

    Raises `UnknownNameError`, `InvalidValueError`, `SpecError` or `UnsupportedError`.
    """
    model_spec = model if isinstance(model, ModelSpec) else catalog.model(model, treat_as=treat_as)
    platform_spec = _platform(platform)
    engine_spec = engine if isinstance(engine, Engine) else catalog.engine(engine)
    case = use_case_of(use_case)
    if fidelity not in FIDELITIES:
        raise unknown_name("fidelity", str(fidelity), FIDELITIES)
    model_spec, workload = settle_requests(
        model_spec,
        case,
        input=input,
        output=output,
        batch=batch,
        beams=beams,
        cached=cached,
        images=images,
        image_size=image_size,
        image_tokens=image_tokens,
        audio=audio,
        embed=embed,
    )
    parallelism = fill(
        devices=platform_spec.devices,
        tensor=_whole(tp, FLAGS["tensor"]),
        pipeline=_whole(pp, FLAGS["pipeline"]),
        data=None if dp is None else _whole(dp, FLAGS["data"]),
        context=_whole(cp, FLAGS["context"]),
        expert=_whole(ep, FLAGS["expert"]),
        decode_context=_whole(dcp, FLAGS["decode_context"]),
        redundant_experts=_whole(redundant_experts, FLAGS["redundant_experts"], least=0),
        micro_batches=None if micro_batches is None else _whole(micro_batches, FLAGS["micro_batches"]),
        sequence_parallel=sequence_parallel,
        context_exchange=context_exchange,
    )
    parallelism.check(model_spec, devices=platform_spec.devices, joined=platform_spec.joined_devices)
    for ranks, stride in parallelism.groups:
        span(platform_spec.network, ranks, stride)
    exponent_of(routing)
    question = Question(
        model=model_spec,
        platform=platform_spec,
        workload=workload,
        parallelism=parallelism,
        widths=settle_widths(model_spec, platform_spec.chip, precision, kv_cache_dtype),
        engine=engine_spec,
        fidelity=fidelity,
        utilization=settle_utilization(gpu_memory_utilization),
        max_model_len=None if max_model_len is None else _whole(max_model_len, "max_model_len"),
        max_num_seqs=None if max_num_seqs is None else _whole(max_num_seqs, "max_num_seqs"),
        use_case=case.name if case else None,
        kv_cache_dtype=kv_cache_dtype,
        routing=routing,
        offload=_offload(platform_spec, offload_weights, offload_cache, offload_tier),
    )
    for rule in rules(question):
        rule.check()
    return question


def rules(question: Question) -> tuple[Rule, ...]:
    """What the requests of a question must meet, whose numbers may be arrays: the prompt, the lengths, the concurrency."""
    return question.workload.prompt_rule, _length_rule(question), *_source_rules(question), *_concurrency_rules(question)


def use_case_of(use_case: str | UseCase | None) -> UseCase | None:
    """A use case by name or path, or as it is. Raises `UnknownNameError` or `InvalidValueError`."""
    return use_case if use_case is None or isinstance(use_case, UseCase) else catalog.use_case(use_case)


def _whole(value: Any, field: str, *, least: int = 1) -> int:
    """A structural count: one whole number, neither array nor symbol."""
    check_count(value, field, least=least)
    if is_symbolic(value) or np.ndim(value):
        raise InvalidValueError(f"{field}: {shown(value)} is not allowed", field=field, value=value, allowed="one whole number")
    return int(value)


def _platform(platform: str | Platform | Chip) -> Platform:
    if isinstance(platform, Platform):
        return platform
    return catalog.platform_of(platform, 1) if isinstance(platform, Chip) else catalog.platform(platform)


def _length_rule(question: Question) -> Rule:
    """The model's own limit holds, unless `max_model_len` asks for more."""
    model, workload, told = question.model, question.workload, question.max_model_len
    limit = model.max_context if told is None else told
    longest = workload.final_context
    asked = f"{workload.input_tokens} input" + ("" if workload.embeds else f" and {workload.output_tokens} output")
    return Rule(
        longest <= limit,
        "beyond the model's context" if told is None else "beyond max_model_len",
        lambda: InvalidValueError(
            f"{asked} tokens are more than {model.name + ' was made for' if told is None else 'max_model_len'}: {limit}",
            field="max_model_len",
            value=longest,
            allowed=f"at most {limit} tokens in all",
            hint=f"to go beyond, say so: max_model_len={np.max(longest)} (on the command line --max-model-len)",
        ),
    )


def _source_rules(question: Question) -> tuple[Rule, ...]:
    """What passes the encoder of an encoder-decoder is not longer than that takes, unless `max_model_len` asks for more."""
    model, source = question.model, question.model.source
    if source is None or model.audio is not None or model.images is not None:
        return ()
    read, longest = question.workload.source_tokens, question.max_model_len or source.longest or model.max_context
    rule = Rule(
        read <= longest,
        "beyond what the encoder takes",
        lambda: InvalidValueError(
            f"{read} input tokens are more than the encoder of {model.name} was made for: {longest}",
            field="max_model_len",
            value=read,
            allowed=f"at most {longest} tokens",
            hint=f"to go beyond, say so: max_model_len={np.max(read)} (on the command line --max-model-len)",
        ),
    )
    return (rule,)


def _concurrency_rules(question: Question) -> tuple[Rule, ...]:
    """Each replica is an engine of its own, which runs `max_num_seqs` sequences at once."""
    most, workload = question.max_num_seqs, question.workload
    if most is None:
        return ()
    ranks = question.parallelism.data
    kind = "replicas" if question.parallelism.coupled_data == 1 else "data-parallel ranks"
    where = f" on each of {ranks} {kind}" if ranks > 1 else ""
    rule = Rule(
        question.requests_per_rank * workload.beams <= most,
        "more sequences than max_num_seqs",
        lambda: InvalidValueError(
            f"batch: {question.requests_per_rank} requests of {workload.beams} sequences{where} are more than "
            f"max_num_seqs = {most}",
            field="batch",
            value=workload.batch,
            allowed=f"at most {most} sequences at once",
        ),
    )
    return (rule,)


def _offload(platform: Platform, weights: Number, cache: Number, tier: str) -> Offload:
    offload = Offload(weights, cache, tier)
    offload.check()
    if offload == NOTHING_OFFLOADED:
        return NOTHING_OFFLOADED
    tier_of(platform, tier)
    return offload


def settle_utilization(utilization: Number | None) -> Number | None:
    """A share of the device's memory as a plain float, or None. Raises `InvalidValueError` unless it is above 0 and up to 1."""
    if utilization is None or is_symbolic(utilization):
        return utilization
    if not isinstance(utilization, Real) or isinstance(utilization, bool) or not 0 < utilization <= 1:
        raise InvalidValueError(
            f"gpu_memory_utilization: {shown(utilization)} is not allowed",
            field="gpu_memory_utilization",
            value=utilization,
            allowed="a fraction above 0 and up to 1",
        )
    return float(utilization)


def settle_widths(model: ModelSpec, chip: Chip, precision: str | Precision, kv_cache_dtype: str | None) -> Widths:
    """What holds weights, activations and cache.

    "auto" is what the model's files say: their quantisation, else their type, where 32-bit checkpoints are
    served in 16 bits, as engines do.
    """
    own_type = "bf16" if model.dtype in ("fp32", "fp64") else model.dtype
    if isinstance(precision, Precision):
        chosen = precision
    elif precision == "auto":
        chosen = model.precision or Precision(name=own_type, weights=DATA_TYPES[own_type], activations="base", compute="base")
    else:
        chosen = catalog.precision(precision)
    return settle(chosen, model_type=own_type, chip_name=chip.name, computable=chip.computable, kv_cache_dtype=kv_cache_dtype)
