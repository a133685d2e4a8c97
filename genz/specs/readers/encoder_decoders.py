"""Encoder-decoders: T5, BART and their kin, and Whisper.

What a request sends is read by the encoder; the decoder starts from a token or a few, and attends to what the encoder made:
keys and values of that are made once and kept beside its own cache. Encoder and decoder of text look tokens up in one table.
A T5 file that says `tie_word_embeddings: false` (1.1, FLAN, mT5) has a head of its own, as its published weights have;
transformers 5 ties it all the same.

Sources: the configuration and modeling files of Hugging Face transformers 5 for each `model_type`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import MAX_LAYERS, Config
from genz.specs.layers import Embedding, Encoder, Layer
from genz.specs.media.passes import AUDIO
from genz.specs.media.sound import Windows
from genz.specs.model import Source
from genz.specs.readers import towers_audio
from genz.specs.readers.composite import Composite, CompositeReader
from genz.specs.readers.shared import Reader
from genz.specs.readers.towers import Projector, head_width
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
TEXT = "text"
# The position tables of BART start with two rows that no position takes.
BART_POSITION_OFFSET = 2
# <|startoftranscript|>, the language, the task and <|notimestamps|>. Source: Radford et al., arXiv:2212.04356, figure 1.
WHISPER_START = 4
_BART = {
    "vocab_size": 50265,
    "max_position_embeddings": 1024,
    "encoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_layers": 12,
    "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16,
    "d_model": 1024,
}
# What the configuration classes of transformers 5 take for keys that a file leaves out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "t5": {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "mt5": {
        "vocab_size": 250112,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 1024,
        "num_layers": 8,
        "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
    },
    "bart": _BART,
    "mbart": _BART,
    "pegasus": _BART,
    "marian": _BART | {"vocab_size": 58101},
    "m2m_100": _BART | {"vocab_size": 128112},
    "whisper": {
        "vocab_size": 51865,
        "num_mel_bins": 80,
        "encoder_layers": 4,
        "encoder_attention_heads": 6,
        "decoder_layers": 4,
        "decoder_attention_heads": 6,
        "decoder_ffn_dim": 1536,
        "encoder_ffn_dim": 1536,
        "d_model": 384,
        "max_source_positions": 1500,
        "max_target_positions": 448,
    },
}
# T5's positions are relative and have no end; this is what its tokenizers cut at.
T5_CONTEXT = 512


def _filled(config: Config, model_type: str) -> Config:
    return Config({**DEFAULTS[model_type], **config.raw}, origin=config.origin)


def _as_generator(config: Config) -> None:
    """Refuse a class that is no generating encoder-decoder: a classifier, or one half."""
    for name in config.sequence("architectures") or []:
        if not str(name).endswith(("ForConditionalGeneration", "WithLMHeadModel", "MTModel", "Model")) or "Encoder" in str(
            name
        ):
            raise config.error("architectures", name, "a class that generates, as in ...ForConditionalGeneration")


# T5


def _t5_attention(config: Config, *, source: bool = False, causal: bool = True) -> Attention:
    hidden, heads = config.hidden, config.heads
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=config.count("d_kv"),
        rope=False,
        causal=causal,
        source=hidden if source else None,
    )


def _t5_network(config: Config) -> FeedForward:
    kind = config.text("feed_forward_proj", default="relu").split("-")
    if len(kind) > 2 or (len(kind) == 2 and kind[0] != "gated"):
        raise config.error("feed_forward_proj", config.raw["feed_forward_proj"], "an activation, or gated- and an activation")
    return FeedForward(config.hidden, config.count("d_ff"), gated=kind[0] == "gated")


def _t5_bias(config: Config) -> int:
    """Parameters of the table of relative positions, which the first layer has for all of its stack."""
    return config.count("relative_attention_num_buckets", default=32) * config.heads


def t5_decoder(config: Config) -> Built:
    """T5's decoder: RMS norms, no biases, relative positions."""
    hidden, cross = config.hidden, _t5_attention(config, source=True)
    layer = Layer(_t5_attention(config), _t5_network(config), hidden, norms=3, norm_parameters=hidden, beside=(cross,))
    embedding = Embedding(
        config.vocabulary(),
        hidden,
        hidden,
        tied=config.flag("tie_word_embeddings", default=True),
        embedding_norm_parameters=_t5_bias(config),
        final_norm_parameters=hidden,
    )
    return (layer,) * config.count("num_decoder_layers", default=config.layers, most=MAX_LAYERS), embedding


def _t5(model_type: str) -> CompositeReader:
    def read(raw: Config, _: Config) -> Composite:
        config = _filled(raw, model_type)
        _as_generator(config)
        hidden = config.hidden
        attention = _t5_attention(config, causal=False)
        layer = Layer(attention, _t5_network(config), hidden, norms=2, norm_parameters=hidden)
        encoder = Encoder(TEXT, hidden, (layer,) * config.layers, vectors=_t5_bias(config) + hidden, tables=1)
        context = config.count("n_positions", default=T5_CONTEXT)
        return Composite(model_type, raw.raw, (encoder,), max_context=context, source=Source(TEXT))

    return read


# BART and its kin


@dataclass(frozen=True)
class Stack:
    """What tells a family of BART's kind from BART: the rows of its position tables, and norms at the ends of its stacks."""

    position_offset: int | None = BART_POSITION_OFFSET
    embedding_norm: bool = True
    final_norm: bool = False


STACKS = {
    "bart": Stack(),
    "mbart": Stack(final_norm=True),
    "pegasus": Stack(position_offset=0, embedding_norm=False, final_norm=True),
    "marian": Stack(position_offset=0, embedding_norm=False),
    # Positions are computed.
    "m2m_100": Stack(position_offset=None, embedding_norm=False, final_norm=True),
}


def _bart_attention(
    config: Config, half: str, *, source: bool = False, causal: bool = True, key_bias: bool = True
) -> Attention:
    hidden, heads = config.hidden, config.count(f"{half}_attention_heads", most=10**5)
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=head_width(config, hidden, heads),
        qkv_bias=True,
        output_bias=True,
        rope=False,
        causal=causal,
        source=hidden if source else None,
        key_bias=key_bias,
    )


def _bart_network(config: Config, half: str) -> FeedForward:
    return FeedForward(config.hidden, config.count(f"{half}_ffn_dim"), gated=False, bias=True)


def _decoder_layers(config: Config, *, key_bias: bool = True) -> tuple[Layer, ...]:
    """Layers of a decoder: its own attention, cross attention and a network, each with a layer norm."""
    cross = _bart_attention(config, "decoder", source=True, key_bias=key_bias)
    layer = Layer(
        _bart_attention(config, "decoder", key_bias=key_bias),
        _bart_network(config, "decoder"),
        config.hidden,
        norms=3,
        norm_parameters=2 * config.hidden,
        beside=(cross,),
    )
    return (layer,) * config.count("decoder_layers", most=MAX_LAYERS)


def _bart_decoder(stack: Stack) -> Reader:
    def read(config: Config) -> Built:
        hidden = config.hidden
        rows = 0 if stack.position_offset is None else config.count("max_position_embeddings") + stack.position_offset
        embedding = Embedding(
            config.vocabulary(),
            hidden,
            hidden,
            positions=rows,
            tied=config.flag("tie_word_embeddings", default=True),
            embedding_norm_parameters=2 * hidden * stack.embedding_norm,
            final_norm_parameters=2 * hidden * stack.final_norm,
        )
        return _decoder_layers(config), embedding

    return read


def _bart(model_type: str, stack: Stack) -> CompositeReader:
    def read(raw: Config, _: Config) -> Composite:
        config = _filled(raw, model_type)
        _as_generator(config)
        for key, allowed in (("share_encoder_decoder_embeddings", True), ("normalize_before", False)):
            if model_type in ("marian", "bart") and config.flag(key, default=allowed) is not allowed:
                raise config.error(key, not allowed, str(allowed).lower())
        hidden, longest = config.hidden, config.count("max_position_embeddings")
        rows = 0 if stack.position_offset is None else longest + stack.position_offset
        attention = _bart_attention(config, "encoder", causal=False)
        layer = Layer(attention, _bart_network(config, "encoder"), hidden, norms=2, norm_parameters=2 * hidden)
        encoder = Encoder(
            TEXT,
            hidden,
            (layer,) * config.count("encoder_layers", most=MAX_LAYERS),
            vectors=rows * hidden + 2 * hidden * (stack.embedding_norm + stack.final_norm),
            tables=2 if rows else 1,
        )
        return Composite(model_type, raw.raw, (encoder,), max_context=longest, source=Source(TEXT, longest=longest))

    return read


# Whisper


def whisper_decoder(config: Config) -> Built:
    """Whisper's decoder: BART's with norms before its parts, learned positions, and keys without biases."""
    hidden = config.hidden
    embedding = Embedding(
        config.vocabulary(),
        hidden,
        hidden,
        positions=config.count("max_target_positions"),
        tied=config.flag("tie_word_embeddings", default=True),
        final_norm_parameters=2 * hidden,
    )
    return _decoder_layers(config, key_bias=False), embedding


def whisper(raw: Config, _: Config) -> Composite:
    """Whisper: a clip is cut into windows of 30 s, each of which the encoder hears and the decoder writes down by itself."""
    config = _filled(raw, "whisper")
    _as_generator(config)
    return Composite(
        "whisper",
        raw.raw,
        (towers_audio.whisper(config, Projector(())),),
        audio=Windows(config.count("max_source_positions")),
        max_context=config.count("max_target_positions"),
        source=Source(AUDIO, start=WHISPER_START),
    )


READERS: dict[str, Reader] = {
    "t5": t5_decoder,
    "mt5": t5_decoder,
    **{name: _bart_decoder(stack) for name, stack in STACKS.items()},
    "whisper": whisper_decoder,
}
COMPOSITES: dict[str, Callable[[Config, Config], Composite]] = {
    "t5": _t5("t5"),
    "mt5": _t5("mt5"),
    **{name: _bart(name, stack) for name, stack in STACKS.items()},
    "whisper": whisper,
}
