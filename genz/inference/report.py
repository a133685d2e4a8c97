"""Predictions as a page of text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from genz.errors import DoesNotFitError
from genz.footprint import Memory
from genz.units import format_bytes, format_count, format_si

if TYPE_CHECKING:
    from rich.console import RenderableType

    from genz.inference.prediction import Phase, Prediction

PAGE_WIDTH = 100


def render(*parts: RenderableType, width: int = PAGE_WIDTH, colour: bool = False) -> str:
    """Rich renderables as text."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=colour, highlight=False, legacy_windows=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> RenderableType:
    """A table whose first `left` columns are words and the others numbers."""
    from rich import box
    from rich.table import Table

    built = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        built.add_column(name, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        built.add_row(*row)
    return built


def seconds(value: float | None) -> str:
    """A time as people read it; a dash where there is none."""
    return "-" if value is None else format_si(value, "s")


def memory_table(memory: Memory) -> RenderableType:
    """Every term of the fullest device's memory, and what is left of it."""
    terms = (
        ("weights", memory.weights_bytes), ("KV cache", memory.kv_cache_bytes), ("activations", memory.activations_bytes),
        ("logits", memory.logits_bytes), ("communication buffers", memory.communication_bytes),
        ("reserve", memory.reserve_bytes), ("total", memory.total_bytes), ("engine's budget", memory.budget_bytes),
        ("device", memory.capacity_bytes),
    )  # fmt: skip
    rows = [(name, format_bytes(value), f"{value / memory.capacity_bytes:.1%}") for name, value in terms]
    return table("Memory of the fullest device", ("", "size", "of the device"), rows)


def summary(prediction: Prediction) -> str:
    """The answer, what limits it, and what fits, on one page."""
    return render(_heading(prediction), _answers(prediction), _phases(prediction), memory_table(prediction.memory),
                  _limits(prediction))  # fmt: skip


def _heading(prediction: Prediction) -> str:
    question = prediction.question
    workload, widths = question.workload, question.widths
    beams = f", {workload.beams} beams" if workload.beams != 1 else ""
    cached = f", {workload.cached_tokens} cached" if workload.cached_tokens else ""
    copies = f", {question.replicas} replicas" if question.replicas > 1 else ""
    return (
        f"[bold]{question.model.name}[/bold] ({format_count(question.model.parameters)} parameters, "
        f"{format_count(question.model.active_parameters)} active) on [bold]{question.platform.name}[/bold], "
        f"tensor parallel {question.parallelism.tensor}{copies}\n"
        f"batch {workload.batch}, {workload.input_tokens} input{cached} and {workload.output_tokens} output tokens{beams}; "
        f"precision {widths.name} (computes in {widths.compute}, KV cache {widths.kv_cache}); "
        f"engine {question.engine.name}; fidelity {question.fidelity}"
    )


def _answers(prediction: Prediction) -> RenderableType:
    outcome, met = prediction.outcome, prediction.slo_met
    cost = prediction.cost

    def verdict(name: str) -> str:
        goal = getattr(prediction.slo, name) if prediction.slo else None
        return "" if name not in met else f"{'meets' if met[name] else 'misses'} {seconds(goal)}"

    rows = [
        ("time to first token (TTFT)", seconds(prediction.ttft), verdict("ttft")),
        ("time per output token (TPOT)", seconds(prediction.tpot), verdict("tpot")),
        ("end to end", seconds(prediction.e2e), ""),
        ("throughput", f"{prediction.throughput:,.1f} tok/s", f"{prediction.throughput / prediction.question.platform.devices:,.1f} per device"),
        ("average power", format_si(prediction.power, "W"), f"{format_si(prediction.power / prediction.question.platform.devices, 'W')} per device"),
        ("energy per output token", format_si(outcome.energy_per_output_token, "J"), "prefill included"),
    ]  # fmt: skip
    dollars, carbon = cost["usd_per_million_output_tokens"], cost["carbon_g_per_million_output_tokens"]
    if dollars is not None:
        rows.append(("cost per million output tokens", f"{dollars:,.2f} USD", f"{cost['usd_per_hour']:,.2f} USD/h"))
    if carbon is not None:
        rows.append(("carbon per million output tokens", format_si(carbon, "g"), ""))
    return table("Answer", ("", "", ""), rows)


def _phases(prediction: Prediction) -> RenderableType:
    def row(phase: Phase) -> tuple[str, ...]:
        shares = ", ".join(f"{name} {part / phase.time:.0%}" for name, part in phase.time_by_bound.items() if part > 0.005 * phase.time)
        limited = " (at the power limit)" if phase.is_power_limited else ""
        against = phase.arithmetic_intensity / phase.ridge
        return (
            phase.name, phase.bound + limited, shares, seconds(phase.time),
            f"{phase.arithmetic_intensity:,.1f} FLOP/B, {against:.2g}x the ridge ({phase.ridge:,.0f})",
        )  # fmt: skip

    rows = [row(phase) for phase in prediction.phases.values()]
    return table("What each phase waits for", ("phase", "bound", "time by bound", "time", "arithmetic intensity"), rows, left=3)


def _limits(prediction: Prediction) -> str:
    return (
        f"Largest batch that fits: {prediction.largest_batch:,}. Longest request at this batch: "
        f"{prediction.longest_context:,} tokens (the model was made for {prediction.question.model.max_context:,}). "
        f"A dense GEMM is compute-bound from {prediction.critical_batch:,.0f} tokens a step."
    )


def operator_table(prediction: Prediction, *, rows: int | None = None) -> str:
    """Each operator of each phase: how often, how long, what it moves and computes, what it waits for."""
    frame = prediction.to_frame()
    parts = []
    for name, group in frame.groupby("phase", sort=False):
        shown = group if rows is None else group.nlargest(rows, "time_s")
        lines = [
            (r.layer, r.operator, str(r.count), seconds(r.time_s), f"{r.share:.1%}", r.bound, format_si(r.matrix_flops, "FLOP"),
             format_bytes(r.memory_bytes, digits=3), f"{r.arithmetic_intensity:,.1f}")
            for r in shown.itertuples()
        ]  # fmt: skip
        header = ("layer", "operator", "count", "time", "share", "bound", "matrix work", "moved", "FLOP/B")
        parts.append(table(f"Operators of {name}, all layers and steps, one device", header, lines, left=2))
    return render(*parts, width=120)


def misfit(error: DoesNotFitError) -> str:
    """What does not fit: the memory table and what would help, without any times."""
    remedies = "\n".join(f"  - {text}" for text in error.suggestions) or "  - none with a single change: use more or larger devices"
    return f"{error.message}\n\n{render(memory_table(error.memory))}\n\nAny one of these would make it fit:\n{remedies}"
