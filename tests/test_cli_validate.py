"""`genz validate`, as a user types it."""

import json
from pathlib import Path

import pytest

import genz
from genz.cli import main

HEADER = "source,hardware,op,framework,dtype,m,n,k,measured_s\n"
ROWS = HEADER + "mine,h100-sxm,gemm,vllm,bfloat16,8192,8192,8192,2e-3\nmine,h100-sxm,gemm,vllm,bfloat16,4096,8192,8192,\n"


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        main(arguments)
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(ROWS)
    return path


def test_json_is_what_the_api_says(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(["validate", str(measured), "--fidelity", "roofline", "--json"], capsys)
    assert status == 0
    assert json.loads(out) == genz.validate(measured, fidelity="roofline").to_list()
    only = json.loads(out)[0]
    expected = 2 * 8192**3 / genz.chip("h100-sxm").matrix_flops["bf16"] / 2e-3 - 1
    assert (only["rows"], only["answered"], only["coverage"]) == (2, 1, None)
    assert only["bias"] == pytest.approx(expected) and only["mape"] == pytest.approx(abs(expected))


def test_a_table_with_what_was_not_answered(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_folder = tmp_path / "out"
    arguments = ["validate", str(measured), "--fidelity", "roofline", "--by", "hardware, op", "--out", str(out_folder)]
    status, out, _ = run(arguments, capsys)
    assert status == 0
    assert "roofline: 1 of 2 rows answered" in out and "measured_s is missing" in out and "scores.csv" in out
    assert {"scores.csv", "scores.json", "refusals.csv"} <= {path.name for path in out_folder.iterdir()}


def test_warnings_do_not_spoil_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ms.csv"
    path.write_text(
        HEADER + "".join(f"mine,h100-sxm,gemm,vllm,bfloat16,{m},8192,8192,{m / 4}\n" for m in range(1000, 9000, 1000))
    )
    status, out, err = run(["validate", str(path), "--fidelity", "roofline", "--json"], capsys)
    assert status == 0 and json.loads(out)
    assert "warning: " in err and "measured_s looks like" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--by", "hardwear"], "did you mean 'hardware'"),
        (["--by", "hardware,,op"], "columns such as hardware,op,engine"),
        (["--kind", "opps"], "'opps' is not one of"),
        (["--kind", "e2e"], "the column 'model' is missing"),
        (["--fidelity", "perfect"], "'perfect' is not one of"),
    ],
)
def test_what_cannot_be_asked(measured: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(["validate", str(measured), *arguments], capsys)
    assert status == 2 and out == "" and says in err and "Traceback" not in err


def test_files_that_cannot_be_used(tmp_path: Path, measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.parquet").write_text("no parquet")
    for path in (tmp_path, tmp_path / "absent.csv", tmp_path / "broken.parquet"):
        status, _, err = run(["validate", str(path)], capsys)
        assert status == 2 and str(path) in err and "Traceback" not in err
    status, out, _ = run(["validate", str(tmp_path / "absent.csv"), "--json"], capsys)
    assert status == 2 and json.loads(out)["error"] == "SpecError"
    status, _, err = run(["validate", str(measured), "--fidelity", "roofline", "--out", str(measured)], capsys)
    assert status == 2 and "cannot write to" in err
    assert run(["validate"], capsys)[0] == 2


def test_help_and_completion(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(["validate", "--help"], capsys)
    assert status == 0 and "--by" in out and "genz validate ops.parquet" in out
    assert "validate" in run(["--help"], capsys)[1]
    from genz.cli.validate import Columns

    items = Columns().shell_complete(None, None, "hardware,ki")  # type: ignore[arg-type]
    assert [item.value for item in items] == ["hardware,kind"]
