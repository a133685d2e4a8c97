"""Tokens on their way to the ranks of their experts, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genz.errors import InvalidValueError
from genz.numerics import Number


@dataclass(frozen=True)
class Routing:
    """Where tokens go: to `top_k` experts each, of `experts` that lie evenly on the ranks, in at most `node_limit` nodes.

    Without `experts` each choice is a draw of its own. In the mode `low_latency` a token is sent to each of its experts
    apart, whatever rank that is on. `skew` is what the most loaded rank receives over the mean. In each of `even_groups` of
    experts lie equally many of a token's. What falls on one of `zero_experts` goes nowhere.
    """

    top_k: int
    experts: int | None = None
    node_limit: int | None = None
    mode: Literal["normal", "low_latency"] = "normal"
    skew: float = 1.0
    even_groups: int = 1
    zero_experts: int = 0

    @property
    def sent(self) -> float:
        """Of a token's choices those that have weights, expected."""
        if self.experts is None or not self.zero_experts:
            return self.top_k
        return self.top_k * self.experts / (self.experts + self.zero_experts)

    def __post_init__(self) -> None:
        for name in ("top_k", "experts", "node_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidValueError(f"{name} = {value} is below 1", field=name, value=value, allowed="1 and more")
        if self.experts is not None and self.top_k > self.experts:
            message = f"top_k = {self.top_k} is above experts = {self.experts}"
            raise InvalidValueError(message, field="top_k", value=self.top_k, allowed=f"1 to {self.experts}")


@dataclass(frozen=True)
class TokenExchange:
    """`tokens` of each rank, of `token_bytes` [B] each, that go to their experts or come back."""

    tokens: Number
    token_bytes: Number
    routing: Routing
