"""Decoder-only Transformers with grouped-query attention and a mixture of experts in every layer, or all but the first.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.readers.experts_shared import (
    Built,
    counts_by_layer,
    limited_groups,
    mixtures,
    shared_network,
    sparse_by_kind,
    sparse_from,
)
from genz.specs.readers.layer_norm import layer_norm_embedding, layer_norm_layer, with_head_norms
from genz.specs.readers.shared import (
    Reader,
    attention,
    feed_forward,
    root_mean_square_embedding,
    root_mean_square_layer,
    windows_by_layer,
)
from genz.specs.token_mixers import Attention


def phimoe(config: Config) -> Built:
    """Phi-3.5-MoE and its smaller kin: layer norms with biases, two experts of sixteen."""
    bias = config.flag("attention_bias", default=False)
    mixer = attention(config, window=config.optional_count("sliding_window"), qkv_bias=bias, output_bias=bias)
    sparse = mixtures(config, feed_forward(config), experts=config.count("num_local_experts", default=16), top_k_default=2)
    layers = tuple(layer_norm_layer(config, mixer, mixture) for mixture in sparse)
    return layers, layer_norm_embedding(config, tied=False, head_bias=config.flag("lm_head_bias", default=False))


def olmoe(config: Config) -> Built:
    """OLMoE: small experts, norms over all heads' queries and keys at once."""
    bias = config.flag("attention_bias", default=False)
    mixer = _norms_over_all_heads(attention(config, qkv_bias=bias, output_bias=bias))
    experts = config.count("num_experts", "num_local_experts", default=64)
    sparse = mixtures(config, feed_forward(config), experts=experts, top_k_default=8)
    layers = tuple(root_mean_square_layer(config, mixer, mixture) for mixture in sparse)
    return layers, root_mean_square_embedding(config, tied=False)


def _norms_over_all_heads(mixer: Attention) -> Attention:
    return with_head_norms(mixer, (mixer.heads + mixer.kv_heads) * mixer.head_dim)


def flex_olmo(config: Config) -> Built:
    """FlexOlmo: OLMo 2's layers, norms behind each mixer, with experts."""
    bias = config.flag("attention_bias", default=False)
    mixer = _norms_over_all_heads(attention(config, qkv_bias=bias, output_bias=bias))
    experts = config.count("num_experts", "num_local_experts", default=7)
    sparse = mixtures(config, feed_forward(config), experts=experts, top_k_default=5)
    layers = tuple(root_mean_square_layer(config, mixer, mixture) for mixture in sparse)
    return layers, root_mean_square_embedding(config, tied=False)


def granitemoe(config: Config) -> Built:
    """Granite 3 MoE, without and with a shared network."""
    bias = config.flag("attention_bias", default=False)
    inner = config.count("shared_intermediate_size", default=0, least=0)
    sparse = mixtures(
        config,
        feed_forward(config),
        experts=config.count("num_local_experts", default=8),
        shared=FeedForward(config.hidden, inner) if inner else None,
        top_k_default=2,
    )
    mixer = attention(config, qkv_bias=bias, output_bias=bias)
    layers = tuple(root_mean_square_layer(config, mixer, mixture) for mixture in sparse)
    return layers, root_mean_square_embedding(config, tied=False)


def dbrx(config: Config) -> Built:
    """DBRX: layer norms without biases, the widths of attention and experts in parts of their own."""
    parts = {name: config.raw.get(name) or {} for name in ("attn_config", "ffn_config")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise config.error(name, part, "a mapping")
    heads, experts = (Config(part, origin=f"{config.origin}: {name}") for name, part in parts.items())
    hidden = config.hidden
    attends = Config({**config.raw, "num_key_value_heads": heads.count("kv_n_heads", default=1)}, origin=config.origin)
    count = experts.count("moe_num_experts", default=4)
    routed = Config({**config.raw, "moe_top_k": experts.raw.get("moe_top_k")}, origin=experts.origin)
    sparse = mixtures(
        routed,
        FeedForward(hidden, experts.count("ffn_hidden_size", default=3584)),
        experts=count,
        top_k_names=("moe_top_k",),
        top_k_default=1,
    )
    layers = tuple(layer_norm_layer(config, attention(attends), mixture, bias=False) for mixture in sparse)
    return layers, layer_norm_embedding(config, tied=False, bias=False)


def minimax_m2(config: Config) -> Built:
    """MiniMax M2: full attention with norms over all heads' queries and keys, many small experts, none shared."""
    kinds = config.sequence("attn_type_list", length=config.layers) or []
    if any(kind != 1 for kind in kinds):
        raise config.error("attn_type_list", kinds, "1 in every layer: softmax attention")
    mixer = attention(config, head_dim=128)
    if config.flag("use_qk_norm", default=True):
        mixer = _norms_over_all_heads(mixer)
    inner = config.count("shared_intermediate_size", default=0, least=0)
    experts = config.count("num_local_experts", "num_experts", default=256)
    shared = FeedForward(config.hidden, inner) if inner else None
    sparse = mixtures(config, feed_forward(config), experts=experts, shared=shared, top_k_default=8)
    layers = tuple(root_mean_square_layer(config, mixer, mixture) for mixture in sparse)
    return layers, root_mean_square_embedding(config, tied=False)


def glm4_moe(config: Config) -> Built:
    """GLM-4.5 and 4.6: dense layers first; biases on queries, keys and values; norms on each head's where told."""
    return _dense_first(config, first=1, head_dim=config.hidden // config.heads, head_norms=("use_qk_norm", False))


def solar_open(config: Config) -> Built:
    """Solar Open: GLM-4.5's layers with experts in all of them."""
    return _dense_first(Config({**config.raw, "first_k_dense_replace": 0}, origin=config.origin), first=0, head_dim=128)


def _dense_first(
    config: Config, *, first: int, head_dim: int | None = None, head_norms: tuple[str, bool] | None = None
) -> Built:
    bias = config.flag("attention_bias", default=False)
    normed = head_norms is not None and config.flag(head_norms[0], default=head_norms[1])
    mixer = attention(config, qkv_bias=bias, head_dim=head_dim, query_key_norm=normed)
    inner = config.count("moe_intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("n_routed_experts", "num_local_experts", default=128),
        shared=shared_network(config, inner, "n_shared_experts", default=1),
        groups_per_token=limited_groups(config),
        top_k_default=8,
    )
    first_sparse = config.count("first_k_dense_replace", default=first, least=0)
    dense = feed_forward(config) if first_sparse else sparse[0]
    layers = tuple(root_mean_square_layer(config, mixer, c) for c in sparse_from(dense, sparse, first_sparse))
    return layers, root_mean_square_embedding(config, tied=False)


def dots1(config: Config) -> Built:
    """dots.llm1: norms on each head's queries and keys; layers beyond `max_window_layers` have a window where one is set."""
    bias = config.flag("attention_bias", default=False)
    window = config.optional_count("sliding_window")
    below = config.count("max_window_layers", default=62, least=0)
    inner = config.count("moe_intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("n_routed_experts", "num_local_experts"),
        shared=shared_network(config, inner, "n_shared_experts"),
        groups_per_token=limited_groups(config),
    )
    windows = windows_by_layer(config, lambda i: window is not None and i >= below, window=window)
    channels = sparse_from(feed_forward(config), sparse, config.count("first_k_dense_replace", default=0, least=0))
    layers = tuple(
        root_mean_square_layer(config, attention(config, window=w, qkv_bias=bias, output_bias=bias, query_key_norm=True), c)
        for w, c in zip(windows, channels, strict=True)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def exaone_moe(config: Config) -> Built:
    """K-EXAONE: EXAONE 4's sliding and full layers, dense layers first, norms on each head's queries and keys."""
    window = config.optional_count("sliding_window")
    period = _full_layer_period(config, window)
    inner = config.count("moe_intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("num_experts", default=64),
        shared=shared_network(config, inner, "num_shared_experts", default=1),
        groups_per_token=limited_groups(config),
        top_k_default=8,
    )
    first = config.count("first_k_dense_replace", default=1, least=0)
    channels = sparse_by_kind(config, feed_forward(config), sparse, first)
    windows = windows_by_layer(config, lambda i: period is not None and (i + 1) % period != 0, window=window)
    layers = tuple(
        root_mean_square_layer(
            config, attention(config, window=w, query_key_norm=True, rope=window is None or w is not None), c
        )
        for w, c in zip(windows, channels, strict=True)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def _full_layer_period(config: Config, window: int | None) -> int | None:
    """Every so many layers one is full: a number, or the length of letters such as LLLG."""
    pattern = config.raw.get("sliding_window_pattern")
    if window is None:
        return None
    if isinstance(pattern, str):
        if set(pattern[:-1]) != {"L"} or not pattern.endswith("G"):
            raise config.error("sliding_window_pattern", pattern, "a number, or letters such as LLLG")
        return len(pattern)
    return config.count("sliding_window_pattern", default=4)


def afmoe(config: Config) -> Built:
    """AFMoE (Trinity): gated attention, sliding layers with positions and full ones without, norms around each mixer."""
    if config.flag("attention_bias", default=False):
        raise config.error("attention_bias", value=True, allowed="false: its gate has none")
    period = config.count("global_attn_every_n_layers", default=4)
    inner = config.count("moe_intermediate_size")
    experts = config.count("num_experts", default=64)
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=experts,
        shared=shared_network(config, inner, "num_shared_experts", default=2),
        groups_per_token=limited_groups(config),
        top_k_default=6,
        router_vectors=experts,
    )
    channels = sparse_from(feed_forward(config), sparse, config.count("num_dense_layers", default=1, least=0))
    windows = windows_by_layer(config, lambda i: (i + 1) % period != 0, window=config.count("sliding_window", default=1024))
    layers = tuple(
        root_mean_square_layer(
            config,
            replace(attention(config, window=w, head_dim=128, query_key_norm=True, rope=w is not None), gated=True),
            c,
            norms=4,
        )
        for w, c in zip(windows, channels, strict=True)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def ernie4_5_moe(config: Config) -> Built:
    """ERNIE 4.5 MoE: a mixture in every so many layers between two ends; its router learns a correction."""
    bias = config.flag("use_bias", default=False)
    mixer = attention(config, qkv_bias=bias, output_bias=bias)
    inner = config.count("moe_intermediate_size", default=1536)
    experts = config.count("moe_num_experts", "num_experts", default=64)
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=experts,
        top_k_names=("moe_k", "num_experts_per_tok"),
        top_k_default=6,
        shared=shared_network(config, inner, "moe_num_shared_experts", default=2, bias=bias),
        router_vectors=experts,
    )
    first = config.count("moe_layer_start_index", default=1, least=0)
    last = config.layers - 1
    if config.raw.get("moe_layer_end_index", -1) not in (None, -1):
        last = config.count("moe_layer_end_index", least=0)
    period = config.count("moe_layer_interval", default=1)
    layers = tuple(
        root_mean_square_layer(
            config,
            mixer,
            mixture if (i + 1) % period == 0 and first <= i <= last else feed_forward(config, bias=bias),
        )
        for i, mixture in enumerate(sparse)
    )
    return layers, replace(root_mean_square_embedding(config, tied=True), head_bias=bias)


def hunyuan_v1_moe(config: Config) -> Built:
    """Hunyuan A13B and Large: a shared network beside the experts, whose number, choice and width may be told by layer.

    In Large every other layer attends to the keys and values of the one before it (cross-layer attention).
    """
    bias = config.flag("attention_bias", default=False)
    normed = config.flag("use_qk_norm", default=True)
    mixer = attention(config, qkv_bias=bias, output_bias=bias, query_key_norm=normed)
    borrower = replace(mixer, borrows=True, query_key_norm=mixer.query_key_norm // 2)
    period = config.count("cla_share_factor", default=2) if config.flag("use_cla", default=False) else 1
    inner = counts_by_layer(config, "moe_intermediate_size", "intermediate_size")
    shared = counts_by_layer(config, "num_shared_expert", default=1, least=0)
    experts = counts_by_layer(config, "num_experts", "num_local_experts", default=1)
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner[0]),
        experts=max(experts),
        top_k_names=("moe_topk", "num_experts_per_tok"),
        top_k_default=1,
    )
    layers = []
    for i, (mixture, width, copies, count) in enumerate(zip(sparse, inner, shared, experts, strict=True)):
        if mixture.top_k > count:
            raise config.error("moe_topk", mixture.top_k, f"at most num_experts, {count} in this layer")
        network = FeedForward(config.hidden, width * copies) if copies else None
        own = replace(mixture, experts=count, expert=FeedForward(config.hidden, width), shared=network)
        layers.append(root_mean_square_layer(config, borrower if i % period else mixer, own))
    return tuple(layers), root_mean_square_embedding(config, tied=False)


READERS: dict[str, Reader] = {
    "phimoe": phimoe,
    "olmoe": olmoe,
    "flex_olmo": flex_olmo,
    "granitemoe": granitemoe,
    "granitemoeshared": granitemoe,
    "dbrx": dbrx,
    "minimax_m2": minimax_m2,
    "glm4_moe": glm4_moe,
    "solar_open": solar_open,
    "dots1": dots1,
    "exaone_moe": exaone_moe,
    "afmoe": afmoe,
    "ernie4_5_moe": ernie4_5_moe,
    "hunyuan_v1_moe": hunyuan_v1_moe,
    "hunyuan": hunyuan_v1_moe,
}
