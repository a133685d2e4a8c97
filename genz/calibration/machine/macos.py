"""What processor this is on macOS, whose kernel answers `sysctl`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from genz.calibration.machine.cpu import Cache, Cpu, whole

# Keys of optional features that decide how fast GEMMs run.
FEATURES = {
    "hw.optional.avx2_0": "AVX2",
    "hw.optional.avx512f": "AVX-512",
    "hw.optional.neon": "NEON",
    "hw.optional.arm.FEAT_DotProd": "NEON dot product",
    "hw.optional.arm.FEAT_BF16": "Arm BF16",
    "hw.optional.arm.FEAT_I8MM": "Arm I8MM",
    "hw.optional.arm.FEAT_SME": "SME",
}
# Cores of the performance level n are counted under this key; level 0 is the fastest.
LEVEL = "hw.perflevel{}."


def sysctl(key: str) -> str:
    """The kernel's answer to one key, empty where it has none."""
    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def detect_macos_cpu(ask: Callable[[str], str] = sysctl) -> Cpu:
    """The processor as `ask`, which answers keys of sysctl, describes it."""
    name = ask("machdep.cpu.brand_string") or "CPU"
    efficiency = _count(ask, LEVEL.format(1) + "physicalcpu") or 0
    clock = whole(ask("hw.cpufrequency_max"))
    return Cpu(
        name=name,
        vendor="apple" if name.startswith("Apple") else "intel",
        instruction_sets=tuple(label for key, label in FEATURES.items() if ask(key) == "1"),
        physical=_count(ask, "hw.physicalcpu") or 1,
        logical=_count(ask, "hw.logicalcpu") or 1,
        quota=None,
        efficiency=efficiency,
        numa_nodes=1,
        caches=_caches(ask, efficiency),
        memory=whole(ask("hw.memsize")),
        clock=float(clock) if clock else None,
    )


def _count(ask: Callable[[str], str], key: str) -> int | None:
    return whole(ask(key))


def _caches(ask: Callable[[str], str], efficiency: int) -> tuple[Cache, ...]:
    """Second and third level; the cores of a level of performance share their second-level cache in clusters."""
    found: list[Cache] = []
    levels = range(2 if efficiency else 1)
    second = [whole(ask(LEVEL.format(n) + "l2cachesize")) or whole(ask("hw.l2cachesize")) for n in levels]
    clusters = [
        max(1, (_count(ask, LEVEL.format(n) + "physicalcpu") or 1) // (_count(ask, LEVEL.format(n) + "cpusperl2") or 1))
        for n in levels
    ]
    capacity = sum(size * count for size, count in zip(second, clusters, strict=True) if size)
    if capacity:
        found.append(Cache(2, capacity, sum(clusters)))
    third = whole(ask("hw.l3cachesize"))
    if third:
        found.append(Cache(3, third, 1))
    return tuple(found)
