"""Operating points: what so many replicas, each at so many requests, come to under the load.

All figures are arrays, one element a point; what is not a number is no operating point.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genz.explore.planning.prefill_pool import Queue
from genz.explore.planning.replica import Replica
from genz.inference.prices import SECONDS_PER_HOUR, TOKENS_PER_PRICE
from genz.specs.workload import Workload

Points = dict[str, np.ndarray]


def feasible(points: Points, constraints: Mapping[str, float], *, without: str | None = None) -> np.ndarray:
    """Which points are operating points that meet all constraints, but one if it is named."""
    met = np.isfinite(points["ttft_s"])
    for name, limit in constraints.items():
        if name != without:
            met = met & (points[name] <= limit)
    return met


def settle(points: Points, constraints: Mapping[str, float]) -> Points:
    """Only the points at which loads settle.

    So many copies run as few requests at once as carry the load, of the numbers that meet the constraints: a batch counts
    where it meets them and needs fewer copies than every smaller batch that does.
    """
    needed = np.where(feasible(points, constraints), points["replicas"], np.inf)
    before = np.concatenate([np.full_like(needed[..., :1], np.inf), needed[..., :-1]], axis=-1)
    settles = needed < np.minimum.accumulate(before, axis=-1)
    return {**points, "ttft_s": np.where(settles, points["ttft_s"], np.nan)}


def spending(replica: Replica | Queue, copies: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Rent of the copies, and electricity where it has a price [USD/s]; not a number where no rent is known."""
    return np.asarray(copies * replica.rent + replica.energy_price * power)


def complete(
    workload: Workload,
    *,
    rate: np.ndarray,
    ttft: np.ndarray,
    tpot: np.ndarray,
    e2e: np.ndarray,
    devices: np.ndarray,
    power: np.ndarray,
    usd_for_input: np.ndarray,
    usd_for_output: np.ndarray,
    capacity_per_device: np.ndarray | float,
    **counts: np.ndarray,
) -> Points:
    """All figures of points, from rates [1/s], times [s], power [W] and spending [USD/s]."""
    tokens_in, tokens_out = int(workload.input_tokens), int(workload.output_tokens)
    usd = usd_for_input + usd_for_output
    output = rate * tokens_out
    figures = {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "e2e_s": e2e,
        "devices": devices,
        "requests_per_s": rate,
        "output_tokens_per_s": output,
        "output_tokens_per_s_per_device": output / devices,
        "output_tokens_per_s_per_user": 1 / tpot,
        "capacity_output_tokens_per_s_per_device": capacity_per_device,
        "usd_per_hour": usd * SECONDS_PER_HOUR,
        "usd_per_million_tokens": usd * TOKENS_PER_PRICE / (rate * (tokens_in + tokens_out)),
        "usd_per_million_tokens_in": usd_for_input * TOKENS_PER_PRICE / (rate * tokens_in),
        "usd_per_million_tokens_out": usd_for_output * TOKENS_PER_PRICE / output,
        "power_w": power,
        "energy_j_per_output_token": power / output,
        **counts,
    }
    shape = np.broadcast_shapes(*(np.shape(values) for values in figures.values()))
    return {name: np.broadcast_to(np.asarray(values, dtype=float), shape) for name, values in figures.items()}
