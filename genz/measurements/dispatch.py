"""Measured dispatch of tokens to their experts, and the way back, as a family of kernels.

A cell's kernel is "dispatch", "combine" or "prepare" (the exchange of who sends what), with the kind of its library; its
format names the link. How many cores a kernel was given stands in the notes of DeepEP's rows; others have them all.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.measurements.groups import backend, group_refusals, keys_of, link_bandwidths, nodes, text
from genz.specs.hardware import Chip
from genz.timing.kernels.dispatch import DispatchConstants, dispatch_time

Array = npt.NDArray[np.float64]
_KERNELS = {
    "moe_dispatch": "dispatch",
    "moe_combine": "combine",
    "alltoall_dispatch": "dispatch",
    "alltoall_combine": "combine",
    "alltoall_combine_low_precision": "combine, low precision",
    "alltoall_prepare": "prepare",
}
_LIBRARIES = {
    "DeepEP-normal": "normal",
    "DeepEP-low-latency": "low latency",
    "NVLinkOneSided": "one-sided",
    "NVLinkTwoSided": "two-sided",
}
# Bytes of an element, with its share of scales: one of fp32 for 128 of DeepEP's FP8, one of FP8 for 16 of NVFP4.
_ELEMENT_BYTES = {"fp8": 1 + 4 / 128, "bf16": 2.0, "bfloat16": 2.0, "nvfp4": 0.5 + 1 / 16}
# What comes back is added up in BF16, whatever the experts read.
_RESULT_BYTES = 2.0
# The rank and the place there of each of a token's experts, an int32 each.
_PLACE_BYTES = 8.0
_NUMBERS = ("num_tokens", "hidden", "topk", "n_experts")


class Exchanges:
    """Dispatch and combine of tokens, by DeepEP or kernels over NVLink."""

    name = "dispatch"
    ops = tuple(_KERNELS)
    constants = DispatchConstants
    variants = ("",)

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        found = group_refusals(rows)
        for column in _NUMBERS:
            value = rows[column].to_numpy(float)
            found[~(np.isfinite(value) & (value > 0))] = f"{column} is missing or not above 0"
        with np.errstate(invalid="ignore"):
            found[rows["topk"].to_numpy(float) > rows["n_experts"].to_numpy(float)] = "topk is above n_experts"
        found[(~backend(rows).isin(_LIBRARIES)).to_numpy()] = f"backend is none of {', '.join(_LIBRARIES)}"
        found[(~text(rows, "dtype").isin(_ELEMENT_BYTES)).to_numpy()] = f"dtype is none of {', '.join(_ELEMENT_BYTES)}"
        return pd.Series(found, index=rows.index)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns of `CellKey` for each row."""
        kernel = rows["collective"].map(_KERNELS) + ", " + backend(rows).map(_LIBRARIES)
        return keys_of(rows, text(rows, "framework"), kernel)

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """Way, devices, nodes, tokens, hidden width, experts for a token and in all."""
        columns = (rows["collective"].map(_KERNELS), rows["n_devices"], nodes(rows), *(rows[name] for name in _NUMBERS))
        return [
            f"{way} {devices:g}/{count:g} {tokens:g}x{hidden:g} {top_k:g}/{experts:g}"
            for way, devices, count, tokens, hidden, top_k, experts in zip(*columns, strict=True)
        ]

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:  # noqa: ARG002
        """Constants that the rows can identify: notices only where the number of those notified varies."""
        names = ("launch", "link_share", "core_rate", "copy", "local")
        notified = "n_experts" if _goes_to_each_expert(rows) else "n_devices"
        return (*names, "peer") if rows[notified].nunique() > 1 else names

    def times(self, rows: pd.DataFrame, chip: Chip, constants: DispatchConstants, variant: str) -> Array:  # noqa: ARG002
        """Predicted seconds of each row of one cell."""
        names = {"top_k": "topk", "experts": "n_experts", "devices": "n_devices"}
        notes = text(rows, "notes")
        given = notes.map({note: _given_cores(note) for note in notes.unique()})
        numbers: dict[str, Any] = {
            **{argument: rows[name].to_numpy(float) for argument, name in names.items()},
            "tokens": rows["num_tokens"].to_numpy(float),
            "token_bytes": _token_bytes(rows),
            "nodes": nodes(rows).to_numpy(float),
            "link_bandwidth": link_bandwidths(rows, chip),
            "cores": given.fillna(chip.cores.count).to_numpy(float),
        }
        time = dispatch_time(
            clock=chip.cores.clock,
            constants=constants,
            each_expert=_goes_to_each_expert(rows),
            balanced="distribution=balanced" in notes.iloc[0],
            **numbers,
        )
        return np.asarray(time, dtype=float)


def _goes_to_each_expert(rows: pd.DataFrame) -> bool:
    """Whether a token is sent once for each of its experts: results that are quantised cannot be added up on their way."""
    first = rows.iloc[0]
    return bool(first["backend"] == "DeepEP-low-latency" or str(first["collective"]).endswith("_low_precision"))


def _given_cores(note: str) -> float:
    """Cores that a kernel may use, not a number where a note does not say."""
    found = re.search(r"sms=(\d+)", note)
    return float(found[1]) if found else math.nan


def _token_bytes(rows: pd.DataFrame) -> Array:
    """Bytes of a token's message."""
    element = text(rows, "dtype").map(_ELEMENT_BYTES).to_numpy(float)
    way = rows["collective"].map(_KERNELS)
    element = np.where(way == "combine", _RESULT_BYTES, element)
    return np.where(way == "prepare", _PLACE_BYTES, rows["hidden"].to_numpy(float) * element)


DISPATCH = Exchanges()
