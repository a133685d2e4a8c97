"""Two metrics against each other, and the configurations that no other one beats in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genz.explore.pareto import non_dominated
from genz.inference.metrics import METRICS
from genz.plots import theme
from genz.plots.frames import check_columns, check_some, configuration, numbers, table_of, units_of
from genz.plots.scales import Scale, is_wide, log_axis, quantity_of, scale_of, series_name

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

FAINT, CLEAR = 0.6, 1.0
MOST_GROUPS = 7
FEW = 100  # points that may be drawn larger


def pareto(
    frame: Any,
    x: str = "output_tokens_per_s_per_user",
    y: str = "output_tokens_per_s_per_device",
    *,
    by: str | None = None,
    smaller_x: bool | None = None,
    smaller_y: bool | None = None,
    dark: bool = False,
) -> Figure:
    """Each configuration by two columns, and the front: those of which none is at least as good in both and better in one.

    `frame` is a table, or anything with `to_frame()`; rows that do not fit are left out. Of GenZ's own metrics
    it is known whether more is better; of another column, less is, unless `smaller_x=False`. `by` is a column whose
    values take a colour each. Hover tells the configuration.

    Raises `InvalidValueError` where no row has both values, `UnknownNameError` for a column that is not there,
    `UnsupportedError` without Plotly.
    """
    figure = theme.new_figure(dark=dark)
    table = table_of(frame)
    check_columns(table, x, y, by)
    values = {x: numbers(table, x), y: numbers(table, y)}
    drawn = np.isfinite(values[x]) & np.isfinite(values[y])
    check_some(np.where(drawn, values[x], np.nan), x)
    table, xs, ys = table[drawn], values[x][drawn], values[y][drawn]
    fewer = (_is_smaller_better(x, smaller_x), _is_smaller_better(y, smaller_y))
    best = _front(xs, ys, fewer)
    scales = (scale_of(quantity_of(x, units_of(table)), xs), scale_of(quantity_of(y, units_of(table)), ys))
    _draw_groups(figure, table, points=(xs, ys), scales=scales, best=best, by=by, dark=dark)
    _draw_front(figure, xs[best] / scales[0].factor, ys[best] / scales[1].factor, dark)
    figure.update_xaxes(title_text=scales[0].label, **_axis(xs / scales[0].factor))
    figure.update_yaxes(title_text=scales[1].label, **_axis(ys / scales[1].factor))
    better = f"better: {'lower' if fewer[0] else 'higher'} across, {'lower' if fewer[1] else 'higher'} upwards"
    subtitle = f"{len(best):,} of {len(xs):,} configurations that fit are on the front; {better}"
    title = f"{scales[1].quantity.title} against {scales[0].quantity.title}"
    return theme.entitle(figure, title[:1].upper() + title[1:], subtitle, dark=dark)


def _front(
    xs: np.ndarray[Any, np.dtype[np.float64]], ys: np.ndarray[Any, np.dtype[np.float64]], fewer: tuple[bool, bool]
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Indices of the points that none dominates, from the left to the right."""
    costs = np.column_stack([values if less else -values for values, less in zip((xs, ys), fewer, strict=True)])
    found = np.flatnonzero(non_dominated(costs))
    return found[np.argsort(xs[found], kind="stable")]


def _is_smaller_better(column: str, told: bool | None) -> bool:
    if told is not None:
        return told
    return column not in METRICS or not METRICS[column].grows


def _axis(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    if not is_wide(values):
        return {"rangemode": "tozero"}
    return log_axis(values.min(), values.max(), room=0.06)


def _draw_groups(
    figure: Figure,
    table: pd.DataFrame,
    *,
    points: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    scales: tuple[Scale, Scale],
    best: np.ndarray[Any, Any],
    by: str | None,
    dark: bool,
) -> None:
    """The points, those of the front clear and with a rim, the others small and faint."""
    on_front = np.zeros(len(table), dtype=bool)
    on_front[best] = True
    for name, colour, chosen in _groups(table, by):
        for is_best in (False, True):
            rows = np.flatnonzero(chosen & (on_front == is_best))
            if not len(rows):
                continue
            figure.add_scatter(
                x=points[0][rows] / scales[0].factor,
                y=points[1][rows] / scales[1].factor,
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=by is not None and (is_best or not (chosen & on_front).any()),
                meta="front" if is_best else "others",
                hoverinfo="text",
                hovertext=_hover(table.iloc[rows], points, rows, scales),
                marker={
                    "color": colour,
                    "size": 10 if is_best else 8 if len(table) <= FEW else 6,
                    "opacity": CLEAR if is_best else FAINT,
                    "line": {"width": 1.5 if is_best else 0, "color": theme.inks(dark).text},
                },
            )


def _groups(table: pd.DataFrame, by: str | None) -> list[tuple[str, str, np.ndarray[Any, Any]]]:
    """Name, colour and rows of each value of a column, the rarest ones together where colours run out."""
    if by is None:
        return [("configurations", theme.SERIES_COLOURS[0], np.ones(len(table), dtype=bool))]
    quantity = quantity_of(by, units_of(table))
    words = np.array([series_name(by, value, quantity) for value in table[by].tolist()], dtype=object)
    named = list(dict.fromkeys(words))
    if len(named) > MOST_GROUPS:
        common = sorted(named, key=lambda name: -(words == name).sum())[:MOST_GROUPS]
        named = [name for name in named if name in common]
    groups = [(name, colour, words == name) for name, colour in zip(named, theme.SERIES_COLOURS, strict=False)]
    rest = ~np.isin(words, named)
    return [*groups, ("others", theme.CATEGORY_COLOURS["other"], rest)] if rest.any() else groups


def _hover(
    rows: pd.DataFrame, points: tuple[np.ndarray[Any, Any], ...], indices: np.ndarray[Any, Any], scales: tuple[Scale, Scale]
) -> list[str]:
    described = [column for column in configuration(rows) if not column.startswith("_")][:14]
    texts = []
    for index, record in zip(indices, rows[described].to_dict(orient="records"), strict=True):
        answer = [f"{scale.quantity.title}: {scale.quantity.show(at[index])}" for scale, at in zip(scales, points, strict=True)]
        texts.append(
            "<br>".join(
                [*answer, *(f"{name}: {quantity_of(str(name), units_of(rows)).show(value)}" for name, value in record.items())]
            )
        )
    return texts


def _draw_front(figure: Figure, xs: np.ndarray[Any, Any], ys: np.ndarray[Any, Any], dark: bool) -> None:
    line = {"color": theme.inks(dark).text, "width": 1, "dash": "dot"}
    figure.add_scatter(x=xs, y=ys, mode="lines", line=line, name="front", showlegend=False, hoverinfo="skip", meta="line")
