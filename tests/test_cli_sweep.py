"""`genz sweep`: what it prints, writes and refuses."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import genz
from genz.cli import main

STUDY = """
study: small
ask: {model: llama-3.1-8b, platform: 8x h100-sxm, output: 64}
axes:
  tp: [1, 2]
  batch: [1, 8]
  input: [100, 200000]
  chip.main_memory.bandwidth: [1 TB/s, 3.35 TB/s]
"""
SPACE: dict[str, Any] = {"model": "llama-3.1-8b", "platform": "8x h100-sxm", "output": 64, "tp": [1, 2], "batch": [1, 8]}
WHOLE = SPACE | {"input": [100, 200000], "axes": {"chip.main_memory.bandwidth": [1e12, 3.35e12]}}


@pytest.fixture
def study(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    main(["sweep", *arguments])
    out, err = capsys.readouterr()
    return out, err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["sweep", *arguments])
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert bool(out) == ("--json" in arguments)
    assert "Traceback" not in err
    return out + err


def test_the_page(capsys: pytest.CaptureFixture[str], study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    out, err = printed(capsys, study)
    assert err.startswith("small: 16 configurations of 2 structures: about ")
    assert out.splitlines()[0] == "16 rows, 8 of them feasible (50.0%)"
    assert "Best throughput per device" in out and "3.35 TB/s" in out and "main_memory." in out
    best = genz.sweep(**WHOLE).dropna(subset="ttft_s").sort_values("output_tokens_per_s_per_device", ascending=False).iloc[0]
    first = out.splitlines()[out.splitlines().index("Best throughput per device") + 5]
    assert first.split()[:3] == [str(best["tp"]), str(best["batch"]), "100"]


def test_another_metric_is_best_where_it_is_smallest(capsys: pytest.CaptureFixture[str], study: str) -> None:
    out, _ = printed(capsys, study, "--best", "power_w")
    assert "Best average power" in out
    assert "did you mean 'power_w'" in refused(capsys, study, "--best", "power")


def test_json_and_csv_are_the_frame(capsys: pytest.CaptureFixture[str], study: str) -> None:
    expected = genz.sweep(**WHOLE)
    data = json.loads(printed(capsys, study, "--json")[0], parse_constant=pytest.fail)
    assert [row["why"] for row in data] == expected["why"].tolist()
    assert [row["ttft_s"] for row in data if row["feasible"]] == expected["ttft_s"].dropna().tolist()
    frame = pd.read_csv(io.StringIO(printed(capsys, study, "--csv")[0]))
    assert frame["e2e_s"].tolist() == pytest.approx(expected["e2e_s"].tolist(), nan_ok=True)
    assert list(frame) == list(expected)


@pytest.mark.parametrize(
    ("change", "axis", "values"),
    [
        ("batch=4", "batch", [4]),
        ("batch=2,4", "batch", [2, 4]),
        ("batch=[2, 4]", "batch", [2, 4]),
        ("batch = {from: 1, to: 3, step: 1}", "batch", [1, 2, 3]),
        ("precision=fp8,bf16", "precision", ["fp8", "bf16"]),
        ("osl=5,6", "osl", [5, 6]),
    ],
)
def test_values_are_changed(capsys: pytest.CaptureFixture[str], study: str, change: str, axis: str, values: list[Any]) -> None:
    data = json.loads(printed(capsys, study, "--json", "--set", change)[0])
    assert list(dict.fromkeys(row[axis] for row in data)) == values


def test_a_folder_is_filled_and_found_finished(capsys: pytest.CaptureFixture[str], study: str, tmp_path: Path) -> None:
    out, err = printed(capsys, study, "--out", str(tmp_path / "out"))
    assert "16 rows in " in err and "rows/s" in err
    assert out.splitlines()[0] == "16 rows, 8 of them feasible (50.0%)"
    again, err = printed(capsys, study, "--out", str(tmp_path / "out"))
    assert "is finished: nothing to do" in err
    assert again == out
    assert len(pd.read_parquet(tmp_path / "out" / "part-000000.parquet")) == 16


def test_a_dry_run_prices_nothing(capsys: pytest.CaptureFixture[str], study: str, tmp_path: Path) -> None:
    out, err = printed(capsys, study, "--dry-run", "--out", str(tmp_path / "out"))
    assert out == "" and "16 configurations" in err
    assert not (tmp_path / "out").exists()


def test_the_catalog_lists_its_studies(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "--list")
    assert "decode-1024" in out and "1,024" in out
    data = json.loads(printed(capsys, "--list", "--json")[0])
    assert {"study": "decode-1024", "configurations": 1024}.items() <= next(s for s in data if "1024" in s["study"]).items()


def test_a_person_is_asked_before_a_long_run(
    capsys: pytest.CaptureFixture[str], study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("genz.cli.sweep.LONG_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    with pytest.raises(SystemExit):
        main(["sweep", study, "--out", str(tmp_path / "out")])
    assert "Go on?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    printed(capsys, study, "--out", str(tmp_path / "out"), "--yes")
    assert (tmp_path / "out" / "study.json").exists()


def test_a_bar_is_shown_to_a_person_alone(
    capsys: pytest.CaptureFixture[str], study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    out, _ = printed(capsys, study)
    assert out.startswith("16 rows")


def test_a_vast_product_is_refused_before_it_starts(capsys: pytest.CaptureFixture[str], study: str, tmp_path: Path) -> None:
    vast = [part for name in ("batch", "input", "output") for part in ("--set", f"{name}={{from: 1, to: 100000, step: 1}}")]
    error = refused(capsys, study, *vast, "--out", str(tmp_path / "out"))
    assert "4,000,000,000,000,000 (4000 T) configurations" in error
    assert "years" in error and "--max-configurations" in error
    assert not (tmp_path / "out").exists()
    assert "at most 10 configurations" in refused(capsys, study, "--max-configurations", "10")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "STUDY is missing"),
        (("no-such-study",), "unknown study"),
        (("./no-such.yaml",), "cannot read"),
        (("decode-1024", "--set", "bach=1"), "did you mean 'batch'"),
        (("decode-1024", "--set", "batch"), "NAME=VALUES"),
        (("decode-1024", "--set", "=1"), "NAME=VALUES"),
        (("decode-1024", "--set", "batch=[1"), "cannot be read"),
        (("decode-1024", "--set", "batch="), "NAME=VALUES"),
        (("decode-1024", "--set", "batch=[]"), "is empty"),
        (("decode-1024", "--set", "batch=1,1"), "given twice"),
        (("decode-1024", "--set", "chip.power.tdp=5 kg"), "not one of a power"),
        (("decode-1024", "--set", "chip=h100-sxn"), "did you mean 'h100-sxm'"),
        (("decode-1024", "--json", "--csv"), "exclude each other"),
        (("decode-1024", "--out", "x", "--json"), "--out writes Parquet"),
        (("decode-1024", "--workers", "2"), "--out is missing"),
        (("decode-1024", "--max-configurations", "many"), "a whole number"),
        (("decode-1024", "--out", "/dev/null"), "a file in the way"),
        (("decode-1024", "--out", "/proc/none"), "cannot write to"),
    ],
)
def test_a_wrong_call_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(capsys, *arguments)


def test_an_error_as_json(capsys: pytest.CaptureFixture[str], study: str) -> None:
    with pytest.raises(SystemExit):
        main(["sweep", study, "--set", "tp=0", "--json"])
    assert json.loads(capsys.readouterr().out)["field"] == "tp"
