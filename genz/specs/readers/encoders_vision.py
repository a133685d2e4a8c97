"""Encoders of images by themselves: ViT, and SigLIP's towers alone or as a pair.

An image is the whole input of ViT. SigLIP's vision tower ends with one query that attends to all of its tokens: that is read as
a decoder of one layer, which starts from the query. Of the pair, text is the model and images pass an encoder; the attention of
that one query is left out there (its matrices are not).

Sources: the configuration and modeling files of Hugging Face transformers 5 for each `model_type`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Encoder, Layer
from genz.specs.linear import Linear
from genz.specs.media.grids import FixedGrid
from genz.specs.media.passes import VISION
from genz.specs.model import Source
from genz.specs.readers import towers
from genz.specs.readers.composite import SIGLIP_DEFAULTS, Composite, CompositeReader, part
from genz.specs.readers.encoders import BASE, Built, labels_of, task_of
from genz.specs.readers.shared import Reader
from genz.specs.readers.towers import Projector, patch_matrix, patches_of, side_of
from genz.specs.token_mixers import Attention

VIT_DEFAULTS = SIGLIP_DEFAULTS
SIGLIP_TEXT_DEFAULTS = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": VIT_DEFAULTS,
    "siglip_text_model": SIGLIP_TEXT_DEFAULTS,
    "siglip_vision_model": SIGLIP_DEFAULTS,
}


def _layers(config: Config, *, bias: bool = True) -> tuple[Layer, ...]:
    """Pre-norm layers with layer norms and plain networks with biases, in which every token sees every other one."""
    hidden = config.hidden
    attention = towers.both_ways(config, hidden, config.heads, bias=bias, output_bias=True)
    network = FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=True)
    return (Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden),) * config.layers


def vit(config: Config) -> Built:
    """ViT: patches and a class token, learned positions; a pooler over the class token, or a classifier."""
    hidden, classes = config.hidden, task_of(config) != BASE
    pooled = Linear("pooler", hidden, config.count("pooler_output_size", default=hidden), bias=True, quantised=False)
    classifier = Linear("classifier", hidden, labels_of(config), bias=True, quantised=False)
    embedding = Embedding(
        vocabulary=0,
        width=hidden,
        hidden=hidden,
        positions=patches_of(config) + 1,
        projections=(patch_matrix(config, hidden, bias=True),),
        embedding_norm_parameters=hidden,
        final_norm_parameters=2 * hidden,
        headless=True,
        exits=(classifier if classes else pooled,),
        class_tokens=1,
    )
    return _layers(config, bias=config.flag("qkv_bias", default=True)), embedding


def _vit(raw: Config, _: Config) -> Composite:
    config = Config({**VIT_DEFAULTS, **raw.raw}, origin=raw.origin)
    tokens = patches_of(config) + 1
    grid = FixedGrid(side_of(config, "image_size"), side_of(config, "patch_size"), tokens, class_tokens=1)
    return Composite("vit", raw.raw, (), images=grid, max_context=tokens)


def siglip_text(config: Config) -> Built:
    """SigLIP's text tower: learned positions, and a matrix over the last token."""
    hidden = config.hidden
    projection = Linear("head", hidden, config.count("projection_size", default=hidden), bias=True, quantised=False)
    embedding = Embedding(
        config.vocabulary(),
        hidden,
        hidden,
        positions=config.count("max_position_embeddings"),
        final_norm_parameters=2 * hidden,
        headless=True,
        exits=(projection,),
    )
    return _layers(config), embedding


def siglip_pool(config: Config) -> Built:
    """The end of SigLIP's vision tower: a learned query attends to all tokens, and a network follows."""
    hidden = config.hidden
    attention = Attention(
        hidden=hidden,
        heads=config.heads,
        kv_heads=config.heads,
        head_dim=config.head_dim(),
        qkv_bias=True,
        output_bias=True,
        rope=False,
        causal=False,
        source=hidden,
    )
    network = FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=True)
    layer = Layer(attention, network, hidden, norms=1, norm_parameters=2 * hidden)
    return (layer,), Embedding(0, hidden, hidden, embedding_norm_parameters=hidden, headless=True)


def _tower(config: Config) -> Encoder:
    """The vision tower without its end."""
    return towers.headless_siglip(config, Projector(()))


def _grid(config: Config) -> FixedGrid:
    return FixedGrid(side_of(config, "image_size"), side_of(config, "patch_size"), 0)


def siglip_vision(raw: Config, _: Config) -> Composite:
    """SigLIP's vision tower by itself, from its own file or as a part of the pair's."""
    own = raw.raw.get("vision_config")
    config = Config({**SIGLIP_DEFAULTS, **(own if isinstance(own, dict) else raw.raw)}, origin=raw.origin)
    if not config.flag("vision_use_head", default=True):
        raise config.error("vision_use_head", False, "true: what makes one embedding of an image")
    return Composite(
        "siglip_vision_model", config.raw, (_tower(config),), images=_grid(config), max_context=1, source=Source(VISION)
    )


def siglip_text_model(raw: Config, _: Config) -> Composite:
    """SigLIP's text tower by itself, from its own file or as a part of the pair's."""
    own = raw.raw.get("text_config")
    config = Config({**SIGLIP_TEXT_DEFAULTS, **(own if isinstance(own, dict) else raw.raw)}, origin=raw.origin)
    return Composite("siglip_text_model", config.raw, (), max_context=config.count("max_position_embeddings"))


def siglip(raw: Config, _: Config) -> Composite:
    """SigLIP as a pair: what a request sends is a text, and images that pass the vision tower."""
    vision = part(raw, "vision_config", default=SIGLIP_DEFAULTS)
    text = part(raw, "text_config", default=SIGLIP_TEXT_DEFAULTS)
    hidden, (pool,) = vision.hidden, siglip_pool(vision)[0]
    attention, network = pool.token_mixer, pool.channel_mixer
    query, key, value, output = attention.linears  # type: ignore[union-attr]
    once = 1.0 / patches_of(vision)
    # One norm and the query of the pool, and the scale and the bias of the comparison.
    encoder = replace(
        _tower(vision),
        exit=(key, value, query, output, *network.linears),  # type: ignore[union-attr]
        exit_rates=(1.0, 1.0, once, once, once, once),
        vectors=_tower(vision).vectors + 3 * hidden + 2,
    )
    return Composite(
        "siglip_text_model",
        text.raw,
        (encoder,),
        images=_grid(vision),
        max_context=text.count("max_position_embeddings"),
    )


READERS: dict[str, Reader] = {"vit": vit, "siglip_text_model": siglip_text, "siglip_vision_model": siglip_pool}
COMPOSITES: dict[str, CompositeReader] = {
    "vit": _vit,
    "siglip": siglip,
    "siglip_text_model": siglip_text_model,
    "siglip_vision_model": siglip_vision,
}
