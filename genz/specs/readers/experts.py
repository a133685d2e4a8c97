"""Decoder-only Transformers with a mixture of experts.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.readers.experts_shared import Built, mixtures
from genz.specs.readers.shared import (
    Reader,
    attention,
    feed_forward,
    root_mean_square_embedding,
    root_mean_square_layer,
    windows_by_layer,
)
from genz.specs.token_mixers import Attention


def mixtral(config: Config) -> Built:
    """Mixtral: every layer a mixture. `gated: false` is GenZ's own key for experts of two matrices."""
    expert = feed_forward(config, gated=config.flag("gated", default=True))
    sparse = mixtures(config, expert, experts=config.count("num_local_experts"), top_k_default=2)
    mixer = attention(config, window=config.optional_count("sliding_window"))
    layers = tuple(root_mean_square_layer(config, mixer, mixture) for mixture in sparse)
    return layers, root_mean_square_embedding(config, tied=False)


def qwen2_moe(config: Config) -> Built:
    """Qwen 1.5 and 2 MoE: routed experts and one shared, which has a gate; some layers may be dense."""
    hidden, count = config.hidden, config.layers
    window = config.optional_count("sliding_window", least=0) if config.flag("use_sliding_window", default=False) else None
    below = config.count("max_window_layers", default=28, least=0)
    sparse = mixtures(
        config,
        FeedForward(hidden, config.count("moe_intermediate_size")),
        experts=config.count("num_experts"),
        shared=FeedForward(hidden, config.count("shared_expert_intermediate_size")),
        shared_gate=True,
    )
    is_sparse = _sparse_layers(config)
    bias = config.flag("qkv_bias", default=True)
    windows = windows_by_layer(config, lambda i: bool(window) and i % 2 == 0 and i < below, window=window)
    layers = tuple(
        root_mean_square_layer(
            config, attention(config, window=windows[i], qkv_bias=bias), sparse[i] if is_sparse[i] else feed_forward(config)
        )
        for i in range(count)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def qwen3_moe(config: Config) -> Built:
    """Qwen 3 MoE: routed experts only, norms on queries and keys."""
    window = config.optional_count("sliding_window", least=0) if config.flag("use_sliding_window", default=False) else None
    bias = config.flag("attention_bias", default=False)
    mixer = attention(config, window=window or None, qkv_bias=bias, output_bias=bias, query_key_norm=True)
    sparse = mixtures(
        config,
        FeedForward(config.hidden, config.count("moe_intermediate_size")),
        experts=config.count("num_experts", "num_local_experts"),
    )
    layers = tuple(
        root_mean_square_layer(config, mixer, mixture if is_sparse else feed_forward(config))
        for mixture, is_sparse in zip(sparse, _sparse_layers(config), strict=True)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def _sparse_layers(config: Config) -> list[bool]:
    dense = config.indices("mlp_only_layers", below=config.layers)
    period = config.count("decoder_sparse_step", default=1)
    return [i not in dense and (i + 1) % period == 0 for i in range(config.layers)]


def gpt_oss(config: Config) -> Built:
    """gpt-oss: sliding and full layers by turns, attention sinks, biases in router and experts."""
    bias = config.flag("attention_bias", default=True)
    expert = FeedForward(config.hidden, config.count("intermediate_size"), bias=True)
    sparse = mixtures(
        config, expert, experts=config.count("num_local_experts", "num_experts"), router_bias=True, top_k_default=4
    )
    window = config.count("sliding_window", default=128)
    layers = tuple(
        root_mean_square_layer(
            config, attention(config, window=w, qkv_bias=bias, output_bias=bias, head_dim=64, sinks=True), mixture
        )
        for w, mixture in zip(windows_by_layer(config, lambda i: i % 2 == 0, window=window), sparse, strict=True)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def llama4_text(config: Config) -> Built:
    """Llama 4: layers that see their own chunk and layers that see all, mixtures every so many layers."""
    count = config.layers
    bias = config.flag("attention_bias", default=False)
    normalised = config.flag("use_qk_norm", default=True)
    step = config.count("interleave_moe_layer_step", default=1)
    listed = config.sequence("moe_layers")
    routed = frozenset(range(step - 1, count, step)) if listed is None else config.indices("moe_layers", below=count)
    inner = config.count("intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("num_local_experts"),
        shared=FeedForward(config.hidden, inner),
        top_k_default=1,
    )
    dense = FeedForward(config.hidden, config.count("intermediate_size_mlp", default=inner))
    layers = []
    for i, (chunk, rope) in enumerate(_llama4_attention(config)):
        mixer = Attention(
            hidden=config.hidden,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim(),
            chunk=chunk,
            qkv_bias=bias,
            output_bias=bias,
            normalises_queries=normalised and rope,
            rope=rope,
        )
        layers.append(root_mean_square_layer(config, mixer, sparse[i] if i in routed else dense))
    return tuple(layers), root_mean_square_embedding(config, tied=False)


def _llama4_attention(config: Config) -> list[tuple[int | None, bool]]:
    """(chunk, has rotary positions) of each layer."""
    count = config.layers
    interval = config.count("no_rope_layer_interval", default=4)
    flags = config.sequence("no_rope_layers") or [int((i + 1) % interval != 0) for i in range(count)]
    if len(flags) != count:
        raise config.error("no_rope_layers", len(flags), f"a list of {count} entries")
    kinds = config.sequence("layer_types", length=count) or [
        "chunked_attention" if rope else "full_attention" for rope in flags
    ]
    for kind in kinds:
        if kind not in ("chunked_attention", "full_attention"):
            raise config.error("layer_types", kind, "chunked_attention, full_attention")
    chunk = config.optional_count("attention_chunk_size")
    return [(chunk if kind == "chunked_attention" else None, bool(rope)) for kind, rope in zip(kinds, flags, strict=True)]


READERS: dict[str, Reader] = {
    "mixtral": mixtral,
    "qwen2_moe": qwen2_moe,
    "qwen3_moe": qwen3_moe,
    "gpt_oss": gpt_oss,
    "llama4_text": llama4_text,
}
