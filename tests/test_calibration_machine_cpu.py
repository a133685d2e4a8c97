"""Processors as the kernel's files describe them: real layouts written out by hand, sources left out one by one."""

from pathlib import Path

import pytest

from genz.calibration.machine.cpu import Cache, Cpu, cpu_list, detect_linux_cpu
from genz.calibration.machine.macos import detect_macos_cpu

X86 = "vendor_id\t: {vendor}\nmodel name\t: {name}\ncpu MHz\t\t: 2600.000\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def put(root: Path, path: str, text: str) -> None:
    write(root, **{path: text})


def core(root: Path, cpu: int, *, number: int, package: int = 0, clock: int | None = None) -> None:
    base = f"sys/devices/system/cpu/cpu{cpu}"
    put(root, f"{base}/topology/core_id", str(number))
    put(root, f"{base}/topology/physical_package_id", str(package))
    if clock is not None:
        put(root, f"{base}/cpufreq/cpuinfo_max_freq", str(clock))


def cache(root: Path, cpu: int, index: int, level: int, size: str, sharers: str, kind: str = "Unified") -> None:
    base = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
    for name, text in (("level", str(level)), ("size", size), ("type", kind), ("shared_cpu_list", sharers)):
        put(root, f"{base}/{name}", text)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Two packages of two cores with two threads each; a third-level cache for each package."""
    put(tmp_path, "proc/cpuinfo", X86.format(vendor="GenuineIntel", name="Xeon", flags="avx2 avx512f amx_bf16 amx_int8"))
    put(tmp_path, "proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB")
    for cpu in range(8):
        package, number = cpu // 2 % 2, cpu % 2
        core(tmp_path, cpu, number=number, package=package, clock=3_800_000)
        siblings = f"{cpu % 4},{cpu % 4 + 4}"
        cache(tmp_path, cpu, 0, 1, "48K", siblings, "Data")
        cache(tmp_path, cpu, 1, 1, "32K", siblings, "Instruction")
        cache(tmp_path, cpu, 2, 2, "2048K", siblings)
        cache(tmp_path, cpu, 3, 3, "105M", f"{2 * package}-{2 * package + 1},{2 * package + 4}-{2 * package + 5}")
    for node in range(2):
        (tmp_path / f"sys/devices/system/node/node{node}").mkdir(parents=True)
    return tmp_path


def test_counts_cores_threads_and_caches_once(server: Path) -> None:
    found = detect_linux_cpu(server, allowed=range(8))
    assert (found.physical, found.logical, found.numa_nodes, found.efficiency) == (4, 8, 2, 0)
    assert found.caches == (
        Cache(1, 4 * 48 * 1024, 4),
        Cache(2, 4 * 2048 * 1024, 4),
        Cache(3, 2 * 105 * 1024**2, 2),
    )
    assert found.last_level_bytes == 2 * 105 * 1024**2
    assert found.instruction_sets == ("AVX2", "AVX-512", "AMX BF16", "AMX INT8")
    assert found.multiplies_bfloat16
    assert (found.vendor, found.memory, found.clock) == ("intel", 2**30, 3.8e9)


def test_affinity_leaves_what_it_allows(server: Path) -> None:
    found = detect_linux_cpu(server, allowed=(0, 4))
    assert (found.physical, found.logical, found.threads) == (1, 2, 1)
    assert found.caches[-1] == Cache(3, 105 * 1024**2, 1)


@pytest.mark.parametrize(
    ("files", "quota", "threads"),
    [
        ({}, None, 4),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None, 4),
        ({"sys/fs/cgroup/cpu.max": "250000 100000"}, 2.5, 2),
        ({"sys/fs/cgroup/cpu.max": "20000 100000"}, 0.2, 1),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "100000 100000"}, 1.0, 1),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "3 1", "sys/fs/cgroup/a/cpu.max": "2 1"}, 2.0, 2),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/x\n3:memory:/x",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
            },
            1.5,
            1,
        ),
        ({"proc/self/cgroup": "4:cpu:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}, None, 4),
    ],
)
def test_control_groups_grant_time(server: Path, files: dict[str, str], quota: float | None, threads: int) -> None:
    for path, text in files.items():
        put(server, path, text)
    found = detect_linux_cpu(server, allowed=range(8))
    assert (found.quota, found.threads) == (quota, threads)


def test_memory_is_what_the_tightest_control_group_grants(server: Path) -> None:
    put(server, "sys/fs/cgroup/memory.max", str(2**28))
    assert detect_linux_cpu(server, allowed=range(8)).memory == 2**28


def hybrid(root: Path) -> Path:
    put(root, "proc/cpuinfo", X86.format(vendor="GenuineIntel", name="Core Ultra", flags="avx2 avx_vnni"))
    for cpu in range(4):  # two performance cores with two threads each
        core(root, cpu, number=cpu // 2, clock=5_400_000 - cpu // 2 * 200_000)
    for cpu in (4, 5):
        core(root, cpu, number=cpu * 8, clock=3_800_000)
    return root


def test_efficiency_cores_by_list_by_capacity_and_by_clock(tmp_path: Path) -> None:
    by_clock = hybrid(tmp_path / "clock")
    assert detect_linux_cpu(by_clock, allowed=range(6)).efficiency == 2
    listed = hybrid(tmp_path / "list")
    put(listed, "sys/devices/cpu_core/cpus", "0-3")
    put(listed, "sys/devices/cpu_atom/cpus", "5")
    assert detect_linux_cpu(listed, allowed=range(6)).efficiency == 1
    by_capacity = hybrid(tmp_path / "capacity")
    for cpu in range(6):
        put(by_capacity, f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", "1024" if cpu < 4 else "400")
    assert detect_linux_cpu(by_capacity, allowed=range(6)).efficiency == 2


def test_favoured_cores_are_not_another_kind(tmp_path: Path) -> None:
    for cpu, clock in enumerate((5_700_000, 5_700_000, 5_400_000, 5_200_000)):
        core(tmp_path, cpu, number=cpu, clock=clock)
    assert detect_linux_cpu(tmp_path, allowed=range(4)).efficiency == 0


def test_arm_server(tmp_path: Path) -> None:
    put(
        tmp_path,
        "proc/cpuinfo",
        "processor\t: 0\nFeatures\t: fp asimd sve sve2 bf16 i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f",
    )
    found = detect_linux_cpu(tmp_path, allowed=(0, 1))
    assert (found.vendor, found.name) == ("arm", "arm CPU")
    assert found.instruction_sets == ("NEON", "Arm BF16", "Arm I8MM", "SVE", "SVE2")
    assert found.multiplies_bfloat16


def test_nothing_is_there(tmp_path: Path) -> None:
    found = detect_linux_cpu(tmp_path, allowed=(0, 1, 2))
    assert (found.physical, found.logical, found.threads, found.numa_nodes) == (3, 3, 3, 1)
    assert (found.caches, found.memory, found.clock, found.quota, found.last_level_bytes) == ((), None, None, None, 0)
    assert not found.multiplies_bfloat16


def test_nonsense_in_files_is_ignored(server: Path) -> None:
    put(server, "sys/devices/system/cpu/cpu0/cache/index2/size", "two mebibytes")
    put(server, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "<unknown>")
    put(server, "sys/fs/cgroup/cpu.max", "")
    found = detect_linux_cpu(server, allowed=(0,))
    assert [cache.level for cache in found.caches] == [1, 3]
    assert (found.quota, found.clock) == (None, 2.6e9)  # the clock of now, from /proc/cpuinfo


@pytest.mark.parametrize(("text", "cpus"), [("0-2,8", {0, 1, 2, 8}), ("5", {5}), ("", set()), ("0-0", {0})])
def test_lists_of_the_kernel(text: str, cpus: set[int]) -> None:
    assert cpu_list(text) == cpus


def test_this_machine_is_described() -> None:
    found = detect_linux_cpu()
    assert isinstance(found, Cpu)
    assert 1 <= found.threads <= found.physical <= found.logical


def test_macos() -> None:
    answers = {
        "machdep.cpu.brand_string": "Apple M2",
        "hw.physicalcpu": "8",
        "hw.logicalcpu": "8",
        "hw.perflevel0.physicalcpu": "4",
        "hw.perflevel0.l2cachesize": str(16 * 2**20),
        "hw.perflevel0.cpusperl2": "4",
        "hw.perflevel1.physicalcpu": "4",
        "hw.perflevel1.l2cachesize": str(4 * 2**20),
        "hw.perflevel1.cpusperl2": "4",
        "hw.memsize": str(16 * 2**30),
        "hw.optional.neon": "1",
        "hw.optional.arm.FEAT_BF16": "1",
        "hw.optional.arm.FEAT_SME": "0",
    }
    found = detect_macos_cpu(lambda key: answers.get(key, ""))
    assert (found.vendor, found.physical, found.efficiency, found.threads) == ("apple", 8, 4, 8)
    assert found.caches == (Cache(2, 20 * 2**20, 2),)
    assert found.memory == 16 * 2**30
    assert found.instruction_sets == ("NEON", "Arm BF16")
    silent = detect_macos_cpu(lambda _: "")
    assert (silent.physical, silent.caches, silent.memory) == (1, (), None)
