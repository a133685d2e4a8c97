"""A sweep on a Dask cluster: the rows of a local one, whatever becomes of its workers."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import genz
from genz.explore import distributed as module
from genz.explore.results import SweepResult
from genz.explore.space import resolve
from genz.explore.study import Study

pytest.importorskip("distributed")
SPACE: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "platform": "8x h100-sxm",
    "output": 64,
    "tp": [1, 2, 4, 8],
    "batch": list(range(1, 61)),
    "input": [100, 200, 300],
}
ROWS = 4 * 60 * 3


def run(folder: Path, **changed: Any) -> SweepResult:
    result = genz.sweep(out=folder, **{**SPACE, "rows_per_file": 12, **changed})
    assert isinstance(result, SweepResult)
    return result


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return genz.sweep(**SPACE, rows_per_file=12)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as found:
        yield found


def test_a_cluster_prices_the_same_rows(cluster: Any, tmp_path: Path, whole: pd.DataFrame) -> None:
    seen: list[int] = []
    result = run(tmp_path / "out", scheduler=cluster.scheduler_address, progress=seen.append)
    assert (result.rows, result.priced, sum(seen), len(seen)) == (ROWS, ROWS, ROWS, ROWS // 12)
    pd.testing.assert_frame_equal(result.to_frame(), whole)
    again = run(tmp_path / "out", scheduler=cluster.scheduler_address)
    assert (again.rows, again.priced) == (ROWS, 0)


def test_a_run_begun_alone_is_finished_by_a_cluster(cluster: Any, tmp_path: Path, whole: pd.DataFrame) -> None:
    run(tmp_path / "out")
    for file in (0, 7, 59):
        (tmp_path / "out" / f"part-{file:06d}.parquet").unlink()
    result = run(tmp_path / "out", scheduler=cluster.scheduler_address)
    assert (result.rows, result.priced) == (ROWS, 36)
    pd.testing.assert_frame_equal(result.to_frame(), whole)


def test_specifications_travel_with_the_study(cluster: Any, tmp_path: Path) -> None:
    """Workers know nothing of a model that was changed here."""
    from genz.specs import catalog

    base = catalog.platform("8x h100-sxm")
    mine = base.model_copy(update={"name": "mine", "chip": base.chip.model_copy(update={"name": "mine"})})
    given = {**SPACE, "platform": [mine], "batch": [1, 2], "fidelity": "roofline"}
    result = genz.sweep(**given, out=tmp_path / "out", scheduler=cluster.scheduler_address)
    pd.testing.assert_frame_equal(result.to_frame(), genz.sweep(**given))


def test_a_worker_that_is_killed_is_survived(tmp_path: Path, whole: pd.DataFrame) -> None:
    from distributed import LocalCluster

    killed: list[int] = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:

        def kill(_: int) -> None:
            if len(killed) < 2:
                process = next(iter(cluster.workers.values())).pid if not killed else list(cluster.workers.values())[-1].pid
                os.kill(process, signal.SIGKILL)
                killed.append(process)

        result = run(tmp_path / "out", scheduler=cluster.scheduler_address, progress=kill)
    assert len(killed) == 2
    assert (result.rows, result.priced) == (ROWS, ROWS)
    pd.testing.assert_frame_equal(result.to_frame(), whole)
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_an_error_of_a_worker_is_told_as_it_is(cluster: Any, tmp_path: Path) -> None:
    """Here: a folder that goes away while they write to it."""
    folder = tmp_path / "out"

    def remove(_: int) -> None:
        if not folder.is_file():
            folder.rename(tmp_path / "elsewhere")
            folder.touch()

    with pytest.raises(genz.GenZError, match=r"cannot write to|is not in"):
        run(folder, scheduler=cluster.scheduler_address, progress=remove)


def test_local_workers_are_started_and_ended(tmp_path: Path) -> None:
    result = run(tmp_path / "out", workers=1, batch=[1, 2])
    assert result.rows == 4 * 2 * 3


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "tcp://no.such.host.invalid:8786", "nonsense://x", "::", ""]
)
def test_a_scheduler_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    begun = time.monotonic()
    with pytest.raises(genz.GenZError, match="cannot be reached") as caught:
        run(tmp_path / "out", scheduler=address)
    assert caught.value.field == "scheduler"
    assert time.monotonic() - begun < 10
    assert run(tmp_path / "out").rows == ROWS  # the folder is as good as new


def test_workers_of_another_version_are_refused() -> None:
    space = resolve(Study.of({"model": "gpt2", "platform": "h100", "input": 1, "output": 1}, {}))
    version = module._version(space)
    with pytest.raises(genz.GenZError, match="a worker has another genz"):
        module.price_file(space, None, "", 0, {**version, "genz": "0.0"})  # type: ignore[arg-type]
    with pytest.raises(genz.GenZError, match="a worker has another calibrations"):
        module.price_file(space, None, "", 0, {**version, "calibrations": "0"})  # type: ignore[arg-type]


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(genz.UnsupportedError, match="not installed") as caught:
        run(tmp_path / "out", workers=2)
    assert "genz[distributed]" in str(caught.value)


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": 1.5}, {"workers": 2, "scheduler": "tcp://127.0.0.1:1"}])
def test_workers_are_counted_and_a_cluster_has_its_own(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(genz.InvalidValueError, match="workers"):
        run(tmp_path / "out", **given)


def test_workers_need_a_folder() -> None:
    with pytest.raises(genz.InvalidValueError, match="out is missing"):
        genz.sweep(**SPACE, workers=2)
