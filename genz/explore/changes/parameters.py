"""The figures that an answer depends on, by name: where they stand, what they are called, and how to change them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from genz.dual import Dual
from genz.errors import InvalidValueError, unknown_name
from genz.inference.prices import SECONDS_PER_HOUR
from genz.inference.question import Question, rules
from genz.numerics import Number
from genz.specs.binding import bind, metadata_of
from genz.specs.hardware import Chip, PowerSpec
from genz.units import PRICE_RATE, Dimension, format_si

# Numbers of the request, by the names that `genz.predict` gives them.
WORKLOAD = {
    "batch": "batch",
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cached_tokens",
    "beams": "beams",
}
ENGINE = "engine"
# Whole numbers that formulas take as numbers; any other is what the graph or the network is built from.
COUNTS = (*WORKLOAD, "chip.cores.count", "engine.memory.max_num_batched_tokens", "engine.memory.block_size")
# What no formula of a question reads: sources, and the links that a platform's network was made of.
_UNREAD = ("provenance", "sources", "year", "links")
_TITLES = {
    "chip.matrix_flops": "matrix compute rate",
    "chip.vector_flops": "vector compute rate",
    "chip.cores.count": "number of cores",
    "chip.cores.clock": "clock",
    "chip.power.tdp": "power limit",
    "chip.power.idle": "idle power",
    "chip.price.hourly": "rent of a device",
    "engine.overheads.host_per_step": "host time per step",
    "engine.overheads.host_per_sequence": "host time per sequence",
    "engine.overheads.host_launch": "host time per launch",
    "batch": "batch size",
    "input": "input length",
    "output": "output length",
    "cached": "cached prefix",
    "beams": "number of beams",
}


@dataclass(frozen=True)
class Figure:
    """A number of a question's platform, engine or request: where it stands, and what kind of quantity it is."""

    path: str
    value: Any
    dimension: Dimension | None = None

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, (int, float)) and not isinstance(self.value, bool)

    @property
    def is_structure(self) -> bool:
        """Whether it is a whole number that the graph or the network is built from."""
        return isinstance(self.value, int) and self.path not in COUNTS


@dataclass(frozen=True)
class Parameter:
    """One figure, or several of a kind that grow together, as "chip.matrix_flops" names the rates of all data types.

    Of several the first is shown, of data types that of the model's matrices.

    `name` is a dotted path into the platform, into the engine ("engine....") or a number of the request ("batch").
    """

    name: str
    title: str
    figures: tuple[Figure, ...]

    @property
    def value(self) -> float:
        """The figure; of several, the first."""
        return float(self.figures[0].value)

    @property
    def unit(self) -> str:
        dimension = self.figures[0].dimension
        return "" if dimension is None else dimension.symbol

    @property
    def is_count(self) -> bool:
        return self.name in COUNTS

    @property
    def shown(self) -> str:
        """The value as people read it."""
        if self.is_count:
            return f"{self.value:,.0f}"
        if self.unit == PRICE_RATE.symbol:
            return f"{self.value * SECONDS_PER_HOUR:,.2f} USD/h"
        return format_si(self.value, self.unit, digits=4) if self.unit else f"{self.value:g}"

    def scaled(self, question: Question, factor: Number) -> Question:
        """The question with the figure times a factor, which may be a dual number.

        Raises `InvalidValueError` where the figure must not be that large or small.
        """
        return self._with(question, {figure.path: factor * figure.value for figure in self.figures})

    def at(self, question: Question, count: int) -> Question:
        """The question with another whole number. Raises `InvalidValueError` where it must not be that."""
        return self._with(question, {figure.path: count for figure in self.figures})

    def grown(self, question: Question, factor: float) -> Question:
        """The question with the figure grown by a factor, a count by one at least. Raises `InvalidValueError`."""
        if not self.is_count:
            return self.scaled(question, factor)
        moved = round(self.value * factor)
        return self.at(question, moved if moved != self.value else moved + (1 if factor > 1 else -1))

    def _with(self, question: Question, values: dict[str, Any]) -> Question:
        if self.name in WORKLOAD:
            return _with_workload(question, values)
        if self.name.startswith(f"{ENGINE}."):
            inside = {path.removeprefix(f"{ENGINE}."): value for path, value in values.items()}
            return replace(question, engine=bind(question.engine, inside))
        changed = question.on(bind(question.platform, values))
        _check_power(changed.platform.chip)
        return changed


def parameter(question: Question, name: str) -> Parameter:
    """A parameter by its name: the path of a figure, or of figures of one kind, or a number of the request.

    Raises `UnknownNameError`, with the nearest, and `InvalidValueError` for what is no figure, is structure, or is zero.
    """
    known = figures(question)
    found = (known[name],) if name in known else tuple(f for path, f in known.items() if path.startswith(f"{name}."))
    if not found:
        raise unknown_name("parameter", str(name), (path for path, figure in known.items() if figure.is_number))
    if not all(figure.is_number for figure in found) or len({figure.dimension for figure in found}) > 1:
        inside = ", ".join(path.removeprefix(f"{name}.") for path in known if path.startswith(f"{name}."))
        allowed = f"a figure inside of it: {inside}" if inside else "the path of a figure"
        raise InvalidValueError(f"{name!r} is not a figure", field="parameter", value=name, allowed=allowed)
    if any(figure.is_structure for figure in found):
        raise InvalidValueError(
            f"{name} is a whole number that the model is laid out by: it does not change by a little",
            field="parameter",
            value=name,
            hint="compare layouts with genz.compare or genz.sweep",
        )
    if max(figure.value for figure in found) == 0:
        raise InvalidValueError(f"{name} is 0, and so is any share of it", field="parameter", value=name)
    # Of the rates of all data types, that of the model's matrices stands for the others.
    main = f"{name}.{question.widths.matrix_type(quantised=True)}"
    return Parameter(name, _title(question, name), tuple(sorted(found, key=lambda figure: figure.path != main)))


def figures(question: Question) -> dict[str, Figure]:
    """Everything that a path can name, numbers or not, in the platform, the engine and the request."""
    workload = (Figure(name, getattr(question.workload, field)) for name, field in WORKLOAD.items())
    found = [*workload, *_walk(question.platform, "", None), *_walk(question.engine, f"{ENGINE}.", None)]
    return {figure.path: figure for figure in found}


def _walk(node: Any, prefix: str, field: FieldInfo | None) -> Iterator[Figure]:
    if isinstance(node, BaseModel):
        declared = type(node).model_fields
        parts: Iterator[tuple[str, Any, FieldInfo | None]] = (
            (name, getattr(node, name), info) for name, info in declared.items() if name not in _UNREAD
        )
    elif isinstance(node, dict):
        parts = ((str(key), value, field) for key, value in node.items())
    elif isinstance(node, tuple):
        parts = ((str(index), value, field) for index, value in enumerate(node))
    else:
        kinds = [item for item in metadata_of(field) if isinstance(item, Dimension)]
        yield Figure(prefix.removesuffix("."), node, kinds[0] if kinds else None)
        return
    for name, value, info in parts:
        yield from _walk(value, f"{prefix}{name}.", info)


def usual_parameters(question: Question) -> tuple[Parameter, ...]:
    """The parameters that people turn: rates, capacities, links, power, what the engine adds, and the request."""
    chip, platform = question.platform.chip, question.platform
    names = ["chip.matrix_flops", "chip.vector_flops"]
    names += [f"chip.memory.{level}.{part}" for part in ("bandwidth", "capacity") for level in chip.memory]
    if platform.devices > 1:
        spanned = [index for index, dimension in enumerate(platform.network) if dimension.size > 1]
        names += [f"network.{index}.{part}" for index in spanned for part in ("bandwidth", "latency")]
    if platform.host is not None and (question.offload.weights or question.offload.cache):
        names.append("host.bandwidth")
    names += ["chip.cores.clock", "chip.power.tdp", "chip.power.idle"]
    if question.fidelity != "roofline":
        names += [f"engine.overheads.{name}" for name in ("host_per_step", "host_per_sequence", "host_launch", "kernel_gap")]
        names += [f"engine.efficiency.{name}" for name in ("compute", "memory", "network", "overlap")]
    names += ["batch", "input", "output"]
    known = figures(question)
    return tuple(parameter(question, name) for name in names if name not in known or known[name].value)


def _title(question: Question, name: str) -> str:
    if name in _TITLES:
        return _TITLES[name]
    first, *parts = name.split(".")
    last = parts[-1].replace("_", " ") if parts else first
    if parts[:1] == ["memory"] and len(parts) == 3:
        return f"{parts[1].upper()} {last}"
    if parts[:1] in (["matrix_flops"], ["vector_flops"]):
        return f"{parts[0].split('_')[0]} compute rate in {parts[1]}"
    if first == "network" and len(parts) == 2:
        return f"{question.platform.network[int(parts[0])].link.replace('_', '-')} {last}"
    if first == ENGINE and parts[0] == "efficiency":
        return f"engine's {last} efficiency"
    return f"engine's {last}" if first == ENGINE else last if first in WORKLOAD else name


def _with_workload(question: Question, values: dict[str, Any]) -> Question:
    changed = question.with_workload(**{WORKLOAD[name]: value for name, value in values.items()})
    changed.workload.check_counts()
    for rule in rules(changed):
        rule.check()
    return changed


def _check_power(chip: Chip) -> None:
    """Idle power is below the limit, as in every file of a chip: no formula holds beyond."""
    power = chip.power
    if any(isinstance(value, Dual) for value in (power.tdp, power.idle)):
        return
    try:
        PowerSpec(tdp=power.tdp, idle=power.idle)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidValueError(f"chip.power: {problem}", field="chip.power", value=power.idle) from error
