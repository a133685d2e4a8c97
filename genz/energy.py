"""Energy and power: what is drawn all the time, and what each operation and each moved byte costs.

energy = static power x time + sum(FLOPs x energy per FLOP by type) + sum(bytes x energy per byte by
level) + bytes on the wire x energy per byte of the link. A device never draws more than its power
limit: where it would, it runs slower (or, at the roofline, which knows no throttling, draws the limit).

Energies per FLOP and byte are those of technology files. A calibration multiplies them by what measured power says, and adds
what a chip draws while it is at work, whatever the work (see `genz.timing.kernels.power`).
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.errors import SpecError
from genz.numerics import Number, minimum, total
from genz.operators.demand import Demand
from genz.operators.exchange import TokenExchange
from genz.specs.energy_calibration import power_values
from genz.specs.hardware import Platform
from genz.specs.precision import DATA_TYPES
from genz.timing.kernels.power import PowerConstants
from genz.timing.network import Span, exchanged_bytes, wire_bytes_by_dimension

VECTOR_KEY = "vector"


@dataclass(frozen=True)
class EnergyConstants:
    """Energy per operation and per byte of one device.

    `per_level` runs from main memory inwards, `per_link` is by the link technology of a network dimension. `active` [W] is
    drawn beyond idle power while kernels run, a share `waiting` of it while the device waits, and `experts` [W] more in
    kernels of experts: all zero unless they come from a calibration. The power limit is kept at a share `held` of it.
    """

    per_flop: dict[str, Number]
    per_vector_flop: Number
    per_level: tuple[Number, ...]
    per_link: dict[str | None, Number]
    active: Number = 0.0
    waiting: Number = 0.0
    experts: Number = 0.0
    held: Number = 1.0


def energy_constants(platform: Platform, *, calibrated: bool = False) -> EnergyConstants:
    """The constants of a platform's chip: its own where stated, else those of its technologies [J/FLOP, J/B].

    `calibrated` ones are these times the multipliers fitted to the measured power of the chip, or of its nearest relative.
    Raises `SpecError` where a type that the chip computes has none.
    """
    stated = _stated(platform)
    found = power_values(platform.chip) if calibrated else None
    return stated if found is None else scaled(stated, PowerConstants(**found), platform)


def scaled(stated: EnergyConstants, constants: PowerConstants, platform: Platform) -> EnergyConstants:
    """What technologies state, multiplied by fitted constants, with the power of a chip at work."""
    power = platform.chip.power
    main, *inner = stated.per_level
    return EnergyConstants(
        per_flop={name: value * flop_multiplier(name, constants) for name, value in stated.per_flop.items()},
        per_vector_flop=stated.per_vector_flop,
        per_level=(main * constants.byte, *inner),
        per_link=stated.per_link,
        active=constants.active_watts(power.idle, power.tdp),
        waiting=constants.waiting,
        experts=constants.expert_watts(power.idle, power.tdp),
        held=constants.held,
    )


def flop_multiplier(data_type: str, constants: PowerConstants) -> float:
    """What a data type's stated energy per FLOP is multiplied by; vector work keeps what is stated."""
    if data_type == VECTOR_KEY:
        return 1.0
    bits = DATA_TYPES[data_type].bits
    return constants.flop * (1.0 if bits > 8 else constants.flop_8 if bits == 8 else constants.flop_4)


def active_energy(constants: EnergyConstants, time: Number, device_time: Number, expert_time: Number = 0.0) -> Number:
    """Energy beyond idle power that a device draws over `time`, whatever it computes [J].

    A (w t + (1 - w) min(t_device, t)) + X t_experts: kernels run for `device_time` [s], those of experts for `expert_time` [s].
    Zero for constants that come from technologies alone.
    """
    running = minimum(device_time, time)
    return constants.active * (constants.waiting * time + (1 - constants.waiting) * running) + constants.experts * minimum(
        expert_time, running
    )


def _stated(platform: Platform) -> EnergyConstants:
    chip, technologies = platform.chip, platform.technologies
    process = technologies[chip.process].energy_per_flop if chip.process in technologies else {}
    per_flop = {**process, **chip.energy_per_flop}
    missing = [name for name in (*chip.computable, VECTOR_KEY) if name not in per_flop]
    if missing:
        raise SpecError(
            f"{chip.name}: neither the chip nor its process {chip.process!r} states an energy per FLOP for {missing[0]!r}",
            field="energy_per_flop",
            value=missing[0],
        )

    def per_byte(name: str | None) -> Number:
        found = technologies[name].energy_per_byte if name in technologies else None
        return 0.0 if found is None else found

    levels = tuple(per_byte(level.technology) for level in chip.memory.values())
    links = {dimension.technology: per_byte(dimension.technology) for dimension in platform.network}
    return EnergyConstants(per_flop, per_flop[VECTOR_KEY], levels, links)


def dynamic_energy(demand: Demand, crossing: tuple[Number, ...], constants: EnergyConstants) -> Number:
    """Energy of one execution of an operator on one device, beyond what it draws when idle [J].

    `crossing` [B] are the bytes that cross each memory level, main memory first.
    """
    per_flop = 0.0 if demand.matrix_type is None else constants.per_flop[demand.matrix_type]
    moved = zip(crossing, constants.per_level, strict=True)
    return (
        demand.matrix_flops * per_flop
        + demand.vector_flops * constants.per_vector_flop
        + total([level_bytes * cost for level_bytes, cost in moved])
    )


def collective_energy(
    kind: str, message_bytes: Number, group: Span, constants: EnergyConstants, exchange: TokenExchange | None = None
) -> Number:
    """Energy that one rank spends on the wires of every dimension that a collective's group spans [J]."""
    sent = wire_bytes_by_dimension(kind, message_bytes, group) if exchange is None else exchanged_bytes(exchange, group)
    return total(
        [sent_bytes * constants.per_link[hop.dimension.technology] for sent_bytes, hop in zip(sent, group, strict=True)]
    )
