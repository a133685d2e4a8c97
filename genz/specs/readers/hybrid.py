"""Models that mix Mamba with attention: by layers, side by side, or with attention blocks that layers share.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from dataclasses import replace

from genz.specs.channel_mixers import ChannelMixer, FeedForward, Matrices
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers.patterns import ATTENTION, HYBRID, STATE, equal, kinds_of, layer_kinds, mixture, periodic, state_type
from genz.specs.readers.recurrent import STATE_TYPE_KEYS, time_step_rank
from genz.specs.readers.shared import Reader, attention, feed_forward, root_mean_square_embedding, root_mean_square_layer
from genz.specs.readers.state_mixers import mamba1, mamba2
from genz.specs.token_mixers import Attention, StateSpace

Built = tuple[tuple[Layer, ...], Embedding]
LETTERS = {"M": STATE, "*": ATTENTION, "-": "network", "E": "experts"}
WORDS = {
    "mamba": STATE,
    "linear_attention": STATE,
    "attention": ATTENTION,
    "full_attention": ATTENTION,
    "mlp": "network",
    "moe": "experts",
}


def jamba(config: Config) -> Built:
    """Jamba: Mamba-1 with norms inside, an attention layer in each period, experts in each other."""
    mixer = mamba1(
        config.hidden,
        config.count("mamba_expand", default=2) * config.hidden,
        state=config.count("mamba_d_state", default=16),
        rank=time_step_rank(config, "mamba_dt_rank"),
        width=config.count("mamba_d_conv", default=4),
        bias=config.flag("mamba_proj_bias", default=False),
        conv_bias=config.flag("mamba_conv_bias", default=True),
        inner_norms=True,
        **state_type(config, *STATE_TYPE_KEYS),
    )
    attends = periodic(config, "attn_layer_period", "attn_layer_offset", period=8, offset=4)
    routes = periodic(config, "expert_layer_period", "expert_layer_offset", period=2, offset=1)
    network, experts = feed_forward(config), config.count("num_experts", "num_local_experts", default=16)
    routed = mixture(config, network, experts=experts, top_k=2) if experts > 1 else network
    layers = tuple(
        root_mean_square_layer(config, attention(config, rope=False) if attends[i] else mixer, routed if routes[i] else network)
        for i in range(config.layers)
    )
    return layers, root_mean_square_embedding(config, tied=False)


def _mamba2_of(config: Config, *, inner: int, norm: bool = True, output_bias: bool | None = None) -> StateSpace:
    """Mamba-2 under the names of Bamba, Granite and Falcon H1."""
    heads = config.count("mamba_n_heads", default=128)
    if inner % heads:
        raise config.error("mamba_n_heads", heads, f"a divisor of the inner width, {inner}")
    given = config.raw.get("mamba_d_head")
    head_dim = inner // heads if given in (None, "auto") else config.count("mamba_d_head")
    equal(config, "mamba_d_head", heads * head_dim, inner, "mamba_n_heads x mamba_d_head")
    groups = config.count("mamba_n_groups", default=1)
    if heads % groups:
        raise config.error("mamba_n_groups", groups, f"a divisor of mamba_n_heads = {heads}")
    return mamba2(
        config.hidden,
        heads=heads,
        head_dim=head_dim,
        state=config.count("mamba_d_state", default=256),
        groups=groups,
        width=config.count("mamba_d_conv", default=4),
        chunk=config.count("mamba_chunk_size", default=256),
        bias=config.flag("mamba_proj_bias", default=False),
        output_bias=output_bias,
        conv_bias=config.flag("mamba_conv_bias", default=True),
        norm=norm,
        **state_type(config, *STATE_TYPE_KEYS),
    )


def bamba(config: Config) -> Built:
    """Bamba: Mamba-2 with a few attention layers, each with a network."""
    indices = config.indices("attn_layer_indices", below=config.layers)
    named = [ATTENTION if i in indices else STATE for i in range(config.layers)]
    kinds = layer_kinds(config, "layers_block_type", "layer_types", allowed=(ATTENTION, STATE), default=named)
    bias = config.flag("attention_bias", default=False)
    mixers = {
        ATTENTION: attention(config, qkv_bias=bias, output_bias=bias),
        STATE: _mamba2_of(config, inner=config.count("mamba_expand", default=2) * config.hidden),
    }
    network = feed_forward(config, bias=config.flag("mlp_bias", default=False))
    layers = tuple(root_mean_square_layer(config, mixers[kind], network) for kind in kinds)
    return layers, root_mean_square_embedding(config, tied=False)


def granitemoehybrid(config: Config) -> Built:
    """Granite 4: Mamba-2 or attention without positions, then experts beside a shared network; the dense ones have it alone."""
    default = [STATE] * config.layers
    kinds = layer_kinds(config, "layer_types", "layers_block_type", allowed=(ATTENTION, STATE), default=default)
    bias = config.flag("attention_bias", default=False)
    rope = config.text("position_embedding_type", default="nope") == "rope"
    mixers = {
        ATTENTION: attention(config, qkv_bias=bias, output_bias=bias, rope=rope),
        STATE: _mamba2_of(config, inner=config.count("mamba_expand", default=2) * config.hidden),
    }
    shared = FeedForward(config.hidden, config.count("shared_intermediate_size", default=1024))
    experts = config.count("num_local_experts", default=8, least=0)
    network: ChannelMixer = shared
    if experts:
        network = mixture(config, feed_forward(config), experts=experts, top_k=2, shared=shared)
    layers = tuple(root_mean_square_layer(config, mixers[kind], network) for kind in kinds)
    return layers, root_mean_square_embedding(config, tied=False)


def falcon_h1(config: Config) -> Built:
    """Falcon H1: in each layer attention and Mamba-2 read the same input side by side."""
    inner = config.count("mamba_d_ssm", default=config.count("mamba_expand", default=2) * config.hidden)
    mixer = _mamba2_of(
        config,
        inner=inner,
        norm=config.flag("mamba_rms_norm", default=False),
        output_bias=config.flag("projectors_bias", default=False),
    )
    bias = config.flag("attention_bias", default=False)
    layer = root_mean_square_layer(config, mixer, feed_forward(config, bias=config.flag("mlp_bias", default=False)))
    beside = attention(config, qkv_bias=bias, output_bias=bias)
    return (replace(layer, beside=(beside,)),) * config.layers, root_mean_square_embedding(config, tied=False)


def nemotron_h(config: Config) -> Built:
    """Nemotron-H and Nemotron 3: each layer is Mamba-2, attention without positions, a network or experts, as a letter says."""
    kinds = _lettered_kinds(config)
    parts = {kind: _nemotron_part(config, kind) for kind in set(kinds)}
    layers = tuple(replace(parts[kind], norms=1, norm_parameters=config.hidden) for kind in kinds)
    return layers, root_mean_square_embedding(config, tied=False)


def _lettered_kinds(config: Config) -> list[str]:
    """The kind of each layer from `hybrid_override_pattern` (M, *, -, E), or from a list of words."""
    pattern, words = config.raw.get("hybrid_override_pattern"), config.sequence("layers_block_type")
    words = words or config.sequence("layer_types")
    if words is not None:
        layers = config.count("num_hidden_layers", default=len(words))
        return kinds_of(config, "layers_block_type", words, WORDS, layers=layers)
    letters = config.text("hybrid_override_pattern", default="")
    if not letters:
        raise config.error("hybrid_override_pattern", pattern, "a letter for each layer: M, *, -, E", problem="is missing")
    layers = config.count("num_hidden_layers", default=len(letters))
    return kinds_of(config, "hybrid_override_pattern", list(letters), LETTERS, layers=layers)


def _nemotron_part(config: Config, kind: str) -> Layer:
    hidden = config.hidden
    if kind == STATE:
        return Layer(_nemotron_mamba(config), None, hidden)
    if kind == ATTENTION:
        return Layer(replace(attention(config, head_dim=128, rope=False)), None, hidden)
    bias = config.flag("mlp_bias", default=False)
    gated = config.text("mlp_hidden_act", default="relu2") in ("silu", "swish")
    if gated:
        raise config.error("mlp_hidden_act", config.raw["mlp_hidden_act"], "relu2: networks of two matrices")
    if kind == "network":
        return Layer(None, FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=bias), hidden)
    latent = config.optional_count("moe_latent_size")
    expert = FeedForward(latent or hidden, config.count("moe_intermediate_size"), gated=False)
    shared = FeedForward(hidden, config.count("moe_shared_expert_intermediate_size", default=7688), gated=False, bias=bias)
    routed = mixture(config, expert, experts=config.count("n_routed_experts", "num_local_experts"), top_k=2, shared=shared)
    further: tuple[Matrices, ...] = ()
    if latent:
        down, up = Linear("latent_down", hidden, latent, bias=bias), Linear("latent_up", latent, hidden, bias=bias)
        further = (Matrices(hidden, (down, up)),)
    return Layer(None, routed, hidden, further=further)


def _nemotron_mamba(config: Config) -> StateSpace:
    heads = config.count("mamba_num_heads", default=128)
    groups = config.count("n_groups", "mamba_n_groups", default=8)
    if heads % groups:
        raise config.error("n_groups", groups, f"a divisor of mamba_num_heads = {heads}")
    return mamba2(
        config.hidden,
        heads=heads,
        head_dim=config.count("mamba_head_dim", default=64),
        state=config.count("ssm_state_size", default=128),
        groups=groups,
        width=config.count("conv_kernel", "mamba_d_conv", default=4),
        chunk=config.count("chunk_size", "mamba_chunk_size", default=128),
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("use_conv_bias", "mamba_conv_bias", default=True),
        **state_type(config, *STATE_TYPE_KEYS),
    )


def zamba(config: Config) -> Built:
    """Zamba: Mamba-1 in blocks of channels, and an attention block that layers share, each with a matrix of its own behind."""
    hidden, heads = config.hidden, config.count("n_mamba_heads", default=2)
    inner = config.count("mamba_expand", default=2) * hidden
    if inner % heads:
        raise config.error("n_mamba_heads", heads, f"a divisor of the inner width, {inner}")
    mixer = mamba1(
        hidden,
        inner,
        state=config.count("mamba_d_state", default=16),
        rank=time_step_rank(config, "mamba_dt_rank"),
        width=config.count("mamba_d_conv", default=4),
        bias=config.flag("mamba_proj_bias", default=False),
        conv_bias=config.flag("mamba_conv_bias", default=True),
        heads=heads,
        **state_type(config, *STATE_TYPE_KEYS),
    )
    spaced = periodic(config, "attn_layer_period", "attn_layer_offset", period=6, offset=4)
    default = [STATE, STATE, HYBRID, *(HYBRID if shared else STATE for shared in spaced[: config.layers - 3])]
    kinds = layer_kinds(config, "layers_block_type", "layer_types", allowed=(HYBRID, STATE), default=default[: config.layers])
    network = feed_forward(config)
    shared = _shared_block(config, _wide_attention(config, rope=False), network, name="shared_transformer")
    return _interleaved(config, mixer, [shared] * kinds.count(HYBRID), kinds), root_mean_square_embedding(config, tied=True)


def zamba2(config: Config) -> Built:
    """Zamba 2: Mamba-2, and attention blocks shared in turn, with adapters of each layer's own."""
    hidden, heads = config.hidden, config.count("n_mamba_heads", default=8)
    inner = config.count("mamba_expand", default=2) * hidden
    if inner % heads:
        raise config.error("n_mamba_heads", heads, f"a divisor of the inner width, {inner}")
    bias = config.flag("add_bias_linear", default=False)
    mixer = mamba2(
        hidden,
        heads=heads,
        head_dim=inner // heads,
        state=config.count("mamba_d_state", default=64),
        groups=config.count("mamba_ngroups", default=1),
        width=config.count("mamba_d_conv", default=4),
        chunk=config.count("chunk_size", default=256),
        bias=bias,
        **state_type(config, *STATE_TYPE_KEYS),
    )
    if not config.flag("use_conv_bias", default=True):
        raise config.error("use_conv_bias", False, "true: the modeling file has biases in any case")
    default = [STATE] + ([STATE] * 5 + [HYBRID]) * 7 + [STATE] * 4 + [HYBRID] + [STATE] * 3 + [HYBRID] + [STATE] * 2
    usual = default if config.layers == len(default) else None
    kinds = layer_kinds(config, "layers_block_type", "layer_types", allowed=(HYBRID, STATE), default=usual)
    network = FeedForward(hidden, config.count("intermediate_size", default=4 * hidden), bias=bias)
    attends = _wide_attention(config, rope=config.flag("use_mem_rope", default=False))
    block = _shared_block(config, attends, network, name="", adapters=_adapters(config, attends, network))
    turns = config.count("num_mem_blocks", default=1)
    blocks = [replace(block, shared=f"shared_transformer_{i % turns}") for i in range(kinds.count(HYBRID))]
    return _interleaved(config, mixer, blocks, kinds), root_mean_square_embedding(config, tied=True)


def _wide_attention(config: Config, *, rope: bool) -> Attention:
    """Attention over the hidden states and the embeddings side by side: twice the width."""
    width = config.count("attention_hidden_size", default=2 * config.hidden)
    head_dim = config.count("attention_head_dim", default=2 * config.hidden // config.heads)
    return Attention(config.hidden, config.heads, config.kv_heads, head_dim, rope=rope, input_width=width)


def _adapters(config: Config, attends: Attention, network: FeedForward) -> tuple[Linear, ...]:
    """Low-rank matrices that each use of a shared block adds to its first ones."""
    rank = config.count("adapter_rank", "lora_rank", default=128)
    wide = attends.input_width or config.hidden
    pairs = []
    if config.flag("use_shared_attention_adapter", "use_shared_attention_lora", default=False):
        pairs += [(name, wide, wide) for name in ("query", "key", "value")]
    if config.flag("use_shared_mlp_adapter", "use_shared_block_lora", default=True):
        pairs.append(("gate_up", config.hidden, 2 * network.intermediate))
    downs = (Linear(f"{name}_adapter_down", inputs, rank) for name, inputs, _ in pairs)
    ups = (Linear(f"{name}_adapter_up", rank, outputs, split="column") for name, _, outputs in pairs)
    return tuple(linear for pair in zip(downs, ups, strict=True) for linear in pair)


def _shared_block(
    config: Config, attends: Attention, network: FeedForward, *, name: str, adapters: tuple[Linear, ...] = ()
) -> Layer:
    """A shared attention block: a norm of twice the width and one of the width, and behind it a matrix of the layer's own."""
    hidden = config.hidden
    own = Matrices(hidden, (*adapters, Linear("linear", hidden, hidden)))
    return Layer(attends, network, hidden, norms=3, norm_parameters=hidden, further=(own,), shared=name)


def _interleaved(config: Config, mixer: StateSpace, blocks: list[Layer], kinds: list[str]) -> tuple[Layer, ...]:
    """Mamba layers, each hybrid one behind the next shared block: two layers here."""
    state, turn = Layer(mixer, None, config.hidden, norms=1, norm_parameters=config.hidden), iter(blocks)
    return tuple(layer for kind in kinds for layer in ((next(turn), state) if kind == HYBRID else (state,)))


READERS: dict[str, Reader] = {
    "jamba": jamba,
    "bamba": bamba,
    "granitemoehybrid": granitemoehybrid,
    "falcon_h1": falcon_h1,
    "nemotron_h": nemotron_h,
    "zamba": zamba,
    "zamba2": zamba2,
}
