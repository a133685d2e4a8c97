"""What the parts of a layer need to know to become operators, and the operators that all of them use."""

from __future__ import annotations

from dataclasses import dataclass, replace

from genz.graph.step import Category, Operator, Run, Step
from genz.numerics import Number
from genz.operators.demand import Demand
from genz.operators.gemm import gemm
from genz.specs.engine import Engine
from genz.specs.layers import Linear
from genz.specs.precision import Widths


@dataclass(frozen=True)
class Context:
    """The step, the widths and the engine, and the kind of layer that is being built."""

    step: Step
    widths: Widths
    engine: Engine
    tensor_parallel: int = 1
    layer: str = ""
    count: int = 1

    def within(self, layer: str, count: int) -> Context:
        """The same for `count` layers of one kind."""
        return replace(self, layer=layer, count=count)

    @property
    def tokens(self) -> Number:
        return self.step.tokens

    def operator(self, name: str, category: Category, demand: Demand, *, times: int = 1, kernels: int = 1) -> Operator:
        """An operator that demands the same in every step."""
        return Operator(name, self.layer, category, self.count * times, (Run(demand, None, self.step.repeats),), kernels)

    def linear(self, linear: Linear, tokens: Number) -> Operator:
        """The GEMM of one matrix."""
        return self.fused_linears(f"{linear.name}_gemm", (linear,), tokens)

    def linears(self, linears: tuple[Linear, ...], tokens: Number, *, fuse: bool) -> list[Operator]:
        """The GEMMs of matrices that read the same input: one if the engine fuses them."""
        if fuse and len(linears) > 1:
            name = linears[0].fused_as or "_".join(linear.name for linear in linears)
            return [self.fused_linears(f"{name}_gemm", linears, tokens)]
        return [self.linear(linear, tokens) for linear in linears]

    def fused_linears(self, name: str, linears: tuple[Linear, ...], tokens: Number) -> Operator:
        """One GEMM over the outputs of several matrices of the same input."""
        shapes = [linear.local(self.tensor_parallel) for linear in linears]
        quantised, widths = linears[0].quantised, self.widths
        demand = gemm(
            tokens,
            sum(outputs for _, outputs in shapes),
            shapes[0][0],
            weight_bytes=widths.weight_bytes(quantised=quantised),
            input_bytes=widths.input_bytes(quantised=quantised),
            output_bytes=widths.base_bytes,
            matrix_type=widths.matrix_type(quantised=quantised),
        )
        return self.operator(name, "gemm", demand)

    def all_reduce(self, name: str, width: int) -> Operator:
        """The sum over tensor-parallel ranks of `width` features of every token."""
        return self._collective(name, "all_reduce", self.tokens * width * self.widths.base_bytes)

    def all_gather(self, name: str, message_bytes: Number) -> Operator:
        """The concatenation of the ranks' shares of `message_bytes` in all."""
        return self._collective(name, "all_gather", message_bytes)

    def _collective(self, name: str, kind: str, message_bytes: Number) -> Operator:
        run = Run(Demand(message_bytes=message_bytes), None, self.step.repeats)
        return Operator(name, self.layer, "collective", self.count, (run,), 1, kind, self.tensor_parallel)
