"""Driver of this GenZ: the sweep as arrays, by `genz.sweep`, and point by point. The way is the argument."""

from __future__ import annotations

import sys
from typing import Any

from protocol import Sweep, measurement, points, read_sweep, report, structures, timed

OUTPUTS = "TTFT, TPOT, energy, power, memory"
# A decode step is what a second output token takes.
OUTPUT_TOKENS = 2
NOTHING = {"wall_s": 0.0, "cpu_s": 0.0}


def main() -> None:
    """Measure one way: "arrays", "sweep" or "predict"; and a fidelity."""
    way, fidelity = sys.argv[1:3]
    sweep = read_sweep()
    _, load = timed(_import)
    report([_WAYS[way](sweep, fidelity, load)])


def _import() -> None:
    import genz

    genz.evaluate, genz.predict  # noqa: B018 (names are loaded when they are first used)


def _settle(sweep: Sweep, fidelity: str) -> list[Any]:
    """A question for each chip and tensor-parallel degree."""
    import genz

    return [
        genz.settle_question(
            sweep["model"],
            f"{tp}x {chip['name']}",
            tp=tp,
            batch=sweep["batches"][0],
            input=sweep["contexts"][0],
            output=OUTPUT_TOKENS,
            fidelity=fidelity,
        )
        for chip, tp in structures(sweep)
    ]


def _arrays(sweep: Sweep, fidelity: str, load: dict[str, float]) -> dict[str, Any]:
    """One evaluation for each chip and degree, batches and contexts an open mesh."""
    import numpy as np

    import genz

    questions, prepare = timed(lambda: _settle(sweep, fidelity))
    batch, context = np.ix_(np.asarray(sweep["batches"], float), np.asarray(sweep["contexts"], float))

    def evaluate() -> list[tuple[Any, ...]]:
        outcomes = [genz.evaluate(question.with_workload(batch=batch, input_tokens=context)) for question in questions]
        return [(o.tpot, o.ttft, o.energy, o.power, o.memory.total_bytes, o.memory.fits) for o in outcomes]

    found, passes = _repeated(evaluate)
    whole = (len(sweep["batches"]), len(sweep["contexts"]))
    times = np.concatenate([np.broadcast_to(outcome[0], whole).ravel() for outcome in found])
    fits = np.concatenate([np.broadcast_to(outcome[-1], whole).ravel() for outcome in found])
    tpot = [float(seconds) if held else None for seconds, held in zip(times, fits, strict=True)]
    return _row(f"GenZ: arrays, {fidelity}", load, prepare, passes, tpot)


def _sweep(sweep: Sweep, fidelity: str, load: dict[str, float]) -> dict[str, Any]:
    """One `genz.sweep`: a frame of every metric, and of what binds each phase."""
    import genz

    def evaluate() -> Any:
        return genz.sweep(
            model=sweep["model"],
            chip=[chip["name"] for chip in sweep["chips"]],
            devices=sweep["tp"],
            tp=sweep["tp"],
            batch=sweep["batches"],
            input=sweep["contexts"],
            output=OUTPUT_TOKENS,
            fidelity=fidelity,
            zip=[("devices", "tp")],
        )

    frame, passes = _repeated(evaluate)
    by_point = frame.set_index(["chip", "tp", "batch", "input"])[["feasible", "tpot_s"]].to_dict("index")
    asked = [by_point[chip["name"], tp, *point] for chip, tp in structures(sweep) for point in points(sweep)]
    tpot = [float(row["tpot_s"]) if row["feasible"] else None for row in asked]
    return _row(f"GenZ: sweep, {fidelity}", load, NOTHING, passes, tpot, outputs="all metrics, bounds, as a frame")


def _predict(sweep: Sweep, fidelity: str, load: dict[str, float]) -> dict[str, Any]:
    """One `genz.predict` a point, from names to an answer."""
    import genz

    def evaluate() -> list[float | None]:
        return [
            _predicted(genz, sweep["model"], f"{tp}x {chip['name']}", tp, batch, context, fidelity)
            for chip, tp in structures(sweep)
            for batch, context in points(sweep)
        ]

    tpot, passes = _repeated(evaluate, again=1)
    return _row(f"GenZ: predict, {fidelity}", load, NOTHING, passes, tpot)


def _predicted(genz: Any, model: str, platform: str, tp: int, batch: int, context: int, fidelity: str) -> float | None:
    try:
        answer = genz.predict(model, platform, tp=tp, batch=batch, input=context, output=OUTPUT_TOKENS, fidelity=fidelity)
    except genz.DoesNotFitError:
        return None
    _ = answer.ttft, answer.energy, answer.power
    return float(answer.tpot)


def _repeated(evaluate: Any, again: int = 5) -> tuple[Any, list[dict[str, float]]]:
    """What an evaluation returns, and the seconds of its first pass and of those that follow."""
    found, first = timed(evaluate)
    return found, [first, *(timed(evaluate)[1] for _ in range(again))]


def _row(
    name: str,
    load: dict[str, float],
    prepare: dict[str, float],
    passes: list[dict[str, float]],
    tpot: list[float | None],
    *,
    outputs: str = OUTPUTS,
) -> dict[str, Any]:
    missing = sum(seconds is None for seconds in tpot)
    return measurement(
        name,
        outputs,
        load=load,
        prepare=prepare,
        passes=passes,
        tpot_s=tpot,
        refusals={"does not fit": missing} if missing else {},
    )


_WAYS = {"arrays": _arrays, "sweep": _sweep, "predict": _predict}


if __name__ == "__main__":
    main()
