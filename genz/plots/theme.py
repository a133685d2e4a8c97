"""What all figures share: colours that mean the same everywhere, a light and a dark template, titles that fit a phone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from genz.errors import UnsupportedError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Okabe and Ito's colours for the colour-blind: on white and on the dark surface each has a contrast of 3:1 or more.
BOUND_COLOURS: Mapping[str, str] = MappingProxyType(
    {"compute": "#D55E00", "memory": "#0072B2", "network": "#009E73", "host": "#CC79A7"}
)
# What a kernel does is not what it waits for, but exchanges and the host are both.
CATEGORY_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "gemm": "#7A5FC0",
        "experts": "#A6611A",
        "attention": "#E69F00",
        "elementwise": "#56B4E9",
        "embedding": "#B8B14A",
        "collective": BOUND_COLOURS["network"],
        "host": BOUND_COLOURS["host"],
        "other": "#8A8F98",
    }
)
SERIES_COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#CCBB44", "#66CCEE", "#8A8F98")  # Paul Tol, "bright"
SERIES_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
INFEASIBLE = "infeasible"
LOWEST_TO_HIGHEST = "Viridis"  # even in lightness, and read alike by the colour-blind

TITLE_COLUMNS = 48  # characters of the title's and the subtitle's size that fit 400 pixels
SUBTITLE_COLUMNS = 62
TITLE_LINE, SUBTITLE_LINE = 21, 16  # pixels
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Inks:
    """Colours of a figure that carry no meaning of their own."""

    surface: str
    text: str
    muted: str
    grid: str
    infeasible: str


LIGHT = Inks(surface="#FFFFFF", text="#1B1F24", muted="#5B6470", grid="#E3E6EA", infeasible="#C9CDD3")
DARK = Inks(surface="#14171B", text="#E8EAED", muted="#A3ABB5", grid="#2C323A", infeasible="#4A515B")


def inks(dark: bool) -> Inks:
    """The colours of text and lines on a light or a dark surface."""
    return DARK if dark else LIGHT


def new_figure(*, dark: bool, rows: int | None = None) -> Figure:
    """An empty figure in the template, of panels one above the other if told how many. Raises `UnsupportedError`."""
    check_plotly()
    from plotly.graph_objects import Figure
    from plotly.subplots import make_subplots

    figure = Figure() if rows is None else make_subplots(rows=rows, cols=1, vertical_spacing=0.16)
    figure.update_layout(template=template(dark))
    return figure


def check_plotly() -> None:
    """Raise `UnsupportedError` where Plotly is not installed."""
    if find_spec("plotly") is None:
        raise UnsupportedError(
            "plots need Plotly, which is not installed", field="plots", hint='install it with: pip install "genz[plots]"'
        )


@cache
def template(dark: bool) -> Any:
    """The Plotly template of all figures: few lines, a legend below, labels that make the room they need."""
    from plotly.graph_objects import layout

    ink = inks(dark)
    axis = {
        "automargin": True,
        "gridcolor": ink.grid,
        "linecolor": ink.muted,
        "zeroline": False,
        "ticks": "",
        "title": {"font": {"size": 12, "color": ink.muted}, "standoff": 8},
        "tickfont": {"size": 11, "color": ink.muted},
        "minor": {"showgrid": False},
    }
    return layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": ink.text},
            "paper_bgcolor": ink.surface,
            "plot_bgcolor": ink.surface,
            "colorway": list(SERIES_COLOURS),
            "xaxis": axis,
            "yaxis": axis,
            "title": {"x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top", "pad": {"l": 14, "t": 14}},
            "legend": {
                "orientation": "h",
                "yref": "container",
                "y": 0,
                "yanchor": "bottom",
                "x": 0,
                "font": {"size": 11, "color": ink.text},
                "itemsizing": "constant",
                "itemwidth": 40,
            },
            "hoverlabel": {
                "align": "left",
                "bgcolor": ink.surface,
                "bordercolor": ink.muted,
                "font": {"family": FONT, "size": 12, "color": ink.text},
            },
            "margin": {"l": 16, "r": 16, "t": 16, "b": 16},
            "colorscale": {"sequential": LOWEST_TO_HIGHEST},
            "coloraxis": {"colorbar": {"outlinewidth": 0}},
        }
    )


def entitle(figure: Figure, title: str, subtitle: str = "", *, dark: bool) -> Figure:
    """Set a title, and a smaller line under it, wrapped so that both can be read 400 pixels wide."""
    titles, subtitles = textwrap.wrap(title, TITLE_COLUMNS), textwrap.wrap(subtitle, SUBTITLE_COLUMNS)
    ink = inks(dark)
    under = {"text": "<br>".join(subtitles), "font": {"size": 12, "color": ink.muted}} if subtitles else None
    figure.update_layout(
        title={
            "text": "<br>".join(titles),
            "font": {"size": 16, "color": ink.text},
            "subtitle": under,
            "pad_t": 14 + 13 * (len(titles) - 1),  # Plotly hangs a title by its middle
        },
        margin_t=28 + TITLE_LINE * len(titles) + SUBTITLE_LINE * len(subtitles),
    )
    return figure


def shades(colour: str, number: int) -> list[str]:
    """So many tones of a colour, from itself towards white: for what belongs together."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    steps = [0.6 * i / max(number, 2) for i in range(number)]
    return ["#" + "".join(f"{round(part + (255 - part) * step):02X}" for part in (red, green, blue)) for step in steps]


def patch(figure: Figure, name: str, colour: str, **marker: Any) -> None:
    """A legend entry for what is drawn as an area: a square of its colour."""
    from plotly.graph_objects import Scatter

    style = {"symbol": "square", "size": 12, "color": colour, **marker}
    figure.add_trace(Scatter(x=[None], y=[None], mode="markers", marker=style, name=name, hoverinfo="skip", showlegend=True))
