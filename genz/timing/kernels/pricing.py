"""The calibrated kernels of one chip, as one engine runs them: from an operator's shape to its time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from genz.errors import UnsupportedError
from genz.numerics import Number, is_symbolic, maximum, safe_divide
from genz.operators.exchange import TokenExchange
from genz.operators.shapes import AttentionShape, ElementwiseShape, ExpertsPart, ExpertsShape, GemmShape, Shape, StateSpaceShape
from genz.specs.engine import Engine
from genz.specs.hardware import Chip
from genz.timing.kernels.collectives import KERNEL_OF, CollectiveConstants
from genz.timing.kernels.cpu_gemm import CpuGemmConstants, cpu_gemm_time
from genz.timing.kernels.decode_attention import DecodeAttentionConstants, decode_attention_time
from genz.timing.kernels.dispatch import DispatchConstants
from genz.timing.kernels.elementwise import ElementwiseConstants, elementwise_time
from genz.timing.kernels.experts import ExpertsConstants, experts_parts
from genz.timing.kernels.gemm import GemmConstants, gemm_time
from genz.timing.kernels.prefill_attention import PrefillAttentionConstants, prefill_attention_time
from genz.timing.kernels.runs import EngineConstants
from genz.timing.kernels.selection import Selected, select
from genz.timing.kernels.state_space import StateSpaceConstants, state_space_time
from genz.timing.machine import Priced
from genz.timing.network import Span
from genz.timing.network.calibrated import calibrated_collective, calibrated_exchange

# The communication library of GPUs, as measured tables name it; an engine's own all-reduce; and the links of both.
LIBRARY, OWN_ALL_REDUCE, SCALE_UP, SCALE_OUT = "nccl", "direct", "scale_up", "scale_out"
# Operators of the graph, by the kind of pass over memory that was measured; what is not listed is like a norm.
_PASSES = {
    "embedding": "embedding",
    "layer_norm": "layer_norm",
    "cache_append": "cache_append",
    "rope": "rope",
    "residual": "residual",
    "activation": "activation",
    "output_gate": "activation",
    "gate_norm": "norm",
    "experts_activation": "activation",
}
# Kernels of layers with a state, as measured tables name them.
_STATE_KERNELS = {
    ("mamba2", "convolution"): "causal_conv1d_fn",
    ("mamba2", "convolution_step"): "causal_conv1d_update",
    ("mamba2", "scan"): "mamba_chunk_scan_combined",
    ("mamba2", "recurrence"): "selective_state_update",
    ("gated_delta_net", "convolution"): "causal_conv1d_fn",
    ("gated_delta_net", "convolution_step"): "causal_conv1d_update",
    ("gated_delta_net", "scan"): "chunk_gated_delta_rule",
    ("gated_delta_net", "recurrence"): "fused_recurrent_gated_delta_rule",
}
# What is not measured everywhere is as fast as one that is.
_LIKE = {"layer_norm": "norm", "cache_append": "residual"}


@dataclass(frozen=True)
class Kernels:
    """Kernels of a chip under an engine, cold: what a benchmark's loop keeps in a cache, other layers evict."""

    chip: Chip
    engine: Engine
    format: str = ""
    # The three parts of experts are priced together, when the first is asked for. A shape that is kept keeps its identity.
    _parts: dict[int, tuple[Number, Number, Number]] = field(default_factory=dict, repr=False)
    _priced_shapes: list[ExpertsShape] = field(default_factory=list, repr=False)

    def price(self, shape: Shape) -> Priced | None:
        """One call of a GEMM, of attention or of a part of routed experts; none where no chip's kernel of it is measured.

        Raises `UnsupportedError` for symbols.
        """
        if isinstance(shape, GemmShape):
            return self.gemm(shape)
        if isinstance(shape, AttentionShape):
            return self.attention(shape)
        if isinstance(shape, StateSpaceShape):
            return self.state_space(shape)
        return self.experts(shape)

    def over_run(self, first: Shape, last: Shape, length: Number) -> Priced | None:
        """The mean call over `length` steps in which the context grows evenly, by two points of Gauss's rule for sums.

        The points lie at (1 +- sqrt((L + 1) / (3 (L - 1)))) / 2 of the way: exact where the time is a cubic of the context.
        """
        if not isinstance(first, AttentionShape) or not isinstance(last, AttentionShape):
            return self.price(first)
        grown = last.context - first.context
        spread = safe_divide(length + 1, 3 * maximum(length - 1, 0), 0.0) ** 0.5 / 2
        points = [self.attention(replace(first, context=first.context + grown * (0.5 + side * spread))) for side in (-1, 1)]
        if points[0] is None or points[1] is None:
            return None
        return Priced((points[0].time + points[1].time) / 2, points[0].launch, points[0].selected)

    def gemm(self, shape: GemmShape) -> Priced | None:
        """A matrix multiplication."""
        _refuse_symbols(shape.m)
        if self.chip.kind_of_chip == "cpu":
            return self._cpu_gemm(shape)
        found = self._select("gemm", format=shape.format)
        if found is None:
            return None
        constants = found.constants(GemmConstants)
        launch = constants.launch / self.chip.cores.clock
        return Priced(gemm_time(shape, self.chip, constants, found.variant), launch, found)

    def _cpu_gemm(self, shape: GemmShape) -> Priced | None:
        found = self._select("cpu_gemm", format=shape.format)
        if found is None:
            return None
        constants = found.constants(CpuGemmConstants)
        return Priced(cpu_gemm_time(shape, self.chip, constants), constants.launch / self.chip.cores.clock, found)

    def attention(self, shape: AttentionShape) -> Priced | None:
        """Attention of a prompt or of decode steps, latent or not."""
        _refuse_symbols(shape.sequences, shape.context, shape.new_tokens)
        found = self._select(("latent_" if shape.latent else "") + f"{shape.phase}_attention", format=shape.format)
        if found is None:
            return None
        if shape.phase == "decode":
            decode = found.constants(DecodeAttentionConstants)
            # What was copied just now is in a cache, as far as it fits.
            is_warm = self.engine.concatenates_cache
            return Priced(decode_attention_time(shape, self.chip, decode, found.variant, warm=is_warm), decode.launch, found)
        prefill = found.constants(PrefillAttentionConstants)
        return Priced(prefill_attention_time(shape, self.chip, prefill, found.variant), prefill.launch, found)

    def experts(self, shape: ExpertsPart) -> Priced | None:
        """One of the three operators that routed experts are; the launch of all of them counts for the first."""
        _refuse_symbols(shape.whole.rows)
        found = self._select("experts", format=shape.whole.format)
        if found is None:
            return None
        constants = found.constants(ExpertsConstants)
        parts = self._parts.get(id(shape.whole))
        if parts is None:
            parts = experts_parts(shape.whole, self.chip, constants, found.variant)
            self._parts[id(shape.whole)] = parts
            self._priced_shapes.append(shape.whole)
        return Priced(parts[shape.part], constants.launch if shape.part == 0 else 0.0, found)

    def state_space(self, shape: StateSpaceShape) -> Priced | None:
        """A kernel of a layer with a state, where one that does the same was measured."""
        _refuse_symbols(shape.work.moved_bytes)
        kernel = _STATE_KERNELS[shape.family, shape.kind]
        found = self._select(shape.family, kernel=kernel)
        if found is None or found.kernel != kernel:
            return None
        constants = found.constants(StateSpaceConstants)
        return Priced(
            state_space_time(shape.work, self.chip, constants, matrix_type=shape.matrix_type), constants.launch, found
        )

    def elementwise(self, moved_bytes: Number, name: str) -> Priced | None:
        """A pass over memory: a norm, an activation, a gather."""
        _refuse_symbols(moved_bytes)
        is_processor = self.chip.kind_of_chip == "cpu"
        kernel, number_format = _PASSES.get(name, "norm"), self.format if is_processor else ""
        found = self._select("elementwise", format=number_format, kernel=kernel)
        if found is not None and kernel in _LIKE and found.kernel != kernel:
            found = self._select("elementwise", format=number_format, kernel=_LIKE[kernel])
        if found is None:
            return None
        constants = found.constants(ElementwiseConstants)
        # A processor's caches keep what the operator before has written, and nothing from the step before.
        is_warm = is_processor and kernel != "cache_append"
        time = elementwise_time(ElementwiseShape(moved_bytes, name), self.chip, constants, warm=is_warm)
        return Priced(time, constants.launch / self.chip.cores.clock, found)

    def collective(self, kind: str, message_bytes: Number, group: Span) -> Priced | None:
        """A collective over a group of ranks: the library's, or the engine's own all-reduce up to its size limit."""
        _refuse_symbols(message_bytes)
        found = select(self.chip, "collectives", engine=LIBRARY, format=SCALE_UP, kernel=KERNEL_OF[kind])
        if found is None:
            return None
        own = None
        if kind == "all_reduce":
            own = self._select("collectives", format=SCALE_UP, kernel=OWN_ALL_REDUCE)
            own = own if own is not None and own.kernel == OWN_ALL_REDUCE else None
        constants = found.constants(CollectiveConstants)
        time = calibrated_collective(
            kind, message_bytes, group, library=constants, direct=None if own is None else own.constants(CollectiveConstants)
        )
        return Priced(time, constants.launch, found if own is None else own)

    def exchange(self, way: str, exchange: TokenExchange, group: Span) -> Priced | None:
        """Tokens on their way to the ranks of their experts ("dispatch") or back ("combine")."""
        _refuse_symbols(exchange.tokens)
        mode = "low latency" if exchange.routing.mode == "low_latency" else "normal"
        link = SCALE_UP if len(group) < 2 else SCALE_OUT
        found = self._select("dispatch", format=link, kernel=f"{way}, {mode}")
        if found is None:
            return None
        constants = found.constants(DispatchConstants)
        return Priced(calibrated_exchange(exchange, group, self.chip, constants), constants.launch, found)

    def _select(self, family: str, *, format: str = "", kernel: str = "") -> Selected | None:  # noqa: A002
        return select(self.chip, family, engine=self.engine.kernels_of or self.engine.name, format=format, kernel=kernel)

    @cached_property
    def holds_launches(self) -> bool:
        """Whether the kernels were timed on a processor, by the clock of the host that launches them."""
        return self.chip.kind_of_chip == "cpu" and self._select("cpu_gemm") is not None

    @cached_property
    def overheads(self) -> tuple[EngineConstants, Selected] | None:
        """What the engine adds to its kernels at a model's number format; none where it was never measured on any chip."""
        found = select(self.chip, "engine", engine=self.engine.name, format=self.format, only_engine=True)
        if found is None or (self.chip.kind_of_chip == "cpu" and found.relation == "other"):
            # What an engine adds to the kernels of a device behind a host says nothing of a host by itself.
            return None
        return found.constants(EngineConstants), found


def _refuse_symbols(*values: Number) -> None:
    if is_symbolic(*values):
        raise UnsupportedError(
            "kernels are calibrated over numbers and arrays, not symbols",
            field="fidelity",
            value="calibrated",
            allowed="for symbols: roofline, engine",
        )
