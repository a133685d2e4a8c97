"""Groups of devices in rows of the collectives schema: their nodes, their links, and the cells that this makes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.errors import GenZError
from genz.specs import catalog
from genz.specs.hardware import Chip, Link

Array = npt.NDArray[np.float64]


def group_refusals(rows: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Why no group of devices can be made of each row, empty text where it can."""
    found = np.full(len(rows), "", dtype=object)
    devices, count = rows["n_devices"].to_numpy(float), nodes(rows).to_numpy(float)
    links = [_links(str(name)) for name in rows["hardware"]]
    domain = np.array([links_of["scale_up"].domain if "scale_up" in links_of else 0 for links_of in links])
    leaves = np.array(["scale_out" in links_of for links_of in links], dtype=bool)
    found[(count > 1) & ~leaves] = "the chip's file names no link between nodes"
    with np.errstate(invalid="ignore"):
        found[devices / count > domain] = "more devices in a node than the chip's links join"
        found[~((devices >= 2) & (devices % 1 == 0) & (count >= 1) & (devices >= count))] = "n_devices or n_nodes is no group"
    return found


def _links(hardware: str) -> dict[str, Link]:
    try:
        return dict(catalog.chip(hardware).links)
    except GenZError:
        return {}


def keys_of(rows: pd.DataFrame, engine: pd.Series, kernel: pd.Series) -> pd.DataFrame:
    """Keys of cells; the kernel also names nodes and installation where there are several nodes."""
    count = nodes(rows)
    installation = text(rows, "notes").str.extract(r"topology=([^;]+)", expand=False).fillna("").astype(str)
    across = ", " + count.astype(int).astype(str) + " nodes" + (", " + installation).where(installation != "", "")
    return pd.DataFrame(
        {
            "engine": engine,
            "version": text(rows, "framework_version"),
            "format": np.where(count > 1, "scale_out", "scale_up"),
            "kernel": kernel.where(count == 1, kernel + across),
        },
        index=rows.index,
    )


def nodes(rows: pd.DataFrame) -> pd.Series:
    """Nodes of each row; a table that does not say so measured one."""
    return rows["n_nodes"].fillna(1.0)


def backend(rows: pd.DataFrame) -> pd.Series:
    """Which kernels a row's engine used, empty where nothing says so."""
    return text(rows, "backend")


def text(rows: pd.DataFrame, column: str) -> pd.Series:
    """A column of words, empty where it says nothing."""
    return rows[column].astype(object).where(rows[column].notna(), "").astype(str)


def link_bandwidths(rows: pd.DataFrame, chip: Chip) -> Array:
    """Bandwidth of the link that bounds each row: between nodes if there are several [B/s]."""
    across = nodes(rows).to_numpy() > 1
    between = chip.links["scale_out"].bandwidth if across.any() else 0.0
    return np.where(across, between, chip.links["scale_up"].bandwidth)
