"""What each engine can store and compute: its names for data types, and the quantised checkpoints that it loads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genz.errors import UnsupportedError
from genz.inference.question import Question
from genz.specs import catalog
from genz.specs.model import ModelSpec
from genz.specs.precision import DATA_TYPES

TORCH_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True)
class Scheme:
    """How an engine gets quantised weights: a flag that quantises 16-bit files as they are loaded, or files of a kind."""

    files: str
    flag: str | None = None


@dataclass(frozen=True)
class Abilities:
    """What an engine has: schemes and cache types by GenZ's names, and methods of a model's own files that it cannot load."""

    engine: str
    schemes: Mapping[str, Scheme]
    cache_types: Mapping[str, str]
    lacks: tuple[str, ...] = ()


VLLM = Abilities(
    "vLLM",
    # Documentation of vLLM, Quantization, and the choices of --quantization.
    schemes={
        "fp8": Scheme("FP8 (compressed-tensors or ModelOpt)", flag="fp8"),
        "fp8_block": Scheme("FP8 in blocks of 128 x 128"),
        "int8": Scheme("INT8 W8A8 (compressed-tensors)"),
        "w8a16": Scheme("W8A16 (compressed-tensors)"),
        "int4": Scheme("W4A16 (compressed-tensors)"),
        "awq": Scheme("AWQ"),
        "gptq": Scheme("GPTQ"),
        "gptq-int8": Scheme("8-bit GPTQ"),
        "mxfp4": Scheme("MXFP4"),
        "nvfp4": Scheme("NVFP4 (ModelOpt or compressed-tensors)"),
        "nvfp4-w4a16": Scheme("NVFP4A16 (compressed-tensors)"),
        "q4_k_m": Scheme("GGUF Q4_K_M in a single file"),
        "q8_0": Scheme("GGUF Q8_0 in a single file"),
    },
    cache_types={"fp8": "fp8", "bf16": "bfloat16"},
)
SGLANG = Abilities(
    "SGLang",
    # Documentation of SGLang, Quantization, and the choices of --quantization and --kv-cache-dtype.
    schemes={
        "fp8": Scheme("FP8 (compressed-tensors or ModelOpt)", flag="fp8"),
        "fp8_block": Scheme("FP8 in blocks of 128 x 128"),
        "int8": Scheme("INT8 W8A8 (compressed-tensors)"),
        "w8a16": Scheme("W8A16 (compressed-tensors)"),
        "int4": Scheme("W4A16 (compressed-tensors)"),
        "awq": Scheme("AWQ"),
        "gptq": Scheme("GPTQ"),
        "gptq-int8": Scheme("8-bit GPTQ"),
        "mxfp4": Scheme("MXFP4"),
        "nvfp4": Scheme("NVFP4 (ModelOpt)"),
    },
    cache_types={"fp8": "fp8_e4m3", "bf16": "bf16"},
)
TENSORRT_LLM = Abilities(
    "TensorRT-LLM",
    # Documentation of TensorRT-LLM 1.0, Quantization: it loads files that ModelOpt has quantised.
    schemes={
        "fp8": Scheme("FP8 (ModelOpt)"),
        "fp8_block": Scheme("FP8 in blocks of 128 x 128"),
        "awq": Scheme("W4A16 AWQ (ModelOpt)"),
        "gptq": Scheme("W4A16 GPTQ"),
        "mxfp4": Scheme("MXFP4"),
        "nvfp4": Scheme("NVFP4 (ModelOpt)"),
    },
    cache_types={"fp8": "fp8"},
    lacks=("bitsandbytes", "compressed-tensors"),
)


@dataclass(frozen=True)
class Weights:
    """The model argument of a command, the type of what is not quantised, the flag that quantises, and what to note."""

    model: str
    dtype: str
    flag: str | None
    notes: tuple[str, ...]


def hub_name(model: ModelSpec) -> str | None:
    """The model's id on the Hugging Face hub, if its spec names one."""
    return next((alias for alias in model.aliases if alias.count("/") == 1), None)


def weights_of(question: Question, abilities: Abilities) -> Weights:
    """Which files an engine loads for the precision of a question, and with which flag.

    Where they are not the model's own, the model argument is a local path that says what to put there.
    Raises `UnsupportedError` for a precision that the engine lacks.
    """
    model, widths = question.model, question.widths
    name, notes = hub_name(model), []
    if name is None:
        name = f"./{model.name}"
        notes.append(f"{model.name} names no hub id: put the path of its files for {name}")
    width = float(widths.weights.bytes_per_element)
    known = sorted((*TORCH_NAMES, *abilities.schemes), key=lambda known: abs(_width(known) - width))
    if widths.base not in TORCH_NAMES:
        raise _refusal("precision", widths.name, f"{abilities.engine} does not compute in {widths.base}", "bf16", TORCH_NAMES)
    own = model.precision.name if model.precision is not None else None
    if own == widths.name and own is not None:
        if own.startswith(abilities.lacks):
            raise _refusal("precision", own, f"{abilities.engine} does not load files of that kind", known[0], known)
        return Weights(name, TORCH_NAMES[widths.base], None, tuple(notes))
    scheme = abilities.schemes.get(widths.name)
    if widths.name not in TORCH_NAMES and scheme is None:
        raise _refusal("precision", widths.name, f"{abilities.engine} has no such scheme", known[0], known)
    if own is None and (scheme is None or scheme.flag):
        return Weights(name, TORCH_NAMES[widths.base], scheme.flag if scheme else None, tuple(notes))
    path = f"./{model.name}-{widths.name}"
    kind = scheme.files if scheme else TORCH_NAMES[widths.base]
    notes.append(f"{path} stands for a checkpoint of {name} in {kind}: the model's own files are not in {widths.name}")
    return Weights(path, TORCH_NAMES[widths.base], None, tuple(notes))


def cache_type(question: Question, abilities: Abilities) -> str | None:
    """The engine's name for the type of the KV cache; None where the engine would take that anyway.

    Raises `UnsupportedError` for a type that the engine's cache does not have.
    """
    widths, own = question.widths, question.model.precision
    follows_files = own is None or own.kv_cache == "base"
    if widths.kv_cache == widths.base and follows_files:
        return None
    if widths.kv_cache not in abilities.cache_types:
        bits = DATA_TYPES[widths.kv_cache].bits
        names = sorted({widths.base, *abilities.cache_types}, key=lambda name: abs(DATA_TYPES[name].bits - bits))
        raise _refusal("kv_cache_dtype", widths.kv_cache, f"{abilities.engine} has no such cache", names[0], names)
    return abilities.cache_types[widths.kv_cache]


def _width(name: str) -> float:
    """Bytes of one weight [B]."""
    return float(catalog.precision(name).weights.bytes_per_element)


def _refusal(field: str, value: str, reason: str, nearest: str, names: Iterable[str]) -> UnsupportedError:
    problem = f"{field}: {value} cannot be exported: {reason}"
    return UnsupportedError(problem, field=field, value=value, allowed=", ".join(names), hint=f"the nearest is {nearest!r}")
