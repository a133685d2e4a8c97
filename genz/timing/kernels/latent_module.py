"""Time of a whole block of latent attention: the projections around the kernel, and the kernel.

Reference: DeepSeek-V2, arXiv:2405.04434, section 2.1 and appendix C.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from genz.numerics import Number, maximum
from genz.operators.shapes import AttentionShape
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import constant
from genz.timing.kernels.decode_attention import DecodeAttentionConstants, decode_attention_time
from genz.timing.kernels.prefill_attention import PrefillAttentionConstants, prefill_attention_time

# Rows of a product that the matrix units work on even where there are fewer, as in a GEMM's smallest tile.
LEAST_ROWS = 16


class LatentWidths(NamedTuple):
    """Widths of the model, of the latents of queries and of keys, and of a head's parts."""

    model: Number
    query_latent: Number
    latent: Number
    rope: Number
    nope: Number
    value: Number


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """Latent attention with its projections, whose weights take `weight_bytes` [B] and multiply in `matrix_type`."""

    attention: AttentionShape
    widths: LatentWidths
    weight_bytes: Number
    matrix_type: str


@dataclass(frozen=True, slots=True)
class LatentPrefillConstants(PrefillAttentionConstants):
    """Constants of the kernel, and those of the products around it."""

    product_efficiency: float = constant(0.6, "1", 0.02, 1.1, "rate of the projections over the data sheet")
    product_bandwidth: float = constant(0.6, "1", 0.05, 1.1, "memory bandwidth that their weights see over the data sheet")
    activation_passes: float = constant(3.0, "1", 0.05, 40, "passes over the model's width around attention: norms, casts")


@dataclass(frozen=True, slots=True)
class LatentDecodeConstants(DecodeAttentionConstants):
    """Constants of the kernel, and those of the products around it."""

    product_efficiency: float = constant(0.6, "1", 0.02, 1.1, "rate of the projections over the data sheet")
    product_bandwidth: float = constant(0.6, "1", 0.05, 1.1, "memory bandwidth that their weights see over the data sheet")
    activation_passes: float = constant(3.0, "1", 0.05, 40, "passes over the model's width around attention: norms, casts")


def latent_prefill_module_time(
    shape: ModuleShape, chip: Chip, constants: LatentPrefillConstants, variant: str, *, warm: bool = False
) -> Number:
    """Time of one block over a prompt [s]: `prefill_attention_time`, with that of the products around it."""
    attention = prefill_attention_time(shape.attention, chip, constants, variant, warm=warm)
    return attention + _products_time(shape, chip, constants)


def latent_decode_module_time(
    shape: ModuleShape, chip: Chip, constants: LatentDecodeConstants, variant: str, *, warm: bool = False
) -> Number:
    """Time of one block over a cache [s]: `decode_attention_time`, with that of the products around it."""
    attention = decode_attention_time(shape.attention, chip, constants, variant, warm=warm)
    return attention + _products_time(shape, chip, constants)


def _products_time(shape: ModuleShape, chip: Chip, constants: LatentPrefillConstants | LatentDecodeConstants) -> Number:
    """Time of the products around the kernel [s], their launches in that of the kernel.

    With matrices of [k, n], m tokens, and w the bytes of a weight,

        t = sum_i max(2 m k n / (product_efficiency F), w k n / (product_bandwidth B)) + activation_passes m 2 d_model a / B
    """
    attention = shape.attention
    tokens = attention.sequences * attention.new_tokens
    rows = maximum(tokens, LEAST_ROWS)
    bandwidth = chip.main_memory.bandwidth
    passes = constants.activation_passes * 2.0 * shape.widths.model * attention.activation_bytes
    time = passes * tokens / bandwidth
    for elements, for_each_head in _products(attention, shape.widths):
        # The products that stand between heads and the latent keep to the width of activations.
        kind = attention.matrix_type if for_each_head else shape.matrix_type
        width = attention.activation_bytes if for_each_head else shape.weight_bytes
        multiplied = 2.0 * rows * elements / (constants.product_efficiency * chip.multiply_rate(kind))
        time = time + maximum(multiplied, width * elements / (constants.product_bandwidth * bandwidth))
    return time


def _products(attention: AttentionShape, widths: LatentWidths) -> Iterator[tuple[Number, bool]]:
    """Elements of each matrix, and whether every head has one of its own on the way into and out of the latent."""
    heads = attention.query_heads
    yield widths.model * (widths.query_latent + widths.latent + widths.rope), False
    yield widths.query_latent * heads * (widths.nope + widths.rope), False
    if attention.latent == "absorbed":
        yield heads * widths.latent * widths.nope, True
        yield heads * widths.latent * widths.value, True
    else:
        yield heads * widths.latent * (widths.nope + widths.value), False
    yield heads * widths.value * widths.model, False
