"""Decoder-only Transformers whose every token passes the same feed-forward network.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`,
with the defaults that a `config.json` may rely on.
"""

from __future__ import annotations

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers.shared import (
    Reader,
    attention,
    feed_forward,
    root_mean_square_embedding,
    root_mean_square_layer,
    windows_by_layer,
)
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# OPT's position table starts with two rows that no position uses.
OPT_POSITION_OFFSET = 2


def llama(config: Config) -> Built:
    """LLaMA 1 to 3, and what shares its shape. `gated: false` is GenZ's own key for a plain feed-forward network."""
    bias = config.flag("attention_bias", default=False)
    layer = root_mean_square_layer(
        config,
        attention(config, qkv_bias=bias, output_bias=bias),
        feed_forward(config, gated=config.flag("gated", default=True), bias=config.flag("mlp_bias", default=False)),
    )
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def mistral(config: Config) -> Built:
    """Mistral: LLaMA with a sliding window in every layer, where `sliding_window` is set."""
    mixer = attention(config, window=config.optional_count("sliding_window"))
    layer = root_mean_square_layer(config, mixer, feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def qwen2(config: Config) -> Built:
    """Qwen 1.5 to 2.5: biases on queries, keys and values; optionally a window in the upper layers."""
    window = config.optional_count("sliding_window", least=0) if config.flag("use_sliding_window", default=False) else None
    first = config.count("max_window_layers", default=28, least=0)
    layers = tuple(
        root_mean_square_layer(config, attention(config, window=w, qkv_bias=True), feed_forward(config))
        for w in windows_by_layer(config, lambda i: bool(window) and i >= first, window=window)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def qwen3(config: Config) -> Built:
    """Qwen 3: norms on queries and keys, heads of 128 unless told."""
    window = config.optional_count("sliding_window", least=0) if config.flag("use_sliding_window", default=False) else None
    first = config.count("max_window_layers", default=28, least=0)
    bias = config.flag("attention_bias", default=False)
    layers = tuple(
        root_mean_square_layer(
            config,
            attention(config, window=w, qkv_bias=bias, output_bias=bias, head_dim=128, query_key_norm=True),
            feed_forward(config),
        )
        for w in windows_by_layer(config, lambda i: bool(window) and i >= first, window=window)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def phi3(config: Config) -> Built:
    """Phi-3 and Phi-4: fused projections without biases."""
    mixer = attention(config, window=config.optional_count("sliding_window"))
    layer = root_mean_square_layer(config, mixer, feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def gemma2(config: Config) -> Built:
    """Gemma 2: sliding and full layers by turns, norms before and after each mixer."""
    bias = config.flag("attention_bias", default=False)
    window = config.count("sliding_window", default=4096)
    layers = tuple(
        root_mean_square_layer(
            config, attention(config, window=w, qkv_bias=bias, output_bias=bias, head_dim=256), feed_forward(config), norms=4
        )
        for w in windows_by_layer(config, lambda i: i % 2 == 0, window=window)
    )
    return layers, root_mean_square_embedding(config, tied=True)


def gemma3_text(config: Config) -> Built:
    """Gemma 3: five sliding layers to a full one, norms on queries and keys."""
    bias = config.flag("attention_bias", default=False)
    window = config.count("sliding_window", default=4096)
    pattern = config.count("sliding_window_pattern", "_sliding_window_pattern", default=6)
    layers = tuple(
        root_mean_square_layer(
            config,
            attention(config, window=w, qkv_bias=bias, output_bias=bias, head_dim=256, query_key_norm=True),
            feed_forward(config),
            norms=4,
        )
        for w in windows_by_layer(config, lambda i: (i + 1) % pattern != 0, window=window)
    )
    return layers, root_mean_square_embedding(config, tied=True)


def gpt2(config: Config) -> Built:
    """GPT-2, and GPT-3 at its size: learned positions, layer norms, biases everywhere, a plain feed-forward network."""
    hidden = config.hidden
    intermediate = config.count("n_inner", "intermediate_size", default=4 * hidden)
    layer = Layer(
        attention(config, qkv_bias=True, output_bias=True, rope=False),
        FeedForward(hidden, intermediate, gated=False, bias=True),
        hidden,
        norms=2,
        norm_parameters=2 * hidden,
    )
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        positions=config.count("n_positions", "max_position_embeddings", default=1024),
        tied=config.flag("tie_word_embeddings", default=True),
        final_norm_parameters=2 * hidden,
    )
    return (layer,) * config.layers, embedding


def opt(config: Config) -> Built:
    """OPT: learned positions, and in the 350M model an embedding narrower than the layers."""
    hidden = config.hidden
    bias = config.flag("enable_bias", default=True)
    norm = 2 * hidden if config.flag("layer_norm_elementwise_affine", default=True) else 0
    layer = Layer(
        attention(config, qkv_bias=bias, output_bias=bias, rope=False),
        FeedForward(hidden, config.count("ffn_dim", "intermediate_size"), gated=False, bias=bias),
        hidden,
        norms=2,
        norm_parameters=norm,
    )
    width = config.count("word_embed_proj_dim", default=hidden)
    projections = (
        ()
        if width == hidden
        else (Linear("project_in", width, hidden, quantised=False), Linear("project_out", hidden, width, quantised=False))
    )
    has_final_norm = config.flag("do_layer_norm_before", default=True) and not config.flag(
        "_remove_final_layer_norm", default=False
    )
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=width,
        hidden=hidden,
        positions=config.count("max_position_embeddings", default=2048) + OPT_POSITION_OFFSET,
        tied=config.flag("tie_word_embeddings", default=True),
        final_norm_parameters=norm if has_final_norm else 0,
        projections=projections,
    )
    return (layer,) * config.layers, embedding


def falcon(config: Config) -> Built:
    """Falcon: one key head or groups of them, attention and feed-forward network in parallel."""
    hidden, heads = config.hidden, config.heads
    grouped = config.flag("new_decoder_architecture", default=False)
    multi_query = config.flag("multi_query", default=True)
    kv_heads = config.kv_heads if grouped or not multi_query else 1
    bias = config.flag("bias", default=False)
    parallel = grouped or config.flag("parallel_attn", default=True)
    norms = config.count("num_ln_in_parallel_attn", default=2) if grouped else 1 if parallel else 2
    mixer = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.head_dim(),
        qkv_bias=bias,
        output_bias=bias,
        rope=not config.flag("alibi", default=False),
    )
    intermediate = config.count("ffn_hidden_size", default=4 * hidden)
    layer = Layer(
        mixer,
        FeedForward(hidden, intermediate, gated=False, bias=bias),
        hidden,
        norms=norms,
        norm_parameters=2 * hidden,
        parallel=parallel,
    )
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        tied=config.flag("tie_word_embeddings", default=True),
        final_norm_parameters=2 * hidden,
    )
    return (layer,) * config.layers, embedding


READERS: dict[str, Reader] = {
    "llama": llama,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "phi3": phi3,
    "gemma2": gemma2,
    "gemma3_text": gemma3_text,
    "gpt2": gpt2,
    "opt": opt,
    "falcon": falcon,
}
