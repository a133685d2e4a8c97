"""Models that make all of their output at once, step by step: diffusion transformers, masked diffusion language models.

Sources: Peebles and Xie, Scalable Diffusion Models with Transformers, arXiv:2212.09748, and models.py of facebookresearch/DiT,
with the keys of diffusers' `DiTTransformer2DModel`; Nie et al., Large Language Diffusion Models, arXiv:2502.09992, and
configuration_llada.py of GSAI-ML/LLaDA-8B-Base; configuration_dream.py and modeling_dream.py of Dream-org/Dream-v0-Base-7B.
"""

from __future__ import annotations

from typing import Any

from genz.specs.channel_mixers import FeedForward, Matrices
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.media.latents import LatentGrid
from genz.specs.readers import dense
from genz.specs.readers.composite import Composite, CompositeReader
from genz.specs.readers.embedders import seen_both_ways
from genz.specs.readers.shared import Reader
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# Width of the sinusoids of a time step, and pixels on a side for each latent of the autoencoder.
FREQUENCIES = 256
LATENT_FACTOR = 8
DIT_NETWORK = 4
# What diffusers names in the place of a `model_type`.
CLASS_NAMES = {"DiTTransformer2DModel": "dit"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "dit": {
        "num_attention_heads": 16,
        "attention_head_dim": 72,
        "in_channels": 4,
        "num_layers": 28,
        "sample_size": 32,
        "patch_size": 2,
        "num_embeds_ada_norm": 1000,
    },
}


def _modulation(hidden: int, parts: int) -> Matrices:
    """Scales, shifts and gates of a layer, from one vector of each sequence (adaptive layer norm)."""
    matrix = Linear("modulation", hidden, parts * hidden, bias=True)
    return Matrices(hidden, (matrix,), per_sequence=True)


def dit(config: Config) -> Built:
    """DiT: tokens of latents, a class and a time step; adaptive layer norms without weights of their own (adaLN-Zero).

    The table of classes holds one more, for guidance. What embeds the time step is a layer of two matrices before the others,
    the modulation of the last norm one behind them.
    """
    kind = config.text("norm_type", default="ada_norm_zero")
    if kind != "ada_norm_zero":
        raise config.error("norm_type", kind, "ada_norm_zero")
    heads, width = config.heads, config.count("attention_head_dim")
    hidden, patch, channels = heads * width, config.count("patch_size"), config.count("in_channels")
    attention = Attention(hidden, heads, heads, width, qkv_bias=True, output_bias=True, rope=False, causal=False)
    network = FeedForward(hidden, DIT_NETWORK * hidden, gated=False, bias=True)
    block = Layer(attention, network, hidden, further=(_modulation(hidden, 6),))
    time = (Linear("time_1", FREQUENCIES, hidden, bias=True), Linear("time_2", hidden, hidden, bias=True))
    first = Layer(None, None, hidden, norms=0, further=(Matrices(hidden, time, per_sequence=True),))
    last = Layer(None, None, hidden, norms=1, further=(_modulation(hidden, 2),))
    outputs = patch**2 * config.count("out_channels", default=2 * channels)
    embedding = Embedding(
        vocabulary=0,
        width=hidden,
        hidden=hidden,
        projections=(Linear("patch", patch**2 * channels, hidden, bias=True),),
        embedding_norm_parameters=(config.count("num_embeds_ada_norm") + 1) * hidden,
        headless=True,
        exits=(Linear("unpatch", hidden, outputs, bias=True, quantised=False),),
        pools=False,
    )
    return (first, *(block,) * config.layers, last), embedding


def _dit(raw: Config, _: Config) -> Composite:
    config = Config({**DEFAULTS["dit"], **raw.raw}, origin=raw.origin)
    patch, side = config.count("patch_size"), config.count("sample_size")
    if side % patch:
        raise config.error("sample_size", side, f"a multiple of patch_size = {patch}")
    grid = LatentGrid(factor=LATENT_FACTOR, patch=patch, side=side)
    return Composite("dit", raw.raw, (), images=grid, max_context=grid.most_tokens, denoises=True)


def both_ways(built: Built) -> Built:
    """A decoder whose tokens see what follows them too."""
    layers, embedding = built
    return tuple(seen_both_ways(layer) for layer in layers), embedding


_LLADA_NAMES = {
    "mlp_hidden_size": "intermediate_size",
    "n_kv_heads": "num_key_value_heads",
    "weight_tying": "tie_word_embeddings",
}
_LLADA_SHAPE = {"block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu"}
_LLADA_OFF = ("include_bias", "include_qkv_bias", "attention_layer_norm", "alibi", "scale_logits")


def llada(config: Config) -> Built:
    """LLaDA: Llama whose tokens see each other, with the keys of OLMo's own configuration."""
    for key, wanted in _LLADA_SHAPE.items():
        if config.text(key, default=wanted) != wanted:
            raise config.error(key, config.raw[key], wanted)
    for key in _LLADA_OFF:
        if config.flag(key, default=False):
            raise config.error(key, True, "false")
    renamed = {_LLADA_NAMES.get(key, key): value for key, value in config.raw.items()}
    vocabulary = config.count("embedding_size", "vocab_size")
    return both_ways(dense.READERS["llama"](Config({**renamed, "vocab_size": vocabulary}, origin=config.origin)))


def dream(config: Config) -> Built:
    """Dream: Qwen 2.5 whose tokens see each other."""
    return both_ways(dense.READERS["qwen2"](config))


def _language(model_type: str) -> CompositeReader:
    def read(raw: Config, _: Config) -> Composite:
        longest = raw.count("max_sequence_length", "max_position_embeddings")
        return Composite(model_type, raw.raw, (), max_context=longest, denoises=True)

    return read


READERS: dict[str, Reader] = {"dit": dit, "llada": llada, "Dream": dream}
COMPOSITES: dict[str, CompositeReader] = {"dit": _dit, "llada": _language("llada"), "Dream": _language("Dream")}
