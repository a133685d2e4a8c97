"""What may vary: every argument of `predict` under each of its names, and every field of the specifications behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from typing import Any

import numpy as np
from pydantic import BaseModel

from genz import units
from genz.errors import InvalidValueError, UnknownNameError, nearest, shown, unknown_name
from genz.explore.figures import EVERY, Declared, declared
from genz.explore.values import multiples, values_of
from genz.inference.question import settle_utilization
from genz.operators.moe import exponent_of
from genz.specs.engine import Engine
from genz.specs.hardware import Platform
from genz.specs.media.passes import parse_image_size, parse_seconds
from genz.specs.offload import HOST
from genz.specs.parallelism import CONTEXT_EXCHANGES
from genz.specs.precision import Precision, data_type
from genz.specs.workload import MAX_COUNT, check_count
from genz.timing.machine import FIDELITIES
from genz.units import Dimension


class Kind(Enum):
    """How an axis is priced: structure is looped over, everything else is an array."""

    STRUCTURE = "structure"
    REQUEST = "request"
    PRICE = "price"
    FIGURE = "figure"


@dataclass(frozen=True)
class Axis:
    """One thing that varies, or that is set once (`fixed`), under the name that it was given.

    `target` is what it sets: an argument of `predict`, or a dotted path. Values are in SI; where `relative`, they are
    multiples of the figure at hand. `labels` are what the column of results holds.
    """

    name: str
    target: str
    kind: Kind
    values: tuple[Any, ...]
    fixed: bool = False
    relative: bool = False
    whole: bool = False
    dimension: Dimension | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def unit(self) -> str:
        """Unit of the column: empty for names and counts, "x" for multiples."""
        if self.relative:
            return "x"
        return "" if self.dimension is None else self.dimension.symbol

    @property
    def is_numeric(self) -> bool:
        return self.kind is not Kind.STRUCTURE

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """Values as a column holds them: numbers and truth values as they are, specifications by name, all else as text."""
        return tuple(label_of(value) for value in self.values)

    @cached_property
    def array(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The values of a numeric axis."""
        return np.array(self.values, dtype=float)


def label_of(value: Any) -> Any:
    """What a column shows for a value of an axis."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(getattr(value, "name", value))


@dataclass(frozen=True)
class Argument:
    """An argument of `predict`, or what stands in its place: how its values are read."""

    kind: Kind
    read: Callable[[Any, str], Any]
    whole: bool = False
    dimension: Dimension | None = None


def _count(value: Any, name: str, *, least: int = 1) -> int:
    if type(value) is int and least <= value <= MAX_COUNT:  # by far the usual case, and an axis may have a million of them
        return value
    check_count(value, name, least=least)
    if np.ndim(value):
        raise InvalidValueError(f"{name}: {shown(value)} is not allowed", field=name, value=value, allowed="one whole number")
    return int(value)


def _name(value: Any, name: str) -> Any:
    if isinstance(value, BaseModel) or (not isinstance(value, str) and hasattr(value, "layers")):
        return value
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(f"{name}: {shown(value)} is not a name", field=name, value=value, allowed="a name")
    return value


def _truth(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidValueError(f"{name}: {shown(value)} is not allowed", field=name, value=value, allowed="true or false")
    return value


def _share(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidValueError(
            f"{name}: {shown(value)} is not allowed", field=name, value=value, allowed="a share from 0 to 1"
        )
    return float(value)


def _price(dimension: Dimension, quoted: str, value: Any, name: str) -> float:
    """A price in SI; a plain number is in the unit that people quote."""
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    found = units.parse(f"{value} {quoted}" if plain else value, dimension, field=name)
    if found < 0:
        raise InvalidValueError(f"{name}: {shown(value)} is negative", field=name, value=value, allowed="0 or more")
    return found


def _utilization(value: Any, name: str) -> Any:  # noqa: ARG001
    return settle_utilization(value)


def _fidelity(value: Any, name: str) -> str:
    if value not in FIDELITIES:
        raise unknown_name(name, str(value), FIDELITIES)
    return str(value)


def _context_exchange(value: Any, name: str) -> str:
    if value not in CONTEXT_EXCHANGES:
        raise unknown_name(name, str(value), CONTEXT_EXCHANGES)
    return str(value)


def _routing(value: Any, name: str) -> str:
    exponent_of(_name(value, name))
    return str(value)


def _cache_type(value: Any, name: str) -> str:
    return str(value) if value == "auto" else data_type(_name(value, name), field=name)


def _image_size(value: Any, name: str) -> str:  # noqa: ARG001
    width, height = parse_image_size(value)
    return f"{width}x{height}"


def _clip(value: Any, name: str) -> float:  # noqa: ARG001
    return parse_seconds(value)


_COUNTS = Argument(Kind.STRUCTURE, _count, whole=True)
_NAMES = Argument(Kind.STRUCTURE, _name)
_TOKENS = Argument(Kind.REQUEST, _count, whole=True)

ARGUMENTS: dict[str, Argument] = {
    **dict.fromkeys(("model", "platform", "chip", "precision", "engine", "use_case"), _NAMES),
    **dict.fromkeys(("offload_tier", "treat_as"), _NAMES),
    "kv_cache_dtype": Argument(Kind.STRUCTURE, _cache_type),
    "fidelity": Argument(Kind.STRUCTURE, _fidelity),
    "routing": Argument(Kind.STRUCTURE, _routing),
    "context_exchange": Argument(Kind.STRUCTURE, _context_exchange),
    **dict.fromkeys(("devices", "tp", "pp", "dp", "cp", "ep", "dcp", "micro_batches"), _COUNTS),
    **dict.fromkeys(("max_model_len", "max_num_seqs"), _COUNTS),
    "redundant_experts": Argument(Kind.STRUCTURE, partial(_count, least=0), whole=True),
    "sequence_parallel": Argument(Kind.STRUCTURE, _truth),
    # Nothing offloaded is another case than a little of it: it needs no tier to fetch from.
    **dict.fromkeys(("offload_weights", "offload_cache"), Argument(Kind.STRUCTURE, _share)),
    "images": Argument(Kind.STRUCTURE, partial(_count, least=0), whole=True),
    "image_tokens": _COUNTS,
    "image_size": Argument(Kind.STRUCTURE, _image_size),
    "audio": Argument(Kind.STRUCTURE, _clip),
    "embed": Argument(Kind.STRUCTURE, _truth),
    **dict.fromkeys(("input", "output", "batch", "beams"), _TOKENS),
    "cached": Argument(Kind.REQUEST, partial(_count, least=0), whole=True),
    "gpu_memory_utilization": Argument(Kind.REQUEST, _utilization),
    "price": Argument(Kind.PRICE, partial(_price, units.PRICE_RATE, "USD/h"), dimension=units.PRICE_RATE),
    "energy_price": Argument(Kind.PRICE, partial(_price, units.ENERGY_PRICE, "USD/kWh"), dimension=units.ENERGY_PRICE),
    "carbon_intensity": Argument(Kind.PRICE, partial(_price, units.CARBON, "g/kWh"), dimension=units.CARBON),
}

ALIASES = {
    "tensor_parallel_size": "tp", "pipeline_parallel_size": "pp", "data_parallel_size": "dp", "context_parallel_size": "cp",
    "prefill_context_parallel_size": "cp", "expert_parallel_size": "ep", "decode_context_parallel_size": "dcp",
    "num_redundant_experts": "redundant_experts", "quantization": "precision", "num_devices": "devices",
    "isl": "input", "input_len": "input", "input_tokens": "input", "osl": "output", "output_len": "output",
    "output_tokens": "output", "batch_size": "batch", "prefix_hit": "cached", "cached_tokens": "cached", "as": "treat_as",
    "max_num_batched_tokens": "engine.memory.max_num_batched_tokens", "block_size": "engine.memory.block_size",
    "engine.memory.utilization": "gpu_memory_utilization",
    "parallelism.tensor": "tp", "parallelism.pipeline": "pp", "parallelism.data": "dp", "parallelism.context": "cp",
    "parallelism.expert": "ep", "parallelism.decode_context": "dcp",
}  # fmt: skip
# Parts of a question whose fields are arguments.
_REQUESTS = ("workload", "parallelism")
_ROOTS: dict[str, type[BaseModel]] = {"platform": Platform, "engine": Engine, "precision": Precision}
_OF_PLATFORM = ("chip", "network", "host", "storage", "technologies")
_EXAMPLE = "chip.main_memory.bandwidth"


def target_of(name: Any) -> str:
    """What an axis sets: the canonical argument, or a dotted path that begins with its specification.

    Raises `UnknownNameError` with the nearest names.
    """
    text = str(name).strip().lstrip("-") if isinstance(name, str) else ""
    key = text if "." in text else text.replace("-", "_").lower()
    head, _, rest = key.partition(".")
    if head in _REQUESTS and key not in ALIASES and ALIASES.get(rest, rest) in ARGUMENTS:
        key = rest
    key = ALIASES.get(key, key)
    if key in ARGUMENTS:
        return key
    head, _, rest = key.partition(".")
    if rest and head in _OF_PLATFORM:
        return f"platform.{key}"
    if rest and (head in _ROOTS or head == "model"):
        return key
    raise _unknown(name, key)


def _unknown(name: Any, key: str) -> UnknownNameError:
    known = [*ARGUMENTS, *ALIASES, *_OF_PLATFORM, *_ROOTS]
    close = nearest(key.partition(".")[0], known)
    return UnknownNameError(
        f"unknown axis {shown(name)}",
        field="axes",
        value=name,
        allowed=f"an argument of predict, or a field by its path, such as {_EXAMPLE!r}",
        hint="did you mean " + " or ".join(repr(c) for c in close) + "?" if close else None,
    )


def axis(name: str, written: Any, *, fixed: bool = False, needs_unit: bool = False) -> Axis:
    """An axis from a name and its values as they were written, or one value that is `fixed`.

    `needs_unit`: quantities must say their unit, else plain numbers are SI. Raises `UnknownNameError`,
    `InvalidValueError` or `UnitError`.
    """
    target = target_of(name)
    argument = ARGUMENTS.get(target)
    if argument is None:
        return _of_field(name, target, written, fixed=fixed, needs_unit=needs_unit)
    if multiples(written, name) is not None:
        raise InvalidValueError(
            f"{name}: multiples of what it is already make no sense", field=name, value=written, allowed="a list or a range"
        )
    values = values_of(written, name, lambda value: argument.read(value, name), whole=argument.whole)
    return Axis(name, target, argument.kind, tuple(values), fixed, whole=argument.whole, dimension=argument.dimension)


def _of_field(name: str, target: str, written: Any, *, fixed: bool, needs_unit: bool) -> Axis:
    if target.startswith("model."):
        return Axis(name, target, Kind.STRUCTURE, tuple(values_of(written, name, _config_value, whole=False)), fixed)
    root, _, path = target.partition(".")
    if path.startswith("chip.links.") and path.split(".")[2] != HOST:
        raise InvalidValueError(
            f"{name}: a platform's network is made already, and not changed by the links of its chips",
            field=name,
            allowed="a dimension of the network, such as 'network.0.bandwidth'",
        )
    field = declared(_ROOTS[root], path, name=name)
    factors = multiples(written, name)
    is_figure = field.is_number and root != "precision"
    if factors is not None:
        if not is_figure:
            raise InvalidValueError(
                f"{name}: only figures have multiples", field=name, value=written, allowed="a list of values"
            )
        values = values_of(factors, name, lambda value: _factor(value, name), whole=False)
        return Axis(name, target, Kind.FIGURE, tuple(values), fixed, relative=True)
    if EVERY in path.split("."):
        raise InvalidValueError(
            f"{name}: several figures at once change together",
            field=name,
            value=written,
            allowed="multiples of what they are, such as {times: [0.5, 1, 2]}",
        )
    values = values_of(written, name, _reader(field, name, needs_unit), whole=False)
    return Axis(name, target, Kind.FIGURE if is_figure else Kind.STRUCTURE, tuple(values), fixed, dimension=field.dimension)


def _reader(field: Declared, name: str, needs_unit: bool) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        found = field.read(value, name=name, needs_unit=needs_unit and field.dimension is not None)
        if found is None:
            raise InvalidValueError(f"{name}: {shown(value)} is not allowed", field=name, value=value, allowed="a value")
        return found

    return read


def _factor(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise InvalidValueError(f"{name}: {shown(value)} is no multiple", field=name, value=value, allowed="a number above 0")
    return float(value)


def _config_value(value: Any) -> Any:
    """A value of a model's configuration, which the model's own reader checks."""
    return value
