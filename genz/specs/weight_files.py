"""The true size of a model's weights, from the headers of its weight files."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from genz.errors import SpecError, shown
from genz.specs.base import read_mapping

MAX_HEADER_BYTES = 256 * 2**20
MAX_STORED_BYTES = 10**15
MAX_GGUF_ITEMS = 10**6
MAX_GGUF_STRINGS = 4 * 10**6
# (elements in a block, bytes of a block) by GGML type number. Source: ggml/src/ggml-common.h and
# ggml/include/ggml.h of llama.cpp.
_GGML_TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
_GGUF_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_GGUF_STRING, _GGUF_ARRAY = 8, 9


def stored_weight_bytes(folder: Path) -> int | None:
    """Bytes of all tensors in the weight files of a folder, or None where it has none that can be read.

    Reads a safetensors index, a single safetensors file, or one GGUF file.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _index_bytes(index)
    single = folder / "model.safetensors"
    if single.is_file():
        return _read(single, _safetensors_bytes)
    gguf = sorted(path for path in folder.glob("*.gguf") if path.is_file())
    return _read(gguf[0], _gguf_bytes) if len(gguf) == 1 else None


def _index_bytes(path: Path) -> int:
    metadata = read_mapping(path).get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    if isinstance(size, int) and not isinstance(size, bool) and 0 < size < MAX_STORED_BYTES:
        return size
    raise SpecError(
        f"{path}: metadata.total_size = {shown(size)} is no size", field="metadata.total_size", value=size,
        allowed=f"a whole number of bytes below {MAX_STORED_BYTES:,}",
    )  # fmt: skip


def _read(path: Path, read: Callable[[BinaryIO], int]) -> int:
    try:
        with path.open("rb") as file:
            size = read(file)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError, struct.error) as error:
        raise SpecError(f"{path}: its header cannot be read ({error})", field="path", value=path) from None
    if not 0 < size < MAX_STORED_BYTES:
        raise SpecError(f"{path}: its tensors take {shown(size)} bytes in all, which cannot be", field="path", value=path)
    return size


def _safetensors_bytes(file: BinaryIO) -> int:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ends before its header does")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file")
    return sum(_safetensor_bytes(name, entry) for name, entry in header.items() if name != "__metadata__")


def _safetensor_bytes(name: str, entry: dict[str, Any]) -> int:
    begin, end = entry["data_offsets"]
    if not (type(begin) is int and type(end) is int and 0 <= begin <= end):
        raise ValueError(f"the tensor {name!r} at {begin!r} to {end!r}")
    return end - begin


def _gguf_bytes(file: BinaryIO) -> int:
    magic, version, tensors, pairs = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in (2, 3) or max(tensors, pairs) > MAX_GGUF_ITEMS:
        raise ValueError("not a GGUF file of version 2 or 3")
    for _ in range(pairs):
        _gguf_string(file)
        _gguf_skip_value(file, *struct.unpack("<I", file.read(4)))
    return sum(_gguf_tensor_bytes(file) for _ in range(tensors))


def _gguf_string(file: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a string of {length} bytes")
    return file.read(length)


def _gguf_skip_value(file: BinaryIO, kind: int) -> None:
    if kind in _GGUF_SCALARS:
        file.read(struct.calcsize(_GGUF_SCALARS[kind]))
    elif kind == _GGUF_STRING:
        _gguf_string(file)
    elif kind == _GGUF_ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if inner in _GGUF_SCALARS:
            file.seek(count * struct.calcsize(_GGUF_SCALARS[inner]), 1)
            return
        if inner != _GGUF_STRING or count > MAX_GGUF_STRINGS:
            raise ValueError(f"an array of {count} entries of type {inner}")
        for _ in range(count):
            _gguf_string(file)
    else:
        raise ValueError(f"a value of unknown type {kind}")


def _gguf_tensor_bytes(file: BinaryIO) -> int:
    _gguf_string(file)
    (dimensions,) = struct.unpack("<I", file.read(4))
    if dimensions > 8:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    shape = struct.unpack(f"<{dimensions}Q", file.read(8 * dimensions))
    kind, _offset = struct.unpack("<IQ", file.read(12))
    if kind not in _GGML_TYPES:
        raise ValueError(f"a tensor of unknown type {kind}")
    in_block, block_bytes = _GGML_TYPES[kind]
    elements: int = math.prod(shape)
    if elements % in_block:
        raise ValueError(f"a tensor of {shape} in blocks of {in_block}")
    return elements // in_block * block_bytes
