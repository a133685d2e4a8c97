"""Time of the kernels of Mamba-2 and gated delta nets: bytes, matrix work, and chains of steps that wait for each other."""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number, exp, maximum, minimum
from genz.operators.state_space import StateSpaceWork
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import constant

# Exponents beyond this leave nothing of a share, and further ones would underflow.
MOST_TURNOVER = 50.0


@dataclass(frozen=True, slots=True)
class StateSpaceConstants:
    """What a chip and one kernel sustain."""

    launch: float = constant(8e-6, "s", 5e-7, 3e-4, "start and end of the kernel, or of a chain of them")
    memory: float = constant(0.6, "1", 0.005, 1.0, "memory bandwidth over the data sheet")
    compute: float = constant(0.2, "1", 0.005, 1.0, "rate of the matrix units over the data sheet")
    step: float = constant(5e-7, "s", 1e-10, 1e-4, "each step of a chain, however small")
    task: float = constant(1e-8, "s", 1e-11, 1e-4, "each chain of steps, on one core")


def state_space_time(
    work: StateSpaceWork, chip: Chip, constants: StateSpaceConstants, *, matrix_type: str, warm: bool = False
) -> Number:
    """Time of one kernel [s].

        t = launch + sqrt(t_moved^2 + t_matrix^2 + t_chain^2)
        t_moved = bytes / (memory B),   t_matrix = FLOPs / (compute F),   t_chain = step steps + task tasks / S

    B and F are the data sheet's bandwidth and FLOP/s, S the cores. `warm`: what fits the cache stays in it from call to call,
    and comes at its bandwidth.
    """
    levels = list(chip.memory.values())
    bandwidth = levels[0].bandwidth
    if warm and len(levels) > 1:
        hit = exp(-minimum((work.moved_bytes / levels[1].capacity) ** 2, MOST_TURNOVER))
        bandwidth = bandwidth + maximum(levels[1].bandwidth - bandwidth, 0.0) * hit
    moved = work.moved_bytes / (constants.memory * bandwidth)
    matrix = work.matrix_flops / (constants.compute * chip.multiply_rate(matrix_type))
    chain = constants.step * work.steps + constants.task * work.tasks / chip.cores.count
    busy: Number = (moved * moved + matrix * matrix + chain * chain) ** 0.5
    return constants.launch + busy
