"""Predictions as a page of text."""

from __future__ import annotations

import io
import shutil
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from genz.errors import DoesNotFitError
from genz.footprint import Memory
from genz.inference.lengths import windows_of
from genz.specs.huggingface import ENDLESS
from genz.specs.workload import MAX_COUNT
from genz.units import format_bytes, format_count, format_si

if TYPE_CHECKING:
    from rich.console import RenderableType

    from genz.inference.prediction import Phase, Prediction
    from genz.inference.question import Question

PAGE_WIDTH = 80
WIDE = 150


def render(*parts: RenderableType, width: int = PAGE_WIDTH) -> str:
    """Rich renderables as text, a blank line between two, at most `width` columns wide and no wider than the terminal."""
    from rich.console import Console

    buffer = io.StringIO()
    columns = min(width, shutil.get_terminal_size(fallback=(width, 24)).columns)
    # Names may hold what rich would take for markup, and in a notebook it would display instead of write.
    console = Console(
        file=buffer,
        width=columns,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=False,
        force_jupyter=False,
        legacy_windows=False,
    )
    for index, part in enumerate(parts):
        if index:
            console.print()
        console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[int] = (0,)) -> RenderableType:
    """A table whose columns `words` are aligned left and the others, numbers, right; a number keeps to its unit."""
    from rich import box
    from rich.table import Table

    built = Table(
        title=title or None,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        show_header=any(header),
    )
    listed = list(rows)
    for index, name in enumerate(header):
        is_short = all(row[index].count(" ") <= 1 for row in listed)
        built.add_column(name, justify="left" if index in words else "right", overflow="fold", no_wrap=is_short)
    for row in listed:
        built.add_row(*row)
    return built


def seconds(value: float | None) -> str:
    """A time as people read it; a dash where there is none."""
    return "-" if value is None else format_si(value, "s")


def memory_table(memory: Memory) -> RenderableType:
    """Every term of the fullest device's memory, and what is left of it."""
    terms = (
        ("weights", memory.weights_bytes),
        ("KV cache", memory.kv_cache_bytes),
        ("activations", memory.activations_bytes),
        ("logits", memory.logits_bytes),
        ("communication buffers", memory.communication_bytes),
        ("reserve", memory.reserve_bytes),
        ("total", memory.total_bytes),
        ("engine's budget", memory.budget_bytes),
        ("device", memory.capacity_bytes),
    )
    rows = [(name, format_bytes(value), _share(value / memory.capacity_bytes)) for name, value in terms]
    return table("Memory of the fullest device", ("", "size", "of the device"), rows)


def _share(fraction: float) -> str:
    """Per cent, and multiples of what is far above the whole."""
    return f"{fraction:.1%}" if fraction < 10 else f"{fraction:,.0f} x"


def summary(prediction: Prediction) -> str:
    """The answer, what limits it, and what fits, on one page."""
    return render(
        _heading(prediction), _answers(prediction), _phases(prediction), memory_table(prediction.memory), _limits(prediction)
    )


def _heading(prediction: Prediction) -> str:
    question = prediction.question
    model, workload, widths = question.model, question.workload, question.widths
    active = f", {format_count(model.active_parameters)} active" if model.active_parameters != model.parameters else ""
    beams = f", {workload.beams} beams" if workload.beams != 1 else ""
    cached = f" ({workload.cached_tokens} of them cached)" if workload.cached_tokens else ""
    return (
        f"{model.name} ({format_count(model.parameters)} parameters{active}) on {question.platform.name}\n"
        f"batch {workload.batch}: {_lengths(question, cached)}{beams}\n"
        f"{_media(question)}"
        f"{_layout(question)}\n"
        f"precision {widths.name}: computes in {widths.compute}, KV cache in {widths.kv_cache}\n"
        f"engine {question.engine.name}, fidelity {question.fidelity}"
    )


def _lengths(question: Question, cached: str) -> str:
    """What passes the model, in words: of an encoder alone, of an encoder and a decoder, or of a decoder."""
    workload, source = question.workload, question.model.source
    if workload.embeds:
        read = workload.source_tokens if source is not None else workload.input_tokens
        return f"{read} input tokens{cached}, nothing generated: embeddings or scores"
    if source is not None:
        started = f"a decoder from {workload.input_tokens}"
        return f"{workload.source_tokens} tokens through an encoder, {started}, and {workload.output_tokens} output tokens"
    return f"{workload.input_tokens} input{cached} and {workload.output_tokens} output tokens"


def _media(question: Question) -> str:
    """What of the input tokens is text, and what images and clips are; empty where all is text."""
    workload = question.workload
    if windows_of(workload) > 1:
        return f"a clip is {windows_of(workload)} windows, each a sequence of the batch with an output of its own\n"
    if not workload.media_tokens or question.model.source is not None or not question.model.takes_text:
        return ""
    each = [f"{part.count} x {part.tokens:,} of {part.kind}" for part in workload.parts]
    source = f"; {workload.source_tokens:,} more for cross attention" if workload.source_tokens else ""
    text = workload.input_tokens - workload.media_tokens
    return f"{workload.input_tokens:,} input tokens: {text:,} of text and {' and '.join(each)}{source}\n"


def _layout(question: Question) -> str:
    """The degrees of parallelism that are more than one."""
    laid = question.parallelism
    degrees = (
        ("pipeline", laid.pipeline),
        ("context", laid.context),
        ("decode context", laid.decode_context),
        ("expert", laid.expert),
    )
    text = f"tensor parallel {laid.tensor}" + "".join(f", {name} parallel {degree}" for name, degree in degrees if degree > 1)
    if laid.pipeline > 1:
        text += f" with {question.micro_batches} micro-batches"
    if laid.data > 1:
        ranks = f"{laid.replicas} replicas" if laid.coupled_data == 1 else f"data parallel {laid.data}"
        copies = f" in {laid.replicas} replicas" if laid.coupled_data > 1 and laid.replicas > 1 else ""
        each = "each" if laid.coupled_data == 1 else "each rank"
        text += f", {ranks}{copies}, at most {question.requests_per_rank} of the batch on {each}"
    return text


def _answers(prediction: Prediction) -> RenderableType:
    outcome, met = prediction.outcome, prediction.slo_met
    cost, devices = prediction.cost, prediction.question.platform.devices

    def verdict(name: str) -> str:
        goal = getattr(prediction.slo, name, None)
        meets = "" if name not in met else f"{'meets' if met[name] else 'misses'} {seconds(goal)}"
        low, high = (prediction.interval or {}).get(f"{name}_s", (None, None))
        within = "" if low is None else f"{seconds(low)} to {seconds(high)}"
        return ", ".join(part for part in (within, meets) if part)

    def each(value: str) -> str:
        return f"{value} per device" if devices > 1 else ""

    power = ("average power", format_si(prediction.power, "W"), each(format_si(prediction.power / devices, "W")))
    embeds = prediction.question.workload.embeds
    if embeds:
        rate, read = prediction.sequences_per_s, prediction.input_tokens_per_s
        rows = [
            ("latency of the batch", seconds(prediction.e2e), verdict("e2e")),
            ("throughput", f"{rate:,.1f} sequences/s", each(f"{rate / devices:,.1f} sequences/s")),
            ("input tokens", f"{read:,.0f} tok/s", each(f"{read / devices:,.0f} tok/s")),
            power,
            ("energy per sequence", format_si(prediction.energy_per_sequence, "J"), ""),
        ]
    else:
        rows = [
            ("time to first token (TTFT)", seconds(prediction.ttft), verdict("ttft")),
            ("time per output token (TPOT)", seconds(prediction.tpot), verdict("tpot")),
            ("end to end", seconds(prediction.e2e), verdict("e2e")),
            ("throughput", f"{prediction.throughput:,.1f} tok/s", each(f"{prediction.throughput / devices:,.1f} tok/s")),
            power,
            ("energy per output token", format_si(outcome.energy_per_output_token, "J"), "prefill included"),
        ]
    unit = "sequences" if embeds else "output tokens"
    dollars, carbon = cost["usd_per_million_output_tokens"], cost["carbon_g_per_million_output_tokens"]
    if dollars is not None:
        rows.append((f"cost per million {unit}", f"{dollars:,.2f} USD", f"{cost['usd_per_hour']:,.2f} USD/h"))
    if carbon is not None:
        rows.append((f"carbon per million {unit}", format_si(carbon, "g"), ""))
    title = "Answer, with 90 % intervals" if prediction.interval else "Answer"
    return table(title, ("", "", ""), rows, words=(0, 2))


def _phases(prediction: Prediction) -> RenderableType:
    def row(phase: Phase) -> tuple[str, ...]:
        shares = (f"{part / phase.time:.0%}" for part in phase.time_by_bound.values())
        against = phase.arithmetic_intensity / phase.ridge
        intensity = f"{phase.arithmetic_intensity:,.1f}", f"{against:.2g}" if against < 10 else f"{against:,.0f}"
        return (phase.name, phase.bound, seconds(phase.time), *shares, *intensity)

    rows = [row(phase) for phase in prediction.phases.values()]
    header = ("phase", "bound", "time", *prediction.phases["prefill"].time_by_bound, "FLOP/B", "x ridge")
    return table("What each phase waits for", header, rows, words=(0, 1))


def _limits(prediction: Prediction) -> str:
    longest = prediction.longest_context
    ridge = prediction.phases["prefill"].ridge
    limited = " and ".join(name for name, phase in prediction.phases.items() if phase.is_power_limited)
    throttled = f" The power limit slows {limited} down." if limited else ""
    model = prediction.question.model
    # The longest request of a decoder; what an encoder reads has limits of its own.
    reach = (
        f" Longest request at this batch: {'any' if longest is None else f'{longest:,} tokens'} (the model "
        f"{'has no limit' if model.max_context >= ENDLESS else f'was made for {model.max_context:,}'})."
    )
    shown = reach if model.source is None and model.takes_text else ""
    return (
        f"Largest batch that fits: {_batch(prediction)}.{shown} A dense GEMM "
        f"is compute-bound from {prediction.critical_batch:,.0f} tokens a step; the ridge is at {ridge:,.0f} FLOP/B.{throttled}"
    )


def _batch(prediction: Prediction) -> str:
    """The largest batch, or any where nothing that is kept grows with it: an encoder's passes in pieces."""
    return "any" if prediction.largest_batch >= MAX_COUNT else f"{prediction.largest_batch:,}"


def operator_table(prediction: Prediction, *, rows: int | None = None) -> str:
    """Each operator of each phase: how often, how long, what it moves and computes, what it waits for."""
    records: list[dict[str, Any]] = prediction.to_frame().to_dict(orient="records")  # type: ignore[assignment]
    parts = []
    for name in prediction.phases:
        shown = [record for record in records if record["phase"] == name]
        if rows is not None:
            shown = sorted(shown, key=lambda record: record["time_s"], reverse=True)[:rows]
        header = ("layer", "operator", "count", "time", "share", "bound", "matrix work", "moved", "FLOP/B")
        title = f"Operators of {name}, all layers and steps, one device"
        parts.append(table(title, header, map(_operator_cells, shown), words=(0, 1, 5)))
    return render(*parts, width=WIDE)


def _operator_cells(record: dict[str, Any]) -> tuple[str, ...]:
    return (
        record["layer"],
        record["operator"],
        str(record["count"]),
        seconds(record["time_s"]),
        f"{record['share']:.1%}",
        record["bound"],
        format_si(record["matrix_flops"], "FLOP"),
        format_bytes(record["memory_bytes"], digits=3),
        f"{record['arithmetic_intensity']:,.1f}",
    )


def misfit(error: DoesNotFitError) -> str:
    """What does not fit: the memory table and what would help, without any times."""
    listed = "\n".join(f"  - {text}" for text in error.suggestions)
    found = f"Any one of these would make it fit:\n{listed}"
    remedies = found if listed else "These devices, and more of them, cannot hold it."
    return f"{error.message}\n\n{render(memory_table(error.memory))}\n\n{remedies}"
