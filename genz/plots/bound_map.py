"""Which resource a phase waits for, over two columns of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genz.errors import InvalidValueError, unknown_name
from genz.inference.phase import BOUNDS
from genz.plots import theme
from genz.plots.frames import check_columns, feasible, grid, table_of
from genz.plots.maps import axes_of, draw_infeasible, set_axes

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PHASES = ("prefill", "decode")


def bound_map(frame: Any, x: str, y: str, phase: str = "decode", *, dark: bool = False) -> Figure:
    """What the phase waits for at each pair of values of two columns: compute, memory, network or host.

    `frame` has one row for each pair, and the column `prefill_bound` or `decode_bound`, as studies have. What does not
    fit is grey. Raises `UnknownNameError` for a phase or a column that is not there, `InvalidValueError` where pairs
    repeat or nothing fits, `UnsupportedError` without Plotly.
    """
    figure = theme.new_figure(dark=dark)
    if phase not in PHASES:
        raise unknown_name("phase", str(phase), PHASES)
    table = table_of(frame)
    column = f"{phase}_bound"
    check_columns(table, x, y, column)
    laid = grid(table, x, y, _codes(table[column].to_numpy(dtype=object), feasible(table), column))
    axes, cells = axes_of(table, laid), laid.to_numpy()
    draw_infeasible(figure, axes, ~np.isfinite(cells), dark)
    for code, bound in enumerate(BOUNDS):
        chosen = cells == code
        if chosen.any():
            colour = theme.BOUND_COLOURS[bound]
            figure.add_heatmap(
                x=axes[0].places,
                y=axes[1].places,
                z=np.where(chosen, 0.0, np.nan),
                colorscale=[[0, colour], [1, colour]],
                showscale=False,
                hoverongaps=False,
                hoverinfo="text",
                text=[
                    [f"{axes[0].name(i)}<br>{axes[1].name(j)}<br><b>{bound}</b>" for i in range(cells.shape[1])]
                    for j in range(cells.shape[0])
                ],
                meta=bound,
            )
            theme.patch(figure, bound, colour)
    set_axes(figure, axes)
    title = f"What {phase} waits for, over {axes[0].quantity.title} and {axes[1].quantity.title}"
    return theme.entitle(figure, title, dark=dark)


def _codes(bounds: np.ndarray[Any, Any], fits: np.ndarray[Any, Any], column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The index of each bound, NaN where there is none."""
    known = {bound: float(index) for index, bound in enumerate(BOUNDS)}
    codes = np.array([known.get(bound, np.nan) for bound in bounds])
    codes[~fits] = np.nan
    if not np.isfinite(codes).any():
        raise InvalidValueError(
            f"no row has a {column}: nothing fits", field=column, allowed=", ".join(BOUNDS), hint="widen the study"
        )
    return codes
