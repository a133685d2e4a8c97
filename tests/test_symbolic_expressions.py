"""Expressions: what never counts is left out, values stay what they are, and numbers are printed for people."""

from typing import Any

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from genz.explore.symbolic.expressions import compiled, expanded, in_latex, in_words, readable
from genz.numerics import unfolded_sum

b, s = sympy.symbols("B S", integer=True, positive=True)
w = sympy.Symbol("W", positive=True)


def largest(*parts: Any) -> Any:
    return sympy.Max(*parts, evaluate=False)


def least(*parts: Any) -> Any:
    return sympy.Min(*parts, evaluate=False)


def either(value: Any, condition: Any, other: Any) -> Any:
    return sympy.Piecewise((value, condition), (other, True), evaluate=False)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (largest(0.0, b, 2 * b), 2 * b),
        (least(1, b), 1),
        (sympy.ceiling(b / least(1, b)), b),
        (largest(b / w, 3 / w), largest(b / w, 3 / w)),
        (largest(b, s), largest(b, s)),
        (largest(0, -largest(b, s) - 1), 0),
        (either(1, sympy.Le(b + 5, 5, evaluate=False), 2), 2),
        (either(1, sympy.Le(b, b + s, evaluate=False), 2), 1),
        (either(b, sympy.Le(b, 5, evaluate=False), b), b),
        (16384.000000000004 * b, 16384 * b),
    ],
)
def test_what_never_counts_is_left_out(written: Any, read: Any) -> None:
    assert readable(written) == read


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.1, 40.0))
@settings(max_examples=20, deadline=None)
def test_reading_changes_no_value(batch: int, context: int, bandwidth: float) -> None:
    t = sympy.Dummy("t", integer=True, nonnegative=True)
    written = unfolded_sum(largest(t + s, 3 * b * t / w), t, 0, s - 1) + least(b * s, 9, s) * (b + 1)
    written = written + sympy.floor(s / 7) + either(0, sympy.Le(b * s, 50), b * s) + largest(s * s, 2 * s, b)
    direct = sum(max(t + context, 3 * batch * t / bandwidth) for t in range(context))
    direct += (
        min(batch * context, 9) * (batch + 1)
        if min(batch * context, context) > 9
        else min(batch * context, context) * (batch + 1)
    )
    direct += context // 7 + (batch * context if batch * context > 50 else 0) + max(context**2, 2 * context, batch)
    for expression in (written, readable(written), expanded(readable(written))):
        assert compiled(expression, (b, s, w))(batch, context, bandwidth) == pytest.approx(direct, rel=1e-12)


def test_whole_numbers_are_divided_as_whole_numbers() -> None:
    """49 / 49 in floats, as 49 x (1 / 49), is below one."""
    assert compiled(sympy.floor(s / 49), (s,))(49) == 1 and compiled(sympy.ceiling(s / 49), (s,))(49) == 1


def test_printing() -> None:
    assert in_words(16777216 * b / w) == "16.78M·B/W"
    assert in_words(either(0, sympy.Le(b, 100), b) * 3) == "3·[B]"
    assert in_words(either(0, sympy.Le(b, 100), b), capacities=True) == "[B > 100]"
    assert in_latex(either(0, sympy.Le(b, 100), b)) == r"\left[B\right]"
    assert in_words(largest(b, s / w)) in ("max(B, S/W)", "max(S/W, B)")
