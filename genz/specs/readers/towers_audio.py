"""Audio towers: Whisper's encoder, Qwen3-Omni's, and the conformer of Phi-4 multimodal.

A convolution is a matrix of what its kernel covers; one that works on each channel by itself has parameters alone (its FLOPs
are not those of a matrix).

Sources: the modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

import math

from genz.specs.channel_mixers import FeedForward, Matrices
from genz.specs.config import Config
from genz.specs.layers import Encoder, Layer
from genz.specs.linear import Linear, ceil_div
from genz.specs.media.passes import AUDIO
from genz.specs.media.sound import convolved
from genz.specs.readers.towers import Projector, both_ways

KERNEL = 3


def _layers(config: Config, *, key_bias: bool, chunk: int | None = None) -> tuple[Layer, ...]:
    """Whisper's layers: layer norms, biases, a plain feed-forward network; its keys have no bias."""
    hidden = config.count("d_model")
    heads = config.count("encoder_attention_heads")
    attention = both_ways(config, hidden, heads, bias=True, output_bias=True, chunk=chunk, key_bias=key_bias)
    network = FeedForward(hidden, config.count("encoder_ffn_dim"), gated=False, bias=True)
    layer = Layer(attention, network, hidden, norms=2, norm_parameters=2 * hidden)
    return (layer,) * config.count("encoder_layers", most=10**4)


def whisper(config: Config, projector: Projector) -> Encoder:
    """Whisper's encoder: two convolutions over frames, the second of which halves them, and fixed positions kept as a table."""
    hidden, bins = config.count("d_model"), config.count("num_mel_bins", default=128)
    return Encoder(
        name=AUDIO,
        hidden=hidden,
        layers=_layers(config, key_bias=False),
        entry=(
            Linear("convolution_1", KERNEL * bins, hidden, bias=True),
            Linear("convolution_2", KERNEL * hidden, hidden, bias=True),
        ),
        exit=projector.linears,
        merge=projector.merge,
        vectors=config.count("max_source_positions", default=1500) * hidden + 2 * hidden + projector.vectors,
        entry_rates=(2.0, 1.0),
    )


def qwen3_omni_audio(config: Config) -> Encoder:
    """Qwen3-Omni: three convolutions over chunks of the spectrogram, and attention within windows of several chunks."""
    hidden, channels = config.count("d_model"), config.count("downsample_hidden_size", default=480)
    bins, window = config.count("num_mel_bins", default=128), config.count("n_window", default=50)
    inferred = config.count("n_window_infer", default=800)
    if inferred % (2 * window):
        raise config.error("n_window_infer", inferred, f"a multiple of 2 * n_window = {2 * window}")
    tokens = convolved(2 * window)
    sizes = [(ceil_div(2 * window, 2**i), _halved(bins, i)) for i in (1, 2, 3)]
    rows = [_halved(2 * window, i + 1) * size[1] / tokens for i, size in enumerate(sizes)]
    chunk = tokens * (inferred // (2 * window))
    return Encoder(
        name=AUDIO,
        hidden=hidden,
        layers=_layers(config, key_bias=True, chunk=chunk),
        entry=(
            Linear("convolution_1", KERNEL * KERNEL, channels, bias=True),
            *(Linear(f"convolution_{i}", KERNEL * KERNEL * channels, channels, bias=True) for i in (2, 3)),
            Linear("convolution_out", channels * sizes[2][1], hidden),
        ),
        exit=(
            Linear("project_1", hidden, hidden, bias=True),
            Linear("project_2", hidden, config.count("output_dim"), bias=True),
        ),
        vectors=2 * hidden,
        entry_rates=(*rows, 1.0),
    )


def _halved(length: int, times: int) -> int:
    """A length behind convolutions of stride 2 and a margin of 1."""
    for _ in range(times):
        length = (length + 1) // 2
    return length


def phi4_conformer(config: Config, projector: Projector) -> Encoder:
    """Phi-4 multimodal: a conformer, each layer of two half networks around attention and a convolution module.

    Its tower is subsampled by convolutions of which all but the first work on each channel by itself before they mix them.
    """
    hidden, inner = config.hidden, config.count("intermediate_size")
    attention = both_ways(config, hidden, config.heads, bias=True, output_bias=True)
    kernel, wide = config.count("kernel_size", default=3), config.count("ext_pw_out_channel", default=1024)
    separable = config.count("depthwise_separable_out_channel", default=1024)
    separate = hidden * config.count("depthwise_multiplier", default=1)
    network = FeedForward(hidden, inner, bias=True)
    module = Matrices(
        hidden,
        (
            Linear("pointwise_gate", hidden, 2 * wide, bias=True),
            Linear("pointwise", separate, separable, bias=True),
            Linear("pointwise_out", hidden, wide, bias=True),
        ),
        # The norm, the gate's two biases, and the kernel of each channel.
        2 * hidden + 2 * wide + separate * (kernel + 1),
    )
    half = Matrices(hidden, network.linears, 2 * hidden)
    layer = Layer(attention, network, hidden, norms=3, norm_parameters=2 * hidden, further=(half, module))
    reduction, bins = config.count("time_reduction", default=8), config.count("input_size", default=80)
    channels, halvings = config.count("nemo_conv_channels", default=1024), int(math.log2(reduction))
    rates = [2 ** (halvings - i) * _halved(bins, i) for i in range(1, halvings + 1)]
    bias = config.count("bias_max_distance", default=1000) * (1 if config.flag("bias_symmetric", default=False) else 2)
    mixing = tuple(Linear(f"convolution_{i}", channels, channels, bias=True) for i in range(2, halvings + 1))
    return Encoder(
        name=AUDIO,
        hidden=hidden,
        layers=(layer,) * config.count("num_blocks", most=10**4),
        entry=(
            Linear("convolution_1", KERNEL * KERNEL, channels, bias=True),
            *mixing,
            Linear("subsampled", channels * _halved(bins, halvings), hidden, bias=True),
        ),
        exit=projector.linears,
        vectors=(halvings - 1) * channels * (KERNEL * KERNEL + 1) + bias * config.heads + projector.vectors,
        entry_rates=(*map(float, rates), 1.0),
    )
