"""The machine that an objective asks for: its figures, their bounds, and the machine itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genz.explore.requirements.chip_file import chip_text
from genz.explore.requirements.figures import FIGURES
from genz.inference.evaluate import Outcome
from genz.inference.predict import answer
from genz.inference.prediction import Prediction
from genz.inference.question import Question
from genz.specs.hardware import Chip, Platform
from genz.specs.workload import SLO
from genz.units import format_si

BINDING = 1e-3  # a time that has less than this share of its goal to spare is what sizes the machine


@dataclass(frozen=True)
class Requirement:
    """What each of the devices must have, in SI, and the machine made of them.

    `bounds` are the least of each figure (the longest latency) where all others that are not given are without limit. `given`
    are the figures that were given, `outcome` is what the question comes to on the required machine, `like` the base chip.
    """

    outcome: Outcome
    slo: SLO
    bounds: Mapping[str, float]
    given: Mapping[str, float]
    like: str

    @property
    def question(self) -> Question:
        """The question on the required machine: `genz.evaluate` takes it."""
        return self.outcome.question

    @property
    def platform(self) -> Platform:
        """The required machine: `genz.predict` takes it in the place of a platform's name."""
        return self.question.platform

    @property
    def chip(self) -> Chip:
        return self.platform.chip

    @property
    def devices(self) -> int:
        return self.platform.devices

    @property
    def data_type(self) -> str:
        """The format whose dense rate `flops` is."""
        return self.question.widths.matrix_type(quantised=True)

    @property
    def flops(self) -> float:
        """Dense rate of each device in `data_type` [FLOP/s]."""
        return self.chip.multiply_rate(self.data_type)

    @property
    def bandwidth(self) -> float:
        """Bandwidth of the main memory of each device [B/s]."""
        return self.chip.main_memory.bandwidth

    @property
    def capacity(self) -> float:
        """Main memory of each device [B]."""
        return self.chip.main_memory.capacity

    @property
    def link_bandwidth(self) -> float | None:
        """Of each device and direction [B/s]; None where nothing is exchanged."""
        return self.platform.network[0].bandwidth if self.platform.network else None

    @property
    def link_latency(self) -> float | None:
        """Of one message [s]; None where nothing is exchanged."""
        return self.platform.network[0].latency if self.platform.network else None

    @property
    def power(self) -> float:
        """Power limit that slows no phase down [W]: what the busier phase draws by the energies of the base chip."""
        return self.chip.power.tdp

    @property
    def figures(self) -> dict[str, float]:
        """The figures of each device by name, without a link where nothing is exchanged."""
        return {name: value for name in FIGURES if (value := getattr(self, name)) is not None}

    @property
    def ttft(self) -> float:
        """Time to first token on the required machine [s]."""
        return float(self.outcome.ttft)

    @property
    def tpot(self) -> float | None:
        """Time per output token on the required machine [s]; None where there is one output token."""
        return None if self.question.workload.output_tokens == 1 else float(self.outcome.tpot)

    @property
    def spare(self) -> dict[str, float]:
        """Of each objective, the share that the machine leaves: 0 where it is met exactly."""
        pairs = {"ttft": (self.ttft, self.slo.ttft), "tpot": (self.tpot, self.slo.tpot)}
        return {name: 1 - time / goal for name, (time, goal) in pairs.items() if time is not None and goal is not None}

    @property
    def binding(self) -> tuple[str, ...]:
        """The objectives that size the machine: those with less than 0.1 % to spare."""
        return tuple(name for name, share in self.spare.items() if share < BINDING)

    @cached_property
    def prediction(self) -> Prediction:
        """What `genz.predict` says of the required machine."""
        return answer(self.question, slo=self.slo)

    def to_dict(self) -> dict[str, Any]:
        """The requirement as JSON-ready data; keys carry their units and are stable."""
        question, workload = self.question, self.question.workload
        return {
            "model": question.model.name,
            "use_case": question.use_case,
            "input_tokens": workload.input_tokens,
            "output_tokens": workload.output_tokens,
            "batch": workload.batch,
            "beams": workload.beams,
            "precision": question.widths.name,
            "data_type": self.data_type,
            "engine": question.engine.name,
            "fidelity": question.fidelity,
            "like": self.like,
            "devices": self.devices,
            "tp": question.parallelism.tensor,
            "slo": {"ttft_s": self.slo.ttft, "tpot_s": self.slo.tpot},
            "given": _keyed(self.given),
            "bounds": _keyed(self.bounds),
            "each_device": {**_keyed(self.figures), "power_w": self.power},
            "ttft_s": self.ttft,
            "tpot_s": self.tpot,
            "spare": self.spare,
            "binding": list(self.binding),
            "memory": self.outcome.memory.to_dict(),
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_yaml(self) -> str:
        """The required chip as a file that `--platform` takes; its link is `scale_up`, so that "8x ./chip.yaml" works."""
        question, workload = self.question, self.question.workload
        goals = " and ".join(
            f"{name.upper()} {format_si(goal, 's')}"
            for name, goal in (("ttft", self.slo.ttft), ("tpot", self.slo.tpot))
            if goal
        )
        asked = (
            f"Required for {goals}: {question.model.name}, batch {workload.batch}, {workload.input_tokens} input and "
            f"{workload.output_tokens} output tokens, {workload.beams} beams, precision {question.widths.name}, on "
            f"{self.devices} devices, engine {question.engine.name}, fidelity {question.fidelity}"
        )
        return chip_text(self.chip, asked=asked, base=f"The chip {self.like}: its file states the source of each figure")

    def __str__(self) -> str:
        from genz.explore.requirements.page import summary

        return summary(self)


def _keyed(figures: Mapping[str, float]) -> dict[str, float]:
    return {FIGURES[name].key: value for name, value in figures.items()}
