"""Mixers with a state, from plain figures: Mamba, gated delta nets, lightning attention, RWKV, and their kin.

Parameters beside the matrices are listed in the order of the modeling files of Hugging Face transformers.
"""

from __future__ import annotations

from typing import Any

from genz.specs.linear import Linear
from genz.specs.token_mixers import StateSpace

# Tokens of a chunk in the kernels of linear attention that fix it themselves.
DELTA_CHUNK, LIGHTNING_CHUNK = 64, 256


def mamba1(
    hidden: int,
    inner: int,
    *,
    state: int,
    rank: int,
    width: int,
    bias: bool = False,
    conv_bias: bool = True,
    heads: int = 1,
    inner_norms: bool = False,
    **state_type: Any,
) -> StateSpace:
    """Mamba-1: a selective scan of each channel, whose step, input and output depend on the token.

    `heads` blocks of channels may have step, input and output of their own (Zamba); `inner_norms` normalise these three
    (Jamba). Source: Gu and Dao, Mamba, arXiv:2312.00752.
    """
    parameters, steps = heads * (rank + 2 * state), heads * rank
    whole = heads == 1
    return StateSpace(
        hidden=hidden,
        heads=inner,
        key_dim=state,
        value_dim=1,
        inputs=(
            Linear("in", hidden, 2 * inner, bias=bias, split="column", parts=((inner, 1), (inner, 1))),
            # One block reads all channels, so that ranks add up their shares; several blocks lie on ranks of their own.
            Linear("state_parameters", inner, parameters, split="row")
            if whole
            else Linear("state_parameters", inner, parameters, split="column", unit=parameters // heads, blocks=heads),
            Linear("time_step", steps, inner, bias=True, split="column", unit=inner // heads if heads > 1 else 1, blocks=heads),
        ),
        output=Linear("output", inner, hidden, bias=bias, split="row"),
        scan="selective",
        groups=heads,
        convolved=((inner, 1),),
        convolution_width=width,
        own_vectors=inner * (width + conv_bias + state + 1) + (parameters if inner_norms else 0),
        gate_norm=False,
        blocks=None if whole else heads,
        **state_type,
    )


def mamba2(
    hidden: int,
    *,
    heads: int,
    head_dim: int,
    state: int,
    groups: int,
    width: int,
    chunk: int,
    bias: bool = False,
    output_bias: bool | None = None,
    conv_bias: bool = True,
    norm: bool = True,
    **state_type: Any,
) -> StateSpace:
    """Mamba-2: a scalar decay a head, so that a prompt is scanned in chunks by products of matrices.

    Source: Dao and Gu, Transformers are SSMs, ICML 2024.
    """
    inner, shared = heads * head_dim, (groups * state, state)
    channels = ((inner, head_dim), shared, shared)
    parts = ((inner, head_dim), *channels, (heads, 1))
    convolved = sum(width for width, _ in channels)
    return StateSpace(
        hidden=hidden,
        heads=heads,
        key_dim=state,
        value_dim=head_dim,
        inputs=(Linear("in", hidden, sum(each for each, _ in parts), bias=bias, split="column", parts=parts),),
        output=Linear("output", inner, hidden, bias=bias if output_bias is None else output_bias, split="row", unit=head_dim),
        scan="chunked",
        groups=groups,
        convolved=channels,
        convolution_width=width,
        scan_chunk=chunk,
        own_vectors=convolved * (width + conv_bias) + 3 * heads + (inner if norm else 0),
        gate_norm=norm,
        **state_type,
    )


def gated_delta(
    hidden: int, *, key_heads: int, heads: int, key_dim: int, value_dim: int, width: int, in_one: bool, **state_type: Any
) -> StateSpace:
    """Gated delta net: linear attention with the delta rule, a decay and a step a head; keys serve several value heads.

    `in_one`: queries, keys, values and gate are one matrix, step and decay another. Source: Yang et al., Gated Delta
    Networks, ICLR 2025.
    """
    keys, values = (key_heads * key_dim, key_dim), (heads * value_dim, value_dim)
    channels, per_head = (keys, keys, values), (heads, 1)
    convolved = sum(each for each, _ in channels)

    def column(name: str, *parts: tuple[int, int], fused_as: str) -> Linear:
        outputs = sum(each for each, _ in parts)
        return Linear(name, hidden, outputs, split="column", parts=parts, fused_as=fused_as)

    inputs: tuple[Linear, ...]
    if in_one:
        inputs = (
            column("query_key_value_gate", *channels, values, fused_as="query_key_value_gate"),
            column("step_decay", per_head, per_head, fused_as="step_decay"),
        )
    else:
        inputs = (
            column("query_key_value", *channels, fused_as="query_key_value_gate"),
            column("gate", values, fused_as="query_key_value_gate"),
            column("step", per_head, fused_as="step_decay"),
            column("decay", per_head, fused_as="step_decay"),
        )
    return StateSpace(
        hidden=hidden,
        heads=heads,
        key_dim=key_dim,
        value_dim=value_dim,
        inputs=inputs,
        output=Linear("output", heads * value_dim, hidden, split="row", unit=value_dim),
        scan="delta",
        groups=key_heads,
        convolved=channels,
        convolution_width=width,
        scan_chunk=DELTA_CHUNK,
        own_vectors=convolved * width + 2 * heads + value_dim,
        **state_type,
    )


def kimi_delta(hidden: int, *, heads: int, head_dim: int, width: int) -> StateSpace:
    """Kimi delta attention: a gated delta net whose decay is a vector a head, made through a low rank.

    Its state is always kept in fp32. Source: Kimi Linear, arXiv:2510.26692.
    """
    inner = (heads * head_dim, head_dim)

    def column(name: str, inputs: int, part: tuple[int, int], fused_as: str | None = None) -> Linear:
        return Linear(name, inputs, part[0], split="column", unit=part[1], fused_as=fused_as)

    return StateSpace(
        hidden=hidden,
        heads=heads,
        key_dim=head_dim,
        value_dim=head_dim,
        inputs=(
            *(column(name, hidden, inner, "qkv") for name in ("query", "key", "value")),
            Linear("decay_down", hidden, head_dim),
            column("decay_up", head_dim, inner),
            column("step", hidden, (heads, 1)),
            Linear("gate_down", hidden, head_dim),
            column("gate_up", head_dim, inner),
        ),
        output=Linear("output", inner[0], hidden, split="row", unit=head_dim),
        scan="delta",
        groups=heads,
        convolved=(inner, inner, inner),
        convolution_width=width,
        scan_chunk=DELTA_CHUNK,
        own_vectors=3 * inner[0] * width + inner[0] + heads + head_dim,
        names_state_type=True,
    )


def lightning(hidden: int, *, heads: int, head_dim: int, chunk: int = LIGHTNING_CHUNK) -> StateSpace:
    """Lightning attention: linear attention with a fixed decay a head, a norm and a gate, and a state as activations are.

    Source: MiniMax-01, arXiv:2501.08313, section 2.2.
    """
    inner = (heads * head_dim, head_dim)
    return StateSpace(
        hidden=hidden,
        heads=heads,
        key_dim=head_dim,
        value_dim=head_dim,
        inputs=(
            Linear("query_key_value", hidden, 3 * inner[0], split="column", parts=(inner, inner, inner)),
            Linear("gate", hidden, inner[0], split="column", unit=head_dim),
        ),
        output=Linear("output", inner[0], hidden, split="row", unit=head_dim),
        scan="chunked",
        groups=heads,
        scan_chunk=chunk,
        own_vectors=inner[0],
        state_bytes=None,
    )


def short_convolution(hidden: int, *, width: int, bias: bool) -> StateSpace:
    """A gated causal convolution over a few tokens, and nothing else (LFM2)."""
    channels = (hidden, 1)
    return StateSpace(
        hidden=hidden,
        heads=hidden,
        key_dim=0,
        value_dim=1,
        inputs=(Linear("in", hidden, 3 * hidden, bias=bias, split="column", parts=(channels,) * 3),),
        output=Linear("output", hidden, hidden, bias=bias, split="row"),
        scan="none",
        convolved=(channels,),
        convolution_width=width,
        own_vectors=hidden * (width + bias),
    )


def gated_recurrence(hidden: int, *, inner: int, blocks: int, width: int) -> StateSpace:
    """RG-LRU behind a convolution: a gated recurrence of each channel, its gates made by block-diagonal matrices.

    Source: De et al., Griffin, arXiv:2402.19427, section 2.4.
    """
    block = inner // blocks

    def gate(name: str) -> Linear:
        return Linear(name, inner, inner, bias=True, split="column", unit=block, fused_as="gates", blocks=blocks)

    return StateSpace(
        hidden=hidden,
        heads=inner,
        key_dim=1,
        value_dim=1,
        inputs=(
            Linear("gate", hidden, inner, bias=True, split="column", unit=block, fused_as="in"),
            Linear("in", hidden, inner, bias=True, split="column", unit=block, fused_as="in"),
            gate("input_gate"),
            gate("recurrence_gate"),
        ),
        output=Linear("output", inner, hidden, bias=True, split="row", unit=block),
        scan="selective",
        groups=inner,
        convolved=((inner, block),),
        convolution_width=width,
        own_vectors=inner * (width + 1) + inner,
        names_state_type=True,
        blocks=blocks,
    )


def matrix_lstm(
    hidden: int, *, heads: int, key_width: int, value_width: int, chunk: int, bias: bool, **state_type: Any
) -> StateSpace:
    """mLSTM: linear attention with exponential gates; a head keeps a matrix, a vector that normalises, and a maximum.

    Source: Beck et al., xLSTM 7B, arXiv:2503.13427.
    """
    key_dim, value_dim = key_width // heads, value_width // heads

    def column(name: str, width: int, unit: int, fused_as: str, *, biased: bool = bias) -> Linear:
        return Linear(name, hidden, width, bias=biased, split="column", unit=unit, fused_as=fused_as)

    return StateSpace(
        hidden=hidden,
        heads=heads,
        key_dim=key_dim,
        value_dim=value_dim,
        inputs=(
            column("query", key_width, key_dim, "qkv"),
            column("key", key_width, key_dim, "qkv"),
            column("value", value_width, value_dim, "qkv"),
            column("gate", value_width, value_dim, "qkv"),
            column("input_gate", heads, 1, "gates", biased=True),
            column("forget_gate", heads, 1, "gates", biased=True),
        ),
        output=Linear("output", value_width, hidden, bias=bias, split="row", unit=value_dim),
        scan="chunked",
        groups=heads,
        scan_chunk=chunk,
        own_vectors=value_width * (1 + bias),
        state_extras=key_dim + 1,
        **state_type,
    )
