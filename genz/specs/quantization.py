"""What a model's own files say of its precision: `quantization_config` and `hf_quant_config.json`."""

from __future__ import annotations

from typing import Any

from genz.errors import SpecError, unknown_name
from genz.specs.precision import Format, Precision

FP32_BITS = 32
FP16_BITS = 16
_METHODS = ("fp8", "fbgemm_fp8", "awq", "gptq", "mxfp4", "compressed-tensors", "bitsandbytes", "modelopt")


def precision_from_config(raw: dict[str, Any], *, origin: str) -> Precision | None:
    """The precision that `quantization_config` asks for, or None where there is none.

    Raises `SpecError` for a method, or a scheme of it, that GenZ does not know.
    """
    settings = raw.get("quantization_config") or raw.get("compression_config")
    if settings is None:
        return None
    if not isinstance(settings, dict):
        raise _unknown(origin, "quantization_config", settings, "a mapping")
    method = settings.get("quant_method")
    if method is None and isinstance(settings.get("quantization"), dict):
        return precision_from_modelopt(settings, origin=origin)
    readers = {
        "fp8": _fp8, "fbgemm_fp8": _fp8, "awq": _grouped_integers, "gptq": _grouped_integers, "mxfp4": _mxfp4,
        "compressed-tensors": _compressed_tensors, "bitsandbytes": _bitsandbytes, "modelopt": _modelopt_inline,
    }  # fmt: skip
    if method not in readers:
        raise _unknown(origin, "quantization_config.quant_method", method, ", ".join(_METHODS))
    return readers[method](settings, origin)


def _unknown(origin: str, field: str, value: Any, allowed: str) -> SpecError:
    return SpecError(f"{origin}: {field} = {value!r} is not supported", field=field, value=value, allowed=allowed)


def _precision(name: str, weights: Format, compute: str, **others: Any) -> Precision:
    """A precision read from a configuration; `compute` is also the type of the activations."""
    return Precision(name=name, weights=weights, activations=compute, compute=compute, **others)


def _fp8(settings: dict[str, Any], origin: str) -> Precision:
    block = settings.get("weight_block_size")
    if block is None:
        return _precision("fp8", Format(bits=8), "fp8")
    if not (isinstance(block, list) and len(block) == 2 and all(isinstance(b, int) and b > 0 for b in block)):
        raise _unknown(origin, "quantization_config.weight_block_size", block, "two whole numbers")
    return _precision("fp8_block", Format(bits=8, group_size=block[0] * block[1], scale_bits=FP32_BITS), "fp8")


def _bits(settings: dict[str, Any], origin: str, *names: str) -> int:
    for name in names:
        if name in settings:
            bits = settings[name]
            if isinstance(bits, int) and 2 <= bits <= 8:
                return bits
            raise _unknown(origin, f"quantization_config.{name}", bits, "2 to 8")
    raise _unknown(origin, f"quantization_config.{names[0]}", None, "2 to 8")


def _group(size: Any, origin: str) -> int | None:
    if size in (None, -1):
        return None
    if not isinstance(size, int) or size < 1:
        raise _unknown(origin, "quantization_config.group_size", size, "a whole number, or -1 for a whole channel")
    return size


def _grouped_integers(settings: dict[str, Any], origin: str) -> Precision:
    bits = _bits(settings, origin, "bits", "w_bit")
    group = _group(settings.get("group_size", settings.get("q_group_size", 128)), origin)
    weights = Format(bits=bits, group_size=group, scale_bits=FP16_BITS, zero_point_bits=bits)
    return _precision(f"{settings['quant_method']}-int{bits}", weights, "base")


def _mxfp4(settings: dict[str, Any], origin: str) -> Precision:
    skipped = settings.get("modules_to_not_convert") or []
    experts_only = any("self_attn" in str(module) for module in skipped)
    return _precision("mxfp4", Format(bits=4, group_size=32, scale_bits=8), "base", experts_only=experts_only)


def _bitsandbytes(settings: dict[str, Any], origin: str) -> Precision:
    if settings.get("load_in_4bit"):
        doubled = bool(settings.get("bnb_4bit_use_double_quant"))
        # QLoRA, arXiv:2305.14314, section 3: a 32-bit constant per 64 weights, itself in 8 bits when doubly quantised.
        return _precision("bitsandbytes-4bit", Format(bits=4, group_size=64, scale_bits=8.125 if doubled else FP32_BITS), "base")
    if settings.get("load_in_8bit"):
        return _precision("bitsandbytes-int8", Format(bits=8), "int8")
    raise _unknown(origin, "quantization_config", "bitsandbytes", "load_in_4bit or load_in_8bit")


def _compressed_tensors(settings: dict[str, Any], origin: str) -> Precision:
    groups = settings.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        raise _unknown(origin, "quantization_config.config_groups", groups, "one group")
    scheme = next(iter(groups.values()))
    weights = scheme.get("weights") or {}
    kind = weights.get("type", "int")
    bits = _bits(weights, origin, "num_bits")
    group = _group(weights.get("group_size"), origin)
    zero_bits = 0 if weights.get("symmetric", True) else bits
    stored = Format(bits=bits, group_size=group, scale_bits=FP16_BITS if group else 0, zero_point_bits=zero_bits if group else 0)
    inputs = scheme.get("input_activations")
    narrow = f"{'fp' if kind == 'float' else 'int'}{bits}"
    compute = "base"
    if inputs:
        compute = f"{'fp' if inputs.get('type', 'int') == 'float' else 'int'}{_bits(inputs, origin, 'num_bits')}"
    cache = settings.get("kv_cache_scheme")
    kv_cache = "base" if not cache else f"{'fp' if cache.get('type') == 'float' else 'int'}{_bits(cache, origin, 'num_bits')}"
    return _precision(f"compressed-tensors-{narrow}", stored, compute, kv_cache=kv_cache)


_MODELOPT_SCHEMES: dict[str, tuple[Format, str]] = {
    "FP8": (Format(bits=8), "fp8"),
    "FP8_PER_CHANNEL_PER_TOKEN": (Format(bits=8), "fp8"),
    "NVFP4": (Format(bits=4, group_size=16, scale_bits=8), "fp4"),
    "W4A16_AWQ": (Format(bits=4, group_size=128, scale_bits=FP16_BITS), "base"),
    "W4A8_AWQ": (Format(bits=4, group_size=128, scale_bits=FP16_BITS), "fp8"),
    "W8A16": (Format(bits=8), "base"),
    "W8A8_SQ_PER_CHANNEL": (Format(bits=8), "int8"),
}


def precision_from_modelopt(raw: dict[str, Any], *, origin: str) -> Precision | None:
    """The precision that NVIDIA ModelOpt's `hf_quant_config.json` asks for."""
    settings = raw.get("quantization")
    if not isinstance(settings, dict):
        raise _unknown(origin, "quantization", settings, "a mapping")
    algorithm = settings.get("quant_algo")
    if algorithm is None:
        return None
    if algorithm not in _MODELOPT_SCHEMES:
        raise unknown_name("quant_algo", str(algorithm), _MODELOPT_SCHEMES)
    weights, compute = _MODELOPT_SCHEMES[algorithm]
    group = settings.get("group_size")
    if group and weights.group_size:
        weights = weights.model_copy(update={"group_size": _group(group, origin)})
    cache = settings.get("kv_cache_quant_algo")
    if cache not in (None, "FP8", "INT8"):
        raise _unknown(origin, "quantization.kv_cache_quant_algo", cache, "FP8, INT8")
    return _precision(f"modelopt-{algorithm.lower()}", weights, compute, kv_cache=cache.lower() if cache else "base")


def _modelopt_inline(settings: dict[str, Any], origin: str) -> Precision | None:
    return precision_from_modelopt({"quantization": settings}, origin=origin)
