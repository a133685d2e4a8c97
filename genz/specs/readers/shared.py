"""What the readers of several architectures share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genz.specs.channel_mixers import FeedForward
from genz.specs.config import Config
from genz.specs.layers import Embedding, Layer
from genz.specs.token_mixers import Attention

Reader = Callable[[Config], tuple[tuple[Layer, ...], Embedding]]
# What transformers takes where a file leaves a key out, if it is not the readers' own default. An explicit null stays null.
# Source: the configuration classes of Hugging Face transformers 5.
DEFAULTS: dict[str, dict[str, Any]] = {
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {"num_key_value_heads": 8},
    "qwen2": {"num_key_value_heads": 32, "sliding_window": 4096},
    "qwen2_moe": {"num_key_value_heads": 16, "sliding_window": 4096},
    "qwen3": {"num_key_value_heads": 32, "sliding_window": 4096},
    "qwen3_moe": {"num_key_value_heads": 4, "sliding_window": 4096},
    "gemma2": {"num_key_value_heads": 4},
    "gemma3_text": {"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4},
    "deepseek_v2": {"q_lora_rank": 1536, "n_shared_experts": 2},
    "deepseek_v3": {"q_lora_rank": 1536, "n_shared_experts": 1, "first_k_dense_replace": 3},
    "gpt_oss": {"num_key_value_heads": 8},
    "starcoder2": {"num_key_value_heads": 2},
    "stablelm": {"num_key_value_heads": 32},
    "gemma": {"num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192},
    "vaultgemma": {"num_key_value_heads": 4, "head_dim": 256},
    "helium": {"num_key_value_heads": 20, "head_dim": 128},
    "gemma3n_text": {
        "num_key_value_heads": 2,
        "num_attention_heads": 8,
        "vocab_size": 262400,
        "max_position_embeddings": 32768,
    },
    "glm": {"num_key_value_heads": 2, "head_dim": 128},
    "glm4": {"num_key_value_heads": 2, "head_dim": 128},
    "seed_oss": {"num_key_value_heads": 8, "head_dim": 128},
    "ernie4_5": {"num_key_value_heads": 2, "head_dim": 128},
    "internlm3": {"num_key_value_heads": 2, "head_dim": 128},
    "smollm3": {"num_key_value_heads": 4},
    "exaone4": {"num_key_value_heads": 32, "sliding_window": 4096},
    "ministral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "ministral3": {"num_key_value_heads": 8, "head_dim": 128},
    "cohere2": {"sliding_window": 4096},
    "gpt_neo": {"max_position_embeddings": 2048},
    "phi": {"max_position_embeddings": 2048},
    "mpt": {"max_position_embeddings": 2048},
    "phimoe": {"num_key_value_heads": 8},
    "olmoe": {"max_position_embeddings": 4096},
    "dbrx": {"max_seq_len": 2048},
    "minimax_m2": {"num_key_value_heads": 8, "head_dim": 128},
    "glm4_moe": {"num_key_value_heads": 8},
    "solar_open": {"num_key_value_heads": 8, "head_dim": 128},
    "dots1": {"num_key_value_heads": 32, "sliding_window": 4096},
    "exaone_moe": {"num_key_value_heads": 32, "sliding_window": 4096},
    "afmoe": {"head_dim": 128, "num_dense_layers": 1, "sliding_window": 1024},
    "ernie4_5_moe": {"num_key_value_heads": 4},
    "glm4_moe_lite": {"q_lora_rank": 768},
    "kimi_k2": {"q_lora_rank": 1536, "n_shared_experts": 1, "first_k_dense_replace": 3},
    "deepseek_v32": {"index_n_heads": 64},
    "glm_moe_dsa": {"index_n_heads": 32},
    "grok-1": {"num_key_value_heads": 8, "max_position_embeddings": 8192},
    "jamba": {"num_key_value_heads": 8, "max_position_embeddings": 262144},
    "bamba": {"num_key_value_heads": 8, "vocab_size": 128000},
    "falcon_h1": {"num_key_value_heads": 8, "mamba_d_ssm": 1024, "vocab_size": 128000},
    "nemotron_h": {"num_key_value_heads": 8},
    "qwen3_next": {"num_key_value_heads": 2},
    "qwen3_5_text": {
        "vocab_size": 248320,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
    },
    "qwen3_5_moe_text": {
        "vocab_size": 248320,
        "hidden_size": 2048,
        "num_hidden_layers": 40,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
    },
    "minimax": {"num_key_value_heads": 8},
    "lfm2": {"num_key_value_heads": 8, "max_position_embeddings": 128000},
    "lfm2_moe": {"num_key_value_heads": 8, "max_position_embeddings": 128000},
    "llama4_text": {"num_key_value_heads": 8, "attention_chunk_size": 8192, "intermediate_size_mlp": 16384},
}
NON_GATED_ACTIVATIONS = {"relu", "gelu", "gelu_new", "relu2"}


def attention(
    config: Config,
    *,
    window: int | None = None,
    chunk: int | None = None,
    qkv_bias: bool = False,
    output_bias: bool = False,
    head_dim: int | None = None,
    query_key_norm: bool = False,
    sinks: bool = False,
    rope: bool = True,
) -> Attention:
    """Attention from the usual keys, with norms over each head's queries and keys where asked."""
    width = config.head_dim(default=head_dim)
    return Attention(
        hidden=config.hidden,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=width,
        window=window,
        chunk=chunk,
        qkv_bias=qkv_bias,
        output_bias=output_bias,
        query_key_norm=2 * width if query_key_norm else 0,
        normalises_queries=query_key_norm,
        sinks=sinks,
        rope=rope,
    )


def feed_forward(config: Config, *names: str, gated: bool = True, bias: bool = False) -> FeedForward:
    """A dense feed-forward network whose inner width stands under one of the names."""
    return FeedForward(config.hidden, config.count(*(names or ("intermediate_size",))), gated=gated, bias=bias)


def root_mean_square_layer(config: Config, token_mixer: object, channel_mixer: object, *, norms: int = 2) -> Layer:
    """A pre-norm layer with RMS norms, which hold one weight a feature."""
    return Layer(token_mixer, channel_mixer, config.hidden, norms=norms, norm_parameters=config.hidden)  # type: ignore[arg-type]


def root_mean_square_embedding(config: Config, *, tied: bool, vocabulary: int | None = None) -> Embedding:
    """A token table, a final RMS norm and a head without bias; `tied` is the default of the architecture."""
    return Embedding(
        vocabulary=config.vocabulary(vocabulary),
        width=config.hidden,
        hidden=config.hidden,
        tied=config.flag("tie_word_embeddings", default=tied),
        final_norm_parameters=config.hidden,
    )


def windows_by_layer(config: Config, default: Callable[[int], bool], *, window: int | None) -> list[int | None]:
    """The sliding window of each layer: from `layer_types` if it is there, else by the rule `default(layer)`.

    Raises `SpecError` for a layer type that is not known, or a sliding layer without a window.
    """
    kinds = config.sequence("layer_types", length=config.layers)
    if kinds is None:
        kinds = ["sliding_attention" if default(i) else "full_attention" for i in range(config.layers)]
    for kind in kinds:
        if kind not in ("sliding_attention", "full_attention"):
            raise config.error("layer_types", kind, "sliding_attention, full_attention")
    if "sliding_attention" in kinds and not window:
        raise config.error("sliding_window", window, "a window, as layer_types asks for sliding attention")
    return [window if kind == "sliding_attention" else None for kind in kinds]
