"""Measured collectives, and exchanges of tokens with their experts, as families of kernels.

A cell's kernel is what a set of constants carries over: a library's rings ("ring": all-reduce, all-gather, reduce-scatter),
its "all_to_all" and "send_receive", and the "direct" all-reduce of engines, each also "eager" where no graph holds the
calls. Its format names the link, "scale_up" or "scale_out". Across nodes the kernel also names their number and, where a
table tells, the installation: no two of them are wired alike.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from genz.measurements.family import CellKey
from genz.measurements.groups import backend, group_refusals, keys_of, link_bandwidths, nodes, text
from genz.specs.hardware import Chip
from genz.timing.kernels.collectives import DIRECT, KERNEL_OF, CollectiveConstants, collective_kernel_time
from genz.timing.kernels.direct_all_reduce import direct_all_reduce_time

Array = npt.NDArray[np.float64]
KINDS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "send_recv": "send_receive",
    "sendrecv": "send_receive",
}
# NVSwitches add up from the third generation on, and not integers of a byte.
# Source: NVIDIA H100 Tensor Core GPU Architecture white paper v1.04 (2023), NVLink SHARP.
_ADDING_SWITCHES = ("hopper", "blackwell")
_NOT_ADDED_UP = ("int8", "uint8")
# PyTorch's own benchmark loop launches each collective from Python.
_EAGER_FRAMEWORKS = ("torch.distributed",)


class Collectives:
    """Collectives over whole buffers, by a library or an engine's own kernel."""

    name = "collectives"
    ops = tuple(KINDS)
    constants = CollectiveConstants
    variants = ("",)

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        found = group_refusals(rows)
        size = rows["message_bytes"].to_numpy(float)
        found[~(np.isfinite(size) & (size >= 0))] = "message_bytes is missing or below 0"
        is_own = _is_direct(rows).to_numpy() & (rows["collective"] != "all_reduce").to_numpy()
        found[is_own] = "no engine's own kernel is known for this collective"
        return pd.Series(found, index=rows.index)

    def keys(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns of `CellKey` for each row."""
        kernel = rows["collective"].map(KINDS).map(KERNEL_OF).where(~_is_direct(rows), "direct")
        kernel = kernel.where(~backend(rows).str.endswith("_eager"), kernel + ", eager")
        return keys_of(rows, _engines(rows), kernel)

    def prior(self, key: CellKey) -> CollectiveConstants:
        """Where the fit of a cell starts."""
        return DIRECT if key.kernel.startswith("direct") else CollectiveConstants()

    def shape_names(self, rows: pd.DataFrame) -> list[str]:
        """Collective, devices, nodes and bytes."""
        columns = (rows["collective"].map(KINDS), rows["n_devices"], nodes(rows), rows["message_bytes"])
        return [f"{kind} {devices:g}/{count:g} {size:g}" for kind, devices, count, size in zip(*columns, strict=True)]

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:  # noqa: ARG002
        """Constants that the rows can identify: growth with the devices only where their number varies."""
        names = ["launch", "quick_share", "middle_latency", "middle_share", "bulk_latency", "bulk_share"]
        if rows["n_devices"].nunique() > 1 or rows["collective"].nunique() > 1:
            names += ["step", "copy", "growth", "crowding"]
        if _is_direct(rows).all():
            names = [name for name in names if name != "growth"] + ["size_limit"]
        if ((rows["n_devices"] >= 8) & (rows["collective"] == "all_reduce")).any():
            names.append("switch_share")
        return (*names, "host") if _is_eager(rows).any() else tuple(names)

    def times(self, rows: pd.DataFrame, chip: Chip, constants: CollectiveConstants, variant: str) -> Array:  # noqa: ARG002
        """Predicted seconds of each row of one cell."""
        size, devices = rows["message_bytes"].to_numpy(float), rows["n_devices"].to_numpy(float)
        first = rows.iloc[:1]  # the rows of a cell are alike in all but collective, type, devices and bytes
        is_direct = bool(_is_direct(first).all())
        link, captured = float(link_bandwidths(first, chip)[0]), not bool(_is_eager(first).any())
        names, added_up = rows["collective"].to_numpy(dtype=object), _is_added_up(rows, chip)
        result = np.empty(len(rows))
        for name, reduces in {(str(name), bool(reduces)) for name, reduces in zip(names, added_up, strict=True)}:
            i = (names == name) & (added_up == reduces)
            kernel = direct_all_reduce_time if is_direct else partial(collective_kernel_time, KINDS[name])
            result[i] = kernel(
                size[i],
                devices=devices[i],
                link_bandwidth=link,
                constants=constants,
                in_network_reduction=reduces,
                captured=captured,
            )
        return result


def _is_direct(rows: pd.DataFrame) -> pd.Series:
    """Whether an engine's own kernel did it."""
    return backend(rows).str.startswith("custom:")


def _is_eager(rows: pd.DataFrame) -> pd.Series:
    """Whether each call was launched by the host on its own."""
    return backend(rows).str.endswith("_eager") | rows["framework"].isin(_EAGER_FRAMEWORKS)


def _engines(rows: pd.DataFrame) -> pd.Series:
    """Whose kernels a row measured: of an engine's own, the name in "custom:vllm_graph", of others the framework."""
    named = backend(rows).str.extract(r"^custom:([^_]+)", expand=False)
    return named.where(named.notna(), text(rows, "framework"))


def _is_added_up(rows: pd.DataFrame, chip: Chip) -> npt.NDArray[np.bool_]:
    """Whether the switches between the devices can reduce what each row sends."""
    link = chip.links["scale_up"]
    can = chip.architecture in _ADDING_SWITCHES and link.topology == "switch" and link.technology == "nvlink"
    integers = np.isin(rows["dtype"].to_numpy(dtype=object).astype(str), _NOT_ADDED_UP)
    return np.asarray(can & (nodes(rows).to_numpy(float) == 1) & ~integers)


COLLECTIVES = Collectives()
