"""What a plan may be held to: objectives of latency and budgets, each with its name, its unit and how it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genz import units
from genz.errors import InvalidValueError, shown, unknown_name
from genz.specs.workload import SLO, check_count

SIGNIFICANT = 4
HOUR = 3600.0


@dataclass(frozen=True)
class Constraint:
    """An upper limit on one figure of a deployment. `argument` is how `plan` takes it."""

    figure: str
    title: str
    unit: str
    argument: str

    def shown(self, value: float) -> str:
        """A value as people read it."""
        if self.figure == "devices":
            return f"{value:,.0f} chip{'s' if value != 1 else ''}"
        return f"{value:,.2f} {self.unit}" if self.unit == "USD/h" else units.format_si(value, self.unit, digits=SIGNIFICANT)

    def at_least(self, value: float) -> str:
        """A value rounded up to a few digits, so that what is read is enough."""
        if self.figure == "devices" or not value:
            return self.shown(value)
        digits = 2 if self.unit == "USD/h" else SIGNIFICANT - 1 - math.floor(math.log10(value))
        scale = 10.0**digits
        return self.shown(math.ceil(value * scale * (1 - 1e-12)) / scale)


TTFT = Constraint("ttft_s", "TTFT", "s", "slo ttft")
TPOT = Constraint("tpot_s", "TPOT", "s", "slo tpot")
E2E = Constraint("e2e_s", "E2E", "s", "slo e2e")
DEVICES = Constraint("devices", "budget", "", "max_devices")
RENT = Constraint("usd_per_hour", "rent", "USD/h", "max_usd_per_hour")
POWER = Constraint("power_w", "power", "W", "max_watts")
CONSTRAINTS = {constraint.figure: constraint for constraint in (TTFT, TPOT, E2E, DEVICES, RENT, POWER)}
OBJECTIVES = {"ttft": TTFT, "tpot": TPOT, "e2e": E2E}


def settle_constraints(
    case: SLO | None,
    slo: Mapping[str, Any] | SLO | None,
    *,
    max_devices: int | None,
    max_usd_per_hour: str | float | None,
    max_watts: str | float | None,
) -> dict[str, float]:
    """{figure: limit} of all that was asked for: objectives of the use case, replaced one by one by those of `slo`.

    A text needs its unit, a number is in seconds, USD/h or watts; None lifts an objective of the use case. Raises
    `InvalidValueError`, `UnknownNameError` and `UnitError`.
    """
    objectives: dict[str, Any] = {} if case is None else {"ttft": case.ttft, "tpot": case.tpot}
    if isinstance(slo, SLO):
        objectives |= {name: value for name, value in (("ttft", slo.ttft), ("tpot", slo.tpot)) if value is not None}
    elif isinstance(slo, Mapping):
        objectives |= slo
    elif slo is not None:
        allowed = 'a mapping such as {"ttft": "500 ms", "tpot": "30 ms"}'
        raise InvalidValueError(f"slo: {shown(slo)} is not allowed", field="slo", value=slo, allowed=allowed)
    limits: dict[str, float] = {}
    for name, value in objectives.items():
        if name not in OBJECTIVES:
            raise unknown_name("objective", str(name), OBJECTIVES)
        if value is not None:
            limits[OBJECTIVES[name].figure] = _quantity(value, units.TIME, f"slo {name}")
    if max_devices is not None:
        check_count(max_devices, "max_devices", least=1)
        limits[DEVICES.figure] = int(max_devices)
    if max_usd_per_hour is not None:
        priced = f"{max_usd_per_hour} USD/h" if _is_number(max_usd_per_hour) else max_usd_per_hour
        limits[RENT.figure] = _quantity(priced, units.PRICE_RATE, RENT.argument) * HOUR
    if max_watts is not None:
        limits[POWER.figure] = _quantity(max_watts, units.POWER, POWER.argument)
    return limits


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _quantity(value: Any, dimension: units.Dimension, field: str) -> float:
    parsed = units.parse(value, dimension, field=field, needs_unit=isinstance(value, str))
    if not parsed > 0:
        raise InvalidValueError(
            f"{field}: {shown(value)} is not allowed", field=field, value=value, allowed=f"more than 0 {dimension.symbol}"
        )
    return parsed
