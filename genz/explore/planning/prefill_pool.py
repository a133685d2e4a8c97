"""Devices that prefill alone: how many copies keep prompts within a time, and what the queue adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from genz.explore.planning.asked import Asked
from genz.explore.planning.constraints import DEVICES, POWER, RENT
from genz.explore.planning.replica import Array, Replica
from genz.explore.planning.steady_state import prompt_wait, rate_within
from genz.inference.prices import SECONDS_PER_HOUR

# Copies are searched up to so many times those that carry the load: beyond that they idle 99 % of the time.
MOST_SPARE = 100
STEPS_TO_TRY = 64
ROUNDING = 1e-12


@dataclass(frozen=True)
class Queue:
    """What a prefill pool is made of: one replica, or several in a column, of which all figures are then arrays.

    `first` is the time of a prompt, `following` the time for which it keeps a rank busy [s], `energy` what it takes beyond
    idle [J]; `idle_power` [W] and `rent` [USD/s] are of one copy, `energy_price` is [USD/J].
    """

    first: Any
    following: Any
    energy: Any
    data: Any
    devices: Any
    idle_power: Any
    rent: Any
    energy_price: Any

    @classmethod
    def of(cls, replica: Replica) -> Queue:
        """One replica."""
        prompts = replica.prompts
        return cls(
            prompts.first,
            prompts.following,
            prompts.energy,
            replica.data,
            replica.devices,
            replica.idle_power,
            replica.rent,
            replica.energy_price,
        )

    @classmethod
    def column(cls, replicas: Sequence[Replica]) -> Queue:
        """Several replicas, one a row."""
        rows = [cls.of(replica) for replica in replicas]
        return cls(*(np.array([[getattr(row, field.name)] for row in rows], dtype=float) for field in fields(cls)))


def stable_copies(queue: Queue, rate: Array) -> Array:
    """The fewest copies whose queue does not grow for ever: each rank is busy for less than all the time."""
    return np.floor(rate * queue.following / queue.data) + 1


def largest_rate(queue: Queue, budget: Array) -> Array:
    """The most prompts per second of a rank whose mean time from arrival to first token is `budget` seconds."""
    wait: Array = np.asarray(budget, dtype=float) - queue.first
    finite: Array = np.where(np.isinf(wait), 0.0, wait)
    bounded = rate_within(finite, queue.following)
    return np.where(np.isinf(wait), 1 / queue.following, bounded)


def first_token_time(queue: Queue, rate: Array, copies: Array) -> Array:
    """Mean time to first token of `rate` prompts a second over all ranks of so many copies [s]."""
    return np.asarray(queue.first + prompt_wait(rate / (copies * queue.data), queue.following))


def fewest_copies(queue: Queue, rate: Array, budget: Array) -> Array:
    """The fewest copies that keep the mean time to first token within `budget`; not a number where none within bounds does."""
    stable = stable_copies(queue, rate)
    most = MOST_SPARE * stable
    allowed = queue.data * largest_rate(queue, budget)
    with np.errstate(divide="ignore"):
        needed = np.clip(np.ceil(rate / allowed), stable, most)
    # The inverse may be off by one where its last bit is.
    fewer = np.maximum(needed - 1, stable)
    needed = np.where(first_token_time(queue, rate, fewer) <= budget, fewer, needed)
    needed = np.minimum(needed + (first_token_time(queue, rate, needed) > budget), most)
    return np.where(first_token_time(queue, rate, needed) <= budget, needed, np.nan)


def most_copies(asked: Asked, queue: Queue, rate: Array, used: Mapping[str, Array]) -> Array:
    """The most copies within the budgets, of which `used` is taken; not a number where the load needs more.

    `used` is {figure: value} of what is fixed, the power of the prompts in it.
    """
    stable = stable_copies(queue, rate)
    most = MOST_SPARE * stable
    each = {
        DEVICES.figure: queue.devices,
        RENT.figure: (queue.rent + queue.energy_price * queue.idle_power) * SECONDS_PER_HOUR,
        POWER.figure: queue.idle_power,
    }
    for figure, increment in each.items():
        if figure in asked.constraints:
            most = np.minimum(most, _times(asked.constraints[figure] - used[figure], increment))
    return np.where(most >= stable, most, np.nan)


def _times(room: Array, increment: Array) -> Array:
    """How many whole increments there is room for; what costs nothing goes in any number of times."""
    free = np.equal(increment, 0)
    counted = np.floor(np.asarray(room) / np.where(free, 1.0, increment) * (1 + ROUNDING))
    return np.where(free, np.where(np.less(room, 0), 0.0, np.inf), counted)


def copies_to_try(asked: Asked, queue: Queue, rate: Array, budget: float) -> tuple[Array, Array]:
    """Numbers of copies, and their times to first token [s]: the fewest within the budget of time, the most within the others,
    and some between.
    """  # fmt: skip
    stable = float(stable_copies(queue, rate))
    power = rate * queue.energy
    used = {DEVICES.figure: 0.0, RENT.figure: queue.energy_price * power * SECONDS_PER_HOUR, POWER.figure: power}
    exact = [fewest_copies(queue, rate, budget), most_copies(asked, queue, rate, used)]
    spaced = np.ceil(np.geomspace(stable, MOST_SPARE * stable, STEPS_TO_TRY))
    copies = np.unique(np.concatenate([spaced, np.asarray(exact, dtype=float)]))
    copies = copies[np.isfinite(copies)]
    return copies, first_token_time(queue, rate, copies)
