"""Predicted against measured, drawn: one page that needs nothing but itself."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from genz.validation.validate import Report

POINTS_PER_PLOT = 2000
# Beyond this a page takes browsers too long: the plots with the most rows are drawn.
MOST_PLOTS = 60
_UNITS = {"ops": "time [s]", "collectives": "time [s]", "e2e": "as measured"}
_STYLE = "body{font-family:sans-serif;margin:2em auto;max-width:1100px;color:#222}p{max-width:46em}"


def html_page(report: Report) -> str | None:
    """A log-log plot for each operator or metric, a colour a chip; none where Plotly is not installed."""
    if find_spec("plotly") is None:
        return None
    from plotly.offline import get_plotlyjs

    answered = report.rows[report.rows["refusal"] == ""]
    subject = answered["op"].where(answered["op"].notna(), answered["metric"])
    plots = sorted(answered.groupby(subject), key=lambda entry: -len(entry[1]))
    figures = [_figure(str(name), rows) for name, rows in plots[:MOST_PLOTS]]
    drawn = "\n".join(figure.to_html(full_html=False, include_plotlyjs=False) for figure in figures)
    left_out = f" {len(plots) - MOST_PLOTS} smaller groups are not drawn." if len(plots) > MOST_PLOTS else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Predicted against measured</title>
<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head><body>
<h1>Predicted against measured</h1>
<p>GenZ at fidelity {report.fidelity}: {len(answered):,} of {len(report.rows):,} rows answered. On the line a prediction is
right; dashes are a factor of two. At most {POINTS_PER_PLOT:,} points a plot, drawn at random.{left_out}</p>
{drawn if figures else "<p>No row was answered.</p>"}
</body></html>
"""


def _figure(name: str, rows: pd.DataFrame) -> Any:
    import plotly.graph_objects as go

    shown = rows if len(rows) <= POINTS_PER_PLOT else rows.sample(POINTS_PER_PLOT, random_state=0)
    figure = go.Figure()
    for hardware, points in shown.groupby("hardware", sort=True):
        figure.add_scatter(
            x=_short(points["measured"]),
            y=_short(points["predicted"]),
            name=str(hardware),
            mode="markers",
            marker={"size": 4, "opacity": 0.6},
        )
    low = float(min(shown["measured"].min(), shown["predicted"].min()))
    high = float(max(shown["measured"].max(), shown["predicted"].max()))
    for factor, dash in ((1.0, "solid"), (2.0, "dash"), (0.5, "dash")):
        ends = np.array([low, high])
        line = {"color": "#888", "width": 1, "dash": dash}
        figure.add_scatter(x=ends, y=ends * factor, mode="lines", line=line, showlegend=False, hoverinfo="skip")
    unit = _UNITS[str(rows["kind"].iloc[0])]
    figure.update_layout(
        title=f"{name}: {len(rows):,} rows",
        template="plotly_white",
        height=560,
        xaxis={"type": "log", "title": f"measured, {unit}"},
        yaxis={"type": "log", "title": f"predicted, {unit}"},
    )
    return figure


def _short(values: pd.Series) -> list[float]:
    """Four digits are more than a screen shows."""
    return [float(f"{value:.4g}") for value in values]
