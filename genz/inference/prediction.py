"""A prediction: what was asked, what it comes to, what limits it, and how to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from genz.footprint import Memory, encoder_activation_bytes, encoder_weight_bytes, kv_bytes_per_token
from genz.inference import limits
from genz.inference.evaluate import Outcome
from genz.inference.metrics import METRICS
from genz.inference.phase import BOUNDS, PhaseCost
from genz.inference.prices import NO_PRICES, Prices
from genz.inference.question import Question
from genz.inference.uncertainty import intervals
from genz.numerics import Number
from genz.specs.parallelism import FLAGS
from genz.specs.workload import MAX_COUNT, SLO

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Phase:
    """How one phase spends its time, and how far from the ridge of the roofline it is."""

    name: str
    time: float
    host_time: float
    steps: float
    bound: str
    is_power_limited: bool
    time_by_bound: dict[str, float]
    arithmetic_intensity: float
    ridge: float

    def to_dict(self) -> dict[str, Any]:
        """The phase with units in its keys."""
        return {
            "time_s": self.time,
            "host_time_s": self.host_time,
            "steps": self.steps,
            "bound": self.bound,
            "power_limited": self.is_power_limited,
            "time_by_bound_s": self.time_by_bound,
            "arithmetic_intensity_flop_per_byte": self.arithmetic_intensity,
            "ridge_flop_per_byte": self.ridge,
            "intensity_over_ridge": self.arithmetic_intensity / self.ridge,
        }


@dataclass(frozen=True)
class Prediction:
    """The answer to one question, in SI units. Printed, it is a page; `to_dict` and `to_json` have stable keys."""

    outcome: Outcome
    prices: Prices = NO_PRICES
    slo: SLO | None = None

    @property
    def question(self) -> Question:
        return self.outcome.question

    @property
    def ttft(self) -> Number:
        """Time to first token [s]."""
        return self.outcome.ttft

    @property
    def tpot(self) -> Number | None:
        """Time per output token after the first [s]; None where there is one output token."""
        return None if self.question.workload.output_tokens == 1 else self.outcome.tpot

    @property
    def e2e(self) -> Number:
        """Time of the whole batch [s]."""
        return self.outcome.e2e

    latency = e2e

    @property
    def throughput(self) -> Number:
        """Output tokens of the whole deployment over E2E [1/s]."""
        return self.outcome.output_tokens_per_s

    @property
    def sequences_per_s(self) -> Number:
        """Requests of the whole deployment over E2E: embeddings or scores of a model that generates nothing [1/s]."""
        return self.question.workload.batch / self.e2e

    @property
    def input_tokens_per_s(self) -> Number:
        """Input tokens of the whole deployment over E2E, those that an encoder reads among them [1/s]."""
        workload = self.question.workload
        read = workload.source_tokens if self.question.model.source is not None else workload.input_tokens
        return workload.batch * read / self.e2e

    @property
    def energy_per_sequence(self) -> Number:
        """Energy of the whole deployment per request [J]."""
        return self.energy / self.question.workload.batch

    @property
    def memory(self) -> Memory:
        """What the fullest device holds."""
        return self.outcome.memory

    @property
    def energy(self) -> Number:
        """Energy of all devices over the batch [J]."""
        return self.outcome.energy

    @property
    def power(self) -> Number:
        """Average power of all devices [W]."""
        return self.outcome.power

    @property
    def fidelity(self) -> str:
        return self.question.fidelity

    @cached_property
    def interval(self) -> dict[str, tuple[float, float]] | None:
        """90 % intervals of TTFT, TPOT and E2E [s] and of the throughput [1/s]; None where the fidelity earns none.

        They come from rows that no fit has seen: see `genz.inference.uncertainty`.
        """
        return intervals(self.outcome) if self.fidelity == "calibrated" else None

    @cached_property
    def phases(self) -> dict[str, Phase]:
        """Encoders that images or clips pass, prefill, and decode where there is more than one output token."""
        found = {name: self._phase(name, cost) for name, cost in self.outcome.encoders}
        found["prefill"] = self._phase("prefill", self.outcome.prefill)
        if self.tpot is not None:
            found["decode"] = self._phase("decode", self.outcome.decode)
        return found

    @property
    def bound(self) -> dict[str, str | None]:
        """What each phase waits for: compute, memory, network or host."""
        names = (*(name for name, _ in self.outcome.encoders), "prefill", "decode")
        return {name: self.phases[name].bound if name in self.phases else None for name in names}

    def _phase(self, name: str, cost: PhaseCost) -> Phase:
        shares = cost.time_by_bound()
        chip, widths = self.question.platform.chip, self.question.widths
        return Phase(
            name=name,
            time=cost.time,
            host_time=cost.host_time,
            steps=cost.steps,
            bound=BOUNDS[max(range(len(BOUNDS)), key=shares.__getitem__)],
            is_power_limited=bool(cost.is_power_limited),
            time_by_bound=dict(zip(BOUNDS, shares, strict=True)),
            arithmetic_intensity=cost.matrix_flops / cost.memory_bytes,
            ridge=chip.multiply_rate(widths.matrix_type(quantised=True)) / chip.main_memory.bandwidth,
        )

    @cached_property
    def cost(self) -> dict[str, float | None]:
        """Cost and carbon of the deployment, where prices are known; None where they are not."""
        names = ("usd_per_hour", "usd_per_million_output_tokens", "carbon_g_per_million_output_tokens")
        return {name: METRICS[name].of(self.outcome, self.prices) for name in names}

    @cached_property
    def largest_batch(self) -> int:
        """The largest batch of the whole deployment that fits in memory."""
        return limits.largest_batch(self.question)

    @cached_property
    def longest_context(self) -> int | None:
        """The most tokens, input and output together, that a request of this batch can have in memory; None: any number."""
        return limits.longest_context(self.question)

    @property
    def critical_batch(self) -> Number:
        """Tokens in a step at which a dense GEMM becomes compute-bound."""
        return limits.critical_batch(self.question.platform.chip, self.question.widths)

    @property
    def slo_met(self) -> dict[str, bool]:
        """Each objective of the use case, and whether it is met."""
        if self.slo is None:
            return {}
        pairs = {"ttft": (self.ttft, self.slo.ttft), "tpot": (self.tpot, self.slo.tpot)}
        return {name: bool(value <= goal) for name, (value, goal) in pairs.items() if value is not None and goal is not None}

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON-ready data; keys carry their units and are stable."""
        question, outcome = self.question, self.outcome
        return {
            "ttft_s": self.ttft,
            "tpot_s": self.tpot,
            "e2e_s": self.e2e,
            "output_tokens_per_s": self.throughput,
            "sequences_per_s": self.sequences_per_s,
            "input_tokens_per_s": self.input_tokens_per_s,
            "energy_j": self.energy,
            "energy_j_per_output_token": outcome.energy_per_output_token,
            "energy_j_per_sequence": self.energy_per_sequence,
            "power_w": self.power,
            "bound": self.bound,
            "fidelity": self.fidelity,
            "interval": self.interval,
            "memory": self.memory.to_dict(),
            "model": {
                "name": question.model.name,
                "model_type": question.model.model_type,
                "parameters": question.model.parameters,
                "active_parameters": question.model.active_parameters,
                "kv_bytes_per_token": kv_bytes_per_token(question.model, question.widths),
            },
            "platform": {
                "name": question.platform.name,
                "chip": question.platform.chip.name,
                "devices": question.platform.devices,
            },
            "parallelism": _describe_parallelism(question),
            "engine": question.engine.name,
            "precision": _describe_widths(question),
            "workload": _describe_workload(question),
            "phases": {name: phase.to_dict() for name, phase in self.phases.items()},
            "encoders": _describe_encoders(outcome),
            "limits": {
                "largest_batch": self.largest_batch if self.largest_batch < MAX_COUNT else None,
                "longest_context_tokens": None if question.model.source is not None else self.longest_context,
                "critical_batch_tokens": self.critical_batch,
            },
            "cost": self.cost,
            "slo_met": self.slo_met,
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_frame(self) -> pd.DataFrame:
        """One row an operator and phase: demand, time, energy and bound, over all layers and steps, on one device."""
        import pandas as pd

        rows = [
            row
            for name, cost in (
                *self.outcome.encoders,
                ("prefill", self.outcome.prefill),
                ("decode", self.outcome.decode),
            )
            if name in self.phases
            for row in _operator_rows(name, cost)
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        from genz.inference.report import summary

        return summary(self)


def _operator_rows(phase: str, cost: PhaseCost) -> list[Mapping[str, Any]]:
    return [
        {
            "phase": phase,
            "layer": item.operator.layer,
            "operator": item.operator.name,
            "category": item.operator.category,
            "count": item.operator.count,
            "time_s": item.device_time,
            "share": item.device_time / cost.time if cost.time else 0.0,
            "bound": BOUNDS[item.bound],
            "matrix_flops": item.matrix_flops,
            "memory_bytes": item.memory_bytes,
            "arithmetic_intensity": item.matrix_flops / item.memory_bytes if item.memory_bytes else 0.0,
            "energy_j": item.energy,
        }
        for item in cost.operators
    ]


def _describe_widths(question: Question) -> dict[str, Any]:
    widths = question.widths
    return {
        "name": widths.name,
        "weight_bytes_per_element": widths.weights.bytes_per_element,
        "compute": widths.compute,
        "activations": widths.activations,
        "unquantised": widths.base,
        "kv_cache": widths.kv_cache,
    }


def _describe_parallelism(question: Question) -> dict[str, Any]:
    laid = question.parallelism
    degrees = {flag: getattr(laid, name) for name, flag in FLAGS.items()}
    return {
        **degrees,
        "micro_batches": question.micro_batches,
        "sequence_parallel": laid.sequence_parallel,
        "replicas": laid.replicas,
    }


def _describe_workload(question: Question) -> dict[str, Any]:
    workload = question.workload
    return {
        "use_case": question.use_case,
        "input_tokens": workload.input_tokens,
        "output_tokens": workload.output_tokens,
        "batch": workload.batch,
        "beams": workload.beams,
        "cached_tokens": workload.cached_tokens,
        "embeds": workload.embeds,
        "media_tokens": workload.media_tokens,
        "media": [{"kind": p.kind, "count": p.count, "tokens_each": p.tokens} for p in workload.parts],
        "source_tokens": workload.source_tokens,
    }


def _describe_encoders(outcome: Outcome) -> dict[str, Any]:
    """Each encoder that the question's images or clips pass: its size, what passes it, and what that costs."""
    question, costs = outcome.question, dict(outcome.encoders)
    towers = {encoder.name: encoder for encoder in question.model.encoders}
    return {
        media.encoder: {
            "parameters": towers[media.encoder].parameters,
            "weights_bytes": encoder_weight_bytes(towers[media.encoder], question.widths, question.parallelism),
            "activations_bytes": encoder_activation_bytes(
                towers[media.encoder],
                media,
                requests=question.requests_per_rank,
                widths=question.widths,
                parallelism=question.parallelism,
                engine=question.engine,
            ),
            "sequences_per_request": media.sequences,
            "tokens_per_sequence": media.tokens,
            "time_s": costs[media.encoder].time,
            "dynamic_energy_j": costs[media.encoder].dynamic_energy,
            "matrix_flops": costs[media.encoder].matrix_flops,
        }
        for media in question.workload.media
    }
