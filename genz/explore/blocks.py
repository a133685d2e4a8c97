"""Pricing one block of a design space: an open mesh of arrays through the formulas, and a table out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import GenZError, InvalidValueError
from genz.explore.axes import Axis, Kind
from genz.explore.figures import disagreements, expand, is_ruled, value_at
from genz.explore.mesh import Block
from genz.explore.space import Space, Structure
from genz.footprint import Memory
from genz.inference.evaluate import Outcome, evaluate, memory_of
from genz.inference.metrics import METRICS
from genz.inference.phase import BOUNDS, PhaseCost
from genz.inference.prices import NO_PRICES, Prices, settle_prices
from genz.inference.question import Question, rules
from genz.inference.requests import settle_requests
from genz.numerics import Number
from genz.specs.binding import bind

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, np.dtype[Any]]
MISFIT = "does not fit"
PHASES = ("prefill", "decode")
# What is known of a row that does not fit, too.
OF_MEMORY = ("memory_total_bytes", "memory_budget_bytes")


@dataclass(frozen=True)
class Refusal:
    """Rows that cannot be, as a mask that broadcasts over the block, and why."""

    where: Any
    why: str


@dataclass(frozen=True)
class Priced:
    """A block: what refuses rows of it, its memory where a row is sound, and its outcome where one fits."""

    refusals: tuple[Refusal, ...]
    memory: Memory | None = None
    outcome: Outcome | None = None
    prices: Prices = NO_PRICES

    def metric(self, name: str) -> Any:
        """A figure of the rows, or None where there is none."""
        if self.outcome is not None:
            return METRICS[name].of(self.outcome, self.prices)
        return None if self.memory is None or name not in OF_MEMORY else getattr(self.memory, name.removeprefix("memory_"))


class Pricer:
    """Prices the blocks of a space one after the other; a structure is settled once for all of its blocks in a row."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._last: tuple[tuple[int, ...], Structure | GenZError] | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """Names, types and units of the columns."""
        import pyarrow as pa

        labels = pa.dictionary(pa.int32(), pa.string())
        fields = [
            pa.field(a.name, _type(a, labels), False, {"axis": a.target, "unit": a.unit}) for a in self.space.study.varying
        ]
        fields += [pa.field("feasible", pa.bool_(), False), pa.field("why", labels, False)]
        of_metrics = [METRICS[name] for name in self.space.study.metrics]
        fields += [pa.field(m.name, pa.float64(), False, {"title": m.title, "unit": m.unit}) for m in of_metrics]
        fields += [pa.field(f"{phase}_bound", labels, True) for phase in PHASES]
        return pa.schema(fields)

    def table(self, block: Block) -> pa.Table:
        """The rows of a block that meet the conditions, priced."""
        import pyarrow as pa

        numbers = self._numbers(block)
        kept = self._kept(block, numbers)
        if kept is not None and not kept.any():
            return self.schema.empty_table()
        # Rows that are refused may divide by zero on their way; they show no figure.
        with np.errstate(all="ignore"):
            columns = self._columns(block, numbers, self._priced(block, numbers))
        if kept is not None and not kept.all():
            columns = [column[kept] if isinstance(column, np.ndarray) else column.select(kept) for column in columns]
        return pa.Table.from_arrays(
            [_arrow(column, field) for column, field in zip(columns, self.schema, strict=True)], schema=self.schema
        )

    def _numbers(self, block: Block) -> dict[str, Array]:
        """The values of each numeric axis in this block, along the dimension of its own."""
        found: dict[str, Array] = {}
        for index, (dimension, part) in enumerate(zip(self.space.mesh.numeric, block.slices, strict=True)):
            shape = [1] * len(block.slices)
            shape[index] = -1
            found |= {axis.target: axis.array[part].reshape(shape) for axis in dimension.axes}
        return found

    def _kept(self, block: Block, numbers: Mapping[str, Array]) -> Array | None:
        """Which rows meet all conditions; None where there are none."""
        conditions = self.space.study.where
        if not conditions:
            return None
        known: dict[str, Any] = {t: axis.labels[i] for t, (axis, i) in self.space.chosen(block.positions).items()}
        known |= numbers
        met: Any = np.True_
        for condition in conditions:
            met = np.logical_and(met, condition.holds(known))
        return np.broadcast_to(met, block.shape).reshape(-1)

    def _structure(self, positions: tuple[int, ...]) -> Structure:
        if self._last is None or self._last[0] != positions:
            found: Structure | GenZError
            try:
                found = self.space.structure(positions)
            except GenZError as error:
                found = error
            self._last = positions, found
        if isinstance(self._last[1], GenZError):
            raise self._last[1]
        return self._last[1]

    def _priced(self, block: Block, numbers: Mapping[str, Array]) -> Priced:
        try:
            structure = self._structure(block.positions)
            known: dict[str, Number] = {**structure.numbers, **numbers}  # type: ignore[dict-item]
            question, disagreeing = self._asked(structure, known)
            refused = (*disagreeing, *(Refusal(np.logical_not(r.holds), r.reason) for r in rules(question)))
            sound = _apart_from(refused)
            if not np.any(sound):
                return Priced(refused)
            memory = memory_of(question)
            if not np.any(np.logical_and(sound, memory.fits)):
                return Priced(refused, memory)
            return Priced(refused, memory, evaluate(question, memory), _prices(question, known))
        except GenZError as error:
            return Priced((Refusal(np.True_, error.message),))

    def _asked(self, structure: Structure, known: Mapping[str, Number]) -> tuple[Question, list[Refusal]]:
        """The question with the numbers of a block, and the figures among them that contradict each other."""
        numbers = {name: known[name] for name in ("input", "output", "batch", "beams", "cached") if name in known}
        _, workload = settle_requests(structure.model, structure.case, **numbers, **structure.media)  # type: ignore[arg-type]
        question = replace(structure.question, workload=workload)
        if "gpu_memory_utilization" in known:
            question = replace(question, utilization=known["gpu_memory_utilization"])
        figures = [a for a in self.space.study.axes if a.kind is Kind.FIGURE]
        platform = _bindings(question.platform, "platform", figures, known)
        engine = _bindings(question.engine, "engine", figures, known)
        refusals = [*_contradictions(question.platform, platform), *_contradictions(question.engine, engine)]
        if platform:
            question = question.on(bind(question.platform, platform))
        return (replace(question, engine=bind(question.engine, engine)) if engine else question), refusals

    def _columns(self, block: Block, numbers: Mapping[str, Array], priced: Priced) -> list[Array | Labels]:
        shape, study = block.shape, self.space.study
        chosen = self.space.chosen(block.positions)
        columns = [
            _spread(numbers[a.target], shape) if a.target in numbers else _constant(a, chosen[a.target][1], block.rows)
            for a in study.varying
        ]
        refusals = list(priced.refusals)
        sound = _apart_from(refusals)
        if priced.memory is not None:
            refusals.append(Refusal(np.logical_not(priced.memory.fits), MISFIT))
        codes = np.zeros(shape, dtype=np.int32)
        for index, refusal in reversed([*enumerate(refusals, start=1)]):
            if np.any(refusal.where):
                codes[np.broadcast_to(refusal.where, shape)] = index
        feasible = (codes == 0).reshape(-1)
        columns += [feasible, Labels(codes.reshape(-1), ("", *(refusal.why for refusal in refusals)))]
        for name in study.metrics:
            shown = _spread(sound, shape) if name in OF_MEMORY else feasible
            columns.append(_figures(priced.metric(name), shape, shown))
        columns += [_bounds(priced.outcome, phase, shape, feasible) for phase in PHASES]
        return columns


@dataclass(frozen=True)
class Labels:
    """A column of texts: which of the names each row has, and where it has one."""

    codes: Array
    names: tuple[str, ...]
    there: Array | None = None

    def select(self, kept: Array) -> Labels:
        return Labels(self.codes[kept], self.names, None if self.there is None else self.there[kept])


def _bounds(outcome: Outcome | None, phase: str, shape: tuple[int, ...], feasible: Array) -> Labels:
    """What a phase waits for, in the rows that are feasible."""
    if outcome is None:
        return Labels(np.zeros(feasible.size, dtype=np.int32), BOUNDS, feasible)
    cost: PhaseCost = getattr(outcome, phase)
    there = feasible
    if phase == "decode":  # one output token is made by prefill alone
        there = there & _spread(np.asarray(outcome.question.workload.output_tokens) > 1, shape)
    return Labels(_spread(np.asarray(cost.bound, dtype=np.int32), shape), BOUNDS, there)


def _apart_from(refusals: Sequence[Refusal]) -> Any:
    """Where no refusal holds."""
    sound: Any = np.True_
    for refusal in refusals:
        sound = np.logical_and(sound, np.logical_not(refusal.where))
    return sound


def _bindings(spec: Any, root: str, figures: list[Axis], known: Mapping[str, Number]) -> dict[str, Number]:
    """{path: figure} of the axes that set figures of a specification."""
    found: dict[str, Number] = {}
    for axis in figures:
        head, _, path = axis.target.partition(".")
        if head != root:
            continue
        for concrete in expand(spec, path, name=axis.name):
            value = known[axis.target]
            if axis.relative:
                present = value_at(spec, concrete)
                if present is None:
                    raise InvalidValueError(f"{axis.name}: there is no figure to multiply", field=axis.name, value=None)
                value = value * present
            found[concrete] = value
    return found


def _contradictions(spec: Any, bindings: Mapping[str, Number]) -> list[Refusal]:
    """Where figures that are set, each sound by itself, do not go together with others of the same part."""
    found = []
    by_parent: dict[str, list[str]] = {}
    for path in bindings:
        by_parent.setdefault(path.rpartition(".")[0], []).append(path)
    for parent, names in by_parent.items():
        if not is_ruled(spec, parent):
            continue
        values = np.broadcast_arrays(*(bindings[name] for name in names))
        keys = [name.rpartition(".")[2] for name in names]
        told = [
            disagreements(spec, parent, dict(zip(keys, map(float, row), strict=True)))
            for row in zip(*(value.ravel() for value in values), strict=True)
        ]
        for reason in dict.fromkeys(reason for reason in told if reason is not None):
            found.append(Refusal(np.array([said == reason for said in told]).reshape(values[0].shape), f"{parent}: {reason}"))
    return found


def _prices(question: Question, known: Mapping[str, Number]) -> Prices:
    stated = settle_prices(question.platform)
    given = {"device": "price", "energy": "energy_price", "carbon": "carbon_intensity"}
    return replace(stated, **{field: known[target] for field, target in given.items() if target in known})


def _spread(value: Any, shape: tuple[int, ...]) -> Array:
    """A value for every row of a block, in the order of its rows."""
    return np.ascontiguousarray(np.broadcast_to(value, shape)).reshape(-1)


def _figures(value: Any, shape: tuple[int, ...], shown: Array) -> Array:
    """A metric for every row; not a number where it has none."""
    column = np.empty(shape)
    column[...] = np.nan if value is None else value
    column = column.reshape(-1)
    if not shown.all():
        column[~shown] = np.nan
    return column


def _constant(axis: Axis, position: int, rows: int) -> Array | Labels:
    label = axis.labels[position]
    if _is_named(axis):
        names = tuple(dict.fromkeys(map(str, axis.labels)))
        return Labels(np.full(rows, names.index(str(label)), dtype=np.int32), names)
    return np.full(rows, label)


def _is_named(axis: Axis) -> bool:
    """Whether its column holds texts: unless all values are truth values, or all are numbers."""
    kinds = {type(label) for label in axis.labels}
    return not (kinds == {bool} or kinds <= {int, float})


def _type(axis: Axis, labels: Any) -> Any:
    import pyarrow as pa

    if _is_named(axis):
        return labels
    kinds = {type(label) for label in axis.labels}
    return pa.bool_() if kinds == {bool} else pa.int64() if kinds == {int} else pa.float64()


def _arrow(column: Array | Labels, field: pa.Field) -> pa.Array:
    import pyarrow as pa

    if isinstance(column, Labels):
        codes = pa.array(column.codes, mask=None if column.there is None else ~column.there)
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.names, pa.string()))
    return pa.array(column if pa.types.is_boolean(field.type) else column.astype(field.type.to_pandas_dtype(), copy=False))
