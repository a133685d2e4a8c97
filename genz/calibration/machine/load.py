"""Whether something else keeps this machine busy: measured times are worth little then."""

from __future__ import annotations

import os
from dataclasses import dataclass

from genz.calibration.machine.backend import load as load_package

# What others may take of the machine's cores, as a share, before measurements count as disturbed.
TOLERATED_SHARE = 0.15
# How long the machine is watched while this process sleeps [s].
WATCHED_SECONDS = 0.5


@dataclass(frozen=True)
class Load:
    """How busy the machine is without us: the `share` of its cores in use, and the load average of the last minute."""

    share: float
    average: float | None
    cores: int

    @property
    def is_disturbed(self) -> bool:
        return self.share > TOLERATED_SHARE

    def describe(self) -> str:
        """One sentence on the load."""
        average = "" if self.average is None else f", load average {self.average:.1f}"
        state = "under load: times are too long, and their spread is wide" if self.is_disturbed else "quiet"
        return f"the machine is {state} (others use {self.share:.0%} of {self.cores} cores{average})"


def current_load(seconds: float = WATCHED_SECONDS) -> Load:
    """Watch the machine for a moment in which this process does nothing."""
    psutil = load_package("psutil", "watching the machine's load")
    share = psutil.cpu_percent(interval=seconds) / 100
    average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return Load(share, average, os.cpu_count() or 1)


def preemptions() -> int:
    """How often the system took a core away from this process so far; zero where it does not count."""
    try:
        import resource
    except ImportError:  # on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
