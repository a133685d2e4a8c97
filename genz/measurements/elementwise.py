"""Measured passes over memory: norms, activations, rotary positions, residual additions and gathers of embeddings."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.errors import GenZError
from genz.measurements.conditions import as_measured
from genz.measurements.demands import FORMATS
from genz.measurements.family import CellKey
from genz.measurements.gemm import format_name
from genz.measurements.layer_shapes import widths
from genz.operators.shapes import ElementwiseShape
from genz.specs import catalog
from genz.specs.calibrations import engine_name
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.elementwise import ElementwiseConstants, elementwise_time

Array = npt.NDArray[np.float64]

# What each operator of a table is called where predictions ask for it.
_NAMES = {
    "activation": "activation",
    "cache_append": "cache_append",
    "embedding": "embedding",
    "layer_norm": "layer_norm",
    "norm": "norm",
    "residual_add": "residual",
    "rope": "rope",
    "layer:act_fn": "activation",
    "layer:embedding": "embedding",
    "layer:input_layernorm": "norm",
    "layer:post_layernorm": "norm",
    "layer:final_layernorm": "norm",
    "layer:rope": "rope",
}
OPS = tuple(_NAMES)
# Passes of an operator over its tensor, reads and writes: a norm or rotary positions read and write, as a gather does; a sum
# reads two; a gate and a value make one.
_PASSES = {"activation": 3, "cache_append": 2, "embedding": 2, "layer_norm": 2, "norm": 2, "residual": 3, "rope": 2}
# An activation without a gate.
_UNGATED_PASSES = 2
# Feed-forward networks without gates are four times as wide as the model (Vaswani et al., 2017), gated ones are less.
_UNGATED_WIDTH = 4
_TOKENS = "num_tokens must be a whole number from 1"
_TENSOR_PARALLEL = "tp must be a whole number from 1"


class ElementwiseFamily:
    """Passes over memory, each kind of them a kernel of its own."""

    name = "elementwise"
    ops = OPS
    constants = ElementwiseConstants
    variants = ("",)

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        return pd.Series(_moved(rows)[1], index=rows.index, dtype=object)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Engine and version as they are filed; the kernel is what predictions call the operator.

        Layers that an engine's Python modules were timed through ("layer:norm") are ", eager": their floor is the host's.
        Formats are alike, but on processors, which take as long for an element of two bytes as for one of four.
        """
        engines = [engine_name(name) if name else "" for name in _text(rows, "framework")]
        formats = [format_name(name) for name in rows["dtype"]] if _is_processor(rows) else [""] * len(rows)
        columns = (engines, _text(rows, "framework_version"), formats, [_kernel(op) for op in rows["op"]])
        return pd.DataFrame(dict(zip(CellKey._fields, columns, strict=True)), index=rows.index)

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """The operator and the bytes that it moves."""
        return [f"{_NAMES[op]} {moved:.0f}" for op, moved in zip(rows["op"], _moved(rows)[0], strict=True)]

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:  # noqa: ARG002 (there is one variant)
        """All constants: which of them the rows determine, their standard errors tell."""
        return tuple(d.name for d in definitions(ElementwiseConstants))

    def times(self, rows: pd.DataFrame, chip: Chip, constants: Any, variant: str) -> Array:  # noqa: ARG002
        """Predicted seconds of rows of one cell, in a benchmark's loop: cold where it emptied the caches."""
        shape: Any = ElementwiseShape(_moved(rows)[0], _NAMES[rows["op"].iloc[0]])  # type: ignore[arg-type]
        times = as_measured(rows, lambda warm: np.asarray(elementwise_time(shape, chip, constants, warm=warm), dtype=float))
        return np.asarray(times, dtype=float)


ELEMENTWISE = ElementwiseFamily()


def _kernel(op: str) -> str:
    return _NAMES[op] + (", eager" if op.startswith("layer:") else "")


def _is_processor(rows: pd.DataFrame) -> bool:
    """Whether the chip of the rows is a CPU; one that the catalog does not know is priced by no family."""
    try:
        return catalog.chip(str(rows["hardware"].iloc[0])).kind_of_chip == "cpu"
    except GenZError:
        return False


def _moved(rows: pd.DataFrame) -> tuple[Array, npt.NDArray[np.object_]]:
    """Bytes that each row moves at least, and why they are not known."""
    columns = [_numbers(rows, name) for name in ("num_tokens", "hidden", "inter", "tp")]
    moved, reasons = np.full(len(rows), np.nan), np.full(len(rows), "", dtype=object)
    words = zip(rows["op"], _text(rows, "notes"), _text(rows, "dtype"), strict=True)
    for position, ((op, remark, dtype), *numbers) in enumerate(zip(words, *columns, strict=True)):
        tokens, hidden, inner, ranks = numbers
        ranks = 1.0 if np.isnan(ranks) else ranks
        if not _is_count(tokens) or not _is_count(ranks):
            reasons[position] = _TENSOR_PARALLEL if _is_count(tokens) else _TOKENS
            continue
        if dtype not in FORMATS:
            reasons[position] = f"dtype {dtype!r} is not known"
            continue
        passes = _elements(_NAMES[op], remark, hidden, inner, int(ranks))
        if isinstance(passes, str):
            reasons[position] = passes
            continue
        moved[position] = tokens * passes * FORMATS[dtype].activation
    return moved, reasons


@cache
def _elements(name: str, remark: str, hidden: float, inner: float, ranks: int) -> float | str:
    """Elements a token that an operator moves, or why they are not known: the catalog's widths before the columns'."""
    known = widths(remark, ranks)
    passes = _PASSES[name]
    if name in ("activation", "rope") and not isinstance(known, str):
        if name == "rope":
            return known.rotary * passes
        return known.inner * (passes if known.gated else _UNGATED_PASSES)
    if not _is_count(inner if name == "activation" else hidden):
        return known if isinstance(known, str) else known.hidden * passes
    if name == "activation":
        return inner / ranks * (_UNGATED_PASSES if inner == _UNGATED_WIDTH * hidden else passes)
    # Of rotary positions: as many heads of keys as of queries.
    return 2 * hidden / ranks * passes if name == "rope" else hidden * passes


def _is_count(value: float) -> bool:
    return bool(1 <= value < np.inf and value % 1 == 0)


def _numbers(rows: pd.DataFrame, column: str) -> Array:
    return rows[column].to_numpy(dtype=float, na_value=np.nan, copy=True)


def _text(rows: pd.DataFrame, column: str) -> list[str]:
    return [value if isinstance(value, str) else "" for value in rows[column]]
