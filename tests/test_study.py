"""Studies: files and arguments, what they leave out, and what they contradict."""

from pathlib import Path
from typing import Any

import pytest

import genz
from genz.explore.space import resolve
from genz.explore.study import Study
from genz.inference.metrics import METRICS
from genz.specs import catalog

ASKED: dict[str, Any] = {"model": "llama-3.1-8b", "platform": "8x h100-sxm", "input": 128, "output": 16}


def study(asked: dict[str, Any] | None = None, axes: dict[str, Any] | None = None, **given: Any) -> Study:
    return Study.of({**ASKED, **(asked or {})}, axes or {}, **given)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


WHOLE = """
study: mine
title: A study
ask: {model: llama-3.1-8b, platform: 8x h100-sxm, output: 16}
axes:
  tp: [1, 2]
  input: [128, 256]
  batch: [1, 8]
  chip.main_memory.bandwidth: [1 TB/s, 2 TB/s]
zip: [[input, batch]]
where: [tp * batch <= 8]
metrics: [tpot_s, ttft_s]
"""


def test_a_file_says_it_all(tmp_path: Path) -> None:
    found = Study.load(written(tmp_path, WHOLE))
    assert (found.name, found.title) == ("mine", "A study")
    assert [axis.name for axis in found.varying] == ["tp", "input", "batch", "chip.main_memory.bandwidth"]
    assert found.configurations == 2 * 2 * 2
    assert found.metrics == ("tpot_s", "ttft_s")
    assert found.to_dict() == {
        "study": "mine",
        "ask": {"model": "llama-3.1-8b", "platform": "8x h100-sxm", "output": 16},
        "axes": {"tp": [1, 2], "input": [128, 256], "batch": [1, 8], "chip.main_memory.bandwidth": [1e12, 2e12]},
        "zip": [["input", "batch"]],
        "where": ["tp * batch <= 8"],
        "metrics": ["tpot_s", "ttft_s"],
    }


def test_arguments_and_a_file_of_the_same_are_the_same(tmp_path: Path) -> None:
    told = Study.of(
        {"model": "llama-3.1-8b", "platform": "8x h100-sxm", "output": 16},
        {"tp": [1, 2], "input": [128, 256], "batch": [1, 8], "chip.main_memory.bandwidth": [1e12, 2e12]},
        zips=[("input", "batch")],
        where=["tp * batch <= 8"],
        metrics=["tpot_s", "ttft_s"],
        name="mine",
    )
    assert told.to_dict() == Study.load(written(tmp_path, WHOLE)).to_dict()


@pytest.mark.parametrize("name", catalog.names("study"))
def test_every_study_of_the_catalog_can_be_priced(name: str) -> None:
    found = Study.load(name)
    assert found.title and found.name == name
    assert resolve(found).mesh.rows == found.configurations


def test_the_published_setting_has_1024_points() -> None:
    found = Study.load("decode-1024")
    assert found.configurations == 1024
    assert {axis.name: len(axis) for axis in found.varying} == {"chip": 4, "tp": 4, "batch": 8, "input": 8}


def test_everything_is_wanted_unless_told() -> None:
    assert study().metrics == tuple(METRICS)


# Changes to what a file says.


def test_changes_stand_where_their_axis_stood(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    found = Study.load(path, {"tensor_parallel_size": 4, "output": [16, 32], "precision": "fp8"})
    assert found.to_dict()["axes"]["tp"] == [4]  # still a column
    assert found.to_dict()["axes"]["output"] == [16, 32]
    assert found.to_dict()["ask"] == {"model": "llama-3.1-8b", "platform": "8x h100-sxm", "precision": "fp8"}


# What is missing, given twice, or contradictory.


@pytest.mark.parametrize("left_out", ["model", "platform", "input", "output"])
def test_what_is_missing_is_named(left_out: str) -> None:
    with pytest.raises(genz.InvalidValueError, match=f"{left_out} is missing"):
        genz.sweep(**{name: value for name, value in ASKED.items() if name != left_out})


def test_a_use_case_gives_the_lengths() -> None:
    assert Study.of({"model": "gpt2", "platform": "h100", "use_case": "chat"}, {}).configurations == 1


@pytest.mark.parametrize(
    "axes",
    [
        {"tp": [1], "tensor_parallel_size": [2]},
        {"isl": [1], "batch": [1]},
        {"chip.power.tdp": [500.0], "platform.chip.power.tdp": [600.0]},
        {"workload.batch": [1], "batch_size": [2]},
    ],
)
def test_one_thing_under_two_names_is_refused(axes: dict[str, Any]) -> None:
    with pytest.raises(genz.InvalidValueError, match="set the same thing"):
        study(axes=axes)


@pytest.mark.parametrize(
    "axes",
    [
        {"chip.main_memory.bandwidth": [1e12], "chip.memory.hbm.bandwidth": [2e12]},
        {"chip.matrix_flops.*": {"times": [2]}, "chip.matrix_flops.bf16": [1e15]},
        {"chip.memory.*.bandwidth": {"times": [2]}, "chip.memory.l2.bandwidth": [1e13]},
    ],
)
def test_one_figure_under_two_patterns_is_refused(axes: dict[str, Any]) -> None:
    with pytest.raises(genz.InvalidValueError, match="both set"):
        resolve(study(axes=axes))


def test_a_platform_has_its_chips_already() -> None:
    with pytest.raises(genz.InvalidValueError, match="has its chips already"):
        study(axes={"devices": [1, 2]})
    with pytest.raises(genz.InvalidValueError, match="has its chips already"):
        study({"chip": "h100"})


@pytest.mark.parametrize("value", [[], [1, 1], {"from": 1}, "many", None])
def test_bad_values_of_an_axis(value: Any) -> None:
    with pytest.raises(genz.InvalidValueError):
        study(axes={"batch": value})


def test_a_list_is_no_single_value() -> None:
    with pytest.raises(genz.InvalidValueError, match="belongs to the axes"):
        study({"batch": [1, 2]})


@pytest.mark.parametrize(
    ("zips", "problem"),
    [
        ([["tp"]], "no group"),
        ([["tp", "tp"]], "no group"),
        ([["tp", "tensor_parallel_size"]], "no group"),
        ([["tp", "bach"]], "no axis of this study"),
        ([["tp", "model"]], "no axis of this study"),
        ([["tp", "batch"]], "tp has 2, batch has 3 values"),
        ([["tp", "pp"], ["pp", "beams"]], "in two groups"),
        (["tp"], "no group"),
        ("tp", "no group"),
        ([[5, None]], "no axis"),
    ],
)
def test_what_cannot_advance_together(zips: Any, problem: str) -> None:
    with pytest.raises(genz.InvalidValueError, match=problem):
        study(axes={"tp": [1, 2], "pp": [1, 2], "beams": [1, 2], "batch": [1, 2, 3]}, zips=zips)


@pytest.mark.parametrize("metrics", [[], ["ttft_s", "ttft_s"], ["ttft"]])
def test_metrics_are_known_and_wanted_once(metrics: list[str]) -> None:
    with pytest.raises(genz.GenZError, match="metric"):
        study(metrics=metrics)


# Files.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("axis: {tp: [1]}", "did you mean 'axes'"),
        ("axes: [tp]", "a mapping"),
        ("ask: 5", "a mapping"),
        ("where: tp > 1", "a list"),
        ("zip: [tp, pp]", "a list"),
        ("metrics: ttft_s", "a list"),
        ("[1, 2]", "a list, not a mapping"),
        ("axes: {tp: [1", "not valid YAML"),
        ("axes: {tp: [1], tp: [2]}", "given twice"),
        ("ask: {model: gpt2, platform: h100, input: 1, output: 1}\naxes: {chip.power.tdp: [500]}", "has no unit"),
        ("ask: {model: gpt2, platform: h100, input: 1, output: 1}\naxes: {bach: [1]}", "did you mean 'batch'"),
        ("ask: {model: gpt2, platform: h100, input: 1, output: 1}\naxes: {batch: []}", "is empty"),
        ("ask: {model: gpt2, platform: h100, input: 1, output: 1}\naxes: {chip.power.tdp: [1 TB/s]}", "not one of a power"),
        ("", "nothing"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(genz.GenZError) as caught:
        Study.load(written(tmp_path, text))
    assert problem in str(caught.value)


def test_a_study_that_is_not_there() -> None:
    with pytest.raises(genz.UnknownNameError, match="decode-1025") as caught:
        Study.load("decode-1025")
    assert "decode-1024" in str(caught.value)
    with pytest.raises(genz.SpecError, match="cannot read"):
        Study.load("./not-there.yaml")


# Names are resolved before anything is priced.


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ({"model": ["llama-3.1-8b", "lama-3.1-8b"]}, "unknown model"),
        ({"platform": ["8x h100-sxn"]}, "unknown chip"),
        ({"engine": ["vllm", "vlm"]}, "unknown engine"),
        ({"precision": ["fp9"]}, "unknown precision"),
        ({"use_case": ["chta"]}, "unknown use case"),
        ({"network.3.bandwidth": [1e9]}, "'3' is not found"),
        ({"chip.memory.ddr.bandwidth": [1e9]}, "'ddr' is not found"),
        ({"chip.matrix_flops.bf17": [1e15]}, "'bf17' is not found"),
        ({"model.num_layers": [3]}, "no key 'num_layers'"),
        ({"precision.weights.bits": [4.0]}, "no precision"),
    ],
)
def test_a_name_that_is_nowhere_stops_the_study(axes: dict[str, Any], problem: str) -> None:
    asked = {name: value for name, value in ASKED.items() if name not in axes}
    with pytest.raises(genz.GenZError, match=problem):
        resolve(Study.of(asked, axes))
