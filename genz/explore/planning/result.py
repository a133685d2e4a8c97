"""The result of a plan: ranked options, and the fronts of the space that they were chosen from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import unknown_name
from genz.explore.pareto import non_dominated
from genz.explore.planning.asked import Asked
from genz.explore.planning.constraints import CONSTRAINTS, DEVICES, POWER, RENT, TTFT
from genz.explore.planning.deployments import deployments, option_at, points_of
from genz.explore.planning.option import Option
from genz.explore.planning.points import feasible
from genz.explore.planning.space import Space

if TYPE_CHECKING:
    import pandas as pd

BUDGETS = (DEVICES.figure, RENT.figure, POWER.figure)


@dataclass(frozen=True)
class Front:
    """Two figures that are traded for each other: each with whether more of it is better."""

    title: str
    figures: tuple[tuple[str, bool], tuple[str, bool]]


FRONTS = {
    "interactivity": Front(
        "tokens/s/user against tokens/s/chip",
        (("output_tokens_per_s_per_user", True), ("output_tokens_per_s_per_device", True)),
    ),
    "cost": Front("cost against latency", (("e2e_s", False), ("usd_per_million_tokens", False))),
}


@dataclass(frozen=True)
class Plan:
    """Deployments that serve a load within objectives and budgets, the best first.

    `options` hold the best deployment of each replica layout, and of each layout of a decode pool. `space` tells what was
    searched. Printed, a plan is a page.
    """

    asked: Asked
    space: Space
    options: tuple[Option, ...]

    @property
    def best(self) -> Option:
        """The first option."""
        return self.options[0]

    @property
    def notes(self) -> list[str]:
        """How far the search went, what it passed over, and what the figures mean."""
        bounds = {family.candidate.name: family.bound for family in self.space.families}
        sizes = ", ".join(f"{name} up to {bound}" for name, bound in bounds.items())
        return [
            f"searched {self.space.layouts:,} layouts of one replica (devices of a replica: {sizes}), "
            f"each at every batch up to {self.asked.max_num_seqs:,} sequences a rank",
            *dict.fromkeys(self.space.notes),
        ]

    def __len__(self) -> int:
        return len(self.options)

    def to_frame(self) -> pd.DataFrame:
        """One row an option, the best first, with units in the names of columns."""
        import pandas as pd

        rows = [{"rank": rank, **option.to_row()} for rank, option in enumerate(self.options, 1)]
        return pd.DataFrame(rows)

    def to_dict(self, *, top: int | None = None, engine: str | None = None) -> dict[str, Any]:
        """JSON-ready data; keys carry their units and are stable. `engine` writes launch commands of another engine."""
        asked = self.asked
        workload = self.best.parts[0].question.workload
        return {
            "model": asked.model.name,
            "use_case": asked.use_case,
            "input_tokens": int(workload.input_tokens),
            "output_tokens": int(workload.output_tokens),
            "beams": int(workload.beams),
            "load": {
                "requests_per_second": asked.load.requests_per_second,
                "concurrent_users": asked.load.concurrent_users,
            },
            "constraints": {CONSTRAINTS[figure].argument: limit for figure, limit in asked.constraints.items()},
            "objective": asked.objective.name,
            "fidelity": self.best.parts[0].question.fidelity,
            "notes": self.notes,
            "options": [{"rank": rank, **option.to_dict(engine)} for rank, option in enumerate(self.options[:top], 1)],
        }

    def to_json(self, *, indent: int | None = 2, top: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(top=top), indent=indent)

    def pareto(self, front: str = "interactivity") -> pd.DataFrame:
        """A front of the whole space under the load: "interactivity" (tokens/s/user against tokens/s/chip) or "cost" (cost per
        million tokens against E2E).

        Deployments are within the budgets, at every batch; `meets_objectives` tells whether they meet those of latency.
        Pools keep the objective of TTFT, as it decides how many devices prefill. Raises `UnknownNameError`.
        """  # fmt: skip
        if front not in FRONTS:
            raise unknown_name("front", front, FRONTS)
        import pandas as pd

        found = list(self._on_front(FRONTS[front].figures))
        frame = pd.DataFrame([{**option.to_row(), "meets_objectives": met} for option, met in found])
        return frame.drop(columns=[name for name in frame.columns if name.endswith("_headroom")])

    def _on_front(self, columns: Sequence[tuple[str, bool]]) -> Iterator[tuple[Option, bool]]:
        """Options of the front, the best in the first figure first, and whether they meet all constraints."""
        sources = [(asked, found) for asked in self._views for found in deployments(asked, self.space)]
        costs, origins = [], []
        for number, (asked, deployment) in enumerate(sources):
            points = points_of(asked, deployment)
            own = np.column_stack([points[name].ravel() * (-1 if grows else 1) for name, grows in columns])
            own[~feasible(points, self._budgets).ravel()] = np.nan
            kept = np.flatnonzero(non_dominated(own))
            costs.append(own[kept])
            origins += [(number, int(index)) for index in kept]
        every = np.concatenate(costs)
        best = np.flatnonzero(non_dominated(every))
        _, first = np.unique(every[best], axis=0, return_index=True)  # equal deployments are shown once
        for number, index in (origins[row] for row in best[first]):
            asked, deployment = sources[number]
            points = points_of(asked, deployment)
            option = option_at(self.asked, deployment, points, index)
            yield option, bool(feasible(points, self.asked.constraints).flat[index])

    @property
    def _budgets(self) -> dict[str, float]:
        return {name: limit for name, limit in self.asked.constraints.items() if name in BUDGETS}

    @property
    def _views(self) -> tuple[Asked, Asked]:
        """The question as it is, and without objectives other than TTFT, which decides how many devices prefill."""
        kept = {name: limit for name, limit in self.asked.constraints.items() if name in (*BUDGETS, TTFT.figure)}
        return self.asked, replace(self.asked, constraints=kept)

    def __str__(self) -> str:
        from genz.explore.planning.report import page

        return page(self)
