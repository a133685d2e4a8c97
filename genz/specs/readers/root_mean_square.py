"""Decoder-only Transformers of LLaMA's kind: RMS norms, rotary positions, mostly a gated feed-forward network.

They differ in biases, in norms, in the width of heads, and in what their published files leave out.
Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers.layer_norm import with_head_norms
from genz.specs.readers.shared import (
    Reader,
    attention,
    feed_forward,
    root_mean_square_embedding,
    root_mean_square_layer,
)

Built = tuple[tuple[Layer, ...], Embedding]
# The parameters of xIELU, Apertus' activation: one slope for either sign.
XIELU_PARAMETERS = 2


def _alike(
    config: Config,
    *,
    qkv_bias: bool = False,
    output_bias: bool = False,
    mlp_bias: bool = False,
    gated: bool = True,
    head_dim: int | None = None,
    query_key_norm: bool = False,
    norms: int = 2,
    tied: bool = False,
) -> Built:
    """Layers that are all alike; the flags are the architecture's, with what the file says of them."""
    mixer = attention(config, qkv_bias=qkv_bias, output_bias=output_bias, head_dim=head_dim, query_key_norm=query_key_norm)
    layer = root_mean_square_layer(config, mixer, feed_forward(config, gated=gated, bias=mlp_bias), norms=norms)
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=tied)


def gemma(config: Config) -> Built:
    """Gemma 1: heads of 256, a table tied to the head."""
    bias = config.flag("attention_bias", default=False)
    return _alike(config, qkv_bias=bias, output_bias=bias, head_dim=256, tied=True)


def granite(config: Config) -> Built:
    """Granite 3: LLaMA with multipliers on the embedding, the residuals and the logits."""
    bias = config.flag("attention_bias", default=False)
    return _alike(config, qkv_bias=bias, output_bias=bias, mlp_bias=config.flag("mlp_bias", default=False))


def helium(config: Config) -> Built:
    """Helium: LLaMA whose output projection has no bias."""
    bias = config.flag("attention_bias", default=False)
    return _alike(config, qkv_bias=bias, mlp_bias=config.flag("mlp_bias", default=False), head_dim=128)


def glm(config: Config) -> Built:
    """GLM-4 of 2024, and GLM-Edge: two key heads, biases on queries, keys and values."""
    return _alike(config, qkv_bias=config.flag("attention_bias", default=True), head_dim=128)


def glm4(config: Config) -> Built:
    """GLM-4-0414: GLM-4 with further norms behind each mixer."""
    return _alike(config, qkv_bias=config.flag("attention_bias", default=True), head_dim=128, norms=4)


def seed_oss(config: Config) -> Built:
    """Seed-OSS: biases on queries, keys and values, and on the output projection where told."""
    return _alike(
        config,
        qkv_bias=config.flag("attention_bias", default=True),
        output_bias=config.flag("attention_out_bias", default=False),
        mlp_bias=config.flag("mlp_bias", default=False),
        head_dim=128,
    )


def ernie4_5(config: Config) -> Built:
    """ERNIE 4.5, the dense one of 0.3B: one flag for all biases."""
    bias = config.flag("use_bias", default=False)
    return _alike(config, qkv_bias=bias, output_bias=bias, mlp_bias=bias, head_dim=128, tied=True)


def hunyuan_v1_dense(config: Config) -> Built:
    """Hunyuan dense: norms over each head's queries and keys."""
    bias = config.flag("attention_bias", default=False)
    return _alike(config, qkv_bias=bias, output_bias=bias, query_key_norm=True)


def arcee(config: Config) -> Built:
    """AFM: LLaMA with squared ReLU between two matrices."""
    bias = config.flag("attention_bias", default=False)
    return _alike(config, qkv_bias=bias, output_bias=bias, mlp_bias=config.flag("mlp_bias", default=False), gated=False)


def apertus(config: Config) -> Built:
    """Apertus: norms over each head's queries and keys, and an activation that learns its two slopes (xIELU)."""
    bias = config.flag("attention_bias", default=False)
    learned = XIELU_PARAMETERS if config.text("hidden_act", default="xielu") == "xielu" else 0
    network = replace(feed_forward(config, gated=False), activation_parameters=learned)
    mixer = attention(config, qkv_bias=bias, output_bias=bias, query_key_norm=True)
    layer = root_mean_square_layer(config, mixer, network)
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def olmo2(config: Config) -> Built:
    """OLMo 2: norms behind each mixer instead of before it, and over all heads' queries and keys at once."""
    bias = config.flag("attention_bias", default=False)
    mixer = attention(config, qkv_bias=bias, output_bias=bias)
    mixer = with_head_norms(mixer, (mixer.heads + mixer.kv_heads) * mixer.head_dim)
    layer = root_mean_square_layer(config, mixer, feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def internlm3(config: Config) -> Built:
    """InternLM 3: LLaMA with one flag for the biases of attention and one for those of the network."""
    bias = config.flag("attention_bias", "qkv_bias", default=False)
    return _alike(
        config, qkv_bias=bias, output_bias=bias, mlp_bias=config.flag("mlp_bias", "bias", default=False), head_dim=128
    )


def hyperclovax(config: Config) -> Built:
    """HyperCLOVA X: norms before and behind each mixer unless told."""
    bias = config.flag("attention_bias", default=False)
    return _alike(
        config,
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=config.flag("mlp_bias", default=False),
        norms=4 if config.flag("use_post_norm", default=True) else 2,
    )


READERS: dict[str, Reader] = {
    "gemma": gemma,
    "granite": granite,
    "helium": helium,
    "glm": glm,
    "glm4": glm4,
    "seed_oss": seed_oss,
    "ernie4_5": ernie4_5,
    "hunyuan_v1_dense": hunyuan_v1_dense,
    "arcee": arcee,
    "apertus": apertus,
    "olmo2": olmo2,
    "internlm3": internlm3,
    "hyperclovax": hyperclovax,
}
