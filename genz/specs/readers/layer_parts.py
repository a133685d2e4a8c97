"""The mixers that a layer of one's own can name, each with the keys that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from genz.specs.channel_mixers import ChannelMixer, FeedForward, MixtureOfExperts
from genz.specs.config import Config
from genz.specs.readers.heterogeneous import linear_instead
from genz.specs.readers.recurrent import time_step_rank
from genz.specs.readers.shared import attention, feed_forward
from genz.specs.readers.state_mixers import gated_delta, kimi_delta, lightning, mamba1, mamba2, short_convolution
from genz.specs.token_mixers import Attention, LatentAttention, StateSpace, TokenMixer

M = TypeVar("M")


@dataclass(frozen=True)
class Kind(Generic[M]):
    """A kind of mixer: how it is made, and from which keys."""

    make: Callable[[Config], M]
    keys: tuple[str, ...] = ()


def _attention(config: Config) -> Attention:
    bias = config.flag("attention_bias", default=False)
    window, chunk = config.optional_count("sliding_window"), config.optional_count("attention_chunk_size")
    if window is not None and chunk is not None:
        raise config.error("attention_chunk_size", chunk, "null, where there is a sliding_window")
    return attention(
        config,
        window=window,
        chunk=chunk,
        qkv_bias=bias,
        output_bias=config.flag("attention_out_bias", default=bias),
        query_key_norm=config.flag("use_qk_norm", default=False),
        sinks=config.flag("attention_sinks", default=False),
        rope=config.flag("use_rope", default=True),
    )


def _latent_attention(config: Config) -> LatentAttention:
    return LatentAttention(
        hidden=config.hidden,
        heads=config.heads,
        query_rank=config.optional_count("q_lora_rank"),
        latent_rank=config.count("kv_lora_rank"),
        nope_dim=config.count("qk_nope_head_dim"),
        rope_dim=config.count("qk_rope_head_dim"),
        value_dim=config.count("v_head_dim"),
        bias=config.flag("attention_bias", default=False),
    )


def _divisor(config: Config, name: str, of: str, whole: int, *, default: int | None = None) -> int:
    """A whole number that divides another one of the file."""
    value = config.count(name, default=default)
    if whole % value:
        raise config.error(name, value, f"a divisor of {of} = {whole}")
    return value


def _mamba(config: Config) -> StateSpace:
    return mamba1(
        config.hidden,
        config.count("expand", default=2) * config.hidden,
        state=config.count("state_size", default=16),
        rank=time_step_rank(config, "time_step_rank"),
        width=config.count("conv_kernel", default=4),
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("use_conv_bias", default=True),
    )


def _mamba2(config: Config) -> StateSpace:
    inner = config.count("expand", default=2) * config.hidden
    heads = config.optional_count("mamba_num_heads")
    if heads is None:
        heads = inner // _divisor(config, "mamba_head_dim", "expand x hidden_size", inner, default=64)
    return mamba2(
        config.hidden,
        heads=heads,
        head_dim=config.count("mamba_head_dim", default=64),
        state=config.count("state_size", default=128),
        groups=_divisor(config, "n_groups", "the number of heads", heads, default=1),
        width=config.count("conv_kernel", default=4),
        chunk=config.count("chunk_size", default=256),
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("use_conv_bias", default=True),
    )


def _gated_delta_net(config: Config) -> StateSpace:
    heads = config.count("linear_num_value_heads")
    return gated_delta(
        config.hidden,
        key_heads=_divisor(config, "linear_num_key_heads", "linear_num_value_heads", heads, default=heads),
        heads=heads,
        key_dim=config.count("linear_key_head_dim", default=128),
        value_dim=config.count("linear_value_head_dim", default=128),
        width=config.count("linear_conv_kernel_dim", default=4),
        in_one=True,
    )


def _kimi_delta_attention(config: Config) -> StateSpace:
    return kimi_delta(
        config.hidden,
        heads=config.count("linear_num_value_heads"),
        head_dim=config.count("linear_value_head_dim", default=128),
        width=config.count("linear_conv_kernel_dim", default=4),
    )


def _lightning_attention(config: Config) -> StateSpace:
    return lightning(config.hidden, heads=config.heads, head_dim=config.head_dim())


def _short_convolution(config: Config) -> StateSpace:
    return short_convolution(
        config.hidden, width=config.count("conv_kernel", default=4), bias=config.flag("use_bias", default=False)
    )


def _feed_forward(config: Config) -> FeedForward:
    return feed_forward(config, gated=config.flag("gated", default=True), bias=config.flag("mlp_bias", default=False))


def _mixture(config: Config) -> MixtureOfExperts:
    experts, top_k = config.count("num_experts"), config.count("num_experts_per_tok")
    if top_k > experts:
        raise config.error("num_experts_per_tok", top_k, f"at most num_experts = {experts}")
    own = config.optional_count("moe_intermediate_size")
    expert = _feed_forward(config) if own is None else _expert(config, own)
    shared = config.optional_count("shared_expert_intermediate_size")
    return MixtureOfExperts(
        config.hidden,
        experts,
        top_k,
        expert,
        router_bias=config.flag("router_bias", default=False),
        shared=None if shared is None else replace(expert, intermediate=shared),
        shared_gate=shared is not None and config.flag("shared_expert_gate", default=False),
    )


def _expert(config: Config, intermediate: int) -> FeedForward:
    gated, bias = config.flag("gated", default=True), config.flag("mlp_bias", default=False)
    return FeedForward(config.hidden, intermediate, gated=gated, bias=bias)


def _linear(config: Config) -> ChannelMixer:
    return linear_instead(config.hidden, "feed_forward_linear", bias=config.flag("mlp_bias", default=False))


def _nothing(_config: Config) -> None:
    return None


_ATTENTION_KEYS = (
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "sliding_window",
    "attention_chunk_size",
    "attention_bias",
    "attention_out_bias",
    "use_qk_norm",
    "attention_sinks",
    "use_rope",
)
_LATENT_KEYS = (
    "num_attention_heads",
    "q_lora_rank",
    "kv_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "attention_bias",
)
_MAMBA_KEYS = ("expand", "state_size", "conv_kernel", "use_bias", "use_conv_bias")
_DELTA_KEYS = ("linear_num_value_heads", "linear_value_head_dim", "linear_conv_kernel_dim")
_NETWORK_KEYS = ("intermediate_size", "gated", "mlp_bias")
_EXPERT_KEYS = (
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "shared_expert_gate",
    "router_bias",
)

TOKEN_MIXERS: dict[str, Kind[TokenMixer | None]] = {
    "attention": Kind(_attention, _ATTENTION_KEYS),
    "latent_attention": Kind(_latent_attention, _LATENT_KEYS),
    "mamba": Kind(_mamba, (*_MAMBA_KEYS, "time_step_rank")),
    "mamba2": Kind(_mamba2, (*_MAMBA_KEYS, "mamba_num_heads", "mamba_head_dim", "n_groups", "chunk_size")),
    "gated_delta_net": Kind(_gated_delta_net, (*_DELTA_KEYS, "linear_num_key_heads", "linear_key_head_dim")),
    "kimi_delta_attention": Kind(_kimi_delta_attention, _DELTA_KEYS),
    "lightning_attention": Kind(_lightning_attention, ("num_attention_heads", "head_dim")),
    "short_convolution": Kind(_short_convolution, ("conv_kernel", "use_bias")),
    "linear": Kind(_nothing, ("attention_bias",)),
    "none": Kind(_nothing),
}
CHANNEL_MIXERS: dict[str, Kind[ChannelMixer | None]] = {
    "feed_forward": Kind(_feed_forward, _NETWORK_KEYS),
    "mixture_of_experts": Kind(_mixture, (*_NETWORK_KEYS, *_EXPERT_KEYS)),
    "linear": Kind(_linear, ("mlp_bias",)),
    "none": Kind(_nothing),
}
