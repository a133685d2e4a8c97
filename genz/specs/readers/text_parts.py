"""Text parts that only multimodal models have: Qwen-VL's, Llama 3.2 Vision's, Phi-4 multimodal's.

Sources: the configuration and modeling files of Hugging Face transformers for each `model_type`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from genz.specs.channel_mixers import Matrices
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.linear import Linear
from genz.specs.readers import dense, experts
from genz.specs.readers.shared import Reader, attention, feed_forward, root_mean_square_embedding, root_mean_square_layer
from genz.specs.token_mixers import Attention

Built = tuple[tuple[Layer, ...], Embedding]
# Rows of the token table that stand for no token of the head: images and the like.
EXTRA_ROWS = 8


def _with(reader: Reader, defaults: dict[str, Any]) -> Reader:
    """A reader of another type, with other defaults."""
    return lambda config: reader(Config({**defaults, **config.raw}, origin=config.origin))


QWEN2_VL = {
    "vocab_size": 152064,
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
    "max_window_layers": 80,
}
QWEN3_VL = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "head_dim": 128,
    "max_position_embeddings": 128000,
}
QWEN3_VL_MOE = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "moe_intermediate_size": 1408,
    "num_experts_per_tok": 4,
    "num_experts": 60,
    "max_position_embeddings": 128000,
}
QWEN3_OMNI = {
    "vocab_size": 3584,
    "hidden_size": 2048,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 768,
    "num_experts_per_tok": 8,
    "num_experts": 128,
    "max_position_embeddings": 32768,
}
MLLAMA = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
}
PHI4_MULTIMODAL = {
    "vocab_size": 200064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
}
DEFAULT_CONTEXTS = {
    "qwen2_vl_text": 32768,
    "qwen2_5_vl_text": 32768,
    "qwen3_vl_text": 128000,
    "qwen3_vl_moe_text": 128000,
    "qwen3_omni_moe_text": 32768,
    "mllama_text_model": 131072,
    "phi4_multimodal": 131072,
    "phi4mm": 131072,
}


def mllama_text_model(config: Config) -> Built:
    """Llama 3.2 Vision: some layers attend to the image instead of the text, behind gates that start closed."""
    crosses = config.indices("cross_attention_layers", below=config.layers)
    width = config.head_dim()
    # Norms on queries and keys, and the two gates of a layer.
    cross = Attention(
        hidden=config.hidden,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=width,
        query_key_norm=2 * width + 2,
        normalises_queries=True,
        rope=False,
        source=config.hidden,
    )
    own = attention(config)
    network = feed_forward(config)
    layers = tuple(root_mean_square_layer(config, cross if i in crosses else own, network) for i in range(config.layers))
    embedding = root_mean_square_embedding(config, tied=False)
    return layers, replace(embedding, embedding_norm_parameters=EXTRA_ROWS * config.hidden)


def phi4_multimodal(config: Config) -> Built:
    """Phi-4 multimodal: Phi-4 mini, with low-rank adapters for images and for speech where the file names them.

    The adapter for images runs, as requests with images and speech want it; the one for speech is held beside it.
    """
    layers, embedding = dense.READERS["phi3"](config)
    ranks = {kind: _rank(config, f"{kind}_lora") for kind in ("vision", "speech")}
    if not any(ranks.values()):
        return layers, embedding
    running = max((kind for kind in ranks if ranks[kind]), key=("speech", "vision").index)
    held = sum(
        sum(linear.parameters for linear in _adapter(config, rank)) for kind, rank in ranks.items() if rank and kind != running
    )
    adapter = Matrices(config.hidden, _adapter(config, ranks[running]), held)
    return tuple(replace(layer, further=(*layer.further, adapter)) for layer in layers), embedding


def _rank(config: Config, key: str) -> int:
    value = config.raw.get(key)
    if value is None:
        return 0
    if not isinstance(value, dict):
        raise config.error(key, value, "a mapping with r, the rank of the adapter")
    return Config(value, origin=f"{config.origin}: {key}").count("r")


def _adapter(config: Config, rank: int) -> tuple[Linear, ...]:
    """Two low-rank matrices for each of the fused query-key-value, output, gate-up and down matrices of a layer."""
    hidden, inner, width = config.hidden, config.count("intermediate_size"), config.head_dim()
    query, key_value = config.heads * width, 2 * config.kv_heads * width
    shapes = (
        ("qkv", hidden, query + key_value),
        ("output", query, hidden),
        ("gate_up", hidden, 2 * inner),
        ("down", inner, hidden),
    )
    return tuple(
        linear
        for name, inputs, outputs in shapes
        for linear in (
            Linear(f"{name}_adapter_down", inputs, rank, quantised=False),
            Linear(f"{name}_adapter_up", rank, outputs, quantised=False),
        )
    )


READERS: dict[str, Reader] = {
    "qwen2_vl_text": _with(dense.qwen2, QWEN2_VL),
    "qwen2_5_vl_text": _with(dense.qwen2, QWEN2_VL),
    "qwen3_vl_text": _with(dense.qwen3, QWEN3_VL),
    "qwen3_vl_moe_text": _with(experts.qwen3_moe, QWEN3_VL_MOE),
    "qwen3_omni_moe_text": _with(experts.qwen3_moe, QWEN3_OMNI),
    "mllama_text_model": _with(mllama_text_model, MLLAMA),
    "phi4_multimodal": _with(phi4_multimodal, PHI4_MULTIMODAL),
    "phi4mm": _with(phi4_multimodal, PHI4_MULTIMODAL),
}
