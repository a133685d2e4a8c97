"""Layers that tables of measured kernels name without their shape, as `layers.yaml` has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from genz.specs.base import Frozen, read_mapping


class ExpertsLayer(Frozen):
    """Routed experts by what a row tells of them."""

    hidden: int
    inter: int
    topk: int
    n_experts: int


class UngatedExperts(Frozen):
    """Experts with an up projection and no gate."""

    source: str
    layers: tuple[ExpertsLayer, ...]


class Mamba2Layer(Frozen):
    """A Mamba-2 layer, by the keys of its model's config."""

    mamba_num_heads: int
    mamba_head_dim: int
    n_groups: int
    ssm_state_size: int
    conv_kernel: int
    chunk_size: int


class GatedDeltaLayer(Frozen):
    """A gated delta net, by the keys of its model's config."""

    linear_num_key_heads: int
    linear_key_head_dim: int
    linear_num_value_heads: int
    linear_value_head_dim: int
    linear_conv_kernel_dim: int


class Mamba2Models(Frozen):
    """Mamba-2 layers by model."""

    source: str
    models: dict[str, Mamba2Layer]


class GatedDeltaModels(Frozen):
    """Gated delta nets by model."""

    source: str
    models: dict[str, GatedDeltaLayer]


class MeasuredTable(Frozen):
    """Rows of one version of an engine."""

    framework: str
    version: str


class UntoldSlices(Frozen):
    """Tables that do not tell which slice of a layer they measured."""

    source: str
    tables: tuple[MeasuredTable, ...]


class KnownLayers(Frozen):
    """All that the file says."""

    ungated_experts: UngatedExperts
    mamba2: Mamba2Models
    gated_delta_net: GatedDeltaModels
    untold_slices: UntoldSlices


@cache
def known_layers() -> KnownLayers:
    """The layers that GenZ knows."""
    return KnownLayers.model_validate(read_mapping(Path(__file__).with_name("layers.yaml")))
