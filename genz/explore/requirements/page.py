"""A requirement as a page of text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from genz.explore.requirements.figures import FIGURES, LINK
from genz.inference.report import WIDE, memory_table, render, seconds, table
from genz.units import format_count, format_si

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from genz.explore.requirements.requirement import Requirement

WORD = {"link_latency": "at most "}
SHORT = {
    "flops": "FLOP/s",
    "bandwidth": "bandwidth",
    "capacity": "memory",
    "link_bandwidth": "link",
    "link_latency": "latency",
}


def summary(requirement: Requirement) -> str:
    """The machine, what it comes to, and what it holds."""
    return render(
        _heading(requirement),
        _machine(requirement),
        _times(requirement),
        memory_table(requirement.outcome.memory),
        _remarks(requirement),
    )


def _heading(requirement: Requirement) -> str:
    question = requirement.question
    workload, laid = question.workload, question.parallelism
    beams = f", {workload.beams} beams" if workload.beams != 1 else ""
    degrees = {
        "tensor": laid.tensor,
        "pipeline": laid.pipeline,
        "context": laid.context,
        "data": laid.data,
        "expert": laid.expert,
    }
    layout = ", ".join(f"{name} parallel {degree}" for name, degree in degrees.items() if degree > 1)
    return (
        f"What {question.model.name} ({format_count(question.model.parameters)} parameters) asks of "
        f"{'one device' if requirement.devices == 1 else f'each of {requirement.devices} devices'}\n"
        f"batch {workload.batch}: {workload.input_tokens} input and {workload.output_tokens} output tokens{beams}\n"
        + (f"{layout}\n" if layout else "")
        + f"precision {question.widths.name}, computes in {requirement.data_type}; like {requirement.like}\n"
        f"engine {question.engine.name}, fidelity {question.fidelity}"
    )


def _machine(requirement: Requirement) -> RenderableType:
    rows = []
    for name, value in requirement.figures.items():
        figure, bound = FIGURES[name], requirement.bounds.get(name)
        least = (
            "given" if name in requirement.given else "-" if bound is None else f"{WORD.get(name, '')}{figure.format(bound)}"
        )
        together = figure.format(value * requirement.devices) if name != "link_latency" else "-"
        rows.append((figure.title, least, figure.format(value), together))
    rows.append(
        ("power limit", "-", format_si(requirement.power, "W"), format_si(requirement.power * requirement.devices, "W"))
    )
    header = ("", "least, all else unlimited", "balanced machine", f"all {requirement.devices} together")
    columns = 4 if requirement.devices > 1 else 3
    title = "Each device" if requirement.devices > 1 else "The device"
    return table(title, header[:columns], [row[:columns] for row in rows])


def _times(requirement: Requirement) -> RenderableType:
    rows = [
        (name.upper(), seconds(getattr(requirement, name)), seconds(getattr(requirement.slo, name)), f"{share:.2%}")
        for name, share in requirement.spare.items()
    ]
    return table("On the balanced machine", ("", "takes", "objective", "to spare"), rows)


def _remarks(requirement: Requirement) -> str:
    loose = [name.upper() for name in requirement.spare if name not in requirement.binding]
    if not loose:
        return "Each objective is met exactly: no figure can be smaller with the others as they are."
    if not requirement.binding:
        return "The given figures meet the objectives with time to spare."
    sized_by = " and ".join(name.upper() for name in requirement.binding)
    return f"{' and '.join(loose)} is met by what {sized_by} asks for, with time to spare."


def table_page(frame: pd.DataFrame) -> str:
    """A table of requirements: bounds beside the balanced machine, each device."""
    records: list[dict[str, Any]] = frame.to_dict(orient="records")  # type: ignore[assignment]
    networked = any(_is_known(record.get("link_bandwidth_b_per_s")) for record in records)
    figures = [name for name in FIGURES if networked or name not in LINK]
    columns = [name for name in figures if name not in ("capacity", "link_latency")]
    header = ("model", "use case", *(f"least {SHORT[n]}" for n in columns), *(SHORT[n] for n in figures), "sized by")
    rows = [_cells(record, columns, figures) for record in records]
    shown = table("What each device must have; least: all else without limit", header, rows, words=(0, 1, len(header) - 1))
    problems = [f"{r['model']}, {r['use_case'] or 'these lengths'}: {r['problem']}" for r in records if r["problem"]]
    return render(shown, *(["\n".join(problems)] if problems else []), width=WIDE)


def _cells(record: dict[str, Any], columns: list[str], figures: list[str]) -> tuple[str, ...]:
    def cell(name: str, prefix: str = "") -> str:
        value = record.get(prefix + FIGURES[name].key)
        return FIGURES[name].format(value) if value is not None and _is_known(value) else "-"

    sized = "out of reach" if record["problem"] else record["binding"].replace("+", " and ").upper().replace(" AND ", " and ")
    names = (str(record["model"]), str(record["use_case"] or "-"))
    return (*names, *(cell(name, "least_") for name in columns), *(cell(name) for name in figures), sized or "what is given")


def _is_known(value: Any) -> bool:
    return value is not None and not math.isnan(value)
