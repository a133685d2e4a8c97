"""What the readers of multimodal models share: the parts of a composite `config.json` and what they leave to defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from genz.errors import SpecError, nearest, shown
from genz.specs.config import Config
from genz.specs.layers import Encoder
from genz.specs.media.passes import AudioRule, ImageRule
from genz.specs.model import Source


@dataclass(frozen=True)
class Composite:
    """A multimodal model: its text part, to be read as `text_type`, its encoders, and what its processors make of media.

    Other models that are more than layers and an embedding are read so too: an encoder-decoder has a `source`.
    """

    text_type: str
    text: dict[str, Any]
    encoders: tuple[Encoder, ...]
    images: ImageRule | None = None
    audio: AudioRule | None = None
    source: Source | None = None
    denoises: bool = False
    max_context: int | None = None


# A reader takes the whole configuration and the keys of the `preprocessor_config.json` beside it, if there is one.
CompositeReader = Callable[[Config, Config], Composite]
LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
# What the configuration classes of transformers 5 take for a text part that leaves a key out.
TEXT_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "mistral": LLAMA | {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072},
    "qwen2": LLAMA | {"vocab_size": 151936, "intermediate_size": 22016, "max_position_embeddings": 32768},
    "qwen3": LLAMA | {"vocab_size": 151936, "intermediate_size": 22016, "max_position_embeddings": 32768, "head_dim": 128},
    "opt": {
        "vocab_size": 50272,
        "hidden_size": 768,
        "ffn_dim": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 2048,
    },
    "gemma": {
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "max_position_embeddings": 8192,
    },
    "gemma2": {
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "sliding_window": 4096,
    },
    "gemma3_text": {
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "llama4_text": {
        "vocab_size": 202048,
        "hidden_size": 5120,
        "intermediate_size": 8192,
        "intermediate_size_mlp": 16384,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_local_experts": 16,
        "max_position_embeddings": 131072,
    },
}
CLIP_DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
}
LARGE_CLIP = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
SIGLIP_DEFAULTS = CLIP_DEFAULTS | {"patch_size": 16}
INHERITED = ("torch_dtype", "dtype", "quantization_config")


def part(config: Config, key: str, *, default: dict[str, Any] | None = None) -> Config:
    """A part of a configuration under its key. Raises `SpecError` where it is missing or no mapping."""
    value = config.raw.get(key)
    if value is None:
        if default is None:
            close = nearest(key, config.raw)
            raise SpecError(
                f"{config.origin}: the key {key!r} is missing",
                field=key,
                allowed="the configuration of a part of the model",
                hint=f"the nearest key in it is {close[0]!r}" if close else None,
            )
        value = {}
    if not isinstance(value, dict):
        raise SpecError(
            f"{config.origin}: {key} = {shown(value)} is not allowed", field=key, value=value, allowed="a mapping of keys"
        )
    return Config({**(default or {}), **value}, origin=f"{config.origin}: {key}")


def text_part(
    config: Config, *, default_type: str, tied: bool, key: str = "text_config", defaults: dict[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """(model_type, keys) of the text part, completed by its class's defaults; `tied` is the composite's own default.

    Files of transformers 4 tie in the text part, those of 5 at the top: one that says so is enough.
    """
    own = part(config, key, default={})
    kind = own.text("model_type", default=default_type)
    filled = {**TEXT_DEFAULTS.get(kind, {}), **(defaults or {}), **own.raw}
    said = [raw["tie_word_embeddings"] for raw in (config.raw, own.raw) if isinstance(raw.get("tie_word_embeddings"), bool)]
    inherited = {name: config.raw[name] for name in INHERITED if config.raw.get(name) is not None}
    return kind, {**filled, **inherited, "model_type": kind, "tie_word_embeddings": any(said) if said else tied}


def kind_of(config: Config, known: dict[str, Any], default: str) -> str:
    """The `model_type` of a part, which must be one of those known."""
    kind = config.text("model_type", default=default)
    if kind not in known:
        close = nearest(kind, known)
        raise SpecError(
            f"{config.origin}: model_type {kind!r} is not supported",
            field="model_type",
            value=kind,
            allowed=", ".join(sorted(known)),
            hint=f"the nearest is {close[0]!r}" if close else None,
        )
    return kind


def pixels(preprocessor: Config, key: str, *names: str, default: int) -> int:
    """A number of the processor: under `key` itself, or one of the names below it."""
    value = preprocessor.raw.get(key)
    if isinstance(value, dict):
        return Config(value, origin=f"{preprocessor.origin}: {key}").count(*names, default=default)
    return preprocessor.count(key, default=default)
