"""Energy calibrations from measured power: of kernels, of whole runs, or of both together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.calibration.cells import Score
from genz.calibration.fitting import Fitted, fit
from genz.energy import energy_constants, scaled
from genz.measurements.holdout import is_held_out
from genz.measurements.power import PowerRows, kernel_rows, low_readings
from genz.specs import catalog
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.power import PowerConstants
from genz.validation.energy import energy_runs

Array = npt.NDArray[np.float64]
# Fewer rows than this cannot tell constants apart.
MIN_ROWS = 20
# Kernels near the limit say only that they reach it: so many rows below this share of it identify energies.
BELOW_LIMIT, MIN_BELOW = 0.95, 3
_NARROW = ("flop_8", "flop_4")
# Power at work, per FLOP and per byte trade off in most data, so technologies keep a say however many rows there are: a unit
# of log away from them weighs as much as this residual in every row.
PULL = 0.03


@dataclass(frozen=True)
class FittedPower:
    """Constants of one chip, with scores of rows held out (all of them, low readings too) by source and format."""

    chip: str
    fitted: Fitted
    rows: dict[str, int]
    held_out: dict[str, Score]
    all_rows: dict[str, Score]
    trusted: dict[str, Score]
    band: tuple[float, float]


def power_rows(ops: pd.DataFrame | None, e2e: pd.DataFrame | None, *, fidelity: str = "engine") -> PowerRows:
    """Kernels and runs of the tidy tables whose power was measured, by one model's terms.

    `fidelity` is that of the times which tell for how long a run kept its devices busy.
    """
    parts = [] if ops is None else [kernel_rows(ops).frame.assign(is_run=False, is_captured=True)]
    if e2e is not None:
        parts.append(energy_runs(e2e, fidelity=fidelity).rows.frame.assign(is_run=True))
    filled = [part for part in parts if len(part)]
    return PowerRows(pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=["chip", "measured", "is_run"]))


def fit_power(rows: PowerRows) -> list[FittedPower]:
    """Constants for each chip that has rows enough.

    Left out of the fit, not of the scores, are low readings of kernels, and runs of engines that capture no launches: what
    their devices do between kernels is no matter of power.
    """
    low = low_readings(PowerRows(rows.frame[~rows.frame["is_run"].astype(bool)]))
    is_low = np.zeros(len(rows.frame), dtype=bool)
    is_low[~rows.frame["is_run"].to_numpy(bool)] = low
    frame = rows.frame.assign(is_low=is_low, is_held_out=is_held_out(rows.frame["shape"]))
    return [found for _, group in frame.groupby("chip", sort=True) if (found := _fit_chip(group)) is not None]


def _fit_chip(frame: pd.DataFrame) -> FittedPower | None:
    train = frame[~frame["is_held_out"] & ~frame["is_low"] & frame["is_captured"]]
    if len(train) < MIN_ROWS:
        return None
    rows = PowerRows(train)
    pull = PULL * float(np.sqrt(len(train)))
    fitted = fit(rows.predicted, rows.measured, PowerConstants(), _free(train), weights=_weights(train), pull=pull)
    held = PowerRows(frame[frame["is_held_out"]])
    residuals = np.log(held.measured / held.predicted(fitted.constants)) if len(held.frame) else np.zeros(1)
    return FittedPower(
        chip=str(frame["chip"].iloc[0]),
        fitted=fitted,
        rows={str(name): len(group) for name, group in train.groupby("source", sort=True)},
        held_out=dict(_scores(held, fitted.constants)),
        all_rows=dict(_scores(PowerRows(frame), fitted.constants)),
        trusted=dict(_scores(PowerRows(frame[~frame["is_low"]]), fitted.constants)),
        band=(float(np.quantile(residuals, 0.05)), float(np.quantile(residuals, 0.95))),
    )


def _free(frame: pd.DataFrame) -> list[str]:
    """Constants that the rows can identify: kernels at the limit tell where it is held, those below what a FLOP takes.

    What is drawn while waiting keeps its prior: left free it comes to 0.31 to 0.40 on three chips, and on one on which the
    time of runs is not understood it takes up what has other causes.
    """
    names = ["active", "flop", "byte"]
    kernels = frame[~frame["is_run"]]
    if (frame["in_experts"] > 0).sum() >= MIN_ROWS:
        names.append("experts")
    share = kernels["measured"] / kernels["limit"]
    if (share > BELOW_LIMIT).sum() >= MIN_ROWS:
        names.append("held")
    dense = kernels[kernels["in_experts"] == 0]
    below = dense[dense["measured"] < BELOW_LIMIT * dense["limit"]]
    names += [name for name in _NARROW if (below[name] > 0).sum() >= MIN_BELOW]
    return names


def _weights(frame: pd.DataFrame) -> Array:
    """Rows of a source and format weigh the less the more there are: by the square root of their number all together."""
    size = frame.groupby(["source", frame["format"].fillna("")])["measured"].transform("size")
    return np.asarray(1 / np.sqrt(size.to_numpy(float)), dtype=float)


def _scores(rows: PowerRows, constants: PowerConstants) -> Iterator[tuple[str, Score]]:
    groups = rows.frame.groupby([rows.frame["source"], rows.frame["format"].fillna("")], sort=True)
    for names, group in groups:
        some = PowerRows(group)
        yield " ".join(str(name) for name in names if name), Score.of(some.predicted(constants), some.measured)


def write_power(found: Sequence[FittedPower], out: Path, *, record: dict[str, Any]) -> list[Path]:
    """Write `<out>/energy/<chip>.yaml` for each chip; `record` says on what they were fitted. Returns the files."""
    from genz.calibration.files import write_yaml

    written = []
    for chip in found:
        path = out / "energy" / f"{chip.chip}.yaml"
        write_yaml(_document(chip, record), path)
        written.append(path)
    return written


def _document(found: FittedPower, record: dict[str, Any]) -> dict[str, Any]:
    errors = found.fitted.errors
    values = asdict(found.fitted.constants)
    return {
        "chip": found.chip,
        "fit": record,
        "rows": found.rows,
        "definitions": {
            d.name: {"unit": d.unit, "low": d.low, "high": d.high, "meaning": d.meaning} for d in definitions(PowerConstants)
        },
        "constants": {
            name: {
                "value": _digits(value),
                **({"error": _digits(errors[name], 2)} if np.isfinite(errors.get(name, np.inf)) else {}),
            }
            for name, value in values.items()
        },
        "on_bounds": list(found.fitted.on_bounds),
        "figures": {name: _digits(value) for name, value in figures(found.chip, found.fitted.constants).items()},
        "held_out": {name: _score(score) for name, score in found.held_out.items()},
        "band": [_digits(edge, 3) for edge in found.band],
    }


def figures(chip: str, constants: PowerConstants) -> dict[str, float]:
    """What constants come to on a chip: watts, joules per FLOP of its matrix types, joules per byte of its main memory."""
    platform = catalog.platform_of(catalog.chip(chip), 1)
    known = scaled(energy_constants(platform), constants, platform)
    per_flop = {f"{name}_joules_per_flop": known.per_flop[name] for name in platform.chip.matrix_flops}
    return {
        "idle_watts": platform.chip.power.idle,
        "active_watts": known.active,
        "experts_watts": known.experts,
        **per_flop,
        "main_memory_joules_per_byte": known.per_level[0],
    }


def _score(score: Score) -> dict[str, float | int]:
    return {name: value if name == "rows" else _digits(value, 3) for name, value in asdict(score).items()}


def _digits(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")
