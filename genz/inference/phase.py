"""The cost of one phase: its operators timed on a machine, with what the engine adds, within the power limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from genz.energy import EnergyConstants, active_energy, collective_energy, dynamic_energy
from genz.graph.step import Operator, Run, Step
from genz.numerics import Number, index_of_maximum, is_symbolic, largest, maximum, minimum, total
from genz.timing.integrate import sum_of_maximum
from genz.timing.kernels.selection import Selected
from genz.timing.machine import Exchanged, Machine, Priced

BOUNDS = ("compute", "memory", "network", "host")
COMPUTE, MEMORY, NETWORK, HOST = range(4)


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator over a whole phase, all layers and steps together, on one device.

    `device_time` [s] includes the launch gaps; `busy` [s] is how long each resource works: matrix units,
    vector units, each memory level; for a collective, the network alone. `calls` are executions of the kernel, `constants`
    what it was priced with, none where no kernel of its kind is calibrated.
    """

    operator: Operator
    device_time: Number
    gap_time: Number
    busy: tuple[Number, ...]
    matrix_flops: Number
    memory_bytes: Number
    energy: Number
    calls: Number = 1.0
    constants: Selected | None = None

    def times(self, factor: Number) -> OperatorCost:
        """The cost of `factor` such phases one after the other."""
        return OperatorCost(
            self.operator,
            self.device_time * factor,
            self.gap_time * factor,
            tuple(part * factor for part in self.busy),
            self.matrix_flops * factor,
            self.memory_bytes * factor,
            self.energy * factor,
            self.calls * factor,
            self.constants,
        )

    def lasting(self, device_time: Number) -> OperatorCost:
        """The same work in another time [s]."""
        return OperatorCost(
            self.operator,
            device_time,
            self.gap_time,
            self.busy,
            self.matrix_flops,
            self.memory_bytes,
            self.energy,
            self.calls,
            self.constants,
        )

    @property
    def claims(self) -> tuple[Number, Number, Number, Number]:
        """Seconds for which compute, memory, network and host would each keep the operator busy alone."""
        if self.operator.collective:
            return 0.0, 0.0, total(self.busy), self.gap_time
        return maximum(*self.busy[:2]), maximum(*self.busy[2:]), 0.0, self.gap_time

    @property
    def bound(self) -> Any:
        """Index into `BOUNDS` of what limits the operator; an array where the numbers are arrays."""
        return index_of_maximum(self.claims)

    def time_by_bound(self) -> tuple[Number, Number, Number, Number]:
        """The operator's time, all of it in the place of what limits it."""
        shares: list[Number] = [0.0, 0.0, 0.0, 0.0]
        (first, _), *others = largest(self.claims)
        rest = self.device_time
        for index, is_largest in others:
            shares[index] = self.device_time * is_largest
            rest = rest - shares[index]
        shares[first] = rest
        return shares[COMPUTE], shares[MEMORY], shares[NETWORK], shares[HOST]


@dataclass(frozen=True)
class PhaseCost:
    """What a phase takes on one device.

    `time` [s] is the whole phase, of which the engine's host adds `host_time` [s]; `dynamic_energy` [J] is
    drawn beyond idle; `is_power_limited` tells whether the power limit stretched it; `fetch_wait` [s] is how much longer
    what is offloaded takes to arrive. `engine_constants` are those of the engine, where it is calibrated.
    """

    operators: tuple[OperatorCost, ...]
    steps: Number
    device_time: Number
    host_time: Number
    time: Number
    dynamic_energy: Number
    is_power_limited: Any
    fetch_wait: Number = 0.0
    engine_constants: Selected | None = None

    @property
    def matrix_flops(self) -> Number:
        return total([cost.matrix_flops for cost in self.operators])

    @property
    def memory_bytes(self) -> Number:
        return total([cost.memory_bytes for cost in self.operators])

    def time_by_bound(self) -> tuple[Number, Number, Number, Number]:
        """Seconds for which compute, memory, network and host are what the phase waits for."""
        of_operators = zip(*(cost.time_by_bound() for cost in self.operators), strict=True)
        compute, memory, network, host = (list(parts) for parts in of_operators)
        return total(compute), total([*memory, self.fetch_wait]), total(network), total([*host, self.host_time])

    @property
    def bound(self) -> Any:
        """Index into `BOUNDS` of what the phase waits for longest; an array where the numbers are arrays."""
        return index_of_maximum(self.time_by_bound())


def phase_cost(
    operators: Sequence[Operator], step: Step, machine: Machine, constants: EnergyConstants, *, fetch: Number = 0.0
) -> PhaseCost:
    """Time and energy of `step.repeats` steps.

    time = max(sum of operators, launches on the host) + host time per step; no less than what is fetched from another tier
    takes (`fetch` seconds a step); then no less than
    dynamic energy / (power limit - idle power), as a chip at its limit slows down. At the roofline there is
    no throttling, and calibrated kernels were measured under it: there power is held at the limit instead.
    """
    costs = _expose(_operator_costs(operators, machine, constants))
    if machine.engine_constants is not None:
        costs = tuple(_as_engine_runs(cost, step, machine) for cost in costs)
    device_time = total([cost.device_time for cost in costs])
    host_time = _host_time(operators, step, machine, device_time)
    fetch_wait = maximum(step.repeats * fetch - device_time - host_time, 0.0)
    unthrottled = device_time + host_time + fetch_wait
    energy = total([cost.energy for cost in costs])
    power = machine.platform.chip.power
    headroom = constants.held * power.tdp - power.idle
    if machine.is_calibrated:
        experts = total([cost.device_time for cost in costs if cost.operator.category == "experts"])
        energy = energy + active_energy(constants, unthrottled, device_time, experts)
    if machine.fidelity == "engine":
        time = maximum(unthrottled, energy / headroom)
    else:
        time, energy = unthrottled, minimum(energy, unthrottled * headroom)
    limited = False if is_symbolic(time) else energy >= unthrottled * headroom
    engine = machine.engine_constants
    return PhaseCost(
        costs, step.repeats, device_time, host_time, time, energy, limited, fetch_wait, None if engine is None else engine[1]
    )


def _as_engine_runs(cost: OperatorCost, step: Step, machine: Machine) -> OperatorCost:
    """An operator within an engine's step: its time measured apart by the engine's factor, never below the speed of light.

    A factor below one stands for kernels that were borrowed from a slower chip, or for a phase that hardly shows in whole
    requests.
    """
    operator = cost.operator
    factor = machine.step_factor(step.phase, operator.category)
    if factor == 1:
        return cost
    time = cost.device_time * factor
    if factor < 1 and operator.collective is None:
        compute = maximum(*cost.busy[:2]) * machine.compute_efficiency
        time = maximum(time, compute, maximum(*cost.busy[2:]) * machine.memory_efficiency)
    return cost.lasting(time)


def _expose(costs: tuple[OperatorCost, ...]) -> tuple[OperatorCost, ...]:
    """Shorten each exchange that runs behind another operator to what it takes longer than that."""
    by_name = {(cost.operator.layer, cost.operator.name): cost.device_time for cost in costs}

    def exposed(cost: OperatorCost) -> OperatorCost:
        operator = cost.operator
        if operator.hides_behind is None:
            return cost
        longer = maximum(cost.device_time - by_name[operator.layer, operator.hides_behind], 0.0)
        return cost.lasting(longer)

    return tuple(exposed(cost) for cost in costs)


def _host_time(operators: Sequence[Operator], step: Step, machine: Machine, device_time: Number) -> Number:
    """Host time that the device waits for [s]."""
    if not machine.has_overheads:
        return 0.0
    host = machine.host
    sequences = total([group.sequences for group in step.groups])
    between = step.repeats * (host.per_step + host.per_sequence * sequences)
    if step.phase in machine.engine.overheads.captures or machine.launches_are_measured:
        return between
    launches = step.repeats * sum(operator.count * operator.kernels for operator in operators) * host.launch
    return between + maximum(launches - device_time, 0.0)


def _operator_costs(operators: Sequence[Operator], machine: Machine, constants: EnergyConstants) -> tuple[OperatorCost, ...]:
    """The cost of each operator; those that kinds of layers have in common are priced once."""
    known: dict[int, OperatorCost] = {}
    costs = []
    for operator in operators:
        alike = known.get(id(operator.runs))
        if alike is None:
            cost = known[id(operator.runs)] = _operator_cost(operator, machine, constants)
        else:
            cost = replace(alike.times(operator.count / alike.operator.count), operator=operator)
        costs.append(cost)
    return tuple(costs)


def _operator_cost(operator: Operator, machine: Machine, constants: EnergyConstants) -> OperatorCost:
    if operator.collective is not None:
        return _collective_cost(operator, operator.collective, machine, constants)
    if len(operator.runs) == 1:  # the usual case, without sums
        return OperatorCost(operator, *_run_cost(operator.runs[0], operator, machine, constants))
    costs = [_run_cost(run, operator, machine, constants) for run in operator.runs]
    return OperatorCost(
        operator,
        device_time=total([cost.time for cost in costs]),
        gap_time=total([cost.gap for cost in costs]),
        busy=tuple(total(of_runs) for of_runs in zip(*(cost.busy for cost in costs), strict=True)),
        matrix_flops=total([cost.matrix_flops for cost in costs]),
        memory_bytes=total([cost.memory_bytes for cost in costs]),
        energy=total([cost.energy for cost in costs]),
        calls=total([cost.calls for cost in costs]),
        constants=costs[0].constants,
    )


class _RunCost(NamedTuple):
    """All executions in all steps of a run together; the time holds the gap."""

    time: Number
    gap: Number
    busy: tuple[Number, ...]
    matrix_flops: Number
    memory_bytes: Number
    energy: Number
    calls: Number
    constants: Selected | None


def _run_cost(run: Run, operator: Operator, machine: Machine, constants: EnergyConstants) -> _RunCost:
    """Time, busy resources, work and energy of a run; what grows evenly is summed by the mean of its ends."""
    executions, first = operator.count * run.weight, run.first
    calls = executions * run.length
    priced = machine.price(operator, run)
    working_set = first.activation_bytes if run.last is None else run.last.activation_bytes
    crossing = machine.level_bytes(first, working_set=working_set)
    busy = machine.components(first, crossing)
    energy = dynamic_energy(first, crossing, constants)
    selected = None if priced is None else priced.selected
    if run.last is None:
        time, gap = _time_and_gap(priced, lambda: calls * maximum(*busy), operator, calls, machine)
        resources = tuple([calls * seconds for seconds in busy])
        return _RunCost(
            time, gap, resources, calls * first.matrix_flops, calls * first.memory_bytes, calls * energy, calls, selected
        )
    last = run.last
    last_crossing = machine.level_bytes(last, working_set=working_set)
    last_busy = machine.components(last, last_crossing)
    half = calls / 2
    time, gap = _time_and_gap(
        priced, lambda: executions * sum_of_maximum(busy, last_busy, run.length), operator, calls, machine
    )
    return _RunCost(
        time=time,
        gap=gap,
        busy=tuple(half * (a + b) for a, b in zip(busy, last_busy, strict=True)),
        matrix_flops=half * (first.matrix_flops + last.matrix_flops),
        memory_bytes=half * (first.memory_bytes + last.memory_bytes),
        energy=half * (energy + dynamic_energy(last, last_crossing, constants)),
        calls=calls,
        constants=selected,
    )


def _time_and_gap(
    priced: Priced | None, bound: Callable[[], Number], operator: Operator, calls: Number, machine: Machine
) -> tuple[Number, Number]:
    """Seconds of all calls and the launches in them: of a calibrated kernel, else its bound and the engine's gaps."""
    if priced is not None:
        return calls * priced.time, calls * priced.launch
    gap = calls * operator.kernels * machine.kernel_gap
    return bound() + gap, gap


def _collective_cost(operator: Operator, kind: str, machine: Machine, constants: EnergyConstants) -> OperatorCost:
    (run,) = operator.runs
    executions = operator.count * run.length
    time, spent, selected = _exchange_cost(operator, kind, run.first.message_bytes, machine, constants)
    gap = 0.0 if selected is not None else executions * operator.kernels * machine.kernel_gap
    transfer = executions * time
    return OperatorCost(
        operator, transfer + gap, gap, (transfer,), 0.0, 0.0, executions * spent, calls=executions, constants=selected
    )


def _exchange_cost(operator: Operator, kind: str, message: Number, machine: Machine, constants: EnergyConstants) -> Exchanged:
    """Seconds and joules of one exchange on one rank; the same plain message over the same ranks is priced once."""
    key = (kind, operator.ranks, operator.stride, message)
    repeats = operator.exchange is None and isinstance(message, (int, float))
    if repeats and key in machine.priced:
        return machine.priced[key]
    group = machine.group(operator.ranks, operator.stride)
    time, selected = machine.collective(kind, message, group, operator.exchange)
    found = Exchanged(time, collective_energy(kind, message, group, constants, operator.exchange), selected)
    if repeats:
        machine.priced[key] = found
    return found
