"""NVIDIA's management library behind a few plain values: energy, power, clocks. Without it, or without rights: none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Nvml:
    """One GPU as NVML sees it; `why_not` says why it sees none. Values that it may not tell are None."""

    library: Any = None
    handle: Any = None
    why_not: str = ""

    @classmethod
    def open(cls, index: int = 0, library: Any = None) -> Nvml:
        """The GPU of an index; an NVML without a device, where the library, the driver or the right to ask is missing."""
        if library is None:
            try:
                library = import_module("pynvml")
            except ImportError:
                return cls(why_not="the package nvidia-ml-py is not installed")
        try:
            library.nvmlInit()
            return cls(library, library.nvmlDeviceGetHandleByIndex(index))
        except library.NVMLError as error:
            return cls(why_not=f"NVML: {error}")

    def ask(self, question: Callable[[Any, Any], Any]) -> Any:
        """The answer to `question(library, handle)`, none where the driver refuses it."""
        if self.library is None:
            return None
        try:
            return question(self.library, self.handle)
        except self.library.NVMLError:
            return None

    @property
    def driver(self) -> str | None:
        version: str | None = self.ask(lambda nvml, _: nvml.nvmlSystemGetDriverVersion())
        return version

    @property
    def memory(self) -> int | None:
        """Bytes that the driver reports."""
        total: int | None = self.ask(lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total)
        return total

    @property
    def energy(self) -> float | None:
        """Energy since the driver was loaded [J]."""
        millijoules = self.ask(lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu))
        return None if millijoules is None else millijoules / 1e3

    @property
    def power(self) -> float | None:
        """Power of late [W]."""
        milliwatts = self.ask(lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu))
        return None if milliwatts is None else milliwatts / 1e3

    @property
    def power_limit(self) -> float | None:
        """Power limit in force [W]."""
        milliwatts = self.ask(lambda nvml, gpu: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu))
        return None if milliwatts is None else milliwatts / 1e3

    @property
    def clock(self) -> float | None:
        """Present clock of the multiprocessors [Hz]."""
        return self._clock("nvmlDeviceGetClockInfo")

    @property
    def highest_clock(self) -> float | None:
        """Highest clock of the multiprocessors [Hz]."""
        return self._clock("nvmlDeviceGetMaxClockInfo")

    def _clock(self, function: str) -> float | None:
        megahertz = self.ask(lambda nvml, gpu: getattr(nvml, function)(gpu, nvml.NVML_CLOCK_SM))
        return None if megahertz is None else megahertz * 1e6
