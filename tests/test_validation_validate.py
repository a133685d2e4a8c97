"""Validation end to end, over small tables of its own and kernels that a test can reckon with."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import genz
from genz.errors import InvalidValueError, UnknownNameError
from genz.measurements.registry import families, unknown_operator
from genz.measurements.table import REPEATED
from genz.specs import catalog
from genz.validation import answers, plots
from genz.validation.report import page, write
from genz.validation.roofline import roofline_collectives, roofline_operators
from genz.validation.validate import validate

CHIP = catalog.chip("h100-sxm")


class FakeFamily:
    """A GEMM takes `scale` seconds a multiplication; rows of one column are refused."""

    name = "gemm"
    ops = ("gemm",)
    constants = dict
    variants = ("only",)

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        return pd.Series(np.where(rows["n"] == 1, "a product with one column", ""), rows.index)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"engine": "lib", "version": "", "format": rows["dtype"], "kernel": ""}, index=rows.index)

    def times(self, rows: pd.DataFrame, chip: Any, constants: dict[str, float], variant: str) -> Any:
        assert variant == "only" and chip.name == "h100-sxm"
        return constants["scale"] * (rows["m"] * rows["n"] * rows["k"]).to_numpy(float)


class FakeSelected:
    variant = "only"
    relation = "own"

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def constants(self, kind: type) -> dict[str, float]:
        return {"scale": self.scale}

    def band_at(self, time: Any) -> tuple[float, float]:
        return math.log(0.5), math.log(2.0)


SCALES = {"bfloat16": 2e-12, "fp8": 1e-12}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """GEMMs of 2 and 1 ps a multiplication in bf16 and fp8, with an interval of a factor of two; no other kernel."""

    def select(chip: Any, family: str, *, engine: str, version: str, format: str, kernel: str) -> FakeSelected | None:  # noqa: A002
        assert (family, engine) == ("gemm", "lib")
        return FakeSelected(SCALES[format]) if format in SCALES else None

    monkeypatch.setattr(answers, "select", select)
    monkeypatch.setattr(answers, "family_of", {"gemm": FakeFamily()}.get)
    monkeypatch.setattr(answers, "unknown_operator", lambda op: f"op {op!r} is not known; known: gemm")


GEMM = {
    "source": "mine",
    "hardware": "h100-sxm",
    "op": "gemm",
    "framework": "lib",
    "dtype": "bfloat16",
    "m": 64,
    "n": 512,
    "k": 512,
}
TIME = 2e-12 * 64 * 512 * 512


def table(path: Path, *rows: dict[str, Any]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Three answered rows of +25 %, 0 % and -60 % (the last outside of its interval), and four that are not."""
    return table(
        tmp_path / "ops.csv",
        GEMM | {"measured_s": TIME / 1.25},
        GEMM | {"measured_s": TIME},
        GEMM | {"measured_s": TIME / 0.4},
        GEMM | {"measured_s": TIME / 0.4},
        GEMM | {"measured_s": 0.0},
        GEMM | {"measured_s": 1e-3, "n": 1},
        GEMM | {"measured_s": 1e-3, "op": "gemn"},
        GEMM | {"measured_s": 1e-3, "hardware": "h101-sxm"},
        GEMM | {"measured_s": 1e-3, "dtype": "nvfp4"},
    )


@pytest.mark.usefixtures("kernels")
def test_rows_are_answered_or_explained(measured: Path) -> None:
    report = validate(measured)
    assert (report.rows["refusal"] == "").sum() == 3
    reasons = dict(report.refusals.itertuples(index=False, name=None))
    assert reasons == {
        REPEATED: 1,
        "measured_s is zero": 1,
        "a product with one column": 1,
        "op 'gemn' is not known; known: gemm": 1,
        next(reason for reason in reasons if reason.startswith("unknown chip 'h101-sxm'; did you mean 'h100-sxm' or")): 1,
        answers.NO_CONSTANTS: 1,
    }
    scores = {(row["hardware"], row["op"]): row for row in report.to_list()}
    known = scores["h100-sxm", "gemm"]
    assert list(known) == [
        *("source", "hardware", "op", "framework"),
        *("rows", "answered", "mape", "median_ape", "bias", "p90_ape", "coverage"),
    ]
    assert (known["source"], known["framework"], known["rows"], known["answered"]) == ("mine", "lib", 6, 3)
    assert known["mape"] == pytest.approx((0.25 + 0 + 0.6) / 3)
    assert known["median_ape"] == pytest.approx(0.25)
    assert known["bias"] == pytest.approx((0.25 - 0.6) / 3)
    assert known["coverage"] == pytest.approx(2 / 3)
    assert scores["h101-sxm", "gemm"]["mape"] is None
    json.loads(json.dumps(report.to_list(), allow_nan=False))


@pytest.mark.usefixtures("kernels")
def test_groups_as_asked(measured: Path) -> None:
    by_type = validate(measured, by=["hardware", "dtype", "engine"])
    assert by_type.by == ("hardware", "dtype", "framework")
    assert [row["dtype"] for row in by_type.to_list()] == ["bfloat16", "nvfp4", "bfloat16"]
    assert set(by_type.to_list()[0]) >= {"source", "hardware", "op", "framework", "dtype"}
    assert validate(measured, by=["kind"]).scores["answered"].tolist() == [3]
    with pytest.raises(InvalidValueError, match="no column 'hardwear'") as caught:
        validate(measured, by=["hardwear"])
    assert "did you mean 'hardware'" in str(caught.value)


@pytest.mark.usefixtures("kernels")
def test_a_page_and_files(measured: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    report = validate(measured)
    text = page(report)
    assert "calibrated: 3 of 8 rows answered; 1 more set aside" in text and str(report) == text
    assert "28.3%" in text and "-11.7%" in text and "op 'gemn' is not known" in text
    written = write(report, tmp_path / "deep" / "out")
    assert [path.name for path in written] == ["scores.csv", "scores.json", "refusals.csv", "plots.html"]
    assert json.loads(written[1].read_text()) == report.to_list()
    assert pd.read_csv(written[0])["answered"].sum() == 3
    refusals = pd.read_csv(written[2])
    assert list(refusals.columns) == ["reason", "count"] and refusals["count"].sum() == 6
    html = written[3].read_text(encoding="utf-8")
    assert "gemm: 3 rows" in html and html.count("Plotly.newPlot(") >= 1
    assert '<script src="' not in html and "cdn.plot.ly/plotly" not in html.split("</head>")[1]
    with pytest.raises(InvalidValueError, match="cannot write to"):
        write(report, measured)


@pytest.mark.usefixtures("kernels")
def test_no_plots_without_plotly(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda _: None)
    written = write(validate(measured), tmp_path / "out")
    assert [path.suffix for path in written] == [".csv", ".json", ".csv"]


@pytest.mark.usefixtures("kernels")
def test_rows_faster_than_physics_are_no_measure(tmp_path: Path) -> None:
    sound = [GEMM | {"m": m, "n": 8192, "k": 8192, "measured_s": 2.5e-15 * m * 8192**2} for m in (1024, 2048, 4096, 6144, 8192)]
    report = validate(table(tmp_path / "a.csv", *sound, GEMM | {"m": 8192, "n": 8192, "k": 8192, "measured_s": 1e-9}))
    assert report.refusals["reason"].tolist() == ["faster than the chip can multiply, and than its fastest memory can deliver"]
    assert report.scores["answered"].tolist() == [5]
    slow = validate(table(tmp_path / "ms.csv", *(row | {"measured_s": row["measured_s"] * 1e3} for row in sound)))
    assert any("measured_s looks like milliseconds: divide by 1,000" in warning for warning in slow.warnings)
    assert "warning:" in page(slow)


def test_roofline_and_engine_by_hand(tmp_path: Path) -> None:
    """A large GEMM at the matrix rate, a thin one at the bandwidth of its cache, each with the engine's shares."""
    thin = GEMM | {"m": 1, "n": 4096, "k": 4096, "framework": "vllm"}
    large = GEMM | {"m": 8192, "n": 8192, "k": 8192, "framework": "vllm"}
    path = table(tmp_path / "a.csv", thin | {"measured_s": 1e-4}, large | {"measured_s": 2e-3})
    moved = 2 * (4096**2 + 2 * 4096)
    by_cache = moved / CHIP.memory["l2"].bandwidth
    by_rate = 2 * 8192**3 / CHIP.matrix_flops["bf16"]
    assert validate(path, fidelity="roofline").rows["predicted"].tolist() == pytest.approx([by_cache, by_rate])
    engine = catalog.engine("vllm")
    gap = engine.overheads.kernel_gap
    expected = [by_cache / engine.efficiency.memory + gap, by_rate / engine.efficiency.compute + gap]
    assert validate(path, fidelity="engine").rows["predicted"].tolist() == pytest.approx(expected)
    with pytest.raises(UnknownNameError, match="unknown fidelity 'perfect'"):
        validate(path, fidelity="perfect")


def test_what_has_no_roofline(tmp_path: Path) -> None:
    odd = GEMM | {"op": "layer:act_fn", "measured_s": 1e-5}
    report = validate(
        table(tmp_path / "a.csv", odd, GEMM | {"hardware": "no such chip", "measured_s": 1.0}), fidelity="roofline"
    )
    assert report.refusals["reason"].tolist() == ["its columns do not tell FLOPs and bytes", "unknown chip 'no such chip'"]
    assert roofline_operators(report.rows.iloc[:0], "roofline").predicted.size == 0


MESSAGE = {"source": "mine", "hardware": "h100-sxm", "collective": "all_gather", "n_devices": 8, "message_bytes": 8e8}


def test_collectives_at_the_roofline(tmp_path: Path) -> None:
    """Seven eighths of a large message cross each device's link."""
    path = table(
        tmp_path / "c.csv",
        MESSAGE | {"measured_s": 2e-3},
        MESSAGE | {"measured_s": 2e-3, "collective": "moe_dispatch"},
        MESSAGE | {"measured_s": 1e-9},
        MESSAGE | {"measured_s": 2e-3, "n_devices": 24, "n_nodes": 2},
    )
    report = validate(path, fidelity="roofline")
    assert report.rows["predicted"].iloc[0] == pytest.approx(7e8 / CHIP.links["scale_up"].bandwidth, rel=0.05)
    refusals = report.rows["refusal"].tolist()
    assert refusals[0] == "" and "does not follow" in refusals[1] and "faster than the chip's links" in refusals[2]
    assert "join no such group" in refusals[3]
    assert [row["op"] for row in report.to_list()] == ["all_gather", "moe_dispatch"]
    assert validate(path, fidelity="roofline", by=["collective"]).by == ("op",)
    two = pd.DataFrame([MESSAGE | {"measured_s": 1.0, "n_devices": 16, "n_nodes": 2, "framework": None}])
    assert roofline_collectives(two, "engine").predicted[0] > 7e8 / CHIP.links["scale_up"].bandwidth


REQUEST = {
    "source": "mine",
    "hardware": "h100-sxm",
    "model": "llama-3.1-8b",
    "framework": "vllm",
    "n_devices": 1,
    "tp": 1,
    "weight_dtype": "bf16",
    "load_kind": "static_batch",
    "batch_or_concurrency": 8,
    "input_tokens": 512,
    "output_tokens": 33,
}


def test_whole_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    question = {"input": 512, "output": 33, "batch": 8, "precision": "bf16", "engine": "vllm", "fidelity": "engine"}
    prediction = genz.predict("llama-3.1-8b", "h100-sxm", **question)
    asked: list[Any] = []
    from genz.validation import whole_requests

    original = whole_requests.predict

    def counted(*arguments: Any, **named: Any) -> Any:
        asked.append(named)
        return original(*arguments, **named)

    monkeypatch.setattr(whole_requests, "predict", counted)
    path = table(
        tmp_path / "e2e.csv",
        REQUEST | {"metric": "tpot_s", "value": prediction.tpot / 1.5},
        REQUEST | {"metric": "e2e_s", "value": prediction.e2e},
        REQUEST | {"metric": "p99_ttft_s", "value": 1.0},
        REQUEST | {"metric": "e2e_s", "value": 1.0, "load_kind": "poisson_trace"},
        REQUEST | {"metric": "e2e_s", "value": 1.0, "model": "lama-3.1-8b"},
        REQUEST | {"metric": "e2e_s", "value": 1.0, "batch_or_concurrency": 100_000},
    )
    report = validate(path, fidelity="engine")
    scores = {row["metric"]: row for row in report.to_list()}
    assert scores["tpot_s"]["mape"] == pytest.approx(0.5) and "op" not in scores["tpot_s"]
    assert (scores["e2e_s"]["rows"], scores["e2e_s"]["answered"]) == (4, 1)
    assert scores["e2e_s"]["mape"] == pytest.approx(0.0)
    refusals = report.rows["refusal"].tolist()
    assert "percentile" in refusals[2] and "under load (poisson_trace)" in refusals[3]
    assert "unknown model 'lama-3.1-8b'; did you mean" in refusals[4]
    assert refusals[5] == whole_requests.IN_WAVES
    # One question for all metrics of a deployment; what does not fit in an engine with a queue is not asked about again.
    assert [named["batch"] for named in asked] == [8, 100_000]
    assert "did" not in validate(path, fidelity="engine", by=["batch", "model"]).scores


def test_milliseconds_of_requests_are_noticed(tmp_path: Path) -> None:
    rows = [REQUEST | {"metric": "ttft_s", "value": 40.0 + i, "input_tokens": 1024} for i in range(6)]
    report = validate(table(tmp_path / "a.csv", *rows), fidelity="engine")
    assert any("looks like milliseconds" in warning for warning in report.warnings)


@pytest.mark.usefixtures("kernels")
def test_several_files_of_several_kinds(measured: Path, tmp_path: Path) -> None:
    other = table(tmp_path / "e2e.csv", REQUEST | {"metric": "tpot_s", "value": 0.01, "load_kind": "saturated"})
    report = validate([measured, other])
    assert set(report.rows["kind"]) == {"ops", "e2e"} and len(report.rows) == 9
    assert [("metric" in row, "op" in row) for row in report.to_list()].count((True, False)) == 1
    with pytest.raises(InvalidValueError, match="measurements are missing"):
        validate([])


def test_every_family_answers_for_its_operators() -> None:
    for op, family in families().items():
        assert op in family.ops and family.variants
    said = unknown_operator("gemn")
    assert said.startswith("op 'gemn' is not known; known: ") and ("gemm" not in families() or "gemm" in said)
