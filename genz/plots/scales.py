"""What a column or an axis is called, in which unit it is printed, and where its ticks stand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from genz.errors import GenZError, InvalidValueError, shown
from genz.explore.figures import declared
from genz.inference.metrics import METRICS
from genz.specs.hardware import Platform
from genz.units import DIMENSIONS, format_si, parse

PREFIXED = ("s", "B", "B/s", "FLOP", "FLOP/s", "W", "J", "g")  # units that people read with a prefix
# How names of columns end where results are data; the longest that fits counts.
_SUFFIXES = {"flop_per_s": "FLOP/s", "b_per_s": "B/s", "bytes": "B", "usd": "USD", "s": "s", "w": "W", "j": "J"}
_WORDS = {"tp": "tensor parallel", "pp": "pipeline parallel", "ep": "expert parallel", "dp": "data parallel"}
MOST_TICKS, MOST_MARKS = 6, 11  # ticks at round values, and at the values that there are


@dataclass(frozen=True)
class Quantity:
    """What a column holds: a title for people and its SI unit, empty for counts and names."""

    title: str
    unit: str = ""

    def show(self, value: Any) -> str:
        """One value as people read it."""
        if isinstance(value, str) or value is None:
            return str(value)
        number = float(value)
        if self.unit in PREFIXED:
            return format_si(number, self.unit)
        return f"{number:,.4g} {self.unit}".rstrip() if abs(number) < 1e4 else f"{number:,.0f} {self.unit}".rstrip()

    def read(self, value: str | float, *, field: str) -> float:
        """A value that a person gave, in SI. Raises `UnitError` or `InvalidValueError`."""
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
        if not isinstance(value, str):
            raise InvalidValueError(
                f"{field}: {shown(value)} is not allowed",
                field=field,
                value=value,
                allowed="a finite number, or one with a unit",
            )
        dimension = next((known for known in DIMENSIONS if known.symbol == self.unit), None)
        if dimension is not None:
            return parse(value, dimension, field=field)
        try:
            return float(value)
        except ValueError:
            raise InvalidValueError(
                f"{field}: {value!r} is not a number", field=field, value=value, allowed=f"a number {self.unit}".rstrip()
            ) from None


@dataclass(frozen=True)
class Scale:
    """An axis in the unit that suits its values: what is drawn is the SI value over `factor`."""

    quantity: Quantity
    factor: float
    unit: str

    @property
    def label(self) -> str:
        """The title of the axis, its unit in brackets."""
        title = self.quantity.title[:1].upper() + self.quantity.title[1:]
        return f"{title} [{self.unit}]" if self.unit else title


def quantity_of(column: str, told: Mapping[str, str] | None = None) -> Quantity:
    """What a column of a table holds, from the metrics' names, the fields of a platform, or the end of its own name.

    `told` are units that the table itself knows: an axis of multiples has "x".
    """
    name = str(column)
    if name in METRICS:
        return Quantity(METRICS[name].title, METRICS[name].unit)
    unit = unit_of_field(name)
    if unit is not None:
        return Quantity(title_of_field(name), (told or {}).get(name, unit))
    for suffix, symbol in _SUFFIXES.items():
        stem = name.removesuffix(f"_{suffix}")
        if stem not in ("", name):
            return Quantity(stem.replace("_", " "), symbol)
    return Quantity(_WORDS.get(name, name.replace("_", " ")))


def series_name(column: str, value: Any, quantity: Quantity) -> str:
    """What a series is called: its value, and which column it is of where a bare number would not tell."""
    is_bare = not quantity.unit and not isinstance(value, str)
    return f"{column} {quantity.show(value)}" if is_bare else quantity.show(value)


def unit_of_field(path: str) -> str | None:
    """The SI unit of a figure of a platform by its dotted path; None where there is no such figure."""
    try:
        dimension = declared(Platform, path.removeprefix("platform."), name=path).dimension
    except GenZError:
        return None
    return None if dimension is None else dimension.symbol


def title_of_field(path: str) -> str:
    """What people call a figure of a platform: "HBM bandwidth", "matrix rate in bf16"."""
    *parents, last = path.split(".")
    word = last.replace("_", " ")
    if parents and parents[-1].endswith("_flops"):
        if word == "*":
            return f"{parents[-1].removesuffix('_flops')} rates"
        return f"{parents[-1].removesuffix('_flops')} rate in {word}"
    if len(parents) > 1 and parents[-2] in ("memory", "storage"):
        return f"{parents[-1].upper()} {word}"
    holder = next((part for part in reversed(parents) if part not in ("chip", "platform", "*") and not part.isdigit()), "")
    return f"{holder.replace('_', ' ')} {word}".strip()


def scale_of(quantity: Quantity, values: Iterable[float]) -> Scale:
    """The prefix that suits the largest of the values (the middle one, where they span many decades)."""
    sizes = sorted(abs(v) for v in values if math.isfinite(v) and v)
    if quantity.unit not in PREFIXED or not sizes:
        return Scale(quantity, 1.0, quantity.unit)
    typical = sizes[-1] if sizes[-1] < 1e4 * sizes[0] else math.sqrt(sizes[0] * sizes[-1])
    exponent = min(max(math.floor(math.log10(typical) / 3 + 1e-9), -5), 6)
    prefix = ("f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E")[exponent + 5]
    return Scale(quantity, 1000.0**exponent, f"{prefix}{quantity.unit}")


def is_wide(values: Iterable[float], *, ratio: float = 20.0) -> bool:
    """Whether positive values span so much that a logarithm shows them better."""
    finite = [v for v in values if math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) >= ratio


def log_ticks(low: float, high: float) -> list[float]:
    """Round values in [low, high], few enough to be read: decades, else steps of 1, 2 and 5, else even steps."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = [10.0**e for e in range(first, last + 1) if low <= 10.0**e * (1 + 1e-9) and 10.0**e <= high * (1 + 1e-9)]
    if len(decades) >= 3:
        stride = math.ceil(len(decades) / MOST_TICKS)
        return decades[::stride]
    steps = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
    inside = [tick for tick in steps if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)]
    return inside if len(inside) >= 3 else even_ticks(low, high)


def even_ticks(low: float, high: float) -> list[float]:
    """Round values at even steps in [low, high]."""
    if not low < high:
        return [low]
    raw = (high - low) / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]


def marks(low: float, high: float, values: Iterable[float]) -> list[float]:
    """Ticks of a logarithmic axis: at the values themselves where these lie far enough apart, else at round ones."""
    logs = sorted({math.log10(value) for value in values})
    gaps = [upper - lower for lower, upper in pairwise(logs)]
    if len(logs) < 2 or min(gaps) < (logs[-1] - logs[0]) / MOST_MARKS:
        return log_ticks(low, high)
    return sorted(set(values))


def plain(value: float) -> str:
    """A tick: thousands parted, no digits that say nothing."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def log_axis(low: float, high: float, *, room: float = 0.0, at: Iterable[float] = ()) -> dict[str, Any]:
    """A logarithmic axis from low to high and a share of its length beyond both, with ticks that can be read.

    The ticks stand at the values `at`, where there is room for them.
    """
    ticks = marks(low, high, at)
    ends = math.log10(low), math.log10(high)
    beyond = room * (ends[1] - ends[0])
    return {
        "type": "log",
        "range": [ends[0] - beyond, ends[1] + beyond],
        "tickvals": ticks,
        "ticktext": [plain(tick) for tick in ticks],
    }
