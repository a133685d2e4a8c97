"""A step: one forward pass over groups of sequences, and the operators that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genz.numerics import Number, total
from genz.operators.demand import Demand

PhaseName = Literal["prefill", "decode"]
Category = Literal["gemm", "attention", "experts", "elementwise", "embedding", "collective"]


@dataclass(frozen=True, slots=True)
class Group:
    """`sequences` alike: each has `context` tokens in the cache and processes `new_tokens` more.

    `sampled` positions of each are turned into logits. `shared_context` tokens of the context belong
    to a prompt whose cache `beams` sequences share.
    """

    sequences: Number
    new_tokens: Number
    context: Number = 0
    sampled: Number = 1
    shared_context: Number = 0
    beams: Number = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass over groups, or `repeats` successive ones in which each context grows by its new tokens.

    `phase` is a matter of structure: engines take other kernels for a few new tokens per sequence
    ("decode") than for many ("prefill").
    """

    phase: PhaseName
    groups: tuple[Group, ...]
    repeats: Number = 1

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

    `layer` names the kind of layer it belongs to, `collective` and `ranks` the exchange it makes.
    """

    name: str
    layer: str
    category: Category
    count: int
    runs: tuple[Run, ...]
    kernels: int = 1
    collective: str | None = None
    ranks: int = 1
