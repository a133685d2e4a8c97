"""What a cache still holds when it is asked again."""

from __future__ import annotations

from genz.numerics import Number, minimum

# Even powers keep the formula cheap. Benchmarks on caches of 40 to 126 MiB fall off within some 10 % of the capacity.
SHARPNESS = 12
# Beyond so many capacities nothing is left, and powers would overflow.
_FULL = 1e6


def residency(filling: Number) -> Number:
    """Share of accesses that find their data in a cache through which `filling` times its capacity passes between two uses.

    h = 1 / (1 + f^12): a half at the capacity, three quarters a tenth below it, a quarter a tenth above.
    """
    squared = minimum(filling, _FULL) ** 2
    return 1.0 / (1.0 + squared ** (SHARPNESS // 2))
