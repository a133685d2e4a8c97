"""Evaluate a question: the same formulas over scalars, arrays and symbols."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from genz.energy import energy_constants
from genz.footprint import Memory, footprint
from genz.graph.builder import build
from genz.graph.step import Group, Operator, Step
from genz.inference.phase import PhaseCost, phase_cost
from genz.inference.pipeline import pipeline_cost
from genz.inference.question import Question
from genz.numerics import Number, ceil_div, safe_divide
from genz.specs.offload import NOTHING_OFFLOADED, tier_of
from genz.specs.parallelism import Stage, distinct_stages
from genz.timing.machine import Machine


@dataclass(frozen=True)
class Outcome:
    """What a question comes to. Times are of the fullest replica, energy and power of the whole deployment."""

    question: Question
    memory: Memory
    prefill: PhaseCost
    decode: PhaseCost

    @property
    def ttft(self) -> Number:
        """Time to first token: the whole prefill, its sampling included [s]."""
        return self.prefill.time

    @property
    def e2e(self) -> Number:
        """Time from the start of the batch to its last token [s]."""
        return self.prefill.time + self.decode.time

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
        dynamic = self.prefill.dynamic_energy + self.decode.dynamic_energy
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
    group = Group(requests / steps, workload.new_prompt_tokens, workload.cached_tokens, advance=0)
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
    )
    return Step("decode", (group,), workload.output_tokens - 1)


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
    held = memory or memory_of(question)
    machine = Machine(
        question.platform,
        question.engine,
        question.fidelity,
        held.weights_bytes + held.kv_cache_bytes,
        question.widths.kernel_format(quantised=True, expert=True),
        question.parallelism.tensor * question.parallelism.context,
    )
    constants = energy_constants(question.platform, calibrated=question.fidelity == "calibrated")
    stages = distinct_stages(question.model, question.parallelism.pipeline)
    costs = [
        (
            phase_cost(operators(question, step, stage), step, machine, constants, fetch=_fetch_time(question, step)),
            alike,
        )
        for stage, alike in stages
    ]
    return pipeline_cost(costs, step.phase, question.micro_batches)


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
    return Outcome(question, memory, prefill, decode)
