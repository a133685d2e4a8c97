"""Decoder-only Transformers with latent attention and a mixture of experts: DeepSeek and its kin.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`; Kimi K2's is DeepSeek V3's
under a name of its own (README of moonshotai/Kimi-K2-Instruct).
"""

from __future__ import annotations

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.readers.experts_shared import (
    Built,
    limited_groups,
    mixtures,
    shared_network,
    sparse_by_kind,
    sparse_from,
)
from genz.specs.readers.shared import Reader, feed_forward, root_mean_square_embedding, root_mean_square_layer
from genz.specs.token_mixers import Indexer, LatentAttention

# What the indexer of a layer does: it chooses for itself, or takes what the layer before it chose.
INDEXER_KINDS = {"F": "full", "S": "shared"}


def deepseek_v2(config: Config) -> Built:
    """DeepSeek V2: as V3, with biases in dense and shared (not in routed) experts where `mlp_bias` asks for them."""
    return _deepseek(config, bias=config.flag("mlp_bias", default=False))


def deepseek_v3(config: Config) -> Built:
    """DeepSeek V3 and R1, Kimi K2: their feed-forward networks have no biases."""
    return _deepseek(config, bias=False)


def _latent_attention(
    config: Config, *, selected: int | None = None, indexer: Indexer | None = None, needs_rank: bool = False
) -> LatentAttention:
    return LatentAttention(
        hidden=config.hidden,
        heads=config.heads,
        query_rank=config.count("q_lora_rank") if needs_rank else config.optional_count("q_lora_rank"),
        latent_rank=config.count("kv_lora_rank"),
        nope_dim=config.count("qk_nope_head_dim"),
        rope_dim=config.count("qk_rope_head_dim"),
        value_dim=config.count("v_head_dim"),
        bias=config.flag("attention_bias", default=False),
        selected=selected,
        indexer=indexer,
    )


def _deepseek(config: Config, *, bias: bool) -> Built:
    """Latent attention, dense layers first, then mixtures with shared experts."""
    mixer = _latent_attention(config)
    inner = config.count("moe_intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("n_routed_experts"),
        shared=shared_network(config, inner, "n_shared_experts", bias=bias),
        groups_per_token=limited_groups(config),
    )
    first_sparse = config.count("first_k_dense_replace", default=0, least=0)
    if config.count("moe_layer_freq", default=1) != 1:
        raise config.error("moe_layer_freq", config.raw["moe_layer_freq"], "1")
    channels = sparse_from(feed_forward(config, bias=bias), sparse, first_sparse)
    layers = tuple(root_mean_square_layer(config, mixer, channel) for channel in channels)
    return layers, root_mean_square_embedding(config, tied=False)


def glm4_moe_lite(config: Config) -> Built:
    """GLM-4.7-Flash: DeepSeek V3's layers, of which the first is dense unless told."""
    mixer = _latent_attention(config)
    inner = config.count("moe_intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("n_routed_experts"),
        shared=shared_network(config, inner, "n_shared_experts", default=1),
        groups_per_token=limited_groups(config),
        top_k_default=4,
    )
    channels = sparse_by_kind(config, feed_forward(config), sparse, config.count("first_k_dense_replace", default=1, least=0))
    layers = tuple(root_mean_square_layer(config, mixer, channel) for channel in channels)
    return layers, root_mean_square_embedding(config, tied=False)


def deepseek_v32(config: Config) -> Built:
    """DeepSeek V3.2: V3 with an indexer in each layer, so that attention reads the best tokens alone."""
    return _sparse_attention(config, ["full"] * config.layers)


def glm_moe_dsa(config: Config) -> Built:
    """GLM-5: as DeepSeek V3.2; layers may take over what an earlier one chose."""
    kinds = _indexer_kinds(config)
    if "full" not in kinds[:1]:
        raise config.error("indexer_types", kinds[:1], "full in the first layer, as there is none before it")
    return _sparse_attention(config, kinds)


def _indexer_kinds(config: Config) -> list[str]:
    """What each layer's indexer does: a list of words, a text of letters, or one in so many layers."""
    count = config.layers
    kinds = config.sequence("indexer_types", length=count)
    pattern = config.raw.get("index_topk_pattern")
    name = "indexer_types" if kinds is not None else "index_topk_pattern"
    if kinds is None and pattern is not None:
        kinds = [INDEXER_KINDS.get(letter, letter) for letter in pattern] if isinstance(pattern, str) else pattern
        if not isinstance(kinds, list) or len(kinds) != count:
            raise config.error(name, pattern, f"{count} letters F and S, one a layer")
    if kinds is None:
        period = config.count("index_topk_freq", default=1)
        offset = config.count("index_skip_topk_offset", default=2, least=0)
        return ["full" if max(i - offset + 1, 0) % period == 0 else "shared" for i in range(count)]
    for kind in kinds:
        if kind not in INDEXER_KINDS.values():
            raise config.error(name, kind, "full, shared")
    return kinds


def _sparse_attention(config: Config, kinds: list[str]) -> Built:
    selected = config.count("index_topk", default=2048)
    own = Indexer(
        config.hidden,
        config.count("q_lora_rank"),
        config.count("index_n_heads"),
        config.count("index_head_dim", default=128),
    )
    mixers = {
        kind: _latent_attention(config, selected=selected, indexer=own if kind == "full" else None, needs_rank=True)
        for kind in INDEXER_KINDS.values()
    }
    inner = config.count("moe_intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("num_experts", "n_routed_experts", "num_local_experts"),
        shared=shared_network(config, inner, "n_shared_experts", default=1),
        groups_per_token=limited_groups(config),
        top_k_default=8,
    )
    channels = sparse_by_kind(config, feed_forward(config), sparse, config.count("first_k_dense_replace", default=3, least=0))
    layers = tuple(root_mean_square_layer(config, mixers[kind], channel) for kind, channel in zip(kinds, channels, strict=True))
    return layers, root_mean_square_embedding(config, tied=False)


def longcat_flash(config: Config) -> Built:
    """LongCat-Flash: two blocks of attention and dense network a layer, experts beside the first network, zero experts.

    Source: LongCat-Flash Technical Report, arXiv:2509.01322, section 2. A layer here is one of the two blocks.
    """
    pairs = _longcat_pairs(config)
    whole = Config({**config.raw, "num_hidden_layers": pairs}, origin=config.origin)
    mixer = _latent_attention(config, needs_rank=True)
    dense = feed_forward(config, "ffn_hidden_size", "intermediate_size")
    inner = config.count("expert_ffn_hidden_size", "moe_intermediate_size")
    if config.text("zero_expert_type", default="identity") != "identity":
        raise config.error("zero_expert_type", config.raw["zero_expert_type"], "identity")
    sparse = mixtures(
        whole,
        FeedForward(config.hidden, inner),
        experts=config.count("n_routed_experts", "num_local_experts"),
        top_k_names=("moe_topk", "num_experts_per_tok"),
        top_k_default=12,
        router_bias=config.flag("router_bias", default=False),
        shared=dense,
        zero_experts=config.count("zero_expert_num", default=256, least=0),
        shortcut=True,
    )
    layers = tuple(root_mean_square_layer(config, mixer, channel) for mixture in sparse for channel in (mixture, dense))
    return layers, root_mean_square_embedding(config, tied=False)


def _longcat_pairs(config: Config) -> int:
    """Pairs of blocks: `num_layers`, where `num_hidden_layers` may stand for them too or for the blocks."""
    if config.raw.get("num_layers") is not None:
        return config.count("num_layers", most=10**4)
    blocks = config.count("num_hidden_layers", default=2 * 28, most=10**4)
    if blocks % 2:
        raise config.error("num_hidden_layers", blocks, "an even number, two blocks to each of num_layers")
    return blocks // 2


READERS: dict[str, Reader] = {
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "kimi_k2": deepseek_v3,
    "glm4_moe_lite": glm4_moe_lite,
    "deepseek_v32": deepseek_v32,
    "glm_moe_dsa": glm_moe_dsa,
    "longcat_flash": longcat_flash,
}
