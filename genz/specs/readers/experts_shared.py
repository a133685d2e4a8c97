"""What the readers of mixtures of experts share: how many experts each layer picks, and which layers are dense."""

from __future__ import annotations

from genz.specs.channel_mixers import ChannelMixer, FeedForward, MixtureOfExperts
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer

Built = tuple[tuple[Layer, ...], Embedding]
TOP_K = ("num_experts_per_tok", "num_experts_per_token")


def counts_by_layer(config: Config, *names: str, default: int | None = None, least: int = 1) -> list[int]:
    """A whole number for each layer: one for all of them, or a list with one for each (also for those that are dense)."""
    name = next((name for name in names if config.raw.get(name) is not None), names[0])
    if not isinstance(config.raw.get(name), list):
        return [config.count(*names, default=default, least=least)] * config.layers
    entries = config.sequence(name, length=config.layers) or []
    return [Config({name: entry}, origin=config.origin).count(name, least=least) for entry in entries]


def mixtures(
    config: Config,
    expert: FeedForward,
    *,
    experts: int,
    top_k_names: tuple[str, ...] = TOP_K,
    top_k_default: int | None = None,
    router_bias: bool = False,
    shared: FeedForward | None = None,
    shared_gate: bool = False,
    groups_per_token: int | None = None,
    router_vectors: int = 0,
    zero_experts: int = 0,
    shortcut: bool = False,
) -> list[MixtureOfExperts]:
    """The mixture of each layer: they differ where the number of experts that a token takes does.

    Such a list is what LExI finds for a trained model (Layer-Adaptive Active Experts, arXiv:2509.02753).
    """
    top_ks = counts_by_layer(config, *top_k_names, default=top_k_default)
    for top_k in top_ks:
        if top_k > experts + zero_experts:
            raise config.error(top_k_names[0], top_k, f"at most the number of experts, {experts + zero_experts}")
    return [
        MixtureOfExperts(
            config.hidden,
            experts,
            top_k,
            expert,
            router_bias,
            shared,
            shared_gate,
            groups_per_token,
            zero_experts=zero_experts,
            shortcut=shortcut,
            router_vectors=router_vectors,
        )
        for top_k in top_ks
    ]


def sparse_from(dense: ChannelMixer, sparse: list[MixtureOfExperts], first: int) -> list[ChannelMixer]:
    """The channel mixer of each layer: dense below the layer `first`, a mixture from there on."""
    return [dense if i < first else mixture for i, mixture in enumerate(sparse)]


def sparse_by_kind(config: Config, dense: ChannelMixer, sparse: list[MixtureOfExperts], first: int) -> list[ChannelMixer]:
    """The channel mixer of each layer as `mlp_layer_types` tells it, or dense below the layer `first`."""
    kinds = config.sequence("mlp_layer_types", length=config.layers)
    if kinds is None:
        return sparse_from(dense, sparse, first)
    for kind in kinds:
        if kind not in ("dense", "sparse"):
            raise config.error("mlp_layer_types", kind, "dense, sparse")
    return [dense if kind == "dense" else mixture for kind, mixture in zip(kinds, sparse, strict=True)]


def shared_network(config: Config, inner: int, *names: str, default: int = 0, bias: bool = False) -> FeedForward | None:
    """So many shared experts of a width as one network, or none."""
    shared = config.count(*names, default=default, least=0)
    return FeedForward(config.hidden, inner * shared, bias=bias) if shared else None


def limited_groups(config: Config) -> int | None:
    """Groups of experts that a token's experts lie in at most, where they are grouped."""
    groups = config.optional_count("n_group") or 1
    return config.optional_count("topk_group") if groups > 1 else None
