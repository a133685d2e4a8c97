"""What a model's own files say of its precision: `quantization_config` and `hf_quant_config.json`."""

from __future__ import annotations

from typing import Any, TypeGuard, TypeVar

from genz.errors import SpecError, nearest, shown
from genz.specs.precision import DATA_TYPES, Format, Precision

FP32_BITS = 32
FP16_BITS = 16
FP8_BITS = 8
MAX_GROUP = 10**6
# Weights are never stored wider than in the model's own type.
UNQUANTISED = DATA_TYPES["fp64"]
T = TypeVar("T")


def precision_from_config(raw: dict[str, Any], *, origin: str) -> Precision | None:
    """The precision that `quantization_config` asks for, or None where there is none.

    Raises `SpecError` for a method, or a scheme of it, that GenZ does not know.
    """
    keys = [key for key in ("quantization_config", "compression_config") if raw.get(key) is not None]
    settings: Any = raw[keys[0]] if keys else {}
    if settings == {}:
        return None
    if not isinstance(settings, dict):
        raise _unknown(origin, "quantization_config", settings, "a mapping")
    method = settings.get("quant_method")
    if method is None and isinstance(settings.get("quantization"), dict):
        return precision_from_modelopt(settings, origin=origin)
    readers = {
        "fp8": _fp8,
        "fbgemm_fp8": _fp8,
        "awq": _grouped_integers,
        "gptq": _grouped_integers,
        "mxfp4": _mxfp4,
        "compressed-tensors": _compressed_tensors,
        "bitsandbytes": _bitsandbytes,
        "modelopt": _modelopt_inline,
    }
    return _chosen(readers, method, "quantization_config.quant_method", origin)(settings, origin)


def _unknown(origin: str, field: str, value: Any, allowed: str, *, hint: str | None = None) -> SpecError:
    problem = f"{origin}: {field} = {shown(value)} is not supported"
    return SpecError(problem, field=field, value=value, allowed=allowed, hint=hint)


def _chosen(choices: dict[str, T], name: Any, field: str, origin: str) -> T:
    if isinstance(name, str) and name in choices:
        return choices[name]
    close = nearest(name, choices) if isinstance(name, str) else []
    raise _unknown(origin, field, name, ", ".join(choices), hint=f"did you mean {close[0]!r}?" if close else None)


def _is_count(value: Any, least: int, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _flag(settings: dict[str, Any], name: str, origin: str) -> bool:
    value = settings.get(name)
    if value is not None and not isinstance(value, bool):
        raise _unknown(origin, f"quantization_config.{name}", value, "true or false")
    return bool(value)


def _section(parent: dict[str, Any], name: str, origin: str) -> dict[str, Any]:
    """A mapping inside of the settings; empty where it is absent."""
    value = parent.get(name)
    if value is not None and not isinstance(value, dict):
        raise _unknown(origin, f"quantization_config.{name}", value, "a mapping")
    return value or {}


def _precision(name: str, weights: Format, compute: str, **others: Any) -> Precision:
    """A precision read from a configuration; `compute` is also the type of the activations."""
    return Precision(name=name, weights=weights, activations=compute, compute=compute, **others)


def _fp8(settings: dict[str, Any], origin: str) -> Precision:
    block = settings.get("weight_block_size")
    if block is None:
        return _precision("fp8", Format(bits=8), "fp8")
    if not (isinstance(block, list) and len(block) == 2 and all(_is_count(b, 1, MAX_GROUP) for b in block)):
        raise _unknown(origin, "quantization_config.weight_block_size", block, "two whole numbers")
    return _precision("fp8_block", Format(bits=8, group_size=block[0] * block[1], scale_bits=FP32_BITS), "fp8")


def _bits(settings: dict[str, Any], origin: str, *names: str) -> int:
    for name in names:
        if name in settings:
            bits = settings[name]
            if _is_count(bits, 2, 8):
                return bits
            raise _unknown(origin, f"quantization_config.{name}", bits, "a whole number from 2 to 8")
    raise _unknown(origin, f"quantization_config.{names[0]}", None, "a whole number from 2 to 8")


def _group(size: Any, origin: str) -> int | None:
    if size in (None, -1):
        return None
    if not _is_count(size, 1, MAX_GROUP):
        raise _unknown(origin, "quantization_config.group_size", size, "a whole number, or -1 for a whole channel")
    return size


def _grouped_integers(settings: dict[str, Any], origin: str) -> Precision:
    bits = _bits(settings, origin, "bits", "w_bit")
    group = _group(settings.get("group_size", settings.get("q_group_size", 128)), origin)
    weights = Format(bits=bits, group_size=group, scale_bits=FP16_BITS, zero_point_bits=bits)
    return _precision(f"{settings['quant_method']}-int{bits}", weights, "base")


def _mxfp4(settings: dict[str, Any], origin: str) -> Precision:
    skipped = settings.get("modules_to_not_convert") or []
    if not isinstance(skipped, list):
        raise _unknown(origin, "quantization_config.modules_to_not_convert", skipped, "a list of module names")
    experts_only = any("self_attn" in str(module) for module in skipped)
    return _precision("mxfp4", Format(bits=4, group_size=32, scale_bits=8), "base", experts_only=experts_only)


def _bitsandbytes(settings: dict[str, Any], origin: str) -> Precision:
    in_4bit, in_8bit = (_flag(settings, name, origin) for name in ("load_in_4bit", "load_in_8bit"))
    if in_4bit == in_8bit:
        raise _unknown(origin, "quantization_config", "bitsandbytes", "one of load_in_4bit and load_in_8bit")
    if in_4bit:
        doubled = _flag(settings, "bnb_4bit_use_double_quant", origin)
        # QLoRA, arXiv:2305.14314, section 3: a 32-bit constant per 64 weights, itself in 8 bits when doubly quantised.
        scale_bits = 8.125 if doubled else FP32_BITS
        return _precision("bitsandbytes-4bit", Format(bits=4, group_size=64, scale_bits=scale_bits), "base")
    return _precision("bitsandbytes-int8", Format(bits=8), "int8")


def _compressed_tensors(settings: dict[str, Any], origin: str) -> Precision:
    groups = _section(settings, "config_groups", origin)
    if len(groups) != 1:
        raise _unknown(origin, "quantization_config.config_groups", settings.get("config_groups"), "one group")
    scheme = _section(groups, next(iter(groups)), origin)
    weights, inputs = _section(scheme, "weights", origin), _section(scheme, "input_activations", origin)
    narrow, bits = _number_type(weights, origin), _bits(weights, origin, "num_bits")
    group = _group(weights.get("group_size"), origin)
    # Small groups of FP4 carry FP8 (NVFP4) or power-of-two (MXFP4) scales, all others 16-bit ones.
    scale_bits = FP8_BITS if narrow == "fp4" else FP16_BITS
    zero_bits = 0 if weights.get("symmetric", True) else bits
    stored = Format(
        bits=bits, group_size=group, scale_bits=scale_bits if group else 0, zero_point_bits=zero_bits if group else 0
    )
    compute = _computed_type(inputs, "input_activations", origin)
    kv_cache = _computed_type(_section(settings, "kv_cache_scheme", origin), "kv_cache_scheme", origin)
    return _precision(f"compressed-tensors-{narrow}", stored, compute, kv_cache=kv_cache)


def _number_type(scheme: dict[str, Any], origin: str) -> str:
    """The type that a scheme of compressed-tensors names by its kind and its bits: "int3", "fp8"."""
    prefix = _chosen({"int": "int", "float": "fp"}, scheme.get("type", "int"), "quantization_config.type", origin)
    name = f"{prefix}{_bits(scheme, origin, 'num_bits')}"
    if prefix == "fp" and name not in DATA_TYPES:
        raise _unknown(origin, "quantization_config.num_bits", scheme["num_bits"], "4, 6 or 8 for floating point")
    return name


def _computed_type(scheme: dict[str, Any], field: str, origin: str) -> str:
    """The data type of activations or cache; "base" where there is no scheme for them."""
    if not scheme:
        return "base"
    name = _number_type(scheme, origin)
    if name not in DATA_TYPES:
        raise _unknown(origin, f"quantization_config.{field}", name, ", ".join(DATA_TYPES))
    return name


_MODELOPT_SCHEMES: dict[str, tuple[Format, str]] = {
    "FP8": (Format(bits=8), "fp8"),
    "FP8_PER_CHANNEL_PER_TOKEN": (Format(bits=8), "fp8"),
    "NVFP4": (Format(bits=4, group_size=16, scale_bits=8), "fp4"),
    "W4A16_AWQ": (Format(bits=4, group_size=128, scale_bits=FP16_BITS), "base"),
    "W4A8_AWQ": (Format(bits=4, group_size=128, scale_bits=FP16_BITS), "fp8"),
    "W8A16": (Format(bits=8), "base"),
    "W8A8_SQ_PER_CHANNEL": (Format(bits=8), "int8"),
}
_MODELOPT_CACHES = {"FP8": "fp8", "INT8": "int8"}


def precision_from_modelopt(raw: dict[str, Any], *, origin: str) -> Precision | None:
    """The precision that NVIDIA ModelOpt's `hf_quant_config.json` asks for."""
    settings = raw.get("quantization")
    if not isinstance(settings, dict):
        raise _unknown(origin, "quantization", settings, "a mapping")
    algorithm = settings.get("quant_algo")
    cache = settings.get("kv_cache_quant_algo")
    if cache is None:  # a config.json names its type and bits
        kv_cache = _computed_type(_section(settings, "kv_cache_scheme", origin), "kv_cache_scheme", origin)
    else:
        kv_cache = _chosen(_MODELOPT_CACHES, cache, "quantization.kv_cache_quant_algo", origin)
    if algorithm is None:
        return None if kv_cache == "base" else _precision("modelopt-kv-cache", UNQUANTISED, "base", kv_cache=kv_cache)
    weights, compute = _chosen(_MODELOPT_SCHEMES, algorithm, "quantization.quant_algo", origin)
    group = settings.get("group_size")
    if group is not None and weights.group_size:
        weights = weights.model_copy(update={"group_size": _group(group, origin)})
    return _precision(f"modelopt-{algorithm.lower()}", weights, compute, kv_cache=kv_cache)


def _modelopt_inline(settings: dict[str, Any], origin: str) -> Precision | None:
    return precision_from_modelopt({"quantization": settings}, origin=origin)
