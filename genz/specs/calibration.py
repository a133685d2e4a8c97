"""Calibrations as data: constants fitted to the measured kernels of one chip, as one engine runs them.

A file stands in `hardware_specs/calibration/<chip>/<engine>.yaml`. It says what it was fitted on and when, defines its
constants (unit, bounds, meaning), and lists cells: one set of constants for a family of kernels in one number format, with
its error on rows that the fit never saw.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from genz.errors import SpecError
from genz.specs.base import Frozen, read_mapping, spec_error

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Error = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ConstantDefinition(Frozen):
    """What a constant is; as the code that uses it declares it."""

    unit: str
    low: Positive
    high: Positive
    meaning: str


class FittedConstant(Frozen):
    """A constant's value in SI units and the relative standard error that the rows leave it; none: it kept its prior."""

    value: Positive
    error: Error | None = None


class HeldOut(Frozen):
    """Errors |predicted / measured - 1| on rows held out of the fit, as fractions; the bias keeps its sign."""

    rows: int = Field(ge=0)
    mean: Error | None = None
    median: Error | None = None
    p90: Error | None = None
    bias: float | None = Field(None, allow_inf_nan=False)


class Cell(Frozen):
    """Constants of one family of kernels in one number format."""

    family: str
    format: str = ""
    kernel: str = ""
    version: str = ""
    variant: str = ""
    rows: int = Field(ge=1, description="rows fitted")
    held_out: HeldOut
    band: tuple[float, float] = Field(description="5 % and 95 % quantiles of log(measured / predicted) on rows held out")
    span: tuple[Positive, Positive] = Field(description="shortest and longest time that was fitted [s]")
    constants: dict[str, FittedConstant]

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.band
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"band = {list(self.band)} is no interval")
        return self

    @property
    def values(self) -> dict[str, float]:
        """{name: value} of all constants."""
        return {name: constant.value for name, constant in self.constants.items()}

    def may_hold(self, family: str) -> bool:
        """Whether it is a cell of a family of kernels."""
        return self.family == family

    def of_family(self, family: str) -> tuple[Cell, ...]:
        """This cell, if it is one of the family."""
        return (self,) if self.family == family else ()


class FitRecord(Frozen):
    """On what constants were fitted, when, and how to do it again."""

    date: str
    command: str
    measurements: tuple[str, ...] = Field(description="sources of the rows")
    held_out: str = Field(description="the rule by which rows were kept from the fit")


class Calibration(Frozen):
    """All cells of one chip and engine."""

    chip: str
    engine: str
    fit: FitRecord
    definitions: dict[str, dict[str, ConstantDefinition]]
    cells: tuple[Cell, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for number, cell in enumerate(self.cells):
            defined = self.definitions.get(cell.family, {})
            for name, constant in cell.constants.items():
                if name not in defined:
                    raise ValueError(f"cells.{number}: {name!r} is not among the definitions of {cell.family!r}")
                low, high = defined[name].low, defined[name].high
                if not low * (1 - 1e-6) <= constant.value <= high * (1 + 1e-6):
                    raise ValueError(f"cells.{number}: {name} = {constant.value:g} is not within [{low:g}, {high:g}]")
        return self

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read and validate one calibration file. Raises `SpecError` with the path and the field at fault."""
        raw = read_mapping(path)
        if "calibration" in raw:
            raise SpecError(f"{path}: calibration: unknown key", field="calibration", hint="name the chip with 'chip:'")
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise spec_error(error, cls, str(path)) from None


class Band(Frozen):
    """The 5 % and 95 % quantiles of log(measured / predicted) over rows of chips whose constants were not their own."""

    low: float
    high: float
    rows: int = Field(ge=1)


ANY_ENGINE = "any"


class Factors(Frozen):
    """What the spread that kernels give a request's time is multiplied by, so that nine measured ones in ten lie within."""

    down: float = Field(ge=0, allow_inf_nan=False)
    up: float = Field(ge=0, allow_inf_nan=False)
    rows: int = Field(ge=1)


class Bands(Frozen):
    """How far predictions with borrowed constants were off, by family and by how they were borrowed.

    `requests` are factors for whole requests, by engine ("any": all of them) and metric ("ttft", "tpot", "e2e").
    """

    fit: FitRecord
    families: dict[str, dict[str, Band]]
    requests: dict[str, dict[str, Factors]] = Field(default={})

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read and validate the file of bands. Raises `SpecError`."""
        try:
            return cls.model_validate(read_mapping(path))
        except ValidationError as error:
            raise spec_error(error, cls, str(path)) from None
