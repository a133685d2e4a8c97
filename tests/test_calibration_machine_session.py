"""A run of the design: what is kept, what is done again, and the chip that comes of it."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from genz.calibration.machine import backend
from genz.calibration.machine.backend import choose_device, load_torch
from genz.calibration.machine.chip_file import measured_rates, write_chip
from genz.calibration.machine.cpu import Cache, Cpu
from genz.calibration.machine.designs import CPU_GRID, GPU_GRID, Case, design
from genz.calibration.machine.detect import Machine, chip_name, chip_of
from genz.calibration.machine.gpu import Gpu
from genz.calibration.machine.session import Session
from genz.calibration.machine.store import Store
from genz.calibration.machine.vendors import NullMeter
from genz.errors import InvalidValueError, SpecError, UnsupportedError
from genz.measurements.table import read_table
from genz.specs import catalog
from genz.specs.hardware import Chip

CPU = Cpu(
    name="Acme(R) Brand CPU @ 2.0GHz",
    vendor="amd",
    instruction_sets=("AVX2",),
    physical=2,
    logical=4,
    quota=None,
    efficiency=0,
    numa_nodes=1,
    caches=(Cache(1, 2**16, 2), Cache(2, 2**21, 2), Cache(3, 2**25, 1)),
    memory=2**34,
    clock=2e9,
)
MACHINE = Machine("cpu", CPU, None, "2.9", 2)
CASES = [Case("gemm", "fp32", {"m": m, "n": 8, "k": 8}, 2.0 * m * 64, 4.0 * (16 * m + 64), is_cold=True) for m in (1, 2, 4, 8)]
SMALL = [
    Case("prefill_attention", "fp32", {"batch": 1, "q_len": 4, "past_kv": 0, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8}),
    Case("decode_attention", "fp32", {"batch": 2, "q_len": 1, "past_kv": 3, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8}),
    *(
        Case(op, "fp32", {"num_tokens": 2, "hidden": 8})
        for op in ("norm", "layer_norm", "residual_add", "embedding", "copy", "read")
    ),
    Case("activation", "fp32", {"num_tokens": 2, "hidden": 8, "inter": 8}),
    Case("rope", "fp32", {"num_tokens": 2, "hidden": 16, "head_dim": 8}),
    Case("moe", "fp32", {"num_tokens": 4, "hidden": 16, "inter": 16, "topk": 2, "n_experts": 4, "moe_tp": 1, "moe_ep": 1}),
    *(Case(op, "fp32", {"num_tokens": 1, "hidden": 1}) for op in ("launch", "module_call")),
]


def gpu(name: str, memory: int, units: int, vendor: str = "nvidia") -> Machine:
    return Machine("cuda", CPU, Gpu(name, vendor, "1", units, memory, 50 * 2**20, 1.8e9, 700.0, 1), "2.9", 2)


def session(tmp_path: Path, budget: float = 60.0, **details: Any) -> Session:
    store = details.pop("store", None) or Store.open(tmp_path, MACHINE.identity())
    return Session(load_torch(), MACHINE, store, NullMeter("none"), budget, **details)


def test_every_operator_of_the_design_runs(tmp_path: Path) -> None:
    run = session(tmp_path)
    assert run.run([*CASES, *SMALL]) == 0
    assert [name for name, record in run.store.done.items() if "failed" in record] == []
    path = run.store.write_tables("brand-2-cores")[0]
    table = read_table(path)
    everything = pd.read_parquet(path)
    assert table.kind == "ops"
    assert set(everything["op"]) == {case.op for case in [*CASES, *SMALL]}
    assert (everything["measured_s"] > 0).all()
    assert set(everything["source"]) == {"genz_calibrate"}
    assert set(everything["hardware"]) == {"brand-2-cores"}


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    seen: list[str] = []

    def interrupt(done: int, total: int, text: str) -> None:
        assert total == len(CASES)
        if done == 2:
            raise KeyboardInterrupt
        seen.append(text)

    first = session(tmp_path, report=interrupt)
    with pytest.raises(KeyboardInterrupt):
        first.run(CASES)
    assert seen == [case.name for case in CASES[:2]]
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"case": "torn in the mid')  # as a kill leaves it
    again: list[str] = []
    second = session(tmp_path, report=lambda _, __, text: again.append(text))
    quiet = {name: {**record, "row": {**record["row"], "quality": "ok"}} for name, record in second.store.done.items()}
    second.store.done = quiet
    second.run(CASES)
    measured = [text for text in again if text and text not in {case.name for case in CASES[:2]}]
    assert measured[:2] == [case.name for case in CASES[2:]]
    assert len(Store.open(tmp_path, MACHINE.identity()).done) == len(CASES)


def test_what_was_disturbed_is_measured_again_and_the_shorter_stands(tmp_path: Path) -> None:
    store = Store.open(tmp_path, {"device": "cpu"})
    record = {"kind": "ops", "row": {"measured_s": 2.0, "quality": "spread"}}
    store.add("a", record)
    store.add("a", {"kind": "ops", "row": {"measured_s": 3.0, "quality": "spread"}})
    assert store.done["a"]["row"]["measured_s"] == 2.0
    store.add("a", {"kind": "ops", "row": {"measured_s": 1.5, "quality": "spread"}})
    assert (store.done["a"]["row"]["measured_s"], store.disturbed) == (1.5, 1)
    store.add("a", {"kind": "ops", "row": {"measured_s": 1.7, "quality": "ok"}})
    assert (store.done["a"]["row"]["measured_s"], store.disturbed) == (1.7, 0)
    assert Store.open(tmp_path, {"device": "cpu"}).done["a"]["row"]["measured_s"] == 1.7


def test_a_case_that_the_device_refuses_is_noted_and_not_tried_again(tmp_path: Path) -> None:
    # The query's heads are no multiple of the keys'.
    wrong = Case(
        "prefill_attention", "fp32", {"batch": 1, "q_len": 4, "past_kv": 0, "n_heads": 3, "n_kv_heads": 2, "head_dim": 8}
    )
    run = session(tmp_path)
    run.run([wrong])
    assert run.store.done[wrong.name]["failed"]
    assert run.store.tables("x") == {}


def test_the_budget_ends_a_run(tmp_path: Path) -> None:
    ticks = iter(range(10**9))
    run = session(tmp_path, budget=1.5, now=lambda: float(next(ticks)))
    assert run.run(CASES) > 0


def test_a_journal_of_another_machine_is_not_continued(tmp_path: Path) -> None:
    Store.open(tmp_path, MACHINE.identity())
    with pytest.raises(InvalidValueError, match="torch differ") as error:
        Store.open(tmp_path, {**MACHINE.identity(), "torch": "3.0"})
    assert "--fresh" in str(error.value)
    assert Store.open(tmp_path, {"torch": "3.0"}, fresh=True).done == {}


@pytest.mark.parametrize("text", ["[1]\n", "not JSON\n", '{"case": "a"}\n', '{"machine": 1}\n'])
def test_a_file_that_is_no_journal(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.jsonl").write_text(text)
    with pytest.raises(SpecError, match="journal"):
        Store.open(tmp_path, MACHINE.identity())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot write"):
        Store.open(tmp_path / "file" / "below", MACHINE.identity())


@pytest.mark.parametrize("grid", [CPU_GRID, GPU_GRID])
def test_the_design_identifies_constants_and_ends_anywhere(grid: Any) -> None:
    cases = design(grid, ("fp32", "bfloat16"), is_host=False, most_flops=1e15, most_bytes=1e12)
    assert len({case.name for case in cases}) == len(cases)
    counts = pd.Series([f"{case.op} {case.dtype}" for case in cases if case.op not in ("launch", "module_call")]).value_counts()
    assert counts.drop([name for name in counts.index if name.startswith(("host_to", "device_to"))]).min() >= 12
    groups = {(case.op, case.dtype) for case in cases}
    assert {(case.op, case.dtype) for case in cases[: len(groups)]} == groups  # each once before any twice
    small = design(grid, ("fp32",), is_host=True, most_flops=1e9, most_bytes=1e8)
    assert max(case.flops for case in small) <= 1e9
    assert not any(case.op in ("host_to_device", "device_to_host") for case in small)


def rows() -> pd.DataFrame:
    """Measurements whose rates are known: 100 GFLOP/s, and 10, 40 and 80 GB/s from memory, L3 and L2."""
    gemms = [
        {"op": "gemm", "dtype": d, "m": 100, "n": 100, "k": 100, "measured_s": s}
        for d, s in (("fp32", 2e-5), ("bfloat16", 1e-5))
    ]
    sweep = [(2**20, 80e9), (2**23, 40e9), (2**28, 10e9)]
    reads = [
        {"op": "read", "dtype": "fp32", "num_tokens": b // 4096, "hidden": 1024, "measured_s": b / rate} for b, rate in sweep
    ]
    return pd.DataFrame([*gemms, *reads])


def test_rates_are_those_of_the_level_that_holds_the_buffer() -> None:
    rates = measured_rates(rows(), {"l3": 2**25, "l2": 2**21})
    assert rates.matrix == {"fp32": pytest.approx(1e11), "bf16": pytest.approx(2e11)}
    assert rates.bandwidth == {"main": pytest.approx(10e9), "l3": pytest.approx(40e9), "l2": pytest.approx(80e9)}
    with pytest.raises(InvalidValueError, match="too little"):
        measured_rates(rows().head(2), {})


def test_the_chip_file_is_one_that_predictions_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_chip(MACHINE, rows(), tmp_path)
    chip = Chip.from_file(path)
    assert chip.name == chip_name(MACHINE) == "acme-brand-2-cores"
    assert chip.cores.count == 2
    assert list(chip.memory) == ["dram", "l3", "l2"]
    assert chip.main_memory.capacity == 2**34
    assert chip.main_memory.bandwidth == pytest.approx(10e9, rel=1e-3)
    assert chip.provenance["matrix_flops.bf16"].source.startswith("measured by genz calibrate")
    assert chip.provenance["power.tdp"].estimate
    monkeypatch.setenv("GENZ_SPECS", "")
    catalog.prefer(tmp_path)
    try:
        assert catalog.chip(chip.name) == chip
        assert catalog.chip("h200").name == "h200"
    finally:
        monkeypatch.setenv("GENZ_SPECS", "")
        catalog.forget()


@pytest.mark.parametrize(
    ("name", "mebibytes", "units", "chip"),
    [
        ("NVIDIA H200", 143_771, 132, "h200"),
        ("NVIDIA H100 80GB HBM3", 81_559, 132, "h100-sxm"),
        ("NVIDIA A100-SXM4-80GB", 81_920, 108, "a100-sxm-80gb"),
        ("NVIDIA A100-SXM4-40GB", 40_960, 108, "a100-sxm-40gb"),
        ("NVIDIA L40S", 46_068, 142, "l40s"),
        ("NVIDIA H200 NVL", 143_771, 132, "h200-nvl"),  # and made of the words of an H200, too
        ("NVIDIA H200", 70_000, 66, None),  # a slice of one
        ("NVIDIA Something Else", 143_771, 132, None),
    ],
)
def test_gpus_by_their_drivers_names(name: str, mebibytes: int, units: int, chip: str | None) -> None:
    found = chip_of(gpu(name, mebibytes * 2**20, units))
    assert (found.name if found else None) == chip


def test_a_processor_of_which_some_cores_are_ours_is_not_the_chip() -> None:
    assert chip_of(MACHINE) is None
    assert chip_name(gpu("NVIDIA Something Else", 2**30, 10)) == "nvidia-something-else"


def test_no_torch_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(backend, "import_module", missing)
    with pytest.raises(UnsupportedError, match=r'pip install "genz\[calibrate\]"'):
        load_torch()


def test_a_device_that_is_not_there() -> None:
    torch = load_torch()
    assert choose_device(torch, "cpu") == "cpu"
    absent = next(name for name in ("mps", "cuda") if name != choose_device(torch, "auto"))
    with pytest.raises(InvalidValueError, match="finds no") as error:
        choose_device(torch, absent)
    assert "cpu" in str(error.value.allowed)
    with pytest.raises(InvalidValueError, match="not known"):
        choose_device(torch, "abacus")


def test_records_are_json_that_others_can_read(tmp_path: Path) -> None:
    run = session(tmp_path)
    run.run(CASES[:1])
    first, second = (json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()[:2])
    assert first["machine"]["device"] == "cpu"
    assert second["row"]["m"] == 1
    assert second["row"]["quality"] in ("ok", "spread")
