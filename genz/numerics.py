"""Mathematics over numbers that may be scalars, NumPy arrays or SymPy expressions.

Every cost formula in GenZ is written once, with the operators of Python and the functions here. The
functions dispatch by type; SymPy is touched only when it is loaded already. No formula branches on
a value: `where` evaluates both of its sides, so denominators are guarded by the caller. Symbolic
maxima are left as they are written: SymPy's attempts to order their arguments take minutes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Number = float  # to the type checker; at run time also an ndarray or a SymPy expression
Condition = Any  # bool, boolean ndarray or SymPy relational


def is_symbolic(*values: Any) -> bool:
    """Whether any of the values is a SymPy expression."""
    sympy = sys.modules.get("sympy")
    return sympy is not None and any(isinstance(value, sympy.Basic) for value in values)


def _are_scalars(*values: Any) -> bool:
    # A loop, as this is the busiest line of a scalar prediction.
    for value in values:  # noqa: SIM110
        if not isinstance(value, (int, float)):
            return False
    return True


def _sympy() -> Any:
    return sys.modules["sympy"]


def maximum(first: Number, *others: Number) -> Number:
    """The largest of the values, element by element."""
    if len(others) == 1 and type(first) is float and type(others[0]) is float:  # the busiest line of scalar kernels
        return max(first, others[0])
    if not others:
        return first
    if _are_scalars(first, *others):
        return max(first, *others)
    if is_symbolic(first, *others):
        return _sympy().Max(first, *others, evaluate=False)  # type: ignore[no-any-return]
    result: Any = first
    for other in others:
        result = np.maximum(result, other)
    return result  # type: ignore[no-any-return]


def minimum(first: Number, *others: Number) -> Number:
    """The smallest of the values, element by element."""
    if len(others) == 1 and type(first) is float and type(others[0]) is float:
        return min(first, others[0])
    if not others:
        return first
    if _are_scalars(first, *others):
        return min(first, *others)
    if is_symbolic(first, *others):
        return _sympy().Min(first, *others, evaluate=False)  # type: ignore[no-any-return]
    result: Any = first
    for other in others:
        result = np.minimum(result, other)
    return result  # type: ignore[no-any-return]


def clip(value: Number, low: Number, high: Number) -> Number:
    """`value` held between `low` and `high`."""
    return minimum(maximum(value, low), high)


def ceil(value: Number) -> Number:
    """The smallest whole number that is not below `value`."""
    if isinstance(value, (int, float)):
        return math.ceil(value) if math.isfinite(value) else value
    if is_symbolic(value):
        return _sympy().ceiling(value)
    return np.ceil(value)


def floor(value: Number) -> Number:
    """The largest whole number that is not above `value`."""
    if isinstance(value, (int, float)):
        return math.floor(value) if math.isfinite(value) else value
    if is_symbolic(value):
        return _sympy().floor(value)
    return np.floor(value)


def ceil_div(value: Number, divisor: Number) -> Number:
    """`value / divisor` rounded up to a whole number."""
    return ceil(value / divisor)


def where(condition: Condition, if_true: Number, if_false: Number) -> Number:
    """`if_true` where the condition holds, else `if_false`; both sides are evaluated."""
    if isinstance(condition, (bool, np.bool_)):
        return if_true if condition else if_false
    if is_symbolic(condition, if_true, if_false):
        return _sympy().Piecewise((if_true, condition), (if_false, True), evaluate=False)  # type: ignore[no-any-return]
    return np.where(condition, if_true, if_false)  # type: ignore[return-value]


def safe_divide(numerator: Number, denominator: Number, otherwise: Number) -> Number:
    """`numerator / denominator`, and `otherwise` where the denominator is zero."""
    if isinstance(denominator, (int, float)):
        return numerator / denominator if denominator else otherwise
    if is_symbolic(numerator, denominator):
        is_zero = _sympy().Eq(denominator, 0)
        return where(is_zero, otherwise, numerator / where(is_zero, 1, denominator))
    is_zero = denominator == 0
    return where(is_zero, otherwise, numerator / where(is_zero, 1.0, denominator))


def exp(value: Number) -> Number:
    """The exponential function."""
    if isinstance(value, (int, float)):
        return math.exp(value)
    return _sympy().exp(value) if is_symbolic(value) else np.exp(value)


def log1p(value: Number) -> Number:
    """`log(1 + value)`, accurate for small values."""
    if isinstance(value, (int, float)):
        return math.log1p(value)
    return _sympy().log(1 + value) if is_symbolic(value) else np.log1p(value)


def expm1(value: Number) -> Number:
    """`exp(value) - 1`, accurate for small values."""
    if isinstance(value, (int, float)):
        return math.expm1(value)
    return _sympy().exp(value) - 1 if is_symbolic(value) else np.expm1(value)


def log2(value: Number) -> Number:
    """The logarithm to base 2."""
    if isinstance(value, (int, float)):
        return math.log2(value)
    return _sympy().log(value, 2) if is_symbolic(value) else np.log2(value)


def total(values: Sequence[Number]) -> Number:
    """The sum of the values, each broadcast against the others."""
    if not values:
        return 0.0
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


def index_of_maximum(values: Sequence[Number]) -> Any:
    """Which of the values is largest: an int for scalars, an int array for arrays.

    The first of equals wins. Symbols have no answer: it would be a comparison.
    """
    if _are_scalars(*values):
        return max(range(len(values)), key=values.__getitem__)
    return np.argmax(np.stack(np.broadcast_arrays(*values)), axis=0)


def ascending(values: Sequence[Number]) -> list[Number]:
    """The values sorted upwards by a network of minimum and maximum, element by element."""
    ordered = list(values)
    if _are_scalars(*ordered):
        return sorted(ordered)
    for end in range(len(ordered) - 1, 0, -1):
        for i in range(end):
            ordered[i], ordered[i + 1] = minimum(ordered[i], ordered[i + 1]), maximum(ordered[i], ordered[i + 1])
    return ordered


def every(condition: Condition) -> bool:
    """Whether a condition holds for every element: for checks at the edge, never inside a formula."""
    return condition if isinstance(condition, bool) else bool(np.all(condition))


def sum_over_steps(value_at: Callable[[Number], Number], steps: Number) -> Number:
    """The sum of `value_at(t)` for t from 0 to steps - 1, as a SymPy sum: for symbols only."""
    sympy = _sympy()
    index = sympy.Dummy("t", integer=True, nonnegative=True)
    return sympy.Sum(value_at(index), (index, 0, steps - 1))  # type: ignore[no-any-return]
