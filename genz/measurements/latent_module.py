"""Families of whole blocks of latent attention, with the projections around the kernel.

Tables name the format of the projections in their notes, as "gemm_type=fp8_block; model=...".
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from genz.measurements.attention import LATENT_DECODE, LATENT_PREFILL, AttentionFamily
from genz.measurements.attention_shapes import VALUE, latent_shape, multiplied_in, text
from genz.measurements.demands import FORMATS, LATENT, MODEL_WIDTH, NOPE, QUERY_LATENT, ROPE
from genz.specs.hardware import Chip
from genz.timing.kernels.latent_module import (
    LatentDecodeConstants,
    LatentPrefillConstants,
    LatentWidths,
    ModuleShape,
    latent_decode_module_time,
    latent_prefill_module_time,
)

WIDTHS = LatentWidths(MODEL_WIDTH, QUERY_LATENT, LATENT, ROPE, NOPE, VALUE)
_OF_PRODUCTS = ("product_efficiency", "product_bandwidth", "activation_passes")


def product_format(rows: pd.DataFrame) -> pd.Series:
    """The number format of the projections: the "gemm_type" of the notes, else the type of the queries."""
    stated = text(rows, "notes").str.extract(r"gemm_type=(\w+)", expand=False)
    return stated.fillna(text(rows, "dtype"))


@dataclass(frozen=True)
class ModuleFamily(AttentionFamily):
    """A family of whole blocks: one that also needs to know the format of the projections."""

    def refusals(self, rows: pd.DataFrame) -> pd.Series:
        """Why each row cannot be answered, empty text where it can."""
        reasons = AttentionFamily.refusals(self, rows)
        unknown = ~product_format(rows).isin(FORMATS)
        return reasons.mask((reasons == "") & unknown, "gemm_type in the notes is no number format that is known")

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:
        """Names of the constants that the rows of one cell can identify."""
        return (*AttentionFamily.free(self, rows, variant), *_OF_PRODUCTS)


def _module_shape(rows: pd.DataFrame, chip: Chip, phase: str) -> ModuleShape:
    products = FORMATS[product_format(rows.head(1)).iloc[0]]
    kernel = latent_shape(rows, chip, phase)
    return ModuleShape(kernel, WIDTHS, products.weight, multiplied_in(products.matrix_type, chip))


def _kernel(rows: pd.DataFrame) -> pd.Series:
    return text(rows, "kernel") + ":" + product_format(rows)


LATENT_PREFILL_MODULE = ModuleFamily(
    **{field: getattr(LATENT_PREFILL, field) for field in ("variants", "counts", "phase", "free_of")},
    name="latent_prefill_module",
    ops=("mla_module_prefill",),
    constants=LatentPrefillConstants,
    shape_of=_module_shape,
    time_of=latent_prefill_module_time,
    kernel_of=_kernel,
)
LATENT_DECODE_MODULE = ModuleFamily(
    **{field: getattr(LATENT_DECODE, field) for field in ("variants", "counts", "phase", "free_of")},
    name="latent_decode_module",
    ops=("mla_module_decode",),
    constants=LatentDecodeConstants,
    shape_of=_module_shape,
    time_of=latent_decode_module_time,
    kernel_of=_kernel,
)
