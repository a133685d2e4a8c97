"""Models whose layers hand on a state instead of keeping a cache: Mamba, Mamba-2 and xLSTM.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`; state-spaces/mamba on
GitHub (models/config_mamba.py, modules/mamba2.py) for files without one.
"""

from __future__ import annotations

from typing import Any

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import ceil_div
from genz.specs.readers.patterns import equal, state_type
from genz.specs.readers.shared import Reader, root_mean_square_embedding
from genz.specs.readers.state_mixers import mamba1, mamba2, matrix_lstm
from genz.specs.token_mixers import StateSpace

Built = tuple[tuple[Layer, ...], Embedding]
# "auto" for the rank of the time step is a sixteenth of the width.
TIME_STEP_DIVISOR = 16
STATE_TYPE_KEYS = ("mamba_ssm_cache_dtype", "mamba_ssm_dtype")


def time_step_rank(config: Config, *names: str) -> int:
    """The rank of the time step: a number, or a sixteenth of the hidden width where a file says "auto" or nothing."""
    given = next((config.raw[name] for name in names if config.raw.get(name) is not None), "auto")
    return ceil_div(config.hidden, TIME_STEP_DIVISOR) if given == "auto" else config.count(*names)


def _alone(config: Config, mixer: StateSpace, embedding: Embedding) -> Built:
    """Layers of a mixer alone, each behind one norm."""
    return (Layer(mixer, None, config.hidden, norms=1, norm_parameters=config.hidden),) * config.layers, embedding


def mamba(config: Config) -> Built:
    """Mamba, and Falcon Mamba, whose further norms have no weights."""
    mixer = mamba1(
        config.hidden,
        config.count("intermediate_size", default=config.count("expand", default=2) * config.hidden),
        state=config.count("state_size", default=16),
        rank=time_step_rank(config, "time_step_rank"),
        width=config.count("conv_kernel", default=4),
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("use_conv_bias", default=True),
        **state_type(config, *STATE_TYPE_KEYS),
    )
    return _alone(config, mixer, root_mean_square_embedding(config, tied=True))


def mamba2_reader(config: Config) -> Built:
    """Mamba-2, and Codestral Mamba."""
    heads, head_dim = config.count("num_heads", default=128), config.count("head_dim", default=64)
    equal(config, "num_heads", heads * head_dim, config.count("expand", default=2) * config.hidden, "heads x head_dim")
    mixer = mamba2(
        config.hidden,
        heads=heads,
        head_dim=head_dim,
        state=config.count("state_size", default=128),
        groups=_divisor(config, "n_groups", 8, heads),
        width=config.count("conv_kernel", default=4),
        chunk=config.count("chunk_size", default=256),
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("use_conv_bias", default=True),
        **state_type(config, *STATE_TYPE_KEYS),
    )
    return _alone(config, mixer, root_mean_square_embedding(config, tied=False))


def _divisor(config: Config, name: str, default: int, heads: int) -> int:
    groups = config.count(name, default=default)
    if heads % groups:
        raise config.error(name, groups, f"a divisor of the number of heads, {heads}")
    return groups


def mamba_ssm(config: Config) -> Built:
    """Checkpoints of the authors of Mamba: `d_model`, `n_layer`, and an `ssm_cfg` that says which mixer and how large."""
    given = config.raw.get("ssm_cfg", {})
    if not isinstance(given, dict):
        raise config.error("ssm_cfg", given, "a mapping of the mixer's figures")
    if config.sequence("attn_layer_idx"):
        raise config.error("attn_layer_idx", config.raw["attn_layer_idx"], "no attention layers in this reader")
    if config.count("d_intermediate", default=0, least=0):
        raise config.error("d_intermediate", config.raw["d_intermediate"], "0: no feed-forward networks in this reader")
    mixer = _original_mixer(Config(given, origin=f"{config.origin} (ssm_cfg)"), config.hidden)
    multiple = config.count("pad_vocab_size_multiple", default=8)
    padded = multiple * ceil_div(config.vocabulary(), multiple)
    embedding = Embedding(
        padded,
        config.hidden,
        config.hidden,
        tied=config.flag("tie_embeddings", default=True),
        final_norm_parameters=_norm_parameters(config),
    )
    layer = Layer(mixer, None, config.hidden, norms=1, norm_parameters=_norm_parameters(config))
    return (layer,) * config.layers, embedding


def _norm_parameters(config: Config) -> int:
    return config.hidden * (1 if config.flag("rms_norm", default=True) else 2)


def _original_mixer(figures: Config, hidden: int) -> StateSpace:
    kind = figures.text("layer", default="Mamba1")
    inner = figures.count("expand", default=2) * hidden
    common: dict[str, Any] = {
        "width": figures.count("d_conv", default=4),
        "bias": figures.flag("bias", default=False),
        "conv_bias": figures.flag("conv_bias", default=True),
    }
    if kind == "Mamba1":
        rank = figures.raw.get("dt_rank", "auto")
        steps = ceil_div(hidden, TIME_STEP_DIVISOR) if rank == "auto" else figures.count("dt_rank")
        return mamba1(hidden, inner, state=figures.count("d_state", default=16), rank=steps, **common)
    if kind != "Mamba2":
        raise figures.error("layer", kind, "Mamba1, Mamba2")
    head_dim = figures.count("headdim", default=64)
    if inner % head_dim:
        raise figures.error("headdim", head_dim, f"a divisor of expand x d_model = {inner}")
    return mamba2(
        hidden,
        heads=inner // head_dim,
        head_dim=head_dim,
        state=figures.count("d_state", default=128),
        groups=_divisor(figures, "ngroups", 1, inner // head_dim),
        chunk=figures.count("chunk_size", default=256),
        norm=figures.flag("rmsnorm", default=True),
        **common,
    )


def xlstm(config: Config) -> Built:
    """xLSTM 7B: mLSTM layers with exponential gates, each followed by a gated network."""
    hidden = config.count("hidden_size", "embedding_dim")
    heads = config.count("num_heads", default=8, most=10**5)
    keys = int(_factor(config, "qk_dim_factor", 0.5) * hidden)
    values = int(_factor(config, "v_dim_factor", 1.0) * hidden)
    for name, width in (("qk_dim_factor", keys), ("v_dim_factor", values)):
        if not width or width % heads:
            raise config.error(name, width, f"a width that num_heads = {heads} divides")
    bias = config.flag("use_bias", default=False)
    mixer = matrix_lstm(
        hidden,
        heads=heads,
        key_width=keys,
        value_width=values,
        chunk=config.count("chunk_size", default=64),
        bias=bias,
        **state_type(config, "inference_state_dtype"),
    )
    round_up = config.count("ffn_round_up_to_multiple_of", default=64)
    network = FeedForward(hidden, _multiple(_factor(config, "ffn_proj_factor", 2.667) * hidden, round_up), bias=bias)
    norm = hidden * (1 + bias)
    layer = Layer(mixer, network, hidden, norm_parameters=norm)
    embedding = Embedding(
        config.vocabulary(50304),
        hidden,
        hidden,
        tied=config.flag("tie_word_embeddings", default=False),
        final_norm_parameters=hidden,
    )
    return (layer,) * config.count("num_hidden_layers", "num_blocks", default=32, most=10**4), embedding


def _multiple(width: float, of: int) -> int:
    """The next multiple of `of`, as the configuration class rounds: a fraction of a feature is cut off."""
    return int((width + of - 1) // of) * of


def _factor(config: Config, name: str, default: float) -> float:
    value = config.raw.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        raise config.error(name, value, "a number above 0 and up to 100")
    return float(value)


READERS: dict[str, Reader] = {
    "mamba": mamba,
    "falcon_mamba": mamba,
    "mamba2": mamba2_reader,
    "mamba_ssm": mamba_ssm,
    "xlstm": xlstm,
}
