"""How long a call takes: warm up, empty the caches, repeat, and report the median and its spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

OK, SPREAD = "ok", "spread"
WARM_UP_CALLS = 2
MIN_REPEATS, MAX_REPEATS = 5, 200
# The median absolute deviation of normally distributed values, times this, is their standard deviation.
DEVIATIONS_PER_MAD = 1.4826
# Wider than this, relative to the median, the middle of the samples says little about an undisturbed run: unless they are
# many, as of a call of microseconds whose data come from memory, and the median is as sure as this all the same.
WIDEST_SPREAD, WIDEST_SPREAD_OF_MANY, SURE = 0.10, 0.25, 0.03
# Standard error of a median over that of a mean: sqrt(pi / 2).
MEDIAN_ERROR = 1.2533
# A run that the system interrupts more often than this, on average, did not have its cores to itself.
MOST_PREEMPTIONS = 1.0


class Clock(Protocol):
    """Times one call [s], from when its work begins to when the device has done it."""

    def time(self, call: Callable[[], object]) -> float: ...


@dataclass(frozen=True)
class HostClock:
    """For work that is done when the call returns; `now` counts nanoseconds."""

    now: Callable[[], int] = time.perf_counter_ns

    def time(self, call: Callable[[], object]) -> float:
        """Seconds that the call takes."""
        start = self.now()
        call()
        return (self.now() - start) / 1e9


@dataclass(frozen=True)
class DeviceClock:
    """For a device that works behind the host's back: events around the call, in the device's own queue."""

    module: Any  # torch.cuda or torch.mps

    def time(self, call: Callable[[], object]) -> float:
        """Seconds between the events."""
        start, end = (self.module.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        self.module.synchronize()
        return float(start.elapsed_time(end)) / 1e3


@dataclass(frozen=True)
class Timing:
    """The median of the repeats [s]; their spread (scaled MAD) relative to it; how often a run was interrupted, on average."""

    seconds: float
    spread: float
    repeats: int
    interruptions: float

    @property
    def quality(self) -> str:
        """ "ok", or "spread" where the runs differ or were interrupted too much to rely on."""
        error = MEDIAN_ERROR * self.spread / self.repeats**0.5
        widest = WIDEST_SPREAD_OF_MANY if error <= SURE else WIDEST_SPREAD
        return SPREAD if self.spread > widest or self.interruptions > MOST_PREEMPTIONS else OK

    def describe(self) -> str:
        """How sure the median is, in words."""
        interrupted = f", interrupted {self.interruptions:.1f} times a run" if self.interruptions > 0 else ""
        return f"{self.repeats} repeats, spread {self.spread:.1%}{interrupted}"


@dataclass(frozen=True)
class Timer:
    """Repeats a call until `seconds` are used up, at least `MIN_REPEATS` times.

    `now` [s] is the wall clock that the budget runs on, `interrupted` counts how often the system took the cores away.
    """

    clock: Clock
    seconds: float
    now: Callable[[], float] = time.perf_counter
    interrupted: Callable[[], int] = lambda: 0

    def measure(self, call: Callable[[], object], before: Callable[[], object] = lambda: None) -> Timing:
        """Time `call`; `before`, which runs before each repeat and is not timed, leaves the caches as they are to be found."""
        for _ in range(WARM_UP_CALLS):
            before()
            call()
        samples: list[float] = []
        start, interruptions = self.now(), 0
        while len(samples) < MAX_REPEATS and (len(samples) < MIN_REPEATS or self.now() - start < self.seconds):
            before()
            count = self.interrupted()
            samples.append(self.clock.time(call))
            interruptions += self.interrupted() - count
        middle = statistics.median(samples)
        deviation = statistics.median(abs(sample - middle) for sample in samples)
        spread = DEVIATIONS_PER_MAD * deviation / middle if middle > 0 else float("inf")
        return Timing(middle, spread, len(samples), interruptions / len(samples))
