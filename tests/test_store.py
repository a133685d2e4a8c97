"""Folders of results: whatever ends a run, nothing is lost and nothing is there twice."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import genz
from genz.explore import store
from genz.explore.results import SweepResult
from genz.explore.store import Layout, file_name, write_file
from genz.inference.metrics import METRICS

Begin = Callable[[Path, int], None]
SPACE: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "platform": "8x h100-sxm",
    "fidelity": "roofline",
    "output": 64,
    "tp": [1, 2, 4, 8],
    "batch": list(range(1, 61)),
    "input": [100, 200, 300],
    "rows_per_file": 90,
}
ROWS = 4 * 60 * 3
FILES = ROWS // 90
MANY = {"rows_per_file": 6}
CHILD = "import genz, json, sys; genz.sweep(out=sys.argv[1], **json.loads(sys.argv[2]))"


def run(folder: Path, **changed: Any) -> SweepResult:
    result = genz.sweep(out=folder, **{**SPACE, **changed})
    assert isinstance(result, SweepResult)
    return result


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return genz.sweep(**SPACE)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("finished") / "out").path


@pytest.fixture
def begin(finished: Path) -> Callable[[Path, int], None]:
    return lambda folder, files: begun(finished, folder, files)


def begun(finished: Path, folder: Path, files: int) -> None:
    """A folder as a run leaves it that was killed while it wrote the file after `files` others."""
    shutil.copytree(finished, folder)
    for file in range(files, FILES):
        (folder / file_name(file)).unlink()


# What is written.


def test_a_folder_holds_the_rows_of_the_frame(tmp_path: Path, whole: pd.DataFrame) -> None:
    result = run(tmp_path / "new" / "out")
    assert (result.rows, result.priced, result.feasible()) == (ROWS, ROWS, int(whole["feasible"].sum()))
    assert names(result.path) == [".lock", *(file_name(n) for n in range(FILES)), "study.json"]
    pd.testing.assert_frame_equal(result.to_frame(), whole)
    told = json.loads((result.path / "study.json").read_text())
    assert (told["genz"], told["axes"]["tp"], told["ask"]["output"]) == (genz.__version__, [1, 2, 4, 8], 64)


def test_a_finished_study_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path / "out")
    stamps = {path.name: path.stat().st_mtime_ns for path in first.path.iterdir()}
    monkeypatch.setattr("genz.explore.blocks.evaluate", pytest.fail)
    again = run(tmp_path / "out")
    assert (again.rows, again.priced) == (ROWS, 0)
    assert {path.name: path.stat().st_mtime_ns for path in again.path.iterdir()} == stamps


def test_conditions_that_keep_nothing_leave_empty_files(tmp_path: Path) -> None:
    result = run(tmp_path / "out", where="batch > 100", rows_per_file=10**6)
    assert (result.rows, len(result.to_frame()), len(result.best())) == (0, 0, 0)
    assert list(result.to_frame())[:4] == ["tp", "batch", "input", "feasible"]


def test_files_are_read_lazily_and_the_best_are_found(tmp_path: Path, whole: pd.DataFrame) -> None:
    result = run(tmp_path / "out")
    part = result.to_frame(columns=["ttft_s"], filter=pa.dataset.field("tp") == 8)
    assert part["ttft_s"].tolist() == whole.loc[whole["tp"] == 8, "ttft_s"].tolist()
    for name in ("tpot_s", "output_tokens_per_s"):
        expected = whole.sort_values(name, ascending=not METRICS[name].grows, kind="stable").head(7)
        assert result.best(name, 7)[name].tolist() == expected[name].tolist()
    with pytest.raises(genz.UnknownNameError):
        result.best("tpots")


@pytest.mark.parametrize(("blocks", "largest"), [(1, 1), (10**7, 1), (5, 2**17), (10**5, 2**17), (10**12, 2**17)])
def test_files_are_neither_too_many_nor_too_long(blocks: int, largest: int) -> None:
    class Fake:
        block_rows = 2**17

    Fake.blocks, Fake.largest_block = blocks, largest  # type: ignore[attr-defined]
    plan = store.layout(Fake())  # type: ignore[arg-type]
    assert plan.files <= store.MAX_FILES
    assert plan.files == 1 or plan.files > store.MAX_FILES / 2 or plan.blocks_per_file * largest <= store.ROWS_PER_FILE
    assert plan.blocks_of(plan.files - 1)[-1] == blocks - 1 and plan.blocks_of(0)[0] == 0


# Runs that end early.


def kill_after(folder: Path, seconds: float) -> bool:
    """Run the study in a process of its own, and kill it; whether it was still at work."""
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), json.dumps(SPACE | MANY)])
    deadline = time.monotonic() + 60
    while not (folder / "study.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_ten_kills_lose_nothing(tmp_path: Path, whole: pd.DataFrame) -> None:
    folder, generator, killed = tmp_path / "out", random.Random(5), 0
    for _ in range(10):
        killed += kill_after(folder, generator.uniform(0, 0.08))
        done = [n for n in names(folder) if n.endswith(".parquet")]
        assert all(parquet.read_metadata(folder / name).num_rows == 6 for name in done)
    assert killed >= 3, "the runs ended before they were killed"
    result = run(folder, **MANY)
    assert result.rows == ROWS
    assert names(folder) == [".lock", *(file_name(n) for n in range(ROWS // 6)), "study.json"]
    pd.testing.assert_frame_equal(result.to_frame(), whole)


@pytest.mark.parametrize("left", [b"", b"PAR1 and half of it", b"PAR1" * 1000])
def test_what_is_half_written_is_written_anew(tmp_path: Path, begin: Begin, whole: pd.DataFrame, left: bytes) -> None:
    folder = tmp_path / "out"
    begin(folder, 4)
    (folder / f"{file_name(4)}.0123abcd.tmp").write_bytes(left)
    (folder / file_name(5)).write_bytes(left)  # as a disk that lost its power may leave it
    result = run(folder)
    assert (result.rows, result.priced) == (ROWS, ROWS - 4 * 90)
    assert not [name for name in names(folder) if name.endswith(".tmp")]
    pd.testing.assert_frame_equal(result.to_frame(), whole)


def test_a_run_that_was_killed_before_its_study_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / "study.json.0123abcd.tmp").write_text('{"study": "sw')
    assert run(folder).rows == ROWS
    assert not (folder / "study.json.0123abcd.tmp").exists()


def test_an_interrupted_run_leaves_no_half_file(tmp_path: Path, whole: pd.DataFrame) -> None:
    folder = tmp_path / "out"

    def interrupt(rows: int, seen: list[int] = []) -> None:  # noqa: B006
        seen.append(rows)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, progress=interrupt)
    assert names(folder) == [".lock", *(file_name(n) for n in range(4)), "study.json"]
    pd.testing.assert_frame_equal(run(folder).to_frame(), whole)


# Disks and folders.


def test_a_file_that_cannot_grow_stops_the_run_and_keeps_the_rest(tmp_path: Path, begin: Begin, whole: pd.DataFrame) -> None:
    """A real limit of the kernel on the size of files, met in the middle of one."""
    folder = tmp_path / "out"
    begin(folder, 3)
    child = textwrap.dedent("""
        import resource, signal, json, sys
        import genz
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        try:
            genz.sweep(out=sys.argv[1], **json.loads(sys.argv[2]))
        except genz.GenZError as error:
            print(type(error).__name__, error)
    """)
    done = subprocess.run(
        [sys.executable, "-B", "-c", child, str(folder), json.dumps(SPACE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("OutputError out: cannot write to"), done.stderr
    assert "File too large" in done.stdout and "run it again" in done.stdout
    assert names(folder) == [".lock", *(file_name(n) for n in range(3)), "study.json"]
    pd.testing.assert_frame_equal(run(folder).to_frame(), whole)


@pytest.mark.parametrize("where", ["write", "fsync"])
def test_a_full_disk_stops_the_run_and_keeps_the_rest(
    tmp_path: Path, begin: Begin, whole: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = tmp_path / "out"
    begin(folder, 3)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        target = (parquet.ParquetWriter, "write_table") if where == "write" else (os, "fsync")
        patched.setattr(*target, full)
        with pytest.raises(genz.GenZError, match="No space left on device") as caught:
            run(folder)
    assert "what is finished stays" in str(caught.value)
    assert names(folder) == [".lock", *(file_name(n) for n in range(3)), "study.json"]
    pd.testing.assert_frame_equal(run(folder).to_frame(), whole)


def test_a_device_that_is_full(tmp_path: Path) -> None:
    """Arrow's own writer meets the end of a disk."""
    folder = tmp_path / "out"
    folder.mkdir()
    table = pa.table({"x": list(range(10**6))})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(genz.GenZError, match="cannot write to"):
            write_file(folder, 0, table.schema, [table])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert names(folder) == []


def refusal(folder: Path, **changed: Any) -> str:
    with pytest.raises(genz.GenZError) as caught:
        run(folder, **changed)
    assert caught.value.field == "out"
    return str(caught.value)


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    assert "holds other files, such as 'thesis.tex'" in refusal(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]


def test_results_without_their_study_are_foreign(tmp_path: Path, begin: Begin) -> None:
    begin(tmp_path / "out", 3)
    (tmp_path / "out" / "study.json").unlink()
    assert "holds other files" in refusal(tmp_path / "out")


def test_files_beside_the_results_do_no_harm(tmp_path: Path, begin: Begin, whole: pd.DataFrame) -> None:
    begin(tmp_path / "out", 3)
    (tmp_path / "out" / "plot.png").touch()
    pd.testing.assert_frame_equal(run(tmp_path / "out").to_frame(), whole)
    assert (tmp_path / "out" / "plot.png").exists()


def test_a_file_or_nothing_writable_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "a file in the way" in refusal(tmp_path / "file")
    assert "a file in the way" in refusal(tmp_path / "file" / "below")
    assert "cannot write to /proc/genz" in refusal(Path("/proc/genz"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Permission denied" in refusal(tmp_path / "out")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"batch": [1, 2]}, "axes: batch was [1, 2, 3"),
        ({"tp": 2}, "ask: tp was not given and is 2"),
        ({"output": 65}, "ask: output was 64 and is 65"),
        ({"where": "tp > 1"}, 'where was [] and is ["tp > 1"]'),
        ({"metrics": ["ttft_s"]}, "metrics was"),
        ({"rows_per_file": 12}, "layout: blocks was 8 and is 60"),
    ],
)
def test_a_folder_of_another_study_says_what_differs(tmp_path: Path, begin: Begin, changed: dict[str, Any], told: str) -> None:
    begin(tmp_path / "out", 1)
    before = names(tmp_path / "out")
    assert told in refusal(tmp_path / "out", **changed)
    assert names(tmp_path / "out") == before


def test_a_folder_of_other_specifications_or_another_version(
    tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path / "out", 1)
    monkeypatch.setattr(genz, "__version__", "9.9")
    assert 'genz was "0.1.0" and is "9.9"' in refusal(tmp_path / "out")
    monkeypatch.undo()
    from genz.specs import catalog

    changed = catalog.model("llama-3.1-8b")
    monkeypatch.setattr(catalog, "model", lambda *_, **__: changed.__class__(**{**vars_of(changed), "max_context": 7}))
    assert "specifications: model llama-3.1-8b was" in refusal(tmp_path / "out")


def vars_of(spec: Any) -> dict[str, Any]:
    from dataclasses import fields

    return {field.name: getattr(spec, field.name) for field in fields(spec)}


@pytest.mark.parametrize("text", ["", "[]", '{"study": ', "null", "5"])
def test_a_study_file_that_cannot_be_read(tmp_path: Path, begin: Begin, text: str) -> None:
    begin(tmp_path / "out", 1)
    (tmp_path / "out" / "study.json").write_text(text)
    assert "not what a sweep writes" in refusal(tmp_path / "out")


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def second(rows: int) -> None:
        assert "another run is writing" in refusal(folder)

    run(folder, progress=second, rows_per_file=10**6)
    assert run(folder, rows_per_file=10**6).priced == 0  # the lock went with the run


def test_the_same_study_has_one_identity_in_every_process(tmp_path: Path, begin: Begin) -> None:
    begin(tmp_path / "out", FILES - 1)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / "out"), json.dumps(SPACE)], env=environment, check=False, timeout=60
        )
        assert done.returncode == 0


def test_layouts_are_plain_data() -> None:
    assert Layout(10, 4, 100).files == 3
