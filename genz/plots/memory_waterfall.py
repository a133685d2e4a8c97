"""What fills the memory of the fullest device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genz.errors import InvalidValueError, shown
from genz.footprint import Memory
from genz.plots import theme
from genz.plots.frames import check_prediction
from genz.plots.scales import Quantity, scale_of
from genz.units import format_bytes

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from genz.inference.prediction import Prediction

TERMS = {
    "weights_bytes": "weights",
    "kv_cache_bytes": "KV cache",
    "activations_bytes": "activations",
    "logits_bytes": "logits",
    "communication_bytes": "communication<br>buffers",
    "reserve_bytes": "reserve",
}


def memory_waterfall(prediction: Prediction | Memory, *, dark: bool = False) -> Figure:
    """Terms of the fullest device's memory [B] up to their total, with the engine's budget and the device's capacity.

    Takes a prediction, or the `memory` of one; that of a `DoesNotFitError` shows by how much it is exceeded. Raises
    `UnsupportedError` without Plotly, `InvalidValueError` for arrays and for what is no prediction.
    """
    figure = theme.new_figure(dark=dark)
    memory = prediction if isinstance(prediction, Memory) else check_prediction(prediction).memory
    total, budget, capacity = (_single(getattr(memory, f"{name}_bytes")) for name in ("total", "budget", "capacity"))
    terms = {label: _single(getattr(memory, name)) for name, label in TERMS.items()}
    scale = scale_of(Quantity("memory of the fullest device", "B"), [capacity])
    ink = theme.inks(dark)
    fits = total <= budget
    figure.add_waterfall(
        orientation="h",
        y=[*terms, "total"],
        x=[*(value / scale.factor for value in terms.values()), total / scale.factor],
        measure=[*["relative"] * len(terms), "total"],
        increasing_marker_color=theme.SERIES_COLOURS[0],
        totals_marker_color=ink.muted if fits else theme.BOUND_COLOURS["compute"],
        connector={"line": {"color": ink.muted, "width": 1}},
        text=[format_bytes(value, digits=3) for value in (*terms.values(), total)],
        textposition="outside",
        textfont={"size": 11, "color": ink.text},
        cliponaxis=False,
        hoverinfo="text",
        hovertext=[
            f"{label.replace('<br>', ' ')}: {format_bytes(value)}, {value / capacity:.1%} of the device"
            for label, value in {**terms, "total": total}.items()
        ],
        showlegend=False,
    )
    for value, name, colour in ((budget, "budget", theme.CATEGORY_COLOURS["attention"]), (capacity, "device", ink.text)):
        figure.add_vline(
            x=value / scale.factor,
            line={"color": colour, "width": 2, "dash": "dash" if name == "budget" else "solid"},
            name=f"{name}, {format_bytes(value, digits=3)}",
            showlegend=True,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title_text=scale.label, range=[0, 1.22 * max(total, capacity) / scale.factor])
    return theme.entitle(figure, _title(total, budget), _subtitle(prediction), dark=dark)


def _single(value: Any) -> float:
    try:
        return float(value)
    except TypeError:
        raise InvalidValueError(
            f"memory: {shown(value)} is no single number", field="memory", value=value, hint="draw one prediction"
        ) from None


def _title(total: float, budget: float) -> str:
    if total <= budget:
        return f"{format_bytes(budget - total, digits=3)} of the engine's memory are left"
    return f"{format_bytes(total - budget, digits=3)} more than the engine's memory"


def _subtitle(prediction: Prediction | Memory) -> str:
    if isinstance(prediction, Memory):
        return ""
    question = prediction.question
    return f"{question.model.name} on {question.platform.name}, batch {question.workload.batch:,}"
