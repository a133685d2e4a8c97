"""Multimodal models of several encoders beside or behind each other: Phi-4 multimodal, BLIP-2, Cobra.

Sources: the configuration, modeling and processing files of Hugging Face transformers 5; for Cobra, arXiv:2403.14520, and for
its projector Prismatic VLMs, arXiv:2402.07865. Cobra's own files name backbones instead of keys: GenZ takes `vision_config` and
`further_vision_config` with the keys of each tower as transformers writes them, and `text_config`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Encoder, Layer
from genz.specs.linear import Linear
from genz.specs.media.grids import FixedGrid
from genz.specs.media.passes import VISION
from genz.specs.media.sound import SubsampledFrames
from genz.specs.media.tiles import DynamicCrops
from genz.specs.readers import towers, towers_audio
from genz.specs.readers.composite import SIGLIP_DEFAULTS, Composite, CompositeReader, kind_of, part, text_part
from genz.specs.readers.towers import Projector, patches_of, side_of
from genz.specs.token_mixers import Attention

# Keys of a flat configuration that do not belong to its text part.
NOT_TEXT = ("vision_config", "audio_config", "architectures")
FURTHER = "vision_2"
WIDER = 4  # the projector's first matrix, over what it reads
DINO_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
    "mlp_ratio": 4,
}


def dinov2(config: Config) -> Encoder:
    """DINOv2: a class token and registers, learned positions, a scale behind each half of a layer."""
    hidden, registers = config.hidden, config.count("num_register_tokens", default=4, least=0)
    attention = towers.both_ways(config, hidden, config.heads, bias=config.flag("qkv_bias", default=True), output_bias=True)
    network = FeedForward(hidden, hidden * config.count("mlp_ratio", default=4), gated=False, bias=True)
    # Two norms with weight and bias, and two scales.
    layer = Layer(attention, network, hidden, norms=2, norm_parameters=3 * hidden)
    return Encoder(
        name=FURTHER,
        hidden=hidden,
        layers=(layer,) * config.layers,
        entry=(towers.patch_matrix(config, hidden, bias=True),),
        vectors=hidden + registers * hidden + (patches_of(config) + 1) * hidden + hidden + 2 * hidden,
        class_tokens=1 + registers,
    )


def cobra(config: Config, preprocessor: Config) -> Composite:  # noqa: ARG001 (its images have one size)
    """Cobra: SigLIP and DINOv2 side by side, three matrices over both, and Mamba."""
    text_type, text = text_part(config, default_type="mamba", tied=True)
    siglip = part(config, "vision_config", default=SIGLIP_DEFAULTS)
    further = part(config, "further_vision_config", default=DINO_DEFAULTS)
    kind_of(siglip, {"siglip_vision_model": None}, "siglip_vision_model")
    kind_of(further, {"dinov2_with_registers": None}, "dinov2_with_registers")
    if patches_of(siglip) != patches_of(further):
        raise further.error(
            "image_size", side_of(further, "image_size"), f"a size of {patches_of(siglip)} patches, as the other's"
        )
    beside = dinov2(further)
    width, hidden = siglip.hidden + beside.hidden, Config(text, origin=config.origin).hidden
    projector = Projector(
        (
            Linear("project_1", width, WIDER * width, bias=True),
            Linear("project_2", WIDER * width, hidden, bias=True),
            Linear("project_3", hidden, hidden, bias=True),
        )
    )
    images = FixedGrid(
        side_of(siglip, "image_size"),
        side_of(siglip, "patch_size"),
        patches_of(siglip),
        beside=((FURTHER, beside.class_tokens),),
    )
    return Composite(text_type, text, (replace(towers.siglip(siglip, projector), name=VISION), beside), images)


PHI4_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
}
PHI4_AUDIO = {"hidden_size": 1024, "intermediate_size": 1536, "num_blocks": 24, "num_attention_heads": 16}


def phi4_multimodal(config: Config, preprocessor: Config) -> Composite:
    """Phi-4 multimodal: SigLIP over crops, a conformer, two projectors of sound, and low-rank adapters in the text part."""
    vision = part(config, "vision_config", default=PHI4_VISION)
    audio = part(config, "audio_config", default=PHI4_AUDIO)
    kind = config.text("model_type", default="phi4_multimodal")
    hidden, width = config.count("hidden_size", default=3072), vision.hidden

    def projector(inputs: int, vectors: int, merge: int = 1) -> Projector:
        matrices = (Linear("project_1", inputs, hidden, bias=True), Linear("project_2", hidden, hidden, bias=True))
        return Projector(matrices, merge, vectors)

    # The projector of speech that goes with images is held beside the one of speech alone.
    heard = audio.hidden * audio.count("downsample_rate", default=1)
    held = heard * hidden + hidden * hidden + 2 * hidden
    return Composite(
        kind,
        {key: value for key, value in config.raw.items() if key not in NOT_TEXT},
        (
            towers.siglip(vision, projector(width, 2 * width, merge=4)),
            towers_audio.phi4_conformer(audio, projector(heard, held)),
        ),
        DynamicCrops(
            side_of(vision, "image_size"), side_of(vision, "patch_size"), preprocessor.count("dynamic_hd", default=36)
        ),
        SubsampledFrames(audio.count("time_reduction", default=8)),
    )


BLIP2_TOWER = {
    "hidden_size": 1408,
    "intermediate_size": 6144,
    "num_hidden_layers": 39,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
}
BLIP2_RESAMPLER = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "cross_attention_frequency": 2,
}
RESAMPLER = "resampler"


def blip2(config: Config, preprocessor: Config) -> Composite:  # noqa: ARG001
    """BLIP-2: a vision tower, and a resampler (Q-Former) whose queries attend to its output."""
    text_type, text = text_part(config, default_type="opt", tied=True)
    tower = part(config, "vision_config", default=BLIP2_TOWER)
    hidden = tower.hidden
    bias = tower.flag("qkv_bias", default=True)
    attention = towers.both_ways(tower, hidden, tower.heads, bias=bias, output_bias=True)
    network = FeedForward(hidden, tower.count("intermediate_size"), gated=False, bias=True)
    layer = Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden)
    patches = patches_of(tower)
    vision = Encoder(
        name=VISION,
        hidden=hidden,
        layers=(layer,) * tower.layers,
        entry=(towers.patch_matrix(tower, hidden, bias=True),),
        vectors=hidden + (patches + 1) * hidden + 2 * hidden,
        class_tokens=1,
    )
    queries = config.count("num_query_tokens", default=32)
    width = Config(text, origin=config.origin).hidden
    resampler = _resampler(part(config, "qformer_config", default=BLIP2_RESAMPLER), hidden, queries, width)
    images = FixedGrid(side_of(tower, "image_size"), side_of(tower, "patch_size"), queries, class_tokens=1, resampler=RESAMPLER)
    return Composite(text_type, text, (vision, resampler), images)


def _resampler(config: Config, source: int, queries: int, outputs: int) -> Encoder:
    """Learned queries that attend to each other and, in every so many layers, to a tower's output."""
    hidden, heads, every = config.hidden, config.heads, config.count("cross_attention_frequency", default=2)
    own = towers.both_ways(config, hidden, heads, bias=True, output_bias=True)
    cross = Attention(
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=towers.head_width(config, hidden, heads),
        qkv_bias=True,
        output_bias=True,
        rope=False,
        causal=False,
        source=source,
    )
    network = FeedForward(hidden, config.count("intermediate_size"), gated=False, bias=True)
    plain = Layer(own, network, hidden, norms=2, norm_parameters=2 * hidden)
    crossing = Layer(own, network, hidden, norms=3, norm_parameters=2 * hidden, beside=(cross,))
    return Encoder(
        name=RESAMPLER,
        hidden=hidden,
        layers=tuple(plain if i % every else crossing for i in range(config.layers)),
        exit=(Linear("project", hidden, outputs, bias=True),),
        vectors=2 * hidden + queries * hidden,
    )


COMPOSITES: dict[str, CompositeReader] = {
    "phi4_multimodal": phi4_multimodal,
    "phi4mm": phi4_multimodal,
    "blip-2": blip2,
    "cobra": cobra,
}
