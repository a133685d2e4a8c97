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
from genz.operators.exchange import TokenExchange
from genz.specs.hardware import Platform
from genz.timing.network import Span, exchanged_bytes, wire_bytes_by_dimension

VECTOR_KEY = "vector"


@dataclass(frozen=True)
class EnergyConstants:
    """Energy per operation and per byte of one device.

    `per_level` runs from main memory inwards, `per_link` is by the link technology of a network dimension.
    """

    per_flop: dict[str, Number]
    per_vector_flop: Number
    per_level: tuple[Number, ...]
    per_link: dict[str | None, Number]


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
