"""A description of the chip at hand, made of measured rates and what the operating system tells.

It has the form of every chip in the catalog, so that predictions take it like any other; each figure says whether it was
measured, told by the system, or taken over from the nearest chip of the catalog.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from genz.calibration.files import write_yaml
from genz.calibration.machine.cpu import Cpu
from genz.calibration.machine.designs import element_bytes
from genz.calibration.machine.detect import Machine, chip_name
from genz.errors import InvalidValueError
from genz.specs import catalog
from genz.specs.hardware import Chip

SOURCES = {
    "measured": "measured by genz calibrate: the best of all shapes",
    "system": "as the operating system and the driver tell",
    "relative": "taken over from the nearest chip of the catalog",
}
# What streams from a level must not fit into the one inside it, nor spill out of its own: bounds on its share.
FITS, EXCEEDS = 0.5, 3.0
RATE_NAMES = {"bfloat16": "bf16"}


@dataclass(frozen=True)
class Rates:
    """The best that was measured: matrix rates by type [FLOP/s] and bandwidths by level [B/s]."""

    matrix: dict[str, float]
    bandwidth: dict[str, float]


def measured_rates(ops: pd.DataFrame, capacities: dict[str, int]) -> Rates:
    """Rates from rows of the tidy schema; `capacities` [B] of the caches, outermost first, tell where a sum streamed from.

    Raises `InvalidValueError` where no GEMM or no sum was measured.
    """
    gemms = ops[ops["op"] == "gemm"]
    reads = ops[ops["op"] == "read"]
    if gemms.empty or reads.empty:
        raise InvalidValueError(
            "too little was measured to describe this chip: it takes GEMMs and the bandwidth sweep",
            field="budget",
            hint="give more time with --budget",
        )
    flops = 2 * gemms["m"] * gemms["n"] * gemms["k"] / gemms["measured_s"]
    matrix = flops.groupby(gemms["dtype"]).max()
    size = reads["num_tokens"] * reads["hidden"] * reads["dtype"].map(element_bytes)
    bandwidth = _by_level(size, size / reads["measured_s"], capacities)
    return Rates({RATE_NAMES.get(str(name), str(name)): float(rate) for name, rate in matrix.items()}, bandwidth)


def _by_level(size: pd.Series, rate: pd.Series, capacities: dict[str, int]) -> dict[str, float]:
    """The best bandwidth of buffers that only the level in question can hold; a level that none tells is left out."""
    outermost = max(capacities.values(), default=0)
    far = rate[size >= EXCEEDS * outermost]
    found = {"main": float(far.max() if len(far) else rate[size == size.max()].max())}
    levels = list(capacities.items())
    for (name, capacity), (_, inner) in zip(levels, [*levels[1:], ("", 0)], strict=True):
        inside = rate[(size <= FITS * capacity) & (size > inner)]
        # A level that is no faster than the one outside of it was not seen: calls are too short to fill it.
        if len(inside) and inside.max() > max(found.values()):
            found[name] = float(inside.max())
    return found


def caches_of(machine: Machine) -> dict[str, int]:
    """{level: bytes} of the caches that matter for streams, outermost first; the smallest one stays with its core."""
    if machine.gpu is not None:
        return {"l2": machine.gpu.cache} if machine.gpu.cache else {}
    return {f"l{cache.level}": cache.capacity for cache in reversed(machine.cpu.caches) if cache.level > 1}


def describe(machine: Machine, ops: pd.DataFrame) -> dict[str, Any]:
    """The chip as a mapping that a chip file holds. Raises `InvalidValueError` where too little was measured."""
    capacities = caches_of(machine)
    rates = measured_rates(ops, capacities)
    kin = _nearest(machine)
    vector = _rate(rates.matrix.get("fp32") or max(rates.matrix.values()), "FLOP/s")
    return {
        "chip": chip_name(machine),
        "title": f"{machine.device_name}, cores: {machine.threads}" if machine.gpu is None else machine.device_name,
        "vendor": machine.gpu.vendor if machine.gpu else machine.cpu.vendor,
        "architecture": kin.architecture if machine.gpu else "-".join(("cpu", *_instruction_sets(machine.cpu))),
        "year": datetime.datetime.now(datetime.UTC).year,
        "kind_of_chip": "gpu" if machine.gpu else "cpu",
        "process": kin.process,
        "sources": SOURCES | {"relative": f"{SOURCES['relative']}, {kin.name}"},
        "matrix_flops": {"source": "measured", **{name: _rate(rate, "FLOP/s") for name, rate in rates.matrix.items()}},
        "vector_flops": {
            "source": "measured",
            "estimate": True,
            "fp32": vector,
        },
        "cores": {"source": "system", "count": _cores(machine, kin), "clock": _clock(machine, kin)},
        "memory": _memory(machine, rates, capacities, kin),
        "power": _power(machine, kin),
    }


def _instruction_sets(cpu: Cpu) -> tuple[str, ...]:
    """The widest sets alone: they tell generations apart."""
    return tuple(name.lower().replace(" ", "-") for name in cpu.instruction_sets[-1:])


def _nearest(machine: Machine) -> Chip:
    """The chip of the catalog that is most like this one: of its kind, of its vendor, nearest in its number of cores."""
    kind = "gpu" if machine.gpu else "cpu"
    vendor = machine.gpu.vendor if machine.gpu else machine.cpu.vendor
    cores = machine.gpu.units if machine.gpu else machine.threads
    chips = [chip for chip in map(catalog.chip, catalog.names("chip")) if chip.kind_of_chip == kind]
    return min(chips, key=lambda chip: (chip.vendor != vendor, abs(float(chip.cores.count) - cores)))


def _rate(value: float, unit: str) -> str:
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def _cores(machine: Machine, kin: Chip) -> int:
    return machine.threads if machine.gpu is None else machine.gpu.units or int(kin.cores.count)


def _clock(machine: Machine, kin: Chip) -> Any:
    clock = machine.gpu.clock if machine.gpu else machine.cpu.clock
    if clock:
        return f"{clock / 1e6:.0f} MHz"
    return {"value": f"{float(kin.cores.clock) / 1e6:.0f} MHz", "source": "relative", "estimate": True}


def _memory(machine: Machine, rates: Rates, capacities: dict[str, int], kin: Chip) -> dict[str, Any]:
    """Main memory first, then the caches whose bandwidth was measured."""
    total = machine.gpu.memory if machine.gpu else machine.cpu.memory
    name, main = next(iter(kin.memory.items()))
    technologies = {level: entry.technology for level, entry in kin.memory.items()}
    capacity: Any = (
        {"value": f"{total} B", "source": "system"}
        if total
        else {"value": f"{float(main.capacity):.0f} B", "source": "relative", "estimate": True}
    )
    levels = {name: _level(capacity, rates.bandwidth["main"], main.technology)}
    for level, size in capacities.items():
        if level in rates.bandwidth:
            measured = {"value": f"{size} B", "source": "system"}
            levels[level] = _level(measured, rates.bandwidth[level], technologies.get(level) or technologies.get("l2"))
    return levels


def _level(capacity: Any, bandwidth: float, technology: str | None) -> dict[str, Any]:
    entry = {"capacity": capacity, "bandwidth": {"value": _rate(bandwidth, "B/s"), "source": "measured"}}
    return entry | ({"technology": technology} if technology else {})


def _power(machine: Machine, kin: Chip) -> dict[str, Any]:
    """The limit in force where the driver tells it; or the relative's, by its share of cores."""
    share = _cores(machine, kin) / float(kin.cores.count)
    tdp, idle = float(kin.power.tdp) * share, float(kin.power.idle) * share
    limit = machine.gpu.power_limit if machine.gpu else None
    told: Any = (
        f"{limit:.0f} W" if limit else {"value": f"{tdp:.4g} W", "source": "relative", "estimate": True, "note": "by cores"}
    )
    return {
        "source": "system",
        "tdp": told,
        "idle": {"value": f"{idle:.4g} W", "source": "relative", "estimate": True, "note": "by cores"},
    }


def write_chip(machine: Machine, ops: pd.DataFrame, out: Path) -> Path:
    """Write `<out>/hardware_specs/chips/<name>.yaml`, checked as every chip file is. Returns the file."""
    document = describe(machine, ops)
    path = out / "hardware_specs" / "chips" / f"{document['chip']}.yaml"
    write_yaml(document, path)
    Chip.from_file(path)
    return path
