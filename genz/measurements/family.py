"""A family of kernels: how its measured rows become shapes, and what it predicts for them.

Rows that one set of constants describes make up a cell: a chip, an engine and its version, a number format, a kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.specs.hardware import Chip

Array = npt.NDArray[np.float64]


class CellKey(NamedTuple):
    """What one set of constants is fitted to, apart from the chip. Empty text where a table says nothing."""

    engine: str
    version: str
    format: str
    kernel: str


class Family(Protocol):
    """One family of kernels, over rows of the tidy schema. Rows handed in are of one chip and one of the family's `ops`."""

    name: str
    ops: tuple[str, ...]
    constants: type
    variants: tuple[str, ...]

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        ...

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns of `CellKey` for each row."""
        ...

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """A text for each row's shape, alike on every chip and engine: the hold-out rule goes by it."""
        ...

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:
        """Names of the constants that the rows of one cell can identify; the others keep their priors."""
        ...

    def times(self, rows: pd.DataFrame, chip: Chip, constants: Any, variant: str) -> Array:
        """Predicted seconds of each row of one cell, in the conditions of a benchmark loop (caches warm, as it found them)."""
        ...
