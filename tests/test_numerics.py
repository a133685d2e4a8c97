"""One formula over scalars, arrays and symbols: all three agree, and none is looked at."""

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tracer import Tracer, ValueWasRead, implant, traced

from genz import numerics
from genz.specs import catalog

values = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)
whole = st.integers(0, 10**12)

# Each function with its number of arguments, and what it is to give.
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, Callable[..., float]]] = {
    "maximum of one": (numerics.maximum, 1, lambda x: x),
    "maximum": (numerics.maximum, 3, lambda *xs: sorted(xs)[-1]),
    "minimum of one": (numerics.minimum, 1, lambda x: x),
    "minimum": (numerics.minimum, 3, lambda *xs: sorted(xs)[0]),
    "clip": (lambda x, a, b: numerics.clip(x, a, a + abs(b)), 3, lambda x, a, b: sorted((x, a, a + abs(b)))[1]),
    "ceil": (numerics.ceil, 1, lambda x: -(-x // 1)),
    "floor": (numerics.floor, 1, lambda x: x // 1),
    "where": (lambda x, a, b: numerics.where(x > 1, a, b), 3, lambda x, a, b: a if x > 1 else b),
    "safe_divide": (lambda x, y: numerics.safe_divide(x, y, 7.0), 2, lambda x, y: x / y if y else 7.0),
    "exp": (lambda x: numerics.exp(x / 1e5), 1, lambda x: math.e ** (x / 1e5)),
    "expm1": (lambda x: numerics.expm1(x / 1e5), 1, lambda x: math.expm1(x / 1e5)),
    "log1p": (lambda x: numerics.log1p(x * x), 1, lambda x: math.log1p(x * x)),
    "log2": (lambda x: numerics.log2(1 + x * x), 1, lambda x: math.log(1 + x * x) / math.log(2)),
    "total": (lambda x, y, z: numerics.total([x, y, z]), 3, lambda x, y, z: x + y + z),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_scalars_arrays_symbols_and_tracers_agree(name: str, data: st.DataObject) -> None:
    function, arity, expected_of = FUNCTIONS[name]
    arguments = data.draw(st.tuples(*[values] * arity))
    expected = expected_of(*arguments)
    close = pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert function(*arguments) == close
    on_arrays = function(*(np.array([x, x]) for x in arguments))
    assert on_arrays.shape == (2,) and list(on_arrays) == [close, close]
    assert traced(function(*map(Tracer, arguments))) == close
    symbols = sympy.symbols(f"x:{arity}", real=True)
    formula = function(*symbols)
    assert isinstance(formula, sympy.Basic)
    assert float(formula.subs(dict(zip(symbols, map(sympy.Float, arguments), strict=True)))) == close


@pytest.mark.parametrize("name", FUNCTIONS)
def test_symbolic_formulas_become_array_functions(name: str) -> None:
    function, arity, expected_of = FUNCTIONS[name]
    symbols = sympy.symbols(f"x:{arity}", real=True)
    compiled = sympy.lambdify(symbols, function(*symbols), "numpy")
    rows = [(3.5, -2.0, 0.5), (-7.25, 4.0, 9.0), (1.0, 1.0, 1.0)]
    columns = [np.array(column) for column in list(zip(*rows, strict=True))[:arity]]
    assert list(compiled(*columns)) == pytest.approx([expected_of(*row[:arity]) for row in rows])


@given(whole, st.integers(1, 10**12))
def test_ceil_div_is_whole_number_division_rounded_up(value: int, divisor: int) -> None:
    expected = -(-value // divisor)
    assert numerics.ceil_div(value, divisor) == expected
    assert numerics.ceil_div(np.array([value]), divisor)[0] == expected
    assert traced(numerics.ceil_div(Tracer(float(value)), divisor)) == expected
    assert numerics.ceil_div(sympy.Integer(value), divisor) == expected


@given(st.lists(values, max_size=6))
@settings(deadline=None)
def test_ascending_sorts(numbers: list[float]) -> None:
    expected = sorted(numbers)
    assert numerics.ascending(numbers) == expected
    assert [float(x[0]) for x in numerics.ascending([np.array([x]) for x in numbers])] == expected
    assert traced(numerics.ascending([Tracer(x) for x in numbers])) == expected


@given(st.lists(st.lists(values, min_size=4, max_size=4), min_size=1, max_size=5))
def test_ascending_sorts_arrays_element_by_element_and_broadcasts(rows: list[list[float]]) -> None:
    ordered = numerics.ascending([np.array(row) for row in rows])
    for column in range(4):
        assert [float(row[column]) for row in ordered] == sorted(row[column] for row in rows)
    mixed = numerics.ascending([rows[0][0], np.array(rows[0])])
    assert np.all(mixed[0] <= mixed[1])


def test_ascending_sorts_symbols() -> None:
    x, y, z = sympy.symbols("x y z", real=True)
    low, middle, high = numerics.ascending([x, y, z])
    assert [e.subs({x: 3, y: 1, z: 2}) for e in (low, middle, high)] == [1, 2, 3]


@given(st.lists(values, min_size=1, max_size=5))
def test_index_of_maximum_is_the_first_of_the_largest(numbers: list[float]) -> None:
    expected = numbers.index(max(numbers))
    assert numerics.index_of_maximum(numbers) == expected
    assert numerics.index_of_maximum([np.array([x, x]) for x in numbers]).tolist() == [expected, expected]
    assert traced(numerics.index_of_maximum([Tracer(x) for x in numbers])) == expected


def test_index_of_maximum_broadcasts() -> None:
    assert numerics.index_of_maximum([2.0, np.array([1.0, 2.0, 3.0])]).tolist() == [0, 0, 1]


def test_where_evaluates_both_sides_and_takes_one() -> None:
    assert numerics.where(True, 1.0, math.nan) == 1.0
    assert numerics.where(np.bool_(False), math.nan, 2.0) == 2.0
    assert numerics.where(np.array([True, False]), 1.0, np.array([5.0, 6.0])).tolist() == [1.0, 6.0]


@pytest.mark.parametrize("numerator", [0.0, 3.0, np.array([0.0, 3.0])], ids=["zero", "three", "array"])
@pytest.mark.parametrize("denominator", [0, 0.0, np.array([0.0, 2.0])], ids=["int zero", "zero", "array"])
def test_safe_divide_never_divides_by_zero(numerator: Any, denominator: Any) -> None:
    # Warnings are errors here: the division itself must not happen.
    result = np.broadcast_to(numerics.safe_divide(numerator, denominator, -1.0), (2,))
    assert result[0] == -1.0
    if isinstance(denominator, np.ndarray):
        assert result[1] == np.broadcast_to(numerator, (2,))[1] / 2.0


def test_safe_divide_by_a_symbol() -> None:
    x = sympy.Symbol("x", real=True)
    quotient = numerics.safe_divide(6.0, x, -1.0)
    assert float(quotient.subs(x, 3)) == 2.0 and float(quotient.subs(x, 0)) == -1.0


@pytest.mark.parametrize("infinite", [math.inf, -math.inf])
def test_rounding_leaves_infinity_as_it_is(infinite: float) -> None:
    assert numerics.ceil(infinite) == infinite and numerics.floor(infinite) == infinite


@given(values, values)
def test_numpy_scalars_are_numbers_too(x: float, y: float) -> None:
    assert numerics.maximum(np.float64(x), y) == max(x, y)
    assert numerics.maximum(np.float32(2.0), np.int64(3)) == 3
    assert numerics.ceil(np.float64(x)) == math.ceil(x)


def test_total_of_nothing_is_zero_and_broadcasts() -> None:
    assert numerics.total([]) == 0.0
    assert numerics.total([1, np.array([1.0, 2.0]), np.array([[10.0], [20.0]])]).tolist() == [[12, 13], [22, 23]]


def test_every_asks_all_elements() -> None:
    assert numerics.every(True) and numerics.every(np.array([True, True]))
    assert not numerics.every(np.array([True, False]))


def test_is_symbolic_sees_symbols_only() -> None:
    assert numerics.is_symbolic(1.0, sympy.Symbol("x")) and numerics.is_symbolic(sympy.Integer(3))
    assert not numerics.is_symbolic(1, 1.0, np.ones(2), "x", None, Tracer(1.0))


def test_sum_over_steps_is_the_sum_of_its_terms() -> None:
    n = sympy.Symbol("n", integer=True, positive=True)
    formula = numerics.sum_over_steps(lambda t: numerics.maximum(10 - t, t), n)
    assert formula.subs(n, 8).doit() == sum(max(10 - t, t) for t in range(8))


def test_numerics_does_not_import_sympy() -> None:
    code = "import sys, genz.numerics as n; n.maximum(1.0, 2.0); n.ceil(1.5); print('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# The tracer itself: it must notice, or the tests that use it mean nothing.

READS: dict[str, Callable[[Any], Any]] = {
    "if": lambda x: 1 if x else 0,
    "comparison": lambda x: 1 if x > 2 else 0,
    "and": lambda x: x and 1,
    "not": lambda x: not x,
    "max": lambda x: max(x, 2.0),
    "sorted": lambda x: sorted([x, 2.0]),
    "in": lambda x: x in (1.0, 2.0),
    "float": float,
    "int": int,
    "index": lambda x: [1, 2, 3][x],
    "range": range,
    "round": round,
    "math.ceil": math.ceil,
    "math.exp": math.exp,
    "hash": lambda x: {x: 1},
    "iteration": list,
    "format": lambda x: f"{x:g}",
    "np.asarray": np.asarray,
    "np.all": lambda x: bool(np.all(x > 2)),
    "every": lambda x: numerics.every(x > 2),
    "np.float64": np.float64,
}


@pytest.mark.parametrize("name", READS)
def test_tracer_notices_that_it_is_read(name: str) -> None:
    with pytest.raises(ValueWasRead):
        READS[name](Tracer(3.0))


@given(values, values)
def test_tracer_computes_as_the_float_inside(x: float, y: float) -> None:
    a, b = Tracer(x), Tracer(y)
    for result, expected in [
        (a + b, x + y),
        (a - y, x - y),
        (x - b, x - y),
        (a * 2, x * 2),
        (2 * a, x * 2),
        (-a, -x),
        (+a, x),
        (abs(a), abs(x)),
        (a / (b * b + 1), x / (y * y + 1)),
        (1 / (b * b + 1), 1 / (y * y + 1)),
        (a**2, x**2),
        (a // 3, x // 3),
        (a % 3, x % 3),
        (a > b, x > y),
        (a <= y, x <= y),
        (a == b, x == y),
        (a != b, x != y),
        (np.float64(3) * a, 3 * x),
        (np.sqrt(a * a), abs(x)),
        ((a > 1) & (b > 1), x > 1 and y > 1),
        ((a > 1) | (b > 1), x > 1 or y > 1),
        (~(a > 1), not x > 1),
    ]:
        assert isinstance(result, Tracer)
        assert traced(result) == pytest.approx(expected)


@given(st.lists(values, min_size=2, max_size=4))
def test_tracer_holds_arrays_too(numbers: list[float]) -> None:
    assume(any(numbers))
    array = np.array(numbers)
    assert traced(Tracer(array) * array).tolist() == (array * array).tolist()
    assert traced(array * Tracer(array)).tolist() == (array * array).tolist()
    assert traced(numerics.maximum(Tracer(array), 0.0)).tolist() == [max(x, 0.0) for x in numbers]


def test_implanted_tracer_reaches_a_figure() -> None:
    platform = catalog.platform("8x h100-sxm")
    changed = implant(platform, "network.0.bandwidth", Tracer(1e9))
    assert traced(changed.network[0].bandwidth) == 1e9
    assert platform.network[0].bandwidth == 450e9
    assert traced(implant(platform, "chip.memory.hbm.bandwidth", Tracer(2.0)).chip.memory["hbm"].bandwidth * 2) == 4.0


# Open meshes: values that vary along different axes.


@st.composite
def open_meshes(draw: st.DrawFn) -> list[np.ndarray]:
    """Arrays of a few shapes that broadcast against one another, often far apart so that one wins everywhere."""
    shapes = st.sampled_from([(2, 1, 1), (1, 3, 1), (1, 1, 4), (2, 3, 1), (2, 1, 4), (2, 3, 4)])
    count = draw(st.integers(2, 4))
    offsets = draw(st.lists(st.sampled_from([0.0, 10.0, 100.0]), min_size=count, max_size=count))
    seeds = draw(st.lists(st.integers(0, 99), min_size=count, max_size=count))
    return [
        offset + np.random.default_rng(seed).integers(0, 20, draw(shapes)).astype(float)
        for offset, seed in zip(offsets, seeds, strict=True)
    ]


@given(open_meshes())
def test_extremes_and_sums_on_an_open_mesh_are_those_of_the_full_one(values: list[np.ndarray]) -> None:
    full = np.stack(np.broadcast_arrays(*values))
    shape = full.shape[1:]
    assert np.array_equal(np.broadcast_to(numerics.maximum(*values), shape), full.max(axis=0))
    assert np.array_equal(np.broadcast_to(numerics.minimum(*values), shape), full.min(axis=0))
    assert np.array_equal(np.broadcast_to(numerics.total(values), shape), full.sum(axis=0))
    assert np.array_equal(np.broadcast_to(numerics.index_of_maximum(values), shape), full.argmax(axis=0))


def test_what_wins_everywhere_is_not_spread_over_the_axes_of_the_loser() -> None:
    rows, columns = np.array([[5.0], [6.0]]), np.array([[1.0, 2.0, 3.0]])
    assert numerics.maximum(rows, columns) is rows
    assert numerics.minimum(rows, columns) is columns
    assert numerics.maximum(rows, columns + 4.5).shape == (2, 3)


@given(open_meshes())
def test_lies_above_is_never_wrong(values: list[np.ndarray]) -> None:
    one, other = values[:2]
    assert numerics.lies_above(one, other) == bool(np.all(one >= other))


def test_lies_above_does_not_look_at_what_is_no_plain_number() -> None:
    assert not numerics.lies_above(Tracer(2.0), 1.0)
    assert not numerics.lies_above(sympy.Symbol("x", positive=True), -1.0)
    assert numerics.lies_above(2.0, 2)
    assert not numerics.lies_above(1.0, 2.0)
