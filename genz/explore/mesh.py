"""The order of a design space: what is looped over, what is an array, and how its rows are cut into blocks.

Structure comes first, then requests and prices, and figures of the hardware last: most operators depend on few of the
dimensions, and those of the hardware are whole within a block. Rows run through the last dimension first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from genz.explore.axes import Axis, Kind
from genz.explore.study import Study

BLOCK_ROWS = 2**17


@dataclass(frozen=True)
class Dimension:
    """Axes that advance together: one, or those of a zip."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return len(self.axes[0])

    @property
    def is_numeric(self) -> bool:
        """Whether all of its axes are numbers that formulas take as arrays."""
        return all(axis.is_numeric for axis in self.axes)

    @property
    def is_hardware(self) -> bool:
        return all(axis.kind is Kind.FIGURE for axis in self.axes)


@dataclass(frozen=True)
class Block:
    """Rows that are priced at once: a position in each looped dimension, a slice of each numeric one."""

    positions: tuple[int, ...]
    slices: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(part.stop - part.start for part in self.slices)

    @property
    def rows(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Mesh:
    """All dimensions of a study, and its blocks of at most `block_rows` rows."""

    looped: tuple[Dimension, ...]
    numeric: tuple[Dimension, ...]
    block_rows: int = BLOCK_ROWS

    @property
    def structures(self) -> int:
        """Combinations that are looped over."""
        return math.prod(map(len, self.looped))

    @property
    def rows_each(self) -> int:
        """Rows of one structure."""
        return math.prod(map(len, self.numeric))

    @property
    def rows(self) -> int:
        return self.structures * self.rows_each

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        """Positions of each numeric dimension in one block: inner ones whole, one in even parts, outer ones one by one."""
        steps = [1] * len(self.numeric)
        inner = 1
        for index in reversed(range(len(self.numeric))):
            length = len(self.numeric[index])
            parts = math.ceil(length / max(1, self.block_rows // inner))
            steps[index] = math.ceil(length / parts)
            inner *= length
            if parts > 1:
                break
        return tuple(steps)

    @cached_property
    def _parts(self) -> tuple[int, ...]:
        """Parts that each numeric dimension is cut into."""
        return tuple(math.ceil(len(dimension) / step) for dimension, step in zip(self.numeric, self._steps, strict=True))

    @property
    def blocks(self) -> int:
        return self.structures * math.prod(self._parts)

    @property
    def largest_block(self) -> int:
        """Rows of the largest block."""
        return math.prod(self._steps)

    def block(self, index: int) -> Block:
        """The block of a number from 0."""
        counts = [*map(len, self.looped), *self._parts]
        digits = []
        for count in reversed(counts):
            index, digit = divmod(index, count)
            digits.append(digit)
        digits.reverse()
        looped = len(self.looped)
        slices = tuple(
            slice(digit * step, min((digit + 1) * step, len(dimension)))
            for digit, step, dimension in zip(digits[looped:], self._steps, self.numeric, strict=True)
        )
        return Block(tuple(digits[:looped]), slices)


def mesh(study: Study, *, block_rows: int = BLOCK_ROWS) -> Mesh:
    """The dimensions of a study, in the order in which they are priced."""
    by_target = {axis.target: axis for axis in study.axes}
    zipped = {target: group for group in study.zips for target in group}
    groups = dict.fromkeys(zipped.get(axis.target, (axis.target,)) for axis in study.axes if not axis.fixed)
    dimensions = [Dimension(tuple(by_target[target] for target in group)) for group in groups]
    numeric = [dimension for dimension in dimensions if dimension.is_numeric]
    return Mesh(
        looped=tuple(dimension for dimension in dimensions if not dimension.is_numeric),
        numeric=tuple(sorted(numeric, key=lambda dimension: dimension.is_hardware)),
        block_rows=block_rows,
    )
