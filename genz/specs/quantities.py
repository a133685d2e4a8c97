"""Pydantic field types for quantities: text with a unit in a file, a plain SI number inside.

To the type checker a `Number` is a float. At run time a bound spec (see `genz.specs.binding`) may
hold a NumPy array or a SymPy expression in its place: all three obey the same arithmetic.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from genz import units
from genz.errors import UnitError
from genz.units import Dimension

Number = float


def _parser(dimension: Dimension) -> BeforeValidator:
    def read(value: Any, info: ValidationInfo) -> float:
        from_file = bool(info.context and info.context.get("from_file"))
        field = info.field_name or "value"
        try:
            return units.parse(value, dimension, field=field, needs_unit=from_file)
        except UnitError as error:
            # pydantic names the field itself, and lets no other exception pass.
            raise ValueError(str(error).removeprefix(f"{field}: ")) from error

    return BeforeValidator(read)


POSITIVE = Field(gt=0, allow_inf_nan=False)
NON_NEGATIVE = Field(ge=0, allow_inf_nan=False)

Capacity = Annotated[Number, units.BYTES, _parser(units.BYTES), POSITIVE]
CapacityOrZero = Annotated[Number, units.BYTES, _parser(units.BYTES), NON_NEGATIVE]
Bandwidth = Annotated[Number, units.BANDWIDTH, _parser(units.BANDWIDTH), POSITIVE]
ComputeRate = Annotated[Number, units.COMPUTE, _parser(units.COMPUTE), POSITIVE]
Watts = Annotated[Number, units.POWER, _parser(units.POWER), POSITIVE]
WattsOrZero = Annotated[Number, units.POWER, _parser(units.POWER), NON_NEGATIVE]
EnergyPerFlop = Annotated[Number, units.ENERGY_PER_FLOP, _parser(units.ENERGY_PER_FLOP), NON_NEGATIVE]
EnergyPerByte = Annotated[Number, units.ENERGY_PER_BYTE, _parser(units.ENERGY_PER_BYTE), NON_NEGATIVE]
Duration = Annotated[Number, units.TIME, _parser(units.TIME), NON_NEGATIVE]
PositiveDuration = Annotated[Number, units.TIME, _parser(units.TIME), POSITIVE]
Frequency = Annotated[Number, units.FREQUENCY, _parser(units.FREQUENCY), POSITIVE]
Price = Annotated[Number, units.MONEY, _parser(units.MONEY), NON_NEGATIVE]
PriceRate = Annotated[Number, units.PRICE_RATE, _parser(units.PRICE_RATE), NON_NEGATIVE]
EnergyPrice = Annotated[Number, units.ENERGY_PRICE, _parser(units.ENERGY_PRICE), NON_NEGATIVE]
CarbonIntensity = Annotated[Number, units.CARBON, _parser(units.CARBON), NON_NEGATIVE]
# Strict: `true` is no number, and text is none either.
Fraction = Annotated[Number, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
PositiveFraction = Annotated[Number, Field(gt=0, le=1, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
