"""The size of weights from the headers of their files, which are written here byte by byte."""

import io
import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from time_limit import time_limit

from genz.errors import GenZError, SpecError
from genz.specs import catalog, weight_files
from genz.specs.weight_files import stored_weight_bytes

INDEX = "model.safetensors.index.json"


def safetensors(header: Any, *, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin: Any, end: Any, dtype: str = "BF16") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "data_offsets": [begin, end]}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def described(name: str, shape: tuple[int, ...], kind: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)


def gguf(pairs: list[bytes], tensors: list[bytes], *, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return struct.pack("<4sIQQ", magic, version, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)


PAIRS = [
    pair("general.architecture", 8, text("llama")),
    pair("u8", 0, b"\1"),
    pair("i8", 1, b"\1"),
    pair("u16", 2, b"\1\0"),
    pair("i16", 3, b"\1\0"),
    pair("u32", 4, struct.pack("<I", 7)),
    pair("i32", 5, struct.pack("<i", -7)),
    pair("f32", 6, struct.pack("<f", 0.5)),
    pair("flag", 7, b"\1"),
    pair("u64", 10, struct.pack("<Q", 7)),
    pair("i64", 11, struct.pack("<q", -7)),
    pair("f64", 12, struct.pack("<d", 0.5)),
    pair("tokens", 9, struct.pack("<IQ", 8, 3) + text("a") + text("") + text("ééé")),
    pair("scores", 9, struct.pack("<IQ", 6, 3) + struct.pack("<3f", 1, 2, 3)),
    pair("flags", 9, struct.pack("<IQ", 7, 5) + b"\0" * 5),
    pair("empty", 9, struct.pack("<IQ", 8, 0)),
]
# Type numbers and bytes of a block, from the names of ggml: F32, F16, Q4_0, Q8_0, Q4_K, Q6_K, BF16, MXFP4.
TENSORS: list[tuple[tuple[int, ...], int, int]] = [
    ((10, 3), 0, 10 * 3 * 4),
    ((10,), 1, 10 * 2),
    ((64, 2), 2, 4 * 18),
    ((32, 5), 8, 5 * 34),
    ((256, 3), 12, 3 * 144),
    ((512, 2), 14, 4 * 210),
    ((7, 2, 2), 30, 28 * 2),
    ((32,), 39, 17),
]


def test_safetensors_are_summed_by_their_offsets(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, "a": tensor(0, 100), "b": tensor(100, 164), "empty": tensor(164, 164)}
    (tmp_path / "model.safetensors").write_bytes(safetensors(header, data=b"\0" * 164))
    assert stored_weight_bytes(tmp_path) == 164


def test_the_data_itself_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"a": tensor(0, 10**12)}))
    assert stored_weight_bytes(tmp_path) == 10**12


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5).filter(any))
def test_any_sizes_add_up(sizes: list[int]) -> None:
    header, place = {}, 0
    for i, size in enumerate(sizes):
        header[f"t{i}"] = tensor(place, place + size)
        place += size
    assert weight_files._safetensors_bytes(io.BytesIO(safetensors(header))) == sum(sizes)


@pytest.mark.parametrize("version", [2, 3])
def test_gguf_is_summed_by_blocks(tmp_path: Path, version: int) -> None:
    tensors = [described(f"t{i}", shape, kind) for i, (shape, kind, _) in enumerate(TENSORS)]
    (tmp_path / "any-name.gguf").write_bytes(gguf(PAIRS, tensors, version=version))
    assert stored_weight_bytes(tmp_path) == sum(size for *_, size in TENSORS)


@pytest.mark.parametrize(("shape", "kind", "size"), TENSORS, ids=[str(kind) for _, kind, _ in TENSORS])
def test_gguf_of_one_tensor(tmp_path: Path, shape: tuple[int, ...], kind: int, size: int) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf([], [described("t", shape, kind)]))
    assert stored_weight_bytes(tmp_path) == size


def test_an_index_tells_the_size_of_all_its_files(tmp_path: Path) -> None:
    for size, read in ((16_060_522_496, 16_060_522_496), (16_060_522_496.0, 16_060_522_496)):
        (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": {}}))
        assert stored_weight_bytes(tmp_path) == read


def test_an_index_goes_before_a_file_and_a_file_before_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf([], [described("t", (3,), 0)]))
    assert stored_weight_bytes(tmp_path) == 12
    (tmp_path / "model.safetensors").write_bytes(safetensors({"a": tensor(0, 34)}))
    assert stored_weight_bytes(tmp_path) == 34
    (tmp_path / INDEX).write_text('{"metadata": {"total_size": 56}}')
    assert stored_weight_bytes(tmp_path) == 56


def test_folders_without_weights_that_can_be_read(tmp_path: Path) -> None:
    assert stored_weight_bytes(tmp_path) is None
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x")
    assert stored_weight_bytes(tmp_path) is None
    for name in ("a.gguf", "b.gguf"):  # which of the two?
        (tmp_path / name).write_bytes(gguf([], [described("t", (3,), 0)]))
    assert stored_weight_bytes(tmp_path) is None


def test_what_is_no_plain_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    os.mkfifo(tmp_path / "pipe.gguf")
    os.mkfifo(tmp_path / "model.safetensors")
    (tmp_path / INDEX).mkdir()
    with time_limit(5):
        assert stored_weight_bytes(tmp_path) is None


SAFETENSORS: dict[str, bytes] = {
    "empty": b"",
    "short": b"\1\0\0",
    "no header": struct.pack("<Q", 100),
    "truncated header": safetensors({"a": tensor(0, 4)})[:-5],
    "header of 2^63 bytes": safetensors({"a": tensor(0, 4)}, length=2**63),
    "header longer than the file": safetensors({"a": tensor(0, 4)}, length=10**6),
    "header shorter than its text": safetensors({"a": tensor(0, 4)}, length=10),
    "header that is no JSON": safetensors(b"not json"),
    "header that is not UTF-8": safetensors(b'{"\xff": 1}'),
    "header that is a list": safetensors([tensor(0, 4)]),
    "header that is a number": safetensors(3),
    "header nested deeply": safetensors(b"[" * 100_000),
    "no tensors": safetensors({"__metadata__": {}}),
    "tensors of nothing": safetensors({"a": tensor(8, 8)}),
    "tensor that is a list": safetensors({"a": [0, 4]}),
    "tensor that is null": safetensors({"a": None}),
    "tensor without offsets": safetensors({"a": {"dtype": "F32"}}),
    "one offset": safetensors({"a": {"data_offsets": [0]}}),
    "three offsets": safetensors({"a": {"data_offsets": [0, 1, 2]}}),
    "offsets as a number": safetensors({"a": {"data_offsets": 4}}),
    "offsets backwards": safetensors({"a": tensor(4, 0)}),
    "negative offset": safetensors({"a": tensor(-4, 0)}),
    "offsets as text": safetensors({"a": tensor("0", "4")}),
    "offsets of halves": safetensors({"a": tensor(0, 4.5)}),
    "offset nan": safetensors({"a": tensor(0, float("nan"))}),
    "offset infinite": safetensors({"a": tensor(0, float("inf"))}),
    "offset true": safetensors({"a": tensor(0, True)}),
    "offset absurd": safetensors({"a": tensor(0, 10**30)}),
    "html": b"<!DOCTYPE html><html>404</html>",
    "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("content", SAFETENSORS.values(), ids=SAFETENSORS.keys())
def test_broken_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(SpecError, match=r"model\.safetensors"):
        stored_weight_bytes(tmp_path)


ONE = described("t", (32,), 0)
GGUF: dict[str, bytes] = {
    "empty": b"",
    "magic only": b"GGUF",
    "other magic": gguf([], [ONE], magic=b"GGML"),
    "version 1": gguf([], [ONE], version=1),
    "version 4": gguf([], [ONE], version=4),
    "big endian": struct.pack(">4sIQQ", b"GGUF", 3, 1, 0) + ONE,
    "no tensors": gguf(PAIRS, []),
    "absurd number of tensors": struct.pack("<4sIQQ", b"GGUF", 3, 2**63, 0),
    "absurd number of pairs": struct.pack("<4sIQQ", b"GGUF", 3, 1, 2**63),
    "fewer tensors than said": struct.pack("<4sIQQ", b"GGUF", 3, 2, 0) + ONE,
    "fewer pairs than said": struct.pack("<4sIQQ", b"GGUF", 3, 0, 2) + PAIRS[0],
    "truncated": gguf(PAIRS, [ONE])[:-10],
    "truncated in the pairs": gguf(PAIRS, [ONE])[:200],
    "key of 2^63 bytes": struct.pack("<4sIQQQ", b"GGUF", 3, 1, 1, 2**63),
    "value of unknown type": gguf([pair("x", 13, b"\0" * 8)], [ONE]),
    "array of unknown type": gguf([pair("x", 9, struct.pack("<IQ", 13, 1))], [ONE]),
    "array of 2^63 numbers": gguf([pair("x", 9, struct.pack("<IQ", 12, 2**63))], [ONE]),
    "array of 2^60 numbers": gguf([pair("x", 9, struct.pack("<IQ", 12, 2**60 - 1))], [ONE]),
    "array of 2^40 texts": gguf([pair("x", 9, struct.pack("<IQ", 8, 2**40))], [ONE]),
    "array of arrays": gguf([pair("x", 9, struct.pack("<IQ", 9, 1) * 5000)], [ONE]),
    "tensor of unknown type": gguf([], [described("t", (32,), 99)]),
    "tensor of a removed type": gguf([], [described("t", (32,), 4)]),
    "tensor of many dimensions": gguf([], [described("t", (1,) * 9, 0)]),
    "tensor of half a block": gguf([], [described("t", (33,), 2)]),
    "tensor of nothing": gguf([], [described("t", (0,), 0)]),
    "tensor of absurd size": gguf([], [described("t", (2**63, 2**63), 0)]),
}


@pytest.mark.parametrize("content", GGUF.values(), ids=GGUF.keys())
def test_broken_gguf(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(SpecError, match=r"x\.gguf"):
        stored_weight_bytes(tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_gguf_magic_are_a_size_or_a_typed_error(tail: bytes) -> None:
    class Opened:
        def open(self, _mode: str) -> io.BytesIO:
            return io.BytesIO(struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + tail)

    with suppress(SpecError):
        assert weight_files._read(Opened(), weight_files._gguf_bytes) > 0  # type: ignore[arg-type]


NO_SIZES = ["0", "-1", "1.5", "NaN", "Infinity", "1e400", "true", '"16"', "[]", "null", "1e30"]
NO_INDEX = ["", "[]", "{", "{}", '{"metadata": null}', '{"metadata": []}', '{"metadata": 3}', '{"metadata": {}}']


@pytest.mark.parametrize("content", NO_INDEX + [f'{{"metadata": {{"total_size": {size}}}}}' for size in NO_SIZES])
def test_broken_index(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(SpecError, match="index"):
        stored_weight_bytes(tmp_path)


def test_an_index_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / INDEX).open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(SpecError, match="too many"):
        stored_weight_bytes(tmp_path)


def test_a_file_of_zeros_is_refused_quickly(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf([pair("x", 9, struct.pack("<IQ", 8, 2**30))], []))
    with path.open("ab") as file:
        file.truncate(2**33)
    with time_limit(10), pytest.raises(SpecError):
        stored_weight_bytes(tmp_path)


# Beside a config.json

CONFIG = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[int], Path]:
    def write(size: int) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
        (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": size}}))
        return tmp_path

    return write


def test_a_model_carries_the_size_of_its_files(folder: Any) -> None:
    parameters = catalog.model(str(folder(600_000))).parameters
    for width in (0.2, 0.5, 2, 4, 8):
        size = round(parameters * width)
        model = catalog.model(str(folder(size)))
        assert (model.stored_weight_bytes, model.parameters) == (size, parameters)


@pytest.mark.parametrize("size", [1, 1000, 10**9, 10**14])
def test_weights_of_another_model_are_noticed(folder: Any, size: int) -> None:
    with pytest.raises(SpecError, match="its weight files hold") as caught:
        catalog.model(str(folder(size)))
    assert caught.value.value == size and "bytes a parameter" in str(caught.value.allowed)


def test_other_names_than_config_json_have_no_weights_beside_them(folder: Any) -> None:
    path = folder(10**14) / "other.json"
    path.write_text(json.dumps(CONFIG))
    assert catalog.model(str(path)).stored_weight_bytes is None


def test_broken_weights_break_the_model(folder: Any) -> None:
    path = folder(600_000)
    (path / INDEX).write_text("{}")
    with pytest.raises(GenZError, match="index"):
        catalog.model(str(path))
