"""What processor this is, and how much of it this process may use: from /proc and /sys on Linux.

Any source may be missing, as in a container or on a kernel without it: what it would tell is then left open.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Flags of /proc/cpuinfo that decide how fast GEMMs run: x86 and Arm names side by side.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_fp16": "AVX-512 FP16",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "bf16": "Arm BF16",
    "i8mm": "Arm I8MM",
    "sve": "SVE",
    "sve2": "SVE2",
    "sme": "SME",
}
# Instructions that multiply bfloat16: without them it is converted first, and float32 is the faster type.
BFLOAT16_SETS = ("AVX-512 BF16", "AMX BF16", "Arm BF16", "SME")
VENDORS = {
    "GenuineIntel": "intel",
    "AuthenticAMD": "amd",
    "HygonGenuine": "hygon",
    "0x41": "arm",
    "0x61": "apple",
    "0xc0": "ampere",
    "0x4e": "nvidia",
    "0x48": "hisilicon",
    "0x51": "qualcomm",
}
# Cores of one kind differ by a few per cent in their highest clock (favoured cores); those of another by much more.
OTHER_KIND = 0.8


@dataclass(frozen=True)
class Cache:
    """All caches of one level that the usable cores reach; `capacity` [B] is their sum."""

    level: int
    capacity: int
    instances: int


@dataclass(frozen=True)
class Cpu:
    """A processor as this process may use it. None where nothing tells.

    `physical` and `logical` cores are those that the affinity allows; `quota` is how many cores' time the control group
    grants; `efficiency` of the physical cores are of a slower kind. `clock` [Hz] is the highest, `memory` in bytes.
    """

    name: str
    vendor: str
    instruction_sets: tuple[str, ...]
    physical: int
    logical: int
    quota: float | None
    efficiency: int
    numa_nodes: int
    caches: tuple[Cache, ...]
    memory: int | None
    clock: float | None

    @property
    def threads(self) -> int:
        """Threads that run at once without sharing a core."""
        granted = self.physical if self.quota is None else min(self.physical, math.floor(self.quota))
        return max(1, granted)

    @property
    def last_level_bytes(self) -> int:
        """Capacity of the outermost cache [B], zero where it is not known."""
        return max((cache for cache in self.caches), key=lambda cache: cache.level).capacity if self.caches else 0

    @property
    def multiplies_bfloat16(self) -> bool:
        return any(name in BFLOAT16_SETS for name in self.instruction_sets)


def detect_linux_cpu(root: Path = Path("/"), allowed: Iterable[int] | None = None) -> Cpu:
    """The processor below a root folder that holds /proc and /sys; `allowed` CPUs are those of the affinity unless given."""
    info = _cpu_info(root)
    cpus = tuple(sorted(allowed)) if allowed is not None else _allowed(info)
    system = root / "sys/devices/system"
    return Cpu(
        name=_name(root, info),
        vendor=_vendor(info),
        instruction_sets=_instruction_sets(info),
        physical=len({_core(system / f"cpu/cpu{cpu}/topology", cpu) for cpu in cpus}),
        logical=len(cpus),
        quota=_quota(root),
        efficiency=_efficiency_cores(root, cpus),
        numa_nodes=max(1, len(list((system / "node").glob("node[0-9]*")))),
        caches=_caches(system, cpus),
        memory=_memory(root),
        clock=_clock(system, cpus, info),
    )


def read(path: Path) -> str:
    """The text of a file of the kernel, empty where it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def whole(text: str) -> int | None:
    """A whole number, none where the text is something else."""
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def cpu_list(text: str) -> set[int]:
    """CPUs of a kernel list: "0-2,8" are 0, 1, 2 and 8."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _allowed(info: dict[str, str]) -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(whole(info.get("siblings", "")) or os.cpu_count() or 1))


def _cpu_info(root: Path) -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo."""
    first = read(root / "proc/cpuinfo").split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _name(root: Path, info: dict[str, str]) -> str:
    board = read(root / "sys/firmware/devicetree/base/model")
    return info.get("model name") or info.get("Hardware") or board or f"{_vendor(info)} CPU"


def _vendor(info: dict[str, str]) -> str:
    told = info.get("vendor_id") or info.get("CPU implementer") or "unknown"
    return VENDORS.get(told, told.lower())


def _instruction_sets(info: dict[str, str]) -> tuple[str, ...]:
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(name for flag, name in INSTRUCTION_SETS.items() if flag in flags)


def _core(topology: Path, cpu: int) -> tuple[str, str]:
    """What tells one physical core from another: its package and its number there."""
    number = read(topology / "core_id")
    return (read(topology / "physical_package_id"), number) if number else ("", f"cpu{cpu}")


def _groups(root: Path, controller: str) -> Iterable[Path]:
    """Folders of the control groups that this process is in, innermost first: version 2, then 1."""
    mount = root / "sys/fs/cgroup"
    for line in read(root / "proc/self/cgroup").splitlines() or ["0::/"]:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controller if controllers else mount
        inner = base / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder == base or base in folder.parents)


def _quota(root: Path) -> float | None:
    """Cores' worth of time that the tightest control group grants."""
    found: list[float] = []
    for folder in _groups(root, "cpu"):
        granted, period = (*read(folder / "cpu.max").split(), "", "")[:2]
        granted, period = granted or read(folder / "cpu.cfs_quota_us"), period or read(folder / "cpu.cfs_period_us")
        quota, length = whole(granted), whole(period)
        if quota is not None and length and quota > 0:
            found.append(quota / length)
    return min(found, default=None)


def _memory(root: Path) -> int | None:
    """Bytes of memory that the machine has and the control groups grant."""
    limits = [whole(read(f / name)) for f in _groups(root, "memory") for name in ("memory.max", "memory.limit_in_bytes")]
    total = re.search(r"^MemTotal:\s+(\d+) kB", read(root / "proc/meminfo"), re.MULTILINE)
    installed = [int(total.group(1)) * 1024] if total else []
    return min([*installed, *(limit for limit in limits if limit)], default=None)


def _efficiency_cores(root: Path, cpus: tuple[int, ...]) -> int:
    """Physical cores of a slower kind: as the kernel lists them, or by capacity, or by their highest clock."""
    system = root / "sys/devices/system/cpu"
    listed = cpu_list(read(root / "sys/devices/cpu_atom/cpus"))
    if listed:
        slow = listed
    else:
        speeds = _speeds(system, cpus, "cpu_capacity") or _speeds(system, cpus, "cpufreq/cpuinfo_max_freq")
        fastest = max(speeds.values(), default=0)
        slow = {cpu for cpu, speed in speeds.items() if speed < OTHER_KIND * fastest}
    return len({_core(system / f"cpu{cpu}/topology", cpu) for cpu in slow & set(cpus)})


def _speeds(system: Path, cpus: tuple[int, ...], name: str) -> dict[int, int]:
    found = {cpu: whole(read(system / f"cpu{cpu}" / name)) for cpu in cpus}
    speeds = {cpu: speed for cpu, speed in found.items() if speed}
    return speeds if len(set(speeds.values())) > 1 else {}


def _clock(system: Path, cpus: tuple[int, ...], info: dict[str, str]) -> float | None:
    """Highest clock of any usable core [Hz]; the present one where the kernel does not scale clocks."""
    highest = [whole(read(system / f"cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq")) for cpu in cpus]
    known = [clock * 1e3 for clock in highest if clock]
    if known:
        return max(known)
    present = info.get("cpu MHz", "")
    return float(present) * 1e6 if re.fullmatch(r"\d+(\.\d+)?", present) else None


def _caches(system: Path, cpus: tuple[int, ...]) -> tuple[Cache, ...]:
    """Data and unified caches by level, innermost first; each counts once however many cores share it."""
    sizes: dict[int, dict[str, int]] = {}
    for cpu in cpus:
        for index in sorted((system / f"cpu/cpu{cpu}/cache").glob("index[0-9]*")):
            level, size = whole(read(index / "level")), _size(read(index / "size"))
            if level and size and read(index / "type") != "Instruction":
                sharers = read(index / "shared_cpu_list") or str(cpu)
                sizes.setdefault(level, {})[sharers] = size
    return tuple(Cache(level, sum(each.values()), len(each)) for level, each in sorted(sizes.items()))


def _size(text: str) -> int | None:
    found = re.fullmatch(r"(\d+)([KMG]?)", text)
    return int(found.group(1)) * 1024 ** ("", "K", "M", "G").index(found.group(2)) if found else None
