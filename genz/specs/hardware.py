"""Hardware as data: a chip, what its technology costs in energy, and a platform of many chips."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from genz.errors import nearest
from genz.specs.base import Frozen, Spec
from genz.specs.precision import DATA_TYPES
from genz.specs.quantities import (
    Bandwidth,
    Capacity,
    CapacityOrZero,
    ComputeRate,
    Count,
    Duration,
    EnergyPerByte,
    EnergyPerFlop,
    Frequency,
    Number,
    Price,
    PriceRate,
    Watts,
    WattsOrZero,
)


def _check_data_types(field: str, rates: Iterable[str], *others: str) -> None:
    known = (*DATA_TYPES, *others)
    for name in rates:
        if name not in known:
            close = nearest(name, known)
            suggestion = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{field}: {name!r} is no data type; allowed: {', '.join(known)}{suggestion}")


class SystolicArray(Frozen):
    """Multipliers in rows, over which the sum of a product runs, and columns, over which its outputs run."""

    rows: Count
    columns: Count


class Cores(Frozen):
    """The units that a kernel's tiles are spread over: SMs, CUs, TensorCores, CPU cores."""

    count: Count
    clock: Frequency = Field(description="clock at which the data-sheet rates hold [Hz]")
    array: SystolicArray | None = Field(None, description="where a core multiplies in systolic arrays")


class MemoryLevel(Frozen):
    """One level of memory of one device."""

    capacity: Capacity = Field(description="bytes that software can use; of main memory, what the driver reports [B]")
    bandwidth: Bandwidth = Field(description="sustained peak, one direction [B/s]")
    technology: str | None = Field(None, description="technology file that gives its energy per byte")


class Link(Frozen):
    """The wires from one device to its peers or its host."""

    bandwidth: Bandwidth = Field(description="per device and direction [B/s]")
    latency: Duration = Field(description="one message between two devices, software included [s]")
    domain: Count = Field(1, description="largest number of devices joined by it")
    topology: Literal["switch", "fully_connected", "ring", "torus", "bus"] = "switch"
    torus_dimensions: int = Field(2, ge=1, le=3, strict=True, description="of a torus: in how many directions it closes")
    technology: str | None = Field(None, description="technology file that gives its energy per byte")


class PowerSpec(Frozen):
    """Electrical power of one device."""

    tdp: Watts = Field(description="power limit as shipped [W]")
    idle: WattsOrZero = Field(description="drawn with memory allocated and nothing running [W]")

    @model_validator(mode="after")
    def _check(self) -> PowerSpec:
        if self.idle >= self.tdp:
            raise ValueError(f"idle = {self.idle:g} W must be below tdp = {self.tdp:g} W")
        return self


class PriceSpec(Frozen):
    """What one device costs, bought and rented."""

    purchase: Price | None = Field(None, description="[USD]")
    hourly: PriceRate | None = Field(None, description="rent of one device [USD/s inside]")


class Chip(Spec):
    """One accelerator or processor, as one device that software sees."""

    kind: ClassVar[str] = "chip"

    vendor: str
    architecture: str = Field(description="generation, such as hopper: kin share calibrations")
    year: int = Field(ge=1970, le=2100, strict=True)
    kind_of_chip: Literal["gpu", "tpu", "cpu", "npu", "wafer"] = "gpu"
    process: str = Field(description="technology file of its logic, for energy per FLOP")
    matrix_flops: dict[str, ComputeRate] = Field(description="dense matrix rate by data type [FLOP/s]")
    vector_flops: dict[str, ComputeRate] = Field(description="rate outside of the matrix units by data type [FLOP/s]")
    cores: Cores
    memory: dict[str, MemoryLevel] = Field(description="main memory first, then towards the cores")
    links: dict[str, Link] = Field(default={}, description="to peers ('scale_up', 'scale_out') and host ('host')")
    power: PowerSpec
    price: PriceSpec = PriceSpec()
    energy_per_flop: dict[str, EnergyPerFlop] = Field(default={}, description="overrides the process technology [J/FLOP]")

    @model_validator(mode="after")
    def _check(self) -> Chip:
        if not self.matrix_flops or not self.vector_flops or not self.memory:
            raise ValueError("matrix_flops, vector_flops and memory need at least one entry each")
        _check_data_types("matrix_flops", self.matrix_flops)
        _check_data_types("vector_flops", self.vector_flops)
        _check_data_types("energy_per_flop", self.energy_per_flop, "vector")
        return self

    @property
    def main_memory(self) -> MemoryLevel:
        """The level that holds weights and KV cache."""
        return next(iter(self.memory.values()))

    @property
    def computable(self) -> tuple[str, ...]:
        """Data types that the chip multiplies in, its matrix units' first."""
        return tuple(dict.fromkeys((*self.matrix_flops, *self.vector_flops)))

    def multiply_rate(self, data_type: str) -> Number:
        """Rate of matrix work in a data type: of the matrix units, or of the vector units where those lack it [FLOP/s]."""
        rate = self.matrix_flops.get(data_type)
        return self.vector_flops[data_type] if rate is None else rate


class Technology(Spec):
    """Energy constants of a process node, a memory or a link."""

    kind: ClassVar[str] = "technology"

    role: Literal["logic", "memory", "link"]
    energy_per_flop: dict[str, EnergyPerFlop] = Field(
        default={}, description="by data type, operand movement included [J/FLOP]"
    )
    energy_per_byte: EnergyPerByte | None = Field(None, description="[J/B]")

    @model_validator(mode="after")
    def _check(self) -> Technology:
        _check_data_types("energy_per_flop", self.energy_per_flop, "vector")
        return self


class Host(Frozen):
    """The computer that the devices sit in."""

    memory: CapacityOrZero
    bandwidth: Bandwidth | None = None
    power: WattsOrZero = Field(0.0, description="CPUs, memory, fans and NICs, shared by the devices [W]")


class StorageTier(Frozen):
    """Memory beyond the devices: the host's, on CXL, or on solid-state drives."""

    capacity: Capacity = Field(description="of the whole platform [B]")
    bandwidth: Bandwidth = Field(description="to each device, all of them reading at once [B/s]")


class NetworkDimension(Frozen):
    """One dimension of a platform's network, innermost first.

    Ranks count through the innermost dimension first: rank r sits at position r mod size of it, at
    (r // size) mod size of the next, and so on.
    """

    link: str = Field(description="name of the chip's link, or a name of its own")
    topology: Literal["switch", "fully_connected", "ring", "torus", "fat_tree", "bus"]
    size: Count
    shape: tuple[Count, ...] | None = Field(None, description="sides of a torus; its product is the size")
    bandwidth: Bandwidth = Field(description="per device and direction, all of its links in this dimension together [B/s]")
    latency: Duration = Field(description="one message between neighbours, software included [s]")
    message_overhead: Duration = Field(0.0, description="what each further message of a device costs its sender [s]")
    oversubscription: float = Field(
        1.0,
        ge=1,
        allow_inf_nan=False,
        strict=True,
        description="of a fat tree: bandwidth into its leaves over that out of them",
    )
    leaf: Count | None = Field(None, description="of a fat tree: devices under a leaf switch; if left out, each has its own")
    in_network_reduction: bool = Field(False, description="switches add up what passes them (NVLS, SHARP)")
    technology: str | None = Field(None, description="technology file that gives its energy per byte")

    @model_validator(mode="after")
    def _check(self) -> NetworkDimension:
        if (self.shape is not None) != (self.topology == "torus"):
            raise ValueError("a torus, and nothing else, has a shape")
        if self.shape is not None and math.prod(self.shape) != self.size:
            raise ValueError(f"size = {self.size} is not the product of shape = {list(self.shape)}")
        if self.oversubscription > 1 and self.topology != "fat_tree":
            raise ValueError("only a fat tree is oversubscribed")
        if self.leaf is not None and self.topology != "fat_tree":
            raise ValueError("only a fat tree has a leaf")
        return self


class Platform(Spec):
    """Devices, the network between them and the host around them."""

    kind: ClassVar[str] = "platform"

    chip: Chip
    devices: Count
    network: tuple[NetworkDimension, ...] = ()
    host: Host | None = None
    storage: dict[str, StorageTier] = Field(
        default={}, description="memory beyond the devices and the host, such as 'cxl' or 'ssd'"
    )
    technologies: dict[str, Technology] = Field(default={}, description="energy constants that chip and network refer to")

    @model_validator(mode="after")
    def _check(self) -> Platform:
        joined = math.prod(dimension.size for dimension in self.network)
        if self.devices % joined:
            raise ValueError(f"devices = {self.devices} is no multiple of the {joined} devices that the network joins")
        return self

    @property
    def joined_devices(self) -> int:
        """Devices that the whole network joins."""
        return math.prod(dimension.size for dimension in self.network)

    @property
    def scale_up_size(self) -> int:
        """Devices that the innermost network dimension joins."""
        return self.network[0].size if self.network else 1
