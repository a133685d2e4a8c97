"""Measured power of kernels and runs, as the terms of the power model: what each row draws by the prices of technologies.

The sampled power of a kernel is no steady state where the loop was short: rows of less than a millisecond count for
nothing, and a longer row is a low reading if others of its kind did no more FLOP/s and moved no more bytes, and drew more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.energy import energy_constants
from genz.errors import GenZError
from genz.measurements.demands import demands
from genz.numerics import minimum
from genz.operators.attention import SOFTMAX_FLOPS
from genz.specs import catalog
from genz.specs.hardware import Chip
from genz.timing.kernels.power import PowerConstants, kernel_power

Array = npt.NDArray[np.float64]
SHORTEST = 1e-3  # [s] the sampler averages over some 100 ms, and short kernels are repeated for less than that
# A reading is low if so many rows with no more work read higher by this factor: NVML's own error is about 5 %.
HIGHER_BY, HIGHER_ROWS = 1.15, 3
# No reading of a chip at work is nearer to idle power than this.
LEAST_ABOVE_IDLE = 1.05
# Columns of the power model: watts at the technologies' prices for FLOPs of 16 bits and more, of 8, of 4 and 6, main memory
# and all else; shares of the time; and the chip's own figures.
TERMS = ("flop", "flop_8", "flop_4", "byte", "fixed", "busy", "in_experts", "idle", "limit")
_OPERATORS = ("gemm", "moe", "prefill_attention", "decode_attention", "encoder_attention", "mla_prefill", "mla_decode")
_SHAPE = ("m", "n", "k", "batch", "q_len", "past_kv", "n_heads", "n_kv_heads", "head_dim", "window", "num_tokens", "hidden")
_SHAPE_OF_EXPERTS = ("inter", "topk", "n_experts", "moe_tp", "moe_ep", "distribution")
_FLOP_TERM = {"fp8": "flop_8", "int8": "flop_8", "fp6": "flop_4", "fp4": "flop_4", "int4": "flop_4"}


@dataclass(frozen=True)
class PowerRows:
    """Rows with the columns of `TERMS`, `measured` [W], `chip`, `source` (or operator), `format` and `shape`."""

    frame: pd.DataFrame

    @property
    def measured(self) -> Array:
        return self.frame["measured"].to_numpy(float)

    def predicted(self, constants: PowerConstants) -> Array:
        """Power of each row by the power model [W]."""
        column: Callable[[str], Array] = lambda name: self.frame[name].to_numpy(float)  # noqa: E731
        dynamic = (
            constants.flop * (column("flop") + constants.flop_8 * column("flop_8") + constants.flop_4 * column("flop_4"))
            + constants.byte * column("byte")
            + column("fixed")
        )
        drawn = kernel_power(
            dynamic,  # type: ignore[arg-type]
            1.0,
            idle=column("idle"),  # type: ignore[arg-type]
            limit=column("limit"),  # type: ignore[arg-type]
            constants=constants,
            busy=column("busy"),  # type: ignore[arg-type]
            in_experts=column("in_experts"),  # type: ignore[arg-type]
        )
        return np.asarray(drawn.power, dtype=float)


def refusals(rows: pd.DataFrame) -> pd.Series:
    """Why the power of each row of the `ops` schema cannot be predicted, empty text where it can."""
    reasons = pd.Series("", index=rows.index, dtype=object)

    def refuse(found: pd.Series, reason: str) -> None:
        reasons[found & (reasons == "")] = reason

    refuse(~(rows["power_w"] > 0), "its power was not measured")
    refuse(~(rows["measured_s"] >= SHORTEST), f"shorter than {SHORTEST * 1e3:g} ms, where sampled power is no steady state")
    refuse(~rows["op"].isin(_OPERATORS), "an operator of several kernels, or one whose work its columns do not tell")
    chips = {name: _chip(name) for name in rows["hardware"].unique()}
    refuse(rows["hardware"].map(lambda name: chips[name] is None), "its chip is not in the catalog")
    skewed = (rows["op"] == "moe") & (rows["distribution"] != "balanced") & (rows["moe_ep"] > 1)
    refuse(skewed, "the load of the measured rank is not known")
    if (reasons == "").any():
        work = demands(rows)
        refuse(pd.Series(~np.isfinite(work.flops * work.moved), index=rows.index), "a size of its shape is missing")
    return reasons


def kernel_rows(rows: pd.DataFrame) -> PowerRows:
    """The answerable rows of the `ops` schema as terms of the power model."""
    some = rows[(refusals(rows) == "").to_numpy()]
    parts = [_terms(group, catalog.chip(str(name))) for name, group in some.groupby("hardware", sort=True)]
    return PowerRows(pd.concat(parts) if parts else pd.DataFrame(columns=[*TERMS, "measured", "chip"]))


def low_readings(rows: PowerRows) -> npt.NDArray[np.bool_]:
    """Whether the power of a kernel reads lower than that of several of its kind that did no more work."""
    frame = rows.frame
    low = np.zeros(len(frame), dtype=bool)
    for positions in frame.groupby(["chip", "source", "format"], sort=False).indices.values():
        group = frame.iloc[positions]
        compute = group[["flop", "flop_8", "flop_4"]].sum(axis=1).to_numpy(float)
        moved, watts = group["byte"].to_numpy(float), group["measured"].to_numpy(float)
        for one, position in enumerate(positions):
            less = (compute <= compute[one]) & (moved <= moved[one]) & (watts > HIGHER_BY * watts[one])
            low[position] = less.sum() >= HIGHER_ROWS
    return low


def technology_terms(chip: Chip, flops: dict[str, Array], moved: Array, fixed: Array) -> pd.DataFrame:
    """Watts of `flops` [FLOP/s] by data type and `moved` [B/s] through main memory, at the prices of technologies.

    `fixed` [W] is what has no constant of its own; what moves passes the inner levels too.
    """
    prices = energy_constants(catalog.platform_of(chip, 1))
    frame = pd.DataFrame({name: np.zeros(len(moved)) for name in TERMS})
    for data_type, rate in flops.items():
        frame[_FLOP_TERM.get(data_type, "flop")] += rate * prices.per_flop[data_type]
    frame["byte"] = moved * prices.per_level[0]
    frame["fixed"] = fixed
    frame["idle"], frame["limit"] = chip.power.idle, chip.power.tdp
    return frame


def _terms(rows: pd.DataFrame, chip: Chip) -> pd.DataFrame:
    """Terms of rows of one chip: kernels keep it busy all the time."""
    work, time = demands(rows), rows["measured_s"].to_numpy(float)
    prices = energy_constants(catalog.platform_of(chip, 1))
    moved = np.where(rows["op"] == "moe", _moved_by_experts(rows, work.moved), work.moved) / time
    # A score for each pair of a query and a key: FLOPs over twice the widths of both heads' products.
    scores = np.where(rows["op"].str.contains("attention"), work.flops / (4 * rows["head_dim"].to_numpy(float)), 0.0) / time
    rates = {t: np.where(work.matrix_type == t, work.flops / time, 0.0) for t in sorted(set(work.matrix_type))}
    computed = {t: rate for t, rate in rates.items() if t in prices.per_flop}
    fixed = np.nan_to_num(scores) * SOFTMAX_FLOPS * prices.per_vector_flop + moved * sum(prices.per_level[1:])
    frame = technology_terms(chip, computed, moved, fixed).set_index(rows.index)
    limit = rows["power_limit_w"].to_numpy(float)
    frame["limit"] = np.where(limit > chip.power.idle, limit, chip.power.tdp)
    frame["busy"], frame["in_experts"] = 1.0, (rows["op"] == "moe").astype(float)
    return frame.assign(
        measured=rows["power_w"],
        chip=chip.name,
        source=rows["op"],
        format=rows["dtype"].fillna(""),
        shape=_shape_texts(rows),
    )


def _moved_by_experts(rows: pd.DataFrame, least: Array) -> Array:
    """Bytes of experts' kernels: under skewed routing nearly as many experts are touched as under a random one [B]."""
    alike = rows.assign(distribution="balanced")
    return np.maximum(least, demands(alike).moved)


def _shape_texts(rows: pd.DataFrame) -> list[str]:
    """A text for each shape: the hold-out rule goes by it."""
    known = rows[["op", *_SHAPE, *_SHAPE_OF_EXPERTS]].astype(object)
    return ["x".join(map(str, row)) for row in known.where(known.notna(), "").to_numpy()]


def _chip(name: str) -> Chip | None:
    try:
        return catalog.chip(str(name))
    except GenZError:
        return None


def above_idle(measured: Array, idle: float) -> npt.NDArray[np.bool_]:
    """Whether readings can be those of a chip at work."""
    return measured > LEAST_ABOVE_IDLE * idle


def shares(part: Array, whole: Array) -> Array:
    """`part` over `whole`, at most 1."""
    return np.asarray(minimum(part / whole, 1.0), dtype=float)  # type: ignore[arg-type]
