"""Plotly figures of what GenZ returns: `genz.plots.roofline(prediction)`, and so on; each needs `pip install "genz[plots]"`.

All take `dark=True` for a dark surface, and return a `plotly.graph_objects.Figure` to show, change or save.
"""

from genz.plots.bound_map import bound_map
from genz.plots.heat_map import heat_map
from genz.plots.memory_waterfall import memory_waterfall
from genz.plots.pareto import pareto
from genz.plots.roofline import roofline
from genz.plots.scaling import scaling
from genz.plots.stacked_time import stacked_time
from genz.plots.tornado import tornado

__all__ = ["bound_map", "heat_map", "memory_waterfall", "pareto", "roofline", "scaling", "stacked_time", "tornado"]
