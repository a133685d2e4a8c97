"""Rows of a table that are alike in some columns, by where they stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Positions = npt.NDArray[np.intp]


def alike(rows: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], Positions]]:
    """For each combination of values in the columns, empty ones too, the values and the positions of its rows."""
    groups: Any = rows.groupby(list(columns), dropna=False, sort=False).indices
    for values, positions in groups.items():
        yield (values if isinstance(values, tuple) else (values,)), np.asarray(positions, dtype=np.intp)
