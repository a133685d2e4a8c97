"""Inference engines as data: what they fuse, what they add to a step, how they use memory."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from genz.specs.base import Frozen, Spec
from genz.specs.quantities import CapacityOrZero, Count, Duration, Fraction, PositiveFraction

FusableOperator = Literal[
    "attention",  # scores stay on the chip (FlashAttention)
    "qkv",  # one GEMM for query, key and value
    "gate_up",  # one GEMM for gate and up projection
    "norm",  # the norm runs inside of a neighbour's kernel
    "residual",  # the residual addition runs inside of the norm's kernel
    "rope",  # the rotation runs inside of a neighbour's kernel
    "activation",  # the activation runs inside of the GEMM's epilogue
    "logits",  # the logits are reduced as they are made
]


class Overheads(Frozen):
    """Time that an engine adds to the device's own work."""

    kernel_gap: Duration = Field(description="device time that each kernel adds: launch, ramp and drain [s]")
    host_launch: Duration = Field(description="host time to launch one kernel outside of a captured graph [s]")
    captures: tuple[Literal["prefill", "decode"], ...] = Field((), description="phases that replay a captured graph")
    host_per_step: Duration = Field(description="exposed host time between two steps [s]")
    host_per_sequence: Duration = Field(description="exposed host time per sequence and step [s]")


class Efficiency(Frozen):
    """Share of the data sheet that the engine's kernels sustain; flat, until kernels are calibrated."""

    compute: PositiveFraction
    memory: PositiveFraction
    network: PositiveFraction
    overlap: Fraction = Field(0.0, description="share of an exchange that runs behind other work")


class EngineMemory(Frozen):
    """How an engine divides a device's memory."""

    utilization: PositiveFraction = Field(description="share of the device's memory that the engine may take")
    reserve: CapacityOrZero = Field(description="driver context, captured graphs and libraries [B]")
    block_size: Count = Field(description="tokens in a block of the KV cache; 1 where it is contiguous")
    max_num_batched_tokens: Count = Field(description="tokens that one step processes at most; bounds the activations")


class Engine(Spec):
    """One serving engine, or library, as its users run it by default."""

    kind: ClassVar[str] = "engine"

    fused: tuple[FusableOperator, ...]
    overheads: Overheads
    efficiency: Efficiency
    memory: EngineMemory
    latent_attention: Literal["absorbed", "expanded"] = Field(
        description="absorbed: multi-head latent attention caches the latent and decodes on it; "
        "expanded: it caches keys and values of every head"
    )
    kernels_of: str | None = Field(
        default=None, description="engine whose calibrated kernels stand for its own; its own where it has any"
    )
    concatenates_cache: bool = Field(
        default=False, description="each step copies the keys and values cached before, to append its own to them"
    )
    narrow_states: bool = Field(
        default=False, description="recurrent states take the type of activations unless the model's configuration names one"
    )
    shared_prefix_attention: bool = Field(description="beams read the cache of their common prompt once")

    def fuses(self, operator: FusableOperator) -> bool:
        """Whether the operator needs no kernel of its own."""
        return operator in self.fused
