"""Why nothing serves the load: the smallest change of each constraint, alone, that admits a deployment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from genz.explore.planning.asked import Asked
from genz.explore.planning.constraints import CONSTRAINTS, DEVICES
from genz.explore.planning.deployments import Deployment, all_points_of, deployments, option_at
from genz.explore.planning.errors import NoPlanError, Relaxation
from genz.explore.planning.points import Points, feasible
from genz.explore.planning.space import Space, build_space


@dataclass
class _Best:
    """The least value found so far, and where."""

    value: float = math.inf
    deployment: Deployment | None = None
    points: Points | None = None
    index: int = 0

    def offer(self, values: np.ndarray, counted: np.ndarray, deployment: Deployment, points: Points) -> None:
        offered = np.where(counted, values, np.inf)
        index = int(np.argmin(offered))
        if offered.flat[index] < self.value:
            self.value, self.deployment, self.points, self.index = float(offered.flat[index]), deployment, points, index

    def words(self, asked: Asked) -> str:
        """The deployment in a line."""
        if self.deployment is None or self.points is None:
            return ""
        return option_at(asked, self.deployment, self.points, self.index).description


def no_plan(asked: Asked, searched: Space) -> NoPlanError:
    """The error for a search that found nothing.

    Every deployment is looked at once more at every batch, also those of more devices than the budget has, as the budget
    may be what is relaxed. What is needed of each figure is the least value that a deployment has which meets all other
    constraints: exact, as it comes from the same points.
    """
    unbounded = replace(asked, constraints={n: v for n, v in asked.constraints.items() if n != DEVICES.figure})
    space = build_space(unbounded) if DEVICES.figure in asked.constraints else searched
    singles = {name: _Best() for name in asked.constraints}
    together = _Best()
    everything = ((found, points) for found in deployments(asked, space) for points in all_points_of(asked, found))
    for deployment, points in everything:
        for name, best in singles.items():
            best.offer(points[name], feasible(points, asked.constraints, without=name), deployment, points)
        if asked.constraints:
            worst = np.maximum.reduce([points[name] / limit for name, limit in asked.constraints.items()])
            together.offer(worst, feasible(points, {}), deployment, points)
    relaxations = [
        Relaxation(name, asked.constraints[name], best.value, best.words(asked))
        for name, best in singles.items()
        if math.isfinite(best.value)
    ]
    relaxations.sort(key=lambda relaxation: relaxation.ratio)
    return _error(asked, space, relaxations, _jointly(asked, together))


def _jointly(asked: Asked, best: _Best) -> list[Relaxation]:
    """All limits that the deployment nearest to meeting them exceeds."""
    if best.points is None:
        return []
    words = best.words(asked)
    values = {name: float(best.points[name].flat[best.index]) for name in asked.constraints}
    return [Relaxation(name, limit, values[name], words) for name, limit in asked.constraints.items() if values[name] > limit]


def _error(asked: Asked, space: Space, relaxations: list[Relaxation], together: list[Relaxation]) -> NoPlanError:
    names = ", ".join(candidate.name for candidate in asked.candidates)
    if not any(family.replicas for family in space.families):
        bound = max(family.bound for family in space.families)
        return NoPlanError(
            f"{asked.model.name} fits on no replica of up to {bound} devices of {names}",
            field="platforms",
            value=names,
            allowed="devices with more memory, more of them (max_devices_per_replica), or narrower weights (precisions)",
        )
    binding = CONSTRAINTS[relaxations[0].constraint].argument if relaxations else None
    reason = f"; the binding constraint is {binding}" if binding else ""
    return NoPlanError(
        f"nothing serves {asked.load} of {asked.model.name} on {names} within all constraints{reason}",
        relaxations=relaxations,
        together=together,
        field=binding,
        value=relaxations[0].limit if relaxations else None,
    )
