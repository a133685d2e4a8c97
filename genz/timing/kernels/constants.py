"""Constants of a kernel's cost model, each with its unit, its bounds and what it means.

A family of kernels declares its constants as a frozen dataclass whose fields are made by `constant`. The fit
reads bounds and priors from there, calibration files repeat them for their readers, and a formula takes an
instance: `constants.launch` is a plain float.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Definition:
    """What is known of a constant before any measurement: all in SI units, "1" where it has none."""

    name: str
    unit: str
    prior: float
    low: float
    high: float
    meaning: str


def constant(prior: float, unit: str, low: float, high: float, meaning: str) -> Any:
    """A dataclass field for a constant that lies within [low, high] and is `prior` where nothing identifies it.

    All are positive: they are fitted in log space. A switch that may vanish has a tiny lower bound.
    """
    return field(default=prior, metadata={"unit": unit, "low": low, "high": high, "meaning": meaning})


def definitions(kind: type) -> tuple[Definition, ...]:
    """The constants that a family of kernels declares, in their order."""
    declared: Any = fields(kind)
    return tuple(Definition(f.name, prior=f.default, **f.metadata) for f in declared)
