"""Number formats, and which of them holds weights, activations, KV cache and arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, model_validator

from genz.errors import UnsupportedError, unknown_name
from genz.numerics import Number
from genz.specs.base import Frozen, Spec

BITS_PER_BYTE = 8


class Format(Frozen):
    """How one tensor is stored: bits an element, and what each group of elements shares."""

    bits: float = Field(gt=0, le=64, strict=True)
    group_size: int | None = Field(
        None, ge=1, strict=True, description="elements that share a scale; none: a whole channel or tensor"
    )
    scale_bits: float = Field(0, ge=0, le=64, strict=True)
    zero_point_bits: float = Field(0, ge=0, le=64, strict=True)

    @property
    def bytes_per_element(self) -> Number:
        """`(bits + (scale bits + zero-point bits) / group size) / 8` [B]; scales of whole channels are neglected."""
        shared = (self.scale_bits + self.zero_point_bits) / self.group_size if self.group_size else 0.0
        return (self.bits + shared) / BITS_PER_BYTE


# Element widths: IEEE 754; bfloat16; OCP 8-bit floating point (OFP8) 1.0; OCP Microscaling (MX) 1.0
# for the FP6 and FP4 elements.
DATA_TYPES: dict[str, Format] = {
    "fp64": Format(bits=64),
    "fp32": Format(bits=32),
    "tf32": Format(bits=32),
    "bf16": Format(bits=16),
    "fp16": Format(bits=16),
    "fp8": Format(bits=8),
    "fp6": Format(bits=6),
    "fp4": Format(bits=4),
    "int8": Format(bits=8),
    "int4": Format(bits=4),
}

_SPELLINGS = {
    "float64": "fp64",
    "double": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "float8_e4m3fn": "fp8",
    "fp8-e4m3": "fp8",
}


def data_type(name: str, *, field: str = "data type", allowed: Iterable[str] = tuple(DATA_TYPES)) -> str:
    """The canonical name of a data type: "bfloat16" and "torch.bfloat16" are "bf16".

    Raises `UnknownNameError` for one that is not known.
    """
    plain = name.lower().removeprefix("torch.")
    canonical = _SPELLINGS.get(plain, plain)
    if canonical not in tuple(allowed):
        raise unknown_name(field, name, [*allowed])
    return canonical


class Precision(Spec):
    """The widths of everything: a file in `workload_specs/precisions`, or read from a model's own configuration."""

    kind: ClassVar[str] = "precision"

    weights: Format = Field(description="matrices of attention and feed-forward layers")
    activations: str = Field(description="data type in which activations enter a quantised GEMM")
    compute: str = Field(description="data type of the matrix units in a quantised GEMM")
    base: str | None = Field(None, description="type of all that is not quantised; none: the model's own")
    kv_cache: str = Field("base", description="type of the KV cache; 'base': as all that is not quantised")
    embedding: Format | None = Field(None, description="token table and language-model head; none: not quantised")
    experts_only: bool = Field(False, description="only the matrices of routed experts are quantised")

    @model_validator(mode="after")
    def _check(self) -> Precision:
        for name in (self.activations, self.compute, self.kv_cache, self.base):
            if name not in (None, "base") and name not in DATA_TYPES:
                raise ValueError(f"{name!r} is no data type; allowed: base, {', '.join(DATA_TYPES)}")
        return self


@dataclass(frozen=True)
class Widths:
    """A precision settled for one model on one chip: every type is a concrete one.

    `weights` applies to quantised matrices; everything else is stored in `base`. `compute` and
    `activations` belong to GEMMs with quantised weights, `base` to every other operator.
    """

    name: str
    weights: Format
    activations: str
    compute: str
    base: str
    kv_cache: str
    experts_only: bool = False
    embedding: Format | None = None

    @property
    def base_bytes(self) -> Number:
        return DATA_TYPES[self.base].bytes_per_element

    @property
    def activation_bytes(self) -> Number:
        return DATA_TYPES[self.activations].bytes_per_element

    @property
    def kv_cache_bytes(self) -> Number:
        return DATA_TYPES[self.kv_cache].bytes_per_element

    @property
    def embedding_bytes(self) -> Number:
        """Bytes of one element of the token table or the language-model head [B]."""
        return self.base_bytes if self.embedding is None else self.embedding.bytes_per_element

    def weight_bytes(self, *, quantised: bool, expert: bool = False) -> Number:
        """Bytes of one element of a matrix [B]."""
        applies = quantised and (expert or not self.experts_only)
        return self.weights.bytes_per_element if applies else self.base_bytes

    def matrix_type(self, *, quantised: bool, expert: bool = False) -> str:
        """Data type in which the matrix units multiply."""
        return self.compute if quantised and (expert or not self.experts_only) else self.base

    def kernel_format(self, *, quantised: bool, expert: bool = False) -> str:
        """The number format that kernels of a matrix go by, as in measured tables: "bfloat16", "fp8_block", "int4_wo" ...

        Both 16-bit floats run at one speed and share a name. Weights without activations of their width are "_wo".
        """
        if not (quantised and (expert or not self.experts_only)):
            return _wide_format(self.base)
        return _quantised_format(self.weights, self.compute)

    def input_bytes(self, *, quantised: bool, expert: bool = False) -> Number:
        """Bytes of one element that enters a GEMM [B]."""
        return self.activation_bytes if quantised and (expert or not self.experts_only) else self.base_bytes


def _wide_format(base: str) -> str:
    return "bfloat16" if DATA_TYPES[base].bits == 16 else "float32"


def _quantised_format(weights: Format, compute: str) -> str:
    is_micro = weights.group_size is not None and weights.scale_bits == BITS_PER_BYTE
    if compute == "fp8":
        return "fp8_block" if weights.group_size else "fp8"
    if compute in ("fp4", "fp6"):
        return "nvfp4"
    if compute == "int8":
        return "sq"
    if weights.bits >= DATA_TYPES[compute].bits:
        return _wide_format(compute)
    if weights.bits > 6:
        return "int8_wo"
    return "w4a16_mxfp4" if is_micro else "int4_wo"


def settle(
    precision: Precision,
    *,
    model_type: str,
    chip_name: str,
    computable: Iterable[str],
    kv_cache_dtype: str | None = None,
) -> Widths:
    """Settle every "base" of a precision for a model of type `model_type` on a chip.

    Raises `UnsupportedError` if the chip cannot compute a type that the precision asks for, and
    says in what it would have to be emulated.
    """
    types = list(computable)
    base = precision.base or _computable_base(model_type, types)
    kv_cache = base if precision.kv_cache == "base" else precision.kv_cache
    if kv_cache_dtype not in (None, "auto"):
        kv_cache = data_type(str(kv_cache_dtype), field="kv_cache_dtype")
    widths = Widths(
        name=precision.name,
        weights=precision.weights if precision.weights.bits < DATA_TYPES[base].bits else DATA_TYPES[base],
        activations=base if precision.activations == "base" else precision.activations,
        compute=base if precision.compute == "base" else precision.compute,
        base=base,
        kv_cache=kv_cache,
        experts_only=precision.experts_only,
        embedding=precision.embedding,
    )
    for needed in (widths.compute, widths.base):
        if needed not in types:
            emulation = base if base in types else _computable_base(model_type, types)
            raise UnsupportedError(
                f"precision {precision.name!r} computes in {needed}, which {chip_name} does not",
                field="precision",
                value=precision.name,
                allowed="computed by this chip: " + ", ".join(types),
                hint=f"it would be emulated in {emulation}: ask for {emulation!r}, or for a weight-only precision "
                "such as 'w8a16' or 'w4a16'",
            )
    return widths


def _computable_base(model_type: str, types: list[str]) -> str:
    """The model's own type if the chip computes it, else the next of equal width, else fp32."""
    for candidate in (model_type, "bf16", "fp16", "fp32"):
        if candidate in types:
            return candidate
    return model_type
