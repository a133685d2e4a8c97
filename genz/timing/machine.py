"""One device as the cost formulas see it: effective rates, and where data lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from genz.numerics import Number, where
from genz.operators.demand import Demand
from genz.operators.exchange import TokenExchange
from genz.specs.engine import Engine
from genz.specs.hardware import Platform
from genz.timing.network import Span, collective_time, exchange_time, span

Fidelity = Literal["roofline", "engine"]
FIDELITIES: tuple[Fidelity, ...] = ("roofline", "engine")
# Vector work is priced at the fp32 rate: norms, softmax and rotary positions are computed in fp32.
VECTOR_TYPE = "fp32"


@dataclass(frozen=True)
class Machine:
    """A device of a platform, run by an engine at a fidelity.

    `persistent_bytes` [B] is what it must hold from step to step: weights and cache. They stream
    from the fastest memory level that can hold all of them; activations from the fastest that can
    hold those of one operator. `priced` remembers exchanges, which the layers of a model repeat.
    """

    platform: Platform
    engine: Engine
    fidelity: Fidelity
    persistent_bytes: Number
    priced: dict[tuple[str, int, int, Number], tuple[Number, Number]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def has_overheads(self) -> bool:
        return self.fidelity != "roofline"

    @property
    def compute_efficiency(self) -> Number:
        return self.engine.efficiency.compute if self.has_overheads else 1.0

    @property
    def memory_efficiency(self) -> Number:
        return self.engine.efficiency.memory if self.has_overheads else 1.0

    @property
    def network_efficiency(self) -> Number:
        return self.engine.efficiency.network if self.has_overheads else 1.0

    @property
    def kernel_gap(self) -> Number:
        """Device time that each kernel adds [s]."""
        return self.engine.overheads.kernel_gap if self.has_overheads else 0.0

    def level_bytes(self, demand: Demand, *, working_set: Number | None = None) -> tuple[Number, ...]:
        """Bytes that cross each memory level, main memory first [B].

        Data passes every level from the one it lives in inwards, so the innermost level sees all of it.
        `working_set` [B] decides where activations live, if it is not the demand's own (a run is judged by
        its largest step).
        """
        levels = list(self.platform.chip.memory.values())
        persistent = demand.weight_bytes + demand.cache_bytes
        activations = demand.activation_bytes
        largest = activations if working_set is None else working_set
        crossing: list[Number] = [persistent + activations]
        for inner in reversed(levels[1:]):
            persistent = where(self.persistent_bytes <= inner.capacity, 0.0 * persistent, persistent)
            activations = where(largest <= inner.capacity, 0.0 * activations, activations)
            crossing.append(persistent + activations)
        return tuple(reversed(crossing))

    def components(self, demand: Demand, crossing: tuple[Number, ...]) -> tuple[Number, ...]:
        """Seconds that a demand keeps each resource busy: matrix units, vector units, each memory level.

        `crossing` [B] is what `level_bytes` gives for it. The maximum is the operator's time: they overlap.
        """
        chip = self.platform.chip
        matrix = 0.0
        if demand.matrix_type is not None:
            matrix = demand.matrix_flops / (chip.multiply_rate(demand.matrix_type) * self.compute_efficiency)
        vector = demand.vector_flops / (chip.vector_flops[VECTOR_TYPE] * self.compute_efficiency)
        efficiency = self.memory_efficiency
        memory = [moved / (level.bandwidth * efficiency) for moved, level in zip(crossing, chip.memory.values(), strict=True)]
        return (matrix, vector, *memory)

    def group(self, ranks: int, stride: int = 1) -> Span:
        """Where `ranks` that lie `stride` apart stand in the network."""
        return span(self.platform.network, ranks, stride)

    def collective(self, kind: str, message_bytes: Number, group: Span, exchange: TokenExchange | None = None) -> Number:
        """Seconds that a device waits for a collective, or an exchange of tokens with their experts, over a group of ranks.

        At `engine` fidelity the share of it that the engine overlaps with other work costs nothing.
        """
        if exchange is not None:
            time = exchange_time(exchange, group, efficiency=self.network_efficiency)
        else:
            time = collective_time(kind, message_bytes, span=group, efficiency=self.network_efficiency)
        return time * (1 - self.engine.efficiency.overlap) if self.has_overheads else time
