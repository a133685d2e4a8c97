"""The roofline of a prediction, with every operator of both phases on it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from math import log10
from typing import TYPE_CHECKING

from genz.errors import InvalidValueError
from genz.inference.phase import BOUNDS, OperatorCost, PhaseCost
from genz.plots import theme
from genz.plots.frames import check_prediction
from genz.plots.scales import log_axis
from genz.timing.machine import VECTOR_TYPE
from genz.units import format_bytes, format_si

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from genz.inference.prediction import Prediction

SYMBOLS = {"prefill": "circle", "decode": "diamond"}
ENCODER_SYMBOL = "square"
SMALLEST, LARGEST = 6.0, 32.0  # pixels
TERA = 1e12
MARGIN, LABEL_MARGIN = 3.0, 50.0  # room around the points, and right of them for the names of the ceilings, as factors
LEVEL_DASHES = ("solid", "dash", "dashdot", "longdash")


@dataclass(frozen=True)
class Point:
    """One operator: FLOPs, bytes and seconds of one device over a whole phase."""

    phase: str
    cost: OperatorCost
    flops: float
    share: float

    @property
    def intensity(self) -> float:
        return self.flops / float(self.cost.memory_bytes)

    @property
    def rate(self) -> float:
        return self.flops / float(self.cost.device_time)

    @property
    def bound(self) -> str:
        return BOUNDS[self.cost.bound]


def roofline(prediction: Prediction, *, dark: bool = False) -> Figure:
    """Each operator by its arithmetic intensity [FLOP/B] and the rate that it reaches [FLOP/s], under the chip's ceilings.

    The FLOPs are those on the matrix units, and for operators without any those of the vector units; time includes
    launches. The area of a point is its time, its colour what it waits for, its shape the phase. Ceilings are the
    data-sheet rates of the data types in use and of each memory level. Exchanges and lookups compute nothing: the subtitle
    says what share of a phase they take. Numbers are those of one device (Williams et al., Roofline, CACM 2009).

    Raises `UnsupportedError` without Plotly, `InvalidValueError` for what is no prediction, or where nothing computes.
    """
    figure = theme.new_figure(dark=dark)
    points = points_of(check_prediction(prediction))
    if not points:
        raise InvalidValueError("no operator of this prediction computes anything", field="prediction")
    _draw_ceilings(figure, prediction, points, dark)
    longest = max(float(point.cost.device_time) for point in points)
    for phase in prediction.phases:
        for bound in BOUNDS:
            chosen = [point for point in points if (point.phase, point.bound) == (phase, bound)]
            if chosen:
                _draw_points(figure, chosen, phase=phase, bound=bound, longest=longest, dark=dark)
    first, *others = prediction.phases.values()
    title = f"Prefill waits for {_waited(first.bound)}" + "".join(f", {p.name} for {_waited(p.bound)}" for p in others)
    return theme.entitle(figure, title, _subtitle(prediction, points), dark=dark)


def points_of(prediction: Prediction) -> list[Point]:
    """The operators that compute and move something, in the order of the graph."""
    return [
        Point(name, cost, flops, float(cost.device_time) / float(phase.time))
        for name, phase in _phases(prediction).items()
        for cost in phase.operators
        if (flops := _flops(prediction, cost)) and cost.memory_bytes and cost.device_time
    ]


def ceilings(prediction: Prediction) -> dict[str, float]:
    """Rates of the matrix units in each data type in use, and of the vector units [FLOP/s]."""
    chip = prediction.question.platform.chip
    types = {
        run.first.matrix_type: None
        for phase in _phases(prediction).values()
        for cost in phase.operators
        for run in cost.operator.runs
        if run.first.matrix_type is not None
    }
    rates = {name: float(chip.multiply_rate(name)) for name in types}
    return {**rates, "vector": float(chip.vector_flops[VECTOR_TYPE])}


def _phases(prediction: Prediction) -> dict[str, PhaseCost]:
    return {name: prediction.outcome.phases[name] for name in prediction.phases}


def _flops(prediction: Prediction, cost: OperatorCost) -> float:
    """FLOPs on the matrix units; of an operator that does without, on the vector units, from how long they are busy."""
    if cost.operator.collective is not None or cost.matrix_flops:
        return float(cost.matrix_flops)
    question = prediction.question
    efficiency = 1.0 if question.fidelity == "roofline" else question.engine.efficiency.compute
    return float(cost.busy[1] * question.platform.chip.vector_flops[VECTOR_TYPE] * efficiency)


def _draw_ceilings(figure: Figure, prediction: Prediction, points: list[Point], dark: bool) -> None:
    ink = theme.inks(dark)
    levels = prediction.question.platform.chip.memory
    rates = ceilings(prediction)
    top, slowest = max(rates.values()), min(float(level.bandwidth) for level in levels.values())
    low = min(point.intensity for point in points) / MARGIN
    high = max(top / slowest, *(point.intensity for point in points)) * LABEL_MARGIN
    bottom = min(point.rate for point in points) / MARGIN
    fastest = max(float(level.bandwidth) for level in levels.values())
    line = {"color": ink.muted, "width": 1.5}
    for name, rate in rates.items():
        ends = [max(rate / fastest, low), high]
        _line(figure, ends, [rate, rate], {**line, "dash": "dot" if name == "vector" else "solid"})
        _label(figure, high, rate, f"{name.upper() if name != 'vector' else name} {format_si(rate, 'FLOP/s')}", ink)
    for (name, level), dash in zip(levels.items(), cycle(LEVEL_DASHES), strict=False):
        bandwidth = float(level.bandwidth)
        start = max(low, bottom / bandwidth)
        label = f"{name.upper()} {format_si(bandwidth, 'B/s')}"
        _line(figure, [start, top / bandwidth], [start * bandwidth, top], {**line, "dash": dash}, label)
    figure.update_xaxes(title_text="Arithmetic intensity [FLOP/B]", **log_axis(low, high))
    figure.update_yaxes(title_text="Rate of one device [TFLOP/s]", **log_axis(bottom / TERA, top * MARGIN / TERA))


def _line(figure: Figure, x: list[float], y: list[float], line: dict[str, object], name: str | None = None) -> None:
    figure.add_scatter(
        x=x,
        y=[value / TERA for value in y],
        mode="lines",
        line=line,
        name=name,
        showlegend=name is not None,
        hoverinfo="skip",
        meta="ceiling",
    )


def _label(figure: Figure, x: float, y: float, text: str, ink: theme.Inks) -> None:
    """Above the right end of a ceiling."""
    figure.add_annotation(
        x=log10(x),
        y=log10(y / TERA),
        text=text,
        showarrow=False,
        xanchor="right",
        yanchor="bottom",
        font={"size": 10, "color": ink.muted},
        borderpad=0,
    )


def _draw_points(figure: Figure, points: list[Point], *, phase: str, bound: str, longest: float, dark: bool) -> None:
    figure.add_scatter(
        x=[point.intensity for point in points],
        y=[point.rate / TERA for point in points],
        mode="markers",
        name=f"{phase}, {bound}",
        hovertext=[_hover(point) for point in points],
        hoverinfo="text",
        customdata=[[point.cost.operator.layer, point.cost.operator.name] for point in points],
        marker={
            "symbol": SYMBOLS.get(phase, ENCODER_SYMBOL),
            "color": theme.BOUND_COLOURS[bound],
            "opacity": 0.85,
            "size": [max(LARGEST * (float(point.cost.device_time) / longest) ** 0.5, SMALLEST) for point in points],
            "line": {"width": 1, "color": theme.inks(dark).surface},
        },
    )


def _hover(point: Point) -> str:
    cost = point.cost
    rows = (
        f"<b>{cost.operator.name}</b>, {point.phase}",
        f"layer: {cost.operator.layer}, {cost.operator.count} in a step",
        f"time: {format_si(float(cost.device_time), 's')}, {point.share:.1%} of {point.phase}",
        f"waits for: {point.bound}",
        f"work: {format_si(point.flops, 'FLOP')}, moved: {format_bytes(float(cost.memory_bytes), digits=3)}",
        f"{point.intensity:,.3g} FLOP/B, {format_si(point.rate, 'FLOP/s')}",
    )
    return "<br>".join(rows)


def _waited(bound: str) -> str:
    return f"the {bound}" if bound in ("network", "host") else bound


def _subtitle(prediction: Prediction, points: list[Point]) -> str:
    question = prediction.question
    where = f"{question.model.name} on {question.platform.name}, {question.fidelity}."
    missing = {name: 1 - sum(point.share for point in points if point.phase == name) for name in prediction.phases}
    shares = " and ".join(f"{share:.0%} of {name}" for name, share in missing.items())
    return f"{where} Exchanges, lookups and the host, which compute nothing, take {shares}."
