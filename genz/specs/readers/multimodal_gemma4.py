"""Gemma 4 with its towers: images within a budget of tokens, and sound through a conformer.

Left out are the averages of squares of patches, the relative positions' part in the scores of the audio tower and its
convolution of each channel by itself: together below a hundredth of a tower's FLOPs at the published sizes.

Sources: the configuration, modeling and processing files of Hugging Face transformers 5 for `gemma4`.
"""

from __future__ import annotations

from genz.specs.channel_mixers import FeedForward, Matrices
from genz.specs.config import Config
from genz.specs.layers import Encoder, Layer
from genz.specs.linear import Linear
from genz.specs.media.grids import SoftTokenBudget
from genz.specs.media.passes import AUDIO, VISION
from genz.specs.media.sound import StridedFrames
from genz.specs.readers.composite import Composite, CompositeReader, part, text_part
from genz.specs.readers.gemma4 import DEFAULTS
from genz.specs.readers.towers import both_ways, patch_matrix, side_of
from genz.specs.token_mixers import Attention

VISION_TOWER = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "patch_size": 16,
}
AUDIO_TOWER = {"hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 8}
KERNEL = 3


def gemma4(config: Config, preprocessor: Config) -> Composite:
    """The text model and the towers that the file has; null says that there is none."""
    text_type, text = text_part(config, default_type="gemma4_text", tied=True, defaults=DEFAULTS["gemma4_text"])
    width = Config(text, origin=config.origin).hidden
    encoders: list[Encoder] = []
    images, audio = None, None
    if config.raw.get("vision_config") is not None:
        tower = part(config, "vision_config", default=VISION_TOWER)
        encoders.append(_vision(tower, width))
        pool = tower.count("pooling_kernel_size", default=3)
        budget = preprocessor.count("max_soft_tokens", default=tower.count("default_output_length", default=280))
        images = SoftTokenBudget(side_of(tower, "patch_size"), pool, budget)
    if config.raw.get("audio_config") is not None:
        encoders.append(_audio(part(config, "audio_config", default=AUDIO_TOWER), width))
        audio = StridedFrames()
    return Composite(text_type, text, tuple(encoders), images, audio)


def _vision(config: Config, width: int) -> Encoder:
    """Rotary positions and learned ones for rows and columns; squares of patches are averaged before one matrix."""
    hidden, head_dim = config.hidden, config.head_dim()
    attention = Attention(
        hidden=hidden,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=head_dim,
        query_key_norm=2 * head_dim,
        normalises_queries=True,
        causal=False,
    )
    network = FeedForward(hidden, config.count("intermediate_size"))
    layer = Layer(attention, network, hidden, norms=4, norm_parameters=hidden)
    return Encoder(
        name=VISION,
        hidden=hidden,
        layers=(layer,) * config.layers,
        entry=(patch_matrix(config, hidden, bias=False),),
        exit=(Linear("project", hidden, width),),
        merge=config.count("pooling_kernel_size", default=3) ** 2,
        vectors=2 * config.count("position_embedding_size", default=10_240) * hidden,
    )


def _audio(config: Config, width: int) -> Encoder:
    """A conformer behind two convolutions of stride 2, whose tokens see blocks and what lies just before them."""
    hidden, kernel = config.hidden, config.count("conv_kernel_size", default=5)
    before, after = (
        config.count("attention_context_left", default=13),
        config.count("attention_context_right", default=0, least=0),
    )
    seen = config.count("attention_chunk_size", default=12) + before - 1 + after
    attention = both_ways(config, hidden, config.heads, bias=False, output_bias=False, chunk=seen)
    network = FeedForward(hidden, 4 * hidden, gated=False)
    # The kernel of each channel, the scale of queries, and the matrix that a few relative positions pass.
    vectors = kernel * hidden + attention.head_dim + hidden * hidden
    module = Matrices(hidden, (Linear("pointwise_gate", hidden, 2 * hidden), Linear("pointwise", hidden, hidden)), vectors)
    half = Matrices(hidden, network.linears)
    # Two norms around each half network, attention and the convolution's inside, and one behind all.
    layer = Layer(attention, network, hidden, norms=9, norm_parameters=hidden, further=(half, module))
    first, second = _channels(config)
    rows = first // 4
    output = config.count("output_proj_dims", default=1536)
    return Encoder(
        name=AUDIO,
        hidden=hidden,
        layers=(layer,) * config.layers,
        entry=(
            Linear("convolution_1", KERNEL * KERNEL, first),
            Linear("convolution_2", KERNEL * KERNEL * first, second),
            Linear("subsampled", rows * second, hidden),
        ),
        exit=(Linear("output", hidden, output, bias=True), Linear("project", output, width)),
        vectors=first + second,
        entry_rates=(4.0 * rows, float(rows), 1.0),
    )


def _channels(config: Config) -> tuple[int, int]:
    """Channels behind the two convolutions; the first are as many as the bins of the spectrogram."""
    listed = config.sequence("subsampling_conv_channels", length=2) or [128, 32]
    for channels in listed:
        if type(channels) is not int or channels < 4:
            raise config.error("subsampling_conv_channels", channels, "two whole numbers, each at least 4")
    return listed[0], listed[1]


COMPOSITES: dict[str, CompositeReader] = {"gemma4": gemma4}
