"""A metric over two columns of a study, such as two figures of the hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import InvalidValueError
from genz.inference.metrics import METRICS
from genz.plots import theme
from genz.plots.frames import check_columns, check_some, grid, numbers, table_of, units_of
from genz.plots.maps import Axis, axes_of, draw_infeasible, set_axes
from genz.plots.scales import Scale, even_ticks, is_wide, log_ticks, plain, quantity_of, scale_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def heat_map(
    frame: Any, x: str, y: str, metric: str, *, goal: str | float | None = None, log: bool | None = None, dark: bool = False
) -> Figure:
    """The metric of each pair of values of two columns; what does not fit is grey.

    `frame` has one row for each pair. Brighter is better, where the metric is one of GenZ's. The colours are logarithmic
    where the values span a factor of 20 (or as `log` says). `goal` ("30 ms", or an SI number) draws the line on which the
    metric has that value.

    Raises `UnknownNameError` for a column that is not there, `InvalidValueError` where pairs repeat or nothing fits,
    `UnitError` for a goal in another unit, `UnsupportedError` without Plotly.
    """
    figure = theme.new_figure(dark=dark)
    table = table_of(frame)
    check_columns(table, x, y, metric)
    values = numbers(table, metric)
    check_some(values, metric)
    laid = grid(table, x, y, values)
    axes, cells = axes_of(table, laid), laid.to_numpy()
    quantity = quantity_of(metric, units_of(table))
    finite = cells[np.isfinite(cells)]
    scale = scale_of(quantity, finite)
    is_log = is_wide(finite) if log is None else bool(log and finite.min() > 0)
    draw_infeasible(figure, axes, ~np.isfinite(cells), dark)
    _draw_cells(figure, axes, cells, scale=scale, is_log=is_log, metric=metric)
    if goal is not None:
        level = quantity.read(goal, field="goal")
        if is_log and level <= 0:
            raise InvalidValueError(f"goal: {goal!r} is not allowed", field="goal", value=goal, allowed="a positive value")
        _draw_goal(figure, axes, cells, level, name=f"goal: {quantity.show(level)}", is_log=is_log, dark=dark)
    set_axes(figure, axes)
    title = f"{quantity.title} over {axes[0].quantity.title} and {axes[1].quantity.title}"
    brighter = "Brighter is better." if metric in METRICS else ""
    return theme.entitle(figure, title[:1].upper() + title[1:], brighter, dark=dark)


def _draw_cells(
    figure: Figure, axes: tuple[Axis, Axis], cells: np.ndarray[Any, Any], *, scale: Scale, is_log: bool, metric: str
) -> None:
    shown = cells / scale.factor
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    ticks = log_ticks(low, high) if is_log else even_ticks(low, high)
    figure.add_heatmap(
        x=axes[0].places,
        y=axes[1].places,
        z=np.log10(shown) if is_log else shown,
        customdata=cells,
        colorscale=theme.LOWEST_TO_HIGHEST,
        reversescale=metric in METRICS and not METRICS[metric].grows,
        hoverongaps=False,
        hoverinfo="text",
        text=[
            [
                f"{axes[0].name(i)}<br>{axes[1].name(j)}<br><b>{scale.quantity.title}: {scale.quantity.show(value)}</b>"
                for i, value in enumerate(row)
            ]
            for j, row in enumerate(cells)
        ],
        meta=metric,
        colorbar={
            "title": {"text": scale.unit, "side": "top"},
            "tickvals": np.log10(ticks) if is_log else ticks,
            "ticktext": [plain(tick) for tick in ticks],
            "thickness": 12,
            "outlinewidth": 0,
        },
    )


def _draw_goal(
    figure: Figure, axes: tuple[Axis, Axis], cells: np.ndarray[Any, Any], level: float, *, name: str, is_log: bool, dark: bool
) -> None:
    """A pale line with a dark rim, which stands out from every colour of the cells."""
    at = float(np.log10(level)) if is_log else level
    pale, deep = theme.DARK.text, theme.DARK.surface
    for colour, width in ((deep, 5), (pale, 2)):
        figure.add_contour(
            x=axes[0].places,
            y=axes[1].places,
            z=np.log10(cells) if is_log else cells,
            contours={"start": at, "end": at, "size": 1, "coloring": "none"},
            line={"color": colour, "width": width, "smoothing": 0},
            connectgaps=False,
            hoverinfo="skip",
            name=name,
            legendgroup="goal",
            showlegend=(colour == pale) == dark,
            showscale=False,
            meta="goal",
        )
