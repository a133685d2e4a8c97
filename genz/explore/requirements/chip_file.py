"""A required chip as a YAML file that GenZ reads: what was asked for is marked as such, the rest cites the base chip."""

from __future__ import annotations

from typing import Any

import yaml

from genz.specs.hardware import Chip, Link, MemoryLevel

REQUIREMENT, BASE = "requirement", "base"


def chip_text(chip: Chip, *, asked: str, base: str) -> str:
    """The file. `asked` says what the machine must do, `base` where the other figures come from."""
    document = {
        "chip": chip.name,
        "title": chip.title,
        "vendor": chip.vendor,
        "architecture": chip.architecture,
        "year": chip.year,
        "kind_of_chip": chip.kind_of_chip,
        "process": chip.process,
        "sources": {REQUIREMENT: asked, BASE: base},
        "source": BASE,
        "matrix_flops": _rates(chip.matrix_flops),
        "vector_flops": _rates(chip.vector_flops),
        "cores": _cores(chip),
        "memory": {name: _level(level, index == 0) for index, (name, level) in enumerate(chip.memory.items())},
        "links": {name: _link(link, name == "scale_up") for name, link in chip.links.items()},
        "power": {"tdp": _found(chip.power.tdp, "W"), "idle": f"{float(chip.power.idle)!r} W"},
        "energy_per_flop": {name: f"{float(value)!r} J/FLOP" for name, value in chip.energy_per_flop.items()},
    }
    kept = {key: value for key, value in document.items() if value != {}}
    return yaml.safe_dump(kept, sort_keys=False, width=120)


def _found(value: float, unit: str) -> dict[str, Any]:
    """A figure that the requirement asks for. All digits are kept: it must read back as what was found."""
    return {"value": f"{float(value)!r} {unit}", "source": REQUIREMENT, "estimate": True}


def _rates(rates: dict[str, float]) -> dict[str, Any]:
    return {"source": REQUIREMENT, "estimate": True, **{name: f"{float(rate)!r} FLOP/s" for name, rate in rates.items()}}


def _cores(chip: Chip) -> dict[str, Any]:
    array = chip.cores.array
    cores = {"count": chip.cores.count, "clock": f"{float(chip.cores.clock)!r} Hz"}
    return cores if array is None else {**cores, "array": {"rows": array.rows, "columns": array.columns}}


def _level(level: MemoryLevel, is_main: bool) -> dict[str, Any]:
    capacity: Any = _found(level.capacity, "B") if is_main else f"{float(level.capacity)!r} B"
    named = {} if level.technology is None else {"technology": level.technology}
    return {"capacity": capacity, "bandwidth": _found(level.bandwidth, "B/s"), **named}


def _link(link: Link, is_asked: bool) -> dict[str, Any]:
    bandwidth: Any = _found(link.bandwidth, "B/s") if is_asked else f"{float(link.bandwidth)!r} B/s"
    latency: Any = _found(link.latency, "s") if is_asked else f"{float(link.latency)!r} s"
    named = {} if link.technology is None else {"technology": link.technology}
    shape = {"torus_dimensions": link.torus_dimensions} if link.topology == "torus" else {}
    return {"bandwidth": bandwidth, "latency": latency, "domain": link.domain, "topology": link.topology, **shape, **named}
