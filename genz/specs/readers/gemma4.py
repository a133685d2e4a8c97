"""Gemma 4: wider heads in the layers that see all, keys that serve as values, experts beside a dense network, shared caches.

Its smaller models have per-layer embeddings and later layers that borrow the caches of earlier ones, as Gemma 3n's do.

Sources: the configuration, modeling and processing files of Hugging Face transformers 5 for `gemma4`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from genz.specs.channel_mixers import ChannelMixer, FeedForward, Matrices, MixtureOfExperts
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers.shared import Reader, attention, windows_by_layer
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# What the configuration class takes where a file leaves a key out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma4_text": {
        "vocab_size": 262_144,
        "vocab_size_per_layer_input": 262_144,
        "hidden_size": 2304,
        "hidden_size_per_layer_input": 256,
        "intermediate_size": 9216,
        "num_hidden_layers": 30,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "global_head_dim": 512,
        "sliding_window": 512,
        "max_position_embeddings": 131_072,
    }
}
PATTERN = 6


def gemma4_text(config: Config) -> Built:
    """Gemma 4 without its towers."""
    windows = _windows(config)
    mixers, networks = _mixers(config, windows), _networks(config)
    per_layer = _per_layer(config)
    further = () if per_layer == 0 else (_layer_input(config.hidden, per_layer),)
    # Four around the mixers, one behind the per-layer input, and three that part the experts from the dense network.
    norms = 4 + (per_layer > 0) + 3 * _has_experts(config)
    layers = tuple(
        Layer(mixer, network, config.hidden, norms=norms, norm_parameters=config.hidden, further=further)
        for mixer, network in zip(mixers, networks, strict=True)
    )
    return layers, _embedding(config, per_layer)


def _windows(config: Config) -> list[int | None]:
    """The window of each layer; the last one sees all, whatever the file says of it."""
    seen = config.text("use_bidirectional_attention", default="vision")
    if seen != "vision":
        raise config.error("use_bidirectional_attention", seen, "null, vision: a model that writes token by token")
    kinds = config.sequence("layer_types", length=config.layers)
    raw = config.raw if kinds is None else {**config.raw, "layer_types": [*kinds[:-1], "full_attention"]}
    window = config.count("sliding_window", default=512)
    last = config.layers - 1
    return windows_by_layer(Config(raw, origin=config.origin), lambda i: (i + 1) % PATTERN != 0 and i != last, window=window)


def _mixers(config: Config, windows: list[int | None]) -> list[Attention]:
    """Attention of each layer; the last `num_kv_shared_layers` borrow the keys and values of the last of their kind."""
    made = _first_shared(config)
    if set(windows[made:]) - set(windows[:made]):
        allowed = "so few that each kind of layer has one before them that keeps a cache"
        raise config.error("num_kv_shared_layers", config.layers - made, allowed)
    mixers = [_attention(config, layer, window) for layer, window in enumerate(windows)]
    return [m if i < made else replace(m, borrows=True, query_key_norm=m.head_dim) for i, m in enumerate(mixers)]


def _first_shared(config: Config) -> int:
    """The first layer that borrows its keys and values; the number of layers where none does."""
    shared = config.count("num_kv_shared_layers", default=0, least=0)
    if shared >= config.layers and shared > 0:
        raise config.error("num_kv_shared_layers", shared, f"fewer than num_hidden_layers = {config.layers}")
    return config.layers - shared


def _attention(config: Config, layer: int, window: int | None) -> Attention:
    """Attention of one layer. The norm of the values has no weights."""
    bias = config.flag("attention_bias", default=False)
    one_matrix = window is None and config.flag("attention_k_eq_v", default=False)
    return replace(
        attention(
            _of_layer(config, layer, full=window is None),
            window=window,
            qkv_bias=bias,
            output_bias=bias,
            query_key_norm=True,
        ),
        keys_are_values=one_matrix,
    )


def _of_layer(config: Config, layer: int, *, full: bool) -> Config:
    """The keys as one layer reads them: newer files list what differs by layer, older ones have keys for all that see all."""
    listed = config.raw.get("per_layer_config")
    if listed is not None:
        if not isinstance(listed, dict):
            raise config.error("per_layer_config", listed, "a mapping of layer numbers to keys")
        # Layers are named by numbers or texts, with zeros before them or without.
        own = {str(name).lstrip("0"): keys for name, keys in listed.items()}.get(str(layer).lstrip("0"), {})
        if not isinstance(own, dict) or set(own) - {"head_dim", "num_key_value_heads"}:
            raise config.error("per_layer_config", own, "a mapping of head_dim and num_key_value_heads")
    elif full:
        heads = config.optional_count("num_global_key_value_heads")
        own = {"head_dim": config.count("global_head_dim", default=512)}
        if heads is not None and config.flag("attention_k_eq_v", default=False):
            own["num_key_value_heads"] = heads
    else:
        own = {}
    return Config({**config.raw, **own}, origin=config.origin)


def _has_experts(config: Config) -> bool:
    return config.flag("enable_moe_block", default=False)


def _networks(config: Config) -> list[ChannelMixer]:
    """A dense network in each layer, twice as wide in those that borrow where the file says so, and experts beside it."""
    made, wide = _first_shared(config), config.flag("use_double_wide_mlp", default=False)
    inner = config.count("intermediate_size")
    dense = [FeedForward(config.hidden, inner * (2 if wide and i >= made else 1)) for i in range(config.layers)]
    return [_experts(config, network) for network in dense] if _has_experts(config) else list(dense)


def _experts(config: Config, dense: FeedForward) -> MixtureOfExperts:
    """Experts, and the dense network that all tokens pass; the router scales its inputs and each expert's weight."""
    experts, top_k = config.count("num_experts"), config.count("top_k_experts", "num_experts_per_tok")
    if top_k > experts:
        raise config.error("top_k_experts", top_k, f"at most num_experts = {experts}")
    return MixtureOfExperts(
        config.hidden,
        experts,
        top_k,
        FeedForward(config.hidden, config.count("moe_intermediate_size", "expert_intermediate_size")),
        shared=dense,
        router_vectors=config.hidden + experts,
    )


def _per_layer(config: Config) -> int:
    """Width of what each token gives to each layer besides; 0 where there is no such table, which null says as well."""
    if "hidden_size_per_layer_input" in config.raw and config.raw["hidden_size_per_layer_input"] is None:
        return 0
    return config.count("hidden_size_per_layer_input", default=256, least=0)


def _layer_input(hidden: int, per_layer: int) -> Matrices:
    return Matrices(hidden, (Linear("layer_input_gate", hidden, per_layer), Linear("layer_input", per_layer, hidden)))


def _embedding(config: Config, per_layer: int) -> Embedding:
    """The tables, and the matrix that makes layer inputs of a token's embedding."""
    hidden, inputs = config.hidden, config.layers * per_layer
    table = (config.count("vocab_size_per_layer_input", default=262_144), inputs) if inputs else (0, 0)
    return Embedding(
        vocabulary=config.vocabulary(),
        width=hidden,
        hidden=hidden,
        tied=config.flag("tie_word_embeddings", default=True),
        final_norm_parameters=hidden,
        embedding_norm_parameters=per_layer,
        projections=(Linear("layer_inputs", hidden, inputs, quantised=False),) if inputs else (),
        layer_table=table,
    )


READERS: dict[str, Reader] = {"gemma4_text": gemma4_text}
