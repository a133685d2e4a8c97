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

from genz.dual import Dual

Number = float  # to the type checker; at run time also an ndarray, a SymPy expression or a dual number
Condition = Any  # bool, boolean ndarray or SymPy relational


def is_symbolic(*values: Any) -> bool:
    """Whether any of the values is a SymPy expression."""
    sympy = sys.modules.get("sympy")
    return sympy is not None and any(isinstance(value, sympy.Basic) for value in values)


def _are_scalars(*values: Any) -> bool:
    # A loop, as this is the busiest line of a scalar prediction.
    for value in values:  # noqa: SIM110
        if not isinstance(value, (int, float, Dual)):
            return False
    return True


def _sympy() -> Any:
    return sys.modules["sympy"]


def maximum(first: Number, *others: Number) -> Number:
    """The largest of the values, element by element."""
    if len(others) == 1:  # the busiest lines of kernels
        if type(first) is float and type(others[0]) is float:
            return max(first, others[0])
        if _match(first, others[0]):
            return np.maximum(first, others[0])  # type: ignore[no-any-return]
    if not others:
        return first
    if _are_scalars(first, *others):
        return max(first, *others)
    if is_symbolic(first, *others):
        return _sympy().Max(first, *others, evaluate=False)  # type: ignore[no-any-return]
    return _fold(np.maximum, np.greater_equal, (first, *others))


def minimum(first: Number, *others: Number) -> Number:
    """The smallest of the values, element by element."""
    if len(others) == 1:
        if type(first) is float and type(others[0]) is float:
            return min(first, others[0])
        if _match(first, others[0]):
            return np.minimum(first, others[0])  # type: ignore[no-any-return]
    if not others:
        return first
    if _are_scalars(first, *others):
        return min(first, *others)
    if is_symbolic(first, *others):
        return _sympy().Min(first, *others, evaluate=False)  # type: ignore[no-any-return]
    return _fold(np.minimum, np.less_equal, (first, *others))


def _match(one: Any, other: Any) -> bool:
    """Whether both are arrays of one shape, or one of them is an array and the other a plain number."""
    if type(one) is np.ndarray:
        return type(other) in (float, int) or (type(other) is np.ndarray and one.shape == other.shape)
    return type(other) is np.ndarray and type(one) in (float, int)


def _fold(choose: Any, precedes: Any, values: tuple[Number, ...]) -> Number:
    """The largest or smallest of arrays, smaller ones first.

    On an open mesh, where values vary along different axes, one of two often wins everywhere: then it is the answer as it
    is, and what is computed from it need not be spread over the axes of the loser.
    """
    result, *others = values if len(values) == 2 else sorted(values, key=_size)
    for other in others:
        if isinstance(result, np.ndarray) and isinstance(other, np.ndarray) and result.shape != other.shape:
            winner = _everywhere(precedes, result, other)
            if winner is not None:
                result = winner
                continue
        result = choose(result, other)
    return result


def _size(value: Any) -> int:
    return value.size if isinstance(value, np.ndarray) else 1


def _everywhere(precedes: Any, one: Any, other: Any) -> Any:
    """Which of two arrays wins over every element of the other; neither is told where the mesh of both is one of them."""
    size = np.broadcast(one, other).size
    if size in (one.size, other.size):
        return None
    extremes = (one.min(), one.max(), other.min(), other.max())
    if precedes is np.greater_equal:
        return one if extremes[0] >= extremes[3] else other if extremes[2] >= extremes[1] else None
    return one if extremes[1] <= extremes[2] else other if extremes[3] <= extremes[0] else None


def clip(value: Number, low: Number, high: Number) -> Number:
    """`value` held between `low` and `high`."""
    return minimum(maximum(value, low), high)


def ceil(value: Number) -> Number:
    """The smallest whole number that is not below `value`."""
    if isinstance(value, (int, float)):
        return math.ceil(value) if math.isfinite(value) else value
    if isinstance(value, Dual):
        return math.ceil(value)
    if is_symbolic(value):
        return _sympy().ceiling(value)
    return np.ceil(value)


def floor(value: Number) -> Number:
    """The largest whole number that is not above `value`."""
    if isinstance(value, (int, float)):
        return math.floor(value) if math.isfinite(value) else value
    if isinstance(value, Dual):
        return math.floor(value)
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
    if isinstance(value, Dual):
        return value.through(math.exp, math.exp)
    return _sympy().exp(value) if is_symbolic(value) else np.exp(value)


def log1p(value: Number) -> Number:
    """`log(1 + value)`, accurate for small values."""
    if isinstance(value, (int, float)):
        return math.log1p(value)
    if isinstance(value, Dual):
        return value.through(math.log1p, lambda v: 1 / (1 + v))
    return _sympy().log(1 + value) if is_symbolic(value) else np.log1p(value)


def expm1(value: Number) -> Number:
    """`exp(value) - 1`, accurate for small values."""
    if isinstance(value, (int, float)):
        return math.expm1(value)
    if isinstance(value, Dual):
        return value.through(math.expm1, math.exp)
    return _sympy().exp(value) - 1 if is_symbolic(value) else np.expm1(value)


def log2(value: Number) -> Number:
    """The logarithm to base 2."""
    if isinstance(value, (int, float)):
        return math.log2(value)
    if isinstance(value, Dual):
        return value.through(math.log2, lambda v: 1 / (v * math.log(2)))
    return _sympy().log(value, 2) if is_symbolic(value) else np.log2(value)


def total(values: Sequence[Number]) -> Number:
    """The sum of the values, each broadcast against the others; arrays of one shape are added up before they are spread."""
    if not values:
        return 0.0
    if len(values) > 2 and any(isinstance(value, np.ndarray) for value in values):
        values = _by_shape(values)
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


def _by_shape(values: Sequence[Any]) -> list[Any]:
    """Sums of the values of each shape, the smallest shape first."""
    sums: dict[tuple[int, ...], Any] = {}
    for value in values:
        shape = np.shape(value)
        sums[shape] = sums[shape] + value if shape in sums else value
    return [sums[shape] for shape in sorted(sums, key=math.prod)]


def lies_above(value: Number, other: Number) -> bool:
    """Whether plain numbers or arrays are known to be no smaller than others, element by element: where in doubt, not.

    For short cuts that change no result: a formula may drop a term that never counts.
    """
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return value >= other
    if not all(isinstance(each, (int, float, np.ndarray)) for each in (value, other)):
        return False
    if _is_surely_below(other, value):
        return True
    return np.max(value) >= np.max(other) and bool(np.all(np.asarray(value) >= other))


def _is_surely_below(value: Any, other: Any) -> bool:
    """Whether plain numbers or arrays are nowhere above others, as their extremes tell: where in doubt, not."""
    plain = isinstance(value, (int, float, np.ndarray)) and isinstance(other, (int, float, np.ndarray))
    return plain and bool(np.max(value) <= np.min(other))


def index_of_maximum(values: Sequence[Number]) -> Any:
    """Which of the values is largest: an int for scalars, an int array for arrays.

    The first of equals wins. Symbols have no answer: it would be a comparison.
    """
    (first, _), *others = largest(values)
    if not others and not _are_scalars(*values):
        return np.full(np.broadcast_shapes(*(np.shape(value) for value in values)), first, np.int8)
    index: Any = first
    for i, is_largest in others:
        index = index + np.int8(i - first) * is_largest
    return index


def largest(values: Sequence[Number]) -> list[tuple[int, Any]]:
    """Which values are the largest anywhere, and where: boolean arrays, and None for the first, which is it elsewhere.

    The first of equals counts. Arrays that are known to be nowhere the largest are left out.
    """
    if _are_scalars(*values):
        return [(max(range(len(values)), key=values.__getitem__), None)]
    found: list[tuple[int, Any]] = [(0, None)]
    best = values[0]
    for i, value in enumerate(values[1:], start=1):
        if _is_surely_below(value, best):
            continue
        is_above: Any = value > best
        if isinstance(is_above, np.ndarray) and not is_above.any():
            continue
        if isinstance(is_above, np.ndarray) and is_above.all():
            found = [(i, None)]
        else:
            found = [found[0], *((known, mask & ~is_above) for known, mask in found[1:]), (i, is_above)]
        if i < len(values) - 1:
            best = maximum(best, value)
    return found


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
    return unfolded_sum(value_at(index), index, 0, steps - 1)  # type: ignore[no-any-return]


def unfolded_sum(body: Any, index: Any, first: Any, last: Any) -> Any:
    """A SymPy sum of a body as it stands: SymPy would fold cases and maxima inside of it first, which takes seconds."""
    sympy = _sympy()
    made = sympy.Expr.__new__(sympy.Sum, sympy.sympify(body), sympy.Tuple(index, first, last))
    made.is_commutative = True
    return made
