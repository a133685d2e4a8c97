"""One replica: a layout of the model on the devices of one candidate, and its times at every number of requests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from genz.explore.planning.machines import Candidate
from genz.explore.planning.steady_state import residence, token_time
from genz.inference.evaluate import cost_of, decode_step, memory_of, prompt_costs
from genz.inference.prices import Prices
from genz.inference.question import Question
from genz.numerics import total

Array = Any  # of floats; formulas are written for numbers, see `genz.numerics`
BLOCK = 4096  # batches that are evaluated at once


@dataclass(frozen=True)
class Prompts:
    """Prefill of one prompt on each data-parallel rank: the passage of the first, and what each further one adds [s]; energy
    of one prompt beyond idle [J].
    """  # fmt: skip

    first: float
    following: float
    energy: float


@dataclass(frozen=True)
class Curve:
    """A data-parallel rank at 1, 2, ... requests: time of a decode step [s], energy of one request's decode beyond idle [J]."""

    batch: Array
    step_time: Array
    decode_energy: Array


@dataclass(frozen=True, eq=False)
class Replica:
    """One copy of the model. `question` has one request on each data-parallel rank; `most` is how many a rank may have."""

    candidate: Candidate
    question: Question
    prices: Prices
    most: int

    @property
    def data(self) -> int:
        """Data-parallel ranks, which step together."""
        return self.question.parallelism.data

    @property
    def devices(self) -> int:
        return self.question.platform.devices

    @property
    def steps(self) -> int:
        """Decode steps of a request."""
        return int(self.question.workload.output_tokens) - 1

    @property
    def idle_power(self) -> float:
        """Power of all devices with nothing running [W]."""
        return self.devices * self.question.platform.chip.power.idle

    @property
    def rent(self) -> float:
        """Rent of all devices [USD/s]; not a number where no price is known."""
        return float("nan") if self.prices.device is None else self.devices * self.prices.device

    @property
    def energy_price(self) -> float:
        """Price of electricity [USD/J]; 0 where none is given."""
        return self.prices.energy or 0.0

    def at(self, batch: Array) -> Question:
        """The question with `batch` requests on each data-parallel rank."""
        return self.question.with_workload(batch=batch * self.data)

    @cached_property
    def largest_batch(self) -> int:
        """Requests on a data-parallel rank that fit in memory, up to `most`; 0 where not one does.

        Every term of the memory grows with the requests, or stays.
        """
        fits = memory_of(self.at(np.arange(1.0, self.most + 1))).fits
        return int(np.sum(np.broadcast_to(fits, self.most)))

    @cached_property
    def prompts(self) -> Prompts:
        """Prefill by one and by two prompts on each rank; only a pipeline overlaps them."""
        if self.question.parallelism.pipeline == 1:
            one = self.at(1)
            costs = prompt_costs(one)
            time, energy = (total([getattr(cost, name) for cost in costs]) for name in ("time", "dynamic_energy"))
            return Prompts(float(time), float(time), float(self._alike * energy))
        costs = prompt_costs(self.at(np.array([1.0, 2.0])))
        first, two = np.broadcast_to(total([cost.time for cost in costs]), 2)
        energy = np.broadcast_to(self._alike * total([cost.dynamic_energy for cost in costs]), 2)[0]
        return Prompts(float(first), float(two - first), float(energy))

    @property
    def _alike(self) -> int:
        """Devices that do the same work for a request; those of a pipeline are in the cost of a phase already."""
        return self.question.parallelism.tensor * self.question.parallelism.context

    @cached_property
    def curve(self) -> Curve:
        """Decode at every batch that fits."""
        batch = np.arange(1.0, self.largest_batch + 1)
        if not self.steps:
            return Curve(batch, np.zeros_like(batch), np.zeros_like(batch))
        blocks = [self._decode(batch[start : start + BLOCK]) for start in range(0, len(batch), BLOCK)]
        times, energies = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return Curve(batch, times, energies)

    def _decode(self, batch: Array) -> tuple[Array, Array]:
        question = self.at(batch)
        cost = cost_of(question, decode_step(question))
        time = np.broadcast_to(np.asarray(cost.time) / self.steps, batch.shape)
        return time, np.broadcast_to(np.asarray(self._alike * cost.dynamic_energy), batch.shape) / batch

    @cached_property
    def residence(self) -> Array:
        """Seconds that a request stays at each batch, prefill and decode on the same devices."""
        curve, prompts = self.curve, self.prompts
        stay = residence(prompts.first, prompts.following, curve.step_time, batch=curve.batch, steps=self.steps)
        return np.asarray(stay)

    @cached_property
    def token_time(self) -> Array:
        """TPOT at each batch, prefill and decode on the same devices [s]; not a number without decode."""
        curve = self.curve
        if not self.steps:
            return np.full_like(curve.batch, np.nan)
        return np.asarray(token_time(self.prompts.following, curve.step_time, batch=curve.batch, steps=self.steps))
