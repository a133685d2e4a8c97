"""Calibrated power as data: what the measured power of a chip's kernels and runs says of its energy constants.

A file stands in `hardware_specs/calibration/energy/<chip>.yaml`. A chip without one takes that of its nearest relative:
its constants are shares of the chip's own power range and multiples of its own technologies' energies, so they carry over
as they are, to a chip of another size, process or memory. The band widens with the distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from genz.errors import UnknownNameError
from genz.specs import catalog
from genz.specs.base import Frozen, read_mapping, spec_error
from genz.specs.calibration import ConstantDefinition, FitRecord, FittedConstant, HeldOut
from genz.specs.hardware import Chip

FOLDER = "hardware_specs/calibration/energy"
# How chips are related, nearest first, and how much wider than on the chip itself the band is; the factors are those
# between the errors of own and of borrowed constants when one chip after the other is left out of the fit, rounded up.
WIDENING = {"own": 1.0, "sibling": 1.5, "generation": 2.0, "vendor": 2.5, "other": 3.0}
# Of two chips that are related alike the one nearer in years is taken, another memory technology counting as a year.
OTHER_MEMORY_YEARS = 1.0


class EnergyCalibration(Frozen):
    """Constants of one chip's power. `figures` says what they come to in watts and joules, for its readers."""

    chip: str
    fit: FitRecord
    rows: dict[str, int] = Field(description="rows fitted, by source or operator")
    definitions: dict[str, ConstantDefinition]
    constants: dict[str, FittedConstant]
    on_bounds: tuple[str, ...] = ()
    figures: dict[str, float] = Field(default={}, description="what the constants come to on the chip, in SI units")
    held_out: dict[str, HeldOut] = Field(description="errors of power on rows held out, by source or operator and format")
    band: tuple[float, float] = Field(description="5 % and 95 % quantiles of log(measured / predicted) on rows held out")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, constant in self.constants.items():
            if name not in self.definitions:
                raise ValueError(f"constants: {name!r} is not among the definitions")
            low, high = self.definitions[name].low, self.definitions[name].high
            if not low * (1 - 1e-6) <= constant.value <= high * (1 + 1e-6):
                raise ValueError(f"constants: {name} = {constant.value:g} is not within [{low:g}, {high:g}]")
        low, high = self.band
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"band = {list(self.band)} is no interval")
        return self

    @property
    def values(self) -> dict[str, float]:
        """{name: value} of all constants."""
        return {name: constant.value for name, constant in self.constants.items()}

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read and validate one file. Raises `SpecError` with the path and the field at fault."""
        try:
            return cls.model_validate(read_mapping(path))
        except ValidationError as error:
            raise spec_error(error, cls, str(path)) from None


@dataclass(frozen=True)
class FoundCalibration:
    """A calibration for a chip, how its owner is related to it, and the band that this earns."""

    calibration: EnergyCalibration
    relation: str

    @property
    def band(self) -> tuple[float, float]:
        """The 5 % and 95 % quantiles of log(measured / predicted), wider for constants that are borrowed."""
        low, high = self.calibration.band
        return low * WIDENING[self.relation], high * WIDENING[self.relation]


@catalog.remembered
def energy_files() -> dict[str, Path]:
    """{chip: file} of all energy calibrations; a user's file stands before one that GenZ ships."""
    found: dict[str, Path] = {}
    for root in reversed(catalog.roots()):
        folder = root / FOLDER
        if folder.is_dir():
            found |= {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in catalog.SUFFIXES}
    return found


@catalog.remembered
def _read(path: Path) -> EnergyCalibration:
    return EnergyCalibration.from_file(path)


def power_calibration(chip: Chip) -> FoundCalibration | None:
    """The energy calibration of a chip, or of its nearest relative; none if there is none at all."""
    own = energy_files().get(chip.name)
    if own is not None:
        return FoundCalibration(_read(own), "own")
    nearest = _nearest(chip.kind_of_chip, chip.vendor, chip.architecture, chip.year, chip.main_memory.technology)
    return None if nearest is None else FoundCalibration(_read(energy_files()[nearest[0]]), nearest[1])


def power_values(chip: Chip) -> dict[str, float] | None:
    """Values of a chip's power constants, its own or borrowed; none if nothing is calibrated."""
    found = power_calibration(chip)
    return None if found is None else found.calibration.values


@catalog.remembered
def _nearest(kind: str, vendor: str, architecture: str, year: int, memory: str | None) -> tuple[str, str] | None:
    """The calibrated chip that is nearest, and the relation to it."""
    candidates = []
    for name in energy_files():
        try:
            other = catalog.chip(name)
        except UnknownNameError:  # a chip that its owner has since renamed
            continue
        relation = _relation(other, kind, vendor, architecture)
        apart = abs(year - other.year) + (OTHER_MEMORY_YEARS if memory != other.main_memory.technology else 0.0)
        candidates.append((list(WIDENING).index(relation), apart, name, relation))
    if not candidates:
        return None
    _, _, name, relation = min(candidates)
    return name, relation


def _relation(other: Chip, kind: str, vendor: str, architecture: str) -> str:
    if other.kind_of_chip != kind:
        return "other"
    if other.vendor != vendor:
        return "vendor"
    return "sibling" if other.architecture == architecture else "generation"
