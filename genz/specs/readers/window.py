"""Decoder-only Transformers with RMS norms of which some layers see the last tokens alone, or go without positions.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from collections.abc import Callable

from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers.layer_norm import with_head_norms
from genz.specs.readers.shared import (
    Reader,
    attention,
    feed_forward,
    root_mean_square_embedding,
    root_mean_square_layer,
    windows_by_layer,
)

Built = tuple[tuple[Layer, ...], Embedding]


def ministral(config: Config) -> Built:
    """Ministral of 2024: a window in the layers that `layer_types` names, in all of them where it names none."""
    window = config.optional_count("sliding_window")
    layers = tuple(
        root_mean_square_layer(config, attention(config, window=w), feed_forward(config))
        for w in windows_by_layer(config, lambda _: window is not None, window=window)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def ministral3(config: Config) -> Built:
    """Ministral 3: Mistral with heads of 128; a window in every layer where one is set."""
    mixer = attention(config, window=config.optional_count("sliding_window"), head_dim=128)
    layer = root_mean_square_layer(config, mixer, feed_forward(config))
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=False)


def olmo3(config: Config) -> Built:
    """OLMo 3: OLMo 2 with three sliding layers to a full one."""
    bias = config.flag("attention_bias", default=False)
    mixers = [
        attention(config, window=window, qkv_bias=bias, output_bias=bias)
        for window in windows_by_layer(config, lambda i: (i + 1) % 4 != 0, window=config.count("sliding_window", default=4096))
    ]
    layers = tuple(
        root_mean_square_layer(config, with_head_norms(m, (m.heads + m.kv_heads) * m.head_dim), feed_forward(config))
        for m in mixers
    )
    return layers, root_mean_square_embedding(config, tied=False)


def smollm3(config: Config) -> Built:
    """SmolLM 3: every fourth layer goes without rotary positions, and it may be a sliding one."""
    bias = config.flag("attention_bias", default=False)
    mlp_bias = config.flag("mlp_bias", default=False)
    rotary = _rotary_layers(config)
    window = config.optional_count("sliding_window") if config.flag("use_sliding_window", default=False) else None
    kinds = windows_by_layer(config, lambda i: window is not None and not rotary[i], window=window)
    layers = tuple(
        root_mean_square_layer(
            config,
            attention(config, window=w, qkv_bias=bias, output_bias=bias, rope=rope),
            feed_forward(config, bias=mlp_bias),
        )
        for w, rope in zip(kinds, rotary, strict=True)
    )
    return layers, root_mean_square_embedding(config, tied=True)


def _rotary_layers(config: Config) -> list[bool]:
    """Which layers have rotary positions: `no_rope_layers`, which is 1 for those that have, or all but every so many."""
    interval = config.count("no_rope_layer_interval", default=4)
    flags = config.sequence("no_rope_layers") or [(i + 1) % interval != 0 for i in range(config.layers)]
    if len(flags) < config.layers or any(flag not in (0, 1) for flag in flags):
        raise config.error("no_rope_layers", flags, f"a list of {config.layers} zeros and ones")
    return [bool(flag) for flag in flags[: config.layers]]


def exaone4(config: Config) -> Built:
    """EXAONE 4: norms behind each mixer and over each head; sliding layers, which have rotary positions, and full ones."""
    window = config.optional_count("sliding_window")
    layers = tuple(
        root_mean_square_layer(
            config,
            attention(config, window=w, query_key_norm=True, rope=window is None or w is not None),
            feed_forward(config),
        )
        for w in windows_by_layer(config, _exaone_pattern(config, window), window=window)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def _exaone_pattern(config: Config, window: int | None) -> Callable[[int], bool]:
    """Whether a layer slides: all but every so many, or by letters such as LLLG (local, global; the last layer is global)."""
    pattern = config.raw.get("sliding_window_pattern")
    last = config.layers - 1
    if window is None:
        return lambda _: False
    if isinstance(pattern, str):
        if not pattern or set(pattern) - {"L", "G"}:
            raise config.error("sliding_window_pattern", pattern, "a number, or letters such as LLLG")
        return lambda i: pattern[i % len(pattern)] == "L" and i != last
    period = config.count("sliding_window_pattern", default=4)
    return lambda i: (i + 1) % period != 0


def vaultgemma(config: Config) -> Built:
    """VaultGemma: Gemma 2 without the norms behind each mixer."""
    bias = config.flag("attention_bias", default=False)
    window = config.count("sliding_window", default=4096)
    layers = tuple(
        root_mean_square_layer(
            config, attention(config, window=w, qkv_bias=bias, output_bias=bias, head_dim=256), feed_forward(config)
        )
        for w in windows_by_layer(config, lambda i: i % 2 == 0, window=window)
    )
    return layers, root_mean_square_embedding(config, tied=True)


READERS: dict[str, Reader] = {
    "ministral": ministral,
    "ministral3": ministral3,
    "olmo3": olmo3,
    "smollm3": smollm3,
    "exaone4": exaone4,
    "vaultgemma": vaultgemma,
}
