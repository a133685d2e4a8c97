"""Decoder-only Transformers of 2021 and 2022, with layer norms and a plain feed-forward network four times as wide.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers.shared import Reader, attention

Built = tuple[tuple[Layer, ...], Embedding]


def bloom(config: Config) -> Built:
    """BLOOM: attention with linear biases for positions (ALiBi), a norm on the embedding, biases everywhere."""
    hidden = config.hidden
    layer = Layer(
        attention(config, qkv_bias=True, output_bias=True, rope=False),
        FeedForward(hidden, 4 * hidden, gated=False, bias=True),
        hidden,
        norms=2,
        norm_parameters=2 * hidden,
    )
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        tied=config.flag("tie_word_embeddings", default=True),
        final_norm_parameters=2 * hidden,
        embedding_norm_parameters=2 * hidden,
    )
    return (layer,) * config.layers, embedding


def gptj(config: Config) -> Built:
    """GPT-J: attention without biases and a feed-forward network in parallel after one norm; the head has a bias."""
    hidden = config.hidden
    layer = Layer(
        attention(config),
        FeedForward(hidden, config.count("n_inner", default=4 * hidden), gated=False, bias=True),
        hidden,
        norms=1,
        norm_parameters=2 * hidden,
        parallel=True,
    )
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        tied=config.flag("tie_word_embeddings", default=False),
        head_bias=True,
        final_norm_parameters=2 * hidden,
    )
    return (layer,) * config.layers, embedding


def gpt_neox(config: Config) -> Built:
    """GPT-NeoX, and Pythia: attention and feed-forward network in parallel, each after a norm of its own."""
    hidden = config.hidden
    bias = config.flag("attention_bias", default=True)
    layer = Layer(
        attention(config, qkv_bias=bias, output_bias=bias),
        FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=True),
        hidden,
        norms=2,
        norm_parameters=2 * hidden,
        parallel=config.flag("use_parallel_residual", default=True),
    )
    embedding = Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        tied=config.flag("tie_word_embeddings", default=False),
        final_norm_parameters=2 * hidden,
    )
    return (layer,) * config.layers, embedding


READERS: dict[str, Reader] = {"bloom": bloom, "gptj": gptj, "gpt_neox": gpt_neox}
