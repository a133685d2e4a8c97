"""Quantities at the edge: parse "3.35 TB/s", print "1.2 ms". Inside GenZ everything is SI floats.

Decimal prefixes are powers of 1000 (GB = 10^9 B), binary ones of 1024 (GiB = 2^30 B).
"b" or "bit" is a bit, "B" a byte; a rate in bits is converted to bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from genz.errors import UnitError, nearest, shown

_DECIMAL = {
    "": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3,
    "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
}  # fmt: skip
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
# A comma parts thousands, never a fraction: "3,35 TB/s" is refused.
_NUMBER = re.compile(
    r"^\s*([+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+(?:_\d+)*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$", re.DOTALL
)


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its SI unit and the spellings of its units (spelling -> factor to SI).

    `parts`: prefixes below one make sense, so that "m" is milli. Of bytes it would be a misspelt "M".
    """

    name: str
    symbol: str
    spellings: tuple[tuple[str, float], ...]
    binary: bool = False
    decimal: bool = True
    parts: bool = True
    example: str = ""


BYTES = Dimension("capacity", "B", (("B", 1.0), ("byte", 1.0), ("bytes", 1.0), ("bit", 0.125), ("b", 0.125)),
                  binary=True, parts=False, example="80 GiB")  # fmt: skip
BANDWIDTH = Dimension("bandwidth", "B/s", (("B/s", 1.0), ("Bps", 1.0), ("bit/s", 0.125), ("b/s", 0.125), ("bps", 0.125)),
                      binary=True, parts=False, example="3.35 TB/s")  # fmt: skip
COMPUTE = Dimension("compute rate", "FLOP/s", (("FLOP/s", 1.0), ("FLOPS", 1.0), ("FLOPs/s", 1.0), ("OP/s", 1.0), ("OPS", 1.0)),
                    parts=False, example="989 TFLOP/s")  # fmt: skip
POWER = Dimension("power", "W", (("W", 1.0),), example="700 W")
ENERGY = Dimension("energy", "J", (("J", 1.0), ("Wh", 3600.0)), example="1.2 kJ")
ENERGY_PER_FLOP = Dimension("energy per operation", "J/FLOP", (("J/FLOP", 1.0), ("J/OP", 1.0)), example="0.5 pJ/FLOP")
ENERGY_PER_BYTE = Dimension("energy per byte", "J/B", (("J/B", 1.0), ("J/bit", 8.0), ("J/b", 8.0)), example="3.9 pJ/bit")
TIME = Dimension("time", "s", (("s", 1.0), ("sec", 1.0), ("min", 60.0), ("h", 3600.0), ("year", 365.25 * 86400.0),
                               ("years", 365.25 * 86400.0)), example="30 ms")  # fmt: skip
FREQUENCY = Dimension("frequency", "Hz", (("Hz", 1.0),), parts=False, example="1.83 GHz")
MONEY = Dimension("price", "USD", (("USD", 1.0), ("$", 1.0)), decimal=False, example="25000 USD")
PRICE_RATE = Dimension("price rate", "USD/s", (("USD/h", 1 / 3600.0), ("$/h", 1 / 3600.0), ("USD/hour", 1 / 3600.0),
                                               ("USD/s", 1.0)), decimal=False, example="2.5 USD/h")  # fmt: skip
ENERGY_PRICE = Dimension("energy price", "USD/J", (("USD/kWh", 1 / 3.6e6), ("$/kWh", 1 / 3.6e6), ("USD/J", 1.0)),
                         decimal=False, example="0.10 USD/kWh")  # fmt: skip
CARBON = Dimension("carbon intensity", "g/J", (("g/kWh", 1 / 3.6e6), ("gCO2/kWh", 1 / 3.6e6), ("kg/kWh", 1000 / 3.6e6),
                                               ("g/J", 1.0)), decimal=False, example="400 g/kWh")  # fmt: skip


DIMENSIONS = (
    BYTES, BANDWIDTH, COMPUTE, POWER, ENERGY, ENERGY_PER_FLOP, ENERGY_PER_BYTE, TIME, FREQUENCY, MONEY, PRICE_RATE,
    ENERGY_PRICE, CARBON,
)  # fmt: skip


def _unit_factor(unit: str, dimension: Dimension) -> float | None:
    for spelling, factor in dimension.spellings:
        if unit == spelling:
            return factor
        if unit.endswith(spelling):
            prefix = unit[: -len(spelling)]
            multiple = _DECIMAL.get(prefix, 0.0) if dimension.decimal else 0.0
            if multiple >= 1 or (multiple and dimension.parts):
                return multiple * factor
            if dimension.binary and prefix in _BINARY:
                return _BINARY[prefix] * factor
    return None


def parse(text: Any, dimension: Dimension, *, field: str = "value", needs_unit: bool = True) -> float:
    """Parse a quantity such as "3.35 TB/s" into its SI value as a float.

    A bare number is taken as SI when `needs_unit` is false. Raises `UnitError` when the text is no
    number, has no unit where one is needed, or has the unit of another kind of quantity.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if needs_unit and text != 0:
            raise _unit_error(field, text, dimension, "has no unit")
        return _finite(text, field, text, dimension)
    match = _NUMBER.match(text) if isinstance(text, str) else None
    if match is None:
        raise _unit_error(field, text, dimension, f"is not a {dimension.name}")
    number = float(match.group(1).replace("_", "").replace(",", ""))
    unit = match.group(2)
    if not unit:
        if needs_unit and number != 0:
            raise _unit_error(field, text, dimension, "has no unit")
        return _finite(number, field, text, dimension)
    factor = _unit_factor(unit, dimension)
    if factor is None:
        raise _unit_error(
            field, text, dimension, f"has the unit {unit!r}, not one of a {dimension.name}", hint=_nearest_unit(unit, dimension)
        )
    return _finite(number * factor, field, text, dimension)


def is_quantity(text: str) -> bool:
    """Whether a text is a number, alone or with a unit of any kind."""
    match = _NUMBER.match(text)
    return match is not None and (not match.group(2) or any(_unit_factor(match.group(2), d) is not None for d in DIMENSIONS))


def _finite(value: float, field: str, text: Any, dimension: Dimension) -> float:
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise _unit_error(field, text, dimension, "is not finite")
    return result


def _nearest_unit(unit: str, dimension: Dimension) -> str | None:
    if _unit_factor(f"{unit}/s", dimension) is not None:
        return f"did you mean {unit + '/s'!r}?"
    # Of units that differ by case alone the first spelling wins, so it comes last.
    prefixes = [*(dimension.binary * [*_BINARY]), *(dimension.decimal * ["k", "M", "G", "T", "P"]), ""]
    close = nearest(unit, [prefix + spelling for spelling, _ in reversed(dimension.spellings) for prefix in prefixes])
    return f"did you mean {close[0]!r}?" if close else None


def _unit_error(field: str, text: Any, dimension: Dimension, problem: str, *, hint: str | None = None) -> UnitError:
    return UnitError(
        f"{field}: {shown(text)} {problem}",
        field=field,
        value=text,
        allowed=f"a {dimension.name} in {dimension.symbol}, with a prefix, such as {dimension.example!r}",
        hint=hint,
    )


def format_si(value: float, symbol: str, *, digits: int = 3) -> str:
    """Print an SI value with the decimal prefix that suits it: `format_si(3.35e12, "B/s")` is "3.35 TB/s"."""
    if value == 0 or not math.isfinite(value):
        return f"{abs(value) if value == 0 else value:g} {symbol}".rstrip()
    if not 1e-15 <= abs(value) < 1e21:  # beyond all prefixes
        return f"{value:.{digits}g} {symbol}".rstrip()
    prefixes = ["f", "p", "n", "u", "m", "", "k", "M", "G", "T", "P", "E"]
    exponent = math.floor(math.log10(abs(value)) / 3)
    # 999.96 rounds to "1e+03" at three digits: move on to the next prefix.
    if abs(float(f"{value / 1000.0**exponent:.{digits}g}")) >= 1000:
        exponent += 1
    exponent = min(max(exponent, -5), 6)
    scaled = value / 1000.0**exponent
    decimals = max(digits - 1 - math.floor(math.log10(abs(scaled)) + 1e-12), 0)
    number = f"{scaled:.{decimals}f}"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number} {prefixes[exponent + 5]}{symbol}".rstrip()


def format_bytes(value: float, *, digits: int = 4) -> str:
    """Print a number of bytes in decimal units: 70.6 GB."""
    return format_si(value, "B", digits=digits)


def format_count(value: float) -> str:
    """Print a large count as people do: 70.6 B for 70.6e9 parameters, 1.03 T for 1.03e12."""
    rounded = abs(float(f"{value:.4g}"))  # 999,999 is 1 M, not 1000 k
    for factor, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if rounded >= factor:
            return f"{value / factor:.4g} {suffix}"
    return f"{value:.4g}"
