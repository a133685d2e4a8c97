"""Families of attention: over a prompt and over a cache, on keys and values as they are or on a latent.

Engines dispatch between kernels by the shape. What a table's kernel column does not tell is told here: rows of another
path get a name of their own behind the table's, after a colon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.measurements.attention_shapes import (
    column,
    formats,
    kv_heads,
    latent_shape,
    plain_shape,
    problems,
    shape_names,
    text,
    windows,
)
from genz.measurements.conditions import as_measured
from genz.measurements.family import CellKey
from genz.specs.hardware import Chip
from genz.timing.kernels import decode_attention, prefill_attention
from genz.timing.kernels.attention_parts import NARROW, NO_WINDOW, REFERENCE, WIDE
from genz.timing.kernels.decode_attention import DecodeAttentionConstants, decode_attention_time
from genz.timing.kernels.prefill_attention import TILINGS, PrefillAttentionConstants, prefill_attention_time

Array = npt.NDArray[np.float64]

# Query heads for each KV head above which TensorRT-LLM's grouped decode kernel (XQA) gives way to the one for each head.
# Source: TensorRT-LLM, cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention/decoderXQARunner.h.
XQA_GROUP = 32
# Query heads for each KV head from which SGLang and vLLM run FlashInfer's decode on matrix units.
# Source: SGLang, layers/attention/flashinfer_backend.py, should_use_tensor_core.
MATRIX_GROUP = 4
# What moves held-out errors by less than a tenth of a point keeps its prior: the tail of long prompts; of decode kernels the
# rate of multiplication and the overlap, unless they work on the latent.
_PREFILL_SINGLE = ("launch", "prologue", "tail", "exposed", "query_passes", "cache_passes", "append")
_PREFILL_LONG = ("launch", "prologue", "exposed", "query_passes", "cache_passes", "append", "efficiency", "cache_share")
_DECODE = (
    "launch",
    "bandwidth",
    "core_bandwidth",
    "prologue",
    "split_keys",
    "reduction",
    "query_passes",
    "append",
    "cache_share",
)
_LATENT_DECODE = (*_DECODE, "efficiency", "exposed")
_HEADS = (("head_64", 0, NARROW), ("", NARROW, REFERENCE), ("head_192", REFERENCE, 192), ("head_256", 192, WIDE))


@dataclass(frozen=True)
class AttentionFamily:
    """A family of attention kernels: `shape_of` reads its rows, `time_of` is its formula."""

    name: str
    ops: tuple[str, ...]
    constants: type
    variants: tuple[str, ...]
    counts: tuple[str, ...]
    phase: str
    shape_of: Callable[[pd.DataFrame, Chip, str], Any]
    time_of: Callable[..., Any]
    kernel_of: Callable[[pd.DataFrame], pd.Series]
    free_of: Callable[[pd.DataFrame, str], tuple[str, ...]]

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        return problems(rows, self.counts)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns of `CellKey` for each row."""
        values = (text(rows, "framework"), text(rows, "framework_version"), formats(rows), self.kernel_of(rows))
        return pd.DataFrame(dict(zip(CellKey._fields, values, strict=True)), index=rows.index)

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """A text for each row's shape."""
        return shape_names(rows)

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:
        """Names of the constants that the rows of one cell can identify."""
        return self.free_of(rows, variant)

    def times(self, rows: pd.DataFrame, chip: Chip, constants: Any, variant: str) -> Array:
        """Predicted seconds of each row of one cell, in a loop over the same tensors: cold where it emptied the caches."""
        shape = self.shape_of(rows, chip, self.phase)
        times = as_measured(rows, lambda warm: self.time_of(shape, chip, constants, variant, warm=warm))
        return np.asarray(times, dtype=float) * np.ones(len(rows))


def _prefill_kernel(rows: pd.DataFrame) -> pd.Series:
    """Encoders have kernels of their own, SGLang's Triton kernel walks over what a window hides and prepares for it, and vLLM
    sends a single query to its decode kernel."""
    kernel, is_encoder = text(rows, "kernel"), text(rows, "op") == "encoder_attention"
    kernel = kernel.mask(is_encoder, kernel + ":encoder").mask(~is_encoder & _is_single(rows), kernel + ":single")
    return _with_window(rows, kernel)


def _latent_prefill_kernel(rows: pd.DataFrame) -> pd.Series:
    """vLLM works on the latent itself for a single query."""
    kernel = text(rows, "kernel")
    return kernel.mask(_is_single(rows), kernel + ":single")


def _is_single(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    is_vllm: npt.NDArray[np.bool_] = np.asarray(text(rows, "framework").str.lower() == "vllm", dtype=bool)
    is_one: npt.NDArray[np.bool_] = column(rows, "q_len", 1.0) == 1
    return is_vllm & is_one


def _with_window(rows: pd.DataFrame, kernel: pd.Series) -> pd.Series:
    return kernel.mask((kernel == "triton") & (windows(rows) < NO_WINDOW), kernel + ":window")


def _decode_kernel(rows: pd.DataFrame) -> pd.Series:
    """By the query heads for each KV head: TensorRT-LLM's kernel for each head or for a group, FlashInfer's on vector or on
    matrix units."""
    kernel, group = text(rows, "kernel"), column(rows, "n_heads", 1.0) / kv_heads(rows)
    alone = (kernel == "torch_flow") & ((group == 1) | (group > XQA_GROUP))
    matrix = kernel.isin(("flashinfer", "vllm_flashinfer_fidecode")) & (group >= MATRIX_GROUP)
    return _with_window(rows, kernel.mask(alone, kernel + ":per_head").mask(matrix, kernel + ":matrix"))


def _own_kernel(rows: pd.DataFrame) -> pd.Series:
    return text(rows, "kernel")


def _head_constants(rows: pd.DataFrame) -> tuple[str, ...]:
    """Factors of the head dimensions that occur, all but the first: that one is in the other constants already."""
    width = column(rows, "head_dim", np.nan)
    occurring = [name for name, low, high in _HEADS if ((width > low) & (width <= high)).any()]
    occurring += ["head_512"] if (width > WIDE).any() else []
    if "" in occurring:
        return tuple(name for name in occurring if name)
    return tuple(occurring[1:])


def _prefill_free(rows: pd.DataFrame, variant: str) -> tuple[str, ...]:
    new, past = column(rows, "q_len", 1.0), column(rows, "past_kv", 0.0)
    if (new == 1).all():
        return _PREFILL_SINGLE
    free = (*_PREFILL_LONG, *_head_constants(rows))
    if (windows(rows) < new + past).any():
        free += ("masked",)
    return (*free, "split_keys") if TILINGS[variant].split else free


def _decode_free(rows: pd.DataFrame, _variant: str) -> tuple[str, ...]:
    free = (*_DECODE, *_head_constants(rows))
    return (*free, "masked") if (windows(rows) < 1 + column(rows, "past_kv", 0.0)).any() else free


def _latent_decode_free(_rows: pd.DataFrame, _variant: str) -> tuple[str, ...]:
    return _LATENT_DECODE


_PLAIN = ("batch", "q_len", "n_heads", "head_dim")
_OF_LATENT = ("batch", "q_len", "n_heads")

PREFILL_ATTENTION = AttentionFamily(
    name="prefill_attention",
    ops=("prefill_attention", "encoder_attention"),
    constants=PrefillAttentionConstants,
    variants=prefill_attention.VARIANTS,
    counts=_PLAIN,
    phase="prefill",
    shape_of=plain_shape,
    time_of=prefill_attention_time,
    kernel_of=_prefill_kernel,
    free_of=_prefill_free,
)
DECODE_ATTENTION = AttentionFamily(
    name="decode_attention",
    ops=("decode_attention",),
    constants=DecodeAttentionConstants,
    variants=decode_attention.VARIANTS,
    counts=_PLAIN,
    phase="decode",
    shape_of=plain_shape,
    time_of=decode_attention_time,
    kernel_of=_decode_kernel,
    free_of=_decode_free,
)
LATENT_PREFILL = AttentionFamily(
    name="latent_prefill_attention",
    ops=("mla_prefill",),
    constants=PrefillAttentionConstants,
    variants=("64", "128"),
    counts=_OF_LATENT,
    phase="prefill",
    shape_of=latent_shape,
    time_of=prefill_attention_time,
    kernel_of=_latent_prefill_kernel,
    free_of=_prefill_free,
)
LATENT_DECODE = AttentionFamily(
    name="latent_decode_attention",
    ops=("mla_decode",),
    constants=DecodeAttentionConstants,
    variants=("packed", "per_head"),
    counts=_OF_LATENT,
    phase="decode",
    shape_of=latent_shape,
    time_of=decode_attention_time,
    kernel_of=_own_kernel,
    free_of=_latent_decode_free,
)
