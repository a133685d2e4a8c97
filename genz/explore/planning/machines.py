"""Candidate machines: what replicas may be built of, and the sizes that they may have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from genz.errors import InvalidValueError, shown
from genz.specs import catalog
from genz.specs.hardware import Chip, Platform
from genz.specs.layouts import divisors
from genz.validation.requests import platform_of as in_nodes

# Devices of one replica that are searched unless told; more where the model does not fit in them.
USUAL_BOUND = 16
MOST_DEVICES = 4096
_COUNTED = re.compile(r"^\s*\d+\s*[x×*]", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """Hardware that replicas are made of. With `chip`, any number of them, in nodes as large as the scale-up link joins."""

    name: str
    chip: Chip
    platform: Platform | None = None

    @property
    def reach(self) -> int:
        """The most devices that the network joins to one replica."""
        if self.platform is not None:
            return max(1, self.platform.joined_devices)
        across = self.chip.links.get("scale_out")
        return max(_domain(self.chip), min(MOST_DEVICES, across.domain) if across else 1)

    def sizes(self, bound: int) -> list[int]:
        """Devices that one replica may have: any within a node, beyond it whole nodes, or what parts the machine evenly."""
        most = min(bound, self.reach)
        if self.platform is None:
            node = _domain(self.chip)
            return [size for size in range(1, most + 1) if size <= node or size % node == 0]
        found = set(divisors(self.platform.joined_devices))
        step, joined = 1, 1
        for dimension in self.platform.network:
            joined *= dimension.size
            found.update(range(step, joined + 1, step))
            step = joined
        return sorted(size for size in found | {1} if size <= most)

    def part(self, devices: int) -> Platform:
        """The devices of one replica. The network keeps its size, so that what a part has of it is priced as a part.

        Of chips joined as a torus it is a slice of that many.
        """
        if self.platform is not None:
            whole = self.platform
            return whole if devices == whole.devices else _renamed(whole, devices, f"{devices} of {whole.name}")
        return _of_chips(self.chip, devices)


def _domain(chip: Chip) -> int:
    link = chip.links.get("scale_up")
    return 1 if link is None else link.domain


def _renamed(platform: Platform, devices: int, name: str) -> Platform:
    return platform.model_copy(update={"devices": devices, "name": name})


def _of_chips(chip: Chip, devices: int) -> Platform:
    node = _domain(chip)
    link = chip.links.get("scale_up")
    if devices == 1 or (link is not None and link.topology == "torus" and devices <= node):
        return catalog.platform_of(chip, devices)
    if devices <= node:
        return _renamed(catalog.platform_of(chip, node), devices, f"{devices}x {chip.name}")
    return in_nodes(chip, devices)


def settle_candidates(platforms: Any) -> tuple[Candidate, ...]:
    """Candidates by name, path or spec. None: every chip of the catalog with a price and a link to scale out by.

    A bare chip may be taken in any number; `"8x h100-sxm"` and named platforms are the machine of which replicas are parts.
    Raises `UnknownNameError`, `InvalidValueError` and `SpecError`.
    """
    if platforms is None:
        return tuple(_data_centre_chips())
    single = isinstance(platforms, (str, Platform, Chip))
    listed = [platforms] if single or not isinstance(platforms, Iterable) else list(platforms)
    if not listed:
        raise InvalidValueError(
            "platforms: none are given", field="platforms", value=listed, allowed="one chip or platform, or more"
        )
    found = {candidate.name: candidate for candidate in map(_candidate, listed)}
    return tuple(found.values())


def _candidate(given: Any) -> Candidate:
    if isinstance(given, Chip):
        return Candidate(given.name, given)
    if isinstance(given, Platform):
        return Candidate(given.name, given.chip, given)
    if not isinstance(given, str):
        raise InvalidValueError(
            f"platforms: {shown(given)} is not a platform", field="platforms", value=given, allowed="a name, a path or a spec"
        )
    platform = catalog.platform(given)
    if platform.name == platform.chip.name and not _COUNTED.match(given):
        return Candidate(platform.chip.name, platform.chip)
    return Candidate(platform.name if platform.devices > 1 else given.strip(), platform.chip, platform)


def _data_centre_chips() -> Iterator[Candidate]:
    for name in catalog.names("chip"):
        chip = catalog.chip(name)
        if chip.price.hourly is not None and "scale_out" in chip.links:
            yield Candidate(chip.name, chip)
