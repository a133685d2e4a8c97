"""Decoder-only Transformers whose attention and feed-forward network read the same norm and add to the residual once.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers.layer_norm import layer_norm_embedding, layer_norm_layer, with_head_norms
from genz.specs.readers.shared import Reader, attention, feed_forward, windows_by_layer

Built = tuple[tuple[Layer, ...], Embedding]


def codegen(config: Config) -> Built:
    """CodeGen: GPT-J with the projections of queries, keys and values in one."""
    network = FeedForward(config.hidden, config.count("n_inner", default=4 * config.hidden), gated=False, bias=True)
    layer = layer_norm_layer(config, attention(config), network, norms=1, parallel=True)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=False, head_bias=True)


def phi(config: Config) -> Built:
    """Phi-1, Phi-1.5 and Phi-2: biases in all matrices and in the head; optionally norms over each head."""
    mixer = attention(config, qkv_bias=True, output_bias=True)
    if config.flag("qk_layernorm", default=False):
        mixer = with_head_norms(mixer, 4 * mixer.head_dim)
    layer = layer_norm_layer(config, mixer, feed_forward(config, gated=False, bias=True), norms=1, parallel=True)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=False, head_bias=True)


def cohere(config: Config) -> Built:
    """Command R and R+: layer norms without biases; R+ normalises queries and keys with weights of each head."""
    bias = config.flag("attention_bias", default=False)
    mixer = attention(config, qkv_bias=bias, output_bias=bias)
    if config.flag("use_qk_norm", default=False):
        mixer = with_head_norms(mixer, (mixer.heads + mixer.kv_heads) * mixer.head_dim)
    layer = layer_norm_layer(config, mixer, feed_forward(config), norms=1, bias=False, parallel=True)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=True, bias=False)


def cohere2(config: Config) -> Built:
    """Command R7B and Command A: three sliding layers with rotary positions to a full one without."""
    bias = config.flag("attention_bias", default=False)
    window = config.optional_count("sliding_window")
    pattern = config.count("sliding_window_pattern", "_sliding_window_pattern", default=4)
    layers = tuple(
        layer_norm_layer(
            config,
            attention(config, window=w, qkv_bias=bias, output_bias=bias, rope=w is not None),
            feed_forward(config),
            norms=1,
            bias=False,
            parallel=True,
        )
        for w in windows_by_layer(config, lambda i: (i + 1) % pattern != 0, window=window)
    )
    return layers, layer_norm_embedding(config, tied=True, bias=False)


READERS: dict[str, Reader] = {"codegen": codegen, "phi": phi, "cohere": cohere, "cohere2": cohere2}
