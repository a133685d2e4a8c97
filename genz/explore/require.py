"""Inverse design: the machine that a model, a use case and a latency objective ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from genz.errors import InvalidValueError, UnsupportedError, shown
from genz.explore.requirements.balance import SAFETY, balanced, bounds
from genz.explore.requirements.base import SCALE_UP, base_chip, base_platform, finished
from genz.explore.requirements.figures import settle_given
from genz.explore.requirements.problem import ImpossibleSLOError, Problem
from genz.explore.requirements.requirement import Requirement
from genz.explore.requirements.tables import paper_table, table
from genz.inference.evaluate import Outcome, evaluate, memory_of
from genz.inference.lengths import refuse_denoiser
from genz.inference.limits import check_fits
from genz.inference.question import Question, settle_question, use_case_of
from genz.specs import catalog
from genz.specs.base import spec_error
from genz.specs.catalog import MAX_DEVICES
from genz.specs.engine import Engine
from genz.specs.hardware import Chip
from genz.specs.model import ModelSpec
from genz.specs.precision import Precision
from genz.specs.workload import SLO, UseCase, check_count

__all__ = ["ImpossibleSLOError", "Requirement", "paper_table", "require", "table"]

THROTTLED = 1.05  # by which a power limit is raised until it slows no stage down


def require(
    model: str | ModelSpec,
    *,
    use_case: str | UseCase | None = None,
    slo: SLO | Mapping[str, Any] | None = None,
    input: int | None = None,  # noqa: A002
    output: int | None = None,
    batch: int = 1,
    devices: int | None = None,
    tp: int = 1,
    pp: int = 1,
    dp: int | None = None,
    cp: int = 1,
    precision: str | Precision = "auto",
    engine: str | Engine = "ideal",
    fidelity: str = "roofline",
    like: str | Chip | None = None,
    given: Mapping[str, Any] | None = None,
    network_share: float = 0.1,
    **asked: Any,
) -> Requirement:
    """The FLOP/s, memory bandwidth, memory and link that each device must have to keep TTFT and TPOT.

    Each figure's bound is its least value where nothing else limits: on one device at the roofline FLOP/s = FLOPs of the
    prefill / TTFT and bandwidth = bytes of a decode step / TPOT. The machine returned is balanced: FLOP/s and bandwidth are
    those at which TTFT and TPOT are both met exactly, where there are such (`genz.explore.requirements.balance` states
    the rules). Times come from `genz.evaluate` alone; they fall as any figure grows, so the figures are found by a search
    that asks for nothing else, and hold to one part in 10^8.

    Args:
        model, precision, engine, fidelity, batch, tp, pp, dp, cp and the further arguments: as in `genz.predict`.
        use_case: lengths, beams and objectives from the catalog.
        slo: objectives in the place of the use case's: `{"ttft": "500 ms", "tpot": "30 ms"}`, or one of them (numbers in s;
            None drops one); an `SLO` replaces both.
        devices: how many; as many as the degrees of parallelism ask for unless told.
        like: chip whose ratios of rates, caches, energies and link latency are kept; an ideal one unless told.
        given: figures that are fixed, of `flops`, `bandwidth`, `capacity`, `link_bandwidth`, `link_latency`: text with a
            unit, or numbers in SI.
        network_share: of what the objectives leave, the share that exchanges between devices may take (0 to 1).

    Raises:
        ImpossibleSLOError: with what is given no machine keeps the objective; it carries the least time that can be kept.
        DoesNotFitError: a given capacity is too small.
        UnknownNameError, InvalidValueError, SpecError, UnsupportedError: the question is not sound.
    """
    case = use_case_of(use_case)
    objectives = _objectives(slo, case)
    if not isinstance(network_share, (int, float)) or isinstance(network_share, bool) or not 0 < network_share < 1:
        raise InvalidValueError(
            f"network_share: {shown(network_share)} is not allowed",
            field="network_share",
            value=network_share,
            allowed="a fraction above 0 and below 1",
        )
    if fidelity == "calibrated" and like is None:
        raise InvalidValueError(
            "like: calibrated kernels are those of a chip, and none is named",
            field="like",
            value=None,
            hint="say like='h100-sxm' (on the command line --like), or ask at the fidelity 'roofline' or 'engine'",
        )
    spec = model if isinstance(model, ModelSpec) else catalog.model(model, treat_as=asked.get("treat_as"))
    refuse_denoiser(spec)
    told = output if output is not None or case is None else case.output_tokens
    problem = _problem(
        model,
        base_chip(like),
        _goals(objectives, asked_of=1 if asked.get("embed") or not spec.generates else told),
        given,
        devices=devices,
        keep_latency=like is not None,
        use_case=case,
        input=input,
        output=output,
        batch=batch,
        tp=tp,
        pp=pp,
        dp=dp,
        cp=cp,
        precision=precision,
        engine=engine,
        fidelity=fidelity,
        **asked,
    )
    problem.check_possible()
    least = bounds(problem)
    outcome = _on_finished(problem, problem.on(balanced(problem, network_share=network_share)))
    least["capacity"] = _capacity(problem.question)
    return Requirement(outcome, SLO(**problem.goals), least, problem.given, base_chip(like).name)


def _objectives(slo: SLO | Mapping[str, Any] | None, case: UseCase | None) -> SLO:
    """The objectives that are asked for: an `SLO` as it is, a mapping over those of the use case."""
    said = SLO() if case is None else case.slo
    if slo is None or isinstance(slo, SLO):
        return said if slo is None else slo
    if not isinstance(slo, Mapping):
        raise InvalidValueError(
            f"slo: {shown(slo)} is not allowed",
            field="slo",
            value=slo,
            allowed="a mapping of ttft and tpot, such as {'ttft': '500 ms'}",
        )
    try:
        return SLO.model_validate({**said.model_dump(), **{str(key): value for key, value in slo.items()}})
    except ValidationError as error:
        raise spec_error(error, SLO, "slo") from None


def _goals(slo: SLO, *, asked_of: int | None) -> dict[str, float]:
    """The objectives as numbers [s]. Raises `InvalidValueError` where there is none, or none that the request has."""
    goals = {name: goal for name in ("ttft", "tpot") if (goal := getattr(slo, name)) is not None}
    if asked_of == 1:
        goals.pop("tpot", None)
    if not goals:
        raise InvalidValueError(
            "slo: there is no objective to meet" + (", as a request of one output token has no TPOT" if asked_of == 1 else ""),
            field="slo",
            allowed="ttft, tpot or both",
            hint="give slo={'ttft': '500 ms', 'tpot': '30 ms'} (on the command line --ttft and --tpot), or a use case",
        )
    return goals


def _problem(
    model: str | ModelSpec,
    chip: Chip,
    goals: Mapping[str, float],
    given: Mapping[str, Any] | None,
    *,
    devices: int | None,
    keep_latency: bool,
    **asked: Any,
) -> Problem:
    """The question on the base machine, and what is known of it."""
    is_calibrated = asked["fidelity"] == "calibrated"
    platform = base_platform(chip, _devices(devices, asked), keep_power=is_calibrated)
    question = settle_question(model, platform, **asked)
    networked = question.parallelism.devices > question.replicas
    settled = settle_given(given, networked=networked)
    if is_calibrated and "link_latency" in settled:
        raise InvalidValueError(
            "link_latency: calibrated collectives hold the latency that was measured",
            field="link_latency",
            value=settled["link_latency"],
            hint="leave it out, or ask at the fidelity 'roofline' or 'engine'",
        )
    if not networked:
        question = question.on(platform.model_copy(update={"network": ()}))
    kept = {}
    if networked and (is_calibrated or (keep_latency and SCALE_UP in chip.links)) and "link_latency" not in settled:
        kept["link_latency"] = platform.network[0].latency
    return Problem(question, goals, settled, kept, networked)


def _devices(devices: int | None, asked: Mapping[str, Any]) -> int:
    """As many as are said, else as the degrees of parallelism need; the question checks the degrees themselves."""
    if devices is not None:
        check_count(devices, "devices", least=1, most=MAX_DEVICES)
        return int(devices)
    degrees = {name: asked[name] for name in ("tp", "pp", "dp", "cp") if asked[name] is not None}
    for name, degree in degrees.items():
        check_count(degree, name, least=1, most=MAX_DEVICES)
    return math.prod(int(degree) for degree in degrees.values())


def _capacity(question: Question) -> float:
    """Memory of the device of which the engine may take what the fullest device holds [B]."""
    share = question.engine.memory.utilization if question.utilization is None else question.utilization
    return float(memory_of(question).total_bytes / share)


def _on_finished(problem: Problem, question: Question) -> Outcome:
    """The outcome on the machine with its memory, and with the power limit that slows nothing down."""
    capacity = problem.given.get("capacity", _capacity(question) * (1 + SAFETY))
    unlimited = evaluate(question)
    chip = question.platform.chip
    tdp = chip.power.tdp if question.fidelity == "calibrated" else chip.power.idle + _drawn(unlimited) * (1 + SAFETY)
    while True:
        finite = finished(question.platform, capacity=capacity, tdp=tdp)
        outcome = evaluate(question.on(finite))
        if outcome.e2e <= unlimited.e2e * (1 + SAFETY):
            check_fits(outcome.question, outcome.memory)
            _check_met(problem, outcome)
            return outcome
        tdp *= THROTTLED


def _check_met(problem: Problem, outcome: Outcome) -> None:
    """Raise `UnsupportedError` where the search was misled, as it would be by times that rise with a figure."""
    for name, goal in problem.goals.items():
        if float(getattr(outcome, name)) > goal:
            raise UnsupportedError(
                f"{name}: no machine was found, as times do not fall steadily with the figures at this fidelity",
                field="fidelity",
                value=problem.question.fidelity,
                hint="ask at the fidelity 'roofline' or 'engine'",
            )


def _drawn(outcome: Outcome) -> float:
    """Power beyond idle of a device in the phase that draws most [W], in the mean over the stages of a pipeline."""
    stages = outcome.question.parallelism.pipeline
    phases = [cost for cost in (outcome.prefill, outcome.decode) if cost.time > 0]
    return float(max(cost.dynamic_energy / (cost.time * stages) for cost in phases))
