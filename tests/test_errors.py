"""Errors as people and programs read them: field, value, what is allowed, and the nearest valid thing."""

import inspect
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz import errors
from genz.errors import (
    MAX_SHOWN_CHARACTERS,
    DoesNotFitError,
    GenZError,
    InvalidValueError,
    SpecError,
    UnitError,
    UnknownNameError,
    UnsupportedError,
    nearest,
    shown,
    unknown_name,
)

CHIPS = ["h100-sxm", "h100-pcie", "h200", "a100-sxm-80gb", "mi300x", "tpu-v5e", "fp8_block"]


def test_text_names_problem_allowed_values_and_hint() -> None:
    error = InvalidValueError("batch: 0 is not allowed", field="batch", value=0, allowed="1 to 8", hint="did you mean 1?")
    assert str(error) == "batch: 0 is not allowed; allowed: 1 to 8; did you mean 1?"
    assert (error.field, error.value, error.allowed, error.hint) == ("batch", 0, "1 to 8", "did you mean 1?")
    assert str(InvalidValueError("only this")) == "only this"


@pytest.mark.parametrize(
    "value", [0, "x", None, math.nan, [1, 2], {"a": 1}, object(), 10**5000, "y" * 10**6], ids=lambda v: type(v).__name__
)
def test_every_error_becomes_json(value: Any) -> None:
    report = InvalidValueError("wrong", field="batch", value=value, allowed="1").to_dict()
    assert json.loads(json.dumps(report))["error"] == "InvalidValueError"
    assert set(report) == {"error", "message", "field", "value", "allowed", "hint"}


def test_all_errors_have_one_base_and_tell_exit_codes() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BaseException)]
    assert len(classes) == 8 and all(issubclass(c, GenZError) for c in classes)
    assert issubclass(UnitError, InvalidValueError)
    assert {c.exit_code for c in classes if c is not DoesNotFitError} == {2}
    assert DoesNotFitError.exit_code == 3


def test_what_does_not_fit_carries_its_memory_and_suggestions() -> None:
    class Memory:
        def to_dict(self) -> dict[str, float]:
            return {"total_bytes": 1.0}

    error = DoesNotFitError("too big", memory=Memory(), suggestions=["more devices"], field="memory")
    assert error.to_dict()["memory"] == {"total_bytes": 1.0}
    assert error.to_dict()["suggestions"] == ["more devices"]
    assert error.to_dict()["error"] == "DoesNotFitError" and error.field == "memory"


MISSPELT = [
    ("h100-smx", "h100-sxm"),
    ("H100_SXM", "h100-sxm"),
    ("h10-sxm", "h100-sxm"),
    ("h100sxm", "h100-sxm"),
    ("mi300", "mi300x"),
    ("mi-300x", "mi300x"),
    ("tpuv5e", "tpu-v5e"),
    ("a100-80gb", "a100-sxm-80gb"),
    ("fp8-block", "fp8_block"),
    ("h20", "h200"),
]


@pytest.mark.parametrize(("wrong", "right"), MISSPELT, ids=[w for w, _ in MISSPELT])
def test_nearest_name_comes_first(wrong: str, right: str) -> None:
    assert nearest(wrong, CHIPS)[0] == right


def test_the_order_of_near_names() -> None:
    assert nearest("gemma3", ["gemma2", "gemma3_text"]) == ["gemma3_text", "gemma2"]  # what it begins goes first
    assert nearest("h100-smx", ["h100", "h100-sxm"])[0] == "h100-sxm"


@pytest.mark.parametrize("wrong", ["", "zzzzzz", "q", "x" * 10_000, "\0"], ids=["empty", "z", "q", "long", "nul"])
def test_nothing_is_near_to_nonsense(wrong: str) -> None:
    assert nearest(wrong, CHIPS) == []


@given(st.text(max_size=30), st.lists(st.text(max_size=10), max_size=8))
def test_nearest_gives_at_most_three_of_the_choices(name: str, choices: list[str]) -> None:
    found = nearest(name, choices)
    assert len(found) <= 3 and len(set(found)) == len(found) and set(found) <= set(choices)


def test_a_part_of_a_name_finds_the_whole() -> None:
    assert "h100-sxm" in nearest("h100", CHIPS)
    assert nearest("nvidia-mi300x-accelerator-card", CHIPS) == ["mi300x"]


def test_unknown_name_lists_few_choices_and_hides_many() -> None:
    few = unknown_name("chip", "h100-smx", CHIPS, hint="'genz hardware' lists them")
    assert isinstance(few, UnknownNameError)
    assert few.allowed == ", ".join(sorted(CHIPS)) and few.value == "h100-smx" and few.field == "chip"
    assert str(few).startswith("unknown chip 'h100-smx'; allowed: ")
    assert "did you mean 'h100-sxm'" in str(few) and "'genz hardware' lists them" in str(few)
    many = unknown_name("chip", "zzz", [f"name-{i}" for i in range(13)])
    assert many.allowed is None and many.hint is None


@pytest.mark.parametrize("value", ["x" * 10**6, list(range(10**5)), 10**5000], ids=["text", "list", "integer"])
def test_long_values_are_cut(value: Any) -> None:
    assert len(shown(value)) <= MAX_SHOWN_CHARACTERS


def test_values_nested_deeply_are_named_by_type() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    try:
        assert shown(value) == "<list>"
    finally:
        while value:  # taken apart by hand: freeing it in one go would recurse
            value = value.pop()


@given(st.integers() | st.text(max_size=40) | st.floats() | st.none() | st.booleans())
def test_short_values_are_shown_whole(value: Any) -> None:
    assert shown(value) == repr(value)


@pytest.mark.parametrize("kind", [InvalidValueError, UnitError, UnknownNameError, SpecError, UnsupportedError])
def test_errors_are_caught_by_their_base(kind: type[GenZError]) -> None:
    with pytest.raises(GenZError, match="wrong"):
        raise kind("wrong", field="f")
