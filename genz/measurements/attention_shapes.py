"""Rows of attention measurements: what is wrong with them, and the shapes that their columns tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.measurements.demands import LATENT, NOPE, ROPE
from genz.operators.shapes import AttentionShape
from genz.specs.hardware import Chip
from genz.timing.kernels.attention_parts import NO_WINDOW

Array = npt.NDArray[np.float64]

# Types of queries and of the cache as tables name them: bytes, what the matrix units multiply in, the name in a cell's key.
_TYPES: dict[str, tuple[float, str, str]] = {
    **dict.fromkeys(("bfloat16", "bf16"), (2.0, "bf16", "bfloat16")),
    **dict.fromkeys(("float16", "fp16", "half"), (2.0, "fp16", "bfloat16")),
    **dict.fromkeys(("float32", "fp32", "float"), (4.0, "fp32", "float32")),
    **dict.fromkeys(("fp8", "fp8_e4m3"), (1.0, "fp8", "fp8")),
}
# Multiplication in FP8 is another kernel than one that only reads an FP8 cache.
FP8_QUERY = "fp8_query"
# What a chip multiplies in where it lacks a type.
_INSTEAD = {"fp8": "bf16", "fp16": "bf16", "bf16": "fp16"}
# No sequence, batch or head is larger.
LARGEST = 1e9
# Values of a head are as wide as its keys without positions.
VALUE = NOPE


def column(rows: pd.DataFrame, name: str, otherwise: float) -> Array:
    """A column of numbers, with what stands for those that are missing."""
    if name not in rows:
        return np.full(len(rows), otherwise)
    values = rows[name].to_numpy(float)
    return np.where(np.isnan(values), otherwise, values)


def text(rows: pd.DataFrame, name: str) -> pd.Series:
    """A column of text, empty where it is missing."""
    return rows[name].fillna("").astype(str) if name in rows else pd.Series("", index=rows.index)


def cache_type(rows: pd.DataFrame) -> pd.Series:
    """The type of the cache: that of the queries where the table does not say."""
    own = text(rows, "kv_dtype")
    return own.where(own != "", text(rows, "dtype"))


def _types(rows: pd.DataFrame) -> tuple[tuple[float, str, str], tuple[float, str, str]]:
    """Types of the queries and of the cache of one cell's rows, from the first of them."""
    query = str(rows["dtype"].iloc[0])
    cache = rows["kv_dtype"].iloc[0] if "kv_dtype" in rows else None
    return _TYPES[query], _TYPES[query if pd.isna(cache) or cache == "" else str(cache)]


def problems(rows: pd.DataFrame, counts: Sequence[str]) -> pd.Series:
    """Why a row tells no shape, empty text where it does. `counts` must be there, whole and positive."""
    reasons = pd.Series("", index=rows.index)

    def refuse(bad: Array | npt.NDArray[np.bool_] | pd.Series, why: str) -> None:
        reasons[(reasons == "") & np.asarray(bad)] = why

    for name in counts:
        values = column(rows, name, np.nan)
        refuse(np.isnan(values), f"{name} is missing")
        refuse(~(values >= 1) | (values != np.floor(values)) | (values > LARGEST), f"{name} is no positive whole number")
    for name in ("past_kv", "window"):
        values = column(rows, name, 0.0)
        refuse(~((values >= 0) & (values <= LARGEST)), f"{name} is no count of tokens")
    heads, shared = column(rows, "n_heads", 1.0), kv_heads(rows)
    refuse(~(shared >= 1) | (shared > heads), "n_kv_heads must lie between 1 and n_heads")
    refuse(~text(rows, "dtype").isin(_TYPES), "dtype is no type of attention that is known: bfloat16, float16, float32, fp8")
    refuse(~cache_type(rows).isin(_TYPES), "kv_dtype is no type of a cache that is known: bfloat16, float16, float32, fp8")
    return reasons


def kv_heads(rows: pd.DataFrame) -> Array:
    """KV heads: as many as query heads where the table does not say."""
    return column(rows, "n_kv_heads", np.nan) if "n_kv_heads" not in rows else _filled(rows)


def _filled(rows: pd.DataFrame) -> Array:
    own, heads = rows["n_kv_heads"].to_numpy(float), column(rows, "n_heads", np.nan)
    return np.where(np.isnan(own), heads, own)


def formats(rows: pd.DataFrame) -> pd.Series:
    """The number format of each row's cell: that of the cache, or "fp8_query" where queries are FP8 too."""
    names = {name: entry[2] for name, entry in _TYPES.items()}
    return cache_type(rows).map(names).fillna("").mask(text(rows, "dtype").map(names) == "fp8", FP8_QUERY)


def windows(rows: pd.DataFrame) -> Array:
    """The window of each row, infinite where it has none."""
    window = column(rows, "window", 0.0)
    return np.where(window > 0, window, NO_WINDOW)


def shape_names(rows: pd.DataFrame) -> list[str]:
    """A text for each shape: sequences x queries + cached, heads, KV heads, head dimension, window."""
    numbers = [column(rows, name, 0.0) for name in ("batch", "q_len", "past_kv", "n_heads")]
    numbers += [np.nan_to_num(kv_heads(rows)), column(rows, "head_dim", 0.0), column(rows, "window", 0.0)]
    names = zip(*(values.astype(np.int64) for values in numbers), strict=True)
    return [f"{b}x{q}+{p}:{h}/{k}x{d}w{w}" for b, q, p, h, k, d, w in names]


def plain_shape(rows: pd.DataFrame, chip: Chip, phase: str) -> AttentionShape:
    """Attention over keys and values as they are; the rows are of one cell."""
    width, heads = column(rows, "head_dim", np.nan), kv_heads(rows)
    query, cache = _types(rows)
    window = windows(rows)
    numbers: dict[str, object] = {
        "sequences": column(rows, "batch", np.nan),
        "new_tokens": column(rows, "q_len", 1.0),
        "context": column(rows, "past_kv", 0.0),
        "query_heads": column(rows, "n_heads", np.nan),
        "kv_heads": heads,
        "key_dim": width,
        "value_dim": width,
        "cached_width": 2.0 * heads * width,
        "window": window if (window < NO_WINDOW).any() else None,
    }
    return AttentionShape(
        **numbers,  # type: ignore[arg-type]
        cache_bytes=cache[0],
        activation_bytes=max(query[0], 2.0),
        matrix_type=multiplied_in(query[1], chip),
        format=cache[2],
        query_format=query[2],
        causal=rows["op"].iloc[0] != "encoder_attention",
        phase=phase,
    )


def latent_shape(rows: pd.DataFrame, chip: Chip, phase: str) -> AttentionShape:
    """Latent attention: on keys and values made of the latent in prefill, on the latent itself in decode."""
    expanded = phase == "prefill"
    heads = column(rows, "n_heads", np.nan)
    query, cache = _types(rows)
    return AttentionShape(
        sequences=column(rows, "batch", np.nan),  # type: ignore[arg-type]
        new_tokens=column(rows, "q_len", 1.0),  # type: ignore[arg-type]
        context=column(rows, "past_kv", 0.0),  # type: ignore[arg-type]
        query_heads=heads,  # type: ignore[arg-type]
        kv_heads=heads if expanded else 1,  # type: ignore[arg-type]
        key_dim=int(NOPE + ROPE if expanded else LATENT + ROPE),
        value_dim=int(VALUE if expanded else LATENT),
        cached_width=LATENT + ROPE,
        cache_bytes=cache[0],
        activation_bytes=max(query[0], 2.0),
        matrix_type=multiplied_in(query[1], chip),
        format=cache[2],
        query_format=query[2],
        latent="expanded" if expanded else "absorbed",
        phase=phase,
    )


def multiplied_in(data_type: str, chip: Chip) -> str:
    """The type itself where the chip computes in it, else the one that stands in for it, else its first."""
    known = chip.computable
    instead = _INSTEAD.get(data_type, data_type)
    return data_type if data_type in known else instead if instead in known else known[0]
