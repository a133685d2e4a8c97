"""How a metric grows or shrinks along one column of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import InvalidValueError
from genz.plots import theme
from genz.plots.frames import FEASIBLE, check_columns, check_distinct, check_some, numbers, table_of, units_of
from genz.plots.scales import Scale, is_wide, log_axis, quantity_of, scale_of, series_name

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

MOST_LINES = 12


def scaling(
    frame: Any, x: str, metric: str, *, by: str | None = None, goal: str | float | None = None, dark: bool = False
) -> Figure:
    """Lines of a metric over a column of numbers, one for each value of the column `by`; gaps where nothing fits.

    Axes are logarithmic where their values span a factor of 20. `goal` ("30 ms", or an SI number) is a level line.

    Raises `UnknownNameError` for a column that is not there, `InvalidValueError` where a line would have two values at
    one place, where nothing fits, or for more than 12 lines, `UnsupportedError` without Plotly.
    """
    figure = theme.new_figure(dark=dark)
    table = table_of(frame)
    check_columns(table, x, metric, by)
    check_distinct(table, *([x] if by is None else [x, by]))
    xs, ys = numbers(table.drop(columns=list(FEASIBLE), errors="ignore"), x), numbers(table, metric)
    drawn = np.isfinite(xs) & np.isfinite(ys)
    check_some(np.where(drawn, ys, np.nan), metric)
    level = None if goal is None else quantity_of(metric, units_of(table)).read(goal, field="goal")
    scales = (scale_of(quantity_of(x, units_of(table)), xs[drawn]), scale_of(quantity_of(metric, units_of(table)), ys[drawn]))
    for index, (name, rows) in enumerate(_lines(table, by)):
        order = rows[np.argsort(xs[rows], kind="stable")]
        _draw_line(figure, xs[order], ys[order], scales=scales, name=name, index=index)
    if level is not None:
        ends = [np.nanmin(xs[drawn]) / scales[0].factor, np.nanmax(xs[drawn]) / scales[0].factor]
        line = {"color": theme.inks(dark).text, "width": 1.5, "dash": "dash"}
        name = f"goal: {scales[1].quantity.show(level)}"
        figure.add_scatter(x=ends, y=[level / scales[1].factor] * 2, mode="lines", line=line, name=name, meta="goal")
    figure.update_xaxes(title_text=scales[0].label, **_across(xs[drawn] / scales[0].factor))
    heights = ys[drawn] if level is None else np.append(ys[drawn], level)
    figure.update_yaxes(title_text=scales[1].label, **_upwards(heights / scales[1].factor))
    figure.update_layout(showlegend=by is not None or level is not None)
    title = f"{scales[1].quantity.title} over {scales[0].quantity.title}"
    subtitle = "" if by is None else f"By {quantity_of(by, units_of(table)).title}"
    return theme.entitle(figure, title[:1].upper() + title[1:], subtitle, dark=dark)


def _lines(table: pd.DataFrame, by: str | None) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Name and row numbers of each line, in the order of the table."""
    if by is None:
        return [("", np.arange(len(table)))]
    values = table[by].to_numpy()
    distinct = list(dict.fromkeys(values))
    if len(distinct) > MOST_LINES:
        raise InvalidValueError(
            f"{by} has {len(distinct)} values, too many lines to tell apart",
            field="by",
            value=by,
            allowed=f"at most {MOST_LINES} values",
            hint="keep some of them, or draw genz.plots.heat_map",
        )
    quantity = quantity_of(by, units_of(table))
    return [(series_name(by, value, quantity), np.flatnonzero(values == value)) for value in distinct]


def _draw_line(
    figure: Figure, xs: np.ndarray[Any, Any], ys: np.ndarray[Any, Any], *, scales: tuple[Scale, Scale], name: str, index: int
) -> None:
    colours, dashes = theme.SERIES_COLOURS, theme.SERIES_DASHES
    lines = [name] * bool(name)
    figure.add_scatter(
        x=xs / scales[0].factor,
        y=ys / scales[1].factor,
        mode="lines+markers",
        name=name,
        connectgaps=False,
        line={"color": colours[index % len(colours)], "width": 2, "dash": dashes[index // len(colours)]},
        marker={"size": 5},
        hoverinfo="text",
        hovertext=[
            "<br>".join([*lines, *(f"{s.quantity.title}: {s.quantity.show(v)}" for s, v in zip(scales, point, strict=True))])
            for point in zip(xs, ys, strict=True)
        ],
    )


def _across(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    return log_axis(values.min(), values.max(), room=0.03, at=values) if is_wide(values) else {}


def _upwards(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    return log_axis(values.min(), values.max(), room=0.06) if is_wide(values) else {"rangemode": "tozero"}
