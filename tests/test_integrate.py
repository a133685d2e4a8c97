"""Sums of a maximum of lines, against adding up the steps."""

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from genz.timing.integrate import pieces, sum_of_maximum

LINE = st.tuples(st.floats(0, 1e3), st.floats(0, 1e3))


def step_by_step(first: list[float], last: list[float], length: int) -> float:
    span = max(length - 1, 1)
    return sum(max(a + (b - a) * t / span for a, b in zip(first, last, strict=True)) for t in range(length))


@given(lines=st.lists(LINE, min_size=1, max_size=4), length=st.integers(0, 200))
def test_sum_equals_step_by_step(lines: list[tuple[float, float]], length: int) -> None:
    first, last = [a for a, _ in lines], [b for _, b in lines]
    assert sum_of_maximum(first, last, length) == pytest.approx(step_by_step(first, last, length), rel=1e-9, abs=1e-9)


@given(lines=st.lists(LINE, min_size=1, max_size=4), lengths=st.lists(st.integers(0, 200), min_size=1, max_size=5))
def test_arrays_equal_scalars(lines: list[tuple[float, float]], lengths: list[int]) -> None:
    first, last = [a for a, _ in lines], [b for _, b in lines]
    summed = sum_of_maximum([np.full(len(lengths), a) for a in first], last, np.array(lengths))
    assert summed == pytest.approx([sum_of_maximum(first, last, length) for length in lengths])


def test_symbols_stand_as_a_sum() -> None:
    a, b, length = sympy.symbols("a b N", positive=True)
    expression = sum_of_maximum([a, 3.0], [b, 3.0], length)
    assert expression.has(sympy.Sum)
    value = float(expression.subs({a: 1, b: 11, length: 6}).doit())
    assert value == pytest.approx(3 + 3 + 5 + 7 + 9 + 11)


@given(lines=st.lists(LINE, min_size=2, max_size=4), length=st.integers(1, 100))
def test_pieces_cover_every_step_once(lines: list[tuple[float, float]], length: int) -> None:
    assert sum(steps for steps, _ in pieces([a for a, _ in lines], [b for _, b in lines], length)) == length
