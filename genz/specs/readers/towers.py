"""Vision towers of multimodal models, by the `model_type` of their `vision_config`: CLIP, SigLIP, InternViT, Pixtral, Llama.

Each takes the keys of the tower and the matrices behind it (its projector), and returns an encoder. Parts that a model keeps
but does not run for its prompt (a pooling head) count as parameters alone. A convolution over patches that do not overlap is a
matrix of their pixels.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Encoder, Layer
from genz.specs.linear import Linear
from genz.specs.media.passes import VISION
from genz.specs.token_mixers import Attention


@dataclass(frozen=True)
class Projector:
    """What stands behind a tower: matrices over one of `merge` tokens, and parameters that are no matrix."""

    linears: tuple[Linear, ...]
    merge: int = 1
    vectors: int = 0


def side_of(config: Config, key: str) -> int:
    """A length in pixels, which files write as a number or as a pair of equal ones."""
    value = config.raw.get(key)
    if isinstance(value, (list, tuple)):
        if len(value) != 2 or value[0] != value[1]:
            raise config.error(key, value, "a number of pixels, or two that are equal")
        return Config({key: value[0]}, origin=config.origin).count(key)
    return config.count(key)


def patches_of(config: Config) -> int:
    """Patches of a whole square image."""
    side, patch = side_of(config, "image_size"), side_of(config, "patch_size")
    if patch > side:
        raise config.error("patch_size", patch, f"at most image_size = {side}")
    return (side // patch) ** 2


def patch_matrix(config: Config, hidden: int, *, bias: bool, frames: int = 1) -> Linear:
    """The matrix that makes a token of a patch: of its pixels in all channels, and frames where there are several."""
    pixels = config.count("num_channels", "in_channels", "in_chans", default=3) * side_of(config, "patch_size") ** 2
    return Linear("patch", pixels * frames, hidden, bias=bias)


def head_width(config: Config, hidden: int, heads: int) -> int:
    """Width of a head of a tower, which divides its hidden width."""
    if hidden % heads:
        raise config.error("hidden_size", hidden, f"a multiple of the {heads} heads")
    return hidden // heads


def both_ways(
    config: Config,
    hidden: int,
    heads: int,
    *,
    bias: bool,
    output_bias: bool,
    rope: bool = False,
    chunk: int | None = None,
    norm: int = 0,
    key_bias: bool = True,
) -> Attention:
    """Attention of an encoder: every token sees every other one, or those of its window."""
    return Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=head_width(config, hidden, heads),
        chunk=chunk,
        qkv_bias=bias,
        output_bias=output_bias,
        query_key_norm=norm,
        normalises_queries=norm > 0,
        rope=rope,
        causal=False,
        key_bias=key_bias,
    )


def _layer_norm_layers(config: Config, attention: Attention, *, gated: bool = False) -> tuple[Layer, ...]:
    """Pre-norm layers with layer norms and a feed-forward network with biases."""
    hidden = attention.hidden
    network = FeedForward(hidden, config.count("intermediate_size"), gated=gated, bias=True)
    return (Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden),) * config.layers


def clip(config: Config, projector: Projector) -> Encoder:
    """CLIP: a class token, learned positions, a norm before and one after the layers, used or not."""
    hidden = config.hidden
    attention = both_ways(config, hidden, config.heads, bias=True, output_bias=True)
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=_layer_norm_layers(config, attention),
        entry=(patch_matrix(config, hidden, bias=False),),
        exit=projector.linears,
        merge=projector.merge,
        vectors=hidden + (patches_of(config) + 1) * hidden + 4 * hidden + projector.vectors,
        class_tokens=1,
    )


def siglip(config: Config, projector: Projector) -> Encoder:
    """SigLIP: no class token, learned positions, and a pooling head that language models do not run."""
    hidden = config.hidden
    attention = both_ways(config, hidden, config.heads, bias=True, output_bias=True)
    head = pooling_head(config) if config.flag("vision_use_head", default=True) else 0
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=_layer_norm_layers(config, attention),
        entry=(patch_matrix(config, hidden, bias=True),),
        exit=projector.linears,
        merge=projector.merge,
        vectors=patches_of(config) * hidden + 2 * hidden + head + projector.vectors,
    )


def headless_siglip(config: Config, projector: Projector) -> Encoder:
    """SigLIP of Idefics 3 and SmolVLM, which has no pooling head."""
    return siglip(Config({**config.raw, "vision_use_head": False}, origin=config.origin), projector)


def pooling_head(config: Config) -> int:
    """Parameters of SigLIP's pooling head: a probe, attention, a norm and a feed-forward network."""
    hidden, inner = config.hidden, config.count("intermediate_size")
    return hidden + 4 * (hidden * hidden + hidden) + 2 * hidden + 2 * hidden * inner + inner + hidden


def intern_vit(config: Config, projector: Projector) -> Encoder:
    """InternViT: a class token, learned positions, a scale behind each half of a layer, norms of two kinds."""
    hidden = config.hidden
    kind = config.text("norm_type", default="layer_norm")
    if kind not in ("layer_norm", "rms_norm"):
        raise config.error("norm_type", kind, "layer_norm, rms_norm")
    normed = config.flag("use_qk_norm", "qk_normalization", default=False)
    attention = both_ways(
        config,
        hidden,
        config.heads,
        bias=config.flag("attention_bias", "qkv_bias", default=False),
        output_bias=True,
        norm=2 * hidden if normed else 0,
    )
    network = FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=True)
    norm = 2 * hidden if kind == "layer_norm" else hidden
    # Two norms and two scales, as wide as the layer, in each.
    layer = Layer(attention, network, hidden, norms=2, norm_parameters=norm + hidden)
    positions = (patches_of(config) + 1) * hidden if config.flag("use_absolute_position_embeddings", default=True) else 0
    mask = hidden if config.flag("use_mask_token", default=False) else 0
    last = 0 if config.flag("use_mean_pooling", default=True) else norm
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=(layer,) * config.layers,
        entry=(patch_matrix(config, hidden, bias=True),),
        exit=projector.linears,
        merge=projector.merge,
        vectors=hidden + positions + mask + last + projector.vectors,
        class_tokens=1,
    )


def pixtral(config: Config, projector: Projector) -> Encoder:
    """Pixtral: rotary positions in two dimensions, RMS norms, gated networks, no biases."""
    hidden = config.hidden
    attention = both_ways(config, hidden, config.heads, bias=False, output_bias=False, rope=True)
    network = FeedForward(hidden, config.count("intermediate_size"))
    layer = Layer(attention, network, hidden, norms=2, norm_parameters=hidden)
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=(layer,) * config.layers,
        entry=(patch_matrix(config, hidden, bias=False),),
        exit=projector.linears,
        merge=projector.merge,
        vectors=hidden + projector.vectors,
    )


def llama4_vision(config: Config, projector: Projector) -> Encoder:
    """Llama 4: rotary positions and learned ones, a class token, and a pixel shuffle with an adapter of two matrices."""
    hidden, heads = config.hidden, config.heads
    attention = both_ways(config, hidden, heads, bias=True, output_bias=True, rope=True)
    ratio = config.raw.get("pixel_shuffle_ratio", 0.5)
    if not isinstance(ratio, float) or not 0 < ratio <= 1 or round(1 / ratio) != 1 / ratio:
        raise config.error("pixel_shuffle_ratio", ratio, "one over a whole number")
    merge = round(1 / ratio) ** 2
    inner, between = config.count("intermediate_size"), config.count("projector_input_dim", default=4096)
    if inner != hidden * merge:
        raise config.error("intermediate_size", inner, f"hidden_size / pixel_shuffle_ratio**2 = {hidden * merge}")
    outputs = config.count("projector_output_dim", default=4096)
    if outputs != between:
        raise config.error("projector_output_dim", outputs, f"projector_input_dim = {between}")
    adapter = (Linear("adapter_up", inner, between), Linear("adapter_down", between, outputs))
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=_layer_norm_layers(config, attention),
        entry=(patch_matrix(config, hidden, bias=False),),
        exit=(*adapter, *projector.linears),
        merge=merge,
        vectors=hidden + (patches_of(config) + 1) * hidden + 4 * hidden + projector.vectors,
        class_tokens=1,
    )


def mllama_vision(config: Config, projector: Projector) -> Encoder:
    """Llama 3.2 Vision: tiles of an image attend to each other; gated layers follow, and a class token and padding stay.

    Each tile's tokens, the class token included, are padded to a multiple of 8. The projector reads the outputs of some layers
    beside the last. Position tables hold each ratio of sides, each tile and each patch.
    """
    hidden = config.hidden
    attention = both_ways(config, hidden, config.heads, bias=False, output_bias=False)
    network = FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=True)
    local = Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden)
    # A gated layer has two gates more; its norms hold one each.
    gated = Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden + 1)
    tiles, ratios = config.count("max_num_tiles", default=4), len(config.sequence("supported_aspect_ratios") or range(8))
    tokens = patches_of(config) + 1
    tables = (ratios + 1) * tiles * tokens * hidden + tokens * hidden + 1 + 2 * ((ratios + 1) * tiles * hidden + 1)
    padded = mllama_padded_tokens(config)
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=(local,) * config.layers + (gated,) * config.count("num_global_layers", default=8, least=0),
        entry=(patch_matrix(config, hidden, bias=False),),
        exit=projector.linears,
        vectors=hidden + tables + 4 * hidden + projector.vectors,
        entry_rates=((tokens - 1) / padded,),
        exit_rates=(tokens / padded,) * len(projector.linears),
    )


def mllama_padded_tokens(config: Config) -> int:
    """Tokens of a tile in the tower: its patches and the class token, padded to a multiple of 8."""
    return -(-(patches_of(config) + 1) // 8) * 8
