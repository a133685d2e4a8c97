"""Gemma 3n: several residual streams (AltUp), low-rank residuals (LAuReL), per-layer embeddings, shared caches.

Sources: the configuration and modeling files of Hugging Face transformers; AltUp, arXiv:2301.13310; LAuReL, arXiv:2411.07501.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.channel_mixers import FeedForward, Matrices
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers.shared import Reader, attention, windows_by_layer
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# Norms of the hidden width: four around the mixers, those of the router (before and behind them, with the same weights), of
# the low-rank residual and of the per-layer input; the scale of the corrected output has the parameters of the second.
NORMS = 8


def gemma3n_text(config: Config) -> Built:
    """Gemma 3n without its towers: the last layers attend to the keys and values of the last ones before them of their kind."""
    window = config.count("sliding_window", default=512)
    windows = windows_by_layer(config, lambda i: (i + 1) % 5 != 0, window=window)
    networks = [FeedForward(config.hidden, inner) for inner in _inner_widths(config)]
    further = _around_the_mixers(config)
    layers = tuple(
        Layer(
            mixer,
            network,
            config.hidden,
            norms=NORMS,
            norm_parameters=config.hidden,
            further=further,
            streams=config.count("altup_num_inputs", default=4),
        )
        for mixer, network in zip(_mixers(config, windows), networks, strict=True)
    )
    return layers, _embedding(config)


def _mixers(config: Config, windows: list[int | None]) -> list[Attention]:
    """Attention of each layer; the last `num_kv_shared_layers` borrow their keys and values."""
    bias = config.flag("attention_bias", default=False)
    made = config.layers - config.count("num_kv_shared_layers", default=15, least=0)
    if made < 0 or set(windows[made:]) - set(windows[:made]):
        allowed = "so few that each kind of layer has one before them that keeps a cache"
        raise config.error("num_kv_shared_layers", config.layers - made, allowed)
    mixers = [attention(config, window=w, qkv_bias=bias, output_bias=bias, head_dim=256, query_key_norm=True) for w in windows]
    return [m if i < made else replace(m, borrows=True, query_key_norm=m.head_dim) for i, m in enumerate(mixers)]


def _inner_widths(config: Config) -> list[int]:
    """Widths of the feed-forward networks: one for all, or one for each layer."""
    if not isinstance(config.raw.get("intermediate_size"), list):
        return [config.count("intermediate_size", default=16384)] * config.layers
    widths = config.sequence("intermediate_size", length=config.layers) or []
    return [Config({"intermediate_size": width}, origin=config.origin).count("intermediate_size") for width in widths]


def _around_the_mixers(config: Config) -> tuple[Matrices, ...]:
    """What a layer has besides: a low-rank residual, the way in of its per-layer embedding, the coefficients of the streams.

    Left out are the router's second pass and the sums over streams: 2 x hidden x (streams^2 + streams) FLOPs a token.
    """
    hidden, streams = config.hidden, config.count("altup_num_inputs", default=4)
    rank, own = config.count("laurel_rank", default=64), _per_layer(config)
    return (
        Matrices(hidden, (Linear("laurel_left", hidden, rank), Linear("laurel_right", rank, hidden))),
        Matrices(hidden, (Linear("layer_input_gate", hidden, own), Linear("layer_input", own, hidden))),
        Matrices(
            hidden,
            (
                Linear("stream_router", hidden, streams, quantised=False),
                Linear("stream_prediction", streams, streams**2, quantised=False),
                Linear("stream_correction", streams, streams, quantised=False),
            ),
        ),
    )


def _per_layer(config: Config) -> int:
    return config.count("hidden_size_per_layer_input", default=256)


def _embedding(config: Config) -> Embedding:
    """The tables, and the matrices that make streams and layer inputs of a token's embedding, and one stream of all."""
    hidden, others = config.hidden, config.count("altup_num_inputs", default=4) - 1
    inputs = config.layers * _per_layer(config)
    return Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        tied=config.flag("tie_word_embeddings", default=True),
        final_norm_parameters=hidden,
        embedding_norm_parameters=_per_layer(config),
        projections=(
            Linear("streams_and_layer_inputs", hidden, inputs + others * hidden, quantised=False),
            Linear("streams_out", others * hidden, hidden, quantised=False),
        ),
        layer_table=(config.count("vocab_size_per_layer_input", default=262_144), inputs),
    )


READERS: dict[str, Reader] = {"gemma3n_text": gemma3n_text}
