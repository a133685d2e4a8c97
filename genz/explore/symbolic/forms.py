"""The quantities that a prediction is made of, as expressions of symbols: GenZ's own formulas, evaluated on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy

from genz.explore.symbolic.boundaries import Boundary
from genz.explore.symbolic.expressions import Reader, expanded
from genz.explore.symbolic.symbols import Meaning, put
from genz.footprint import Memory, kv_bytes_per_token, weight_bytes
from genz.graph.context import Context
from genz.graph.feed_forward import feed_forward_operators, mixture_operators
from genz.graph.step import Step
from genz.inference.evaluate import cost_of, decode_step, memory_of, prefill_step
from genz.inference.limits import critical_batch
from genz.inference.phase import OperatorCost, PhaseCost
from genz.inference.question import Question
from genz.numerics import total
from genz.specs.channel_mixers import FeedForward, MixtureOfExperts
from genz.specs.parallelism import distinct_stages

# Counts that boundaries are sought over, whatever the symbols that are asked for.
VARIABLES = ("batch", "context")
NOTHING = sympy.Integer(0)


@dataclass(frozen=True)
class ClosedForm:
    """One quantity as an expression of symbols, in SI units; `latex` is its name in an equation."""

    name: str
    title: str
    latex: str
    unit: str
    expression: Any


@dataclass(frozen=True)
class OperatorForm:
    """One operator over all `count` layers in one step of a phase: FLOPs, bytes and time on one device."""

    phase: str
    name: str
    layer: str
    count: int
    matrix_flops: Any
    memory_bytes: Any
    time: Any


@dataclass(frozen=True)
class Forms:
    """All expressions of one question. `unclosed` says, by name, why a quantity has none."""

    quantities: tuple[ClosedForm, ...]
    boundaries: tuple[Boundary, ...]
    operators: tuple[OperatorForm, ...]
    unclosed: Mapping[str, str]


def forms_of(question: Question, asked: Iterable[str], known: Mapping[str, Meaning]) -> Forms:
    """The expressions of a question at the roofline, with the symbols of the names that are asked for."""
    return _Builder(question, tuple(asked), known).build()


class _Builder:
    def __init__(self, question: Question, asked: tuple[str, ...], known: Mapping[str, Meaning]) -> None:
        self.plain = question
        self.known = known
        names = tuple(dict.fromkeys((*VARIABLES, *asked)))
        self.symbols = {name: known[name].symbol for name in names}
        self.numbers = {known[name].symbol: known[name].value for name in names if name not in asked}
        self.read = Reader(self.numbers).read
        self.question = put(question, self.symbols, known)
        self.memory = memory_of(self.question)
        held = _held(question, self.memory)
        self.prefill = cost_of(self.question, prefill_step(self.question), held)
        self.decodes = bool(question.workload.output_tokens != 1)
        self.step = cost_of(self.question, _one_step(self.question), held)
        self.decode = cost_of(self.question, decode_step(self.question), held)

    def build(self) -> Forms:
        unclosed = {} if self.decodes else {"tpot_s": "one output token leaves no time per output token"}
        boundaries = [self._largest_batch()]
        if any(_chunk(layer.token_mixer) for layer, _ in self.plain.model.layer_groups):
            why = "attention that is local to chunks grows and shrinks with the position: it overtakes time and again"
            unclosed |= dict.fromkeys(
                (f"attention_overtakes_{what}" for what in ("flops", "bytes", "time", "prefill_flops")), why
            )
        else:
            boundaries += self._crossings()
        operators = (*self._operators("prefill", self.prefill), *self._operators("decode", self.step))
        return Forms(tuple(self._quantities()), tuple(boundaries), operators, unclosed)

    def _form(self, name: str, title: str, latex: str, unit: str, value: Any, *, polynomial: bool = True) -> ClosedForm:
        read = self.read(value)
        return ClosedForm(name, title, latex, unit, expanded(read) if polynomial else read)

    def _quantities(self) -> Iterable[ClosedForm]:
        model, question, memory = self.plain.model, self.question, self.memory
        yield self._form("parameters", "parameters", "N", "", model.parameters)
        yield self._form(
            "active_parameters", "parameters that one token uses", r"N_\mathrm{active}", "", model.active_parameters
        )
        yield self._form("weights_bytes", "weights on a device", r"M_\mathrm{weights}", "B", memory.weights_bytes)
        per_token = kv_bytes_per_token(model, question.widths)
        yield self._form("kv_bytes_per_token", "KV cache of a further token, all devices", r"b_\mathrm{KV}", "B", per_token)
        yield self._form("cache_bytes", "KV cache on a device", r"M_\mathrm{KV}", "B", memory.kv_cache_bytes)
        yield self._form("memory_bytes", "memory on a device", r"M_\mathrm{total}", "B", memory.total_bytes)
        for phase, title, cost in (("prefill", "prefill", self.prefill), ("decode", "a decode step", self.step)):
            flops, moved = cost.matrix_flops, cost.memory_bytes
            label = rf"\mathrm{{{phase}}}"
            yield self._form(f"{phase}_flops", f"FLOPs of {title}", f"C_{label}", "FLOP", flops)
            yield self._form(f"{phase}_bytes", f"bytes moved in {title}", f"Q_{label}", "B", moved)
            ratio = expanded(self.read(flops)) / expanded(self.read(moved))
            name, said = f"{phase}_intensity", f"arithmetic intensity of {title}"
            yield self._form(name, said, f"I_{label}", "FLOP/B", ratio, polynomial=False)
        chip, widths = question.platform.chip, question.widths
        yield self._form("critical_batch", "tokens from which a GEMM is compute-bound", "T^*", "", critical_batch(chip, widths))
        yield self._form("ttft_s", "TTFT", r"\mathrm{TTFT}", "s", self.prefill.time, polynomial=False)
        yield self._form("step_s", "one decode step at context S", r"t_\mathrm{step}", "s", self.step.time, polynomial=False)
        if self.decodes:
            mean = self.decode.time / (question.workload.output_tokens - 1)
            yield self._form("tpot_s", "TPOT, the mean step", r"\mathrm{TPOT}", "s", mean, polynomial=False)

    def _largest_batch(self) -> Boundary:
        named = "largest_batch", "largest batch that memory holds", r"B_\mathrm{max}"
        ranks = self.plain.parallelism.data
        return self._boundary(named, "batch", self.memory.total_bytes, self.memory.budget_bytes, factor=ranks)

    def _crossings(self) -> Iterable[Boundary]:
        """Where attention takes more than the feed-forward network, or the experts."""
        mixers = _channel_operators(self.question)

        def both(cost: PhaseCost, of: str) -> tuple[Any, Any]:
            attention = [getattr(item, of) for item in cost.operators if item.operator.category == "attention"]
            mixing = [getattr(item, of) for item in cost.operators if item.operator.name in mixers]
            return total(attention) + NOTHING, total(mixing) + NOTHING

        for what, said, cost, of in (
            ("flops", "in FLOPs of decode", self.step, "matrix_flops"),
            ("bytes", "in bytes of decode", self.step, "memory_bytes"),
            ("time", "in time of decode", self.step, "device_time"),
            ("prefill_flops", "in FLOPs of prefill", self.prefill, "matrix_flops"),
        ):
            label = rf"S^*_\mathrm{{{what.replace('_', chr(92) + ' ')}}}"
            title = f"context from which attention outweighs the FFN {said}"
            named = f"attention_overtakes_{what}", title, label
            yield self._boundary(named, "context", *both(cost, of), is_first=True)

    def _boundary(
        self, named: tuple[str, str, str], over: str, grows: Any, limit: Any, *, is_first: bool = False, factor: int = 1
    ) -> Boundary:
        variable = self.symbols[over]
        numbers = {symbol: value for symbol, value in self.numbers.items() if symbol != variable}
        read = Reader(numbers).read if variable in self.numbers else self.read
        low, high = read(grows), read(limit)
        held = tuple(symbol for symbol in self.symbols.values() if symbol not in numbers)
        return Boundary(*named, variable, held, low, high, is_first, factor)

    def _operators(self, phase: str, cost: PhaseCost) -> Iterable[OperatorForm]:
        for item in cost.operators:
            yield OperatorForm(phase, item.operator.name, item.operator.layer, item.operator.count, *map(self.read, _of(item)))


def _of(item: OperatorCost) -> tuple[Any, Any, Any]:
    return item.matrix_flops, item.memory_bytes, item.device_time


def _one_step(question: Question) -> Step:
    """One decode step at the context that the prompt leaves."""
    step = decode_step(question)
    return Step("decode", tuple(replace(group, advance=0) for group in step.groups), 1)


def _chunk(mixer: Any) -> int | None:
    return None if mixer is None else mixer.chunk


def _channel_operators(question: Question) -> set[str]:
    """Names of the operators of the feed-forward networks and experts, exchanges aside."""
    context = Context(_one_step(question), question.widths, question.engine, question.parallelism, question.routing)
    names: set[str] = set()
    for layer, _ in question.model.layer_groups:
        mixer = layer.channel_mixer
        if isinstance(mixer, MixtureOfExperts):
            built = mixture_operators(mixer, context)
        elif isinstance(mixer, FeedForward):
            built = feed_forward_operators(mixer, context)
        else:
            continue
        names |= {operator.name for operator in built if operator.collective is None}
    return names


def _held(question: Question, memory: Memory) -> Memory:
    """What decides where weights and cache live. Weights alone fill every cache of most chips: then no case is left to tell."""
    inner = list(question.platform.chip.memory.values())[1:]
    model, laid = question.model, question.parallelism
    stages = [weight_bytes(model, question.widths, laid, stage) for stage, _ in distinct_stages(model, laid.pipeline)]
    # Of a pipeline's stages the fullest is told, whose weights need not be the most.
    least = memory_of(question).weights_bytes * min(stages) / max(stages)
    is_beyond = all(least > level.capacity for level in inner)
    return replace(memory, weights_bytes=float("inf"), kv_cache_bytes=0.0) if is_beyond else memory
