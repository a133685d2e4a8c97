"""How much each metric moves when a figure does: elasticities by exact differentiation, and what a finite change does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from genz.dual import Dual, derivative_of, value_of
from genz.errors import InvalidValueError, shown
from genz.explore.changes.parameters import WORKLOAD, Parameter, parameter, usual_parameters
from genz.explore.changes.what_if import EQUAL, Asking, WhatIf, grown_by, what_if
from genz.inference.metrics import Metric, metric
from genz.inference.predict import answer
from genz.inference.prediction import Prediction
from genz.inference.prices import settle_prices
from genz.inference.question import Question, settle_question
from genz.specs.hardware import Chip, Platform
from genz.specs.model import ModelSpec

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

USUAL_METRICS = ("ttft_s", "tpot_s", "output_tokens_per_s", "energy_j_per_output_token", "usd_per_million_output_tokens")
DEFAULT_CHANGE = 0.1


@dataclass(frozen=True)
class Elasticity:
    """How a metric m answers to a parameter p: d log m / d log p below (`left`) and above the point (`right`).

    For a whole number they are the slopes to its neighbours, log(m'/m) / log(p'/p). None where the parameter cannot go. `below`
    and `above` tell by how much of itself the metric jumps at once on that side: 0 but where something steps. `down` and
    `up` are its changes where the parameter falls and grows by the share that was asked for, None without an answer.
    """

    metric: Metric
    parameter: Parameter
    left: float | None
    right: float | None
    below: float
    above: float
    down: float | None
    up: float | None

    @property
    def is_kink(self) -> bool:
        """Whether the slope differs between both sides of a figure that is no whole number."""
        if self.parameter.is_count or self.left is None or self.right is None:
            return False
        return not math.isclose(self.left, self.right, rel_tol=EQUAL, abs_tol=EQUAL)

    @property
    def steps(self) -> str:
        """Where the metric jumps: "below", "above", "both", or nowhere."""
        sides = [name for name, jump in (("below", self.below), ("above", self.above)) if jump]
        return "both" if len(sides) == 2 else "".join(sides)

    @property
    def is_zero(self) -> bool:
        """Whether the metric does not react, here and as far as was asked for."""
        return not any((self.left, self.right, self.below, self.above, self.down, self.up))


@dataclass(frozen=True)
class Sensitivity:
    """Elasticities of metrics over parameters at one question. Printed, it is a page."""

    base: Prediction
    asking: Asking
    by: float
    elasticities: tuple[Elasticity, ...]
    grown: Mapping[str, WhatIf | None] = field(repr=False)

    @property
    def question(self) -> Question:
        return self.base.question

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What was varied: figures of the machine before those of the request, what moves most first."""
        found = {one.parameter.name: one.parameter for one in self.elasticities}
        return tuple(sorted(found.values(), key=lambda varied: (varied.name in WORKLOAD, -self._weight(varied))))

    def _weight(self, varied: Parameter) -> float:
        of_it = (one for one in self.elasticities if one.parameter.name == varied.name)
        return max(abs(slope or 0.0) for one in of_it for slope in (one.left, one.right, one.up))

    @cached_property
    def unmoved(self) -> tuple[Parameter, ...]:
        """Parameters that no metric reacts to, neither here nor when they double or halve."""
        still = {one.name: one for one in self.parameters}
        for one in self.elasticities:
            if not one.is_zero:
                still.pop(one.parameter.name, None)
        return tuple(one for one in still.values() if not self._reacts_further(one))

    def _reacts_further(self, varied: Parameter) -> bool:
        changes = [grown_by(self.asking, self.base, varied, factor) for factor in (0.5, 2.0)]
        return any(change is not None and change.changes_anything for change in changes)

    def of(self, metric_name: str, parameter_name: str) -> Elasticity:
        """One elasticity. Raises `InvalidValueError` for what was not asked for."""
        for one in self.elasticities:
            if (one.metric.name, one.parameter.name) == (metric_name, parameter_name):
                return one
        names = ", ".join([*(one.name for one in self.asking.metrics), *(one.name for one in self.parameters)])
        problem = f"{metric_name} over {parameter_name} was not asked for"
        raise InvalidValueError(problem, field="parameter", value=parameter_name, allowed=names)

    def what_if(self, path: str, factor: float) -> WhatIf:
        """What happens when a parameter is multiplied by a factor, computed anew at the changed figure.

        A whole number moves to the nearest one. Raises `UnknownNameError`, and `InvalidValueError` for a factor or a figure
        that cannot be.
        """
        is_number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not is_number or not math.isfinite(factor) or factor <= 0 or factor == 1:
            raise InvalidValueError(
                f"factor: {shown(factor)} is not allowed", field="factor", value=factor, allowed="above 0, and not 1"
            )
        varied = parameter(self.question, path)
        return what_if(self.asking, self.base, varied, varied.grown(self.question, factor))

    def to_frame(self) -> pd.DataFrame:
        """One row a metric and parameter, in SI units; empty where there is no answer."""
        import pandas as pd

        return pd.DataFrame([self._row(one) for one in self.elasticities])

    def _row(self, one: Elasticity) -> dict[str, Any]:
        grown = self.grown[one.parameter.name]
        bounds = None if grown is None or grown.after is None else grown.after.bound
        return {
            "metric": one.metric.name,
            "parameter": one.parameter.name,
            "title": one.parameter.title,
            "value": one.parameter.value,
            "unit": one.parameter.unit,
            "elasticity_left": one.left,
            "elasticity_right": one.right,
            "kink": one.is_kink,
            "steps": one.steps,
            f"change_at_{-100 * self.by:+.3g}%": one.down,
            f"change_at_{100 * self.by:+.3g}%": one.up,
            "bound_after": None
            if bounds is None
            else ", ".join(f"{phase} {bound}" for phase, bound in bounds.items() if bound),
        }

    def to_dict(self) -> dict[str, Any]:
        """The elasticities and where they hold, ready for JSON."""
        question = self.question
        return {
            "model": question.model.name,
            "platform": question.platform.name,
            "fidelity": question.fidelity,
            "metrics": {one.name: one.of(self.base.outcome, self.base.prices) for one in self.asking.metrics},
            "bound": self.base.bound,
            "change": self.by,
            "elasticities": [self._row(one) for one in self.elasticities],
            "unmoved": [one.name for one in self.unmoved],
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def plot(self) -> go.Figure:
        """A tornado of the metrics' changes. Needs Plotly."""
        from genz.plots import tornado

        return tornado(self)

    def __str__(self) -> str:
        from genz.explore.changes.report import page

        return page(self)


def sensitivity(
    model: str | ModelSpec,
    platform: str | Platform | Chip,
    *,
    metrics: str | Iterable[str] | None = None,
    parameters: str | Iterable[str] | None = None,
    by: float = DEFAULT_CHANGE,
    price: str | float | None = None,
    energy_price: str | float | None = None,
    carbon_intensity: str | float | None = None,
    **asked: Any,
) -> Sensitivity:
    """Elasticities e = d log(metric) / d log(parameter) of a deployment: by e per cent for each per cent of the parameter.

    Derivatives are exact: dual numbers go through the formulas of the prediction, at every fidelity, once for each side, so
    that at a kink, where what limits the time changes, both one-sided slopes stand. Whole numbers (batch, tokens) are
    compared with their neighbours instead.

    Args:
        model, platform, **asked: as for `genz.predict`, prices included.
        metrics: names of `genz.inference.metrics`; times, throughput, energy and cost unless told.
        parameters: dotted paths into the platform ("chip.memory.hbm.bandwidth", "network.0.latency"), into the engine
            ("engine.overheads.kernel_gap"), or "batch", "input", "output"; "chip.matrix_flops" is the rates of all types
            together. The usual ones unless told.
        by: share by which each parameter is also grown and shrunk, computed anew.

    Raises:
        UnknownNameError: a metric or parameter that does not exist, with the nearest.
        InvalidValueError: a parameter that is no figure or is zero; a metric that has no value here.
        DoesNotFitError: the memory is exceeded; and all that `genz.predict` raises.
    """
    names = [metrics] if isinstance(metrics, str) else None if metrics is None else list(metrics)
    varied = [parameters] if isinstance(parameters, str) else None if parameters is None else list(parameters)
    question = settle_question(model, platform, **asked)
    return sensitivity_of(question, metrics=names, parameters=varied, by=by, stated=(price, energy_price, carbon_intensity))


def sensitivity_of(
    question: Question,
    *,
    metrics: Iterable[str] | None = None,
    parameters: Iterable[str] | None = None,
    by: float = DEFAULT_CHANGE,
    stated: tuple[Any, Any, Any] = (None, None, None),
) -> Sensitivity:
    """`sensitivity` of a settled question; `stated` are the price of a device, of energy, and the carbon intensity."""
    is_number = isinstance(by, (int, float)) and not isinstance(by, bool)
    if not is_number or not 0 < by < 1:
        raise InvalidValueError(f"by: {shown(by)} is not allowed", field="by", value=by, allowed="a share between 0 and 1")
    named = [metric(name) for name in (USUAL_METRICS if metrics is None else metrics)]
    base = answer(question, prices=settle_prices(question.platform, *stated))
    asking = Asking(_valued(named, base, is_default=metrics is None), stated)
    varied = usual_parameters(question) if parameters is None else [parameter(question, name) for name in parameters]
    unique = {one.name: one for one in varied}.values()
    if not asking.metrics or not unique:
        missing = "parameters" if asking.metrics else "metrics"
        raise InvalidValueError(f"{missing}: none is asked for", field=missing, allowed="at least one")
    grown = {one.name: grown_by(asking, base, one, 1 + by) for one in unique}
    found = [elasticity for one in unique for elasticity in _elasticities(asking, base, one, by, grown[one.name])]
    order = {one.name: index for index, one in enumerate(asking.metrics)}
    return Sensitivity(base, asking, by, tuple(sorted(found, key=lambda e: order[e.metric.name])), grown)


def _valued(named: list[Metric], base: Prediction, *, is_default: bool) -> tuple[Metric, ...]:
    """The metrics that have a value; one that was asked for by name must have it."""
    found = []
    for one in dict.fromkeys(named):
        value = one.of(base.outcome, base.prices)
        if value is not None and math.isfinite(value) and value:
            found.append(one)
        elif not is_default:
            why = (
                "no price is known: give price, energy_price or carbon_intensity"
                if value is None
                else "it is not positive here"
            )
            raise InvalidValueError(f"{one.name} has no elasticity, as {why}", field="metrics", value=one.name)
    return tuple(found)


def _elasticities(asking: Asking, base: Prediction, varied: Parameter, by: float, grown: WhatIf | None) -> Iterable[Elasticity]:
    shrunk = grown_by(asking, base, varied, 1 - by)
    left, right = ((_neighbour if varied.is_count else _side)(asking, base, varied, sign) for sign in (-1, 1))
    for asked in asking.metrics:
        below, above = (None if side is None else side[asked.name] for side in (left, right))
        yield Elasticity(
            asked,
            varied,
            left=None if below is None else below[0],
            right=None if above is None else above[0],
            below=0.0 if below is None else below[1],
            above=0.0 if above is None else above[1],
            down=None if shrunk is None else shrunk.change(asked),
            up=None if grown is None else grown.change(asked),
        )


_Slopes = dict[str, tuple[float, float] | None]


def _side(asking: Asking, base: Prediction, varied: Parameter, sign: int) -> _Slopes | None:
    """Slope and jump of each metric just beside the point; None where the parameter cannot go there."""
    question = base.question
    try:
        varied.scaled(question, 1 + sign * EQUAL)
    except InvalidValueError:
        return None
    beside: Any = Dual(1.0, sign)
    _, values = asking.values(varied.scaled(question, beside))
    return {asked.name: _slope(asked.of(base.outcome, base.prices), values[asked.name], sign) for asked in asking.metrics}


def _slope(here: float | None, beside: Any, sign: int) -> tuple[float, float] | None:
    if not here:
        return None
    jump = value_of(beside) / here - 1
    return sign * derivative_of(beside) / value_of(beside), jump if abs(jump) > EQUAL else 0.0


def _neighbour(asking: Asking, base: Prediction, varied: Parameter, sign: int) -> _Slopes | None:
    """Slope of each metric to the next whole number; None where there is no such, or it does not fit."""
    count = int(varied.value)
    try:
        outcome, values = asking.values(varied.at(base.question, count + sign))
    except InvalidValueError:
        return None
    if not outcome.memory.fits:
        return None
    width = math.log((count + sign) / count)
    found: _Slopes = {}
    for asked in asking.metrics:
        here, there = asked.of(base.outcome, base.prices), values[asked.name]
        found[asked.name] = (math.log(there / here) / width, 0.0) if here and math.isfinite(there) else None
    return found
