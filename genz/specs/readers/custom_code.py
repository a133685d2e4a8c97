"""Decoder-only Transformers whose modeling code lies beside their weights instead of in transformers.

Sources: the configuration and modeling files in each model's repository on the Hugging Face hub.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers.layer_norm import layer_norm_layer
from genz.specs.readers.shared import (
    Reader,
    attention,
    feed_forward,
    root_mean_square_embedding,
    root_mean_square_layer,
)
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]


def baichuan(config: Config) -> Built:
    """Baichuan 1 and 2: LLaMA; the 13B, which has a `model_max_length`, takes linear biases for positions (ALiBi)."""
    rope = config.raw.get("model_max_length") is None or config.raw.get("max_position_embeddings") is not None
    layer = root_mean_square_layer(config, attention(config, rope=rope), feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def internlm(config: Config) -> Built:
    """InternLM: LLaMA with biases in attention, where `bias` asks for them (7B)."""
    bias = config.flag("bias", default=True)
    layer = root_mean_square_layer(config, attention(config, qkv_bias=bias, output_bias=bias), feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def internlm2(config: Config) -> Built:
    """InternLM 2 and 2.5: LLaMA with grouped queries, their projections in one matrix."""
    bias = config.flag("bias", default=False)
    layer = root_mean_square_layer(config, attention(config, qkv_bias=bias, output_bias=bias), feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def exaone(config: Config) -> Built:
    """EXAONE 3 and 3.5: LLaMA under GPT-2's names."""
    layer = root_mean_square_layer(config, attention(config), feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def minicpm(config: Config) -> Built:
    """MiniCPM 1 and 2: LLaMA with scaled embeddings, residuals and logits, a table tied to the head."""
    bias = config.flag("attention_bias", default=False)
    layer = root_mean_square_layer(config, attention(config, qkv_bias=bias, output_bias=bias), feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=True)


def qwen(config: Config) -> Built:
    """Qwen 1: biases on queries, keys and values; `intermediate_size` is the width of gate and up together."""
    bias = not config.flag("no_bias", default=True)
    width = config.count("kv_channels", default=128)
    both = config.count("intermediate_size")
    if both % 2:
        raise config.error("intermediate_size", both, "an even number: the widths of gate and up together")
    mixer = Attention(config.hidden, config.heads, config.heads, width, qkv_bias=True, output_bias=bias)
    layer = root_mean_square_layer(config, mixer, FeedForward(config.hidden, both // 2, bias=bias))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def chatglm(config: Config) -> Built:
    """ChatGLM 2 and 3, and GLM-4 as it was first published: a few key heads, biases on queries, keys and values."""
    bias = config.flag("add_bias_linear", default=False)
    grouped = config.flag("multi_query_attention", default=False)
    mixer = Attention(
        hidden=config.hidden,
        heads=config.heads,
        kv_heads=config.count("multi_query_group_num", default=1) if grouped else config.heads,
        head_dim=config.count("kv_channels", default=128),
        qkv_bias=bias or config.flag("add_qkv_bias", default=False),
        output_bias=bias,
    )
    if mixer.heads % mixer.kv_heads:
        raise config.error("multi_query_group_num", mixer.kv_heads, f"a divisor of num_attention_heads = {mixer.heads}")
    network = FeedForward(config.hidden, config.count("ffn_hidden_size"), bias=bias)
    embedding = Embedding(
        vocabulary=config.count("padded_vocab_size", "vocab_size"),
        width=config.hidden,
        hidden=config.hidden,
        tied=config.flag("tie_word_embeddings", default=False),
        final_norm_parameters=config.hidden,
    )
    if not config.flag("post_layer_norm", default=True):
        embedding = replace(embedding, final_norm_parameters=0)
    if config.flag("rmsnorm", default=True):
        return (root_mean_square_layer(config, mixer, network),) * config.layers, embedding
    embedding = replace(embedding, final_norm_parameters=2 * embedding.final_norm_parameters)
    return (layer_norm_layer(config, mixer, network),) * config.layers, embedding


READERS: dict[str, Reader] = {
    "baichuan": baichuan,
    "internlm": internlm,
    "internlm2": internlm2,
    "exaone": exaone,
    "minicpm": minicpm,
    "qwen": qwen,
    "chatglm": chatglm,
}
