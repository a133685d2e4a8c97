"""What GPU this is: as PyTorch and the vendor's management library tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genz.calibration.machine.nvml import Nvml


@dataclass(frozen=True)
class Gpu:
    """One GPU. None where nothing tells; memory and caches in bytes, clock in Hz, power limit in W."""

    name: str
    vendor: str
    driver: str | None
    units: int
    memory: int
    cache: int | None
    clock: float | None
    power_limit: float | None
    count: int


def detect_gpu(torch: Any, device: str) -> Gpu:
    """The first GPU of a kind ("cuda", which ROCm's are too, or "mps")."""
    if device == "mps":
        return _apple_gpu(torch)
    known = torch.cuda.get_device_properties(0)
    library = Nvml.open()
    is_amd = torch.version.hip is not None
    return Gpu(
        name=known.name,
        vendor="amd" if is_amd else "nvidia",
        driver=torch.version.hip if is_amd else library.driver,
        units=known.multi_processor_count,
        memory=library.memory or known.total_memory,
        cache=getattr(known, "L2_cache_size", None),
        clock=library.highest_clock,
        power_limit=library.power_limit,
        count=torch.cuda.device_count(),
    )


def _apple_gpu(torch: Any) -> Gpu:
    """The GPU of an Apple chip: Metal tells little of it."""
    from genz.calibration.machine.macos import sysctl

    name = sysctl("machdep.cpu.brand_string") or "Apple GPU"
    return Gpu(name, "apple", None, 0, int(torch.mps.recommended_max_memory()), None, None, None, 1)
