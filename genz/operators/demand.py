"""The demand of one operator on one device."""

from __future__ import annotations

from dataclasses import dataclass, fields

from genz.numerics import Number


@dataclass(frozen=True, slots=True)
class Demand:
    """What one execution of an operator asks of one device. Numbers may be scalars, arrays or symbols.

    `matrix_flops` [FLOP] run on the matrix units in `matrix_type`; `vector_flops` [FLOP] outside of
    them. `weight_bytes` [B] and `cache_bytes` [B] move data that outlives the step; `activation_bytes`
    [B] move data that the step makes and uses up. `message_bytes` [B] is the payload of a collective.
    """

    matrix_flops: Number = 0.0
    vector_flops: Number = 0.0
    weight_bytes: Number = 0.0
    cache_bytes: Number = 0.0
    activation_bytes: Number = 0.0
    message_bytes: Number = 0.0
    matrix_type: str = "bf16"

    @property
    def memory_bytes(self) -> Number:
        """All bytes read and written [B]."""
        return self.weight_bytes + self.cache_bytes + self.activation_bytes

    def scaled(self, factor: Number) -> Demand:
        """The demand of `factor` such executions."""
        return Demand(**{name: getattr(self, name) * factor for name in QUANTITIES}, matrix_type=self.matrix_type)


QUANTITIES = tuple(f.name for f in fields(Demand) if f.name != "matrix_type")
