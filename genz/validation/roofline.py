"""What the data sheet, and flat efficiencies of it, say to measured operators and collectives: to be compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genz.errors import GenZError
from genz.measurements.demands import demands
from genz.measurements.plausibility import fastest_bandwidth, multiply_rate
from genz.measurements.positions import alike
from genz.specs import catalog
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, NetworkDimension
from genz.timing.network import Span, collective_time, span
from genz.validation.answers import Answers

NO_DEMAND = "its columns do not tell FLOPs and bytes"
NO_ROOFLINE = "the roofline of this exchange does not follow from its columns"
UNKNOWN_ENGINE = "ideal"
# Names of collectives in tables, and here.
_KINDS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "send_recv": "send_receive",
    "sendrecv": "send_receive",
}


def roofline_operators(rows: pd.DataFrame, fidelity: str) -> Answers:
    """Times of rows of the `ops` schema: max(FLOPs / rate, bytes / bandwidth), the bandwidth of what can hold the bytes.

    At `engine` fidelity rates are multiplied by the efficiencies of the engine's file, and its gap of a kernel is added.
    """
    answers = Answers.none(len(rows))
    demand = demands(rows)
    answers.refuse(np.isnan(demand.flops) | np.isnan(demand.moved), NO_DEMAND)
    cells = rows[["hardware", "framework"]].assign(type=demand.matrix_type)
    for (hardware, framework, matrix_type), i in alike(cells, list(cells.columns)):
        try:
            chip = catalog.chip(str(hardware))
        except GenZError as error:
            answers.refuse(i, error.message)
            continue
        compute, memory, gap = 1.0, 1.0, 0.0
        if fidelity == "engine":
            engine = engine_of(framework)
            compute, memory, gap = engine.efficiency.compute, engine.efficiency.memory, engine.overheads.kernel_gap
        multiplying = demand.flops[i] / (multiply_rate(chip, str(matrix_type)) * compute)
        moving = demand.moved[i] / (fastest_bandwidth(chip, demand.moved[i]) * memory)
        answers.predicted[i] = np.maximum(multiplying, moving) + gap
    answers.predicted[answers.refusal != ""] = np.nan
    return answers


def engine_of(framework: Any) -> Engine:
    """The engine that a framework's name stands for, and one without overheads for a library of kernels."""
    try:
        return catalog.engine(str(framework))
    except GenZError:
        return catalog.engine(UNKNOWN_ENGINE)


def roofline_collectives(rows: pd.DataFrame, fidelity: str) -> Answers:
    """Times of rows of the `collectives` schema by the best algorithm on the links of the chip's data sheet."""
    answers = Answers.none(len(rows))
    keys = ["hardware", "collective", "framework", "n_devices", "n_nodes"]
    for (hardware, collective, framework, devices, nodes), i in alike(rows, keys):
        kind = _KINDS.get(str(collective))
        if kind is None:
            answers.refuse(i, NO_ROOFLINE)
            continue
        try:
            chip = catalog.chip(str(hardware))
            group = group_of(chip, devices, 1.0 if np.isnan(nodes) else nodes)
            share = engine_of(framework).efficiency.network if fidelity == "engine" else 1.0
            sizes: Any = rows["message_bytes"].to_numpy(float)[i]
            answers.predicted[i] = collective_time(kind, sizes, span=group, efficiency=share)
        except GenZError as error:
            answers.refuse(i, error.message)
    answers.refuse(np.isnan(answers.predicted) & (answers.refusal == ""), "message_bytes is missing")
    return answers


def group_of(chip: Chip, devices: float, nodes: float) -> Span:
    """So many devices, evenly over nodes that the chip's links join. Raises `GenZError` where they do not."""
    inside, between = chip.links.get("scale_up"), chip.links.get("scale_out")
    each = devices / nodes
    if inside is None or each != int(each) or each > inside.domain or (nodes > 1 and between is None):
        raise GenZError(f"{devices:g} devices on {nodes:g} nodes of {chip.name}: its links join no such group")
    network = [_dimension("scale_up", inside, int(each))]
    if nodes > 1:
        network.append(_dimension("scale_out", between, int(nodes)))
    return span(tuple(network), int(devices), 1)


def _dimension(name: str, link: Any, size: int) -> NetworkDimension:
    topology = "switch" if link.topology == "torus" else link.topology
    return NetworkDimension(link=name, topology=topology, size=size, bandwidth=link.bandwidth, latency=link.latency)
