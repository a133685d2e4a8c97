"""The figures of a machine that a requirement asks for: their names, units, and how people give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from genz import units
from genz.errors import InvalidValueError, shown, unknown_name
from genz.numerics import Number

# What stands for "without limit": far beyond any machine, and far from where floats overflow.
UNLIMITED = 1e30


@dataclass(frozen=True)
class Figure:
    """One figure: what it is called, the kind of quantity it is, and its key where results are data."""

    name: str
    title: str
    dimension: units.Dimension
    key: str
    may_be_zero: bool = False

    def parse(self, value: Any) -> float:
        """A figure in SI, from text with a unit or from a number in SI. Raises `UnitError` or `InvalidValueError`."""
        parsed = units.parse(value, self.dimension, field=self.name, needs_unit=isinstance(value, str))
        if parsed < 0 or (parsed == 0 and not self.may_be_zero) or parsed >= UNLIMITED:
            least = "0 or more" if self.may_be_zero else "more than 0"
            raise InvalidValueError(
                f"{self.name}: {shown(value)} is not allowed",
                field=self.name,
                value=value,
                allowed=f"{least}, such as {self.dimension.example!r}",
            )
        return parsed

    def format(self, value: float) -> str:
        """The figure as people read it."""
        return units.format_si(value, self.dimension.symbol, digits=4)


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("flops", "compute rate", units.COMPUTE, "flop_per_s"),
        Figure("bandwidth", "memory bandwidth", units.BANDWIDTH, "bandwidth_b_per_s"),
        Figure("capacity", "memory capacity", units.BYTES, "capacity_bytes"),
        Figure("link_bandwidth", "link bandwidth, each direction", units.BANDWIDTH, "link_bandwidth_b_per_s"),
        Figure("link_latency", "link latency", units.TIME, "link_latency_s", may_be_zero=True),
    )
}
LINK = ("link_bandwidth", "link_latency")


@dataclass(frozen=True)
class Figures:
    """The figures of one device that decide how long it takes, in SI; arrays where several machines are tried at once.

    `flops` [FLOP/s] is the dense rate in the format that quantised matrices are multiplied in, `bandwidth` [B/s] that of main
    memory, `link_bandwidth` [B/s] is per direction, `link_latency` [s] that of one message.
    """

    flops: Number = UNLIMITED
    bandwidth: Number = UNLIMITED
    link_bandwidth: Number = UNLIMITED
    link_latency: Number = 0.0

    def but(self, **changed: Any) -> Figures:
        """The same with other figures, which may be arrays."""
        return replace(self, **changed)


TIMED = tuple(field.name for field in fields(Figures))


def settle_given(given: Mapping[str, Any] | None, *, networked: bool) -> dict[str, float]:
    """The figures that are given, in SI. Raises `UnknownNameError`, `UnitError` or `InvalidValueError`.

    A link is refused where the devices exchange nothing, as it would be ignored.
    """
    if given is not None and not isinstance(given, Mapping):
        raise InvalidValueError(
            f"given: {shown(given)} is not allowed", field="given", value=given, allowed=f"a mapping of {', '.join(FIGURES)}"
        )
    settled = {}
    for name, value in (given or {}).items():
        if name not in FIGURES:
            raise unknown_name("figure", str(name), FIGURES)
        if name in LINK and not networked:
            raise InvalidValueError(
                f"{name}: these devices exchange nothing, so no link is asked for",
                field=name,
                value=value,
                hint="give devices that work together, such as tp=2, or leave it out",
            )
        settled[name] = FIGURES[name].parse(value)
    return settled
