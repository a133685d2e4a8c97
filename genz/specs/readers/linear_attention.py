"""Models that mix linear attention, short convolutions or gated recurrences with attention.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from genz.specs.channel_mixers import ChannelMixer, FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import ceil_div
from genz.specs.readers.patterns import ATTENTION, CONVOLUTION, STATE, equal, kinds_of, layer_kinds, mixture, state_type
from genz.specs.readers.recurrent import STATE_TYPE_KEYS
from genz.specs.readers.shared import Reader, attention, feed_forward, root_mean_square_embedding, root_mean_square_layer
from genz.specs.readers.state_mixers import (
    LIGHTNING_CHUNK,
    gated_delta,
    gated_recurrence,
    kimi_delta,
    lightning,
    short_convolution,
)
from genz.specs.token_mixers import LatentAttention, StateSpace, TokenMixer

Built = tuple[tuple[Layer, ...], Embedding]


def _mixed(
    config: Config, mixers: dict[str, TokenMixer], kinds: list[str], networks: Sequence[ChannelMixer]
) -> tuple[Layer, ...]:
    """A layer of each kind with the network of its place."""
    return tuple(root_mean_square_layer(config, mixers[kind], each) for kind, each in zip(kinds, networks, strict=True))


def _qwen_mixers(config: Config, *, in_one: bool) -> tuple[dict[str, TokenMixer], list[str]]:
    """Gated delta nets, and gated attention in each fourth layer."""
    heads = config.count("linear_num_value_heads", default=32)
    key_heads = config.count("linear_num_key_heads", default=16)
    if heads % key_heads:
        raise config.error("linear_num_key_heads", key_heads, f"a divisor of linear_num_value_heads = {heads}")
    delta = gated_delta(
        config.hidden,
        key_heads=key_heads,
        heads=heads,
        key_dim=config.count("linear_key_head_dim", default=128),
        value_dim=config.count("linear_value_head_dim", default=128),
        width=config.count("linear_conv_kernel_dim", default=4),
        in_one=in_one,
        **state_type(config, *STATE_TYPE_KEYS),
    )
    bias = config.flag("attention_bias", default=False)
    full = attention(config, qkv_bias=bias, output_bias=bias, head_dim=256, query_key_norm=True)
    interval = config.count("full_attention_interval", default=4)
    spaced = [STATE if (i + 1) % interval else ATTENTION for i in range(config.layers)]
    kinds = layer_kinds(config, "layer_types", allowed=(ATTENTION, STATE), default=spaced)
    return {STATE: delta, ATTENTION: replace(full, gated=config.flag("attn_output_gate", default=True))}, kinds


def _qwen_experts(config: Config, *, inner: int, shared: int, experts: int, top_k: int) -> ChannelMixer:
    return mixture(
        config,
        FeedForward(config.hidden, config.count("moe_intermediate_size", default=inner)),
        experts=config.count("num_experts", "num_local_experts", default=experts),
        top_k=top_k,
        shared=FeedForward(config.hidden, config.count("shared_expert_intermediate_size", default=shared)),
        shared_gate=True,
    )


def qwen3_next(config: Config) -> Built:
    """Qwen3-Next: gated delta nets and gated attention, each with many small experts and a shared one."""
    mixers, kinds = _qwen_mixers(config, in_one=True)
    dense = config.indices("mlp_only_layers", below=config.layers)
    step = config.count("decoder_sparse_step", default=1)
    sparse = [i not in dense and (i + 1) % step == 0 for i in range(config.layers)]
    routed = _qwen_experts(config, inner=512, shared=512, experts=512, top_k=10)
    networks = [routed if is_sparse else FeedForward(config.hidden, _inner(config, 5632)) for is_sparse in sparse]
    return _mixed(config, mixers, kinds, networks), root_mean_square_embedding(config, tied=False)


def _inner(config: Config, default: int) -> int:
    return config.count("intermediate_size", default=default)


def qwen3_5(config: Config) -> Built:
    """Qwen3.5's text model: gated delta nets and gated attention with dense networks."""
    mixers, kinds = _qwen_mixers(config, in_one=False)
    networks: list[ChannelMixer] = [feed_forward(config)] * config.layers
    return _mixed(config, mixers, kinds, networks), root_mean_square_embedding(config, tied=False)


def qwen3_5_moe(config: Config) -> Built:
    """Qwen3.5's text model with experts in every layer."""
    mixers, kinds = _qwen_mixers(config, in_one=False)
    routed = _qwen_experts(config, inner=512, shared=512, experts=256, top_k=8)
    return _mixed(config, mixers, kinds, [routed] * config.layers), root_mean_square_embedding(config, tied=False)


# Keys by which later models of Kimi's make other layers than this reader does.
KIMI_UNREAD = ("routed_expert_hidden_size", "mla_use_output_gate", "attn_res_block_size")


def kimi_linear(config: Config) -> Built:
    """Kimi Linear: Kimi delta attention, and in some layers latent attention without positions; dense first layers."""
    figures = _kimi_figures(config)
    heads = figures.count("num_heads", "linear_num_heads", default=32)
    mixers: dict[str, TokenMixer] = {
        STATE: kimi_delta(
            config.hidden,
            heads=heads,
            head_dim=figures.count("head_dim", "linear_head_dim", default=128),
            width=figures.count("short_conv_kernel_size", "linear_conv_kernel_dim", default=4),
        ),
        ATTENTION: LatentAttention(
            config.hidden,
            config.heads,
            config.optional_count("q_lora_rank"),
            config.count("kv_lora_rank", default=512),
            nope_dim=config.count("qk_nope_head_dim", default=128),
            rope_dim=config.count("qk_rope_head_dim", default=64),
            value_dim=config.count("v_head_dim", default=128),
            bias=config.flag("attention_bias", default=False),
            rope=False,
        ),
    }
    inner = config.count("moe_intermediate_size", default=1024)
    routed = mixture(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("num_experts", "num_local_experts", default=256),
        top_k=8,
        shared=FeedForward(config.hidden, config.count("num_shared_experts", "n_shared_experts", default=1) * inner),
    )
    dense = FeedForward(config.hidden, _inner(config, 9216))
    networks = [dense if kind == "dense" else routed for kind in _kimi_networks(config)]
    return _mixed(config, mixers, _kimi_kinds(config, figures), networks), root_mean_square_embedding(config, tied=False)


def _kimi_figures(config: Config) -> Config:
    """The figures of linear attention: a mapping of their own in published files, else among all others."""
    for name in KIMI_UNREAD:
        if config.raw.get(name):
            raise config.error(name, config.raw[name], "absent: this reader makes the layers of Kimi-Linear-48B-A3B")
    given = config.raw.get("linear_attn_config")
    if given is None:
        spelled = ("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
        return Config({name: config.raw[name] for name in spelled if name in config.raw}, origin=config.origin)
    if not isinstance(given, dict):
        raise config.error("linear_attn_config", given, "a mapping of the figures of linear attention")
    if given.get("use_full_rank_gate"):
        raise config.error("use_full_rank_gate", True, "false: gates of low rank")
    return Config(given, origin=f"{config.origin} (linear_attn_config)")


def _kimi_kinds(config: Config, figures: Config) -> list[str]:
    """Published files number the layers of each kind from 1."""
    layers = config.layers
    if config.sequence("layer_types") is None and figures.sequence("full_attn_layers") is not None:
        full = figures.indices("full_attn_layers", below=layers + 1)
        linear = figures.indices("kda_layers", below=layers + 1)
        if figures.sequence("kda_layers") is not None and (full & linear or full | linear != set(range(1, layers + 1))):
            allowed = f"with full_attn_layers each of the layers 1 to {layers} once"
            raise figures.error("kda_layers", sorted(linear), allowed)
        return [ATTENTION if i + 1 in full else STATE for i in range(layers)]
    default = [ATTENTION if i and i % 4 == 0 else STATE for i in range(layers)]
    return layer_kinds(config, "layer_types", allowed=(ATTENTION, STATE), default=default)


def _kimi_networks(config: Config) -> list[str]:
    first = config.count("first_k_dense_replace", default=1, least=0)
    kinds = config.sequence("mlp_layer_types")
    if kinds is None:
        equal(config, "moe_layer_freq", config.count("moe_layer_freq", default=1), 1, "experts in each layer")
        kinds = ["dense" if i < first else "sparse" for i in range(config.layers)]
    return kinds_of(config, "mlp_layer_types", kinds, {"dense": "dense", "sparse": "sparse"}, layers=config.layers)


def minimax(config: Config) -> Built:
    """MiniMax-Text-01 and M1: lightning attention, softmax attention in each eighth layer, experts in all."""
    figures = attention(config)
    mixers: dict[str, TokenMixer] = {
        STATE: lightning(
            config.hidden,
            heads=figures.heads,
            head_dim=figures.head_dim,
            chunk=config.count("block_size", default=LIGHTNING_CHUNK),
        ),
        ATTENTION: figures,
    }
    routed = mixture(config, feed_forward(config), experts=config.count("num_local_experts", "num_experts", default=8), top_k=2)
    shared = config.raw.get("shared_intermediate_size")
    if shared not in (None, 0, [0]):
        raise config.error("shared_intermediate_size", shared, "0: no shared experts in this reader")
    layers = _mixed(config, mixers, _minimax_kinds(config), [routed] * config.layers)
    return layers, root_mean_square_embedding(config, tied=False)


def _minimax_kinds(config: Config) -> list[str]:
    """The first published files say 0 for lightning and 1 for softmax attention."""
    codes = config.sequence("attn_type_list") or config.sequence("decoder_attention_types")
    if codes is not None and config.sequence("layer_types") is None:
        known = {"0": STATE, "1": ATTENTION}
        return kinds_of(config, "attn_type_list", [str(code) for code in codes], known, layers=config.layers)
    default = [ATTENTION if (i + 1) % 2 else STATE for i in range(config.layers)]
    return layer_kinds(config, "layer_types", allowed=(ATTENTION, STATE), default=default)


def _lfm2_mixers(config: Config) -> dict[str, TokenMixer]:
    convolution = short_convolution(
        config.hidden, width=config.count("conv_L_cache", default=3), bias=config.flag("conv_bias", default=False)
    )
    return {ATTENTION: attention(config, query_key_norm=True), CONVOLUTION: convolution}


def _lfm2_embedding(config: Config) -> Embedding:
    tied = config.flag("tie_embedding", "tie_word_embeddings", default=True)
    return replace(root_mean_square_embedding(config, tied=True), tied=tied)


def lfm2(config: Config) -> Built:
    """LFM2: gated short convolutions with a few attention layers."""
    indices = config.indices("full_attn_idxs", below=config.layers)
    everywhere = config.raw.get("full_attn_idxs") is None
    named = [ATTENTION if everywhere or i in indices else CONVOLUTION for i in range(config.layers)]
    kinds = layer_kinds(config, "layer_types", allowed=(ATTENTION, CONVOLUTION), default=named)
    network = FeedForward(config.hidden, _lfm2_inner(config))
    return _mixed(config, _lfm2_mixers(config), kinds, [network] * config.layers), _lfm2_embedding(config)


def _lfm2_inner(config: Config) -> int:
    """Two thirds of the width that the file names, times a factor, up to a multiple; or that width itself."""
    inner = config.count("block_ff_dim", "intermediate_size")
    if not config.flag("block_auto_adjust_ff_dim", default=True):
        return inner
    inner = int(2 * inner / 3)
    factor: Any = config.raw.get("block_ffn_dim_multiplier", 1.0)
    if factor is None:
        return inner
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= 100:
        raise config.error("block_ffn_dim_multiplier", factor, "a number above 0 and up to 100")
    multiple = config.count("block_multiple_of", default=256)
    return multiple * ceil_div(int(factor * inner), multiple)


def lfm2_moe(config: Config) -> Built:
    """LFM2 with experts behind its first, dense layers."""
    kinds = layer_kinds(config, "layer_types", allowed=(ATTENTION, CONVOLUTION))
    routed = mixture(
        config,
        FeedForward(config.hidden, config.count("moe_intermediate_size", default=1792)),
        experts=config.count("num_experts", "num_local_experts", default=32),
        top_k=4,
    )
    dense, first = feed_forward(config), config.count("num_dense_layers", default=2, least=0)
    networks = [dense if i < first else routed for i in range(config.layers)]
    return _mixed(config, _lfm2_mixers(config), kinds, networks), _lfm2_embedding(config)


def recurrent_gemma(config: Config) -> Built:
    """RecurrentGemma (Griffin): gated recurrences, and attention over a window in each third layer."""
    pattern = config.sequence("block_types") or config.sequence("_block_types") or ["recurrent", "recurrent", "attention"]
    known = {"recurrent": STATE, "attention": ATTENTION}
    period = kinds_of(config, "block_types", pattern, known, layers=len(pattern))
    kinds = [period[i % len(period)] for i in range(config.layers)]
    inner = config.count("lru_width", default=config.hidden)
    if inner % config.heads:
        raise config.error("lru_width", inner, f"a multiple of num_attention_heads = {config.heads}, the number of blocks")
    doubled = config.count("intermediate_size", default=7680)
    recurrence: StateSpace = gated_recurrence(
        config.hidden, inner=inner, blocks=config.heads, width=config.count("conv1d_width", default=4)
    )
    window = config.count("attention_window_size", "sliding_window", default=2048)
    bias = config.flag("attention_bias", default=False)
    mixers: dict[str, TokenMixer] = {
        STATE: recurrence,
        ATTENTION: attention(config, window=window, qkv_bias=bias, output_bias=True),
    }
    network = FeedForward(config.hidden, doubled // 2, bias=True)
    return _mixed(config, mixers, kinds, [network] * config.layers), root_mean_square_embedding(config, tied=True)


READERS: dict[str, Reader] = {
    "qwen3_next": qwen3_next,
    "qwen3_5_text": qwen3_5,
    "qwen3_5_moe_text": qwen3_5_moe,
    "kimi_linear": kimi_linear,
    "minimax": minimax,
    "minimax_text_01": minimax,
    "minimax_m1": minimax,
    "lfm2": lfm2,
    "lfm2_moe": lfm2_moe,
    "recurrent_gemma": recurrent_gemma,
}
