"""Rows that no chip can have run, and columns in the wrong unit: caught by physics.

A row is suspect only if it is faster than its multiplications at the chip's data-sheet rate and faster than its bytes from
the fastest memory that could hold them: less would be a matter of clocks, of sparsity or of a cache.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.errors import GenZError
from genz.measurements.demands import demands
from genz.measurements.positions import alike
from genz.specs import catalog
from genz.specs.hardware import Chip

Array = npt.NDArray[np.float64]
# Boost clocks lie up to a quarter above those that data sheets count with (an L40S: 2,520 of 2,040 MHz).
CLOCK_MARGIN = 1.25
# Work that is nothing but bytes may find part of them in a cache that could not hold all.
BYTES_MARGIN = 1.5
# Kernels seldom take more than this many times the bound of their shape, once they are larger than a launch.
USUAL_SLOWDOWN = 30.0
LAUNCH = 1e-5
# Fewer rows than this tell nothing about a column; larger shares of suspect rows, and of rows that beat either bound, do.
FEW_ROWS = 5
FEW_SUSPECTS = 0.05
FEW_BEYOND_BOUND = 0.3
_UNITS = (("nanoseconds", 1e9), ("microseconds", 1e6), ("milliseconds", 1e3))
SUSPECT = "faster than the chip can multiply, and than its fastest memory can deliver"
SUSPECT_TRANSFER = "faster than the chip's links can carry it"
# Bytes that each device has to send for a message, in the buffer's size, with n devices: at least.
_SENT: dict[str, Callable[[Array], Array]] = {
    # A switch that adds up takes each device's buffer once.
    "all_reduce": lambda n: (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "alltoall": lambda n: (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "send_recv": np.ones_like,
    "sendrecv": np.ones_like,
}


def judge_operators(rows: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Whether each row of the `ops` schema is faster than physics allows, and what the times say about their unit, in words.

    Rows of chips that are unknown, and of operators whose columns do not tell their work, are never suspect.
    """
    compute, memory = _bounds(rows)
    measured = rows["measured_s"].to_numpy(float)
    with np.errstate(invalid="ignore"):
        multiplying = (measured * CLOCK_MARGIN < compute) & (measured < memory)
        suspect = np.where(compute > 0, multiplying, measured * BYTES_MARGIN < memory)
    return suspect, _unit_warnings(rows, np.fmax(compute, memory), suspect)


def suspect_transfers(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether each row of the `collectives` schema is faster than the links of its chip, other networks being slower."""
    bound = np.full(len(rows), np.nan)
    for (hardware, collective), i in alike(rows, ["hardware", "collective"]):
        sent = _SENT.get(str(collective))
        try:
            link = catalog.chip(str(hardware)).links.get("scale_up")
        except GenZError:
            continue
        if sent is not None and link is not None:
            some = rows.iloc[i]
            bound[i] = some["message_bytes"].to_numpy(float) * sent(some["n_devices"].to_numpy(float)) / link.bandwidth
    with np.errstate(invalid="ignore"):
        return np.asarray(rows["measured_s"].to_numpy(float) * CLOCK_MARGIN < bound)


def ratio_warning(ratios: Array) -> str:
    """What a median of measured over predicted near a thousand, a million or a thousandth says about the unit, in words."""
    median = float(np.nanmedian(ratios)) if len(ratios) >= FEW_ROWS else 1.0
    for name, factor in _UNITS:
        if factor / 5 < median < factor * 5:
            return (
                f"the measured value looks like {name}: divide by {factor:,.0f} (the median is {median:,.0f} times predicted)"
            )
    return ""


def _unit_warnings(rows: pd.DataFrame, bound: Array, suspect: npt.NDArray[np.bool_]) -> list[str]:
    """What is wrong with the times of each source's operators; nothing where they make sense."""
    measured = rows["measured_s"].to_numpy(float)
    frame = rows[["source", "op"]].assign(
        bound=bound, ratio=measured / np.fmax(bound, LAUNCH), suspect=suspect, beyond=measured * BYTES_MARGIN < bound
    )
    found = []
    for (source, op), cell in frame[frame["bound"] > 0].groupby(["source", "op"], sort=True):
        if len(cell) >= FEW_ROWS:
            said = _verdict(cell)
            if said:
                found.append(f"{source}, {op}: {said}")
    return found


def _verdict(cell: pd.DataFrame) -> str:
    """What the median of measured over the shapes' bound, and the share of rows faster than it, come from."""
    slowdown, suspect, beyond = float(cell["ratio"].median()), float(cell["suspect"].mean()), float(cell["beyond"].mean())
    if suspect > FEW_SUSPECTS and slowdown * 100 < 1:
        return (
            f"{suspect:.0%} of the rows are faster than physics allows: is measured_s in seconds? "
            f"its values are {1 / slowdown:,.0f} times too small"
        )
    if suspect > FEW_SUSPECTS or beyond > FEW_BEYOND_BOUND:
        return (
            f"{max(suspect, beyond):.0%} of the rows are faster than physics allows: "
            "do the shapes count bytes where elements are due, or is measured_s in another unit?"
        )
    for name, factor in _UNITS:
        # A bound below a launch tells less: a small kernel may well take ten times its bound.
        is_long = float(cell["bound"].median()) > LAUNCH
        if slowdown > factor / USUAL_SLOWDOWN and slowdown > 100 and (is_long or slowdown > factor / 2):
            return (
                f"measured_s looks like {name}: divide by {factor:,.0f} (the median is {slowdown:,.0f} times the shapes' bound)"
            )
    return ""


def _bounds(rows: pd.DataFrame) -> tuple[Array, Array]:
    """Least seconds of multiplying, and of moving the bytes from the fastest level that could hold them."""
    demand = demands(rows)
    compute, memory = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    cells = pd.DataFrame({"hardware": rows["hardware"].to_numpy(dtype=object), "type": demand.matrix_type})
    for (hardware, matrix_type), i in alike(cells, ["hardware", "type"]):
        try:
            chip = catalog.chip(str(hardware))
        except GenZError:
            continue
        compute[i] = demand.flops[i] / multiply_rate(chip, str(matrix_type))
        memory[i] = demand.moved[i] / fastest_bandwidth(chip, demand.moved[i])
    return compute, memory


def multiply_rate(chip: Chip, data_type: str) -> float:
    """Data-sheet rate in a type, or the chip's fastest where it lacks the type [FLOP/s]."""
    rate = chip.multiply_rate(data_type) if data_type in chip.computable else max(chip.matrix_flops.values())
    return float(rate)


def fastest_bandwidth(chip: Chip, held: Array) -> Array:
    """Bandwidth of the fastest memory level that can hold so many bytes [B/s]."""
    fastest = np.full_like(held, float(chip.main_memory.bandwidth))
    for level in chip.memory.values():
        fastest = np.where(held <= level.capacity, np.maximum(fastest, level.bandwidth), fastest)
    return fastest
