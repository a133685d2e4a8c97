"""What an engine adds to its kernels: time between steps on the host, launches, and work that no kernel's table shows."""

from __future__ import annotations

from dataclasses import dataclass

from genz.timing.kernels.constants import constant


@dataclass(frozen=True, slots=True)
class EngineConstants:
    """Constants of one engine on one chip, fitted to whole requests.

    The factors stand for everything by which a step differs from its kernels measured apart (fusion, memory
    management, older kernels than those measured); they also carry kernels that were borrowed from another chip.
    """

    prompt_factor: float = constant(1.0, "1", 0.8, 6.0, "device time of a prompt's step over that of its kernels")
    decode_factor: float = constant(1.0, "1", 0.8, 6.0, "device time of a decode step over that of its kernels")
    attention_factor: float = constant(1.0, "1", 0.8, 6.0, "time of attention over that of its kernel measured apart")
    step: float = constant(5e-4, "s", 1e-6, 0.3, "time on the host between two steps")
    sequence: float = constant(5e-6, "s", 1e-8, 5e-3, "time on the host for each sequence of a step")
    rank: float = constant(5e-5, "s", 1e-7, 1e-2, "time on the host for each further device that takes part in a step")
    launch: float = constant(5e-6, "s", 1e-7, 2e-4, "time on the host for each kernel that no graph holds")
