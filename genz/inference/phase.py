"""The cost of one phase: its operators timed on a machine, with what the engine adds, within the power limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genz.energy import EnergyConstants, collective_energy, dynamic_energy
from genz.graph.step import Operator, Run, Step
from genz.numerics import Number, index_of_maximum, is_symbolic, maximum, minimum, total, where
from genz.timing.integrate import sum_of_maximum
from genz.timing.machine import Machine

BOUNDS = ("compute", "memory", "network", "host")
COMPUTE, MEMORY, NETWORK, HOST = range(4)


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator over a whole phase, all layers and steps together, on one device.

    `device_time` [s] includes the launch gaps; `busy` [s] is how long each resource works: matrix units,
    vector units, each memory level; for a collective, the network alone.
    """

    operator: Operator
    device_time: Number
    gap_time: Number
    busy: tuple[Number, ...]
    matrix_flops: Number
    memory_bytes: Number
    energy: Number

    @property
    def bound(self) -> Any:
        """Index into `BOUNDS` of what limits the operator; an array where the numbers are arrays."""
        if self.operator.collective:
            kinds: list[Number] = [0.0, 0.0, total(self.busy), self.gap_time]
        else:
            kinds = [maximum(*self.busy[:2]), maximum(*self.busy[2:]), 0.0, self.gap_time]
        return index_of_maximum(kinds)


@dataclass(frozen=True)
class PhaseCost:
    """What a phase takes on one device.

    `time` [s] is the whole phase, of which the engine's host adds `host_time` [s]; `dynamic_energy` [J] is
    drawn beyond idle; `is_power_limited` tells whether the power limit stretched it.
    """

    operators: tuple[OperatorCost, ...]
    steps: Number
    device_time: Number
    host_time: Number
    time: Number
    dynamic_energy: Number
    is_power_limited: Any

    @property
    def matrix_flops(self) -> Number:
        return total([cost.matrix_flops for cost in self.operators])

    @property
    def memory_bytes(self) -> Number:
        return total([cost.memory_bytes for cost in self.operators])

    def time_by_bound(self) -> tuple[Number, Number, Number, Number]:
        """Seconds for which compute, memory, network and host are what the phase waits for."""
        shares: list[Number] = [0.0, 0.0, 0.0, self.host_time]
        for cost in self.operators:
            bound = cost.bound
            for index in range(len(BOUNDS)):
                shares[index] = shares[index] + where(bound == index, cost.device_time, 0.0 * cost.device_time)
        return shares[COMPUTE], shares[MEMORY], shares[NETWORK], shares[HOST]


def phase_cost(
    operators: Sequence[Operator], step: Step, machine: Machine, constants: EnergyConstants
) -> PhaseCost:
    """Time and energy of `step.repeats` steps.

    time = max(sum of operators, launches on the host) + host time per step; then no less than
    dynamic energy / (power limit - idle power), as a chip at its limit slows down. At the roofline there is
    no throttling, and power is held at the limit instead.
    """
    costs = tuple(_operator_cost(operator, machine, constants) for operator in operators)
    device_time = total([cost.device_time for cost in costs])
    host_time = _host_time(operators, step, machine, device_time)
    unthrottled = device_time + host_time
    energy = total([cost.energy for cost in costs])
    power = machine.platform.chip.power
    headroom = power.tdp - power.idle
    if machine.has_overheads:
        time = maximum(unthrottled, energy / headroom)
    else:
        time, energy = unthrottled, minimum(energy, unthrottled * headroom)
    limited = False if is_symbolic(time) else energy >= unthrottled * headroom
    return PhaseCost(costs, step.repeats, device_time, host_time, time, energy, limited)


def _host_time(operators: Sequence[Operator], step: Step, machine: Machine, device_time: Number) -> Number:
    """Host time that the device waits for [s]."""
    if not machine.has_overheads:
        return 0.0
    overheads = machine.engine.overheads
    sequences = total([group.sequences for group in step.groups])
    between = step.repeats * (overheads.host_per_step + overheads.host_per_sequence * sequences)
    if step.phase in overheads.captures:
        return between
    launches = step.repeats * sum(operator.count * operator.kernels for operator in operators) * overheads.host_launch
    return between + maximum(launches - device_time, 0.0)


def _operator_cost(operator: Operator, machine: Machine, constants: EnergyConstants) -> OperatorCost:
    gap_per_step = operator.kernels * machine.kernel_gap
    if operator.collective is not None:
        return _collective_cost(operator, operator.collective, machine, constants, gap_per_step)
    time: Number = 0.0
    gap: Number = 0.0
    flops: Number = 0.0
    moved: Number = 0.0
    energy: Number = 0.0
    busy: list[Number] = []
    for run in operator.runs:
        executions = operator.count * run.weight
        run_time, run_busy = _run_time(run, machine)
        last = run.last or run.first
        working_set = last.activation_bytes
        time = time + executions * run_time
        gap = gap + executions * run.length * gap_per_step
        flops = flops + executions * run.length * (run.first.matrix_flops + last.matrix_flops) / 2
        moved = moved + executions * run.length * (run.first.memory_bytes + last.memory_bytes) / 2
        spent = dynamic_energy(run.first, machine, constants, working_set=working_set)
        if run.last is not None:
            spent = (spent + dynamic_energy(run.last, machine, constants, working_set=working_set)) / 2
        energy = energy + executions * run.length * spent
        scaled = [executions * seconds for seconds in run_busy]
        busy = [a + b for a, b in zip(busy, scaled, strict=True)] if busy else scaled
    return OperatorCost(operator, time + gap, gap, tuple(busy), flops, moved, energy)


def _run_time(run: Run, machine: Machine) -> tuple[Number, list[Number]]:
    """Seconds of one operator over the steps of a run, and for how long each resource is busy."""
    if run.last is None:
        components = machine.components(run.first)
        return run.length * maximum(*components), [run.length * seconds for seconds in components]
    working_set = run.last.activation_bytes
    first = machine.components(run.first, working_set=working_set)
    last = machine.components(run.last, working_set=working_set)
    return sum_of_maximum(first, last, run.length), [run.length * (a + b) / 2 for a, b in zip(first, last, strict=True)]


def _collective_cost(
    operator: Operator, kind: str, machine: Machine, constants: EnergyConstants, gap_per_step: Number
) -> OperatorCost:
    (run,) = operator.runs
    executions = operator.count * run.length
    message = run.first.message_bytes
    transfer = executions * machine.collective(kind, message, operator.ranks)
    gap = executions * gap_per_step
    energy = executions * collective_energy(kind, message, operator.ranks, constants)
    return OperatorCost(operator, transfer + gap, gap, (transfer,), 0.0, 0.0, energy)
