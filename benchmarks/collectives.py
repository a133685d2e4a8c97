"""Predicted against measured time of collectives, with constants of the network alone.

    python benchmarks/collectives.py MEASUREMENTS.parquet [--fit] [--json]

Takes rows of the tidy collectives schema. A family of chips has three constants: the share of the data-sheet bandwidth
that it reaches, the latency of a message inside a node, and what a launch adds. They stand in `collectives.yaml` beside
this file; `--fit` sets them by least squares of the logarithms on four fifths of the rows, picked by a hash. The tables
are of the last fifth and of what is never fitted: across nodes the latency is the chip file's, kernels launched one by
one wait for the host, and the exchanges of experts for the multiprocessors that they are given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import genz
from genz.operators.exchange import Routing
from genz.specs.hardware import NetworkDimension
from genz.timing.network import Span, algorithms, collective_time, combine_time, dispatch_time, span

CONSTANTS = Path(__file__).with_suffix(".yaml")
CHIPS = {
    "A100-SXM-80GB": "a100-sxm-80gb",
    "H100-SXM-80GB": "h100-sxm",
    "H200-SXM-141GB": "h200",
    "B200-SXM-180GB": "b200",
    "GB200": "gb200",
    "L40S": "l40s",
}
# A card without a chip file: PCIe 3.0 in nodes of four, and 10 Gbit/s between them, the rate that its largest messages reach.
V100_PCIE = (
    {"link": "pcie", "topology": "switch", "size": 4, "bandwidth": 15.75e9, "latency": 5e-6},
    {"link": "ethernet", "topology": "switch", "size": 4, "bandwidth": 1.25e9, "latency": 50e-6},
)
REDUCING_SWITCHES = ("hopper", "blackwell")
# The measured L40S boxes slow down with each card, as if they shared the host's way (one engine version's rows are of a box
# with a switch): the chip file's switch would err by half as much again.
SHARED_BUSES = ("L40S",)
KINDS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "send_recv": "send_receive",
    "sendrecv": "send_receive",
}
# What NCCL runs of the algorithms that a network allows; engines' own all-reduce has the one-shot and two-shot kernels.
NCCL_ALGORITHMS = {
    "all_reduce": ("ring", "tree", "in_network", "hierarchical"),
    "all_gather": ("ring", "hierarchical"),
    "reduce_scatter": ("ring", "hierarchical"),
    "all_to_all": ("direct",),
    "send_receive": ("point_to_point",),
}
EXCHANGES = {
    "moe_dispatch": dispatch_time,
    "alltoall_dispatch": dispatch_time,
    "moe_combine": combine_time,
    "alltoall_combine": combine_time,
    "alltoall_combine_low_precision": combine_time,
}
ELEMENT_BYTES = {"fp8": 1 + 4 / 128, "bf16": 2.0, "bfloat16": 2.0, "nvfp4": 0.5 + 1 / 16}
CELL = ["source", "hardware", "collective", "backend", "n_devices", "n_nodes", "hidden", "topk", "n_experts", "dtype", "notes"]
HELD_OUT = 5  # one row of so many
TITLES = {
    "by_collective": "by hardware, collective, kernel and nodes",
    "by_size": "of the kinds that are fitted: by hardware and power of ten of the message's bytes",
    "by_hardware": "of the kinds that are fitted: by hardware, the mean over its collectives and kernels",
    "by_multiprocessors": "exchanges of experts on one node, by the multiprocessors given to them",
}


class NotAnsweredError(Exception):
    """Why a row has no prediction."""


@dataclass(frozen=True)
class Constants:
    """What a family's network reaches: share of the data sheet's bandwidth, latency of a message [s], launch [s]."""

    bandwidth_share: float
    message_latency: float
    launch: float


START = Constants(0.8, 2e-6, 5e-6)


def main() -> None:
    """Fit if asked, then print the tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("measurements")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cells, not_answered = read(pd.read_parquet(arguments.measurements))
    if arguments.fit:
        families = sorted({cell.family for cell in cells})
        write_constants(
            {family: fit([cell for cell in cells if cell.family == family and cell.is_fitted]) for family in families}
        )
    constants = read_constants()
    scored = pd.concat([cell.scored(constants[cell.family]) for cell in cells])
    given_multiprocessors = scored[(scored["multiprocessors"] != "") & (scored["nodes"] == 1)]
    tables = {
        "by_collective": summarise(scored, ["hardware", "collective", "kernel", "nodes"]),
        "by_size": summarise(scored[scored["fitted"]], ["hardware", "decade"]),
        "by_hardware": averaged(summarise(scored[scored["fitted"]], ["hardware", "collective", "kernel"])),
        "by_multiprocessors": summarise(given_multiprocessors, ["multiprocessors", "collective"]),
    }
    if arguments.json:
        found = {name: table.to_dict(orient="records") for name, table in tables.items()}
        json.dump(
            {"constants": {k: asdict(v) for k, v in constants.items()}, **found, "not_answered": not_answered},
            sys.stdout,
            indent=2,
        )
        return
    for name, table in tables.items():
        print(f"{TITLES[name]} [% of measured]\n{table.to_string(index=False, float_format='%.1f')}\n")
    for family, value in constants.items():
        print(f"{family:10s} {value}")
    print(f"\n{len(scored)} rows scored, {sum(not_answered.values())} not answered:")
    for reason, count in not_answered.items():
        print(f"  {count:5d}  {reason}")


@dataclass(frozen=True)
class Cell:
    """Rows that differ in their message alone."""

    rows: pd.DataFrame
    family: str
    network: tuple[NetworkDimension, ...]
    first: Any

    @property
    def is_fitted(self) -> bool:
        """Whether the family's constants are fitted to it."""
        return self.first.collective in KINDS and self.nodes == 1 and self.kernel != "eager"

    @property
    def nodes(self) -> int:
        return int(self.first.n_nodes) if self.first.n_nodes == self.first.n_nodes else 1

    @property
    def kernel(self) -> str:
        backend = str(self.first.backend)
        if backend.startswith("custom"):
            return "eager" if backend.endswith("eager") else "graph"
        return backend

    @property
    def multiprocessors(self) -> str:
        """Those that the kernel may use, where it is told."""
        return str(self.first.notes).partition("sms=")[2]

    def predicted(self, constants: Constants) -> np.ndarray:
        """Seconds of each row."""
        network = (self.network[0].model_copy(update={"latency": constants.message_latency}), *self.network[1:])
        group = group_of(self.first, network, self.nodes)
        price = self._exchange if self.first.collective in EXCHANGES else self._collective
        return constants.launch + price(group, constants.bandwidth_share)

    def scored(self, constants: Constants) -> pd.DataFrame:
        """Signed error of the rows that no constant was fitted to."""
        table = pd.DataFrame(
            {
                "error": self.predicted(constants) / self.rows["measured_s"].to_numpy() - 1,
                "held_out": self.rows["held_out"].to_numpy(),
                "decade": decade(self.rows["message_bytes"].to_numpy()),
            }
        )
        table = table.assign(
            hardware=self.first.hardware,
            collective=self.first.collective,
            kernel=self.kernel,
            nodes=self.nodes,
            multiprocessors=self.multiprocessors,
            fitted=self.is_fitted,
        )
        return table[table["held_out"] | ~table["fitted"]]

    def _collective(self, group: Span, share: float) -> np.ndarray:
        kind = KINDS[self.first.collective]
        names = algorithms(kind, group)
        if self.first.backend == "NCCL":
            names = tuple(name for name in names if name in NCCL_ALGORITHMS[kind])
        sizes = self.rows["message_bytes"].to_numpy()
        return np.min([collective_time(kind, sizes, span=group, algorithm=name, efficiency=share) for name in names], axis=0)

    def _exchange(self, group: Span, share: float) -> np.ndarray:
        first = self.first
        mode = "low_latency" if "low-latency" in first.backend else "normal"
        routing = Routing(int(first.topk), experts=int(first.n_experts), mode=mode)
        price, tokens = EXCHANGES[first.collective], self.rows["num_tokens"].to_numpy()
        return price(tokens, first.hidden, routing, span=group, element_bytes=ELEMENT_BYTES[first.dtype], efficiency=share)


def read(rows: pd.DataFrame) -> tuple[list[Cell], dict[str, int]]:
    """Cells that can be predicted, and why the rows of the others cannot."""
    points = rows[[*CELL, "message_bytes", "num_tokens"]].itertuples(index=False, name=None)
    rows = rows.assign(held_out=[is_held_out(point) for point in points])
    cells: list[Cell] = []
    reasons: Counter[str] = Counter()
    for _, group in rows.groupby(CELL, dropna=False, sort=True):
        first = next(group.itertuples())
        try:
            family, network = network_of(first)
            cell = Cell(group, family, network, first)
            group_of(first, network, cell.nodes)
            cells.append(cell)
        except (NotAnsweredError, genz.GenZError) as error:
            reasons[str(error).split(";")[0][:100]] += len(group)
    return cells, dict(reasons.most_common())


def is_held_out(point: tuple[Any, ...]) -> bool:
    """Whether a hash puts a point of measurement, with all its repetitions, among those that nothing is fitted to."""
    digest = hashlib.md5("|".join(map(str, point)).encode(), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) % HELD_OUT == 0


def network_of(row: Any) -> tuple[str, tuple[NetworkDimension, ...]]:
    """Family and network of the row's machine: inside a node, then between nodes."""
    if row.collective not in KINDS and row.collective not in EXCHANGES:
        raise NotAnsweredError(f"{row.collective} is no transfer")
    if row.hardware == "V100-PCIe-16GB":
        return "volta", tuple(NetworkDimension.model_validate(dimension) for dimension in V100_PCIE)
    chip = genz.chip(CHIPS[row.hardware])
    inside, between = chip.links["scale_up"], chip.links.get("scale_out")
    topology = "bus" if row.hardware in SHARED_BUSES else inside.topology
    reduces = chip.architecture in REDUCING_SWITCHES
    network = [dimension("scale_up", inside, topology=topology, in_network_reduction=reduces)]
    if between is not None:
        network.append(dimension("scale_out", between))
    return chip.architecture, tuple(network)


def dimension(name: str, link: Any, *, topology: str = "switch", in_network_reduction: bool = False) -> NetworkDimension:
    """A dimension as the chip file's link says."""
    given = {"bandwidth": link.bandwidth, "latency": link.latency, "in_network_reduction": in_network_reduction}
    return NetworkDimension.model_validate({"link": name, "topology": topology, "size": link.domain, **given})


def group_of(row: Any, network: tuple[NetworkDimension, ...], nodes: int) -> Span:
    """The row's ranks, evenly over its nodes."""
    ranks = int(row.n_devices)
    if ranks % nodes or ranks // nodes > network[0].size:
        raise NotAnsweredError(f"{ranks} devices on {nodes} nodes of {row.hardware}")
    return span(network, ranks, stride=1 if nodes == 1 else network[0].size // (ranks // nodes))


def fit(cells: list[Cell]) -> Constants:
    """Constants with the least squared error of the logarithm, each cell weighing the same."""
    cells = [Cell(rows, cell.family, cell.network, cell.first) for cell in cells if len(rows := trained(cell.rows))]
    measured = np.concatenate([np.log(cell.rows["measured_s"].to_numpy()) for cell in cells])
    weights = np.concatenate([np.full(len(cell.rows), len(cell.rows) ** -0.5) for cell in cells])

    def residuals(position: np.ndarray) -> np.ndarray:
        constants = at(position)
        return weights * (np.concatenate([np.log(cell.predicted(constants)) for cell in cells]) - measured)

    position = np.log([1 / (1 / START.bandwidth_share - 1), START.message_latency, START.launch])
    return at(levenberg_marquardt(residuals, position))


def at(position: np.ndarray) -> Constants:
    """Constants at a point of the search: the share between 0 and 1, the times above 0."""
    share, latency, launch = np.exp(np.clip(position, -25, 10))
    return Constants(float(share / (1 + share)), float(latency), float(launch))


def trained(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that constants are fitted to; sizes floored to 0 are none."""
    return rows[~rows["held_out"] & (rows["message_bytes"] > 0)]


def levenberg_marquardt(residuals: Any, position: np.ndarray, *, rounds: int = 200, step: float = 1e-4) -> np.ndarray:
    """Least squares by damped Gauss-Newton steps with differences as derivatives."""
    damping, current = 1e-2, residuals(position)
    for _ in range(rounds):
        shifts = step * np.eye(len(position))
        jacobian = np.stack([(residuals(position + shift) - current) / step for shift in shifts], axis=1)
        normal = jacobian.T @ jacobian
        move = np.linalg.solve(
            normal + damping * (np.diag(np.diag(normal)) + 1e-12 * np.eye(len(position))), -jacobian.T @ current
        )
        tried = residuals(position + move)
        if tried @ tried < current @ current:
            position, current, damping = position + move, tried, damping / 3
        else:
            damping *= 4
    return position


def decade(message_bytes: np.ndarray) -> np.ndarray:
    """The power of ten below each size, -1 where there is none."""
    return np.floor(np.log10(np.maximum(np.nan_to_num(message_bytes), 0.1))).astype(int)


def summarise(scored: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Mean and median absolute error, its ninth decile and the bias [%] by keys."""

    def figures(errors: pd.Series) -> pd.Series:
        size = errors.abs()
        return 100 * pd.Series({"mean": size.mean(), "median": size.median(), "p90": size.quantile(0.9), "bias": errors.mean()})

    grouped = scored.groupby(keys)["error"]
    table = grouped.apply(figures).unstack()
    table.insert(0, "rows", grouped.size())
    return table.reset_index()


def averaged(table: pd.DataFrame) -> pd.DataFrame:
    """The mean of a table's rows by hardware, each weighing the same."""
    grouped = table.groupby("hardware")
    means = grouped[["mean", "median", "p90", "bias"]].mean()
    means.insert(0, "rows", grouped["rows"].sum())
    return means.reset_index()


def write_constants(found: dict[str, Constants]) -> None:
    """The constants with what they are and how they came to be."""
    text = "# What a chip family's network reaches: written by benchmarks/collectives.py --fit, not by hand.\n"
    text += "# bandwidth_share of the data sheet; message_latency and launch in seconds.\n"
    rounded = {family: {name: float(f"{value:.3g}") for name, value in asdict(c).items()} for family, c in found.items()}
    CONSTANTS.write_text(text + yaml.safe_dump(rounded, sort_keys=False))


def read_constants() -> dict[str, Constants]:
    """Constants by family."""
    return {family: Constants(**value) for family, value in yaml.safe_load(CONSTANTS.read_text()).items()}


if __name__ == "__main__":
    main()
