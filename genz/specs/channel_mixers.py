"""What mixes channels: feed-forward networks, mixtures of experts, and plain matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from genz.specs.linear import Linear


@dataclass(frozen=True)
class FeedForward:
    """Two matrices with an activation between them, or three where a gate multiplies (SwiGLU, GeGLU).

    An activation that learns, such as xIELU, has `activation_parameters` of its own. `down_bias`: the last alone has one.
    """

    hidden: int
    intermediate: int
    gated: bool = True
    bias: bool = False
    activation_parameters: int = 0
    down_bias: bool = False

    kind = "feed_forward"

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        names = ("gate", "up") if self.gated else ("up",)
        first = tuple(
            Linear(name, self.hidden, self.intermediate, bias=self.bias, split="column", fused_as="gate_up") for name in names
        )
        return (*first, Linear("down", self.intermediate, self.hidden, bias=self.bias or self.down_bias, split="row"))

    @property
    def vectors(self) -> int:
        return self.activation_parameters


@dataclass(frozen=True)
class MixtureOfExperts:
    """`experts` feed-forward networks of which a router picks `top_k` a token, and shared ones that all tokens pass.

    `groups_per_token`: experts are grouped, a group to a node, and a token's experts lie in that many groups at most.
    `even_groups`: the router picks equally many experts in each of so many equal groups, so that devices that hold whole
    groups have the same load (Pangu Pro MoE, arXiv:2505.21411). `zero_experts` that the router may pick as well hand a token
    on as it is: they cost nothing (LongCat-Flash, arXiv:2509.01322). `shortcut`: the shared network is a layer's dense one,
    whose work hides the exchange of tokens (arXiv:2404.05019). `router_vectors` are the router's parameters that are no matrix.
    """

    hidden: int
    experts: int
    top_k: int
    expert: FeedForward
    router_bias: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False
    groups_per_token: int | None = None
    even_groups: int = 1
    zero_experts: int = 0
    shortcut: bool = False
    router_vectors: int = 0

    kind = "mixture_of_experts"

    @cached_property
    def router(self) -> Linear:
        return Linear("router", self.hidden, self.experts + self.zero_experts, bias=self.router_bias, quantised=False)

    @property
    def picked(self) -> float:
        """Experts with weights that a token passes, expected: k E / (E + Z) where Z of them are zero experts."""
        return self.top_k * self.experts / (self.experts + self.zero_experts) if self.zero_experts else self.top_k

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """Matrices that every token passes; those of the experts are `expert.linears`, `experts` times."""
        gate = (Linear("shared_gate", self.hidden, 1, quantised=False),) if self.shared_gate else ()
        return (self.router, *gate, *(self.shared.linears if self.shared else ()))

    @property
    def vectors(self) -> int:
        return self.router_vectors


@dataclass(frozen=True)
class Matrices:
    """Matrices that every token passes besides the mixers of a layer: replacements of a mixer, adapters, projections.

    `vectors` are further parameters that go with them. `reduces`: the last one is split by its inputs, so that a sum over
    tensor-parallel ranks follows. `per_sequence`: they see one vector of each sequence instead (a time step, a class).
    """

    hidden: int
    linears: tuple[Linear, ...]
    vectors: int = 0
    reduces: bool = False
    per_sequence: bool = False

    kind = "matrices"


ChannelMixer = FeedForward | MixtureOfExperts | Matrices
