"""Vision towers of Qwen-VL: rotary positions in two dimensions, patches of two frames, and mergers of 2 x 2 patches.

Sources: modeling_qwen2_vl.py, modeling_qwen2_5_vl.py and modeling_qwen3_vl.py of Hugging Face transformers.
"""

from __future__ import annotations

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Encoder, Layer
from genz.specs.linear import Linear
from genz.specs.media.passes import VISION
from genz.specs.readers.towers import both_ways, patch_matrix, side_of


def merge_of(config: Config) -> int:
    """Patches on each side of a square that becomes one token."""
    return config.count("spatial_merge_size", default=2)


def _depth(config: Config) -> int:
    return config.count("depth", "num_hidden_layers", most=10**4)


def _heads(config: Config) -> int:
    return config.count("num_heads", "num_attention_heads", most=10**5)


def _frames(config: Config) -> int:
    return side_of(config, "temporal_patch_size") if "temporal_patch_size" in config.raw else 2


def _merger(name: str, width: int, outputs: int) -> tuple[Linear, ...]:
    return (Linear(f"{name}_up", width, width, bias=True), Linear(f"{name}_down", width, outputs, bias=True))


def qwen2_vision(config: Config) -> Encoder:
    """Qwen2-VL: layer norms, biases, a plain feed-forward network `mlp_ratio` times as wide."""
    hidden, square = config.count("embed_dim"), merge_of(config) ** 2
    attention = both_ways(config, hidden, _heads(config), bias=True, output_bias=True, rope=True)
    network = FeedForward(hidden, hidden * config.count("mlp_ratio", default=4), gated=False, bias=True)
    layer = Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden)
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=(layer,) * _depth(config),
        entry=(patch_matrix(config, hidden, bias=False, frames=_frames(config)),),
        exit=_merger("merger", hidden * square, config.hidden),
        merge=square,
        vectors=2 * hidden,
    )


def qwen2_5_vision(config: Config) -> Encoder:
    """Qwen2.5-VL: RMS norms, gated networks, and attention within windows in all layers but a few."""
    hidden, square, depth = config.hidden, merge_of(config) ** 2, _depth(config)
    whole = config.indices("fullatt_block_indexes", below=depth)
    patch, window = side_of(config, "patch_size"), config.count("window_size", default=112)
    side = window // patch // merge_of(config) * merge_of(config)
    if not side:
        raise config.error("window_size", window, f"at least {patch * merge_of(config)} pixels, those of a merged patch")
    network = FeedForward(hidden, config.count("intermediate_size"), bias=True)
    full, windowed = (
        Layer(
            both_ways(config, hidden, _heads(config), bias=True, output_bias=True, rope=True, chunk=chunk),
            network,
            hidden,
            norms=2,
            norm_parameters=hidden,
        )
        for chunk in (None, side * side)
    )
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=tuple(full if i in whole else windowed for i in range(depth)),
        entry=(patch_matrix(config, hidden, bias=False, frames=_frames(config)),),
        exit=_merger("merger", hidden * square, config.count("out_hidden_size")),
        merge=square,
        vectors=hidden,
    )


def qwen3_vision(config: Config) -> Encoder:
    """Qwen3-VL: learned positions beside rotary ones, and further mergers whose outputs go into early layers of the decoder."""
    hidden, square, depth = config.hidden, merge_of(config) ** 2, _depth(config)
    deep = config.indices("deepstack_visual_indexes", below=depth)
    attention = both_ways(config, hidden, _heads(config), bias=True, output_bias=True, rope=True)
    network = FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=True)
    layer = Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden)
    width, outputs = hidden * square, config.count("out_hidden_size")
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=(layer,) * depth,
        entry=(patch_matrix(config, hidden, bias=True, frames=_frames(config)),),
        exit=_merger("merger", width, outputs) + _merger("deep_merger", width, outputs) * len(deep),
        merge=square,
        vectors=config.count("num_position_embeddings", default=2304) * hidden + 2 * hidden + 2 * width * len(deep),
    )
