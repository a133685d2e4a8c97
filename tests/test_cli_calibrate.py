"""`genz calibrate` from the command line: bad questions, files alone, and a short run on the processor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genz.calibration.machine import backend, session
from genz.calibration.machine.designs import Grid
from genz.cli import main
from genz.specs import catalog


class Shell:
    """Runs `genz calibrate` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        try:
            main(["calibrate", *arguments])
            status = 0
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            status = stop.code
        out, err = self.capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("GENZ_SPECS", "")
    monkeypatch.chdir(tmp_path)
    yield Shell(capsys)
    monkeypatch.setenv("GENZ_SPECS", "")
    catalog.forget()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--budget", "0"], "--budget: '0' is not allowed"),
        (["--budget", "soon"], "--budget: 'soon' is not allowed"),
        (["--device", "abacus"], "'abacus' is not one of"),
        (["ops.parquet"], "read with --from only"),
        (["--engine", "vllm"], "--engine is read with --from only"),
        (["--from", "nowhere.parquet"], "does not exist"),
    ],
)
def test_wrong_questions(shell: Shell, arguments: list[str], problem: str) -> None:
    status, out, err = shell.run(*arguments)
    assert (status, out) == (2, "")
    assert problem in err
    assert len(err.strip().splitlines()) == 1


def gemms(hardware: str = "h200", framework: str = "vllm") -> pd.DataFrame:
    """A table of GEMMs at a constant rate, with a floor."""
    rng = np.random.default_rng(0)
    m, n, k = (rng.choice([64, 256, 1024, 4096, 8192], 40) for _ in range(3))
    rows = pd.DataFrame({"m": m, "n": n, "k": k}).drop_duplicates()
    seconds = 5e-6 + 2.0 * rows.prod(axis=1) / 500e12
    return rows.assign(hardware=hardware, op="gemm", framework=framework, dtype="bfloat16", kernel="any", measured_s=seconds)


def test_fitting_a_file(shell: Shell, tmp_path: Path) -> None:
    gemms().to_parquet(tmp_path / "mine.parquet")
    status, out, err = shell.run("--from", "mine.parquet", "--out", "fitted")
    assert status == 0, err
    files = [Path(line) for line in out.splitlines()]
    assert files
    assert all(path.is_file() for path in files)
    assert any(path.parent.name == "h200" for path in files)
    assert "rows of ops, 0 refused" in err
    assert "gemm" in err


def test_one_engine_of_several(shell: Shell, tmp_path: Path) -> None:
    pd.concat([gemms(), gemms(framework="sglang")]).to_csv(tmp_path / "mine.csv", index=False)
    status, out, err = shell.run("--from", "mine.csv", "--out", "fitted", "--engine", "vllm")
    assert status == 0, err
    assert {Path(line).stem for line in out.splitlines()} & {"vllm", "sglang"} == {"vllm"}
    status, _, err = shell.run("--from", "mine.csv", "--engine", "vlm")
    assert status == 2
    assert "did you mean 'vllm'" in err


def test_too_few_rows_to_identify_a_constant(shell: Shell, tmp_path: Path) -> None:
    gemms().head(5).to_parquet(tmp_path / "few.parquet")
    status, _, err = shell.run("--from", "few.parquet", "--out", "fitted")
    assert status == 2
    assert "rows enough to identify its constants" in err


def test_no_torch(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(backend, "import_module", missing)
    status, _, err = shell.run("--device", "cpu")
    assert status == 2
    assert 'pip install "genz[calibrate]"' in err


TINY = Grid(
    rows=(1, 2, 4, 8, 16, 24),
    matrices=((16, 16), (32, 16), (16, 32)),
    lengths=(4,),
    batches=(1,),
    contexts=(3,),
    decode_batches=(1,),
    heads=((2, 2, 8),),
    tokens=(1, 2),
    widths=(128,),
    experts=((16, 8, 4, 2),),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A design that a processor runs through in a moment, counted as quiet whatever runs beside it."""
    monkeypatch.setattr(session, "CPU_GRID", TINY)
    monkeypatch.setattr(session, "LARGEST_CACHE", 2**20)
    monkeypatch.setattr(session, "backend_of", lambda *_: None)
    monkeypatch.setattr("genz.calibration.machine.designs.SWEEP", tuple(2**p for p in range(14, 21)))
    monkeypatch.setattr("genz.calibration.machine.timer.WIDEST_SPREAD", 1e9)
    monkeypatch.setattr("genz.calibration.machine.timer.MOST_PREEMPTIONS", 1e9)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_from_nothing_to_a_calibration_and_again(shell: Shell, tmp_path: Path) -> None:
    status, out, err = shell.run("--device", "cpu", "--budget", "20", "--out", "mine")
    assert status == 0, err
    written = [Path(line) for line in out.splitlines()]
    chips = [path for path in written if path.parent.name == "chips"]
    assert [path.parent.parent.name for path in chips] == ["hardware_specs"]
    assert catalog.chip(chips[0].stem).kind_of_chip == "cpu"
    assert any(path.stem == "pytorch" for path in written)
    assert pd.read_parquet(tmp_path / "mine/measurements/ops.parquet")["op"].nunique() > 8
    journal = tmp_path / "mine/measurements/journal.jsonl"
    lines = len(journal.read_text().splitlines())
    status, again, err = shell.run("--device", "cpu", "--budget", "20", "--out", "mine")
    assert (status, again) == (0, out), err
    assert len(journal.read_text().splitlines()) == lines  # nothing was left to measure


@pytest.mark.usefixtures("tiny")
def test_ctrl_c_keeps_what_is_measured(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, calls = session.Session._measure, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(session.Session, "_measure", interrupted)
    status, _, err = shell.run("--device", "cpu", "--budget", "20", "--out", "mine")
    assert status == 130
    assert "stopped: 3 measurements are kept" in err
    records = [json.loads(line) for line in (tmp_path / "mine/measurements/journal.jsonl").read_text().splitlines()]
    assert len(records) == 4  # the machine, and three


@pytest.mark.usefixtures("tiny")
def test_a_run_too_short_to_measure_anything_says_so(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.Session, "run", lambda _: 12)
    status, _, err = shell.run("--device", "cpu", "--budget", "1", "--out", "mine")
    assert status == 2
    assert "nothing could be measured" in err
    assert "the time was up before 12 more" in err
