"""Measured kernels of Mamba-2 and of gated delta nets: rows of `mamba2` and `gdn`.

A row names its model, which tells the shape (`layers.yaml`), and its kernel, which tells the work: the convolution, a prompt's
scan in chunks or a decode step's recurrence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.measurements.family import CellKey
from genz.measurements.known_layers import GatedDeltaLayer, Mamba2Layer, known_layers
from genz.operators.state_space import StateSpaceWork, chunked_scan, convolution, recurrence
from genz.specs.calibrations import engine_name
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.state_space import StateSpaceConstants, state_space_time

Array = npt.NDArray[np.float64]

FORMAT = "bfloat16"
# A benchmark convolves the keys alone, or queries, keys and values together.
VARIANTS = ("together", "keys")
# What a kernel does, by how its name starts.
CONVOLUTION, SCAN, RECURRENCE = "convolution", "scan", "recurrence"
KINDS = {
    "causal_conv1d": CONVOLUTION,
    "mamba_chunk_scan": SCAN,
    "chunk_gated_delta_rule": SCAN,
    "fused_recurrent_gated_delta_rule": RECURRENCE,
    "selective_state_update": RECURRENCE,
}
# Tokens that a block of threads of the convolution takes at once, and those of a chunk of the delta rule.
CONVOLUTION_BLOCK = 8
DELTA_CHUNK = 64
# Kernels on a chip without bf16 multiply in the first of these that it has.
MATRIX_TYPES = ("bf16", "fp16", "tf32", "fp32")
_MODEL = re.compile(r"model=([^;\s]+)")


class _Sizes(NamedTuple):
    """Sequences, new tokens of each, and ranks that a layer is cut for (not a number where the table says nothing)."""

    sequences: Any
    tokens: Any
    slices: Any


class StateSpaceFamily:
    """Kernels of one kind of layer with a state."""

    constants = StateSpaceConstants

    def __init__(
        self,
        name: str,
        ops: tuple[str, ...],
        variants: tuple[str, ...],
        layers: Callable[[], Mapping[str, Any]],
        work: Callable[[str, list[Any], _Sizes, str], StateSpaceWork],
    ) -> None:
        self.name = name
        self.ops = ops
        self.variants = variants
        self._layers = layers
        self._work = work

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        layers = self._layers()
        reasons = []
        tables = zip(_text(rows, "framework"), _text(rows, "framework_version"), strict=True)
        sliced = {(table.framework, table.version) for table in known_layers().untold_slices.tables}
        columns = zip(_text(rows, "kernel"), _models(rows), *_sizes(rows), tables, strict=True)
        for kernel, model, batch, tokens, tp, table in columns:
            if not _kind(kernel):
                reasons.append(f"kernel {kernel!r} is not known; known: {', '.join(KINDS)}")
            elif model not in layers:
                reasons.append(f"no shape: the notes name no known model with model=..., but {model!r}")
            elif not all(np.isfinite(v) and v >= 1 and v % 1 == 0 for v in (batch, tokens)):
                reasons.append("batch and q_len must be whole numbers from 1")
            elif np.isnan(tp) and table in sliced:
                reasons.append("the table cuts layers into slices and does not tell which: tp is empty")
            elif not np.isnan(tp) and (tp < 1 or tp % 1 != 0):
                reasons.append("tp must be a whole number from 1")
            else:
                reasons.append("")
        return pd.Series(reasons, index=rows.index, dtype=object)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Engine as it is filed, its version, and the kernel."""
        engines = [engine_name(name) if name else "" for name in _text(rows, "framework")]
        columns = (engines, _text(rows, "framework_version"), [FORMAT] * len(rows), _text(rows, "kernel"))
        return pd.DataFrame(dict(zip(CellKey._fields, columns, strict=True)), index=rows.index)

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """ "model batch x tokens"."""
        sizes = _sizes(rows)
        columns = zip(_models(rows), sizes.sequences, sizes.tokens, strict=True)
        return [f"{model} {batch:.0f}x{tokens:.0f}" for model, batch, tokens in columns]

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:  # noqa: ARG002 (as the protocol has it)
        """All constants but those that a cell's kernel does not feel."""
        kind = _kind(_text(rows, "kernel")[0])
        idle = {CONVOLUTION: {"compute"}, RECURRENCE: {"compute", "step"}, SCAN: set()}[kind]
        return tuple(d.name for d in definitions(StateSpaceConstants) if d.name not in idle)

    def times(self, rows: pd.DataFrame, chip: Chip, constants: Any, variant: str) -> Array:
        """Predicted seconds of rows of one cell, in a benchmark's loop."""
        known = self._layers()
        layers = [known[model] for model in _models(rows)]
        sizes = _sizes(rows)
        sizes = sizes._replace(slices=np.nan_to_num(sizes.slices, nan=1.0))
        work = self._work(_kind(_text(rows, "kernel")[0]), layers, sizes, variant)
        matrix_type = next((t for t in MATRIX_TYPES if t in chip.computable), chip.computable[0])
        return np.asarray(state_space_time(work, chip, constants, matrix_type=matrix_type, warm=True), dtype=float)


def _mamba2_work(kind: str, layers: list[Mamba2Layer], sizes: _Sizes, _variant: str) -> StateSpaceWork:
    heads, head, state = (
        _of(layers, "mamba_num_heads") / sizes.slices,
        _of(layers, "mamba_head_dim"),
        _of(layers, "ssm_state_size"),
    )
    shared = 2 * np.maximum(_of(layers, "n_groups") / sizes.slices, 1.0) * state
    if kind == CONVOLUTION:
        width = _of(layers, "conv_kernel")
        return convolution(sizes.sequences, sizes.tokens, channels=heads * head + shared, width=width, block=CONVOLUTION_BLOCK)
    if kind == RECURRENCE:
        return recurrence(sizes.sequences, heads=heads, key_dim=state, value_dim=head, shared=shared)
    chunk = _of(layers, "chunk_size")
    return chunked_scan(
        sizes.sequences, sizes.tokens, heads=heads, key_dim=state, value_dim=head, shared=shared, chunk=chunk, delta=False
    )


def _delta_work(kind: str, layers: list[GatedDeltaLayer], sizes: _Sizes, variant: str) -> StateSpaceWork:
    key, value = _of(layers, "linear_key_head_dim"), _of(layers, "linear_value_head_dim")
    keys = _of(layers, "linear_num_key_heads") / sizes.slices * key
    heads = _of(layers, "linear_num_value_heads") / sizes.slices
    if kind == CONVOLUTION:
        channels = keys if variant == "keys" else 2 * keys + heads * value
        width = _of(layers, "linear_conv_kernel_dim")
        return convolution(sizes.sequences, sizes.tokens, channels=channels, width=width, block=CONVOLUTION_BLOCK)
    if kind == RECURRENCE:
        return recurrence(sizes.sequences, heads=heads, key_dim=key, value_dim=value, shared=2 * keys)
    return chunked_scan(
        sizes.sequences, sizes.tokens, heads=heads, key_dim=key, value_dim=value, shared=2 * keys, chunk=DELTA_CHUNK, delta=True
    )


def _mamba2_layers() -> Mapping[str, Any]:
    return known_layers().mamba2.models


def _delta_layers() -> Mapping[str, Any]:
    return known_layers().gated_delta_net.models


# Their parts are named functions, as a fit hands families to other processes.
MAMBA2 = StateSpaceFamily("mamba2", ("mamba2",), VARIANTS[:1], _mamba2_layers, _mamba2_work)
GATED_DELTA_NET = StateSpaceFamily("gated_delta_net", ("gdn",), VARIANTS, _delta_layers, _delta_work)


def _kind(kernel: str) -> str:
    return next((kind for start, kind in KINDS.items() if kernel.startswith(start)), "")


def _models(rows: pd.DataFrame) -> list[str]:
    """The model that each row's notes name, empty where none is."""
    found = [_MODEL.search(note) for note in _text(rows, "notes")]
    return [match.group(1) if match else "" for match in found]


def _sizes(rows: pd.DataFrame) -> _Sizes:
    return _Sizes(*(rows[name].to_numpy(dtype=float, na_value=np.nan) for name in ("batch", "q_len", "tp")))


def _of(layers: list[Any], name: str) -> Any:
    return np.array([getattr(layer, name) for layer in layers], dtype=float)


def _text(rows: pd.DataFrame, column: str) -> list[str]:
    """A column of words, empty where it says nothing."""
    return [value if isinstance(value, str) else "" for value in rows[column]]
