"""Timing with clocks that are made up: what is counted, when it ends, what counts as disturbed."""

from types import SimpleNamespace
from typing import Any

import pytest

from genz.calibration.machine import load
from genz.calibration.machine.load import Load, current_load
from genz.calibration.machine.timer import (
    MAX_REPEATS,
    MIN_REPEATS,
    WARM_UP_CALLS,
    DeviceClock,
    HostClock,
    Timer,
    Timing,
)


class World:
    """Time that passes only when something is done, in nanoseconds."""

    def __init__(self, *durations: int) -> None:
        self.time, self.durations, self.calls, self.flushes = 0, durations, 0, 0

    def now(self) -> int:
        return self.time

    def seconds(self) -> float:
        return self.time / 1e9

    def call(self) -> None:
        timed = max(0, self.calls - WARM_UP_CALLS)
        self.time += self.durations[timed % len(self.durations)]
        self.calls += 1

    def flush(self) -> None:
        self.time += 10**9
        self.flushes += 1


def timer(world: World, seconds: float = 0.0) -> Timer:
    return Timer(HostClock(world.now), seconds, world.seconds)


def test_the_median_of_the_repeats_without_warm_up_and_flushes() -> None:
    world = World(10_000, 30_000, 20_000, 20_000, 1_000_000)
    timing = timer(world).measure(world.call, world.flush)
    assert timing.seconds == pytest.approx(20e-6)
    assert timing.repeats == MIN_REPEATS
    assert world.calls == world.flushes == MIN_REPEATS + WARM_UP_CALLS


def test_repeats_until_the_time_is_used_up_but_not_for_ever() -> None:
    world = World(10**6)
    assert timer(world, 0.0205).measure(world.call).repeats == 21
    quick = World(1)
    assert timer(quick, 1.0).measure(quick.call).repeats == MAX_REPEATS


def test_spread_is_the_scaled_median_deviation() -> None:
    world = World(100, 100, 90, 110, 100)
    timing = timer(world).measure(world.call)
    assert timing.spread == pytest.approx(0.0)  # three of five agree
    assert timing.quality == "ok"
    wide = World(100, 140, 60, 120, 80)
    assert timer(wide).measure(wide.call).spread == pytest.approx(1.4826 * 0.2)
    assert timer(wide).measure(wide.call).quality == "spread"


def test_a_steady_run_that_was_interrupted_does_not_count() -> None:
    world, counts = World(100), iter(range(0, 10_000, 3))
    timing = Timer(HostClock(world.now), 0.0, world.seconds, lambda: next(counts)).measure(world.call)
    assert timing.spread == 0.0
    assert timing.interruptions == pytest.approx(3.0)
    assert timing.quality == "spread"
    assert "interrupted 3.0 times a run" in timing.describe()


def test_a_clock_too_coarse_to_see_the_call() -> None:
    world = World(0)
    timing = timer(world).measure(world.call)
    assert timing.seconds == 0.0
    assert timing.quality == "spread"


def test_events_of_a_device_are_milliseconds() -> None:
    log: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            log.append("record")

        def elapsed_time(self, _: Any) -> float:
            assert log[-1] == "synchronize"
            return 2.5

    module = SimpleNamespace(Event=Event, synchronize=lambda: log.append("synchronize"))
    assert DeviceClock(module).time(lambda: log.append("call")) == pytest.approx(2.5e-3)
    assert log == ["record", "call", "record", "synchronize"]


def test_load_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"quiet": 3.0, "busy": 80.0}
    for name, share in shares.items():
        psutil = SimpleNamespace(cpu_percent=lambda interval, share=share: share)
        monkeypatch.setattr(load, "load_package", lambda *_, psutil=psutil: psutil)
        monkeypatch.setattr("os.getloadavg", lambda: (7.5, 0.0, 0.0), raising=False)
        found = current_load(0.0)
        assert found.is_disturbed == (name == "busy")
    assert "under load" in found.describe()
    assert "load average 7.5" in found.describe()
    assert "quiet" in Load(0.0, None, 4).describe()


def test_timings_are_plain_data() -> None:
    assert Timing(1e-3, 0.02, 7, 0.0).describe() == "7 repeats, spread 2.0%"
