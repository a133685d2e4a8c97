"""What engines add to their kernels, fitted to whole requests of one static batch.

Each measured deployment is priced once by its kernels; what they leave over is what the engine's constants explain:

    phase = D' + S (step + rank (r - 1)) + N sequence + max(launch L - D', 0),    D' = f (D - A) + a A

with D the device time of the kernels, A that of attention among them, S the steps, r the devices that share one, N the
sequences summed over the steps, L the kernels that no graph holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.calibration.borrowing import ROWS_A_CELL
from genz.calibration.cells import MIN_HELD_OUT, quantile_band
from genz.errors import GenZError
from genz.inference.evaluate import Outcome, evaluate
from genz.inference.phase import PhaseCost
from genz.inference.question import Question, settle_question
from genz.inference.uncertainty import interval, spread_of, together
from genz.measurements.holdout import is_held_out
from genz.numerics import total
from genz.specs.calibration import ANY_ENGINE
from genz.specs.engine import Engine
from genz.specs.hardware import Chip
from genz.specs.parallelism import distinct_stages
from genz.timing.kernels.runs import EngineConstants
from genz.validation.requests import NotAnsweredError, request_of
from genz.validation.whole_requests import DEPLOYMENT, QUEUEING

Array = npt.NDArray[np.float64]
METRICS = ("ttft_s", "tpot_s", "e2e_s")
PHASES = ("prefill", "decode")
PARTS = ("device", "attention", "steps", "sequences", "launches")


def components(rows: pd.DataFrame, *, fitted: bool = False) -> pd.DataFrame:
    """The rows of static batches that GenZ can price, each with what its phases are made of.

    Columns beside the rows' own: `hardware` is the chip's name in the catalog, `engine`, `format`, `measured_s`; for each
    phase `<phase>_<part>`; `output` tokens; and for each metric what is predicted now (`predicted_<metric>`) and by how much
    that may be shorter or longer by the spread of its parts (`down_<metric>`, `up_<metric>`) [s]. With `fitted` the engines'
    own constants count too; else only kernels do, as a fit of them needs it. Pipelines whose
    stages overlap are left out.
    """
    wanted = rows[rows["metric"].isin(METRICS) & (rows["load_kind"] == "static_batch")]
    found = []
    for positions in wanted.groupby(DEPLOYMENT, dropna=False, sort=False).indices.values():
        group = wanted.iloc[positions]
        priced = _priced(next(group.itertuples()), fitted=fitted)
        if priced is not None:
            found.append(group.assign(measured_s=group["value"], **priced))
    return pd.concat(found, ignore_index=True) if found else wanted.head(0)


def _priced(row: Any, *, fitted: bool) -> dict[str, Any] | None:
    try:
        asked = request_of(row).asked
        question = settle_question(**asked, fidelity="calibrated")
        outcome = evaluate(question if fitted else replace(question, engine=_unknown(question.engine)))
    except (NotAnsweredError, GenZError):
        return None
    ran_in_waves = question.engine.name in QUEUEING and not outcome.memory.fits
    if ran_in_waves or float(question.micro_batches) != 1:
        return None
    return {
        "hardware": question.platform.chip.name,
        "engine": question.engine.name,
        "format": question.widths.kernel_format(quantised=True, expert=True),
        "ranks": question.parallelism.tensor * question.parallelism.context,
        "output": question.workload.output_tokens,
        **dict(_parts("prefill", outcome.prefill, question)),
        **dict(_parts("decode", outcome.decode, question)),
        **dict(_spreads(outcome)),
    }


def _unknown(engine: Engine) -> Engine:
    """An engine of the same kernels that nothing was fitted to."""
    return engine.model_copy(update={"name": "unknown", "kernels_of": engine.kernels_of or engine.name})


def _spreads(outcome: Outcome) -> Iterator[tuple[str, float]]:
    """What is predicted of each metric, and the spread of its parts."""
    prefill, decode = spread_of(outcome.prefill), spread_of(outcome.decode)
    steps = max(float(outcome.decode.steps), 1.0)
    times = (
        ("ttft_s", outcome.ttft, prefill, 1.0),
        ("tpot_s", outcome.decode.time, decode, steps),
        ("e2e_s", outcome.e2e, together((prefill, decode)), 1.0),
    )
    for metric, time, spread, divisor in times:
        bounds = interval(time, spread)
        yield f"predicted_{metric}", float(time) / divisor
        yield f"down_{metric}", float(time - bounds.low) / divisor
        yield f"up_{metric}", float(bounds.high - time) / divisor


def request_factors(priced: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """{engine: {metric: factors}} by which spreads must be stretched to hold nine in ten of the rows held out.

    A row lies (measured - predicted) / up above its prediction, or as many downs below it; the factors are the quantiles of
    that, each one rank further out as in `quantile_band`. Models count alike, whatever the number of their rows.
    """
    rows = priced[is_held_out(ENGINE.shape_names(priced))]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for engine, group in [(ANY_ENGINE, rows), *rows.groupby("engine")]:
        for metric, part in group.groupby("metric"):
            if len(part) < MIN_HELD_OUT:
                continue
            low, high = quantile_band(_stretches(part, str(metric)))
            found.setdefault(str(engine), {})[str(metric).removesuffix("_s")] = {"down": -low, "up": high, "rows": len(part)}
    return found


def _stretches(rows: pd.DataFrame, metric: str) -> Array:
    off = (rows["measured_s"] - rows[f"predicted_{metric}"]).to_numpy(float)
    up, down = (np.maximum(rows[f"{side}_{metric}"].to_numpy(float), 1e-12) for side in ("up", "down"))
    stretch: Array = np.where(off > 0, off / up, off / down)
    cells = rows.groupby(["source", "hardware", "model"], sort=False).indices.values()
    draw = np.random.default_rng(0)
    return np.concatenate([stretch[draw.choice(cell, min(len(cell), ROWS_A_CELL), replace=False)] for cell in cells])


def _parts(phase: str, cost: PhaseCost, question: Question) -> Iterator[tuple[str, float]]:
    """What a phase is made of, over all stages of a pipeline: one works at a time, each with a host's time of its own."""
    stages = question.parallelism.pipeline
    distinct = len(distinct_stages(question.model, stages))
    listed = float(total([item.device_time for item in cost.operators]))
    # The operators are those of one device of each distinct stage; the phase's time counts the others, too.
    device = listed if distinct == stages else float(cost.time) - float(cost.host_time) * stages / distinct
    more = device / listed if listed else 1.0
    captured = phase in question.engine.overheads.captures
    attention = float(total([item.device_time for item in cost.operators if item.operator.category == "attention"]))
    calls = sum(float(item.calls) * item.operator.kernels for item in cost.operators)
    yield f"{phase}_device", device
    yield f"{phase}_attention", attention * more
    yield f"{phase}_steps", float(cost.steps) * stages
    yield (
        f"{phase}_sequences",
        float(question.requests_per_rank * question.workload.beams)
        * stages
        * (float(cost.steps) if phase == "decode" else 1.0),
    )
    yield f"{phase}_launches", 0.0 if captured else calls * more


class EngineFamily:
    """The family of what engines add: rows are those that `components` gives."""

    name = "engine"
    ops: tuple[str, ...] = METRICS
    constants: type = EngineConstants
    variants: tuple[str, ...] = ("",)

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """All rows that `components` gives can be answered."""
        return pd.Series("", index=rows.index)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """One cell for each engine and number format."""
        empty = pd.Series("", index=rows.index)
        return pd.DataFrame({"engine": rows["engine"], "version": empty, "format": rows["format"], "kernel": empty})

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """A deployment's model and workload: all metrics of it share its fate."""
        columns = ("model", "batch_or_concurrency", "input_tokens", "output_tokens", "n_devices")
        return ["|".join(map(str, values)) for values in zip(*(rows[c] for c in columns), strict=True)]

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:  # noqa: ARG002 (there is one variant)
        """Launches are seen only where some phase is not captured; a factor only where its phase was measured."""
        names = ["step", "sequence", "attention_factor"]
        if rows["ranks"].nunique() > 1:
            names.append("rank")
        metrics = set(rows["metric"])
        if metrics & {"ttft_s", "e2e_s"}:
            names.append("prompt_factor")
        if metrics & {"tpot_s", "e2e_s"}:
            names.append("decode_factor")
        if (rows["decode_launches"] > 0).any() or ("ttft_s" in metrics and (rows["prefill_launches"] > 0).any()):
            names.append("launch")
        return tuple(names)

    def times(self, rows: pd.DataFrame, chip: Chip, constants: EngineConstants, variant: str) -> Array:  # noqa: ARG002
        """TTFT, TPOT or E2E [s] of each row, as its `metric` says."""
        prefill, decode = (_phase_time(rows, phase, constants) for phase in PHASES)
        metric = rows["metric"].to_numpy(dtype=object)
        tokens = np.maximum(rows["output"].to_numpy(float) - 1, 1)
        return np.select([metric == "ttft_s", metric == "tpot_s"], [prefill, decode / tokens], prefill + decode)


def _phase_time(rows: pd.DataFrame, phase: str, constants: EngineConstants) -> Array:
    device, attention, steps, sequences, launches = (rows[f"{phase}_{part}"].to_numpy(float) for part in PARTS)
    factor = constants.prompt_factor if phase == "prefill" else constants.decode_factor
    busy = (device - attention) * factor + attention * constants.attention_factor
    waited = np.maximum(launches * constants.launch - busy, 0.0)
    a_step = constants.step + constants.rank * (rows["ranks"].to_numpy(float) - 1)
    return np.asarray(busy + steps * a_step + sequences * constants.sequence + waited)


ENGINE = EngineFamily()
