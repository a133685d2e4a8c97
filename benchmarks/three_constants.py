"""What three fitted constants a cell do: launch, and the shares of the data sheet's compute and bandwidth that are reached.

t = launch + max(FLOPs / (share rate), bytes / (share bandwidth)); of collectives t = launch + steps latency + bytes /
(share bandwidth). Fitted cell by cell (a chip, an operator, an engine, a format, a kernel) on the rows that are not held
out, by the same robust fit as the calibrations: what is to be beaten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genz.calibration.fitting import fit
from genz.errors import GenZError
from genz.measurements.demands import demands
from genz.measurements.plausibility import fastest_bandwidth, multiply_rate
from genz.measurements.positions import alike
from genz.specs import catalog
from genz.timing.kernels.constants import constant

# More rows than this do not change three constants.
FITTED_ROWS = 400
FEWEST_ROWS = 12
# Of a ring of n devices: how often each sends its share of the buffer, 1 / n, one after the other.
ROUNDS = {"all_reduce": lambda n: 2 * (n - 1), "all_gather": lambda n: n - 1, "reduce_scatter": lambda n: n - 1}
DIRECT = {"alltoall": lambda n: (n - 1) / n, "send_recv": np.ones_like, "sendrecv": np.ones_like}
EXCHANGED = ("moe_dispatch", "moe_combine", "alltoall_dispatch", "alltoall_combine", "alltoall_combine_low_precision")


@dataclass(frozen=True)
class Shares:
    """The three constants of an operator."""

    launch: float = constant(5e-6, "s", 1e-7, 1e-3, "time of a kernel that does nothing")
    compute: float = constant(0.7, "1", 1e-3, 2.0, "share of the matrix rate")
    memory: float = constant(0.7, "1", 1e-3, 2.0, "share of the bandwidth")


@dataclass(frozen=True)
class Hops:
    """The three constants of a collective."""

    launch: float = constant(5e-6, "s", 1e-7, 1e-3, "time of a collective of nothing")
    latency: float = constant(1e-6, "s", 1e-10, 1e-3, "time of a step")
    share: float = constant(0.7, "1", 1e-4, 2.0, "share of the link's bandwidth")


def operator_times(rows: pd.DataFrame, held_out: np.ndarray) -> np.ndarray:
    """Seconds of each row of the `ops` schema; not a number where its columns do not tell its work."""
    demand = demands(rows)
    found = np.full(len(rows), np.nan)
    cells = rows[["hardware", "op", "framework", "framework_version", "dtype", "kv_dtype", "kernel"]].assign(
        type=demand.matrix_type
    )
    for (hardware, *_, matrix_type), i in alike(cells, list(cells.columns)):
        try:
            chip = catalog.chip(str(hardware))
        except GenZError:
            continue
        compute = demand.flops[i] / multiply_rate(chip, str(matrix_type))
        memory = demand.moved[i] / fastest_bandwidth(chip, demand.moved[i])

        def times(c: Any, compute: np.ndarray = compute, memory: np.ndarray = memory) -> np.ndarray:
            return c.launch + np.maximum(compute / c.compute, memory / c.memory)

        found[i] = _fitted(times, Shares(), rows["measured_s"].to_numpy(float)[i], held_out[i])
    return found


def collective_times(rows: pd.DataFrame, held_out: np.ndarray) -> np.ndarray:
    """Seconds of each row of the `collectives` schema."""
    found = np.full(len(rows), np.nan)
    for (hardware, name, *_), i in alike(rows, ["hardware", "collective", "backend", "dtype", "n_nodes", "notes"]):
        some = rows.iloc[i]
        devices = some["n_devices"].to_numpy(float)
        if name in EXCHANGED:
            sent, steps = (some["num_tokens"] * some["hidden"] * some["topk"] * 2).to_numpy(float), np.ones(len(i))
        else:
            message = some["message_bytes"].to_numpy(float)
            if name in ROUNDS:
                steps = ROUNDS[name](devices)
                sent = steps * message / devices
            elif name in DIRECT:
                steps, sent = np.ones(len(i)), DIRECT[name](devices) * message
            else:
                continue
        try:
            bandwidth = catalog.chip(str(hardware)).links["scale_up"].bandwidth
        except (GenZError, KeyError):
            continue

        def times(c: Any, sent: Any = sent, steps: Any = steps, bandwidth: float = bandwidth) -> np.ndarray:
            return c.launch + steps * c.latency + sent / (c.share * bandwidth)

        found[i] = _fitted(times, Hops(), some["measured_s"].to_numpy(float), held_out[i])
    return found


def _fitted(times: Any, start: Any, measured: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Times of all rows of a cell with the constants of those that are not held out; none where those are too few."""
    usable = ~held_out & np.isfinite(times(start))
    chosen = np.flatnonzero(usable)
    if len(chosen) < FEWEST_ROWS:
        return np.full(len(measured), np.nan)
    if len(chosen) > FITTED_ROWS:
        chosen = np.random.default_rng(0).choice(chosen, FITTED_ROWS, replace=False)
    names = tuple(start.__dataclass_fields__)
    found = fit(lambda c: times(c)[chosen], measured[chosen], start, names)
    return times(found.constants)
