"""Operators of layers with a state: projections, the convolution, the scan of a prompt or a step of the recurrence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

from genz.graph.context import Context
from genz.graph.step import Group, Operator, Run
from genz.numerics import Number
from genz.operators.demand import Demand
from genz.operators.elementwise import NORM_FLOPS, SHIFT_FLOPS, elementwise
from genz.operators.shapes import StateSpaceShape
from genz.operators.state_space import RECURRENCE_FLOPS, StateSpaceWork, chunked_scan, convolution, recurrence
from genz.specs.token_mixers import StateSpace

# Tokens that a block of threads of the convolution takes at once, as the kernels that were measured do.
CONVOLUTION_BLOCK = 8


def state_space_operators(mixer: StateSpace, context: Context, *, reduces: bool) -> Iterable[Operator]:
    """All operators of a layer with a state; `reduces`: it ends with a sum over tensor-parallel ranks of its own."""
    if mixer.carried:
        # Each token is mixed with the one before it.
        demand = elementwise(
            context.tokens * mixer.carried, reads=1, writes=1, flops=SHIFT_FLOPS, element_bytes=context.widths.base_bytes
        )
        yield context.operator("token_shift", "elementwise", demand)
    yield from _projections(mixer, context)
    if mixer.convolved:
        yield _over_groups("convolution", context, lambda group: _convolution(mixer, group, context))
    if mixer.scan != "none":
        name = "recurrence" if context.step.phase == "decode" else "scan"
        yield _over_groups(name, context, lambda group: _scan(mixer, group, context))
    if mixer.gate_norm and not context.engine.fuses("norm"):
        elements = context.tokens * mixer.local_heads(context.tensor_parallel) * mixer.value_dim
        demand = elementwise(elements, reads=2, writes=1, flops=NORM_FLOPS, element_bytes=context.widths.base_bytes)
        yield context.operator("gate_norm", "elementwise", demand)
    yield context.linear(mixer.output, context.tokens)
    if reduces:
        yield from context.sum_over_ranks("state_space", mixer.hidden)


def _projections(mixer: StateSpace, context: Context) -> Iterable[Operator]:
    """The matrices before the scan; neighbours of one `fused_as` read the same input and make one GEMM where these fuse."""
    for name, linears in groupby(mixer.inputs, key=lambda linear: linear.fused_as or linear.name):
        group = tuple(linears)
        yield from context.linears(group, context.tokens, fuse=context.engine.fuses("qkv"))
        if group[-1].split == "row":
            # What is made of all channels is needed by every rank.
            yield from context.sum_over_ranks(name, group[-1].outputs)


def _over_groups(name: str, context: Context, demand: Callable[[Group], Demand]) -> Operator:
    """An operator that is done group by group, and demands the same in every step: a state does not grow."""
    runs = tuple(Run(demand(group), None, context.step.repeats) for group in context.step.groups)
    return Operator(name, context.layer, "state_space", context.count, runs)


def _convolution(mixer: StateSpace, group: Group, context: Context) -> Demand:
    """The causal convolution of a group's tokens, with the last tokens of each sequence read and kept."""
    channels = mixer.local_channels(context.tensor_parallel)
    tokens, element_bytes = context.local_new_tokens(group), context.widths.base_bytes
    work = convolution(
        group.sequences,
        tokens,
        channels=channels,
        width=mixer.convolution_width,
        block=CONVOLUTION_BLOCK,
        element_bytes=element_bytes,
    )
    kept = group.sequences * channels * (mixer.convolution_width - 1)
    return Demand(
        vector_flops=2.0 * group.sequences * tokens * channels * mixer.convolution_width,
        cache_bytes=2 * kept * element_bytes,
        activation_bytes=2 * group.sequences * tokens * channels * element_bytes,
        shape=_shape(mixer, work, "convolution_step" if context.step.phase == "decode" else "convolution", context),
    )


def _scan(mixer: StateSpace, group: Group, context: Context) -> Demand:
    """The state handed from token to token: of a prompt in chunks where these are products of matrices, else one by one.

    The state of each sequence is read and written once in a step.
    """
    ranks, element_bytes = context.tensor_parallel, context.widths.base_bytes
    heads, tokens = mixer.local_heads(ranks), context.local_new_tokens(group)
    shared = 2 * mixer.local_groups(ranks) * mixer.key_dim
    sides = {"heads": heads, "key_dim": mixer.key_dim, "value_dim": mixer.value_dim, "shared": shared}
    state_bytes: Number = 2 * group.sequences * _state_bytes(mixer, context)
    if mixer.scan == "selective" or context.step.phase == "decode":
        activations = group.sequences * tokens * (2 * heads * mixer.value_dim + shared) * element_bytes
        work = recurrence(group.sequences, **sides, state_bytes=state_bytes, element_bytes=element_bytes)
        return Demand(
            vector_flops=RECURRENCE_FLOPS * group.sequences * tokens * heads * mixer.state_elements,
            cache_bytes=state_bytes,
            activation_bytes=activations,
            shape=_shape(mixer, work, "recurrence", context) if context.step.phase == "decode" else None,
        )
    work = chunked_scan(
        group.sequences, tokens, **sides, chunk=mixer.scan_chunk, delta=mixer.scan == "delta", element_bytes=element_bytes
    )
    return Demand(
        matrix_flops=work.matrix_flops,
        vector_flops=0.0 * work.matrix_flops,
        cache_bytes=state_bytes,
        activation_bytes=work.moved_bytes,
        matrix_type=context.widths.base,
        shape=_shape(mixer, work, "scan", context),
    )


def _state_bytes(mixer: StateSpace, context: Context) -> Number:
    """Bytes of the recurrent state of one sequence on one rank."""
    buffers = [buffer for buffer in mixer.state(context.tensor_parallel) if buffer.name == "recurrence"]
    return sum(buffer.bytes(context.widths.base_bytes, narrow=context.engine.narrow_states) for buffer in buffers)


def _shape(mixer: StateSpace, work: StateSpaceWork, kind: str, context: Context) -> StateSpaceShape:
    # The convolution is one kernel for all; tables of gated delta nets time it on Hopper and Blackwell with 0.2 ms of setup.
    is_delta = mixer.scan == "delta" and not kind.startswith("convolution")
    family = "gated_delta_net" if is_delta else "mamba2"
    return StateSpaceShape(work, kind, family, context.widths.base)
