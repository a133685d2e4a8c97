"""Evaluate a question: the same formulas over scalars, arrays and symbols."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from genz.energy import energy_constants
from genz.footprint import Memory, footprint
from genz.graph.builder import build
from genz.graph.step import Group, Operator, Step
from genz.inference.phase import PhaseCost, phase_cost
from genz.inference.question import Question
from genz.numerics import Number, safe_divide
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
        active = question.parallelism.devices * question.workload.batch / question.requests_per_replica
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
    """All prompts of a replica in one step; beams share the prompt."""
    workload = question.workload
    return Step("prefill", (Group(question.requests_per_replica, workload.new_prompt_tokens, workload.cached_tokens),))


def decode_step(question: Question) -> Step:
    """One token for each sequence of a replica, as often as tokens are left after the first."""
    workload = question.workload
    group = Group(
        sequences=question.requests_per_replica * workload.beams,
        new_tokens=1,
        context=workload.input_tokens,
        shared_context=workload.input_tokens,
        beams=workload.beams,
    )
    return Step("decode", (group,), workload.output_tokens - 1)


def operators(question: Question, step: Step) -> tuple[Operator, ...]:
    """The operators of a step of this question."""
    return build(
        question.model, step, parallelism=question.parallelism, widths=question.widths, engine=question.engine
    )


def memory_of(question: Question, requests: Number | None = None) -> Memory:
    """Memory of the fullest device, for the question's batch or for another number of requests on a replica."""
    return footprint(
        question.model,
        question.workload,
        requests=question.requests_per_replica if requests is None else requests,
        parallelism=question.parallelism,
        widths=question.widths,
        engine=question.engine,
        capacity_bytes=question.platform.chip.main_memory.capacity,
        utilization=question.utilization,
    )


def evaluate(question: Question) -> Outcome:
    """Memory, prefill and decode of a question, by formulas alone: what does not fit is priced all the same."""
    memory = memory_of(question)
    machine = Machine(
        question.platform, question.engine, question.fidelity, memory.weights_bytes + memory.kv_cache_bytes
    )
    constants = energy_constants(question.platform)

    def cost(step: Step) -> PhaseCost:
        return phase_cost(operators(question, step), step, machine, constants)

    return Outcome(question, memory, cost(prefill_step(question)), cost(decode_step(question)))
