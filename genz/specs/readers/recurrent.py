"""Models whose layers hand on a state instead of keeping a cache: Mamba and its kin.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear, ceil_div
from genz.specs.readers.shared import Reader, root_mean_square_embedding
from genz.specs.token_mixers import StateSpace

Built = tuple[tuple[Layer, ...], Embedding]
# "auto" for the rank of the time step is a sixteenth of the width.
TIME_STEP_DIVISOR = 16


def mamba_mixer(config: Config, *, intermediate: int) -> StateSpace:
    """Mamba-1: a selective scan of each channel, whose step, input and output depend on the token.

    Source: Gu and Dao, Mamba, arXiv:2312.00752.
    """
    hidden, state = config.hidden, config.count("state_size", default=16)
    rank = config.raw.get("time_step_rank", "auto")
    steps = ceil_div(hidden, TIME_STEP_DIVISOR) if rank in (None, "auto") else config.count("time_step_rank")
    width, bias = config.count("conv_kernel", default=4), config.flag("use_bias", default=False)
    kernel = intermediate * (width + (1 if config.flag("use_conv_bias", default=True) else 0))
    return StateSpace(
        hidden=hidden,
        heads=intermediate,
        key_dim=state,
        value_dim=1,
        inputs=(
            Linear("in", hidden, 2 * intermediate, bias=bias, split="column"),
            Linear("state_parameters", intermediate, steps + 2 * state, split="row"),
            Linear("time_step", steps, intermediate, bias=True, split="column"),
        ),
        output=Linear("output", intermediate, hidden, bias=bias, split="row"),
        scan="selective",
        convolved=intermediate,
        convolution_width=width,
        own_vectors=kernel + intermediate * state + intermediate,
        gate_norm=False,
    )


def mamba2_mixer(
    config: Config, *, heads: int, head_dim: int, state: int, groups: int, width: int, chunk: int, bias: bool, conv_bias: bool
) -> StateSpace:
    """Mamba-2: a scalar decay a head, so that a prompt is scanned in chunks by products of matrices.

    Source: Dao and Gu, Transformers are SSMs, ICML 2024.
    """
    hidden, inner = config.hidden, heads * head_dim
    channels = inner + 2 * groups * state
    return StateSpace(
        hidden=hidden,
        heads=heads,
        key_dim=state,
        value_dim=head_dim,
        inputs=(Linear("in", hidden, inner + channels + heads, bias=bias, split="column"),),
        output=Linear("output", inner, hidden, bias=bias, split="row", unit=head_dim),
        scan="chunked",
        groups=groups,
        convolved=channels,
        convolution_width=width,
        scan_chunk=chunk,
        own_vectors=channels * (width + (1 if conv_bias else 0)) + 3 * heads + inner,
    )


def _alone(config: Config, mixer: StateSpace, *, tied: bool) -> Built:
    """Layers of a mixer alone, each behind one norm."""
    layer = Layer(mixer, None, config.hidden, norms=1, norm_parameters=config.hidden)
    return (layer,) * config.layers, root_mean_square_embedding(config, tied=tied)


def mamba(config: Config) -> Built:
    """Mamba, and Falcon Mamba, whose further norms have no weights."""
    intermediate = config.count("intermediate_size", default=config.count("expand", default=2) * config.hidden)
    return _alone(config, mamba_mixer(config, intermediate=intermediate), tied=True)


def mamba2(config: Config) -> Built:
    """Mamba-2, and Codestral Mamba."""
    heads, head_dim = config.count("num_heads", default=128), config.count("head_dim", default=64)
    if heads * head_dim != config.count("expand", default=2) * config.hidden:
        raise config.error("num_heads", heads, f"expand * hidden_size / head_dim of {config.hidden}")
    mixer = mamba2_mixer(
        config,
        heads=heads,
        head_dim=head_dim,
        state=config.count("state_size", default=128),
        groups=config.count("n_groups", default=8),
        width=config.count("conv_kernel", default=4),
        chunk=config.count("chunk_size", default=256),
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("use_conv_bias", default=True),
    )
    return _alone(config, mixer, tied=False)


READERS: dict[str, Reader] = {"mamba": mamba, "falcon_mamba": mamba, "mamba2": mamba2}
