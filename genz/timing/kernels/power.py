"""Power that a chip draws while it works, and how its limit slows it down.

    P_raw = P_idle + A (w + (1 - w) b) + X x + D / t        [W]
    P     = min(P_raw, s P_limit)
    t'    = t max(1, (D / t) / (s P_limit - P_idle - A - X x))^(1 / beta)

A is drawn by clocks, schedulers and caches while kernels run (busy for a share b of the time), and in part, w, while the
chip waits for its host; X is what kernels of experts draw beyond that, for a share x of the time. D [J] is the dynamic
energy: FLOPs and bytes, each at its technology's price times a multiplier. Control loops hold the limit a little below its
nominal value, s; there the chip lowers its clock f, and as voltage falls along, dynamic power goes with about f^3 (beta).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from genz.numerics import Number, maximum, minimum
from genz.timing.kernels.constants import constant

# A chip at its limit keeps at least this share of the range above idle for dynamic power, however much the rest would draw.
LEAST_ROOM = 0.05


@dataclass(frozen=True, slots=True)
class PowerConstants:
    """Dimensionless: shares of the range from idle power to the limit, and multiples of what technologies state."""

    active: float = constant(0.4, "1", 0.05, 0.7, "drawn while kernels run, over (limit - idle)")
    waiting: float = constant(0.35, "1", 0.02, 1.0, "share of `active` that is drawn while the device waits for its host")
    experts: float = constant(0.1, "1", 1e-3, 0.4, "drawn beyond `active` in kernels of experts, over (limit - idle)")
    flop: float = constant(1.0, "1", 0.3, 3.0, "energy per FLOP, over what process and chip files state")
    flop_8: float = constant(1.0, "1", 0.3, 3.0, "energy per FLOP of 8-bit types, over `flop` times what the files state")
    flop_4: float = constant(1.0, "1", 0.3, 3.0, "energy per FLOP of 4-bit and 6-bit types, likewise")
    byte: float = constant(1.0, "1", 0.3, 3.0, "energy per byte of main memory, over what its technology states")
    held: float = constant(0.987, "1", 0.95, 1.0, "share of the power limit at which control loops hold the chip")
    throttle: float = constant(3.0, "1", 2.0, 4.0, "exponent beta of dynamic power in the clock")

    def active_watts(self, idle: Number, limit: Number) -> Number:
        """Drawn beyond idle while kernels run [W]."""
        return self.active * (limit - idle)

    def expert_watts(self, idle: Number, limit: Number) -> Number:
        """Drawn beyond that in kernels of experts [W]."""
        return self.experts * (limit - idle)


class Drawn(NamedTuple):
    """Power [W], never above what is held of the limit, and the time that the work takes within it [s]."""

    power: Number
    time: Number


def kernel_power(
    dynamic: Number,
    time: Number,
    *,
    idle: Number,
    limit: Number,
    constants: PowerConstants,
    busy: Number = 1.0,
    in_experts: Number = 0.0,
) -> Drawn:
    """Power of work of `dynamic` energy [J] that takes `time` [s] unthrottled, and its time within the power limit.

    `idle` and `limit` [W] are the chip's; the device is `busy` for a share of the time, and spends a share `in_experts` of it
    in kernels of experts. See the module for the equations. Source of the cube law: dynamic power is C V^2 f, and voltage
    follows the clock (Hennessy and Patterson, Computer Architecture, 6th edition, section 1.5).
    """
    awake = constants.active_watts(idle, limit) * (constants.waiting + (1 - constants.waiting) * busy)
    standing = idle + awake + constants.expert_watts(idle, limit) * in_experts
    cap = constants.held * limit
    room = maximum(cap - standing, LEAST_ROOM * (limit - idle))
    stretch = maximum(dynamic / (time * room), 1.0) ** (1 / constants.throttle)
    return Drawn(minimum(standing + dynamic / time, cap), time * stretch)
