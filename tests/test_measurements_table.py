"""Measurement files: what is read, what is set aside, and what is told about files that are no good."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genz.errors import GenZError, InvalidValueError, SpecError, UnknownNameError
from genz.measurements import table
from genz.measurements.table import REPEATED, read_table

GEMM = {"hardware": "h100-sxm", "op": "gemm", "dtype": "bfloat16", "m": 128, "n": 4096, "k": 4096, "measured_s": 1.5e-5}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    """A file in the format of its suffix."""
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.ndjson", "a.json"])
def test_all_formats_say_the_same(tmp_path: Path, name: str) -> None:
    rows = (GEMM | {"framework_version": "1.10"}, GEMM | {"m": 256, "framework_version": "1.2"})
    read = read_table(written(tmp_path / name, *rows))
    assert read.kind == "ops"
    assert read.rows["m"].tolist() == [128.0, 256.0]
    assert read.rows["framework_version"].tolist() == ["1.10", "1.2"]
    assert read.rows["source"].tolist() == ["a", "a"]
    assert read.rows["past_kv"].isna().all() and read.rows["kernel"].isna().all()
    assert read.set_aside == {} and len(read.usable) == 2


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (GEMM, "ops"),
        (
            {"hardware": "h100", "collective": "all_reduce", "n_devices": 8, "message_bytes": 1024, "measured_s": 1e-5},
            "collectives",
        ),
        ({"hardware": "h100", "model": "llama-3.1-8b", "metric": "tpot_s", "value": 0.01}, "e2e"),
    ],
)
def test_columns_tell_the_kind(tmp_path: Path, row: dict[str, Any], kind: str) -> None:
    path = written(tmp_path / "a.csv", row)
    assert read_table(path).kind == kind
    assert read_table(path, kind).kind == kind


def test_only_good_rows_count_each_once(tmp_path: Path) -> None:
    rows = [GEMM | {"quality": "ok"}] * 3 + [GEMM | {"m": 1, "quality": "suspect: throttled"}, GEMM | {"m": 2, "quality": None}]
    read = read_table(written(tmp_path / "a.parquet", *rows))
    assert len(read.rows) == 1
    assert read.set_aside == {"quality is suspect: throttled": 1, "quality is missing": 1, REPEATED: 2}


def test_rows_alike_but_for_one_column_are_not_repetitions(tmp_path: Path) -> None:
    read = read_table(written(tmp_path / "a.csv", GEMM | {"run": 1}, GEMM | {"run": 2}))
    assert len(read.rows) == 2 and read.set_aside == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"measured_s": 0.0}, "measured_s is zero"),
        ({"measured_s": -1e-5}, "measured_s is negative"),
        ({"measured_s": None}, "measured_s is missing"),
        ({"measured_s": float("nan")}, "measured_s is missing"),
        ({"measured_s": float("inf")}, "measured_s is infinite"),
        ({"measured_s": "fast"}, "measured_s is no number, such as 'fast'"),
        ({"measured_s": "12 us"}, "measured_s is no number, such as '12 us'"),
        ({"m": "many"}, "m is no number, such as 'many'"),
        ({"m": -1}, "m is negative"),
        ({"hardware": None}, "hardware is missing"),
        ({"hardware": "  "}, "hardware is missing"),
        ({"op": None}, "op is missing"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_rows_without_sense_are_refused_with_the_reason(
    tmp_path: Path, change: dict[str, Any], reason: str, suffix: str
) -> None:
    read = read_table(written(tmp_path / f"a.{suffix}", GEMM | {"m": 64}, GEMM | change))
    assert read.rows["refusal"].tolist() == ["", reason]
    assert read.usable["m"].tolist() == [64.0]


def test_truth_values_are_no_numbers(tmp_path: Path) -> None:
    read = read_table(written(tmp_path / "a.jsonl", GEMM | {"m": True}, GEMM))
    assert read.rows["refusal"].tolist() == ["m is no number, such as True", ""]


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ({"hardware": "h100", "op": "gemm", "measured_ms": 1.0}, "measured_s", "'measured_ms' looks like it"),
        ({"hw": "h100", "op": "gemm", "measured_s": 1.0}, "hardware", "hardware, op, measured_s"),
        ({"hardware": "h100", "collective": "all_reduce", "measured_s": 1.0, "devices": 8}, "n_devices", "'devices' looks"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path, row: dict[str, Any], field: str, says: str) -> None:
    path = written(tmp_path / "a.csv", row)
    with pytest.raises(SpecError, match=f"a.csv: the column {field!r} is missing") as caught:
        read_table(path)
    assert caught.value.field == field and says in str(caught.value)


def test_no_column_tells_the_kind(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="no column tells") as caught:
        read_table(written(tmp_path / "a.csv", {"hardware": "h100", "metrics": "ttft", "seconds": 1}))
    assert "'metrics' looks like one of them" in str(caught.value)
    with pytest.raises(InvalidValueError, match="do not tell"):
        read_table(written(tmp_path / "b.csv", GEMM | {"collective": "all_reduce"}))
    assert read_table(tmp_path / "b.csv", "ops").kind == "ops"
    with pytest.raises(UnknownNameError, match="unknown kind 'op'"):
        read_table(tmp_path / "b.csv", "op")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", b"no parquet at all", "cannot be read as Parquet"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "cannot be read as CSV"),
        ("a.csv", b"hardware,op,measured_s\n", "holds no rows"),
        ("a.csv", b"\xff\xfe\x00h", "cannot be read as CSV"),
        ("a.csv", b'hardware,op\n"h100', "cannot be read as CSV"),
        ("a.jsonl", b"{}\n{", "cannot be read as JSON"),
        ("a.jsonl", b"1\n2\n", "1 is no object of columns"),
        ("a.jsonl", b"\xff", "cannot be read as JSON"),
        ("a.json", b"[" * 100_000, "cannot be read as JSON"),
        ("a.xlsx", b"PK", "'.xlsx' tells no format"),
        ("a", b"x", "'no suffix' tells no format"),
    ],
)
def test_files_that_are_no_good(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_table(path)
    assert says in str(caught.value) and str(path) in str(caught.value)


def test_folders_pipes_and_absent_files(tmp_path: Path) -> None:
    written(tmp_path / "measured.csv", GEMM)
    with pytest.raises(SpecError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(SpecError, match=r"does not exist; did you mean 'measured\.csv'"):
        read_table(tmp_path / "measure.csv")
    with pytest.raises(SpecError, match="does not exist"):
        read_table(tmp_path / "no" / "such" / "folder.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SpecError, match="is no regular file"):
        read_table(tmp_path / "pipe.csv")
    with pytest.raises(GenZError):
        read_table(tmp_path / ("n" * 300 + ".csv"))


def test_files_that_may_not_be_read_or_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.csv", GEMM)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(pd, "read_csv", refuse)
        with pytest.raises(SpecError, match="may not be read; check its permissions"):
            read_table(path)
    monkeypatch.setattr(table, "MAX_FILE_BYTES", 2)
    with pytest.raises(SpecError, match="is larger than"):
        read_table(path)
    monkeypatch.setattr(table, "MAX_FILE_BYTES", 2**30)
    monkeypatch.setattr(table, "MAX_ROWS", 1)
    with pytest.raises(SpecError, match="2 rows are more than 1"):
        read_table(written(tmp_path / "a.parquet", GEMM, GEMM | {"m": 1}))


def test_columns_that_no_schema_knows_may_hold_anything(tmp_path: Path) -> None:
    rows = [GEMM | {"clocks": [1, 2]}, GEMM | {"clocks": {"sm": 1}}, GEMM | {"clocks": {"sm": 1}}]
    read = read_table(written(tmp_path / "a.jsonl", *rows))
    assert len(read.rows) == 2 and read.set_aside == {REPEATED: 1}
    nested = tmp_path / "b.parquet"
    pd.DataFrame([GEMM | {"clocks": np.array([1.0, 2.0])}] * 2).to_parquet(nested)
    assert len(read_table(nested).rows) == 1


def test_a_column_there_twice(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    twice = pa.table([["h100"], ["gemm"], [1.0], [2.0]], names=["hardware", "op", "measured_s", "measured_s"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(SpecError):
        read_table(tmp_path / "a.parquet")
