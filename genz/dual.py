"""Dual numbers: a value and how it changes in one direction, for exact derivatives through the formulas as they are.

`Dual(v, d)` stands for v + d h with h above zero and as small as one likes, so a formula over it is evaluated just beside
the point, on the side that d names. Comparisons are those of that side: where values tie, derivatives decide. A maximum
then takes the branch that wins there, `ceil` the step that the side lies on, and derivatives at a kink are one-sided ones,
exact. Where the value that comes out is not that of the formula at the point itself, the formula jumps on that side.

References: Griewank and Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapters 3 and 14 (forward mode; kinks).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Values that differ by no more than rounding tie: what is equal on paper seldom is to the last bit.
TIE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Dual:
    """v + d h, to first order in h: arithmetic with the rules of differentiation. It has no truth and no hash."""

    value: float
    derivative: float = 0.0

    # NumPy's scalars leave arithmetic to this class.
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def through(self, function: Callable[[float], float], slope: Callable[[float], float]) -> Dual:
        """A smooth function of it, given with its derivative: f(v) + f'(v) d h."""
        return Dual(function(self.value), _times(self.derivative, slope(self.value)))

    def __add__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            return Dual(self.value + other.value, self.derivative + other.derivative)
        return Dual(self.value + other, self.derivative)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            return Dual(self.value - other.value, self.derivative - other.derivative)
        return Dual(self.value - other, self.derivative)

    def __rsub__(self, other: Any) -> Dual:
        return Dual(other - self.value, -self.derivative)

    def __mul__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            slope = _times(self.derivative, other.value) + _times(other.derivative, self.value)
            return Dual(self.value * other.value, slope)
        return Dual(self.value * other, _times(self.derivative, other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Dual:
        return _quotient(self.value, self.derivative, *_parts(other))

    def __rtruediv__(self, other: Any) -> Dual:
        return _quotient(*_parts(other), self.value, self.derivative)

    def __floordiv__(self, other: Any) -> Any:
        return math.floor(self / other)

    def __pow__(self, power: Any) -> Dual:
        if isinstance(power, Dual):
            return _power(self, power)
        if self.value == 0 and power < 1:
            return Dual(self.value**power, math.copysign(math.inf, self.derivative) if power and self.derivative else 0.0)
        return Dual(self.value**power, _times(self.derivative, power * self.value ** (power - 1)))

    def __rpow__(self, base: Any) -> Dual:
        return _power(Dual(base), self)

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.derivative)

    def __pos__(self) -> Dual:
        return self

    def __abs__(self) -> Dual:
        return -self if self < 0 else self

    def __ceil__(self) -> Any:
        """The smallest whole number that is not below it, on its side: above a whole value already the next one."""
        rounded = float(math.ceil(self.value)) if math.isfinite(self.value) else self.value
        return rounded + 1 if self.derivative > 0 and rounded == self.value else rounded

    def __floor__(self) -> Any:
        """The largest whole number that is not above it, on its side."""
        return -(-self).__ceil__()

    def __lt__(self, other: Any) -> bool:
        return _ahead(self, other) < 0

    def __le__(self, other: Any) -> bool:
        return _ahead(self, other) <= 0

    def __gt__(self, other: Any) -> bool:
        return _ahead(self, other) > 0

    def __ge__(self, other: Any) -> bool:
        return _ahead(self, other) >= 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (int, float, Dual)) and _ahead(self, other) == 0

    def __bool__(self) -> bool:
        raise TypeError("a dual number has no truth: formulas compare values, they do not branch on them")


def value_of(number: Any) -> float:
    """The value of a dual number, and any other number as it is."""
    return number.value if isinstance(number, Dual) else number


def derivative_of(number: Any) -> float:
    """The derivative of a dual number, and zero of any other number."""
    return number.derivative if isinstance(number, Dual) else 0.0


def _parts(number: Any) -> tuple[float, float]:
    return (number.value, number.derivative) if isinstance(number, Dual) else (number, 0.0)


def _times(derivative: float, factor: float) -> float:
    """What does not change does not do so times infinity either."""
    return derivative * factor if derivative else 0.0


def _ahead(one: Dual, other: Any) -> float:
    """The sign of one less the other, just beside the point."""
    value, derivative = _parts(other)
    if math.isclose(one.value, value, rel_tol=TIE):
        return one.derivative - derivative
    return one.value - value


def _quotient(value: float, derivative: float, divisor: float, its_derivative: float) -> Dual:
    """(v + d h) / (w + e h). Over w = 0 it is the limit on the side: infinite, or d / e where v is zero too."""
    if divisor == 0 and its_derivative:
        if value == 0:
            return Dual(derivative / its_derivative, math.nan)  # its derivative is a matter of the second order
        return Dual(math.copysign(math.inf, value) * math.copysign(1.0, its_derivative))
    quotient = value / divisor
    return Dual(quotient, derivative / divisor - _times(its_derivative, quotient / divisor))


def _power(base: Dual, power: Dual) -> Dual:
    """b^p = exp(p log b), for a base above zero."""
    value = base.value**power.value
    slope = _times(power.derivative, math.log(base.value)) + _times(base.derivative, power.value / base.value)
    return Dual(value, _times(slope, value))
