"""Time of a pass over memory: norms, activations, rotary positions, residuals, gathers."""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number
from genz.operators.shapes import ElementwiseShape
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import constant
from genz.timing.kernels.residency import residency


@dataclass(frozen=True, slots=True)
class ElementwiseConstants:
    """What a kernel sustains over the bytes that its operator must move; further passes over them are in its shares."""

    launch: float = constant(4500, "cycles", 200, 2e5, "start and end of the kernel, in cycles of the data sheet's clock")
    memory: float = constant(0.7, "1", 0.02, 1.0, "bytes that must move, over what the memory moves in that time")
    cache: float = constant(0.4, "1", 0.01, 1.5, "the same of the cache, where it holds what moves")


def elementwise_time(shape: ElementwiseShape, chip: Chip, constants: ElementwiseConstants, *, warm: bool = False) -> Number:
    """Time of one call [s]: launch + bytes / (share of the bandwidth).

    Bandwidth as V bytes in flight reach it, B V / (V + V'), is the same line: its latency V' / B is part of the launch. `warm`:
    what fits the cache is found there from call to call. Raises no errors.
    """
    slow = constants.memory * chip.main_memory.bandwidth
    launch = constants.launch / chip.cores.clock
    levels = list(chip.memory.values())
    if not warm or len(levels) == 1:
        return launch + shape.moved_bytes / slow
    hit = residency(shape.moved_bytes / levels[1].capacity)
    fast = constants.cache * levels[1].bandwidth
    return launch + shape.moved_bytes * ((1.0 - hit) / slow + hit / fast)
