"""Matrix multiplications on processors: closed forms worked by hand, invariants, rows of both states of the caches, routes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracer import Tracer, traced

from genz.calibration.cells import cells_of, fit_cell
from genz.measurements.conditions import as_measured, is_cold
from genz.measurements.cpu_gemm import CPU_GEMM
from genz.measurements.elementwise import ELEMENTWISE
from genz.measurements.experts import EXPERTS
from genz.measurements.gemm import GEMM
from genz.measurements.registry import every_family, families, on_chip, serves
from genz.operators.shapes import GemmShape
from genz.specs import catalog
from genz.timing.kernels import pricing
from genz.timing.kernels.cpu_gemm import CpuGemmConstants, cpu_gemm_time
from genz.timing.kernels.pricing import Kernels
from genz.timing.kernels.selection import Selected

CPU, GPU = catalog.chip("epyc-9754"), catalog.chip("h100-sxm")
CONSTANTS = CpuGemmConstants(launch=1e5, memory=0.4, vector=0.5, compute=0.9)
TYPE = CPU.computable[0]


def shape(m: Any, n: Any = 1024, k: Any = 1024, batch: Any = 1) -> GemmShape:
    return GemmShape(m, n, k, 2.0, 2.0, 2.0, TYPE, "bfloat16", batch)


def test_terms_add_up() -> None:
    launch, weights = 1e5 / CPU.cores.clock, 2.0 * 4096 * 1024 / CPU.main_memory.bandwidth
    flops = 2.0 * 4096 * 1024 / CPU.multiply_rate(TYPE)
    assert cpu_gemm_time(shape(1, 4096), CPU, CONSTANTS) == pytest.approx(launch + weights / 0.5)
    for m in (2, 64, 4096):
        assert cpu_gemm_time(shape(m, 4096), CPU, CONSTANTS) == pytest.approx(launch + weights / 0.4 + m * flops / 0.9)
    three = cpu_gemm_time(shape(64, 4096, batch=3), CPU, CONSTANTS) - launch
    assert three == pytest.approx(3 * (weights / 0.4 + 64 * flops / 0.9))


def test_what_fits_the_cache_comes_at_its_rate_if_warm() -> None:
    levels = list(CPU.memory.values())
    tiny = shape(1, 64, 64)
    launch = 1e5 / CPU.cores.clock
    warm = cpu_gemm_time(tiny, CPU, CONSTANTS, warm=True) - launch
    assert warm == pytest.approx(2.0 * 64 * 64 / levels[1].bandwidth / 0.5, rel=1e-6)
    huge = shape(1, 2**20, 2**14)
    assert cpu_gemm_time(huge, CPU, CONSTANTS, warm=True) == pytest.approx(cpu_gemm_time(huge, CPU, CONSTANTS))


SIZES = st.integers(1, 8192)


@given(SIZES, SIZES, SIZES, st.booleans())
def test_never_faster_than_the_roofline_nor_with_more_work(m: int, n: int, k: int, warm: bool) -> None:
    perfect = CpuGemmConstants(memory=1.0, vector=1.0, compute=1.0)
    time = cpu_gemm_time(shape(m, n, k), CPU, perfect, warm=warm)
    fastest = max(level.bandwidth for level in CPU.memory.values()) if warm else CPU.main_memory.bandwidth
    assert time >= 2.0 * n * k / fastest
    assert m == 1 or time >= 2.0 * m * n * k / CPU.multiply_rate(TYPE)
    assert cpu_gemm_time(shape(m + 1, n, k), CPU, CONSTANTS) >= cpu_gemm_time(shape(m, n, k), CPU, CONSTANTS)
    assert cpu_gemm_time(shape(m, n + 64, k), CPU, CONSTANTS) >= cpu_gemm_time(shape(m, n, k), CPU, CONSTANTS)


def test_arrays_and_symbols_are_as_numbers_are() -> None:
    rows, columns = np.array([1.0, 2.0, 700.0]), np.array([[256.0], [4096.0]])
    together = cpu_gemm_time(shape(rows, columns), CPU, CONSTANTS, warm=True)
    single = [[cpu_gemm_time(shape(float(m), float(n[0])), CPU, CONSTANTS, warm=True) for m in rows] for n in columns]
    np.testing.assert_allclose(together, single)  # type: ignore[arg-type]
    found = cpu_gemm_time(shape(Tracer(8.0)), CPU, CONSTANTS)  # type: ignore[arg-type]
    assert traced(found) == pytest.approx(cpu_gemm_time(shape(8.0), CPU, CONSTANTS))


def table(**columns: Any) -> pd.DataFrame:
    rows = pd.DataFrame({"hardware": CPU.name, "framework": "pytorch", "framework_version": "2.9", "op": "gemm", **columns})
    for name in ("batch", "num_tokens", "n_heads", "tp", "kernel", "notes", "hidden", "inter"):
        if name not in rows:
            rows[name] = np.nan if name not in ("kernel", "notes") else ""
    return rows


def test_rows_say_whether_they_are_cold() -> None:
    notes = ["9 repeats; cold", "9 repeats; cold; clock 1980 MHz", "cold", "colder; times", "", None]
    rows = pd.DataFrame({"notes": pd.Series(notes, dtype=object)})
    assert is_cold(rows).tolist() == [True, True, True, False, False, False]
    assert not is_cold(pd.DataFrame({"op": ["gemm"]})).any()
    states = as_measured(rows, lambda warm: np.full(6, 1.0 if warm else 2.0))
    assert states.tolist() == [2, 2, 2, 1, 1, 1]


def test_rows_are_priced_in_the_state_that_they_were_measured_in() -> None:
    rows = table(m=[1, 64], n=1024, k=1024, dtype="bf16", notes=["5 repeats; cold", "5 repeats"])
    found = CPU_GEMM.times(rows, CPU, CONSTANTS, "packed")
    wanted = [cpu_gemm_time(shape(1), CPU, CONSTANTS), cpu_gemm_time(shape(64), CPU, CONSTANTS, warm=True)]
    np.testing.assert_allclose(found, wanted)


def test_constants_are_found_again() -> None:
    sizes = [(m, n, k) for m in (1, 2, 8, 32, 128, 512) for n, k in ((1024, 1024), (4096, 1024), (768, 3072), (256, 1024))]
    m, n, k = zip(*sizes, strict=True)
    truth = replace(CONSTANTS, launch=3e5, memory=0.3)
    rows = table(m=m, n=n, k=k, dtype="bfloat16", notes="cold")
    rows["measured_s"] = CPU_GEMM.times(rows, CPU, truth, "packed")
    ((key, cell),) = cells_of(CPU_GEMM, rows)
    fitted = fit_cell(CPU_GEMM, key, cell, CPU)
    assert fitted is not None and fitted.held_out.mean < 0.02
    assert fitted.fitted.constants.launch == pytest.approx(3e5, rel=0.05)
    assert fitted.fitted.constants.memory == pytest.approx(0.3, rel=0.05)
    assert "vector" not in CPU_GEMM.free(rows[rows["m"] > 1], "packed")


def test_processors_have_a_family_of_their_own() -> None:
    assert on_chip(GEMM, CPU) is CPU_GEMM and on_chip(GEMM, GPU) is GEMM
    assert (serves(GEMM, GPU), serves(GEMM, CPU), serves(CPU_GEMM, CPU), serves(CPU_GEMM, GPU)) == (True, False, True, False)
    assert all(serves(families()["moe"], chip) for chip in (CPU, GPU))
    names = [family.name for family in every_family()]
    assert len(names) == len(set(names)) and {"gemm", "cpu_gemm"} <= set(names)


def test_32_bit_floats_go_by_one_name_and_need_no_shorter_type() -> None:
    rows = table(m=[4, 4], n=1024, k=1024, dtype=["fp32", "float32"])
    assert (CPU_GEMM.refusals(rows) == "").all()
    assert set(CPU_GEMM.keys(rows)["format"]) == {"float32"}
    assert "does not multiply" in CPU_GEMM.refusals(table(m=[4], n=8, k=8, dtype="nvfp4"))[0]
    experts = table(op="moe", dtype=["fp32", "float32"])
    assert set(EXPERTS.keys(experts)["format"]) == {"float32"}


def test_formats_of_passes_are_apart_on_processors_alone() -> None:
    rows = table(op="norm", dtype=["bf16", "fp32"], num_tokens=4.0, hidden=64.0)
    assert ELEMENTWISE.keys(rows)["format"].tolist() == ["bfloat16", "float32"]
    assert ELEMENTWISE.keys(rows.assign(hardware=GPU.name))["format"].tolist() == ["", ""]
    assert ELEMENTWISE.keys(rows.assign(hardware="nobody's"))["format"].tolist() == ["", ""]
    kinds = table(op=["layer_norm", "cache_append"], dtype="fp32", num_tokens=4.0, hidden=64.0)
    assert ELEMENTWISE.keys(kinds)["kernel"].tolist() == ["layer_norm", "cache_append"]
    assert ELEMENTWISE.shape_names(kinds) == ["layer_norm 2048", "cache_append 2048"]


def selecting(cells: dict[tuple[str, str, str], dict[str, float]], relation: str = "own") -> Any:
    """A selection among made-up cells {(family, format, kernel): constants}: the exact one, else the family's first."""

    def select(_chip: Any, family: str, *, format: str = "", kernel: str = "", **_names: Any) -> Selected | None:  # noqa: A002
        own = [key for key in cells if key[0] == family]
        exact = [key for key in own if key == (family, format, kernel)]
        if not own:
            return None
        key = (exact or own)[0]
        return Selected(cells[key], "packed", relation, (-0.1, 0.1), (1e-6, 1.0), key[2], " ".join(key))

    return select


CELLS = {
    ("cpu_gemm", "bfloat16", ""): {"launch": 1e5},
    ("elementwise", "bfloat16", "norm"): {"launch": 5e4},
    ("elementwise", "bfloat16", "residual"): {"launch": 5e3, "memory": 0.5},
    ("elementwise", "float32", "norm"): {"launch": 2e4},
}


def kernels(monkeypatch: pytest.MonkeyPatch, chip: Any = CPU, **options: Any) -> Kernels:
    monkeypatch.setattr(pricing, "select", selecting(CELLS, **options))
    return Kernels(chip, catalog.engine("pytorch"), "bfloat16")


def test_a_processor_is_priced_by_its_own_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = kernels(monkeypatch)
    priced = found.gemm(shape(64))
    assert priced is not None and priced.selected.source.split()[0] == "cpu_gemm"
    assert priced.time == pytest.approx(cpu_gemm_time(shape(64), CPU, CpuGemmConstants()))
    assert priced.launch == pytest.approx(1e5 / CPU.cores.clock)
    assert kernels(monkeypatch, GPU).gemm(shape(64)) is None
    assert found.holds_launches and not kernels(monkeypatch, GPU).holds_launches


def test_passes_on_a_processor_go_by_format_and_are_warm_but_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    found = kernels(monkeypatch)
    cycles = {name: found.elementwise(0.0, name).time * CPU.cores.clock for name in ("norm", "layer_norm", "cache_append")}  # type: ignore[union-attr]
    assert cycles == pytest.approx({"norm": 5e4, "layer_norm": 5e4, "cache_append": 5e3})
    single = replace(found, format="float32").elementwise(0.0, "norm")
    assert single is not None and single.time == pytest.approx(2e4 / CPU.cores.clock)
    appended = found.elementwise(1e6, "cache_append")
    assert appended is not None
    assert appended.time - appended.launch == pytest.approx(1e6 / (0.5 * CPU.main_memory.bandwidth))


def test_what_an_engine_adds_on_other_chips_is_not_added_to_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {("engine", "bfloat16", ""): {"step": 0.1}}
    for relation, is_taken in (("own", True), ("sibling", True), ("other", False)):
        monkeypatch.setattr(pricing, "select", selecting(cells, relation))
        assert (Kernels(CPU, catalog.engine("pytorch"), "bfloat16").overheads is not None) is is_taken
        assert Kernels(GPU, catalog.engine("pytorch"), "bfloat16").overheads is not None
