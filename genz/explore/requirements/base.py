"""The machine that a requirement starts from, and the same machine with other figures.

The base chip keeps what is not asked for: the ratios of its rates between formats, the capacities of its caches, its cores,
its energies, the topology of its link. Its rates all grow with the FLOP/s that are asked for, and its caches' bandwidths with
that of main memory. The ideal chip has one rate for all formats and one level of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genz.errors import SpecError
from genz.explore.requirements.figures import Figures
from genz.numerics import Number
from genz.specs import catalog
from genz.specs.binding import bind
from genz.specs.hardware import Chip, Link, Platform, PowerSpec, PriceSpec
from genz.specs.quantities import Count

IDEAL = "hardware_specs/blank/ideal.yaml"
SCALE_UP = "scale_up"
NO_LIMIT = 1e9  # [W]: the power limit is no figure that is asked for, so none holds while the others are sought


def base_chip(like: str | Chip | None) -> Chip:
    """The ideal chip, or one from the catalog. Raises `UnknownNameError` or `SpecError`."""
    if isinstance(like, Chip):
        return like
    if like is not None:
        return catalog.chip(like)
    for root in catalog.roots():
        if (root / IDEAL).is_file():
            return Chip.from_file(root / IDEAL)
    raise SpecError(f"{IDEAL} is missing from the catalog", field="like", hint="give like= with the name of a chip")


def base_platform(chip: Chip, devices: Count, *, keep_power: bool = False) -> Platform:
    """`devices` of a chip that has a name of its own, no price, no power limit unless told, and a link that joins them all."""
    link = chip.links.get(SCALE_UP) or base_chip(None).links[SCALE_UP]
    blank = chip.model_copy(
        update={
            "name": f"required-{chip.name}",
            "title": f"required, like {chip.title or chip.name}",
            "aliases": (),
            "links": {**chip.links, SCALE_UP: link.model_copy(update={"domain": max(devices, link.domain)})},
            "power": chip.power if keep_power else PowerSpec(tdp=NO_LIMIT, idle=chip.power.idle),
            "price": PriceSpec(),
        }
    )
    return catalog.platform_of(blank, devices)


def with_figures(platform: Platform, data_type: str, figures: Figures) -> Platform:
    """The platform with other figures, which may be arrays."""
    chip = platform.chip
    faster = figures.flops / chip.multiply_rate(data_type)
    wider = figures.bandwidth / chip.main_memory.bandwidth
    values: dict[str, Number] = {
        **{f"chip.matrix_flops.{name}": rate * faster for name, rate in chip.matrix_flops.items()},
        **{f"chip.vector_flops.{name}": rate * faster for name, rate in chip.vector_flops.items()},
        **{f"chip.memory.{name}.bandwidth": level.bandwidth * wider for name, level in chip.memory.items()},
    }
    for index in range(len(platform.network)):
        values[f"network.{index}.bandwidth"] = figures.link_bandwidth
        values[f"network.{index}.latency"] = figures.link_latency
    return bind(platform, values)


def finished(platform: Platform, *, capacity: float, tdp: float) -> Platform:
    """A platform whose figures are found, with the memory and the power limit that it needs, and the link it has."""
    chip = platform.chip
    main = next(iter(chip.memory))
    links: Mapping[str, Link] = chip.links
    if platform.network:
        dimension = platform.network[0]
        found: dict[str, Any] = {"bandwidth": dimension.bandwidth, "latency": dimension.latency}
        links = {**links, SCALE_UP: links[SCALE_UP].model_copy(update=found)}
    else:
        links = {name: link for name, link in links.items() if name != SCALE_UP}
    memory = {**chip.memory, main: chip.memory[main].model_copy(update={"capacity": capacity})}
    limit = PowerSpec(tdp=tdp, idle=chip.power.idle)
    built = chip.model_copy(update={"memory": memory, "links": dict(links), "power": limit})
    return platform.model_copy(update={"chip": built})
