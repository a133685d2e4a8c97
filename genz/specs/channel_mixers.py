"""What mixes channels: feed-forward networks, mixtures of experts, and plain matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from genz.specs.linear import Linear


@dataclass(frozen=True)
class FeedForward:
    """Two matrices with an activation between them, or three where a gate multiplies (SwiGLU, GeGLU)."""

    hidden: int
    intermediate: int
    gated: bool = True
    bias: bool = False

    kind = "feed_forward"

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        names = ("gate", "up") if self.gated else ("up",)
        first = tuple(
            Linear(name, self.hidden, self.intermediate, bias=self.bias, split="column", fused_as="gate_up") for name in names
        )
        return (*first, Linear("down", self.intermediate, self.hidden, bias=self.bias, split="row"))

    @property
    def vectors(self) -> int:
        return 0


@dataclass(frozen=True)
class MixtureOfExperts:
    """`experts` feed-forward networks of which a router picks `top_k` a token, and shared ones that all tokens pass.

    `groups_per_token`: experts are grouped, a group to a node, and a token's experts lie in that many groups at most.
    """

    hidden: int
    experts: int
    top_k: int
    expert: FeedForward
    router_bias: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False
    groups_per_token: int | None = None

    kind = "mixture_of_experts"

    @cached_property
    def router(self) -> Linear:
        return Linear("router", self.hidden, self.experts, bias=self.router_bias, quantised=False)

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """Matrices that every token passes; those of the experts are `expert.linears`, `experts` times."""
        gate = (Linear("shared_gate", self.hidden, 1, quantised=False),) if self.shared_gate else ()
        return (self.router, *gate, *(self.shared.linears if self.shared else ()))

    @property
    def vectors(self) -> int:
        return 0


@dataclass(frozen=True)
class Matrices:
    """Matrices that every token passes besides the mixers of a layer: replacements of a mixer, adapters, projections.

    `vectors` are further parameters that go with them. `reduces`: the last one is split by its inputs, so that a sum over
    tensor-parallel ranks follows.
    """

    hidden: int
    linears: tuple[Linear, ...]
    vectors: int = 0
    reduces: bool = False

    kind = "matrices"


ChannelMixer = FeedForward | MixtureOfExperts | Matrices
