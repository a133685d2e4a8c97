"""In which state a row's caches were: warm, as a loop over the same tensors leaves them, unless its notes say "cold"."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]

# Notes are phrases with semicolons between them, as in "57 repeats, spread 1.2%; cold; clock 1980 MHz".
_COLD = re.compile(r"(^|;)\s*cold\s*(;|$)")


def is_cold(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether the weights or the KV cache of each row came from memory, in every repeat."""
    if "notes" not in rows:
        return np.zeros(len(rows), dtype=bool)
    # Fits ask hundreds of times; there are fewer different notes than rows.
    codes, texts = pd.factorize(rows["notes"])
    cold = np.array([*(isinstance(text, str) and bool(_COLD.search(text)) for text in texts), False])
    return cold[codes]


def as_measured(rows: pd.DataFrame, time: Callable[[bool], Array]) -> Array:
    """Seconds of each row in the state that its caches were in, from `time(warm)`, the seconds of all rows in one state."""
    cold = is_cold(rows)
    if cold.all():
        return time(False)
    return np.where(cold, time(False), time(True)) if cold.any() else time(True)
