"""Measured matrix multiplications on processors: the rows of `genz.measurements.gemm`, priced as processors work."""

from __future__ import annotations

from typing import Any

import pandas as pd

from genz.measurements.gemm import GemmFamily
from genz.numerics import Number
from genz.operators.shapes import GemmShape
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.cpu_gemm import VARIANTS, CpuGemmConstants, cpu_gemm_time


class CpuGemmFamily(GemmFamily):
    """Matrix multiplications by all cores of a processor together."""

    name = "cpu_gemm"
    constants: type = CpuGemmConstants
    variants = VARIANTS

    def free(self, rows: pd.DataFrame, variant: str) -> tuple[str, ...]:  # noqa: ARG002 (there is one variant)
        """All constants but that of products with one row, where there are none."""
        return tuple(d.name for d in definitions(CpuGemmConstants) if d.name != "vector" or self.has_vectors(rows))

    def time(self, shape: GemmShape, chip: Chip, constants: Any, variant: str, *, warm: bool, captured: bool) -> Number:  # noqa: ARG002
        """The family's formula; a processor's calls are captured by nothing."""
        return cpu_gemm_time(shape, chip, constants, warm=warm)


CPU_GEMM = CpuGemmFamily()
