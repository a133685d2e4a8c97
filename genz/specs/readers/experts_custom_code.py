"""Mixtures of experts whose modeling code lies beside their weights instead of in transformers.

Sources: the configuration and modeling files in each model's repository on the Hugging Face hub, or its report.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.readers.experts_shared import Built, limited_groups, mixtures, shared_network, sparse_from
from genz.specs.readers.shared import Reader, attention, feed_forward, root_mean_square_embedding, root_mean_square_layer

# Groups of experts of Pangu Pro MoE: the router picks one expert of each.
PANGU_GROUPS = 8


def grok_1(config: Config) -> Built:
    """Grok-1: norms before and behind each mixer, one table for tokens and logits.

    Source: xai-org/grok-1, model.py and run.py.
    """
    sparse = mixtures(config, feed_forward(config), experts=config.count("num_experts", default=8), top_k_default=2)
    layers = tuple(root_mean_square_layer(config, attention(config), mixture, norms=4) for mixture in sparse)
    return layers, root_mean_square_embedding(config, tied=True)


def deepseek(config: Config) -> Built:
    """DeepSeekMoE of 2024: LLaMA's attention, small experts, some of them shared.

    Source: DeepSeekMoE, arXiv:2401.06066; modeling_deepseek.py of deepseek-ai/deepseek-moe-16b-base.
    """
    bias = config.flag("attention_bias", default=False)
    inner = config.count("moe_intermediate_size")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=config.count("n_routed_experts"),
        shared=shared_network(config, inner, "n_shared_experts"),
    )
    if config.count("moe_layer_freq", default=1) != 1:
        raise config.error("moe_layer_freq", config.raw["moe_layer_freq"], "1")
    mixer = attention(config, qkv_bias=bias, output_bias=bias)
    channels = sparse_from(feed_forward(config), sparse, config.count("first_k_dense_replace", default=0, least=0))
    layers = tuple(root_mean_square_layer(config, mixer, channel) for channel in channels)
    return layers, root_mean_square_embedding(config, tied=False)


def bailing_moe(config: Config) -> Built:
    """Ling and Ring of inclusionAI, 1.5 and 2.0: small experts, one or two of them shared, dense layers first where told.

    Source: modeling_bailing_moe.py of inclusionAI/Ling-lite and modeling_bailing_moe_v2.py of inclusionAI/Ling-mini-2.0.
    """
    inner = config.count("moe_intermediate_size")
    experts = config.count("num_experts")
    sparse = mixtures(
        config,
        FeedForward(config.hidden, inner),
        experts=experts,
        shared=_bailing_shared(config, inner),
        groups_per_token=limited_groups(config),
        router_vectors=experts if config.flag("moe_router_enable_expert_bias", default=False) else 0,
    )
    bias = config.flag("use_bias", default=False)
    mixer = attention(
        config,
        qkv_bias=config.flag("use_qkv_bias", default=False),
        output_bias=bias,
        query_key_norm=config.flag("use_qk_norm", default=False),
    )
    channels = sparse_from(feed_forward(config), sparse, config.count("first_k_dense_replace", default=0, least=0))
    layers = tuple(root_mean_square_layer(config, mixer, channel) for channel in channels)
    return layers, root_mean_square_embedding(config, tied=False)


def _bailing_shared(config: Config, inner: int) -> FeedForward | None:
    """Shared experts as wide as the routed ones, unless their width is told."""
    return shared_network(config, config.count("moe_shared_expert_intermediate_size", default=inner), "num_shared_experts")


def arctic(config: Config) -> Built:
    """Snowflake Arctic: a dense network as wide as the layer beside the experts, each behind a norm of its own.

    Source: modeling_arctic.py of Snowflake/snowflake-arctic-instruct.
    """
    beside = config.flag("parallel_attn_mlp_res", default=True)
    period = config.count("moe_layer_frequency", default=1)
    sparse = mixtures(
        config,
        feed_forward(config),
        experts=config.count("num_local_experts", default=128),
        shared=FeedForward(config.hidden, config.hidden) if beside else None,
        top_k_default=2,
    )
    mixer = attention(config, window=config.optional_count("sliding_window"))
    layers = tuple(
        root_mean_square_layer(config, mixer, mixture, norms=3 if beside else 2)
        if (i + 1) % period == 0
        else root_mean_square_layer(config, mixer, feed_forward(config))
        for i, mixture in enumerate(sparse)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def pangu_pro_moe(config: Config) -> Built:
    """Pangu Pro MoE: experts in eight groups, of each of which a token takes equally many.

    Source: Pangu Pro MoE, arXiv:2505.21411, section 2; vLLM Ascend, models/pangu_moe.py (biases, scales of the router).
    """
    experts = config.count("num_experts")
    groups = config.count("num_expert_groups", default=PANGU_GROUPS)
    inner = config.count("shared_expert_intermediate_size", default=0, least=0)
    shared = FeedForward(config.hidden, inner) if inner else None
    expert = FeedForward(config.hidden, config.count("moe_intermediate_size"))
    sparse = mixtures(config, expert, experts=experts, shared=shared, router_vectors=experts)
    for name, value in (("num_experts", experts), *(("num_experts_per_tok", mixture.top_k) for mixture in sparse)):
        if value % groups:
            raise config.error(name, value, f"a multiple of {groups}, the groups of experts")
    mixer = attention(config, qkv_bias=True, output_bias=True)
    dense = config.indices("mlp_only_layers", below=config.layers)
    layers = tuple(
        root_mean_square_layer(config, mixer, feed_forward(config) if i in dense else replace(mixture, even_groups=groups))
        for i, mixture in enumerate(sparse)
    )
    return layers, root_mean_square_embedding(config, tied=False)


READERS: dict[str, Reader] = {
    "grok-1": grok_1,
    "deepseek": deepseek,
    "bailing_moe": bailing_moe,
    "arctic": arctic,
    "PanguProMoE": pangu_pro_moe,
}
