"""Layers with a state instead of a cache: Mamba-2 and gated delta nets, kernel by kernel.

A short causal convolution over the channels comes first. A prompt is then scanned in chunks, with matrix products inside of a
chunk and the state handed on from chunk to chunk; a decode step updates the state once.

References: Dao and Gu, Transformers are SSMs, ICML 2024 (Mamba-2); Yang et al., Gated Delta Networks, ICLR 2025, and
Parallelizing Linear Transformers with the Delta Rule, NeurIPS 2024 (chunks of the delta rule).
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.numerics import Number, ceil_div, minimum

ACTIVATION_BYTES, STATE_BYTES = 2.0, 4.0
# For each element of the state and each token of a recurrence: decay, input and output, each a multiplication and an addition,
# and the exponential of the decay. Source: Gu and Dao, Mamba, arXiv:2312.00752, algorithm 2 and equation 2.
RECURRENCE_FLOPS = 7


@dataclass(frozen=True, slots=True)
class StateSpaceWork:
    """What one kernel does at least: FLOPs of the matrix units, bytes moved [B], and steps that must follow each other.

    `tasks` are the independent chains of steps: a block of threads each.
    """

    matrix_flops: Number
    moved_bytes: Number
    steps: Number
    tasks: Number


def convolution(
    sequences: Number,
    new_tokens: Number,
    *,
    channels: Number,
    width: Number,
    block: int,
    element_bytes: Number = ACTIVATION_BYTES,
) -> StateSpaceWork:
    """A causal convolution over the last `width` tokens of each channel, `block` tokens at a time.

    Each token is read and written, and each sequence's last tokens too.
    """
    moved = element_bytes * channels * sequences * 2 * (new_tokens + width - 1)
    return StateSpaceWork(0.0, moved, ceil_div(new_tokens, block), sequences * channels)


def recurrence(
    sequences: Number,
    *,
    heads: Number,
    key_dim: Number,
    value_dim: Number,
    shared: Number,
    state_bytes: Number | None = None,
    element_bytes: Number = ACTIVATION_BYTES,
) -> StateSpaceWork:
    """One decode step: a state of key_dim x value_dim for each head is read and written, and a token's activations.

    `shared` elements a token (keys, queries, or B and C) serve several heads. `state_bytes` is what the states of all
    sequences move, both ways, where they are not of fp32 [B].
    """
    state = sequences * 2 * STATE_BYTES * heads * key_dim * value_dim if state_bytes is None else state_bytes
    moved = state + sequences * element_bytes * (2 * heads * value_dim + shared)
    return StateSpaceWork(0.0, moved, 1.0, sequences * heads)


def chunked_scan(
    sequences: Number,
    new_tokens: Number,
    *,
    heads: Number,
    key_dim: Number,
    value_dim: Number,
    shared: Number,
    chunk: Number,
    delta: bool,
    element_bytes: Number = ACTIVATION_BYTES,
) -> StateSpaceWork:
    """A prompt in chunks of C tokens (d_k and d_v the sides of a head's state).

    FLOPs a token and head: 2 C (d_k + d_v) for scores and sums inside of a chunk, 4 d_k d_v to read and to update the state;
    the delta rule solves for its updates as well, 2 C (2 d_k + d_v) + 2 d_k d_v more. States of all chunks are written and
    read, as are queries, keys, values and outputs, and the delta rule's solutions (d_k + d_v a token and head).
    """
    length = minimum(chunk, new_tokens)
    tokens = sequences * new_tokens
    flops = 2 * length * (key_dim + value_dim) + 4 * key_dim * value_dim
    elements = 2 * heads * value_dim + shared
    if delta:
        flops = flops + 2 * length * (2 * key_dim + value_dim) + 2 * key_dim * value_dim
        elements = elements + 2 * heads * (key_dim + value_dim)
    chunks = ceil_div(new_tokens, chunk)
    states = 2 * sequences * chunks * heads * key_dim * value_dim * element_bytes
    moved = element_bytes * tokens * elements + states
    return StateSpaceWork(tokens * heads * flops, moved, chunks, sequences * heads)
