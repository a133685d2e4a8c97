"""One deployment of a plan: what it is made of, what it comes to, and how it is launched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genz.errors import GenZError
from genz.explore.planning.constraints import CONSTRAINTS, E2E, TPOT, TTFT
from genz.explore.planning.replica import Replica
from genz.export import ENGINES, Launch, launch_for
from genz.footprint import Memory
from genz.inference.evaluate import memory_of
from genz.inference.question import Question
from genz.specs.parallelism import FLAGS

_DEGREES = ("tensor", "pipeline", "data", "expert")


@dataclass(frozen=True)
class Part:
    """Copies of one replica, and what they do: "serve" (prefill and decode), "prefill" or "decode".

    `batch` are the requests on a data-parallel rank at the load, `capacity_batch` those at capacity, which the engine is
    told to allow.
    """

    role: str
    replica: Replica
    copies: int
    batch: int
    capacity_batch: int

    @property
    def question(self) -> Question:
        """One replica at the load: `genz.evaluate` prices it."""
        return self.replica.at(self.batch)

    @property
    def devices(self) -> int:
        """Devices of all copies."""
        return self.copies * self.replica.devices

    @property
    def max_num_seqs(self) -> int:
        """Sequences that the engine of one data-parallel rank is told to run at once."""
        return self.capacity_batch * int(self.replica.question.workload.beams)

    @cached_property
    def memory(self) -> Memory:
        """The fullest device at the load."""
        return memory_of(self.question)

    @property
    def memory_left(self) -> float:
        """What the engine may take beside it [B]."""
        return float(self.memory.budget_bytes - self.memory.total_bytes)

    @property
    def layout(self) -> str:
        """Degrees of parallelism beyond one, in the short names of flags."""
        laid = self.replica.question.parallelism
        degrees = zip(("tp", "pp", "dp", "ep"), _DEGREES, strict=True)
        shown = [f"{short} {getattr(laid, name)}" for short, name in degrees if getattr(laid, name) > 1]
        return ", ".join(shown) or "tp 1"

    def launch(self, engine: str | None = None) -> Launch:
        """How one copy is started, by its own engine unless another is named.

        Raises `UnknownNameError` for an engine without an exporter, and `UnsupportedError` or `DoesNotFitError` where it cannot
        realise the replica, even with no more requests than the load has.
        """
        name = engine or self.replica.question.engine.name
        try:
            return launch_for(self.replica.at(self.capacity_batch), name)
        except GenZError:
            if self.capacity_batch == self.batch:
                raise
            return launch_for(self.question, name)

    def launch_or_reason(self, engine: str | None = None) -> Launch | str:
        """How one copy is started, or why it cannot be."""
        name = engine or self.replica.question.engine.name
        if engine is None and name not in ENGINES:
            return f"GenZ writes no commands for {name}; it does for {', '.join(ENGINES)}"
        try:
            return self.launch(engine)
        except GenZError as error:
            return str(error)

    def to_dict(self, engine: str | None = None) -> dict[str, Any]:
        """JSON-ready data; keys carry their units and are stable."""
        laid = self.replica.question.parallelism
        launch = self.launch_or_reason(engine)
        return {
            "role": self.role,
            "platform": self.replica.candidate.name,
            "replica": self.replica.question.platform.name,
            "devices_per_replica": self.replica.devices,
            "replicas": self.copies,
            "devices": self.devices,
            "parallelism": {FLAGS[name]: getattr(laid, name) for name in _DEGREES},
            "batch": self.batch * self.replica.data,
            "batch_per_rank": self.batch,
            "max_num_seqs": self.max_num_seqs,
            "memory_bytes": float(self.memory.total_bytes),
            "memory_left_bytes": self.memory_left,
            "memory_left_share": self.memory_left / float(self.memory.budget_bytes),
            "launch": launch.to_dict() if isinstance(launch, Launch) else None,
            "no_launch": launch if isinstance(launch, str) else None,
        }


@dataclass(frozen=True)
class Option:
    """A deployment that serves the load within all objectives and limits.

    `parts` are one, or a prefill pool and a decode pool; `figures` {name: value} at the load, each name with its unit;
    `capacity_requests_per_s` is how many requests it could take within the objectives; `limits` {figure: limit}.
    """

    parts: tuple[Part, ...]
    figures: dict[str, float]
    capacity_requests_per_s: float
    limits: dict[str, float]

    @property
    def is_disaggregated(self) -> bool:
        return len(self.parts) > 1

    @property
    def kind(self) -> str:
        return "disaggregated" if self.is_disaggregated else "aggregated"

    @property
    def platform(self) -> str:
        """The candidate, or both."""
        return " + ".join(dict.fromkeys(part.replica.candidate.name for part in self.parts))

    @property
    def precision(self) -> str:
        return self.parts[-1].replica.question.widths.name

    @property
    def engine(self) -> str:
        return self.parts[-1].replica.question.engine.name

    @property
    def devices(self) -> int:
        """All devices."""
        return sum(part.devices for part in self.parts)

    @property
    def headroom(self) -> dict[str, float]:
        """For each objective of latency, the share of it that is left: {"ttft": 0.2} is 20 %."""
        names = {TTFT.figure: "ttft", TPOT.figure: "tpot", E2E.figure: "e2e"}
        return {names[figure]: 1 - self.figures[figure] / limit for figure, limit in self.limits.items() if figure in names}

    @property
    def description(self) -> str:
        """The deployment in a line."""
        parts = [f"{part.copies} x ({part.replica.question.platform.name}, {part.layout})" for part in self.parts]
        text = " + ".join(f"{part.role} {words}" for part, words in zip(self.parts, parts, strict=True))
        return f"{text if self.is_disaggregated else parts[0]}, {self.precision}, {self.engine}"

    def launches(self, engine: str | None = None) -> list[Launch | str]:
        """How one copy of each part is started, or why it cannot be."""
        return [part.launch_or_reason(engine) for part in self.parts]

    def to_dict(self, engine: str | None = None) -> dict[str, Any]:
        """JSON-ready data; keys carry their units and are stable. What is not known is None."""
        return {
            "kind": self.kind,
            "platform": self.platform,
            "precision": self.precision,
            "engine": self.engine,
            "devices": self.devices,
            **{name: plain(value) for name, value in self.figures.items() if name not in ("devices", *COUNTS)},
            "capacity_requests_per_s": self.capacity_requests_per_s,
            "headroom": self.headroom,
            "limits": {CONSTRAINTS[figure].argument: limit for figure, limit in self.limits.items()},
            "parts": [part.to_dict(engine) for part in self.parts],
        }

    def to_row(self) -> dict[str, Any]:
        """The option as one flat row."""
        rows: dict[str, Any] = {
            "kind": self.kind,
            "platform": self.platform,
            "precision": self.precision,
            "engine": self.engine,
            "devices": self.devices,
        }
        for part in self.parts:
            before = "prefill_" if part.role == "prefill" else ""
            rows |= {
                f"{before}devices_per_replica": part.replica.devices,
                f"{before}replicas": part.copies,
                **{f"{before}{name}": getattr(part.replica.question.parallelism, name) for name in _DEGREES},
                f"{before}batch_per_rank": part.batch,
                f"{before}max_num_seqs": part.max_num_seqs,
                f"{before}memory_left_bytes": part.memory_left,
            }
        figures = {name: value for name, value in self.figures.items() if name not in ("devices", *COUNTS)}
        room = {f"{name}_headroom": share for name, share in self.headroom.items()}
        return {**rows, **figures, "capacity_requests_per_s": self.capacity_requests_per_s, **room}


COUNTS = ("replicas", "prefill_replicas", "batch")


def plain(value: float) -> float | None:
    """None where there is no number, as JSON has no word for that."""
    return None if value != value else float(value)  # noqa: PLR0124
