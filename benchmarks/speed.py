"""How long GenZ takes: import, command line, one prediction.

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
    if as_json:
        print(json.dumps({"seconds": figures, "targets": TARGETS, "python_startup": bare}, indent=2))
        return
    print(f"{'python -c pass':30s} {bare * 1e3:9.2f} ms")
    for name, seconds in figures.items():
        target = TARGETS.get(name.split(",")[0])
        verdict = "" if target is None else f"  target {target * 1e3:g} ms: {'kept' if seconds < target else 'MISSED'}"
        print(f"{name:30s} {seconds * 1e3:9.2f} ms{verdict}")


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
