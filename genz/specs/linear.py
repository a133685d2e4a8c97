"""A matrix of a model and its place under tensor parallelism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Split = Literal["column", "row", "replicated"]


# Widths side by side, each with the unit in which it is split: ((outputs, unit), ...).
Parts = tuple[tuple[int, int], ...]


def ceil_div(value: int, divisor: int) -> int:
    """Whole-number division, rounded up."""
    return -(-value // divisor)


def local_width(parts: Parts, ranks: int) -> int:
    """Features on the fullest of `ranks` ranks, where each part is divided by itself in whole units."""
    return sum(unit * ceil_div(width // unit, ranks) for width, unit in parts)


@dataclass(frozen=True)
class Linear:
    """A matrix of `inputs` x `outputs`, and its place under tensor parallelism.

    A column-split matrix divides its outputs over the ranks, a row-split one its inputs, in whole
    units of `unit` features (a head); when there are fewer units than ranks they are replicated, if
    `replicable`. Matrices of one `fused_as` group make one GEMM in an engine that fuses them. The outputs of a
    column-split matrix that are several things side by side are its `parts`, each divided by itself. A block-diagonal
    matrix has `blocks`: each reads its share of the inputs and makes its share of the outputs.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool = False
    split: Split = "replicated"
    unit: int = 1
    replicable: bool = False
    fused_as: str | None = None
    quantised: bool = True
    parts: Parts = ()
    blocks: int = 1

    @property
    def parameters(self) -> int:
        return self.inputs // self.blocks * self.outputs + (self.outputs if self.bias else 0)

    def local_blocks(self, tensor_parallel: int) -> int:
        """Blocks on the fullest rank."""
        return ceil_div(self.blocks, tensor_parallel) if self.split == "column" else self.blocks

    def local(self, tensor_parallel: int) -> tuple[int, int]:
        """(inputs of a block, outputs) on the fullest of `tensor_parallel` ranks."""
        if self.split == "column":
            return self.inputs // self.blocks, local_width(self.parts or ((self.outputs, self.unit),), tensor_parallel)
        if self.split == "row":
            return self.unit * ceil_div(self.inputs // self.unit, tensor_parallel), self.outputs
        return self.inputs // self.blocks, self.outputs


class Mixer(Protocol):
    """What every part of a layer can tell."""

    @property
    def linears(self) -> tuple[Linear, ...]: ...

    @property
    def vectors(self) -> int:
        """Parameters outside of the matrices: norm weights, attention sinks, ..."""
        ...
