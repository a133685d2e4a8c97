"""Weights and cache beyond the device's own memory."""

from __future__ import annotations

from dataclasses import dataclass

from genz.errors import InvalidValueError, unknown_name
from genz.numerics import Number, every, is_symbolic, minimum
from genz.specs.hardware import Platform, StorageTier

HOST = "host"


@dataclass(frozen=True)
class Offload:
    """Shares of weights and KV cache that live in another tier and are fetched in every step that reads them.

    Layers are fetched ahead while others are computed, so a step takes the longer of its own time and the transfer.
    """

    weights: Number = 0.0
    cache: Number = 0.0
    tier: str = HOST

    def check(self) -> None:
        """Raise `InvalidValueError` unless both shares are between 0 and 1."""
        for name in ("weights", "cache"):
            share = getattr(self, name)
            if not is_symbolic(share) and not (every(share >= 0) and every(share <= 1)):
                raise InvalidValueError(
                    f"offload_{name}: {share} is not allowed",
                    field=f"offload_{name}",
                    value=share,
                    allowed="a share from 0 to 1",
                )


NOTHING_OFFLOADED = Offload()


def tiers(platform: Platform) -> dict[str, StorageTier]:
    """The memory beyond the devices' own: the host's, over the devices' host links, and what the platform file adds.

    The devices share what the host's own memory can deliver.
    """
    found = dict(platform.storage)
    link, host = platform.chip.links.get(HOST), platform.host
    if link is not None and host is not None and HOST not in found:
        share = link.bandwidth if host.bandwidth is None else minimum(link.bandwidth, host.bandwidth / platform.devices)
        found[HOST] = StorageTier.model_construct(capacity=host.memory, bandwidth=share)
    return found


def tier_of(platform: Platform, name: str) -> StorageTier:
    """A tier by name. Raises `UnknownNameError` with those that the platform has."""
    found = tiers(platform)
    if name not in found:
        hint = (
            None
            if found
            else f"{platform.name} has none: name a platform whose file states its host's memory, such as 'dgx-h100'"
        )
        raise unknown_name("offload tier", name, found, hint=hint)
    return found[name]
