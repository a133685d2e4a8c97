"""Measured matrix multiplications: rows of `gemm`, products around latent attention, and matrices of named layers."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.errors import GenZError
from genz.measurements.conditions import as_measured
from genz.measurements.demands import FORMATS, LATENT, NOPE
from genz.measurements.family import CellKey
from genz.measurements.layer_shapes import MATRICES, matrix
from genz.numerics import Number
from genz.operators.shapes import GemmShape
from genz.specs import catalog
from genz.specs.calibrations import engine_name
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.gemm import QUANTISED_ACTIVATIONS, VARIANTS, GemmConstants, gemm_time

Array = npt.NDArray[np.float64]

LATENT_PRODUCT = "mla_bmm"
OPS = ("gemm", LATENT_PRODUCT, *MATRICES)
# Both 16-bit floats run at one speed and share a name, which is the one that models' matrices go by.
_SAME_FORMAT = {
    **dict.fromkeys(("bf16", "fp16", "float16", "half"), "bfloat16"),
    **dict.fromkeys(("fp32", "float"), "float32"),
    "int8": "sq",
}
# Libraries behind a quantised kernel, as kernels' names tell them; one that tells none keeps the engine's usual one.
_LIBRARIES = ("deepgemm", "flashinfer", "cutlass", "triton", "marlin", "machete", "cublas", "trtllm")
BATCHED = "batched"
OUTPUT_BYTES = 2.0
# Calls that the benchmark makes without a graph that holds them: each takes at least the host's time.
_UNCAPTURED = {("vllm", "fp8_block")}
_SHAPE = "a matrix multiplication needs m, n and k as whole numbers from 1"
_LATENT_SHAPE = "a product around latent attention needs num_tokens and n_heads as whole numbers from 1"


class _Sizes(NamedTuple):
    """m, n, k and batch of each row; not a number where they are not known, and why."""

    m: Array
    n: Array
    k: Array
    batch: Array
    refusals: npt.NDArray[np.object_]


class GemmFamily:
    """Matrix multiplications with 16-bit results."""

    name = "gemm"
    ops = OPS
    constants: type = GemmConstants
    variants: tuple[str, ...] = VARIANTS

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        reasons = _sizes(rows).refusals
        pairs = pd.Series(list(zip(_text(rows, "hardware"), _text(rows, "dtype"), strict=True)), dtype=object)
        for pair in pairs.unique():
            reason = _format_refusal(*pair)
            if reason:
                reasons[(pairs == pair).to_numpy()] = reason
        return pd.Series(reasons, index=rows.index, dtype=object)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Engine and version as they are filed, the number format, and the library behind a kernel where its name tells."""
        formats = rows["dtype"].map(format_name)
        kernels = [
            _kernel(op, name, kernel) for op, name, kernel in zip(rows["op"], formats, _text(rows, "kernel"), strict=True)
        ]
        engines = [engine_name(name) if name else "" for name in _text(rows, "framework")]
        columns = (engines, _text(rows, "framework_version"), list(formats), kernels)
        return pd.DataFrame(dict(zip(CellKey._fields, columns, strict=True)), index=rows.index)

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """ "mxnxk", and "mxnxkxbatch" where there is more than one product."""
        sizes = _sizes(rows)
        names = []
        for m, n, k, batch in zip(sizes.m, sizes.n, sizes.k, sizes.batch, strict=True):
            name = f"{m:.0f}x{n:.0f}x{k:.0f}"
            names.append(name if batch == 1 else f"{name}x{batch:.0f}")
        return names

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:
        """All constants but those of work that a cell's kernels do not do."""
        key = self.keys(rows.iloc[:1]).iloc[0]
        idle = set()
        if variant != "split":
            idle.add("split")
        if key["format"] not in QUANTISED_ACTIVATIONS:
            idle |= {"quantise", "quantise_row"}
        if _is_captured(key):
            idle.add("host")
        if not self.has_vectors(rows):
            idle.add("vector")
        return tuple(d.name for d in definitions(GemmConstants) if d.name not in idle)

    def has_vectors(self, rows: pd.DataFrame) -> bool:
        """Whether some of the products have one row."""
        return bool((_sizes(rows).m == 1).any())

    def times(self, rows: pd.DataFrame, chip: Chip, constants: Any, variant: str) -> Array:
        """Predicted seconds of rows of one cell, in a benchmark's loop: cold where it emptied the caches."""
        key = self.keys(rows.iloc[:1]).iloc[0]
        form = FORMATS[str(rows["dtype"].iloc[0])]
        matrix_type = _matrix_type(form.matrix_type, chip)
        sizes = _sizes(rows)

        def time(n: Any, k: Any, warm: bool) -> Any:
            m, batch = (cast(float, size) for size in (sizes.m, sizes.batch))
            shape = GemmShape(m, n, k, form.weight, form.activation, OUTPUT_BYTES, matrix_type, str(key["format"]), batch)
            return self.time(shape, chip, constants, variant, warm=warm, captured=_is_captured(key))

        predicted = as_measured(rows, lambda warm: time(sizes.n, sizes.k, warm))
        latent = (rows["op"] == LATENT_PRODUCT).to_numpy()
        if latent.any():
            # The table does not tell the product into the latent from the one out of it.
            other = as_measured(rows, lambda warm: time(sizes.k, sizes.n, warm))
            predicted = np.where(latent, (predicted + other) / 2, predicted)
        return np.asarray(predicted, dtype=float)

    def time(self, shape: GemmShape, chip: Chip, constants: Any, variant: str, *, warm: bool, captured: bool) -> Number:
        """The family's formula."""
        return gemm_time(shape, chip, constants, variant, warm=warm, captured=captured)


GEMM = GemmFamily()


def format_name(dtype: Any) -> str:
    """The name that a number format's cells go by; empty where a table says none."""
    return _SAME_FORMAT.get(dtype, dtype) if isinstance(dtype, str) else ""


def _format_refusal(hardware: str, dtype: str) -> str:
    """Why a number format cannot be priced on a chip; a chip that is not known is no matter of the family."""
    form = FORMATS.get(dtype)
    if form is None:
        return f"dtype {dtype!r} is not known for a matrix multiplication; known: {', '.join(FORMATS)}"
    try:
        chip = catalog.chip(hardware)
    except GenZError:
        return ""
    if _matrix_type(form.matrix_type, chip) in chip.computable:
        return ""
    return f"{chip.name} does not multiply in {form.matrix_type}"


def _matrix_type(wanted: str, chip: Chip) -> str:
    """What a chip multiplies in for a format: 32-bit floats in their own type where there is no shorter one for them."""
    return "fp32" if wanted == "tf32" and wanted not in chip.computable else wanted


def _kernel(op: str, name: str, kernel: str) -> str:
    """What tells cells of one engine and format apart."""
    text = kernel.lower()
    library = next((library for library in _LIBRARIES if library in text), "") if name != "bfloat16" else ""
    if op == LATENT_PRODUCT:
        return f"{BATCHED} {library}".strip()
    return library


def _is_captured(key: pd.Series) -> bool:
    return (key["engine"], key["format"]) not in _UNCAPTURED


def _sizes(rows: pd.DataFrame) -> _Sizes:
    ops = rows["op"].to_numpy(dtype=object)
    m, n, k, batch = (_numbers(rows, name) for name in ("m", "n", "k", "batch"))
    batch[np.isnan(batch)] = 1.0
    reasons = np.full(len(rows), "", dtype=object)
    latent = ops == LATENT_PRODUCT
    if latent.any():
        m[latent], batch[latent] = _numbers(rows, "num_tokens")[latent], _numbers(rows, "n_heads")[latent]
        n[latent], k[latent] = LATENT, NOPE
    named = rows["op"].isin(MATRICES).to_numpy()
    if named.any():
        m[named] = _numbers(rows, "num_tokens")[named]
        n[named], k[named], reasons[named] = _named_matrices(rows[named])
    wrong = ~np.all([np.isfinite(v) & (v >= 1) & (v == np.floor(v)) for v in (m, n, k, batch)], axis=0) & (reasons == "")
    reasons[wrong] = np.where(latent, _LATENT_SHAPE, _SHAPE)[wrong]
    return _Sizes(m, n, k, batch, reasons)


def _named_matrices(rows: pd.DataFrame) -> tuple[Array, Array, npt.NDArray[np.object_]]:
    """n, k and why they are not known, of matrices that rows name."""
    ranks = _numbers(rows, "tp")
    ranks = np.where(np.isnan(ranks), 1.0, ranks)
    found = [
        matrix(op, remark, int(tp)) if 1 <= tp < np.inf and tp % 1 == 0 else "tp is no whole number from 1"
        for op, remark, tp in zip(rows["op"], _text(rows, "notes"), ranks, strict=True)
    ]
    n = np.array([np.nan if isinstance(shape, str) else shape[0] for shape in found])
    k = np.array([np.nan if isinstance(shape, str) else shape[1] for shape in found])
    return n, k, np.array([shape if isinstance(shape, str) else "" for shape in found], dtype=object)


def _numbers(rows: pd.DataFrame, column: str) -> Array:
    return rows[column].to_numpy(dtype=float, na_value=np.nan, copy=True)


def _text(rows: pd.DataFrame, column: str) -> list[str]:
    """A column of words, empty where it says nothing."""
    return [value if isinstance(value, str) else "" for value in rows[column]]
