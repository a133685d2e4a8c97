"""Meters: counters of the kernel and a management library, both made up, and none at all."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genz.calibration.machine.nvml import Nvml
from genz.calibration.machine.vendors import NullMeter, NvmlMeter, PowerReading, RaplMeter, meter_of, rapl_meter


class FakeNvmlError(Exception):
    """As NVML's own."""


def library(**refused: bool) -> Any:
    """An NVML that tells everything but what is refused."""
    state = {"mJ": 1_000_000, "mW": 250_000}

    def answer(name: str, value: Any) -> Any:
        def ask(*_: Any) -> Any:
            if refused.get(name):
                raise FakeNvmlError("Insufficient Permissions")
            return value() if callable(value) else value

        return ask

    return SimpleNamespace(
        NVMLError=FakeNvmlError,
        NVML_CLOCK_SM=1,
        state=state,
        nvmlInit=answer("init", None),
        nvmlDeviceGetHandleByIndex=answer("handle", "gpu"),
        nvmlSystemGetDriverVersion=answer("driver", "570.1"),
        nvmlDeviceGetMemoryInfo=answer("memory", SimpleNamespace(total=80 * 10**9)),
        nvmlDeviceGetTotalEnergyConsumption=answer("energy", lambda: state["mJ"]),
        nvmlDeviceGetPowerUsage=answer("power", lambda: state["mW"]),
        nvmlDeviceGetEnforcedPowerLimit=answer("limit", 700_000),
        nvmlDeviceGetClockInfo=answer("clock", 1755),
        nvmlDeviceGetMaxClockInfo=answer("clock", 1980),
    )


def clock(*times: float) -> Any:
    ticks: Iterator[float] = iter(times)
    return lambda: next(ticks)


def test_energy_counter_of_a_gpu() -> None:
    nvml = library()
    meter = NvmlMeter(Nvml.open(library=nvml), now=clock(10.0, 12.0))
    meter.begin()
    nvml.state["mJ"] += 900_000
    assert meter.end() == PowerReading(joules=900.0, watts=450.0, limit_watts=700.0, clock_hertz=1.755e9)


def test_a_gpu_without_the_counter_tells_its_power() -> None:
    meter = NvmlMeter(Nvml.open(library=library(energy=True)), now=clock(0.0, 4.0))
    meter.begin()
    assert meter.end() == PowerReading(joules=1000.0, watts=250.0, limit_watts=700.0, clock_hertz=1.755e9)


def test_a_gpu_that_tells_nothing_reads_nothing() -> None:
    gpu = Nvml.open(library=library(energy=True, power=True, limit=True, clock=True, driver=True, memory=True))
    meter = NvmlMeter(gpu, now=clock(0.0, 1.0))
    meter.begin()
    assert meter.end() == PowerReading()
    assert (gpu.driver, gpu.memory, gpu.highest_clock) == (None, None, None)


@pytest.mark.parametrize("refused", ["init", "handle"])
def test_no_rights_to_the_library(refused: str) -> None:
    gpu = Nvml.open(library=library(**{refused: True}))
    assert gpu.library is None
    assert gpu.why_not == "NVML: Insufficient Permissions"
    assert gpu.energy is None


def package(root: Path, number: int, microjoules: int, *, limit: int = 150_000_000) -> Path:
    zone = root / f"sys/class/powercap/intel-rapl:{number}"
    zone.mkdir(parents=True)
    for name, value in (
        ("energy_uj", microjoules),
        ("max_energy_range_uj", 1_000_000_000),
        ("constraint_0_power_limit_uw", limit),
    ):
        (zone / name).write_text(f"{value}\n")
    core = root / f"sys/class/powercap/intel-rapl:{number}:0"  # part of the package: counted there already
    core.mkdir()
    (core / "energy_uj").write_text("7\n")
    return zone


def test_energy_of_packages_adds_up_and_wraps(tmp_path: Path) -> None:
    first, second = package(tmp_path, 0, 10_000_000), package(tmp_path, 1, 999_000_000)
    meter = RaplMeter((first, second), now=clock(0.0, 2.0))
    meter.begin()
    (first / "energy_uj").write_text("40000000\n")  # 30 J
    (second / "energy_uj").write_text("9000000\n")  # over the range: 1 J to it, 9 J beyond
    reading = meter.end()
    assert reading.joules == pytest.approx(40.0)
    assert reading.watts == pytest.approx(20.0)
    assert reading.limit_watts == pytest.approx(300.0)


def test_packages_are_found_and_not_their_parts(tmp_path: Path) -> None:
    package(tmp_path, 0, 1), package(tmp_path, 1, 1)
    found = rapl_meter(tmp_path)
    assert found.is_active
    assert found.note == "RAPL: energy of 2 processor packages"


def test_no_counters_or_no_right_to_read_them(tmp_path: Path) -> None:
    none = rapl_meter(tmp_path)
    assert not none.is_active
    assert "no energy counters" in none.note
    zone = package(tmp_path, 0, 1)
    (zone / "energy_uj").unlink()
    (zone / "energy_uj").mkdir()  # cannot be read, whoever asks
    refused = rapl_meter(tmp_path)
    assert not refused.is_active
    assert "no right" in refused.note


def test_the_null_meter_says_why() -> None:
    meter = meter_of("mps")
    assert isinstance(meter, NullMeter)
    meter.begin()
    assert meter.end() == PowerReading()
    assert "no meter is known" in meter.note
    assert "ROCm" in meter_of("cuda", is_amd=True).note
