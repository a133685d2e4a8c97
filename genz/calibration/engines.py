"""What engines add to their kernels, fitted to whole requests of one static batch.

Each measured deployment is priced once by its kernels; what they leave over is what the engine's constants explain:

    phase = f D + S step + N sequence + max(launch L - f D, 0)

with D the device time of the kernels, S the steps, N the sequences summed over the steps, L the kernels that no graph holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.errors import GenZError
from genz.inference.evaluate import evaluate
from genz.inference.phase import PhaseCost
from genz.inference.question import Question, settle_question
from genz.numerics import total
from genz.specs.hardware import Chip
from genz.timing.kernels.runs import EngineConstants
from genz.validation.requests import NotAnsweredError, request_of
from genz.validation.whole_requests import DEPLOYMENT

Array = npt.NDArray[np.float64]
METRICS = ("ttft_s", "tpot_s", "e2e_s")
PHASES = ("prefill", "decode")
PARTS = ("device", "steps", "sequences", "launches")


def components(rows: pd.DataFrame, fidelity: str = "calibrated") -> pd.DataFrame:
    """The rows of static batches that GenZ can price, each with what its phases are made of.

    Columns beside the rows' own: `chip`, `engine`, `format`, and for each phase `<phase>_<part>`; `output` tokens.
    """
    wanted = rows[rows["metric"].isin(METRICS) & (rows["load_kind"] == "static_batch")]
    found = []
    for positions in wanted.groupby(DEPLOYMENT, dropna=False, sort=False).indices.values():
        group = wanted.iloc[positions]
        priced = _priced(next(group.itertuples()), fidelity)
        if priced is not None:
            found.append(group.assign(**priced))
    return pd.concat(found, ignore_index=True) if found else wanted.head(0)


def _priced(row: Any, fidelity: str) -> dict[str, Any] | None:
    try:
        asked = request_of(row).asked
        question = settle_question(**asked, fidelity=fidelity)
        outcome = evaluate(question)
    except (NotAnsweredError, GenZError):
        return None
    return {
        "chip": question.platform.chip.name,
        "hardware": question.platform.chip.name,
        "engine": question.engine.name,
        "format": question.widths.kernel_format(quantised=True, expert=True),
        "output": question.workload.output_tokens,
        "measured_s": row.value,
        **dict(_parts("prefill", outcome.prefill, question)),
        **dict(_parts("decode", outcome.decode, question)),
    }


def _parts(phase: str, cost: PhaseCost, question: Question) -> Iterator[tuple[str, float]]:
    steps = float(cost.steps) * float(question.micro_batches)
    sequences = float(question.requests_per_micro_batch * question.workload.beams) * float(question.micro_batches)
    captured = phase in question.engine.overheads.captures
    yield f"{phase}_device", float(total([item.device_time for item in cost.operators]))
    yield f"{phase}_steps", steps
    yield f"{phase}_sequences", sequences * (float(cost.steps) if phase == "decode" else 1.0)
    calls = sum(float(item.calls) * item.operator.kernels for item in cost.operators)
    yield f"{phase}_launches", 0.0 if captured else calls


class EngineFamily:
    """The family of what engines add: rows are those that `components` gives."""

    name = "engine"
    ops: tuple[str, ...] = METRICS
    constants = EngineConstants
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
        names = ["step", "sequence"]
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
    device, steps, sequences, launches = (rows[f"{phase}_{part}"].to_numpy(float) for part in PARTS)
    busy = device * (constants.prompt_factor if phase == "prefill" else constants.decode_factor)
    waited = np.maximum(launches * constants.launch - busy, 0.0)
    return np.asarray(busy + steps * constants.step + sequences * constants.sequence + waited)


ENGINE = EngineFamily()
