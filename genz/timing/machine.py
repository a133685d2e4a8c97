"""One device as the cost formulas see it: effective rates, and where data lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from genz.graph.step import Operator, Run
from genz.numerics import Number, where
from genz.operators.demand import Demand
from genz.operators.exchange import TokenExchange
from genz.specs.engine import Engine
from genz.specs.hardware import Platform
from genz.timing.kernels.selection import Selected
from genz.timing.network import Span, collective_time, exchange_time, span

if TYPE_CHECKING:
    from genz.timing.kernels.pricing import Kernels
    from genz.timing.kernels.runs import EngineConstants

Fidelity = Literal["roofline", "engine", "calibrated"]
FIDELITIES: tuple[Fidelity, ...] = ("roofline", "engine", "calibrated")
# Vector work is priced at the fp32 rate: norms, softmax and rotary positions are computed in fp32.
VECTOR_TYPE = "fp32"


class Priced(NamedTuple):
    """One call of a calibrated kernel: its seconds, the launch that is part of them, and its constants."""

    time: Number
    launch: Number
    selected: Selected


class Exchanged(NamedTuple):
    """One exchange on one rank: its seconds, its joules, and its constants where it is calibrated."""

    time: Number
    energy: Number
    selected: Selected | None


class HostTimes(NamedTuple):
    """Host time of each step (its further devices included), of each of its sequences, of each kernel no graph holds [s]."""

    per_step: Number
    per_sequence: Number
    launch: Number


@dataclass(frozen=True)
class Machine:
    """A device of a platform, run by an engine at a fidelity.

    `persistent_bytes` [B] is what it must hold from step to step: weights and cache. They stream
    from the fastest memory level that can hold all of them; activations from the fastest that can
    hold those of one operator. `format` is the number format of the model's matrices,
    `ranks` the devices that work on one step together. `priced` remembers exchanges, which the layers
    of a model repeat.
    """

    platform: Platform
    engine: Engine
    fidelity: Fidelity
    persistent_bytes: Number
    format: str = ""
    ranks: int = 1
    priced: dict[tuple[str, int, int, Number], Exchanged] = field(default_factory=dict, repr=False, compare=False)

    @property
    def has_overheads(self) -> bool:
        return self.fidelity != "roofline"

    @property
    def is_calibrated(self) -> bool:
        return self.fidelity == "calibrated"

    @property
    def launches_are_measured(self) -> bool:
        """Whether calibrated kernels hold the host's launches: a processor is its own host, nothing runs behind its back."""
        return self.kernels is not None and self.kernels.holds_launches

    @cached_property
    def kernels(self) -> Kernels | None:
        """The calibrated kernels of the device; none where the fidelity does without."""
        if not self.is_calibrated:
            return None
        from genz.timing.kernels.pricing import Kernels

        return Kernels(self.platform.chip, self.engine, self.format)

    @property
    def engine_constants(self) -> tuple[EngineConstants, Selected] | None:
        """What the engine adds to its kernels, where it is calibrated."""
        return None if self.kernels is None else self.kernels.overheads

    @property
    def host(self) -> HostTimes:
        """Times on the host: the engine's calibrated ones, else those that its file states."""
        stated, found = self.engine.overheads, self.engine_constants
        if found is None:
            return HostTimes(stated.host_per_step, stated.host_per_sequence, stated.host_launch)
        return HostTimes(found[0].step + found[0].rank * (self.ranks - 1), found[0].sequence, found[0].launch)

    def step_factor(self, phase: str, category: str) -> Number:
        """Time of an operator in a step of a phase over that of its kernel measured apart."""
        found = self.engine_constants
        if found is None:
            return 1.0
        if category == "attention":
            return found[0].attention_factor
        return found[0].prompt_factor if phase == "prefill" else found[0].decode_factor

    def price(self, operator: Operator, run: Run) -> Priced | None:
        """One call, in the mean over a run, of an operator's kernel where it is calibrated."""
        kernels = self.kernels
        if kernels is None:
            return None
        shape = run.first.shape
        if shape is None:
            is_pass = operator.category in ("elementwise", "embedding")
            if not is_pass:
                return None
            # The time is a line of the bytes: that of their mean is the mean over a run.
            moved = run.first.memory_bytes if run.last is None else (run.first.memory_bytes + run.last.memory_bytes) / 2
            return kernels.elementwise(moved, operator.name)
        if run.last is None or run.last.shape is None:
            return kernels.price(shape)
        return kernels.over_run(shape, run.last.shape, run.length)

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

    def collective(
        self, kind: str, message_bytes: Number, group: Span, exchange: TokenExchange | None = None
    ) -> tuple[Number, Selected | None]:
        """Seconds that a device waits for a collective, or an exchange of tokens with their experts, over a group of ranks.

        At `engine` fidelity the share of it that the engine overlaps with other work costs nothing. The second value are
        the constants, where it is calibrated.
        """
        priced = self._measured_collective(kind, message_bytes, group, exchange)
        if priced is not None:
            return priced.time, priced.selected
        if exchange is not None:
            time = exchange_time(exchange, group, efficiency=self.network_efficiency)
        else:
            time = collective_time(kind, message_bytes, span=group, efficiency=self.network_efficiency)
        return (time * (1 - self.engine.efficiency.overlap) if self.has_overheads else time), None

    def _measured_collective(
        self, kind: str, message_bytes: Number, group: Span, exchange: TokenExchange | None
    ) -> Priced | None:
        if self.kernels is None or not group:
            return None
        if exchange is not None:
            return self.kernels.exchange(kind, exchange, group)
        return self.kernels.collective(kind, message_bytes, group)
