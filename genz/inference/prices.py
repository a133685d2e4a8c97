"""What devices, energy and carbon cost, from what people quote to SI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genz import units
from genz.errors import InvalidValueError
from genz.specs.hardware import Platform

SECONDS_PER_HOUR = 3600.0
TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True)
class Prices:
    """What time, energy and carbon cost. `device` [USD/s] rents one device, `energy` is [USD/J], `carbon` [g/J]."""

    device: float | None = None
    energy: float | None = None
    carbon: float | None = None


NO_PRICES = Prices()


def settle_prices(platform: Platform, device: Any = None, energy: Any = None, carbon: Any = None) -> Prices:
    """Prices in SI; plain numbers are in the unit people quote: USD/h, USD/kWh, g/kWh.

    A device costs what its chip's file says, unless it is told. Raises `InvalidValueError` and `UnitError`.
    """

    def read(value: Any, dimension: units.Dimension, unit: str, field: str) -> float | None:
        if value is None:
            return None
        text = f"{value} {unit}" if isinstance(value, (int, float)) else value
        parsed = units.parse(text, dimension, field=field)
        if parsed < 0:
            raise InvalidValueError(f"{field}: {value!r} is negative", field=field, value=value, allowed="0 or more")
        return parsed

    rent = read(device, units.PRICE_RATE, "USD/h", "price")
    return Prices(
        device=platform.chip.price.hourly if rent is None else rent,
        energy=read(energy, units.ENERGY_PRICE, "USD/kWh", "energy_price"),
        carbon=read(carbon, units.CARBON, "g/kWh", "carbon_intensity"),
    )
