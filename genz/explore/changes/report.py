"""A sensitivity as a page of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genz.explore.changes.what_if import SHORT
from genz.inference.report import WIDE, render, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from genz.explore.sensitivity import Elasticity, Sensitivity

# Sentences on a page: of the parameters that move most.
SENTENCES = 3


def page(found: Sensitivity) -> str:
    """Elasticities with a row a parameter, what the strongest ones do, and what has no effect."""
    question, workload = found.question, found.question.workload
    bounds = ", ".join(f"{phase} waits for {bound}" for phase, bound in found.base.bound.items() if bound)
    heading = (
        f"{question.model.name} on {question.platform.name}, fidelity {question.fidelity}\n"
        f"batch {workload.batch}: {workload.input_tokens} input and {workload.output_tokens} output tokens; {bounds}"
    )
    return render(heading, _table(found), *_notes(found), width=WIDE)


def _table(found: Sensitivity) -> RenderableType:
    still = {one.name for one in found.unmoved}
    shown = [one for one in found.parameters if one.name not in still]
    titles = [SHORT.get(one.name, one.title) for one in found.asking.metrics]
    rows = [(one.title, one.shown, *(_cell(found.of(asked.name, one.name)) for asked in found.asking.metrics)) for one in shown]
    title = "Elasticities: by how many per cent a metric grows for each per cent of the parameter"
    return table(title, ("parameter", "value", *titles), rows)


def _cell(one: Elasticity) -> str:
    """One slope where both sides agree to what is shown, else the one below and the one above; a star where it steps."""
    left, right = (_slope(slope) for slope in (one.left, one.right))
    return (left if left == right else f"{left} | {right}") + ("*" if one.steps else "")


def _slope(slope: float | None) -> str:
    if slope is None:
        return "-"
    return f"{slope:+.2f}" if abs(slope) >= 0.005 else "0"


def _notes(found: Sensitivity) -> list[str]:
    sentences = [str(grown) for grown in (found.grown[one.name] for one in found.parameters[:SENTENCES]) if grown is not None]
    return ["\n".join(part) for part in (_legend(found), sentences, _quiet(found)) if part]


def _legend(found: Sensitivity) -> list[str]:
    cells = {one: _cell(one) for one in found.elasticities}
    legend = []
    if any("|" in cell for cell in cells.values()):
        legend.append("a | b: the slopes below and above the point; whole numbers are compared with their neighbours")
    if any("*" in cell for cell in cells.values()):
        legend.append("*: the metric steps right here")
    return legend


def _quiet(found: Sensitivity) -> list[str]:
    """What has no effect at all, and why that may be."""
    if not found.unmoved:
        return []
    reason = ""
    if found.question.fidelity == "calibrated":
        reason = (
            "\nMeasured constants of kernels and engines stand for latencies, efficiencies and host times where there are any."
        )
    return [f"No reaction, not even to half or twice of it: {', '.join(one.title for one in found.unmoved)}.{reason}"]
