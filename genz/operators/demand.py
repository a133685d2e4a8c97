"""The demand of one operator on one device."""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number
from genz.operators.shapes import Shape


@dataclass(frozen=True, slots=True)
class Demand:
    """What one execution of an operator asks of one device. Numbers may be scalars, arrays or symbols.

    `matrix_flops` [FLOP] run on the matrix units in `matrix_type` (none where there are none); `vector_flops` [FLOP] outside of
    them. `weight_bytes` [B] and `cache_bytes` [B] move data that outlives the step; `activation_bytes`
    [B] move data that the step makes and uses up. `message_bytes` [B] is the payload of a collective. `shape` is
    what calibrated kernels are priced by, none where bytes tell all.
    """

    matrix_flops: Number = 0.0
    vector_flops: Number = 0.0
    weight_bytes: Number = 0.0
    cache_bytes: Number = 0.0
    activation_bytes: Number = 0.0
    message_bytes: Number = 0.0
    matrix_type: str | None = None
    shape: Shape | None = None

    @property
    def memory_bytes(self) -> Number:
        """All bytes read and written [B]."""
        return self.weight_bytes + self.cache_bytes + self.activation_bytes
