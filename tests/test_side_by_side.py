"""The comparison with other tools: its sums by hand, and what it does where a tool cannot be had."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def side_by_side():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import side_by_side
    finally:
        sys.path.remove(str(BENCHMARKS))
    return side_by_side


def measured(name: str, seconds: list[float], tpot: list[float | None]) -> dict:
    passes = [{"cpu_s": each, "wall_s": each} for each in seconds]
    return {
        "name": name,
        "outputs": "TPOT",
        "import": passes[0],
        "prepare": {"cpu_s": 1.0, "wall_s": 1.0},
        "passes": passes,
        "peak_rss_bytes": 10**6,
        "tpot_s": tpot,
        "refusals": {},
    }


def test_the_sweep_has_1024_points_of_chips_in_the_catalog(side_by_side):
    sweep = side_by_side.the_sweep()
    assert len(sweep["chips"]) * len(sweep["tp"]) * len(sweep["batches"]) * len(sweep["contexts"]) == 1024
    h100 = next(chip for chip in sweep["chips"] if chip["name"] == "h100-sxm")
    assert (h100["flops"], h100["memory_bandwidth"]) == (989.4e12, 3.35e12)  # dense, as in NVIDIA's data sheet


def test_rates_and_ratios_are_those_of_points_that_both_answer(side_by_side):
    ours = measured(side_by_side.REFERENCE, [9.0, 2.0, 1.0], [1.0, 2.0, None, 4.0])
    other = measured("other", [2.0], [2.0, 2.0, 2.0, None])
    first, second = side_by_side.summarised([ours, other])
    assert first["configurations_per_second"] == 1024
    assert first["configurations_per_second_first_time"] == pytest.approx(1024 / 10)
    assert second["configurations_per_second"] == 512
    assert second["reference_is_faster_by"] == 2
    assert second["answered"] == 3
    assert side_by_side.ratios(other["tpot_s"], ours["tpot_s"]) == [2.0, 1.0]
    assert second["tpot_ratio"]["median"] == pytest.approx(1.5)


def test_a_tool_that_cannot_be_installed_has_a_row_that_says_why(side_by_side, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    (tmp_path / "file").write_text("")
    tool = side_by_side.Tool("other", "other.py", requirement="other==1.0")
    found = side_by_side.python_of(tool, tmp_path / "file")
    (row,) = side_by_side.measured(tool, found, {})
    assert row["error"].startswith("not installed: ")
    rows = [measured(side_by_side.REFERENCE, [1.0], [1.0, 2.0]), row]
    page = side_by_side.page(rows, side_by_side.summarised(rows))
    assert f"other: {row['error']}" in page


def test_a_driver_that_fails_has_a_row_that_says_why(side_by_side):
    tool = side_by_side.Tool("other", "no_such_driver.py")
    (row,) = side_by_side.measured(tool, Path(sys.executable), {})
    assert row["error"].startswith("failed: ")
    assert "no_such_driver.py" in row["error"]


def test_this_genz_answers_alike_by_arrays_and_point_by_point(side_by_side):
    whole = side_by_side.the_sweep()
    chips = [chip for chip in whole["chips"] if chip["name"] == "h200"]
    sweep = {**whole, "chips": chips, "tp": [1, 4], "batches": [1, 32], "contexts": [512, 8192]}
    rows = [
        side_by_side.run(side_by_side.Tool(way, "this_genz.py", (way, "roofline")), Path(sys.executable), sweep)[0]
        for way in ("arrays", "predict", "sweep")
    ]
    arrays, predict, swept = ([tpot or 0.0 for tpot in row["tpot_s"]] for row in rows)
    assert arrays[:4] == [0.0] * 4  # 141 GB of weights are more than an engine may take of one
    assert min(arrays[4:]) > 0
    assert arrays == pytest.approx(predict, rel=1e-9)
    assert arrays == pytest.approx(swept, rel=1e-9)
