"""What the parts of a layer need to know to become operators, and the operators that all of them use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from genz.graph.step import Category, Group, Operator, Run, Step
from genz.numerics import Number, total
from genz.operators.demand import Demand
from genz.operators.gemm import gemm
from genz.operators.visibility import Sight
from genz.specs.engine import Engine
from genz.specs.linear import Linear
from genz.specs.parallelism import Parallelism
from genz.specs.precision import Widths


@dataclass(frozen=True)
class Context:
    """The step, the widths and the engine, and the kind of layer that is being built."""

    step: Step
    widths: Widths
    engine: Engine
    parallelism: Parallelism
    routing: str = "balanced"
    layer: str = ""
    count: int = 1

    def within(self, layer: str, count: int) -> Context:
        """The same for `count` layers of one kind."""
        return replace(self, layer=layer, count=count)

    def by_phase(self) -> tuple[Context, ...]:
        """The same for each part of the step whose attention takes kernels of its own."""
        steps = self.step.by_phase()
        return (self,) if len(steps) == 1 else tuple(replace(self, step=step) for step in steps)

    @property
    def tensor_parallel(self) -> int:
        return self.parallelism.tensor

    @property
    def prompt_split(self) -> int:
        """Devices over which the new tokens of a prompt are split; a decode step has one a sequence, on all of them."""
        return self.parallelism.context if self.step.phase == "prefill" else 1

    @property
    def cache_split(self) -> int:
        """Devices over which the keys that a decode step reads are split."""
        parallelism = self.parallelism
        return 1 if self.step.phase == "prefill" else parallelism.context * parallelism.decode_context

    def local_new_tokens(self, group: Group) -> Number:
        """New tokens of one sequence of a group on one device."""
        return group.new_tokens / self.prompt_split

    def local_sight(self, sight: Sight) -> Sight:
        """What one device works through: its share of a prompt's queries, or of the keys that a decode step reads."""
        split = self.cache_split
        return Sight(sight.pairs / (self.prompt_split * split), sight.keys / split, sight.shared / split)

    @property
    def gathered_heads(self) -> int:
        """Tensor ranks whose queries each device attends for, as they share one copy of the cache."""
        return 1 if self.step.phase == "prefill" else self.parallelism.decode_context

    @property
    def tokens(self) -> Number:
        """New tokens that the linear operators of one device see."""
        return self.step.tokens / self.prompt_split

    @property
    def sequences(self) -> Number:
        """Sequences of the step: each device has a part of every one of them."""
        return total([group.sequences for group in self.step.groups])

    @property
    def elementwise_tokens(self) -> Number:
        """New tokens whose norms and residuals one device computes."""
        return self.tokens / (self.tensor_parallel if self.parallelism.sequence_parallel else 1)

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
        blocks = linears[0].local_blocks(self.tensor_parallel)
        demand = gemm(
            tokens,
            sum(outputs for _, outputs in shapes) // blocks,
            shapes[0][0],
            batch=blocks,
            weight_bytes=widths.weight_bytes(quantised=quantised),
            input_bytes=widths.input_bytes(quantised=quantised),
            output_bytes=widths.base_bytes,
            matrix_type=widths.matrix_type(quantised=quantised),
            format=widths.kernel_format(quantised=quantised),
        )
        return self.operator(name, "gemm", demand)

    def sum_over_ranks(self, name: str, width: int) -> Iterable[Operator]:
        """The sum over tensor-parallel ranks of `width` features of every token.

        With sequence parallelism each rank keeps its share of the tokens and gathers the others before the next matrix.
        """
        if self.tensor_parallel == 1:
            return
        message = self.tokens * width * self.widths.base_bytes
        if self.parallelism.sequence_parallel:
            yield self.collective(f"{name}_reduce_scatter", "reduce_scatter", message, ranks=self.tensor_parallel)
            yield self.collective(f"{name}_all_gather", "all_gather", message, ranks=self.tensor_parallel)
        else:
            yield self.collective(f"{name}_all_reduce", "all_reduce", message, ranks=self.tensor_parallel)

    def collective(
        self, name: str, kind: str, message_bytes: Number, *, ranks: int, stride: int = 1, hides_behind: str | None = None
    ) -> Operator:
        """An exchange of `message_bytes` between ranks that lie `stride` apart."""
        run = Run(Demand(message_bytes=message_bytes), None, self.step.repeats)
        return Operator(name, self.layer, "collective", self.count, (run,), 1, kind, ranks, stride, hides_behind)
