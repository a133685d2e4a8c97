"""A question, settled: every name resolved to a specification, every count checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from genz.errors import InvalidValueError, shown, unknown_name
from genz.numerics import Number, ceil_div, every, is_symbolic
from genz.specs import catalog
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, Platform
from genz.specs.model import ModelSpec
from genz.specs.parallelism import Parallelism
from genz.specs.precision import DATA_TYPES, Precision, Widths, settle
from genz.specs.workload import UseCase, Workload, check_count
from genz.timing.machine import FIDELITIES, Fidelity

DEFAULT_ENGINE = "vllm"
DEFAULT_FIDELITY: Fidelity = "engine"


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
    max_num_seqs: int | None = None
    use_case: str | None = None
    kv_cache_dtype: str | None = None

    def on(self, platform: Platform) -> Question:
        """The same question on a platform whose figures were changed, as `genz.bind` does."""
        return replace(self, platform=platform)

    def with_workload(self, **changed: Number) -> Question:
        """The same question with other numbers of tokens, requests or beams, which may be arrays or symbols."""
        return replace(self, workload=replace(self.workload, **changed))

    @property
    def replicas(self) -> int:
        """Copies of the model that share the batch."""
        return self.platform.devices // self.parallelism.devices

    @property
    def requests_per_replica(self) -> Number:
        """Requests of the batch on the fullest replica."""
        return ceil_div(self.workload.batch, self.replicas)


def settle_question(
    model: str | ModelSpec,
    platform: str | Platform | Chip,
    *,
    input: Number | None = None,
    output: Number | None = None,
    batch: Number = 1,
    beams: Number | None = None,
    cached: Number = 0,
    tp: int = 1,
    precision: str | Precision = "auto",
    kv_cache_dtype: str | None = None,
    engine: str | Engine = DEFAULT_ENGINE,
    fidelity: str = DEFAULT_FIDELITY,
    use_case: str | UseCase | None = None,
    max_model_len: int | None = None,
    max_num_seqs: int | None = None,
    gpu_memory_utilization: Number | None = None,
    treat_as: str | None = None,
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
    workload = _workload(case, input=input, output=output, batch=batch, beams=beams, cached=cached)
    _check_lengths(model_spec, workload, max_model_len)
    parallelism = Parallelism(tensor=_whole(tp, "tensor_parallel_size"))
    parallelism.check(model_spec, devices=platform_spec.devices, domain=platform_spec.scale_up_size)
    question = Question(
        model=model_spec,
        platform=platform_spec,
        workload=workload,
        parallelism=parallelism,
        widths=settle_widths(model_spec, platform_spec.chip, precision, kv_cache_dtype),
        engine=engine_spec,
        fidelity=fidelity,  # type: ignore[arg-type]
        utilization=_utilization(gpu_memory_utilization),
        max_num_seqs=None if max_num_seqs is None else _whole(max_num_seqs, "max_num_seqs"),
        use_case=case.name if case else None,
        kv_cache_dtype=kv_cache_dtype,
    )
    _check_concurrency(question)
    return question


def use_case_of(use_case: str | UseCase | None) -> UseCase | None:
    """A use case by name or path, or as it is. Raises `UnknownNameError` or `InvalidValueError`."""
    return use_case if use_case is None or isinstance(use_case, UseCase) else catalog.use_case(use_case)


def _whole(value: Any, field: str) -> int:
    """A structural count: one whole number of at least 1, neither array nor symbol."""
    check_count(value, field, least=1)
    if is_symbolic(value) or np.ndim(value):
        raise InvalidValueError(f"{field}: {shown(value)} is not allowed", field=field, value=value, allowed="one whole number")
    return int(value)


def _plain(value: Number) -> Number:
    """A checked count as a plain int, whatever its type was; arrays and symbols stay what they are."""
    return value if is_symbolic(value) or np.ndim(value) else int(value)


def _platform(platform: str | Platform | Chip) -> Platform:
    if isinstance(platform, Platform):
        return platform
    return catalog.platform_of(platform, 1) if isinstance(platform, Chip) else catalog.platform(platform)


def _workload(
    case: UseCase | None,
    *,
    input: Number | None,
    output: Number | None,
    batch: Number,
    beams: Number | None,
    cached: Number,
) -> Workload:
    """Lengths from the use case, unless they are given."""
    settled: dict[str, Any] = {
        "input_tokens": input if input is not None else case.input_tokens if case else None,
        "output_tokens": output if output is not None else case.output_tokens if case else None,
        "beams": beams if beams is not None else case.beams if case else 1,
    }
    for name in ("input_tokens", "output_tokens"):
        if settled[name] is None:
            flag = name.removesuffix("_tokens")
            raise InvalidValueError(
                f"{name} is missing", field=name, allowed="a whole number of tokens",
                hint=f"give {flag}= (on the command line --{'isl' if flag == 'input' else 'osl'}), or a use case",
            )  # fmt: skip
    settled |= {"batch": batch, "cached_tokens": cached}
    Workload(**settled).validate()
    return Workload(**{name: _plain(value) for name, value in settled.items()})


def _check_lengths(model: ModelSpec, workload: Workload, max_model_len: int | None) -> None:
    """The model's own limit holds, unless `max_model_len` asks for more."""
    limit = model.max_context
    if max_model_len is not None:
        limit = _whole(max_model_len, "max_model_len")
    longest = workload.final_context
    if not is_symbolic(longest) and not every(longest <= limit):
        raise InvalidValueError(
            f"{workload.input_tokens} input and {workload.output_tokens} output tokens are more than "
            f"{'max_model_len' if max_model_len is not None else model.name + ' was made for'}: {limit}",
            field="max_model_len", value=longest, allowed=f"at most {limit} tokens in all",
            hint=f"to go beyond, say so: max_model_len={np.max(longest)} (on the command line --max-model-len {np.max(longest)})",
        )  # fmt: skip


def _check_concurrency(question: Question) -> None:
    """Each replica is an engine of its own, which runs `max_num_seqs` sequences at once."""
    most, workload = question.max_num_seqs, question.workload
    sequences = question.requests_per_replica * workload.beams
    if most is None or is_symbolic(sequences) or every(sequences <= most):
        return
    where = f" on each of {question.replicas} replicas" if question.replicas > 1 else ""
    raise InvalidValueError(
        f"batch: {question.requests_per_replica} requests of {workload.beams} sequences{where} are more than "
        f"max_num_seqs = {most}", field="batch", value=workload.batch, allowed=f"at most {most} sequences at once",
    )  # fmt: skip


def _utilization(utilization: Number | None) -> Number | None:
    if utilization is None or is_symbolic(utilization):
        return utilization
    if not isinstance(utilization, Real) or isinstance(utilization, bool) or not 0 < utilization <= 1:
        raise InvalidValueError(
            f"gpu_memory_utilization: {shown(utilization)} is not allowed", field="gpu_memory_utilization", value=utilization,
            allowed="a fraction above 0 and up to 1",
        )  # fmt: skip
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
    return settle(
        chosen, model_type=own_type, chip_name=chip.name, computable=chip.computable, kv_cache_dtype=kv_cache_dtype
    )
