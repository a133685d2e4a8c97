"""A step: one forward pass over groups of sequences, and the operators that it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from genz.numerics import Number, total
from genz.operators.demand import Demand
from genz.operators.exchange import TokenExchange
from genz.operators.shapes import Shape

PhaseName = Literal["prefill", "decode"]
Category = Literal["gemm", "attention", "experts", "state_space", "elementwise", "embedding", "collective"]


@dataclass(frozen=True, slots=True)
class Group:
    """`sequences` alike: each has `context` tokens in the cache and processes `new_tokens` more.

    `sampled` positions of each are turned into logits. Over repeats of a step the context grows by `advance`, by the new
    tokens unless told. `phase` says which kernels attention takes, that of the step unless told. `shared_context` tokens
    of the context belong to a prompt whose cache `beams` sequences share. Cross attention sees `source_tokens` of an
    encoder. Where a picture is cut into windows that are not alike, a token sees `chunk_keys` of its own on average.
    """

    sequences: Number
    new_tokens: Number
    context: Number = 0
    sampled: Number = 1
    shared_context: Number = 0
    beams: Number = 1
    advance: Number | None = None
    phase: PhaseName | None = None
    source_tokens: Number = 0
    chunk_keys: Number | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass over groups, or `repeats` successive ones in which each context grows by its new tokens.

    `phase` is a matter of structure: engines take other kernels for a few new tokens per sequence
    ("decode") than for many ("prefill").
    """

    phase: PhaseName
    groups: tuple[Group, ...]
    repeats: Number = 1

    def by_phase(self) -> tuple[Step, ...]:
        """The step's groups apart by the kernels that their attention takes: the step itself where all are alike."""
        phases = dict.fromkeys(group.phase or self.phase for group in self.groups)
        if list(phases) == [self.phase]:
            return (self,)
        return tuple(
            Step(phase, tuple(group for group in self.groups if (group.phase or self.phase) == phase), self.repeats)
            for phase in phases
        )

    @property
    def tokens(self) -> Number:
        """Tokens that the linear operators see."""
        return total([group.sequences * group.new_tokens for group in self.groups])

    @property
    def sampled(self) -> Number:
        """Positions that the language-model head sees."""
        return total([group.sequences * group.sampled for group in self.groups])


@dataclass(frozen=True, slots=True)
class Run:
    """A demand over `length` successive steps that grows evenly from `first` to `last`, counted `weight` times.

    `last` is None where the demand is the same in every step.
    """

    first: Demand
    last: Demand | None
    length: Number
    weight: Number = 1.0


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the graph: `count` alike in a step (one a layer), each of `kernels` kernels.

    `layer` names the kind of layer it belongs to. A `collective` is an exchange between `ranks` that lie `stride` apart
    (of tokens with their experts, an `exchange`); one that `hides_behind` another operator of its layer runs at the same
    time and costs what it takes longer.
    """

    name: str
    layer: str
    category: Category
    count: int
    runs: tuple[Run, ...]
    kernels: int = 1
    collective: str | None = None
    ranks: int = 1
    stride: int = 1
    hides_behind: str | None = None
    exchange: TokenExchange | None = None

    def shaped(self, shape: Shape) -> Operator:
        """The same, priced by a shape where kernels are calibrated."""
        runs = tuple(replace(run, first=replace(run.first, shape=shape)) for run in self.runs)
        return replace(self, runs=runs)
