"""Which measurements a fit never sees.

A shape is held out if the first eight hexadecimal digits of the MD5 of its text, as a whole number, leave less than
20 when divided by 100. All rows of a shape, whatever the chip or engine, share its fate.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5

import numpy as np
import numpy.typing as npt

HELD_OUT_PER_CENT = 20


def is_held_out(shapes: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Whether each shape, written as a text such as "128x4096x4096", is kept from the fit."""
    known: dict[str, bool] = {}
    return np.array([known[s] if s in known else known.setdefault(s, _held_out(s)) for s in shapes], dtype=bool)


def _held_out(shape: str) -> bool:
    digest = md5(shape.encode(), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) % 100 < HELD_OUT_PER_CENT
