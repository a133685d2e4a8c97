"""Dual numbers: derivatives worked by hand and by SymPy, and one-sided ones at kinks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import genz
from genz import numerics
from genz.dual import Dual, derivative_of, value_of
from genz.errors import InvalidValueError

positive = st.floats(0.1, 50.0)
signed = st.floats(-50.0, 50.0)

# Smooth formulas over two numbers above zero, differentiated by SymPy.
SMOOTH: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda x, y: x + y + 3,
    "difference": lambda x, y: 2 - x - y,
    "product": lambda x, y: 3 * x * y * x,
    "quotient": lambda x, y: x / y + 1 / x - y / 7,
    "powers": lambda x, y: x**3 + y**0.5 + x**-1.5,
    "exponents": lambda x, y: 2**x + x**y,
    "negation": lambda x, y: -x + +y,
    "exp": lambda x, y: numerics.exp(-x / y),
    "expm1": lambda x, y: numerics.expm1(-x) * y,
    "log1p": lambda x, y: numerics.log1p(x * y),
    "log2": lambda x, y: numerics.log2(x) * numerics.log2(1 + y),
    "total": lambda x, y: numerics.total([x, y, x * y]),
    "safe_divide": lambda x, y: numerics.safe_divide(x, y, 7.0),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(x=positive, y=positive, dx=signed, dy=signed)
@settings(max_examples=25, deadline=None)
def test_derivatives_are_those_of_sympy(name: str, x: float, y: float, dx: float, dy: float) -> None:
    a, b = sympy.symbols("a b", positive=True)
    formula = sympy.sympify(SMOOTH[name](a, b))
    at = {a: sympy.Float(x, 30), b: sympy.Float(y, 30)}
    slope = float(formula.diff(a).subs(at)) * dx + float(formula.diff(b).subs(at)) * dy
    found = SMOOTH[name](Dual(x, dx), Dual(y, dy))
    assert value_of(found) == pytest.approx(float(formula.subs(at)), rel=1e-9, abs=1e-12)
    assert derivative_of(found) == pytest.approx(slope, rel=1e-9, abs=1e-9 * (abs(dx) + abs(dy)) * (1 + abs(slope)))


def test_a_formula_worked_by_hand() -> None:
    """f = x^2 / (1 + x) at 2: f = 4/3, f' = (x^2 + 2x) / (1 + x)^2 = 8/9."""
    x = Dual(2.0, 1.0)
    f = x**2 / (1 + x)
    assert (f.value, f.derivative) == (pytest.approx(4 / 3), pytest.approx(8 / 9))


@pytest.mark.parametrize(("direction", "largest", "least"), [(1.0, 2.0, 1.0), (-1.0, -1.0, -2.0)])
def test_a_tie_takes_the_branch_that_wins_on_its_side(direction: float, largest: float, least: float) -> None:
    """max(x, 2x - 3) and min of both at x = 3: slopes 1 and 2 meet."""
    x = Dual(3.0, direction)
    assert derivative_of(numerics.maximum(x, 2 * x - 3)) == largest
    assert derivative_of(numerics.minimum(x, 2 * x - 3)) == least
    assert derivative_of(numerics.clip(x, 0.0, 3.0)) == (0.0 if direction > 0 else -1.0)
    assert derivative_of(abs(x - 3)) == 1.0


def test_values_that_differ_by_rounding_tie() -> None:
    x = Dual(0.1 + 0.2, 1.0)
    assert derivative_of(numerics.maximum(x, 0.3)) == 1.0
    assert derivative_of(numerics.maximum(Dual(0.1 + 0.2, -1.0), 0.3)) == 0.0


@pytest.mark.parametrize(
    ("value", "direction", "up", "down"),
    [(2.0, 1.0, 3, 2), (2.0, -1.0, 2, 1), (2.0, 0.0, 2, 2), (2.5, 1.0, 3, 2), (2.5, -1.0, 3, 2), (-2.0, 1.0, -1, -2)],
)
def test_rounding_lies_on_the_step_of_its_side(value: float, direction: float, up: int, down: int) -> None:
    x = Dual(value, direction)
    assert (numerics.ceil(x), numerics.floor(x)) == (up, down)
    assert derivative_of(numerics.ceil(x)) == derivative_of(numerics.floor(x)) == 0.0
    assert numerics.ceil(Dual(math.inf, direction)) == math.inf


@pytest.mark.parametrize(("direction", "taken"), [(1.0, "above"), (-1.0, "below"), (0.0, "below")])
def test_conditions_hold_as_they_do_on_its_side(direction: float, taken: str) -> None:
    x = Dual(16.0, direction)
    assert numerics.where(x <= 16, "below", "above") == taken  # type: ignore[arg-type]
    assert (x > 16) is (taken == "above") and (np.float64(16) < x) is (taken == "above")
    assert (x == 16) is (direction == 0) and (x != 16) is (direction != 0) and (x >= 16) is (direction >= 0)
    assert x < 17 and np.float64(17) > x and sorted([x, 3.0, 40])[1] is x


def test_division_by_zero_is_the_limit_of_its_side() -> None:
    nothing = Dual(3.0, 1.0) - 3
    assert value_of(2.0 / nothing) == math.inf and value_of(-2.0 / nothing) == -math.inf
    assert value_of(2.0 / -nothing) == -math.inf
    quotient = (4 * nothing) / nothing
    assert quotient.value == 4.0 and math.isnan(quotient.derivative)
    assert numerics.safe_divide(1.0, Dual(0.0), 7.0) == 7.0  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        Dual(1.0, 1.0) / 0.0


def test_what_does_not_change_does_not_do_so_beside_infinity() -> None:
    assert derivative_of(Dual(3.0) * math.inf) == 0.0
    assert derivative_of(Dual(0.0) ** 0.5) == 0.0 and derivative_of(Dual(0.0, 1.0) ** 0.5) == math.inf


def test_numpy_scalars_leave_arithmetic_to_it() -> None:
    for found in (np.float64(3) * Dual(2.0, 1.0), Dual(2.0, 1.0) * np.float64(3)):
        assert isinstance(found, Dual) and (found.value, found.derivative) == (6.0, 3.0)


def test_it_has_no_truth_no_hash_and_is_no_float() -> None:
    for misuse in (bool, hash, float, int):
        with pytest.raises(TypeError):
            misuse(Dual(1.0, 1.0))


def test_a_specification_takes_one_in_the_place_of_a_figure() -> None:
    path = "chip.memory.hbm.bandwidth"
    bound = genz.bind(genz.platform("8x h100-sxm"), {path: Dual(2e12, 1.0)})
    assert bound.chip.memory["hbm"].bandwidth == Dual(2e12, 1.0)
    assert genz.bind(bound, {path: 1e12}).chip.memory["hbm"].bandwidth == 1e12
    with pytest.raises(InvalidValueError, match="> 0"):
        genz.bind(bound, {path: Dual(-1.0, 1.0)})
