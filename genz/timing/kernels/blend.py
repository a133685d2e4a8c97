"""Smooth minimum and maximum: a library's choice among ways of working is near the best, and work hides work near their
crossing only in part.
"""

from __future__ import annotations

from genz.numerics import Number, maximum, minimum

# Within 1 % of the sharp ones a factor of 1.6 away from where two meet, 11 % off where they do.
SHARPNESS = 6
# Keeps powers finite where something takes no time [s].
_INSTANT = 1e-12


def smooth_minimum(*times: Number) -> Number:
    """(t1^-p + t2^-p + ...)^(-1/p) of times [s], p = 6: at most the least of them."""
    least = maximum(minimum(*times), _INSTANT)
    total: Number = 0.0
    for time in times:
        total = total + _power(least / maximum(time, _INSTANT))
    scale: Number = total ** (-1 / SHARPNESS)
    return least * scale


def smooth_maximum(one: Number, other: Number) -> Number:
    """(t1^p + t2^p)^(1/p) of two times [s], p = 6: at least the larger of them."""
    largest = maximum(one, other, _INSTANT)
    scale: Number = (1 + _power(minimum(one, other) / largest)) ** (1 / SHARPNESS)
    return largest * scale


def _power(ratio: Number) -> Number:
    cube = ratio * ratio * ratio
    return cube * cube
