"""The values of an axis as people write them: lists, even and logarithmic ranges, multiples of the figure at hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sized
from itertools import islice
from typing import Any

import numpy as np

from genz.errors import InvalidValueError, nearest, shown

MAX_VALUES = 1_000_000
RANGE_KEYS = ("from", "to", "step", "count", "scale")
SCALES = ("linear", "log")
# A step that should land on the end may miss it by rounding.
LANDS = 1e-9

Reader = Callable[[Any], Any]


def is_listing(value: Any) -> bool:
    """Whether a value describes several: a list, an array, a range, or a mapping that spells out one of these."""
    if isinstance(value, (str, bytes)) or hasattr(type(value), "model_fields"):
        return False
    is_one = isinstance(value, np.ndarray) and value.ndim == 0
    return isinstance(value, Iterable) and not is_one


def multiples(written: Any, name: str) -> Any | None:
    """What stands in `{times: ...}`, or None where values are plain. Raises `InvalidValueError` for other keys beside it."""
    if not isinstance(written, Mapping) or "times" not in written:
        return None
    if len(written) > 1:
        others = [key for key in written if key != "times"]
        raise _error(name, others[0], "stands beside 'times'", "the range inside of it: {times: {from: 0.5, to: 2, count: 4}}")
    return written["times"]


def values_of(written: Any, name: str, read: Reader, *, whole: bool) -> list[Any]:
    """All values of an axis, each through `read`; `whole` axes count something.

    `{from, to, step}` includes its end where a step lands on it. `{from, to, count}` is even, or with `scale: log` even in
    the logarithm; between its ends a whole axis takes the nearest whole numbers, each once. Raises `InvalidValueError`
    for what is empty, too long, repeated, or no such form.
    """
    if isinstance(written, Mapping):
        found = _range(written, name, read, whole)
    else:
        found = [read(value) for value in _listed(written, name)]
    _check_distinct(found, name)
    return found


def _listed(written: Any, name: str) -> list[Any]:
    if isinstance(written, Sized) and len(written) > MAX_VALUES:
        raise _too_many(name, len(written))
    values = list(islice(written, MAX_VALUES + 1)) if is_listing(written) else [written]
    if not values:
        raise _error(name, written, "is empty", "at least one value")
    if len(values) > MAX_VALUES:
        raise _too_many(name, MAX_VALUES + 1)
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _range(written: Mapping[Any, Any], name: str, read: Reader, whole: bool) -> list[Any]:
    unknown = [key for key in written if key not in RANGE_KEYS]
    if unknown:
        close = nearest(str(unknown[0]), [*RANGE_KEYS, "times"])
        raise _error(
            name,
            unknown[0],
            "is no part of a range",
            "a list, {from, to, step}, {from, to, count}, with 'scale: log' if so wished, or {times: ...}",
            hint=f"did you mean {close[0]!r}?" if close else None,
        )
    for key in ("from", "to"):
        if key not in written:
            raise _error(name, dict(written), f"has no {key!r}", "{from, to, step} or {from, to, count}")
    if ("step" in written) == ("count" in written):
        raise _error(name, dict(written), "needs a step or a count, and not both", "{from, to, step} or {from, to, count}")
    first, last = read(written["from"]), read(written["to"])
    for end in (first, last):
        if isinstance(end, bool) or not isinstance(end, (int, float)):
            raise _error(name, end, "is no number, so that there is no range of it", "a list of values")
    if last < first:
        raise _error(name, dict(written), "ends before it begins", "'to' of at least 'from'")
    scale = written.get("scale", "linear")
    if scale not in SCALES:
        raise _error(name, scale, "is no scale", ", ".join(SCALES))
    if "step" in written:
        if scale == "log":
            raise _error(name, dict(written), "has steps on a log scale", "a count: {from, to, count, scale: log}")
        values = _steps(first, last, read(written["step"]), name)
    else:
        values = _even(first, last, written["count"], scale, name)
    return list(dict.fromkeys(round(value) for value in values)) if whole else values


def _steps(first: float, last: float, step: Any, name: str) -> list[float]:
    if isinstance(step, bool) or not isinstance(step, (int, float)) or not step > 0:
        raise _error(name, step, "is no step", "a number above 0")
    count = math.floor((last - first) / step * (1 + LANDS) + LANDS) + 1
    if count > MAX_VALUES:
        raise _too_many(name, count)
    return [first + index * step for index in range(count)]


def _even(first: float, last: float, count: Any, scale: str, name: str) -> list[float]:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1 or (count == 1) != (first == last):
        raise _error(name, count, "is no count of this range", "a whole number of at least 2, as both ends are part of it")
    if count > MAX_VALUES:
        raise _too_many(name, count)
    if scale == "log" and first <= 0:
        raise _error(name, first, "has no logarithm", "a range that begins above 0")
    spaced = np.geomspace(first, last, count) if scale == "log" else np.linspace(first, last, count)
    return [first, *spaced[1:-1].tolist(), last][:count]


def _check_distinct(values: list[Any], name: str) -> None:
    seen: set[Any] = set()
    for value in values:
        key = value if isinstance(value, (str, bool, int, float)) else id(value)
        if (type(key) is bool, key) in seen:
            raise _error(name, value, "is given twice", "each value once")
        seen.add((type(key) is bool, key))


def _too_many(name: str, count: int) -> InvalidValueError:
    return InvalidValueError(
        f"{name}: {count:,} values are too many for one axis", field=name, value=count, allowed=f"at most {MAX_VALUES:,}"
    )


def _error(name: str, value: Any, problem: str, allowed: str, *, hint: str | None = None) -> InvalidValueError:
    return InvalidValueError(f"{name}: {shown(value)} {problem}", field=name, value=value, allowed=allowed, hint=hint)
