"""Power and energy behind one small interface: NVML for NVIDIA's GPUs, RAPL for processors, and nothing at all.

A meter is asked to begin, then to end; in between runs what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from genz.calibration.machine.cpu import read, whole
from genz.calibration.machine.nvml import Nvml


@dataclass(frozen=True)
class PowerReading:
    """What was drawn between begin and end; none where it is not known."""

    joules: float | None = None
    watts: float | None = None
    limit_watts: float | None = None
    clock_hertz: float | None = None


class PowerMeter(Protocol):
    """A source of energy readings. `note` says what it reads, or why it reads nothing."""

    @property
    def note(self) -> str: ...

    @property
    def is_active(self) -> bool: ...

    def begin(self) -> None: ...

    def end(self) -> PowerReading: ...


@dataclass(frozen=True)
class NullMeter:
    """Reads nothing, and says why."""

    note: str
    is_active: bool = False

    def begin(self) -> None:
        """Nothing to begin."""

    def end(self) -> PowerReading:
        """A reading that tells nothing."""
        return PowerReading()


class NvmlMeter:
    """Energy of one NVIDIA GPU: its counter, or, where it has none, its power at the end of the run."""

    is_active = True

    def __init__(self, gpu: Nvml, now: Callable[[], float] = time.perf_counter) -> None:
        self.note = "NVML: energy of the whole board"
        self._gpu, self._now = gpu, now
        self._start, self._energy = 0.0, gpu.energy

    def begin(self) -> None:
        """Remember the counter and the time."""
        self._energy, self._start = self._gpu.energy, self._now()

    def end(self) -> PowerReading:
        """Energy and mean power since `begin`."""
        elapsed, energy = self._now() - self._start, self._gpu.energy
        if energy is None or self._energy is None or elapsed <= 0:
            watts = self._gpu.power
            joules = None if watts is None else watts * elapsed
        else:
            joules = energy - self._energy
            watts = joules / elapsed
        return PowerReading(joules, watts, self._gpu.power_limit, self._gpu.clock)


class RaplMeter:
    """Energy of the processor packages: counters that the kernel shows below /sys/class/powercap."""

    is_active = True

    def __init__(self, zones: tuple[Path, ...], now: Callable[[], float] = time.perf_counter) -> None:
        self.note = f"RAPL: energy of {len(zones)} processor package{'s' if len(zones) > 1 else ''}"
        self._zones, self._now = zones, now
        self._start, self._counts = 0.0, self._read()

    def _read(self) -> tuple[int, ...]:
        return tuple(whole(read(zone / "energy_uj")) or 0 for zone in self._zones)

    def begin(self) -> None:
        """Remember the counters and the time."""
        self._counts, self._start = self._read(), self._now()

    def end(self) -> PowerReading:
        """Energy and mean power since `begin`; a counter that ran over its range begins anew at zero."""
        counts, elapsed = self._read(), self._now() - self._start
        joules = 0.0
        for zone, first, last in zip(self._zones, self._counts, counts, strict=True):
            range_ = whole(read(zone / "max_energy_range_uj")) or 0
            joules += (last - first + (range_ if last < first else 0)) / 1e6
        limits = [whole(read(zone / "constraint_0_power_limit_uw")) for zone in self._zones]
        limit = sum(value for value in limits if value) / 1e6 or None
        return PowerReading(joules, joules / elapsed if elapsed > 0 else None, limit)


def rapl_meter(root: Path = Path("/")) -> PowerMeter:
    """The meter of the processor packages, or none, with why: no such counters, or no right to read them."""
    folder = root / "sys/class/powercap"
    zones = tuple(z for z in sorted(folder.glob("*rapl:[0-9]*")) if z.name.count(":") == 1 and (z / "energy_uj").exists())
    if not zones:
        return NullMeter("no energy counters (RAPL) below /sys/class/powercap: power is not measured")
    if not read(zones[0] / "energy_uj"):
        return NullMeter(f"no right to read {zones[0] / 'energy_uj'}: power is not measured (run as root, or allow it)")
    return RaplMeter(zones)


def meter_of(device: str, *, is_amd: bool = False) -> PowerMeter:
    """The power meter for a device of PyTorch."""
    if device == "cpu":
        return rapl_meter()
    if device == "cuda" and not is_amd:
        gpu = Nvml.open()
        if gpu.library is None:
            return NullMeter(f"{gpu.why_not}: power is not measured")
        if gpu.energy is None and gpu.power is None:
            return NullMeter("NVML may not tell the power of this GPU: power is not measured")
        return NvmlMeter(gpu)
    return NullMeter(f"no meter is known for this device ({'ROCm' if is_amd else device}): power is not measured")
