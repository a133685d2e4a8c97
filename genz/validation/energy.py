"""Power and energy of measured runs, as terms of the power model: static batches, and engines that are always full.

A full engine finishes `batch` answers in batch x output / throughput seconds, and meanwhile reads as many prompts: the work
of one batch in the time that the measured throughput leaves it. So power can be tested apart from time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from genz.errors import GenZError, UnknownNameError
from genz.inference.evaluate import Outcome, evaluate
from genz.inference.phase import PhaseCost
from genz.inference.question import settle_question
from genz.measurements.power import PowerRows, above_idle, shares, technology_terms
from genz.specs import catalog
from genz.specs.engine import Engine
from genz.timing.kernels.power import PowerConstants
from genz.validation.requests import (
    STATIC,
    UNSTATED_OUTPUT,
    UNSTATED_PROMPT,
    NotAnsweredError,
    chip_of,
    layout_of,
    platform_of,
)
from genz.validation.sources import known_sources

FULL = "saturated"
# Where a benchmark of chats and code does not tell the length of its prompts: some 250 tokens is usual (ShareGPT's mean).
UNSTATED_CHAT = 256
# What releases of one architecture are told apart by, behind its name.
_RELEASES = ("-FP8", "-2507", "-Thinking", "-Instruct", "-hf")
# A launch from eager Python takes longer than this [s]; from an engine's loop, less (see their files).
EAGER_LAUNCH = 2e-5
_POWER = ("avg_gpu_power_w_gpu0", "avg_gpu_power_w_total", "avg_power_frac_tdp", "gpu_energy_j_batch", "joules_per_request")
_ENERGY = (*_POWER, "joules_per_output_token")
_DEPLOYMENT = ("source", "hardware", "model", "framework", "weight_dtype")
_COLUMNS = (*_DEPLOYMENT, "load_kind", "mode", "notes")
_NUMBERS = ("n_devices", "tp", "pp", "ep", "dp", "batch_or_concurrency", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class EnergyRuns:
    """Runs whose power was measured: `rows` with `seconds`, `predicted_seconds`, `tokens` and `devices` beside the terms.

    `not_answered` counts the others by reason.
    """

    rows: PowerRows
    not_answered: dict[str, int]

    def energy_per_token(self, constants: dict[str, PowerConstants]) -> pd.DataFrame:
        """Measured and predicted energy per output token [J] of each run, by constants for each chip.

        `in_measured_time` takes the run's time as measured, `in_predicted_time` as GenZ predicts it.
        """
        frame = self.rows.frame
        found = frame[["chip", "source", "format", "shape"]].assign(measured=np.nan, in_measured_time=np.nan)
        for chip, positions in frame.groupby("chip").indices.items():
            some = frame.iloc[positions]
            scale = (some["devices"] / some["tokens"]).to_numpy(float)
            time, predicted_time = (some[name].to_numpy(float) for name in ("seconds", "predicted_seconds"))
            rows = PowerRows(some)
            there = found.index[positions]
            found.loc[there, "measured"] = rows.measured * time * scale
            found.loc[there, "in_measured_time"] = rows.predicted(constants[str(chip)]) * time * scale
            retimed = PowerRows(_retimed(some, time / predicted_time))
            found.loc[there, "in_predicted_time"] = retimed.predicted(constants[str(chip)]) * predicted_time * scale
        return found


def energy_runs(table: pd.DataFrame, *, fidelity: str = "engine") -> EnergyRuns:
    """Every run of the `e2e` schema whose accelerators' power was measured, with `record_id` telling runs apart."""
    found: list[pd.DataFrame] = []
    reasons: Counter[str] = Counter()
    known: dict[tuple[Any, ...], Outcome | str] = {}
    for run in _runs(table):
        try:
            found.append(_terms(run, fidelity, known))
        except (NotAnsweredError, GenZError) as error:
            reasons[str(error).split(";")[0]] += 1
    frame = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["measured", "chip"])
    return EnergyRuns(PowerRows(frame), dict(reasons.most_common()))


def _runs(table: pd.DataFrame) -> Iterator[SimpleNamespace]:
    """One record for each run: its columns, and its metrics by name."""
    wanted = table["record_id"].isin(table.loc[table["metric"].isin(_ENERGY), "record_id"])
    rows = table[wanted]
    metrics = rows.pivot_table(index="record_id", columns="metric", values="value", aggfunc="first")
    described = rows.drop_duplicates("record_id").set_index("record_id").reindex(columns=[*_COLUMNS, *_NUMBERS])
    described[list(_NUMBERS)] = described[list(_NUMBERS)].astype(float)
    for row, (_, values) in zip(described.itertuples(index=False), metrics.reindex(described.index).iterrows(), strict=True):
        yield SimpleNamespace(**dict(zip(described.columns, row, strict=True)), metrics=values.dropna().to_dict())


def _terms(run: SimpleNamespace, fidelity: str, known: dict[tuple[Any, ...], Outcome | str]) -> pd.DataFrame:
    """The run as one row of terms. Raises `NotAnsweredError` or `GenZError`."""
    seconds, batch, output = _time(run)
    outcome = _outcome(run, batch, output, fidelity, known)
    chip, devices = outcome.question.platform.chip, outcome.question.platform.devices
    watts = _watts(run.metrics, seconds, outcome)
    if not above_idle(np.array([watts]), chip.power.idle)[0]:
        raise NotAnsweredError("its power is no more than idle power")
    frame = _work_terms(outcome, seconds)
    return frame.assign(
        measured=watts,
        chip=chip.name,
        source=run.source,
        format=run.weight_dtype,
        shape=f"{run.model}x{batch}x{run.input_tokens:g}x{output}",
        seconds=seconds,
        predicted_seconds=float(outcome.e2e),
        tokens=float(batch * output),
        devices=float(devices),
        is_captured=_keeps_device_busy(outcome.question.engine),
    )


def _keeps_device_busy(engine: Engine) -> bool:
    """Whether graphs, or a host that is quick to launch kernels, keep the device from waiting for each of them."""
    return bool(engine.overheads.captures) or engine.overheads.host_launch < EAGER_LAUNCH


def _time(run: SimpleNamespace) -> tuple[float, int, int]:
    """Seconds that a batch took, its requests, and output tokens of each."""
    batch = _count(run.batch_or_concurrency, 1)
    output = _count(run.output_tokens, UNSTATED_OUTPUT)
    if FULL in str(run.load_kind):
        rate = run.metrics.get("output_tok_per_s")
        if not rate:
            raise NotAnsweredError("measured under load without a throughput")
        return batch * output / rate, batch, output
    if run.load_kind != STATIC:
        raise NotAnsweredError(f"measured under load ({run.load_kind}), which GenZ does not simulate")
    seconds = run.metrics.get("e2e_s")
    if not seconds:
        raise NotAnsweredError("without the time of the whole run")
    return float(seconds), batch, output


def _watts(metrics: dict[str, float], seconds: float, outcome: Outcome) -> float:
    """Mean power of a device [W], from whichever figure the run has."""
    platform, workload = outcome.question.platform, outcome.question.workload
    device_seconds = seconds * platform.devices
    factors = {
        "avg_gpu_power_w_gpu0": 1.0,
        "avg_gpu_power_w_total": 1 / platform.devices,
        "avg_power_frac_tdp": platform.chip.power.tdp,
        "gpu_energy_j_batch": 1 / device_seconds,
        "joules_per_request": workload.batch / device_seconds,
        "joules_per_output_token": workload.batch * workload.output_tokens / device_seconds,
    }
    return float(next(metrics[name] * factor for name, factor in factors.items() if name in metrics))


def _outcome(
    run: SimpleNamespace, batch: int, output: int, fidelity: str, known: dict[tuple[Any, ...], Outcome | str]
) -> Outcome:
    """What GenZ predicts for the run; repeats of a run are predicted once."""
    full = FULL in str(run.load_kind)
    prompt = _count(run.input_tokens, UNSTATED_CHAT if full else UNSTATED_PROMPT)
    deployment = [str(getattr(run, name)) for name in (*_DEPLOYMENT, "n_devices", "tp", "pp", "ep", "dp")]
    key = (*deployment, batch, prompt, output)
    if key not in known:
        try:
            known[key] = _predicted(run, batch, prompt, output, fidelity)
        except (NotAnsweredError, GenZError) as error:
            known[key] = str(error)
    found = known[key]
    if isinstance(found, str):
        raise NotAnsweredError(found)
    return found


def _predicted(run: SimpleNamespace, batch: int, prompt: int, output: int, fidelity: str) -> Outcome:
    names = known_sources()
    source = names.of(run.source)
    engine = catalog.engine(names.engine(str(run.framework))).name
    devices, degrees = layout_of(_with_replicas(run), source, engine)
    if degrees.get("pp", 1) > 1:
        raise NotAnsweredError("devices that work in turn")
    asked: dict[str, Any] = {"batch": batch, "engine": engine, "fidelity": fidelity, **degrees}
    question = settle_question(
        _model_name(names.model(run.model)),
        platform_of(chip_of(run.hardware, source), devices),
        input=max(prompt, 1),
        output=max(output, 2),
        precision=names.precision(run.weight_dtype) if isinstance(run.weight_dtype, str) else "auto",
        max_model_len=max(prompt, 1) + max(output, 2),
        **asked,
    )
    return evaluate(question)


def _with_replicas(run: SimpleNamespace) -> SimpleNamespace:
    """Devices that share experts, and hold no slices of attention, have a replica of it each, whatever a table calls that."""
    tensor = 1.0 if np.isnan(run.tp) else run.tp
    shares_experts = not np.isnan(run.ep) and run.ep == run.n_devices > tensor
    return SimpleNamespace(**{**vars(run), "dp": run.n_devices / tensor}) if shares_experts else run


def _model_name(name: str) -> str:
    """The name that the catalog has for the architecture of a release. Raises `UnknownNameError` for the name as it is."""
    shorter = name
    for ending in ("", *_RELEASES):
        shorter = shorter.removesuffix(ending)
        try:
            return catalog.model(shorter).name
        except UnknownNameError:
            continue
    return catalog.model(name).name


def _work_terms(outcome: Outcome, seconds: float) -> pd.DataFrame:
    """Watts of the work on one device, by the prices of technologies, and the shares of its time."""
    phases = (outcome.prefill, outcome.decode)
    chip = outcome.question.platform.chip
    flops: dict[str, Any] = {}
    for phase in phases:
        for data_type, amount in _flops(phase).items():
            flops[data_type] = flops.get(data_type, np.zeros(1)) + amount / seconds
    moved = np.array([sum(float(phase.memory_bytes) for phase in phases) / seconds])
    frame = technology_terms(chip, flops, moved, np.zeros(1))
    spent = sum(float(cost.energy) for phase in phases for cost in phase.operators) / seconds
    frame["fixed"] = np.maximum(spent - frame[["flop", "flop_8", "flop_4", "byte"]].sum(axis=1), 0.0)
    device_time = sum(float(phase.device_time) for phase in phases)
    frame["busy"] = shares(np.array([device_time]), np.array([seconds]))
    frame["in_experts"] = shares(np.array([sum(_expert_time(phase) for phase in phases)]), np.array([seconds]))
    return frame


def _flops(phase: PhaseCost) -> dict[str, float]:
    """FLOPs of matrix units by data type."""
    found: dict[str, float] = {}
    for cost in phase.operators:
        data_type = cost.operator.runs[0].first.matrix_type
        if data_type is not None:
            found[data_type] = found.get(data_type, 0.0) + float(cost.matrix_flops)
    return found


def _expert_time(phase: PhaseCost) -> float:
    """Seconds in kernels of experts."""
    return sum(float(cost.device_time) for cost in phase.operators if cost.operator.category == "experts")


def _retimed(frame: pd.DataFrame, faster: Any) -> pd.DataFrame:
    """The same work in another time: `faster` is the measured over the new one."""
    watts = {name: frame[name] * faster for name in ("flop", "flop_8", "flop_4", "byte", "fixed")}
    spans = {name: np.minimum(frame[name] * faster, 1.0) for name in ("busy", "in_experts")}
    return frame.assign(**watts, **spans)


def _count(value: float, default: int) -> int:
    return default if np.isnan(value) else round(value)
