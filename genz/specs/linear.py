"""A matrix of a model and its place under tensor parallelism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Split = Literal["column", "row", "replicated"]


def ceil_div(value: int, divisor: int) -> int:
    """Whole-number division, rounded up."""
    return -(-value // divisor)


@dataclass(frozen=True)
class Linear:
    """A matrix of `inputs` x `outputs`, and its place under tensor parallelism.

    A column-split matrix divides its outputs over the ranks, a row-split one its inputs, in whole
    units of `unit` features (a head); when there are fewer units than ranks they are replicated, if
    `replicable`. Matrices of one `fused_as` group make one GEMM in an engine that fuses them.
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

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)

    def local(self, tensor_parallel: int) -> tuple[int, int]:
        """(inputs, outputs) on the fullest of `tensor_parallel` ranks."""
        if self.split == "column":
            return self.inputs, self.unit * ceil_div(self.outputs // self.unit, tensor_parallel)
        if self.split == "row":
            return self.unit * ceil_div(self.inputs // self.unit, tensor_parallel), self.outputs
        return self.inputs, self.outputs


class Mixer(Protocol):
    """What every part of a layer can tell."""

    @property
    def linears(self) -> tuple[Linear, ...]: ...

    @property
    def vectors(self) -> int:
        """Parameters outside of the matrices: norm weights, attention sinks, ..."""
        ...
