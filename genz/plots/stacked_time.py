"""Where the time of a phase goes: by category, operator or bound, for one or several predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from genz.errors import InvalidValueError, unknown_name
from genz.inference.phase import BOUNDS, PhaseCost
from genz.plots import theme
from genz.plots.frames import check_prediction
from genz.plots.scales import Quantity, scale_of
from genz.units import format_si

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from genz.inference.prediction import Prediction

CHOICES = ("category", "operator", "bound")
MOST_PARTS = 10  # beyond, the smallest operators are one part
LABEL_COLUMNS = 18
LABEL_LINE, BETWEEN, AROUND, USUAL_HEIGHT = 15, 50, 150, 450  # pixels
NO_BREAK = "\N{NO-BREAK SPACE}"
WAITS = {"offload": "fetching what is offloaded", "power": "power limit"}
REST = "other operators"

Parts = dict[str, list[dict[str, float]]]  # phase -> for each prediction, seconds of each part


def stacked_time(
    predictions: Prediction | Iterable[Prediction],
    *,
    by: str = "category",
    labels: Sequence[str] | None = None,
    dark: bool = False,
) -> Figure:
    """Time of prefill and of the whole decode [s] in parts that add up to it, a bar a prediction.

    `by` is "category" (GEMMs, attention, exchanges ...), "operator", or "bound" (what is waited for). The host, what is
    waited for from another memory tier, and what the power limit adds are parts of their own. Where a pipeline has several
    stages, the parts are the shares of all stages' work, scaled to the time of the phase. `labels` name the
    predictions; left out, they say in what these differ.

    Raises `UnknownNameError` for another `by`, `InvalidValueError` for no prediction or labels of another number,
    `UnsupportedError` without Plotly.
    """
    if by not in CHOICES:
        raise unknown_name("part", by, CHOICES)
    listed = predictions if isinstance(predictions, Iterable) else [predictions]
    asked = [check_prediction(item) for item in listed]
    names = _names(asked, labels)
    encoders = dict.fromkeys(name for item in asked for name, _ in item.outcome.encoders)
    phases = [name for name in (*encoders, "prefill", "decode") if any(name in item.phases for item in asked)]
    figure = theme.new_figure(dark=dark, rows=len(phases))
    parts = {
        phase: [parts_of(item.outcome.phases[phase], by) if phase in item.phases else {} for item in asked] for phase in phases
    }
    shown = _folded(parts, by)
    colours = _colours(shown, by, _categories(asked) if by == "operator" else {})
    for row, phase in enumerate(phases, start=1):
        _draw(figure, row, phase=phase, names=names, bars=shown[phase], colours=colours, dark=dark)
    figure.update_layout(barmode="stack", bargap=0.35, height=_height(names, len(phases)))
    title = f"{' and '.join(phases)} time by {'what is waited for' if by == 'bound' else by}"
    return theme.entitle(figure, title[:1].upper() + title[1:], _in_common(asked), dark=dark)


def parts_of(phase: PhaseCost, by: str) -> dict[str, float]:
    """Seconds of each part of a phase; they add up to its time."""
    found: dict[str, float] = {}

    def add(name: str, seconds: float) -> None:
        if seconds > 0:
            found[name] = found.get(name, 0.0) + seconds

    for cost in phase.operators:
        operator = cost.operator
        name = {"category": operator.category, "operator": operator.name, "bound": BOUNDS[cost.bound]}[by]
        add(name, float(cost.device_time))
    add("host", float(phase.host_time))
    add("memory" if by == "bound" else WAITS["offload"], float(phase.fetch_wait))
    together, time = sum(found.values()), float(phase.time)
    if phase.is_power_limited and together < time * (1 - 1e-9):
        add(WAITS["power"], time - together)
        return found
    return {name: seconds * time / together for name, seconds in found.items()} if together else found


def _categories(predictions: list[Prediction]) -> dict[str, str]:
    """The category of each operator."""
    operators = [cost.operator for item in predictions for p in item.phases for cost in item.outcome.phases[p].operators]
    return {operator.name: operator.category for operator in operators}


def _folded(parts: Parts, by: str) -> Parts:
    """The same with the smallest operators as one part, where there are too many to tell apart."""
    if by != "operator":
        return parts
    largest: dict[str, float] = {}
    for bar in chain(*parts.values()):
        whole = sum(bar.values())
        for name, seconds in bar.items():
            largest[name] = max(largest.get(name, 0.0), seconds / whole)
    kept = sorted(largest, key=largest.__getitem__, reverse=True)[:MOST_PARTS]
    return {phase: [_fold(bar, kept) for bar in bars] for phase, bars in parts.items()}


def _fold(bar: dict[str, float], kept: list[str]) -> dict[str, float]:
    rest = sum(seconds for name, seconds in bar.items() if name not in kept)
    shown = {name: seconds for name, seconds in bar.items() if name in kept}
    return {**shown, REST: rest} if rest else shown


def _colours(parts: Parts, by: str, categories: dict[str, str]) -> dict[str, str]:
    """A colour for each part, in the order in which they are stacked; operators of a category are tones of its colour."""
    names = dict.fromkeys(name for bar in chain(*parts.values()) for name in bar)
    if by == "bound":
        grey = theme.CATEGORY_COLOURS["other"]
        return {name: theme.BOUND_COLOURS.get(name, grey) for name in (*BOUNDS, WAITS["power"]) if name in names}
    colours: dict[str, str] = {}
    for category, colour in theme.CATEGORY_COLOURS.items():
        alike = [
            name for name in names if categories.get(name, name if name in theme.CATEGORY_COLOURS else "other") == category
        ]
        colours |= dict(zip(alike, theme.shades(colour, len(alike)), strict=True))
    return colours


def _draw(
    figure: Figure, row: int, *, phase: str, names: list[str], bars: list[dict[str, float]], colours: dict[str, str], dark: bool
) -> None:
    totals = [sum(bar.values()) for bar in bars]
    scale = scale_of(Quantity(f"{phase} time", "s"), totals)
    ink = theme.inks(dark)
    for name, colour in colours.items():
        seconds = [bar.get(name, 0.0) for bar in bars]
        if not any(seconds):
            continue
        figure.add_bar(
            orientation="h",
            y=names,
            x=[value / scale.factor for value in seconds],
            name=name,
            legendgroup=name,
            showlegend=not any(trace.name == name for trace in figure.data),
            marker={"color": colour, "line": {"color": ink.surface, "width": 1}},
            hoverinfo="text",
            hovertext=[
                f"<b>{name}</b>, {phase}<br>{format_si(value, 's')}, {value / whole:.1%} of {phase}" if whole else name
                for value, whole in zip(seconds, totals, strict=True)
            ],
            row=row,
            col=1,
        )
    figure.add_scatter(
        x=[value / scale.factor for value in totals],
        y=names,
        mode="text",
        text=[f"{NO_BREAK}{format_si(value, 's')}" if value else "" for value in totals],
        textposition="middle right",
        textfont={"size": 11, "color": ink.text},
        hoverinfo="skip",
        showlegend=False,
        meta="total",
        row=row,
        col=1,
    )
    longest = 1.18 * max(totals) / scale.factor
    figure.update_xaxes(title_text=scale.label, range=[0, longest], row=row, col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False, row=row, col=1)


def _height(names: list[str], panels: int) -> int | None:
    """Pixels that keep long labels apart; none are asked for where they have room."""
    lines = sum(name.count("<br>") + 2 for name in names)
    needed = AROUND + panels * (LABEL_LINE * lines + BETWEEN)
    return needed if needed > USUAL_HEIGHT else None


def _names(predictions: list[Prediction], labels: Sequence[str] | None) -> list[str]:
    if not predictions:
        raise InvalidValueError("there is no prediction to draw", field="predictions", allowed="one prediction or several")
    if labels is not None and len(labels) != len(predictions):
        raise InvalidValueError(
            f"labels: {len(labels)} names for {len(predictions)} predictions", field="labels", allowed="one for each prediction"
        )
    named = list(labels) if labels is not None else _differences(predictions)
    if len(set(named)) < len(named):
        named = [f"{index}: {name}" for index, name in enumerate(named, start=1)]
    return ["<br>".join(textwrap.wrap(str(name), LABEL_COLUMNS)) for name in named]


def _differences(predictions: list[Prediction]) -> list[str]:
    """What tells each prediction from the others; the model's name where nothing does."""
    described = [_description(prediction) for prediction in predictions]
    varied = [key for key in described[0] if len({str(entry[key]) for entry in described}) > 1] or ["model"]
    return [", ".join(_said(key, entry[key]) for key in varied) for entry in described]


def _in_common(predictions: list[Prediction]) -> str:
    """What all predictions share, for the subtitle."""
    first, *others = [_description(prediction) for prediction in predictions]
    shared = [key for key in ("model", "platform", "precision", "batch", "input", "output", "fidelity") if key in first]
    said = [_said(key, first[key]) for key in shared if all(entry[key] == first[key] for entry in others)]
    return ", ".join(words.replace(" ", NO_BREAK) for words in said)


def _description(prediction: Prediction) -> dict[str, Any]:
    question = prediction.question
    workload, laid = question.workload, question.parallelism
    return {
        "model": question.model.name,
        "platform": question.platform.name,
        "precision": question.widths.name,
        "engine": question.engine.name,
        "fidelity": question.fidelity,
        "tp": laid.tensor,
        "pp": laid.pipeline,
        "ep": laid.expert,
        "batch": workload.batch,
        "input": workload.input_tokens,
        "output": workload.output_tokens,
    }


def _said(key: str, value: Any) -> str:
    return f"{key} {value:,}" if isinstance(value, int) else str(value)
