"""Evaluate a question: the same formulas over scalars, arrays and symbols."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from genz.energy import EnergyConstants, energy_constants
from genz.footprint import Memory, footprint
from genz.graph.builder import build, build_encoder
from genz.graph.step import Group, Operator, Step
from genz.inference.phase import PhaseCost, phase_cost
from genz.inference.pipeline import pipeline_cost
from genz.inference.question import Question
from genz.numerics import Number, ceil_div, safe_divide, total
from genz.specs.offload import NOTHING_OFFLOADED, tier_of
from genz.specs.parallelism import Stage, distinct_stages
from genz.specs.workload import Media
from genz.timing.machine import Machine


@dataclass(frozen=True)
class Outcome:
    """What a question comes to. Times are of the fullest replica, energy and power of the whole deployment."""

    question: Question
    memory: Memory
    prefill: PhaseCost
    decode: PhaseCost
    encoders: tuple[tuple[str, PhaseCost], ...] = ()

    @property
    def encoding_time(self) -> Number:
        """Time that images, clips or texts spend in their encoders, one encoder after the other [s]."""
        return total([cost.time for _, cost in self.encoders])

    @property
    def phases(self) -> dict[str, PhaseCost]:
        """Every phase by its name, in order: encoders, prefill, decode."""
        return {**dict(self.encoders), "prefill": self.prefill, "decode": self.decode}

    @property
    def ttft(self) -> Number:
        """Time to first token: encoders, then the whole prefill, its sampling included [s]."""
        return self.encoding_time + self.prefill.time

    @property
    def e2e(self) -> Number:
        """Time from the start of the batch to its last token [s]."""
        return self.ttft + self.decode.time

    @property
    def tpot(self) -> Number:
        """(E2E - TTFT) / (output tokens - 1), not a number where there is one output token [s]."""
        return safe_divide(self.decode.time, self.question.workload.output_tokens - 1, float("nan"))

    @property
    def output_tokens(self) -> Number:
        """Tokens that the batch gives back; the beams of a request give back one sequence."""
        return self.question.workload.batch * self.question.workload.output_tokens

    @property
    def output_tokens_per_s(self) -> Number:
        """Output tokens of the whole deployment over E2E [1/s]."""
        return self.output_tokens / self.e2e

    @cached_property
    def energy(self) -> Number:
        """Energy of all devices over the batch [J]: idle power for all the time, and what the work adds."""
        question = self.question
        devices = question.platform.devices
        # Replicas that hold fewer requests than the fullest do less work.
        alike = question.parallelism.tensor * question.parallelism.context
        active = alike * question.workload.batch / question.requests_per_rank
        dynamic = total([cost.dynamic_energy for cost in self.phases.values()])
        return devices * question.platform.chip.power.idle * self.e2e + active * dynamic

    @property
    def power(self) -> Number:
        """Average power of all devices [W]."""
        return self.energy / self.e2e

    @property
    def energy_per_output_token(self) -> Number:
        """Energy of the whole deployment per output token, prefill included [J]."""
        return self.energy / self.output_tokens


def prefill_step(question: Question) -> Step:
    """The prompts of one data-parallel rank, or of one micro-batch of them; beams share the prompt.

    At `engine` fidelity an engine takes no more than its `max_num_batched_tokens` in one step, so that the batch goes
    through in several, each with its share of the prompts; at the roofline all go at once.
    """
    workload, requests = question.workload, question.requests_per_micro_batch
    steps: Number = 1
    if question.fidelity != "roofline":
        steps = ceil_div(requests * workload.new_prompt_tokens, question.engine.memory.max_num_batched_tokens)
    group = Group(
        requests / steps,
        workload.new_prompt_tokens,
        workload.cached_tokens,
        advance=0,
        source_tokens=workload.source_tokens,
    )
    return Step("prefill", (group,), steps)


def decode_step(question: Question) -> Step:
    """One token for each sequence of a data-parallel rank (or micro-batch), as often as tokens are left after the first."""
    workload = question.workload
    group = Group(
        sequences=question.requests_per_micro_batch * workload.beams,
        new_tokens=1,
        context=workload.input_tokens,
        shared_context=workload.input_tokens,
        beams=workload.beams,
        source_tokens=workload.source_tokens,
    )
    return Step("decode", (group,), workload.output_tokens - 1)


def encoder_step(question: Question, media: Media) -> Step:
    """What all requests of a data-parallel rank send through an encoder, at once."""
    group = Group(
        question.requests_per_rank * media.sequences,
        media.tokens,
        0,
        sampled=0,
        advance=0,
        source_tokens=media.source_tokens,
        chunk_keys=media.window_keys,
    )
    return Step("prefill", (group,))


def operators(question: Question, step: Step, stage: Stage | None = None) -> tuple[Operator, ...]:
    """The operators of a step of this question, on one device of a pipeline stage."""
    return build(
        question.model,
        step,
        parallelism=question.parallelism,
        widths=question.widths,
        engine=question.engine,
        stage=stage,
        routing=question.routing,
    )


def memory_of(question: Question, requests: Number | None = None) -> Memory:
    """Memory of the fullest device, for the question's batch or for another number of requests on a data-parallel rank."""
    return footprint(
        question.model,
        question.workload,
        requests=question.requests_per_rank if requests is None else requests,
        parallelism=question.parallelism,
        widths=question.widths,
        engine=question.engine,
        capacity_bytes=question.platform.chip.main_memory.capacity,
        utilization=question.utilization,
        offload=question.offload,
    )


def cost_of(question: Question, step: Step, memory: Memory | None = None) -> PhaseCost:
    """What a step of this question takes, over all stages of its pipeline."""
    machine, constants = _machine(question, memory)
    stages = distinct_stages(question.model, question.parallelism.pipeline)
    costs = [
        (
            phase_cost(operators(question, step, stage), step, machine, constants, fetch=_fetch_time(question, step)),
            alike,
        )
        for stage, alike in stages
    ]
    return pipeline_cost(costs, step.phase, question.micro_batches)


def _machine(question: Question, memory: Memory | None) -> tuple[Machine, EnergyConstants]:
    """The device that a question runs on, and what its work costs in energy."""
    held = memory or memory_of(question)
    machine = Machine(
        question.platform,
        question.engine,
        question.fidelity,
        held.persistent_bytes,
        question.widths.kernel_format(quantised=True, expert=True),
        question.parallelism.tensor * question.parallelism.context,
    )
    return machine, energy_constants(question.platform, calibrated=question.fidelity == "calibrated")


def _encoder_costs(question: Question, memory: Memory) -> tuple[tuple[str, PhaseCost], ...]:
    """What each encoder takes for the media of the batch; it runs on the first stage of a pipeline."""
    if not question.workload.media:
        return ()
    machine, constants = _machine(question, memory)
    towers = {encoder.name: encoder for encoder in question.model.encoders}
    costs = []
    for media in question.workload.media:
        step = encoder_step(question, media)
        passed = build_encoder(
            towers[media.encoder], step, parallelism=question.parallelism, widths=question.widths, engine=question.engine
        )
        costs.append((media.encoder, phase_cost(passed, step, machine, constants)))
    return tuple(costs)


def prompt_costs(question: Question, memory: Memory | None = None) -> tuple[PhaseCost, ...]:
    """What comes before the first token: the passes through encoders, and the prefill."""
    encoders = _encoder_costs(question, memory or memory_of(question))
    return (*(cost for _, cost in encoders), cost_of(question, prefill_step(question), memory))


def _fetch_time(question: Question, step: Step) -> Number:
    """Seconds per step in which a device fetches what is offloaded: its share of the weights, and of the cache in decode."""
    offload = question.offload
    if offload is NOTHING_OFFLOADED:
        return 0.0
    whole = memory_of(replace(question, offload=NOTHING_OFFLOADED))
    fetched = offload.weights * whole.weights_bytes
    if step.phase == "decode":
        fetched = fetched + offload.cache * whole.kv_cache_bytes
    return fetched / tier_of(question.platform, offload.tier).bandwidth


def evaluate(question: Question, memory: Memory | None = None) -> Outcome:
    """Memory, prefill and decode of a question, by formulas alone: what does not fit is priced all the same.

    `memory` is that of the question, where it is known already.
    """
    memory = memory or memory_of(question)
    prefill, decode = (cost_of(question, step, memory) for step in (prefill_step(question), decode_step(question)))
    return Outcome(question, memory, prefill, decode, _encoder_costs(question, memory))
