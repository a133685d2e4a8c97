"""RWKV, whose layers mix each token with the one before it and hand on a state: versions 4 to 7.

Sources: version 4: Hugging Face transformers (models/rwkv). Versions 5 (Eagle) and 6 (Finch): modeling files beside the weights
of RWKV/rwkv-5-world and RWKV/rwkv-6-world on the Hugging Face hub, and Peng et al., arXiv:2404.05892. Version 7 (Goose):
fla-org/flash-linear-attention (fla/layers/rwkv7.py), and Peng et al., arXiv:2503.14456.
"""

from __future__ import annotations

import math
from dataclasses import replace

from genz.specs.channel_mixers import FeedForward, Matrices
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers.shared import Reader
from genz.specs.token_mixers import Scan, StateSpace

Built = tuple[tuple[Layer, ...], Embedding]
HEAD_DIM = 64
# Versions 5 and 6 widen their networks 3.5 times, down to a multiple of 32.
NETWORK_RATIO, NETWORK_MULTIPLE = 3.5, 32
# Ranks that version 6 takes for its mix of tokens and for its decay, at this width and below.
WIDE, WIDE_RANKS, RANKS = 4096, (64, 128), (32, 64)
RANK_MULTIPLE = 32
# Chunks of the kernels that scan a prompt: of versions 5 and 6, and of version 7.
CHUNK, DELTA_CHUNK = 64, 16


def rwkv4(config: Config) -> Built:
    """RWKV-4: a weighted mean of all tokens before, channel by channel: its state is a sum, a weight and a maximum."""
    hidden = config.hidden
    inner = config.count("attention_hidden_size", default=hidden)
    mixer = StateSpace(
        hidden=hidden,
        heads=inner,
        key_dim=1,
        value_dim=1,
        inputs=tuple(Linear(name, hidden, inner, split="column") for name in ("key", "value", "receptance")),
        output=Linear("output", inner, hidden, split="row"),
        scan="selective",
        groups=inner,
        own_vectors=2 * inner + 3 * hidden,
        gate_norm=False,
        state_extras=2,
        carried=2 * hidden,
        names_state_type=True,
    )
    network = FeedForward(hidden, config.count("intermediate_size", default=4 * hidden), gated=False)
    return (_layer(mixer, network, mixes=2),) * config.layers, _embedding(config)


def _layer(mixer: StateSpace, network: FeedForward, *, mixes: int) -> Layer:
    """Layer norms before a mixer and a network whose output a receptance gates; `mixes` weigh its token against the last."""
    hidden = mixer.hidden
    receptance = Matrices(hidden, (Linear("network_receptance", hidden, hidden),), vectors=mixes * hidden)
    return Layer(mixer, network, hidden, norms=2, norm_parameters=2 * hidden, further=(receptance,))


def _embedding(config: Config, *, vocabulary: int = 50277) -> Embedding:
    """A token table with a layer norm behind it, a final layer norm, and a head without bias."""
    return Embedding(
        config.vocabulary(vocabulary),
        config.hidden,
        config.hidden,
        tied=config.flag("tie_word_embeddings", default=False),
        final_norm_parameters=2 * config.hidden,
        embedding_norm_parameters=2 * config.hidden,
    )


def _matrix_valued(
    hidden: int,
    inner: int,
    *,
    head_dim: int,
    inputs: tuple[Linear, ...],
    vectors: int,
    scan: Scan = "chunked",
    chunk: int = CHUNK,
) -> StateSpace:
    """Versions 5 to 7: each head keeps a matrix in fp32, and its output is normalised and gated."""
    return StateSpace(
        hidden=hidden,
        heads=inner // head_dim,
        key_dim=head_dim,
        value_dim=head_dim,
        inputs=inputs,
        output=Linear("output", inner, hidden, split="row", unit=head_dim),
        scan=scan,
        groups=inner // head_dim,
        scan_chunk=chunk,
        own_vectors=vectors,
        carried=2 * hidden,
        names_state_type=True,
    )


def _head_dim(config: Config, inner: int) -> int:
    head_dim = config.count("head_size", "head_dim", default=HEAD_DIM)
    if inner % head_dim:
        raise config.error("head_size", head_dim, f"a divisor of the inner width, {inner}")
    return head_dim


def _projections(names: tuple[str, ...], hidden: int, inner: int, head_dim: int) -> tuple[Linear, ...]:
    return tuple(Linear(name, hidden, inner, split="column", unit=head_dim) for name in names)


def _network(config: Config) -> FeedForward:
    widened = int(config.hidden * NETWORK_RATIO // NETWORK_MULTIPLE * NETWORK_MULTIPLE)
    return FeedForward(config.hidden, config.count("intermediate_size", default=widened), gated=False)


def rwkv5(config: Config) -> Built:
    """RWKV-5, Eagle: heads with a matrix for a state and a fixed decay of each of its rows."""
    hidden = config.hidden
    inner = config.count("attention_hidden_size", default=hidden)
    head_dim = _head_dim(config, inner)
    inputs = _projections(("receptance", "key", "value", "gate"), hidden, inner, head_dim)
    # Four mixes of tokens; decay, bonus of the current token, and the norm of heads.
    mixer = _matrix_valued(hidden, inner, head_dim=head_dim, inputs=inputs, vectors=4 * hidden + 4 * inner)
    return (_layer(mixer, _network(config), mixes=2),) * config.layers, _embedding(config, vocabulary=65536)


def rwkv6(config: Config) -> Built:
    """RWKV-6, Finch: mixes of tokens and decays that depend on the token, each through a low rank."""
    hidden = config.hidden
    inner = config.count("attention_hidden_size", default=hidden)
    head_dim = _head_dim(config, inner)
    mixes, decays = WIDE_RANKS if hidden == WIDE else RANKS
    mixes = config.count("proj_low_rank_dim", default=mixes)
    decays = config.count("gate_low_rank_dim", default=decays)
    inputs = (
        Linear("mix_down", hidden, 5 * mixes),
        Linear("mix_up", 5 * mixes, 5 * hidden, blocks=5),
        Linear("decay_down", hidden, decays),
        Linear("decay_up", decays, inner, split="column", unit=head_dim),
        *_projections(("receptance", "key", "value", "gate"), hidden, inner, head_dim),
    )
    # Six mixes of tokens; decay, bonus of the current token, and the norm of heads.
    mixer = _matrix_valued(hidden, inner, head_dim=head_dim, inputs=inputs, vectors=6 * hidden + 4 * inner)
    for name in ("expand_k", "expand_v"):
        if config.raw.get(name, 1) != 1:
            raise config.error(name, config.raw[name], "1: keys and values as wide as the hidden states")
    return (_layer(mixer, _network(config), mixes=2),) * config.layers, _embedding(config, vocabulary=65536)


def rwkv7(config: Config) -> Built:
    """RWKV-7, Goose: a generalised delta rule; values of later layers are mixed with those of the first."""
    if config.raw.get("attn") is not None:
        raise config.error("attn", config.raw["attn"], "null: no attention layers in this reader")
    hidden = config.hidden
    head_dim = _head_dim(config, hidden)
    scale = head_dim / HEAD_DIM
    decay = config.count("decay_low_rank_dim", default=_rank(2.5, hidden, scale))
    rates = config.count("a_low_rank_dim", default=_rank(2.5, hidden, scale))
    values = config.count("v_low_rank_dim", default=_rank(1.7, hidden, scale))
    gates = config.count("gate_low_rank_dim", default=_rank(5, hidden, 1))

    def low_rank(name: str, rank: int, *, bias: bool = True) -> tuple[Linear, Linear]:
        up = Linear(f"{name}_up", rank, hidden, bias=bias, split="column", unit=head_dim)
        return Linear(f"{name}_down", hidden, rank), up

    inputs = (
        *_projections(("receptance", "key", "value"), hidden, hidden, head_dim),
        *low_rank("decay", decay),
        *low_rank("rate", rates),
        *low_rank("gate", gates, bias=False),
    )
    # Six mixes of tokens; two weights of the keys, one of the receptances, the norm of heads, and the network's mix.
    first = _matrix_valued(
        hidden, hidden, head_dim=head_dim, inputs=inputs, vectors=12 * hidden, scan="delta", chunk=DELTA_CHUNK
    )
    later = replace(first, inputs=(*inputs, *low_rank("value_mix", values)))
    network = FeedForward(hidden, config.count("intermediate_size", default=4 * hidden), gated=False)
    biased = config.flag("norm_bias", default=True)
    layers = [Layer(mixer, network, hidden, norms=2, norm_parameters=(1 + biased) * hidden) for mixer in (first, later)]
    embedding = replace(
        _embedding(config, vocabulary=65536),
        final_norm_parameters=(1 + biased) * hidden,
        embedding_norm_parameters=(1 + biased) * hidden if config.flag("norm_first", default=True) else 0,
    )
    return (layers[0], *[layers[1]] * (config.layers - 1)), embedding


def _rank(factor: float, hidden: int, scale: float) -> int:
    """A low rank that grows with the root of the width, in multiples of 32."""
    return RANK_MULTIPLE * max(1, round(factor * math.sqrt(hidden) * scale / RANK_MULTIPLE))


READERS: dict[str, Reader] = {"rwkv": rwkv4, "rwkv5": rwkv5, "rwkv6": rwkv6, "rwkv7": rwkv7}
