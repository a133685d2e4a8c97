"""What a change of one figure does: the answers before and after, computed anew, and the sentence that says so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from genz.errors import InvalidValueError
from genz.explore.changes.parameters import Parameter, parameter
from genz.inference.evaluate import Outcome, evaluate
from genz.inference.metrics import Metric
from genz.inference.prediction import Prediction
from genz.inference.prices import Prices, settle_prices
from genz.inference.question import Question
from genz.specs.hardware import Platform

# Names that people say instead of a title, where only ratios count.
SHORT = {
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "e2e_s": "E2E",
    "energy_j_per_output_token": "energy per token",
    "usd_per_million_output_tokens": "cost per token",
    "carbon_g_per_million_output_tokens": "carbon per token",
}
# What differs by less is equal but for rounding.
EQUAL = 1e-9


@dataclass(frozen=True)
class Asking:
    """How a question is answered: its metrics, and the prices that people stated."""

    metrics: tuple[Metric, ...]
    stated: tuple[Any, Any, Any] = (None, None, None)

    def prices(self, platform: Platform) -> Prices:
        return settle_prices(platform, *self.stated)

    def values(self, question: Question) -> tuple[Outcome, dict[str, Any]]:
        """The outcome of a question, and its metrics by name."""
        outcome = evaluate(question)
        prices = self.prices(question.platform)
        return outcome, {asked.name: asked.of(outcome, prices) for asked in self.metrics}


@dataclass(frozen=True)
class WhatIf:
    """What happens when one parameter is changed: the answers before and after; no answer after where it does not fit."""

    parameter: Parameter
    before: Prediction
    after: Prediction | None
    metrics: tuple[Metric, ...]
    factor: float

    def change(self, asked: Metric) -> float | None:
        """By how much of itself a metric grows; None where there is no answer."""
        if self.after is None:
            return None
        old, new = (asked.of(answer.outcome, answer.prices) for answer in (self.before, self.after))
        return None if old is None or new is None or not math.isfinite(new) else new / old - 1

    @property
    def changes_anything(self) -> bool:
        """Whether a metric moves, or it no longer fits."""
        return self.after is None or any(abs(self.change(asked) or 0.0) > EQUAL for asked in self.metrics)

    @property
    def moved_bounds(self) -> dict[str, tuple[str, str]]:
        """The phases that wait for something else afterwards: what before, what now."""
        if self.after is None:
            return {}
        pairs = {phase: (bound, self.after.bound[phase]) for phase, bound in self.before.bound.items()}
        return {phase: (old, new) for phase, (old, new) in pairs.items() if old and new and old != new}

    def __str__(self) -> str:
        direction = "grows" if self.factor > 1 else "falls"
        condition = f"If {self.parameter.title} {direction} by {_percent(abs(self.factor - 1))}"
        if self.after is None:
            return f"{condition}, the model and its cache no longer fit."
        said = [_said(asked, self.change(asked)) for asked in self.metrics]
        moved = [text for text in said if text]
        moves = [f"the bound of {phase} moves from {old} to {new}" for phase, (old, new) in self.moved_bounds.items()]
        return f"{condition}, {_listed([*moved, *moves]) or 'nothing that was asked for changes'}."


def grown_by(asking: Asking, base: Prediction, varied: Parameter, factor: float) -> WhatIf | None:
    """What happens at a factor of the parameter, None where it cannot be."""
    try:
        changed = varied.grown(base.question, factor)
    except InvalidValueError:
        return None
    return what_if(asking, base, varied, changed)


def what_if(asking: Asking, base: Prediction, varied: Parameter, changed: Question) -> WhatIf:
    """The answers before and after a parameter was changed."""
    outcome, _ = asking.values(changed)
    after = Prediction(outcome, asking.prices(changed.platform), base.slo) if outcome.memory.fits else None
    moved = parameter(changed, varied.name)
    return WhatIf(varied, base, after, asking.metrics, moved.value / varied.value)


def _said(asked: Metric, change: float | None) -> str:
    """A change in words; nothing where there is none to speak of."""
    if change is None or abs(change) < EQUAL:
        return ""
    name = SHORT.get(asked.name, asked.title)
    return f"{name} {'grows' if change > 0 else 'falls'} by {_percent(abs(change))}"


def _percent(share: float) -> str:
    """A share in per cent, three digits at most, none of them for show."""
    return f"{100 * share:.3g} %" if share >= 1e-4 else "less than 0.01 %"


def _listed(parts: list[str]) -> str:
    """Phrases with commas, and 'and' before the last."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1] if parts else ""
