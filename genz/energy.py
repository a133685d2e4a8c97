"""Energy and power: what is drawn all the time, and what each operation and each moved byte costs.

energy = static power x time + sum(FLOPs x energy per FLOP by type) + sum(bytes x energy per byte by
level) + bytes on the wire x energy per byte of the link. A device never draws more than its power
limit: where it would, it runs slower (or, at the roofline, which knows no throttling, draws the limit).
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.errors import SpecError
from genz.numerics import Number, total
from genz.operators.demand import Demand
from genz.specs.hardware import Platform
from genz.timing.network import wire_bytes

VECTOR_KEY = "vector"


@dataclass(frozen=True)
class EnergyConstants:
    """Energy per operation and per byte of one device. `per_level` runs from main memory inwards."""

    per_flop: dict[str, Number]
    per_vector_flop: Number
    per_level: tuple[Number, ...]
    per_wire_byte: Number


def energy_constants(platform: Platform) -> EnergyConstants:
    """The constants of a platform's chip: its own where stated, else those of its technologies [J/FLOP, J/B].

    Raises `SpecError` where a type that the chip computes has none.
    """
    chip, technologies = platform.chip, platform.technologies
    process = technologies[chip.process].energy_per_flop if chip.process in technologies else {}
    per_flop = {**process, **chip.energy_per_flop}
    missing = [name for name in (*chip.computable, VECTOR_KEY) if name not in per_flop]
    if missing:
        raise SpecError(
            f"{chip.name}: neither the chip nor its process {chip.process!r} states an energy per FLOP for {missing[0]!r}",
            field="energy_per_flop", value=missing[0],
        )  # fmt: skip

    def per_byte(name: str | None) -> Number:
        found = technologies[name].energy_per_byte if name in technologies else None
        return 0.0 if found is None else found

    link = platform.network[0].technology if platform.network else None
    levels = tuple(per_byte(level.technology) for level in chip.memory.values())
    return EnergyConstants(per_flop, per_flop[VECTOR_KEY], levels, per_byte(link))


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


def collective_energy(kind: str, message_bytes: Number, ranks: int, constants: EnergyConstants) -> Number:
    """Energy that one rank spends on the wire in a collective [J]."""
    return wire_bytes(kind, message_bytes, ranks) * constants.per_wire_byte
