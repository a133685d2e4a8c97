"""One requirement as a problem: a question, the times that it must keep, and what is known of the machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genz.errors import InvalidValueError
from genz.explore.requirements.base import with_figures
from genz.explore.requirements.figures import FIGURES, LINK, TIMED, UNLIMITED, Figures
from genz.explore.requirements.search import Array, least
from genz.inference.evaluate import Outcome, evaluate
from genz.inference.metrics import METRICS
from genz.inference.prices import NO_PRICES
from genz.inference.question import Question
from genz.numerics import Number
from genz.units import format_si

METRIC_OF = {"ttft": "ttft_s", "tpot": "tpot_s"}
SLOWEST, FASTEST = 1e-3, UNLIMITED  # [FLOP/s] or [B/s]
LONGEST_LATENCY, SHORTEST_LATENCY = 1e9, 1e-18  # [s]


class ImpossibleSLOError(InvalidValueError):
    """No machine meets the objective with what is given. `least` [s] is what the time cannot fall below."""

    def __init__(self, message: str, *, least: float, **details: str | float | None) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]
        self.least = least


@dataclass(frozen=True)
class Problem:
    """A question on the machine that a requirement starts from, its goals [s], and what is known of the machine.

    `given` are the figures that were given, `kept` those that the base chip supplies. `networked` tells whether the
    devices exchange anything.
    """

    question: Question
    goals: Mapping[str, float]
    given: Mapping[str, float]
    kept: Mapping[str, float]
    networked: bool

    @property
    def known(self) -> dict[str, float]:
        """The figures that times depend on and that are not to be found."""
        return {name: value for name, value in {**self.kept, **self.given}.items() if name in TIMED}

    @property
    def data_type(self) -> str:
        """The format whose rate `flops` is."""
        return self.question.widths.matrix_type(quantised=True)

    @property
    def timed(self) -> tuple[str, ...]:
        """The figures that times depend on here."""
        return tuple(name for name in TIMED if self.networked or name not in LINK)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Those of them that are to be found."""
        return tuple(name for name in self.timed if name not in self.known)

    def limitless(self) -> Figures:
        """What is known, and the rest without limit."""
        return Figures(**self.known)

    def on(self, figures: Figures) -> Question:
        """The question on a machine of these figures."""
        return self.question.on(with_figures(self.question.platform, self.data_type, figures))

    def outcome(self, figures: Figures) -> Outcome:
        """What the question comes to on such a machine."""
        return evaluate(self.on(figures))

    def times(self, figures: Figures) -> dict[str, Number]:
        """The times that have goals [s]."""
        outcome = self.outcome(figures)
        return {name: METRICS[METRIC_OF[name]].of(outcome, NO_PRICES) for name in self.goals}  # type: ignore[misc]

    def meets(self, figures: Figures, goals: Mapping[str, float] | None = None) -> Array:
        """Whether machines of these figures keep all goals."""
        wanted = goals or self.goals
        truths = [np.asarray(time) <= wanted[name] for name, time in self.times(figures).items()]
        return np.asarray(np.logical_and.reduce(np.broadcast_arrays(*truths)))

    def least(self, name: str, figures: Figures, goals: Mapping[str, float] | None = None) -> float:
        """The least value of one figure, the others as they are, that keeps all goals; the longest, of a latency."""
        if name == "link_latency":
            low, high = 1 / LONGEST_LATENCY, 1 / SHORTEST_LATENCY
            return 1 / float(least(lambda values: self.meets(figures.but(link_latency=1 / values), goals), low, high))
        found = float(least(lambda values: self.meets(figures.but(**{name: values}), goals), SLOWEST, FASTEST))
        if not math.isfinite(found):
            raise InvalidValueError(
                f"slo: no {FIGURES[name].title} below {FIGURES[name].format(FASTEST)} meets it",
                field="slo",
                value=dict(self.goals),
                hint="ask for longer times",
            )
        return found

    def check_possible(self) -> dict[str, float]:
        """The times that remain where all that is not given is without limit [s]. Raises `ImpossibleSLOError`."""
        remaining = {name: float(time) for name, time in self.times(self.limitless()).items()}
        for name, time in remaining.items():
            goal = self.goals[name]
            if time > goal or (time == goal and self.unknown):
                raise self._impossible(name, time)
        return remaining

    def _impossible(self, name: str, time: float) -> ImpossibleSLOError:
        given = ", ".join(f"{FIGURES[key].title} {FIGURES[key].format(value)}" for key, value in self.known.items())
        fixed = "what its engine adds" if self.question.fidelity != "roofline" else ""
        reasons = " and ".join(part for part in (given, fixed) if part)
        causes = f" with {reasons}" if reasons else ""
        return ImpossibleSLOError(
            f"{name} = {format_si(self.goals[name], 's')} is out of reach{causes}, however fast all else is",
            least=time,
            field=f"slo.{name}",
            value=self.goals[name],
            allowed=f"{'at least' if not self.unknown else 'more than'} {format_si(time, 's', digits=6)}",
            hint="that is the smallest change of the objective; or leave a given figure open" if self.given else None,
        )
