"""Which parameters a metric hangs on."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genz.errors import InvalidValueError, unknown_name
from genz.plots import theme
from genz.plots.frames import check_columns, table_of
from genz.plots.scales import quantity_of

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

MOST_BARS = 12
LABEL_COLUMNS = 22
STILL = 2e-3  # of the strongest change: what is weaker is no bar that could be seen
_CHANGE = re.compile(r"change_at_(?P<sign>[+-])(?P<per_cent>[\d.e+-]+)%")


def tornado(sensitivity: Any, metric: str | None = None, *, dark: bool = False) -> Figure:
    """By how much a metric changes where each parameter falls or grows by the share that was asked for, the strongest first.

    Takes what `genz.sensitivity` returns, or its table. The metric is the first one unless told; parameters that it does
    not react to are left out. Hover tells the elasticities on both sides.

    Raises `UnknownNameError` for a metric that was not asked for, `InvalidValueError` where there is nothing to draw,
    `UnsupportedError` without Plotly.
    """
    figure = theme.new_figure(dark=dark)
    table = table_of(sensitivity)
    check_columns(table, "metric", "parameter", "elasticity_left", "elasticity_right")
    changes = _change_columns(table)
    asked = list(dict.fromkeys(table["metric"]))
    chosen = asked[0] if metric is None else metric
    if chosen not in asked:
        raise unknown_name("metric", str(metric), map(str, asked))
    rows = _strongest(table[table["metric"] == chosen], list(changes))
    names = ["<br>".join(textwrap.wrap(title, LABEL_COLUMNS)) for title in _titles(rows)]
    colours = dict(zip(changes, theme.SERIES_COLOURS, strict=False))
    for column, words in changes.items():
        figure.add_bar(
            orientation="h",
            y=names,
            x=[100 * value for value in rows[column].astype(float)],
            name=f"the parameter {words}",
            marker_color=colours[column],
            hoverinfo="text",
            hovertext=[_hover(row, words, row[column]) for row in rows.to_dict(orient="records")],
            meta=column,
        )
    quantity = quantity_of(chosen)
    figure.update_layout(barmode="overlay", bargap=0.3)
    figure.update_xaxes(title_text=f"Change of {quantity.title} [%]", zeroline=True, zerolinecolor=theme.inks(dark).muted)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return theme.entitle(figure, f"What {quantity.title} hangs on", _subtitle(sensitivity), dark=dark)


def _change_columns(table: pd.DataFrame) -> dict[str, str]:
    """The columns of changes, and what the parameter does there: falls first."""
    found = {}
    for column in map(str, table.columns):
        match = _CHANGE.fullmatch(column)
        if match is not None:
            found[column] = f"{'grows' if match['sign'] == '+' else 'falls'} by {float(match['per_cent']):g} %"
    if len(found) != 2:
        raise InvalidValueError(
            "the table has no columns of changes", field="sensitivity", allowed="what genz.sensitivity returns"
        )
    return dict(sorted(found.items(), key=lambda entry: entry[1]))


def _strongest(rows: pd.DataFrame, changes: list[str]) -> pd.DataFrame:
    sizes = rows[changes].astype(float).abs().max(axis="columns").fillna(0.0)
    reacting = sizes[sizes > STILL * sizes.max()].sort_values(ascending=False, kind="stable").index[:MOST_BARS]
    if not len(reacting):
        raise InvalidValueError("the metric reacts to none of the parameters", field="parameters", hint="ask for others")
    strongest: pd.DataFrame = rows.loc[reacting]
    return strongest


def _titles(rows: pd.DataFrame) -> list[str]:
    column = "title" if "title" in rows.columns else "parameter"
    return [str(title) for title in rows[column]]


def _hover(row: Mapping[Any, Any], words: str, change: float | None) -> str:
    sides = [row["elasticity_left"], row["elasticity_right"]]
    slopes = [f"{value:+.3g}" if value is not None and math.isfinite(value) else "none" for value in sides]
    elasticity = slopes[0] if slopes[0] == slopes[1] else f"{slopes[0]} below, {slopes[1]} above"
    changed = "no answer" if change is None or not math.isfinite(change) else f"{change:+.2%}"
    bound = row.get("bound_after") if "grows" in words else None
    lines = [f"<b>{row['parameter']}</b> {words}: {changed}", f"elasticity: {elasticity}"]
    return "<br>".join([*lines, f"it then waits for: {bound}"] if isinstance(bound, str) else lines)


def _subtitle(sensitivity: Any) -> str:
    question = getattr(sensitivity, "question", None)
    if question is None:
        return ""
    return f"{question.model.name} on {question.platform.name}, batch {question.workload.batch:,}, {question.fidelity}"
