"""Decoder-only Transformers whose norms subtract the mean: GPT-Neo, StarCoder, MPT, StableLM, Nemotron, OLMo and their kin.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.channel_mixers import ChannelMixer, FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.readers.shared import Reader, attention, feed_forward
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# The position tables of BioGPT start with two rows that no position uses; XGLM's positions are computed.
BIOGPT_POSITION_OFFSET = 2
GPT_NEO_ATTENTION = ("global", "local")


def layer_norm_layer(
    config: Config,
    token_mixer: Attention,
    channel_mixer: ChannelMixer,
    *,
    norms: int = 2,
    bias: bool = True,
    weighted: bool = True,
    parallel: bool = False,
) -> Layer:
    """A pre-norm layer with layer norms, which hold a weight and a bias a feature unless told."""
    parameters = config.hidden * (2 if bias else 1) if weighted else 0
    return Layer(token_mixer, channel_mixer, config.hidden, norms=norms, norm_parameters=parameters, parallel=parallel)


def layer_norm_embedding(
    config: Config, *, tied: bool, bias: bool = True, weighted: bool = True, positions: int = 0, head_bias: bool = False
) -> Embedding:
    """A token table, a final layer norm and a head; `tied` is the default of the architecture."""
    return Embedding(
        vocabulary=config.vocabulary(),
        width=config.hidden,
        hidden=config.hidden,
        positions=positions,
        tied=config.flag("tie_word_embeddings", default=tied),
        head_bias=head_bias,
        final_norm_parameters=config.hidden * (2 if bias else 1) if weighted else 0,
    )


def with_head_norms(mixer: Attention, parameters: int) -> Attention:
    """The same attention, with norms of so many parameters on its queries and keys."""
    return replace(mixer, query_key_norm=parameters, normalises_queries=True)


def _plain(config: Config, *names: str) -> FeedForward:
    """A network of two matrices with biases, four times as wide as the layers unless told."""
    return FeedForward(config.hidden, config.count(*names, default=4 * config.hidden), gated=False, bias=True)


def gpt_neo(config: Config) -> Built:
    """GPT-Neo: layers that see all and layers that see the last tokens, by turns; a bias on the output projection alone."""
    kinds = _gpt_neo_attention(config)
    window = config.count("window_size", default=256)
    layers = tuple(
        layer_norm_layer(
            config,
            attention(config, window=window if kind == "local" else None, output_bias=True, rope=False),
            _plain(config, "intermediate_size"),
        )
        for kind in kinds
    )
    positions = config.count("max_position_embeddings", default=2048)
    return layers, layer_norm_embedding(config, tied=True, positions=positions)


def _gpt_neo_attention(config: Config) -> list[str]:
    """The kind of each layer, from groups such as [["global", "local"], 12]: these two, twelve times."""
    groups = config.sequence("attention_types")
    if groups is None:
        return [GPT_NEO_ATTENTION[i % 2] for i in range(config.layers)]
    kinds: list[str] = []
    for group in groups:
        if not (isinstance(group, list) and len(group) == 2 and isinstance(group[0], list) and isinstance(group[1], int)):
            raise config.error("attention_types", group, 'groups such as [["global", "local"], 12]')
        unknown = [kind for kind in group[0] if kind not in GPT_NEO_ATTENTION]
        if unknown:
            raise config.error("attention_types", unknown[0], ", ".join(GPT_NEO_ATTENTION))
        kinds += group[0] * min(group[1], config.layers + 1)
    if len(kinds) != config.layers:
        raise config.error("attention_types", len(kinds), f"{config.layers} layers, as num_layers says", problem="layers")
    return kinds


def gpt_bigcode(config: Config) -> Built:
    """StarCoder and SantaCoder: GPT-2 with one key head for all queries (`multi_query`)."""
    multi_query = config.flag("multi_query", default=True)
    mixer = replace(attention(config, qkv_bias=True, output_bias=True, rope=False), kv_heads=1 if multi_query else config.heads)
    positions = config.count("n_positions", "max_position_embeddings", default=1024)
    layer = layer_norm_layer(config, mixer, _plain(config, "n_inner", "intermediate_size"))
    return (layer,) * config.layers, layer_norm_embedding(config, tied=True, positions=positions)


def starcoder2(config: Config) -> Built:
    """StarCoder 2: grouped queries, rotary positions, biases in all matrices, a window where one is set."""
    bias = config.flag("use_bias", default=True)
    mixer = attention(config, window=config.optional_count("sliding_window"), qkv_bias=bias, output_bias=bias)
    layer = layer_norm_layer(config, mixer, feed_forward(config, gated=False, bias=bias))
    return (layer,) * config.layers, layer_norm_embedding(config, tied=True)


def mpt(config: Config) -> Built:
    """MPT: attention with linear biases for positions (ALiBi), and no bias in any matrix or norm.

    Key heads are those of MosaicML's own code, which the weights are for: transformers leaves `attn_type` aside.
    """
    if not config.flag("no_bias", default=True):
        raise config.error("no_bias", False, "true: transformers knows no biases in this model")
    hidden = config.hidden
    inner = config.count("expansion_ratio", default=4) * hidden
    mixer = replace(attention(config, rope=False), kv_heads=_mpt_key_heads(config))
    layer = layer_norm_layer(config, mixer, FeedForward(hidden, inner, gated=False), bias=False)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=True, bias=False)


def _mpt_key_heads(config: Config) -> int:
    """Key heads by `attn_config`. Raises `SpecError` for forms of attention that would cost something else."""
    given = config.raw.get("attn_config")
    if given is None:
        return config.heads
    if not isinstance(given, dict):
        raise config.error("attn_config", given, "a mapping")
    for key, value in (("prefix_lm", False), ("qk_ln", False), ("alibi", True)):
        if given.get(key, value) != value:
            raise config.error(f"attn_config.{key}", given[key], str(value).lower())
    own = Config(given, origin=f"{config.origin}: attn_config")
    kind = own.text("attn_type", default="multihead_attention")
    if kind == "multihead_attention":
        return config.heads
    if kind not in ("multiquery_attention", "grouped_query_attention"):
        allowed = "multihead_attention, multiquery_attention, grouped_query_attention"
        raise config.error("attn_config.attn_type", kind, allowed)
    kv_heads = 1 if kind == "multiquery_attention" else own.count("kv_n_heads")
    if config.heads % kv_heads:
        raise config.error("attn_config.kv_n_heads", kv_heads, f"a divisor of n_heads = {config.heads}")
    return kv_heads


def stablelm(config: Config) -> Built:
    """StableLM: LLaMA with layer norms; optionally biases on queries, keys and values, norms of each head, one residual."""
    mixer = attention(config, qkv_bias=config.flag("use_qkv_bias", default=False))
    if config.flag("qk_layernorm", default=False):
        mixer = with_head_norms(mixer, (mixer.heads + mixer.kv_heads) * mixer.head_dim)
    parallel = config.flag("use_parallel_residual", default=False)
    layer = layer_norm_layer(config, mixer, feed_forward(config), norms=1 if parallel else 2, parallel=parallel)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=False)


def persimmon(config: Config) -> Built:
    """Persimmon: biases everywhere, norms with biases over each head's queries and keys, squared ReLU."""
    mixer = replace(attention(config, qkv_bias=True, output_bias=True), kv_heads=config.heads)
    if config.flag("qk_layernorm", default=True):
        mixer = with_head_norms(mixer, 4 * mixer.head_dim)
    layer = layer_norm_layer(config, mixer, feed_forward(config, gated=False, bias=True))
    return (layer,) * config.layers, layer_norm_embedding(config, tied=False)


def nemotron(config: Config) -> Built:
    """Nemotron-3, Nemotron-4 and Minitron: grouped queries, squared ReLU between two matrices."""
    bias = config.flag("attention_bias", default=False)
    network = feed_forward(config, gated=False, bias=config.flag("mlp_bias", default=False))
    layer = layer_norm_layer(config, attention(config, qkv_bias=bias, output_bias=bias), network)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=False)


def jais2(config: Config) -> Built:
    """Jais 2: Nemotron's shape with biases in all matrices."""
    bias = config.flag("attention_bias", default=True)
    network = feed_forward(config, gated=False, bias=config.flag("mlp_bias", default=True))
    layer = layer_norm_layer(config, attention(config, qkv_bias=bias, output_bias=bias), network)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=False)


def olmo(config: Config) -> Built:
    """OLMo: LLaMA with layer norms that have no weights."""
    bias = config.flag("attention_bias", default=False)
    mixer = attention(config, qkv_bias=bias, output_bias=bias)
    layer = layer_norm_layer(config, mixer, feed_forward(config), weighted=False)
    return (layer,) * config.layers, layer_norm_embedding(config, tied=False, weighted=False)


def biogpt(config: Config) -> Built:
    """BioGPT: GPT-2 with a position table that starts with two unused rows."""
    mixer = attention(config, qkv_bias=True, output_bias=True, rope=False)
    positions = config.count("max_position_embeddings", default=1024) + BIOGPT_POSITION_OFFSET
    layer = layer_norm_layer(config, mixer, _plain(config, "intermediate_size"))
    return (layer,) * config.layers, layer_norm_embedding(config, tied=True, positions=positions)


def xglm(config: Config) -> Built:
    """XGLM: GPT-2 with positions that are computed (sinusoids), not learned."""
    mixer = attention(config, qkv_bias=True, output_bias=True, rope=False)
    layer = layer_norm_layer(config, mixer, _plain(config, "ffn_dim", "intermediate_size"))
    return (layer,) * config.layers, layer_norm_embedding(config, tied=True)


READERS: dict[str, Reader] = {
    "gpt_neo": gpt_neo,
    "gpt_bigcode": gpt_bigcode,
    "starcoder2": starcoder2,
    "mpt": mpt,
    "stablelm": stablelm,
    "persimmon": persimmon,
    "nemotron": nemotron,
    "jais2": jais2,
    "olmo": olmo,
    "biogpt": biogpt,
    "xglm": xglm,
}
