"""What every driver of `side_by_side.py` does alike, with nothing but Python itself: they run in environments of their own.

A driver reads the sweep as JSON from standard input and prints a list of measurements as JSON on the last line of its output.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

Sweep = dict[str, Any]


def read_sweep() -> Sweep:
    """The sweep that is asked for: model, chips with their figures, tensor-parallel degrees, batches, contexts."""
    sweep: Sweep = json.load(sys.stdin)
    return sweep


def structures(sweep: Sweep) -> Iterator[tuple[dict[str, Any], int]]:
    """(chip, tensor-parallel degree), the outer axes of the sweep in the order of the answers."""
    return product(sweep["chips"], sweep["tp"])


def points(sweep: Sweep) -> Iterator[tuple[int, int]]:
    """(batch, context), the inner axes in the order of the answers."""
    return product(sweep["batches"], sweep["contexts"])


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What some work returns, and its seconds by the wall's clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - processor}


def peak_rss_bytes() -> int:
    """The most memory that this process has held [B]; of its own program only, where the system tells."""
    status = Path("/proc/self/status")
    if status.exists():
        held = [line.split()[1] for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
        if held:
            return int(held[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measurement(
    name: str,
    outputs: str,
    *,
    load: dict[str, float],
    prepare: dict[str, float],
    passes: list[dict[str, float]],
    tpot_s: list[float | None],
    refusals: dict[str, int],
) -> dict[str, Any]:
    """One row of the comparison. `tpot_s` are flat, chip outermost and context innermost; none where there is no answer."""
    return {
        "name": name,
        "outputs": outputs,
        "import": load,
        "prepare": prepare,
        "passes": passes,
        "peak_rss_bytes": peak_rss_bytes(),
        "tpot_s": tpot_s,
        "refusals": refusals,
    }


def report(measurements: list[dict[str, Any]]) -> None:
    """Print measurements for the process that asked."""
    print(json.dumps(measurements))
