"""Measured layers of routed experts: rows of `moe`, as kernels that sort, multiply and sum the pairs of the fullest rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.errors import UnknownNameError
from genz.measurements.conditions import as_measured
from genz.measurements.family import CellKey
from genz.measurements.known_layers import known_layers
from genz.measurements.routing import Load, benchmark_load
from genz.operators.moe import exponent_of
from genz.operators.shapes import ExpertsShape
from genz.specs.calibrations import engine_name
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.experts import VARIANTS, ExpertsConstants, experts_time

Array = npt.NDArray[np.float64]

OUTPUT_BYTES = 2.0
NOT_GATED = "nongated"
# Kernels that know no format of 4 bits: their weights are widened to 16 bits when a model is loaded.
WIDENING = {("w4a16_mxfp4", "sglang_fused_moe_triton")}
BALANCED = "balanced"
# Kernels on a chip that does not multiply in a format's type widen both sides to the first of these that it has.
WIDER_TYPES = ("bf16", "fp16", "tf32", "fp32")


@dataclass(frozen=True)
class Format:
    """Bytes of a weight with its scales, of an activation with its own, and the type that matrix units multiply in."""

    weight: float
    activation: float
    matrix_type: str


# Scales: a float per block of 128 x 128 weights or 128 activations, two bytes per 32 (int4), one byte per 16 (NVFP4) or 32
# (MXFP4, MXFP8) elements.
FORMATS: dict[str, Format] = {
    "bfloat16": Format(2.0, 2.0, "bf16"),
    "float16": Format(2.0, 2.0, "fp16"),
    "float32": Format(4.0, 4.0, "fp32"),
    "fp32": Format(4.0, 4.0, "fp32"),
    "fp8": Format(1.0, 1.0, "fp8"),
    "fp8_block": Format(1.0 + 4 / 128**2, 1.0 + 4 / 128, "fp8"),
    "nvfp4": Format(0.5 + 1 / 16, 0.5 + 1 / 16, "fp4"),
    "int4_wo": Format(0.5 + 2 / 32, 2.0, "bf16"),
    "w4a16_mxfp4": Format(0.5 + 1 / 32, 2.0, "bf16"),
    "w4a8_mxfp4_mxfp8": Format(0.5 + 1 / 32, 1.0 + 1 / 32, "fp8"),
}
# Models' matrices go by this name.
_SAME_FORMAT = {"fp32": "float32"}
_WHOLE = ("num_tokens", "hidden", "inter", "topk", "n_experts", "moe_tp", "moe_ep")
_SHAPE = f"routed experts need {', '.join(_WHOLE)} as whole numbers from 1 (moe_tp and moe_ep are 1 where left out)"


@dataclass(frozen=True)
class _Work:
    """Rows of one cell as numbers: tokens, pairs, rows, touched experts, width and inner width (the rows of `numbers`)."""

    numbers: Array
    gated: npt.NDArray[np.bool_]
    dtype: str
    weight_bytes: float


class ExpertsFamily:
    """Routed experts of one rank, from the router's choice to the summed outputs, in 16 bits."""

    name = "experts"
    ops = ("moe",)
    constants = ExpertsConstants
    variants = VARIANTS

    def __init__(self) -> None:
        self._last: tuple[pd.DataFrame, str, _Work] | None = None

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        sizes = _sizes(rows)
        reasons = np.full(len(rows), "", dtype=object)
        pairs = zip(_text(rows, "dtype"), _text(rows, "distribution"), strict=True)
        unknown = {pair: _format_refusal(pair[0]) or _routing_refusal(pair[1] or BALANCED) for pair in set(pairs)}
        reasons[:] = [unknown[pair] for pair in zip(_text(rows, "dtype"), _text(rows, "distribution"), strict=True)]
        with np.errstate(invalid="ignore"):
            uneven = (sizes["n_experts"] % sizes["moe_ep"] != 0) | (sizes["inter"] < sizes["moe_tp"])
            reasons[uneven] = "moe_ep must divide n_experts, and moe_tp must not exceed inter"
            reasons[sizes["topk"] > sizes["n_experts"]] = "topk must not exceed n_experts"
            whole = np.all([np.isfinite(v) & (v >= 1) & (v % 1 == 0) for v in sizes.values()], axis=0)
        reasons[~whole] = _SHAPE
        return pd.Series(reasons, index=rows.index, dtype=object)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Engine as it is filed, its version, the number format and the kernel: constants of one kernel serve no other."""
        engines = [engine_name(name) if name else "" for name in _text(rows, "framework")]
        formats = [_SAME_FORMAT.get(name, name) for name in _text(rows, "dtype")]
        columns = (engines, _text(rows, "framework_version"), formats, _text(rows, "kernel"))
        return pd.DataFrame(dict(zip(CellKey._fields, columns, strict=True)), index=rows.index)

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """ "hidden x inter x topk x experts x tp x ep": all batches of a layer share its fate."""
        sizes = _sizes(rows)
        columns = [sizes[name] for name in ("hidden", "inter", "topk", "n_experts", "moe_tp", "moe_ep")]
        return ["x".join(f"{value:.0f}" for value in row) for row in zip(*columns, strict=True)]

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:  # noqa: ARG002 (as the protocol has it)
        """All constants: every row moves each of them."""
        return tuple(d.name for d in definitions(ExpertsConstants))

    def times(self, rows: pd.DataFrame, chip: Chip, constants: Any, variant: str) -> Array:
        """Predicted seconds of rows of one cell, in a benchmark's loop: cold where it emptied the caches."""
        work = self._work_of(rows, variant)
        return as_measured(rows, lambda warm: self._times(work, chip, constants, variant, warm=warm))

    def _times(self, work: _Work, chip: Chip, constants: Any, variant: str, *, warm: bool) -> Array:
        predicted = np.empty(len(work.gated))
        for has_gate in (True, False):
            some = work.gated == has_gate
            if some.any():
                shape = _shape(work, some, chip, gated=has_gate)
                predicted[some] = experts_time(shape, chip, constants, variant, warm=warm)
        return predicted

    def _work_of(self, rows: pd.DataFrame, variant: str) -> _Work:
        """What rows do: a fit asks for the same ones hundreds of times, so the last are remembered."""
        if self._last is None or self._last[0] is not rows or self._last[1] != variant:
            self._last = (rows, variant, _work(rows, variant))
        return self._last[2]


EXPERTS = ExpertsFamily()


def _format_refusal(dtype: str) -> str:
    return "" if dtype in FORMATS else f"dtype {dtype!r} is not known for routed experts; known: {', '.join(FORMATS)}"


def _routing_refusal(distribution: str) -> str:
    try:
        exponent = exponent_of(distribution)
    except UnknownNameError as error:
        return f"distribution: {error}"
    if exponent is None and distribution != BALANCED:
        return f"distribution {distribution!r} is no benchmark's; known: {BALANCED}, power_law_ALPHA"
    return ""


def _is_gated(rows: pd.DataFrame, variant: str) -> npt.NDArray[np.bool_]:
    """Whether the experts of each row have a gate: by the kernel's name, else by the layer unless the benchmark gated all."""
    named: npt.NDArray[np.bool_] = np.array([NOT_GATED in name for name in _text(rows, "kernel")], dtype=bool)
    if "gated" in variant:
        return ~named
    ungated = {(e.hidden, e.inter, e.topk, e.n_experts) for e in known_layers().ungated_experts.layers}
    sizes = _sizes(rows)
    layers = zip(sizes["hidden"], sizes["inter"], sizes["topk"], sizes["n_experts"], strict=True)
    known: npt.NDArray[np.bool_] = np.array([layer in ungated for layer in layers], dtype=bool)
    return ~(named | known)


def _work(rows: pd.DataFrame, variant: str) -> _Work:
    """What the measured rank does. Under "local", balanced rows of several ranks hold its own pairs only."""
    sizes = _sizes(rows)
    dtype, kernel = str(rows["dtype"].iloc[0]), _text(rows, "kernel")[0]
    load = _load(rows, sizes)
    tokens, pairs = sizes["num_tokens"], sizes["num_tokens"] * sizes["topk"]
    if "local" in variant:
        own = np.array([(text or BALANCED) == BALANCED for text in _text(rows, "distribution")]) & (sizes["moe_ep"] > 1)
        # Tokens that send at least one of their k pairs to the rank.
        visiting = tokens * -np.expm1(sizes["topk"] * np.log1p(-np.minimum(load.rows / pairs, 1 - 1e-12)))
        tokens = np.where(own, visiting, tokens)
        pairs = np.where(own, visiting * sizes["topk"], pairs)
    widened = any(dtype == name and kernel.startswith(start) for name, start in WIDENING)
    return _Work(
        np.stack([tokens, pairs, load.rows, load.touched, sizes["hidden"], sizes["inter"] / sizes["moe_tp"]]),
        _is_gated(rows, variant),
        dtype,
        FORMATS["bfloat16" if widened else dtype].weight,
    )


def _shape(work: _Work, some: npt.NDArray[np.bool_], chip: Chip, *, gated: bool) -> ExpertsShape:
    form = FORMATS[work.dtype]
    numbers: Any = work.numbers[:, some]
    tokens, pairs, rows, touched, hidden, inner = numbers
    return ExpertsShape(
        tokens=tokens,
        pairs=pairs,
        rows=rows,
        touched=touched,
        hidden=hidden,
        inner=inner,
        gated=gated,
        weight_bytes=work.weight_bytes,
        input_bytes=form.activation,
        output_bytes=OUTPUT_BYTES,
        matrix_type=_matrix_type(form.matrix_type, chip),
        format=work.dtype,
    )


def _matrix_type(wanted: str, chip: Chip) -> str:
    """What a chip multiplies in for a format: its own type, or a wider one."""
    return next((name for name in (wanted, *WIDER_TYPES) if name in chip.computable), chip.computable[0])


def _load(rows: pd.DataFrame, sizes: dict[str, Array]) -> Load:
    """Rows and touched experts of the measured rank, by each distribution."""
    found = Load(np.empty(len(rows)), np.empty(len(rows)))
    names = np.array([text or BALANCED for text in _text(rows, "distribution")], dtype=object)
    for name in set(names):
        some = names == name
        load = benchmark_load(str(name), *(sizes[c][some] for c in ("num_tokens", "n_experts", "topk", "moe_ep")))
        found.rows[some], found.touched[some] = load
    return found


def _sizes(rows: pd.DataFrame) -> dict[str, Array]:
    """Numbers of each row; one rank where the table says nothing of them."""
    found = {name: rows[name].to_numpy(dtype=float, na_value=np.nan, copy=True) for name in _WHOLE}
    for name in ("moe_tp", "moe_ep"):
        found[name][np.isnan(found[name])] = 1.0
    return found


def _text(rows: pd.DataFrame, column: str) -> list[str]:
    """A column of words, empty where it says nothing."""
    return [value if isinstance(value, str) else "" for value in rows[column]]
