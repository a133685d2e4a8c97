"""The calibrated kernels of one chip, as one engine runs them: from an operator's shape to its time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from genz.errors import UnsupportedError
from genz.numerics import Number, is_symbolic, safe_divide
from genz.operators.shapes import AttentionShape, ElementwiseShape, ExpertsPart, GemmShape, Shape
from genz.specs.engine import Engine
from genz.specs.hardware import Chip
from genz.timing.kernels.decode_attention import DecodeAttentionConstants, decode_attention_time
from genz.timing.kernels.elementwise import ElementwiseConstants, elementwise_time
from genz.timing.kernels.experts import ExpertsConstants, experts_parts
from genz.timing.kernels.gemm import GemmConstants, gemm_time
from genz.timing.kernels.prefill_attention import PrefillAttentionConstants, prefill_attention_time
from genz.timing.kernels.runs import EngineConstants
from genz.timing.kernels.selection import Selected, select
from genz.timing.machine import Priced


@dataclass(frozen=True)
class Kernels:
    """Kernels of a chip under an engine, cold: what a benchmark's loop keeps in a cache, other layers evict."""

    chip: Chip
    engine: Engine
    format: str = ""

    def price(self, shape: Shape) -> Priced | None:
        """One call of a GEMM, of attention or of a part of routed experts; none where no chip's kernel of it is measured.

        Raises `UnsupportedError` for symbols.
        """
        if isinstance(shape, GemmShape):
            return self.gemm(shape)
        if isinstance(shape, AttentionShape):
            return self.attention(shape)
        return self.experts(shape)

    def over_run(self, first: Shape, last: Shape, length: Number) -> Priced | None:
        """The mean call over `length` steps in which the context grows evenly, by two points of Gauss's rule for sums.

        The points lie at (1 +- sqrt((L + 1) / (3 (L - 1)))) / 2 of the way: exact where the time is a cubic of the context.
        """
        if not isinstance(first, AttentionShape) or not isinstance(last, AttentionShape):
            return self.price(first)
        grown = last.context - first.context
        spread = safe_divide(length + 1, 3 * (length - 1), 0.0) ** 0.5 / 2
        points = [self.attention(replace(first, context=first.context + grown * (0.5 + side * spread))) for side in (-1, 1)]
        if points[0] is None or points[1] is None:
            return None
        return Priced((points[0].time + points[1].time) / 2, points[0].launch, points[0].selected)

    def gemm(self, shape: GemmShape) -> Priced | None:
        """A matrix multiplication."""
        _refuse_symbols(shape.m)
        found = select(self.chip, "gemm", engine=self.engine.name, format=shape.format)
        if found is None:
            return None
        constants = found.constants(GemmConstants)
        return Priced(gemm_time(shape, self.chip, constants, found.variant), constants.launch, found)

    def attention(self, shape: AttentionShape) -> Priced | None:
        """Attention of a prompt or of decode steps, latent or not."""
        _refuse_symbols(shape.sequences, shape.context, shape.new_tokens)
        family = ("latent_" if shape.latent else "") + shape.phase + "_attention"
        found = select(self.chip, family, engine=self.engine.name, format=shape.format)
        if found is None:
            return None
        if shape.phase == "decode":
            time = decode_attention_time(shape, self.chip, found.constants(DecodeAttentionConstants), found.variant)
        else:
            time = prefill_attention_time(shape, self.chip, found.constants(PrefillAttentionConstants), found.variant)
        return Priced(time, found)

    def experts(self, shape: ExpertsPart) -> Priced | None:
        """One of the three operators that routed experts are."""
        _refuse_symbols(shape.whole.rows)
        found = select(self.chip, "experts", engine=self.engine.name, format=shape.whole.format)
        if found is None:
            return None
        parts = experts_parts(shape.whole, self.chip, found.constants(ExpertsConstants), found.variant)
        return Priced(parts[shape.part], found)

    def elementwise(self, moved_bytes: Number, name: str) -> Priced | None:
        """A pass over memory: a norm, an activation, a gather."""
        _refuse_symbols(moved_bytes)
        found = select(self.chip, "elementwise", engine=self.engine.name, kernel=name)
        if found is None:
            return None
        time = elementwise_time(ElementwiseShape(moved_bytes, name), self.chip, found.constants(ElementwiseConstants))
        return Priced(time, found)

    @cached_property
    def overheads(self) -> tuple[EngineConstants, Selected] | None:
        """What the engine adds to its kernels at a model's number format; none where it was never measured on any chip."""
        found = select(self.chip, "engine", engine=self.engine.name, format=self.format, only_engine=True)
        return None if found is None else (found.constants(EngineConstants), found)


def _refuse_symbols(*values: Number) -> None:
    if is_symbolic(*values):
        raise UnsupportedError(
            "kernels are calibrated over numbers and arrays, not symbols",
            field="fidelity",
            value="calibrated",
            allowed="for symbols: roofline, engine",
        )
