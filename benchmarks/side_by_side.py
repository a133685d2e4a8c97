"""GenZ beside the first GenZ and AIConfigurator's engine: one sweep, one run, one core.

    python benchmarks/side_by_side.py [--json] [--environments FOLDER]

The sweep is the decode of Llama-3.1-70B in BF16: 8 batches x 8 contexts x 4 chips x 4 tensor-parallel degrees, 1,024
points. Each tool runs in a process of its own, held to one core; the others also in an environment of their own, which is
made once (build/bench) from the package index that pip is set up for. What cannot be installed has a row that says why.

Seconds are of the processor, as other work on the machine disturbs them less. The first pass holds what a tool loads when it
is first asked; points a second are those of the best of later passes, or of the only one. The ratio of TPOTs is taken
over points that both tools answer and that fit in memory.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "llama-3.1-70b"  # Llama-3-70B with room for the longest of the contexts
CHIPS = ("a100-sxm-80gb", "h100-sxm", "h200", "b200")
DEGREES = [1, 2, 4, 8]
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128]
CONTEXTS = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
POINTS = len(CHIPS) * len(DEGREES) * len(BATCHES) * len(CONTEXTS)
# The row that all others are compared with.
REFERENCE = "GenZ: arrays, calibrated"
OTHERS = Path(__file__).parent / "others"
ENVIRONMENTS = Path(__file__).parents[1] / "build" / "bench"
INSTALL_SECONDS, RUN_SECONDS = 900, 1800
ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "RAYON", "POLARS")
# A pass that the wall's clock found this much longer than the processor's was disturbed.
DISTURBED = 1.5


@dataclass(frozen=True)
class Tool:
    """A driver, what it is told, and the package it needs; none: GenZ, in the environment of this process."""

    name: str
    driver: str
    arguments: tuple[str, ...] = ()
    requirement: str | None = None


TOOLS = (
    Tool(REFERENCE, "this_genz.py", ("arrays", "calibrated")),
    Tool("GenZ: arrays, roofline", "this_genz.py", ("arrays", "roofline")),
    Tool("GenZ: sweep, calibrated", "this_genz.py", ("sweep", "calibrated")),
    Tool("GenZ: sweep, roofline", "this_genz.py", ("sweep", "roofline")),
    Tool("GenZ: predict, calibrated", "this_genz.py", ("predict", "calibrated")),
    Tool("AIConfigurator", "aiconfigurator_engine.py", requirement="aiconfigurator-core==0.12.0"),
    Tool("first GenZ", "first_genz.py", requirement="genz-llm==0.0.16"),
)


class ToolError(Exception):
    """A tool could not be installed or run; the message is one line."""


def main() -> None:
    """Measure every tool and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where other tools are installed")
    arguments = parser.parse_args()
    pythons = {tool.requirement: python_of(tool, arguments.environments) for tool in TOOLS}
    hold_to_one_core()
    sweep = the_sweep()
    rows: list[dict[str, Any]] = []
    for tool in TOOLS:
        print(f"{tool.name} ...", file=sys.stderr, flush=True)
        rows += measured(tool, pythons[tool.requirement], sweep)
    summaries = summarised(rows)
    if arguments.json:
        setting = {**sweep, "points": POINTS, "machine": machine(), "date": str(datetime.date.today())}
        print(json.dumps({"setting": setting, "rows": [{**row, **more} for row, more in zip(rows, summaries, strict=True)]}))
        return
    print(page(rows, summaries))


def the_sweep() -> dict[str, Any]:
    """The sweep as every driver reads it, with the figures of the chips in SI units for tools that know none of them."""
    import genz

    def figures(name: str) -> dict[str, Any]:
        chip = genz.chip(name)
        link = chip.links["scale_up"]
        return {
            "name": name,
            "flops": chip.multiply_rate("bf16"),
            "memory_bytes": chip.main_memory.capacity,
            "memory_bandwidth": chip.main_memory.bandwidth,
            "link_bandwidth": link.bandwidth,
            "link_latency": link.latency,
        }

    chips = [figures(name) for name in CHIPS]
    return {"model": MODEL, "chips": chips, "tp": DEGREES, "batches": BATCHES, "contexts": CONTEXTS}


def python_of(tool: Tool, environments: Path) -> Path | ToolError:
    """The Python that runs a tool: its environment is made if it is not there, and what went wrong is given back."""
    if tool.requirement is None:
        return Path(sys.executable)
    folder = environments / tool.requirement.replace("==", "-")
    python = folder / "bin" / "python"
    if (folder / "installed").exists():
        return python
    print(f"installing {tool.requirement} into {folder} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", tool.requirement],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment())
    except subprocess.CalledProcessError as error:
        return ToolError(f"not installed: {last_line(error.stderr)}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return ToolError(f"not installed: {error}")
    (folder / "installed").touch()
    return python


def environment() -> dict[str, str]:
    """The environment of a driver: one thread, and nothing of another Python."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return {**kept, **{f"{library}_NUM_THREADS": "1" for library in ONE_THREAD}}


def hold_to_one_core() -> None:
    """Keep this process and those that it starts on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measured(tool: Tool, python: Path | ToolError, sweep: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a tool, or one that says why there are none."""
    try:
        if isinstance(python, ToolError):
            raise python
        return run(tool, python, sweep)
    except ToolError as error:
        return [{"name": tool.name, "error": str(error)}]


def run(tool: Tool, python: Path, sweep: dict[str, Any]) -> list[dict[str, Any]]:
    """What a driver prints. Raises `ToolError`."""
    command = [str(python), str(OTHERS / tool.driver), *tool.arguments]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(sweep),
            check=False,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            env=environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"did not run: {error}") from None
    if done.returncode:
        raise ToolError(f"failed: {last_line(done.stderr)}")
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def last_line(text: str) -> str:
    """The last line of a program's complaints."""
    return ([line for line in text.splitlines() if line.strip()] or ["no message"])[-1].strip()


def summarised(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each row that ran: points a second, and how these and its TPOTs compare with those of the reference."""
    reference = next((row for row in rows if row["name"] == REFERENCE and "error" not in row), None)
    return [{} if "error" in row else summary(row, reference) for row in rows]


def summary(row: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, Any]:
    """What a row comes to."""
    rate = POINTS / settled_seconds(row["passes"])
    whole = POINTS / (row["prepare"]["cpu_s"] + row["passes"][0]["cpu_s"])
    found = {
        "answered": sum(seconds is not None for seconds in row["tpot_s"]),
        "configurations_per_second": rate,
        "configurations_per_second_first_time": whole,
        "disturbed": any(each["wall_s"] > DISTURBED * each["cpu_s"] for each in row["passes"]),
    }
    if reference is None:
        return found
    known = (POINTS / settled_seconds(reference["passes"])) / rate
    return {**found, "reference_is_faster_by": known, "tpot_ratio": quantiles(ratios(row["tpot_s"], reference["tpot_s"]))}


def settled_seconds(passes: list[dict[str, float]]) -> float:
    """Seconds of the best of the passes behind the first, or of the first where there is no other."""
    return min(each["cpu_s"] for each in passes[1:] or passes)


def ratios(values: Iterable[float | None], reference: Iterable[float | None]) -> list[float]:
    """values / reference where both have an answer."""
    pairs = zip(values, reference, strict=True)
    return [value / other for value, other in pairs if value is not None and other is not None]


def quantiles(values: list[float]) -> dict[str, float] | None:
    """The median and the two deciles that hold four fifths; none of fewer than two values."""
    if len(values) < 2:
        return None
    deciles = statistics.quantiles(values, n=10, method="inclusive")
    return {"low": deciles[0], "median": deciles[4], "high": deciles[8]}


def machine() -> str:
    """Processor and Python of this machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, Python {platform.python_version()}"


def page(rows: list[dict[str, Any]], summaries: list[dict[str, Any]]) -> str:
    """The comparison as text."""
    from genz.inference.report import WIDE, render, table

    header = (
        "",
        "gives",
        "answers",
        "import",
        "prepare",
        "first pass",
        "later",
        "points/s",
        "x slower",
        "peak RSS",
        "TPOT ratio",
    )
    listed = [cells(row, more) for row, more in zip(rows, summaries, strict=True)]
    title = f"{POINTS:,} points of {MODEL}, one core, processor seconds; {machine()}"
    notes = [f"{row['name']}: {row['error']}" for row in rows if "error" in row]
    notes += [f"{row['name']}: {count} x {reason}" for row in rows for reason, count in row.get("refusals", {}).items()]
    busy = [row["name"] for row, more in zip(rows, summaries, strict=True) if more.get("disturbed")]
    notes += [f"disturbed by other work: {', '.join(busy)}"] if busy else []
    return render(table(title, header, listed, words=(0, 1)), "\n".join(notes), width=WIDE)


def cells(row: dict[str, Any], more: dict[str, Any]) -> tuple[str, ...]:
    """A row as text; dashes where a tool did not run."""
    if "error" in row:
        return (row["name"], *("-" for _ in range(10)))
    later = settled_seconds(row["passes"]) if len(row["passes"]) > 1 else None
    shown: Callable[[float | None], str] = lambda seconds: "-" if seconds is None else f"{seconds:.3f}"  # noqa: E731
    ratio = more.get("tpot_ratio")
    return (
        row["name"],
        row["outputs"],
        f"{more['answered']:,}",
        shown(row["import"]["cpu_s"]),
        shown(row["prepare"]["cpu_s"]),
        shown(row["passes"][0]["cpu_s"]),
        shown(later),
        f"{more['configurations_per_second']:,.0f}",
        f"{more['reference_is_faster_by']:,.2f}" if "reference_is_faster_by" in more else "-",
        f"{row['peak_rss_bytes'] / 1e6:,.0f} MB",
        f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" if ratio else "-",
    )


if __name__ == "__main__":
    main()
