"""Driver of AIConfigurator's compiled engine (`aiconfigurator-core`): one engine for each chip and tensor-parallel degree.

Measured twice over the same engines: one decode step of each point, and prefill with one decode step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from protocol import Sweep, measurement, points, read_sweep, report, structures, timed

MODEL = {"llama-3.1-70b": "meta-llama/Meta-Llama-3.1-70B"}
SYSTEM = {"a100-sxm-80gb": "a100_sxm", "h100-sxm": "h100_sxm", "h200": "h200_sxm", "b200": "b200_sxm"}
BACKEND = "vllm"


def main() -> None:
    """Measure."""
    logging.disable(logging.WARNING)
    sweep = read_sweep()
    _, load = timed(_import)
    engines, prepare = timed(lambda: _compile(sweep))
    found = []
    for name, outputs, latency in (
        ("AIConfigurator: decode_step_latency", "TPOT", _decode_step),
        ("AIConfigurator: run_static", "TTFT, TPOT", _static),
    ):
        refusals: dict[str, int] = {}
        tpot, first = timed(partial(_evaluate, sweep, engines, latency, refusals))
        _, again = timed(partial(_evaluate, sweep, engines, latency, {}))
        row = measurement(name, outputs, load=load, prepare=prepare, passes=[first, again], tpot_s=tpot, refusals=refusals)
        found.append(row)
    report(found)


def _import() -> None:
    import aiconfigurator_core.sdk.engine  # noqa: F401


def _compile(sweep: Sweep) -> list[Any]:
    from aiconfigurator_core.sdk.engine import EngineHandle

    model = MODEL[sweep["model"]]
    return [EngineHandle.compile(model, SYSTEM[chip["name"]], BACKEND, tp_size=tp) for chip, tp in structures(sweep)]


def _decode_step(engine: Any, batch: int, context: int) -> float:
    """The step that writes token context + 1 [ms]; the engine takes it at `isl + osl // 2 + 1`."""
    latency: float = engine.decode_step_latency(batch, context, 0)
    return latency


def _static(engine: Any, batch: int, context: int) -> float:
    """The one decode step behind a prefill [ms]."""
    _, decode, _ = engine.run_static(batch_size=batch, isl=context, osl=2)
    latency: float = decode
    return latency


def _evaluate(
    sweep: Sweep, engines: list[Any], latency: Callable[[Any, int, int], float], refusals: dict[str, int]
) -> list[float | None]:
    found: list[float | None] = []
    for engine in engines:
        for batch, context in points(sweep):
            try:
                found.append(latency(engine, batch, context) / 1e3)
            except (ValueError, RuntimeError) as error:  # the engine has no data for it
                refusals[str(error)] = refusals.get(str(error), 0) + 1
                found.append(None)
    return found


if __name__ == "__main__":
    main()
