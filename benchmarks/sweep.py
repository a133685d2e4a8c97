"""How many configurations a second a sweep prices, all of its figures included, and how much memory it takes.

    python benchmarks/sweep.py [--json] [--rows 10000000] [--fidelity roofline] [--model llama-3-70b] [--workers 2]

An open mesh over batch, context, tensor parallelism, memory bandwidth and FLOP/s, streamed to Parquet by one process on one
core, each setting in a process of its own; then the first setting once more on local Dask workers, as a ratio to one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MODELS = {"llama-3-70b": "8x h100-sxm", "deepseek-v3": "8x h200"}
TARGETS: dict[str, int | None] = {"roofline": 1_000_000, "engine": None, "calibrated": 200_000}
MOST_MEMORY = 4 * 2**30
WORKERS, SPEEDUP = 2, 1.7
TENSOR = [1, 2, 4, 8]
# Memory of a chip: so large that every row fits, as rows that do not are priced no further.
ROOM = "8 TB"
# Values of the two hardware axes, each; the workload axes take what is left of the rows, evenly.
HARDWARE = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--fidelity", choices=TARGETS, action="append")
    parser.add_argument("--workers", type=int, default=WORKERS, help="local Dask workers; 0 for none")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        print(json.dumps(run(**json.loads(asked.run))))
        return
    settings = [
        {"model": model, "fidelity": fidelity, "rows": asked.rows}
        for model in asked.model or MODELS
        for fidelity in asked.fidelity or TARGETS
    ]
    results = [measured(setting) for setting in settings]
    scaled = measured({**settings[0], "workers": asked.workers}) if asked.workers else None
    if asked.json:
        print(json.dumps({"results": results, "dask": scaled and {**scaled, "speedup": speedup(scaled, results[0])}}, indent=2))
        return
    for result in results:
        print(line(result))
    if scaled:
        ratio = speedup(scaled, results[0])
        verdict = "kept" if ratio >= SPEEDUP else "MISSED"
        print(f"{asked.workers} Dask workers, first setting: {ratio:.2f} x one process (target {SPEEDUP} x: {verdict})")


def speedup(scaled: dict[str, Any], alone: dict[str, Any]) -> float:
    """Time of one process over that of the workers, without the start of either."""
    return scaled["configurations_per_second"] / alone["configurations_per_second"]


def line(result: dict[str, Any]) -> str:
    """A setting in words."""
    setting, rate = result["setting"], result["configurations_per_second"]
    target, memory = TARGETS[setting["fidelity"]], result["peak_rss_bytes"]
    verdict = "" if target is None else f", target {target:,}: {'kept' if rate >= target else 'MISSED'}"
    held = "" if memory < MOST_MEMORY else ", MISSED"
    return (
        f"{setting['model']:12s} {setting['fidelity']:10s} {setting['rows']:,} rows, {result['feasible_share']:.0%} feasible: "
        f"{rate:,.0f}/s written{verdict}; "
        f"{result['evaluated_per_second']:,.0f}/s priced alone; peak memory {memory / 2**30:.2f} GiB{held}"
    )


def measured(setting: dict[str, Any]) -> dict[str, Any]:
    """One setting in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--run", json.dumps(setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run(model: str, fidelity: str, rows: int, workers: int | None = None) -> dict[str, Any]:
    """Price a mesh of about `rows` configurations into a folder that is thrown away."""
    import pyarrow as pa

    import genz

    if not workers and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    side = round(math.sqrt(rows / (len(TENSOR) * HARDWARE**2)))
    hardware = {"from": 0.5, "to": 2.0, "count": HARDWARE}
    study = {
        "model": model,
        "platform": MODELS[model],
        "fidelity": fidelity,
        "output": 256,
        "tp": TENSOR,
        "batch": {"from": 8, "to": 8 * side, "step": 8},
        "input": {"from": 64, "to": 64 * side, "step": 64},
        "axes": {
            "chip.main_memory.bandwidth": {"times": hardware},
            "chip.matrix_flops.*": {"times": hardware},
            "chip.main_memory.capacity": ROOM,
        },
        "max_configurations": 10 * rows,
    }
    small = {**study, "batch": [8, 16], "input": [64, 128]}
    with tempfile.TemporaryDirectory() as folder, cluster(workers) as address:
        # Specifications are read and formulas are warm, on every worker.
        genz.sweep(**small, out=Path(folder) / "warm", scheduler=address, rows_per_file=2**11)
        start = time.process_time()
        written = genz.sweep(**study, out=Path(folder) / "out", scheduler=address)
        processor = time.process_time() - start
        feasible = written.feasible() / written.rows
    configurations = written.rows
    return {
        "feasible_share": feasible,
        "configurations_per_second": configurations / written.seconds,
        "configurations_per_processor_second": None if workers else configurations / processor,
        "evaluated_per_second": None if workers else evaluated(model, fidelity, study),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": written.seconds,
        "setting": {
            "model": model,
            "platform": MODELS[model],
            "fidelity": fidelity,
            "rows": configurations,
            "workers": workers,
        },
    }


@contextmanager
def cluster(workers: int | None) -> Iterator[str | None]:
    """The address of a local Dask cluster of so many workers; none where there are none."""
    if not workers:
        yield None
        return
    import dask
    from distributed import LocalCluster

    from genz.explore.distributed import ALLOCATOR, ENVIRONMENT

    with (
        dask.config.set({ENVIRONMENT: {**dask.config.get(ENVIRONMENT), **ALLOCATOR}}),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as local,
    ):
        yield local.scheduler_address


def evaluated(model: str, fidelity: str, study: dict[str, Any]) -> float:
    """Configurations a second of the formulas alone: TTFT, TPOT, energy, memory and bounds, without table and file."""
    import numpy as np

    import genz

    batch, context = np.arange(8.0, 72.0, 8).reshape(-1, 1, 1, 1), np.arange(64.0, 576.0, 64).reshape(1, -1, 1, 1)
    question = genz.settle_question(model, MODELS[model], tp=8, input=64, output=study["output"], fidelity=fidelity)
    times, chip = np.linspace(0.5, 2.0, HARDWARE), question.platform.chip
    bound = {"chip.memory.hbm.bandwidth": (chip.main_memory.bandwidth * times).reshape(1, 1, -1, 1)}
    bound |= {f"chip.matrix_flops.{kind}": (rate * times).reshape(1, 1, 1, -1) for kind, rate in chip.matrix_flops.items()}
    asked = question.on(genz.bind(question.platform, bound)).with_workload(batch=batch, input_tokens=context)
    rounds, start = 20, time.process_time()
    for _ in range(rounds):
        outcome = genz.evaluate(asked)
        _ = outcome.ttft, outcome.tpot, outcome.energy, outcome.memory.fits, outcome.prefill.bound, outcome.decode.bound
    return rounds * batch.size * context.size * HARDWARE**2 / (time.process_time() - start)


if __name__ == "__main__":
    main()
