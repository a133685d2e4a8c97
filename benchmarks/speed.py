"""How long GenZ takes: import, command line, one prediction, and a million of them as arrays.

    python benchmarks/speed.py [--json]

Prints the median of several runs of each, beside a bare `python -c pass`, and whether it keeps its target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

RUNS = 7
WARM_PREDICTIONS = 200
# Targets of the design [s].
TARGETS = {"import genz": 0.25, "genz --help": 0.6, "warm prediction": 0.002}
# Workloads evaluated as arrays, in blocks; predictions a second of the design for one core. `engine` has none.
WORKLOADS, BLOCK = 10**6, 10**4
RATE_TARGETS: dict[str, int | None] = {"roofline": None, "engine": None, "calibrated": 200_000}
QUESTIONS = (("llama-3.1-70b", "8x h100-sxm", 8), ("deepseek-v3", "8x h200", 8), ("gpt-oss-120b", "2x h100-sxm", 2))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    bare = median(lambda: run("-c", "pass"))
    figures = {
        "import genz": median(lambda: run("-c", "import genz")) - bare,
        "genz --help": median(lambda: run("-m", "genz.cli", "--help")),
        "genz predict": median(
            lambda: run("-m", "genz.cli", "predict", "llama-3.1-8b", "--platform", "h100-sxm", "--isl", "2048", "--osl", "256")
        ),
        **{f"warm prediction, {question[0]}": warm_prediction(*question) for question in QUESTIONS},
    }
    rates = {(question[0], fidelity): array_rate(*question, fidelity) for question in QUESTIONS for fidelity in RATE_TARGETS}
    if as_json:
        named = {" at ".join(key): rate for key, rate in rates.items()}
        print(json.dumps({"seconds": figures, "targets": TARGETS, "python_startup": bare, "per_second": named}, indent=2))
        return
    print(f"{'python -c pass':30s} {bare * 1e3:9.2f} ms")
    for name, seconds in figures.items():
        target = TARGETS.get(name.split(",")[0])
        verdict = "" if target is None else f"  target {target * 1e3:g} ms: {'kept' if seconds < target else 'MISSED'}"
        print(f"{name:30s} {seconds * 1e3:9.2f} ms{verdict}")
    for (model, fidelity), rate in rates.items():
        target = RATE_TARGETS[fidelity]
        verdict = "" if target is None else f"  target {target:,}/s: {'kept' if rate >= target else 'MISSED'}"
        print(f"{model + ', ' + fidelity:30s} {rate:9,.0f} predictions a second{verdict}")


def array_rate(model: str, platform: str, tp: int, fidelity: str) -> float:
    """Predictions of a million workloads a second on one core: TTFT, TPOT and energy, in blocks that stay in cache."""
    import numpy as np

    import genz

    question = genz.settle_question(model, platform, tp=tp, batch=1, input=128, output=128, fidelity=fidelity)
    draw = np.random.default_rng(0)
    block = {
        "batch": draw.integers(1, 257, BLOCK).astype(float),
        "input_tokens": draw.integers(16, 4096, BLOCK).astype(float),
        "output_tokens": draw.integers(2, 1024, BLOCK).astype(float),
    }
    start = time.process_time()
    for index in range(WORKLOADS // BLOCK):
        shifted = {name: np.roll(values, index) for name, values in block.items() if name != "batch"}
        outcome = genz.evaluate(question.with_workload(batch=block["batch"], **shifted))
        _ = outcome.ttft, outcome.tpot, outcome.energy
    return WORKLOADS / (time.process_time() - start)


def run(*arguments: str) -> None:
    """One Python process."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def median(work: Callable[[], object]) -> float:
    """Median seconds of several runs, after one to warm up."""
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def warm_prediction(model: str, platform: str, tp: int) -> float:
    """Median seconds of `genz.predict`, from names to what bounds each phase, once the specs are loaded."""
    import genz

    times = []
    for _ in range(WARM_PREDICTIONS):
        start = time.perf_counter()
        genz.predict(model, platform, tp=tp, batch=16, input=2048, output=256).phases  # noqa: B018
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
