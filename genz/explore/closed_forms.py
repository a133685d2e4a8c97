"""The closed forms behind a prediction: what its formulas say of symbols, at the roofline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import InvalidValueError, UnsupportedError, shown, unknown_name
from genz.explore.symbolic.boundaries import Boundary
from genz.explore.symbolic.expressions import compiled, in_latex, in_sympy
from genz.explore.symbolic.forms import ClosedForm, Forms, OperatorForm, forms_of
from genz.explore.symbolic.symbols import Meaning, check_names, meanings, put
from genz.inference.evaluate import memory_of
from genz.inference.limits import check_fits
from genz.inference.predict import answer
from genz.inference.prediction import Prediction
from genz.inference.question import Question, rules, settle_question
from genz.specs.hardware import Chip, Platform
from genz.specs.model import ModelSpec
from genz.specs.workload import check_count

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

FIDELITY = "roofline"
USUAL_SYMBOLS = ("batch", "context", "bandwidth", "flops")
COUNTED = ("batch", "context", "output")


@dataclass(frozen=True)
class Explanation:
    """The closed forms of one deployment. Printed, it is a page; in a notebook, equations.

    `symbols` are those that the forms hold, by name, each with its letter and the value that the question has in its place;
    `forms` the quantities and boundaries by name. Times are of the fullest replica, FLOPs and bytes of one device.
    """

    prediction: Prediction
    symbols: Mapping[str, Meaning]
    parts: Forms = field(repr=False)
    _known: dict[str, Callable[..., Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def question(self) -> Question:
        return self.prediction.question

    @cached_property
    def forms(self) -> dict[str, ClosedForm | Boundary]:
        """Everything that has a closed form, by name."""
        listed: list[ClosedForm | Boundary] = [*self.parts.quantities, *self.parts.boundaries]
        return {form.name: form for form in listed}

    @property
    def operators(self) -> tuple[OperatorForm, ...]:
        """The operators of prefill and of one decode step, each with FLOPs, bytes and time."""
        return self.parts.operators

    @property
    def unclosed(self) -> Mapping[str, str]:
        """What has no closed form here, and why."""
        return self.parts.unclosed

    def __getitem__(self, name: str) -> Any:
        """The SymPy expression of a form, none where it is found by bisection alone.

        Raises `UnknownNameError`, and `UnsupportedError` for what has no closed form for this model.
        """
        if name in self.unclosed:
            raise UnsupportedError(f"{name} has no closed form: {self.unclosed[name]}", field="form", value=name)
        if name not in self.forms:
            raise unknown_name("closed form", str(name), self.forms)
        return self.forms[name].expression

    def evaluate(self, **values: Any) -> dict[str, Any]:
        """The closed forms as numbers, by name: at the question's own values, or at others for its symbols.

        `batch` counts requests of the whole deployment; each value may be a number or an array, broadcast against the others.
        Times are those of `genz.evaluate` at the roofline. None for a boundary that is never reached. Raises
        `UnknownNameError` for a name that is no symbol here, `InvalidValueError` for a value that cannot be, and
        `DoesNotFitError` where the memory is exceeded; within arrays there are no times then, but NaN.
        """
        numbers = self._checked(values)
        arrays = np.broadcast_arrays(*numbers.values()) if numbers else []
        shape = arrays[0].shape if arrays else ()
        if not shape:
            return self._at(numbers, is_alone=True)
        points = zip(*(array.ravel().tolist() for array in arrays), strict=True)
        found = [self._at(dict(zip(numbers, point, strict=True)), is_alone=False) for point in points]
        return {name: _array([point[name] for point in found], shape) for name in found[0]}

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of all symbols, counts checked."""
        for name in values:
            if name not in self.symbols:
                hint = "ask for it: symbols=(...)" if name in meanings(self.question) else None
                raise unknown_name("symbol", str(name), self.symbols, hint=hint)
        found: dict[str, Any] = {}
        for name, meaning in self.symbols.items():
            value = values.get(name, self.question.workload.batch if name == "batch" else meaning.value)
            if name in COUNTED:
                check_count(value, name, least=1)
            elif not _is_positive(value):
                message = f"{name}: {shown(value)} is not allowed"
                raise InvalidValueError(message, field=name, value=value, allowed=f"a number above 0, in {meaning.unit}")
            found[name] = value
        return found

    def _at(self, numbers: dict[str, Any], *, is_alone: bool) -> dict[str, Any]:
        ranks = self.question.parallelism.data
        counts = {name: int(value) for name, value in numbers.items() if name in COUNTED}
        if "batch" in counts:
            counts["batch"] = -(-counts["batch"] // ranks)
        fits = self._fits(numbers, counts, is_alone=is_alone)
        points = {meaning.symbol: (numbers | counts)[name] for name, meaning in self.symbols.items()}
        found: dict[str, Any] = {}
        for form in self.parts.quantities:
            hidden = form.unit == "s" and not fits
            found[form.name] = float("nan") if hidden else self._function(form)(*points.values())
        for boundary in self.parts.boundaries:
            found[boundary.name] = boundary.at(points | {boundary.variable: 1})
        return found

    def _function(self, form: ClosedForm) -> Callable[..., Any]:
        if form.name not in self._known:
            self._known[form.name] = compiled(form.expression, [meaning.symbol for meaning in self.symbols.values()])
        return self._known[form.name]

    def _fits(self, numbers: dict[str, Any], counts: dict[str, int], *, is_alone: bool) -> bool:
        """Whether a point is a sound question that memory holds; one that stands alone must be."""
        asked = put(self.question, {**numbers, **counts}, meanings(self.question))
        if "batch" in numbers:
            asked = asked.with_workload(batch=int(numbers["batch"]))
        memory, broken = memory_of(asked), [rule for rule in rules(asked) if not rule.holds]
        if is_alone:
            for rule in broken:
                rule.check()
            check_fits(asked, memory)
        return bool(memory.fits) and not broken

    def to_frame(self) -> pd.DataFrame:
        """One row a closed form: its title, unit, expression and value at the question's own numbers."""
        import pandas as pd

        return pd.DataFrame([{"name": name, **row} for name, row in self.to_dict()["forms"].items()])

    def to_dict(self) -> dict[str, Any]:
        """Symbols, forms and operators, ready for JSON: expressions as SymPy reads them and in LaTeX."""
        values = self.evaluate()
        symbols = {
            name: {"letter": str(one.symbol), "title": one.title, "unit": one.unit, "value": one.value}
            for name, one in self.symbols.items()
        }
        return {
            "model": self.question.model.name,
            "platform": self.question.platform.name,
            "fidelity": FIDELITY,
            "symbols": symbols,
            "forms": {name: {**_described(form), "value": values[name]} for name, form in self.forms.items()},
            "operators": [
                {
                    "phase": one.phase,
                    "name": one.name,
                    "layer": one.layer,
                    "count": one.count,
                    "matrix_flops": in_sympy(one.matrix_flops),
                    "memory_bytes": in_sympy(one.memory_bytes),
                    "time_s": in_sympy(one.time),
                }
                for one in self.operators
            ],
            "unclosed": dict(self.unclosed),
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_latex(self) -> str:
        """The forms as an `align*` environment, one equation a line; times as sums over the operators."""
        from genz.explore.symbolic.report import latex

        return latex(self)

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def plot(self) -> go.Figure:
        """The roofline with every operator on it, at the question's own numbers. Needs Plotly."""
        from genz.plots import roofline

        return roofline(self.prediction)

    def __str__(self) -> str:
        from genz.explore.symbolic.report import page

        return page(self)


def explain(
    model: str | ModelSpec, platform: str | Platform | Chip, *, symbols: str | Iterable[str] = USUAL_SYMBOLS, **asked: Any
) -> Explanation:
    """The closed forms of a deployment at the roofline: parameters, FLOPs, bytes, arithmetic intensity, memory, time, and
    where one thing overtakes another.

    They are GenZ's formulas evaluated on symbols, and say what `genz.evaluate` says at `roofline` fidelity.

    Args:
        model, platform, **asked: as for `genz.settle_question`; their numbers stand where no symbol does.
        symbols: names of what is left open: "batch" (requests), "context" (tokens of the prompt), "output", "bandwidth" and
            "capacity" (of main memory), "flops" (matrix units), "vector_flops", "cache_bandwidth", "link_bandwidth",
            "link_latency" (of the innermost network dimension).

    Raises:
        UnknownNameError: a symbol that does not exist, or whose part the machine lacks.
        InvalidValueError: another fidelity than the roofline; and all that `genz.predict` raises.
        DoesNotFitError: the memory is exceeded.
    """
    if asked.setdefault("fidelity", FIDELITY) != FIDELITY:
        raise InvalidValueError(
            f"fidelity: {shown(asked['fidelity'])} has no closed forms",
            field="fidelity",
            value=asked["fidelity"],
            allowed=FIDELITY,
        )
    question = settle_question(model, platform, **asked)
    prediction = answer(question)
    known = meanings(question)
    names = tuple(dict.fromkeys((symbols,) if isinstance(symbols, str) else symbols))
    check_names(names, known)
    return Explanation(prediction, {name: known[name] for name in names}, forms_of(question, names, known))


def _described(form: ClosedForm | Boundary) -> dict[str, Any]:
    expression = form.expression
    return {
        "title": form.title,
        "unit": form.unit,
        "expression": None if expression is None else in_sympy(expression),
        "latex": None if expression is None else f"{form.latex} = {in_latex(expression)}",
    }


def _is_positive(value: Any) -> bool:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool) and bool(np.all(np.isfinite(array) & (array > 0)))


def _array(values: list[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.array([float("nan") if value is None else value for value in values]).reshape(shape)
