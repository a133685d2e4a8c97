"""Models from the `config.json` of the Hugging Face hub: a file, a folder, or a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genz.errors import SpecError, UnknownNameError, shown
from genz.specs.base import read_mapping
from genz.specs.config import Config
from genz.specs.model import ModelSpec
from genz.specs.precision import data_type
from genz.specs.quantization import precision_from_config, precision_from_modelopt
from genz.specs.readers import COMPOSITES, DEFAULTS, READERS, read_layers
from genz.specs.readers.denoisers import CLASS_NAMES
from genz.specs.readers.text_parts import DEFAULT_CONTEXTS
from genz.specs.weight_files import stored_weight_bytes

# A file without a dtype holds float32, except for types whose published files leave it out.
DEFAULT_DTYPE = "float32"
DEFAULT_DTYPES = {"gpt_oss": "bfloat16"}
# A recurrence has no positions that could end; GenZ takes this many tokens for any number.
ENDLESS = 2**30
ENDLESS_TYPES = (
    *("mamba", "mamba2", "falcon_mamba", "mamba_ssm", "xlstm", "rwkv", "rwkv5", "rwkv6", "rwkv7"),
    "recurrent_gemma",  # its attention sees a window
)
CONFIG_NAME = "config.json"
MODELOPT_NAME = "hf_quant_config.json"
PREPROCESSOR_NAME = "preprocessor_config.json"
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "seq_length",
    "max_seq_len",
    "max_context_length",
    "model_max_length",
)
# Bytes a parameter: from 1.5 bits (GGUF IQ1_S) to fp64, with room for modules that GenZ does not count.
MIN_STORED_WIDTH, MAX_STORED_WIDTH = 0.15, 16.0


def model_from_path(path: Path, *, treat_as: str | None = None) -> ModelSpec:
    """Read a model from a `config.json` or the folder that holds one.

    Weight files and a `hf_quant_config.json` beside it are honoured. Raises `SpecError` if the file
    is missing, is no configuration of a supported model, or has values that cannot be.
    """
    if path.is_dir():
        if not (path / CONFIG_NAME).is_file():
            raise SpecError(
                f"{path} is a folder without a {CONFIG_NAME}", field="model", value=path, allowed=f"a {CONFIG_NAME}"
            )
        path = path / CONFIG_NAME
    raw = read_mapping(path)
    folder = path.parent
    modelopt, preprocessor = folder / MODELOPT_NAME, folder / PREPROCESSOR_NAME
    return model_from_config(
        raw,
        name=folder.name if path.name == CONFIG_NAME and folder.name else path.stem,
        origin=str(path),
        treat_as=treat_as,
        stored_bytes=stored_weight_bytes(folder) if path.name == CONFIG_NAME else None,
        quantization=read_mapping(modelopt) if path.name == CONFIG_NAME and modelopt.is_file() else None,
        preprocessor=read_mapping(preprocessor) if path.name == CONFIG_NAME and preprocessor.is_file() else None,
    )


def model_from_config(
    raw: dict[str, Any],
    *,
    name: str,
    origin: str | None = None,
    treat_as: str | None = None,
    stored_bytes: int | None = None,
    quantization: dict[str, Any] | None = None,
    preprocessor: dict[str, Any] | None = None,
    **described: Any,
) -> ModelSpec:
    """Build a model from the keys of a `config.json`.

    `treat_as` reads it as another `model_type`, or the text part of a multimodal one where it has that type;
    `preprocessor` are the keys of a `preprocessor_config.json`, which say what an image becomes. `described` is passed on to
    `ModelSpec` (title, aliases, sources). Raises `SpecError` with the key at fault.
    """
    origin = origin or name
    model_type = treat_as or raw.get("model_type") or _untold_type(raw)
    if not isinstance(model_type, str):
        problem = "there is no 'model_type'" if model_type is None else f"model_type = {shown(model_type)} is not a text"
        raise SpecError(
            f"{origin}: {problem}, so this is not the config.json of a model",
            field="model_type",
            value=model_type,
            allowed=", ".join(sorted({*READERS, *COMPOSITES})),
            hint=_what_it_looks_like(raw),
        )
    max_context = None
    if model_type in COMPOSITES:
        composite = COMPOSITES[model_type](Config(raw, origin=origin), Config(preprocessor or {}, origin=PREPROCESSOR_NAME))
        described |= {"encoders": composite.encoders, "images": composite.images, "audio": composite.audio}
        described |= {"source": composite.source, "denoises": composite.denoises}
        max_context = composite.max_context
        raw, text_type = composite.text, composite.text_type
    else:
        raw, text_type = _text_part(raw, treat_as), model_type
    config = Config(raw, origin=origin)
    layers, embedding = read_layers(config, text_type)
    precision = (
        precision_from_modelopt(quantization, origin=f"{origin} ({MODELOPT_NAME})")
        if quantization is not None
        else precision_from_config(raw, origin=origin)
    )
    model = ModelSpec(
        name=name,
        model_type=model_type,
        layers=layers,
        embedding=embedding,
        max_context=max_context or config.count(*CONTEXT_KEYS, default=_default_context(text_type)),
        dtype=_dtype(config, DEFAULT_DTYPES.get(text_type, DEFAULT_DTYPE)),
        precision=precision,
        stored_weight_bytes=stored_bytes,
        **described,
    )
    _check_stored_bytes(model, origin)
    return model


def _check_stored_bytes(model: ModelSpec, origin: str) -> None:
    """Weight files of another model would give a number that looks right."""
    stored = model.stored_weight_bytes
    if stored is not None and not MIN_STORED_WIDTH * model.parameters <= stored <= MAX_STORED_WIDTH * model.parameters:
        raise SpecError(
            f"{origin}: its weight files hold {shown(stored)} bytes for {model.parameters} parameters",
            field="weight files",
            value=stored,
            allowed=f"{MIN_STORED_WIDTH:g} to {MAX_STORED_WIDTH:g} bytes a parameter",
        )


def _dtype(config: Config, default: str) -> str:
    try:
        return data_type(config.text("dtype", "torch_dtype", default=default), field="torch_dtype")
    except UnknownNameError as error:
        raise SpecError(
            f"{config.origin}: {error.message}", field="torch_dtype", value=error.value, allowed=error.allowed, hint=error.hint
        ) from None


def _text_part(raw: dict[str, Any], treat_as: str | None) -> dict[str, Any]:
    """The text model of a multimodal configuration, where that is what it shall be read as."""
    part = raw.get("text_config")
    if treat_as is None or not isinstance(part, dict) or part.get("model_type") != treat_as:
        return raw
    inherited = {key: raw[key] for key in ("torch_dtype", "dtype", "quantization_config", "tie_word_embeddings") if key in raw}
    return {**inherited, **part}


def _default_context(model_type: str) -> int | None:
    """Context lengths that published files leave to the defaults of transformers."""
    return {
        "gpt2": 1024,
        "gptj": 2048,
        "opt": 2048,
        "bloom": 2048,  # what it was trained with: its positions have no end
        "gpt_neox": 2048,
        "falcon": 2048,
        "gemma3_text": 131072,
        "gemma2": 8192,
        **dict.fromkeys(ENDLESS_TYPES, ENDLESS),
        **DEFAULT_CONTEXTS,
    }.get(model_type, DEFAULTS.get(model_type, {}).get("max_position_embeddings"))


def _untold_type(raw: dict[str, Any]) -> str | None:
    """The type of files that tell none: checkpoints of the authors of Mamba have an `ssm_cfg`, those of diffusers a class."""
    if str(raw.get("_class_name")) in CLASS_NAMES:
        return CLASS_NAMES[str(raw["_class_name"])]
    return "mamba_ssm" if "ssm_cfg" in raw and "d_model" in raw else None


def _what_it_looks_like(raw: dict[str, Any]) -> str | None:
    if {"tokenizer_class", "added_tokens_decoder", "chat_template"} & set(raw):
        return "it looks like a tokenizer's configuration"
    if {"max_new_tokens", "do_sample", "temperature", "top_p", "_from_model_config"} & set(raw):
        return "it looks like a generation_config.json"
    if "weight_map" in raw:
        return "it looks like an index of weight files"
    return None
