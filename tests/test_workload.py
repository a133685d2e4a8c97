"""Counts of tokens, requests and beams: what is a count and what is not."""

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from genz.errors import GenZError, InvalidValueError, SpecError
from genz.specs import catalog
from genz.specs.workload import MAX_COUNT, SLO, UseCase, Workload, check_count

FIELDS = ("input_tokens", "output_tokens", "batch", "beams")
USE_CASES = catalog.names("use_case")


def workload(**changes: Any) -> Workload:
    return Workload(**{"input_tokens": 100, "output_tokens": 10, **changes})


def test_a_workload_adds_up() -> None:
    load = workload(cached_tokens=30)
    load.validate()
    assert (load.new_prompt_tokens, load.final_context, load.batch, load.beams) == (70, 110, 1, 1)


GOOD: list[Any] = [
    1,
    1.0,
    8,
    MAX_COUNT,
    np.int64(3),
    np.float64(3.0),
    np.array([1, 2, 3]),
    np.array([[1.0], [2.0]]),
    sympy.Symbol("n"),
    Fraction(4, 2),
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", GOOD, ids=repr)
def test_counts(field: str, value: Any) -> None:
    workload(**{field: value}).validate()


BAD: dict[str, Any] = {
    "negative": -1,
    "zero": 0,
    "minus zero": -0.0,
    "fraction": 1.5,
    "almost one": 0.999999,
    "nan": math.nan,
    "inf": math.inf,
    "minus inf": -math.inf,
    "true": True,
    "false": False,
    "text": "8",
    "empty text": "",
    "none": None,
    "list": [1, 2],
    "tuple": (1,),
    "ragged": [[1], [1, 2]],
    "mapping": {"n": 1},
    "complex": 1j,
    "bytes": b"1",
    "object": object(),
    "type": int,
    "huge": 10**13,
    "astronomic": 10**400,
    "numpy true": np.True_,
    "numpy nan": np.float64("nan"),
    "half fraction": Fraction(1, 2),
    "decimal nan": Decimal("NaN"),
    "date": np.datetime64("2024-01-01"),
    "array with a negative": np.array([4, -1]),
    "array with a zero": np.array([4, 0]),
    "array with a half": np.array([4, 4.5]),
    "array with nan": np.array([4, math.nan]),
    "array with inf": np.array([4, math.inf]),
    "array of truth": np.array([True]),
    "array of text": np.array(["1"]),
    "array of none": np.array([1, None]),
    "array of complex": np.array([1 + 0j]),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_what_is_no_count_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        workload(**{field: value}).validate()
    error = caught.value
    assert error.field == field and str(error).startswith(f"{field}: ")
    assert error.allowed == "a whole number of at least 1"
    assert error.value is value and len(str(error)) < 400


@pytest.mark.parametrize(
    "value", [value for name, value in BAD.items() if "zero" not in name], ids=[n for n in BAD if "zero" not in n]
)
def test_what_is_no_number_of_cached_tokens_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        workload(input_tokens=MAX_COUNT, cached_tokens=value).validate()
    assert caught.value.field == "cached_tokens"


@pytest.mark.parametrize("cached", [100, 101, 10**6, np.array([0, 100])], ids=repr)
def test_one_prompt_token_at_least_is_processed(cached: Any) -> None:
    with pytest.raises(InvalidValueError, match="leaves no prompt token") as caught:
        workload(cached_tokens=cached).validate()
    assert caught.value.allowed is not None and "0 to 99" in caught.value.allowed
    workload(cached_tokens=99).validate()
    workload(cached_tokens=0).validate()
    workload(cached_tokens=np.array([0, 99])).validate()
    workload(cached_tokens=sympy.Symbol("c")).validate()


def test_arrays_of_prompts_and_of_caches_are_held_against_each_other() -> None:
    workload(input_tokens=np.array([10, 200]), cached_tokens=np.array([5, 150])).validate()
    with pytest.raises(InvalidValueError, match="cached_tokens"):
        workload(input_tokens=np.array([10, 200]), cached_tokens=np.array([5, 200])).validate()


@given(st.integers(-5, 20), st.integers(0, 10), st.integers(5, 15))
def test_limits_are_inclusive(value: int, least: int, most: int) -> None:
    if least <= value <= most:
        check_count(value, "n", least=least, most=most)
        return
    with pytest.raises(InvalidValueError) as caught:
        check_count(value, "n", least=least, most=most)
    assert caught.value.allowed == f"a whole number of at least {least} and at most {most}"


@given(st.floats() | st.text(max_size=3) | st.none() | st.booleans() | st.lists(st.floats(), max_size=2) | st.complex_numbers())
def test_any_value_is_a_count_or_a_typed_error(value: Any) -> None:
    try:
        check_count(value, "n", least=1)
    except GenZError:
        return
    assert value == int(value) >= 1 and not isinstance(value, bool)


# Use cases


@pytest.mark.parametrize("name", USE_CASES)
def test_every_use_case_loads_and_is_sourced(name: str) -> None:
    case = catalog.use_case(name)
    assert case.name == name and case.title
    assert set(case.provenance) == {"input_tokens", "output_tokens", "beams", "slo.ttft", "slo.tpot"}
    assert all(p.source.strip() for p in case.provenance.values())
    Workload(case.input_tokens, case.output_tokens, beams=case.beams).validate()
    assert case.slo.ttft is not None and case.slo.tpot is not None and 0 < case.slo.tpot < case.slo.ttft < 60


def test_the_use_cases_of_the_paper_are_there() -> None:
    wanted = {"chat", "code-generation", "qa-retrieval", "question-answering", "summarization"}
    assert wanted <= set(USE_CASES)


CASE = """\
use_case: mine
sources: {me: "My own logs"}
source: me
input_tokens: 500
output_tokens: 50
beams: 2
slo: {ttft: 500 ms, tpot: 20 ms}
"""


def test_a_use_case_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(CASE)
    case = catalog.use_case(str(path))
    assert (case.name, case.input_tokens, case.output_tokens, case.beams) == ("mine", 500, 50, 2)
    assert case.slo == SLO(ttft=0.5, tpot=0.02)
    path.write_text(CASE.replace("beams: 2\nslo: {ttft: 500 ms, tpot: 20 ms}\n", ""))
    assert catalog.use_case(str(path)).beams == 1 and catalog.use_case(str(path)).slo == SLO()


BROKEN: list[tuple[str, str, str]] = [
    ("input_tokens: 500", "input_tokens: 0", "input_tokens = 0"),
    ("input_tokens: 500", "input_tokens: -500", "input_tokens = -500"),
    ("input_tokens: 500", "input_tokens: 500.5", "input_tokens = 500.5"),
    ("input_tokens: 500", "input_tokens: .nan", "input_tokens = nan"),
    ("input_tokens: 500", "input_tokens: .inf", "input_tokens = inf"),
    ("input_tokens: 500", "input_tokens: true", "input_tokens = True"),
    ("input_tokens: 500", "input_tokens: '500'", "input_tokens = '500'"),
    ("input_tokens: 500", "input_tokens: null", "input_tokens = None"),
    ("input_tokens: 500", "input_tokens: [500]", "input_tokens = [500]"),
    ("input_tokens: 500", "imput_tokens: 500", "did you mean 'input_tokens'"),
    ("input_tokens: 500\n", "", "input_tokens: this key is missing"),
    ("beams: 2", "beams: 0", "beams = 0"),
    ("ttft: 500 ms", "ttft: 500", "slo.ttft: 500 has no unit"),
    ("ttft: 500 ms", "ttft: 0 ms", "slo.ttft = '0 ms'"),
    ("ttft: 500 ms", "ttft: -500 ms", "slo.ttft = '-500 ms'"),
    ("ttft: 500 ms", "ttft: 500 mW", "slo.ttft: '500 mW' has the unit 'mW'"),
    ("ttft: 500 ms", "tfft: 500 ms", "did you mean 'ttft'"),
    ("source: me\n", "", "input_tokens has no source"),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN, ids=[row[1].strip() or "nothing" for row in BROKEN])
def test_broken_use_cases(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    assert CASE.count(old) == 1
    path.write_text(CASE.replace(old, new))
    with pytest.raises(SpecError) as caught:
        catalog.use_case(str(path))
    assert words in str(caught.value)


def test_a_use_case_is_frozen() -> None:
    case = UseCase(name="x", input_tokens=1, output_tokens=1)
    with pytest.raises(ValueError, match="frozen"):
        case.beams = 2
