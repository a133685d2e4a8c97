"""What maps over two columns share: cells, axes and the places where nothing fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genz.plots import theme
from genz.plots.frames import is_numeric, units_of
from genz.plots.scales import is_wide, marks, plain, quantity_of, scale_of

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


class Axis:
    """One side of a map: where its cells lie, and how they are called.

    Numbers that span much lie on a logarithmic axis, others on an even one; names stand side by side.
    """

    def __init__(self, frame: pd.DataFrame, column: str, values: list[Any]) -> None:
        self.quantity = quantity_of(column, units_of(frame))
        self.values = values
        self.is_numeric = is_numeric(frame, column) and len(values) > 1
        if not self.is_numeric:
            self.places: list[Any] = list(range(len(values)))
            self.layout: dict[str, Any] = {
                "title_text": scale_of(self.quantity, []).label,
                "tickvals": self.places,
                "ticktext": [self.quantity.show(value) for value in values],
            }
            return
        scale = scale_of(self.quantity, [float(value) for value in values])
        self.places = [float(value) / scale.factor for value in values]
        self.layout = {"title_text": scale.label}
        if is_wide(self.places, ratio=8):
            ticks = marks(self.places[0], self.places[-1], self.places)
            self.layout |= {"type": "log", "tickvals": ticks, "ticktext": [plain(tick) for tick in ticks]}

    def name(self, index: int) -> str:
        """One of the values, with its unit."""
        return f"{self.quantity.title}: {self.quantity.show(self.values[index])}"


def axes_of(frame: pd.DataFrame, laid: pd.DataFrame) -> tuple[Axis, Axis]:
    """The axes of a table that `frames.grid` has laid out."""
    return (
        Axis(frame, str(laid.columns.name), list(laid.columns)),
        Axis(frame, str(laid.index.name), list(laid.index)),
    )


def draw_infeasible(figure: Figure, axes: tuple[Axis, Axis], missing: np.ndarray[Any, np.dtype[np.bool_]], dark: bool) -> None:
    """Cells of which nothing is known, grey, with an entry in the legend."""
    if not missing.any():
        return
    grey = theme.inks(dark).infeasible
    figure.add_heatmap(
        x=axes[0].places,
        y=axes[1].places,
        z=np.where(missing, 0.0, np.nan),
        colorscale=[[0, grey], [1, grey]],
        showscale=False,
        hoverongaps=False,
        hoverinfo="text",
        text=[
            [f"{axes[0].name(i)}<br>{axes[1].name(j)}<br>{theme.INFEASIBLE}" for i in range(missing.shape[1])]
            for j in range(missing.shape[0])
        ],
        meta="infeasible",
    )
    theme.patch(figure, theme.INFEASIBLE, grey)


def set_axes(figure: Figure, axes: tuple[Axis, Axis]) -> None:
    """Titles and ticks, no grid under the cells."""
    figure.update_xaxes(showgrid=False, **axes[0].layout)
    figure.update_yaxes(showgrid=False, **axes[1].layout)
