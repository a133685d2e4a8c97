"""Why there is no plan, and the smallest changes after which there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genz.errors import GenZError
from genz.explore.planning.constraints import CONSTRAINTS


@dataclass(frozen=True)
class Relaxation:
    """One constraint that, changed alone, admits a deployment. `needed` is the least (SI; USD/h) that does, `limit` what was
    asked for, `option` the deployment in words.
    """  # fmt: skip

    constraint: str
    limit: float
    needed: float
    option: str

    @property
    def ratio(self) -> float:
        """How many times the limit is needed."""
        return self.needed / self.limit

    def __str__(self) -> str:
        known = CONSTRAINTS[self.constraint]
        return f"{known.title} of {known.at_least(self.needed)} instead of {known.shown(self.limit)}: {self.option}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"constraint": self.constraint, "limit": self.limit, "needed": self.needed, "option": self.option}


class NoPlanError(GenZError):
    """No deployment serves the load within all objectives and limits.

    Attributes: `relaxations`, single changes that each admit one, the smallest first: the first names the binding
    constraint; `together`, where none does alone: values that do all at once.
    """

    exit_code = 3

    def __init__(
        self, message: str, *, relaxations: Sequence[Relaxation] = (), together: Sequence[Relaxation] = (), **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.relaxations = tuple(relaxations)
        self.together = tuple(together)

    @property
    def binding(self) -> str | None:
        """The constraint whose smallest relaxation is the smallest of all."""
        return self.relaxations[0].constraint if self.relaxations else None

    def __str__(self) -> str:
        lines = [super().__str__()]
        if self.relaxations:
            lines += ["each of these alone would do:", *(f"  {relaxation}" for relaxation in self.relaxations)]
        elif self.together:
            lines += ["no single change would do; these together would:", *(f"  {change}" for change in self.together)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "binding": self.binding,
            "relaxations": [relaxation.to_dict() for relaxation in self.relaxations],
            "together": [relaxation.to_dict() for relaxation in self.together],
        }
