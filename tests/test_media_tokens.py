"""Tokens of images and clips against the processors of transformers, for many sizes; and what cannot be."""

import ast
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Phi4MultimodalFeatureExtractor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.mllama.image_processing_pil_mllama import get_optimal_tiled_canvas
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import _get_feat_extract_output_lengths

from genz.errors import GenZError, InvalidValueError
from genz.specs import catalog
from genz.specs.media.grids import FixedGrid, PanAndScan, PatchRows, SmartResize, SoftTokenBudget
from genz.specs.media.passes import parse_image_size, parse_seconds
from genz.specs.media.sound import ConvolvedChunks, PaddedWindow, SubsampledFrames
from genz.specs.media.tiles import AnyResolution, BestCanvas, ClosestRatio, DynamicCrops, SplitLongest

FRACTIONS = [(1280, 720), (336, 336), (672, 672), (448, 448), (896, 448), (4000, 3000), (37, 2999), (1, 1), (1, 150)]
SIDES = st.integers(1, 4000)
NEXT = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]


def bare(processor: Any, **attributes: Any) -> Any:
    """A processor without a tokenizer, for what it computes from sizes alone."""
    built = processor.__new__(processor)
    for name, value in attributes.items():
        setattr(built, name, value)
    return built


def functions(module: str, *names: str) -> dict[str, Any]:
    """Functions and methods out of a module of transformers that needs torchvision as a whole, which they do not."""
    source = (Path(transformers.__file__).parent / "models" / f"{module}.py").read_text(encoding="utf-8")
    found: dict[str, Any] = {"math": math, "torch": torch, "defaultdict": defaultdict, "SizeDict": Any}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.decorator_list = []
            exec(compile(ast.Module([node], []), module, "exec"), found)
    return found


LLAMA4 = functions("llama4/image_processing_llama4", "get_factors", "find_supported_resolutions", "get_best_fit")
PHI4 = functions("phi4_multimodal/image_processing_phi4_multimodal", "find_closest_aspect_ratio", "dynamic_preprocess")
gemma3 = Gemma3ImageProcessorPil()
internvl = GotOcr2ImageProcessorPil(size={"height": 448, "width": 448}, crop_to_patches=True, max_patches=12)
idefics3 = Idefics3ImageProcessorPil(size={"longest_edge": 1456}, max_image_size={"longest_edge": 364})
llava_next = bare(
    LlavaNextProcessor, image_processor=SimpleNamespace(image_grid_pinpoints=NEXT), patch_size=14, num_additional_image_tokens=1
)
onevision = bare(
    LlavaOnevisionProcessor,
    image_processor=SimpleNamespace(image_grid_pinpoints=ONEVISION),
    num_image_tokens=729,
    vision_aspect_ratio="anyres_max_9",
)


def qwen_tokens(width: int, height: int, factor: int, least: int, most: int) -> int:
    tall, wide = smart_resize(height, width, factor, least, most)
    return tall // factor * (wide // factor)


def pixtral_tokens(width: int, height: int, side: int, longest: int) -> int:
    image = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (height, width, 3))
    tall, wide = get_resize_output_image_size(image, (longest, longest), (side, side), "channels_last")
    if not tall * wide:
        raise ValueError("no pixel is left, and no picture can be made of that size")
    return (wide // side + 1) * (tall // side)


def gemma3_tokens(width: int, height: int) -> int:
    return 256 * (1 + len(gemma3.pan_and_scan(np.broadcast_to(np.zeros((1, 1, 1)), (3, height, width)), 256, 4, 1.2)))


def gemma4_tokens(width: int, height: int) -> int:
    tall, wide = get_aspect_ratio_preserving_size(height, width, 16, 280 * 9, 3)
    return tall // 48 * (wide // 48)


def llama4_grid(width: int, height: int) -> tuple[int, int]:
    listed = torch.tensor(LLAMA4["find_supported_resolutions"](16, SimpleNamespace(height=336, width=336)))
    tall, wide = LLAMA4["get_best_fit"]((height, width), listed).tolist()
    return wide // 336, tall // 336


def mllama_grid(width: int, height: int) -> tuple[int, int]:
    tall, wide = get_optimal_tiled_canvas(height, width, 4, 560)
    return wide // 560, tall // 560


def idefics3_tokens(width: int, height: int) -> int:
    _, rows, columns = idefics3.get_number_of_image_patches(height, width)
    return 169 + 3 + rows * (columns * (169 + 2) + 1)


class Blank:
    """What torchvision would do with the picture, without a picture."""

    resize = staticmethod(lambda image, _size: image)
    pad = staticmethod(lambda image, _padding, fill: image)


def phi4_mask(width: int, height: int) -> torch.Tensor:
    """Which patches of the crops hold more than padding, by the processor."""
    PHI4["tvF"] = Blank
    own = SimpleNamespace(find_closest_aspect_ratio=lambda *asked: PHI4["find_closest_aspect_ratio"](None, *asked))
    mask: torch.Tensor = PHI4["dynamic_preprocess"](own, torch.zeros(1, height, width), 448, 14, 32, max_num=36)[1]
    return mask


RULES: dict[str, tuple[Any, Callable[[int, int], int]]] = {
    "qwen2.5-vl": (SmartResize(14, 2, 3136, 12845056, 112), lambda w, h: qwen_tokens(w, h, 28, 3136, 12845056)),
    "qwen2-vl, narrow": (SmartResize(14, 2, 200704, 1003520), lambda w, h: qwen_tokens(w, h, 28, 200704, 1003520)),
    "qwen3-vl": (SmartResize(16, 2, 65536, 16777216), lambda w, h: qwen_tokens(w, h, 32, 65536, 16777216)),
    "pixtral": (PatchRows(16, 1, 1024), lambda w, h: pixtral_tokens(w, h, 16, 1024)),
    "mistral3": (PatchRows(14, 2, 1540), lambda w, h: pixtral_tokens(w, h, 28, 1540)),
    "gemma3, pan and scan": (PanAndScan(FixedGrid(896, 14, 256)), gemma3_tokens),
    "gemma4": (SoftTokenBudget(16, 3, 280), gemma4_tokens),
    "internvl": (
        ClosestRatio(448, 256, 1025, 12),
        lambda w, h: 2 + 256 * internvl.get_number_of_image_patches(h, w),
    ),
    "llava_next": (
        AnyResolution(336, 14, tuple(map(tuple, NEXT))),
        lambda w, h: llava_next._get_number_of_features(h, w, 336, 336) - 1,
    ),
    "llava_onevision": (
        AnyResolution(384, 14, tuple(map(tuple, ONEVISION)), class_tokens=0, most_tiles=9),
        lambda w, h: onevision._get_number_of_features(h, w, 384, 384),
    ),
    "idefics3": (SplitLongest(364, 676, 169, 1456), idefics3_tokens),
}


def answer(ask: Callable[[], int]) -> int | None:
    """Tokens, or None where the processor (or GenZ) refuses the image."""
    try:
        return ask()
    except (ValueError, TypeError, ZeroDivisionError, GenZError):
        return None


def agree(name: str, width: int, height: int) -> None:
    rule, expected = RULES[name]
    wanted = answer(lambda: expected(width, height))
    found = answer(lambda: rule.passes(width, height).prompt_tokens)
    if wanted:
        assert found == wanted, (name, width, height)


@pytest.mark.parametrize("size", FRACTIONS)
@pytest.mark.parametrize("name", RULES)
def test_tokens_are_those_of_the_processor(name: str, size: tuple[int, int]) -> None:
    agree(name, *size)


@pytest.mark.parametrize("name", RULES)
@given(width=SIDES, height=SIDES)
@settings(max_examples=60, deadline=None)
def test_tokens_of_any_size_are_those_of_the_processor(name: str, width: int, height: int) -> None:
    agree(name, width, height)


@given(width=SIDES, height=SIDES)
@settings(max_examples=100, deadline=None)
def test_tiles_of_llama_are_those_of_its_processors(width: int, height: int) -> None:
    llama4, mllama = BestCanvas(336, 577, 144, 16), BestCanvas(560, 1608, 1601, 4, crosses=True)
    assert llama4.canvas(width, height) == llama4_grid(width, height)
    assert mllama.canvas(width, height) == mllama_grid(width, height)
    columns, rows = llama4.canvas(width, height)
    written = 1 + (rows * (columns * 144 + columns - 1 + 1) if columns * rows > 1 else 0) + 1 + 144 + 1
    assert llama4.passes(width, height).prompt_tokens == written
    whole = mllama.passes(width, height)
    assert (whole.prompt_tokens, whole.source_tokens, whole.media[0].tokens) == (1, 4 * 1601, 4 * 1608)


@pytest.mark.parametrize(("width", "height"), [size for size in FRACTIONS if min(size) > 30] + [(500, 30), (3000, 2800)])
def test_tokens_of_phi4_are_those_of_its_processor(width: int, height: int) -> None:
    mask = phi4_mask(width, height)
    halved = mask[0::2, 0::2]
    found = DynamicCrops(448, 14, 36).passes(width, height)
    assert found.prompt_tokens == 256 + 1 + 16 + int(halved.sum()) + int(halved[:, 0].sum())
    assert found.media[0].sequences == 1 + mask.numel() // 32**2


@pytest.mark.parametrize("seconds", [0.5, 1.0, 7.3, 12.0, 29.99, 30.0])
def test_a_clip_in_whispers_window(seconds: float) -> None:
    frames = math.floor(seconds * 16000) // 160
    encoded = (frames - 1) // 2 + 1  # as `_get_feat_extract_output_lengths` of Qwen2-Audio has it
    found = PaddedWindow().passes(seconds)
    assert (found.media[0].tokens, found.prompt_tokens) == (1500, (encoded - 2) // 2 + 1)


@given(frames=st.integers(1, 20_000))
@settings(max_examples=100, deadline=None)
def test_a_clip_in_chunks(frames: int) -> None:
    found = ConvolvedChunks().passes((frames + 0.5) / 100)
    assert found.prompt_tokens == int(_get_feat_extract_output_lengths(torch.tensor(frames)))


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.0, 11.7])
def test_a_clip_of_subsampled_frames(seconds: float) -> None:
    extracted = Phi4MultimodalFeatureExtractor()(np.zeros(int(seconds * 16000)), sampling_rate=16000)
    assert SubsampledFrames().passes(seconds).prompt_tokens == int(extracted["audio_embed_sizes"][0])


def test_long_clips_are_unfolded_or_refused() -> None:
    unfolded = SubsampledFrames().passes(100.0).media[0]
    assert (unfolded.sequences, unfolded.tokens) == (3, 500)
    with pytest.raises(InvalidValueError, match="longer than the encoder takes; allowed: up to 30 s"):
        PaddedWindow().passes(31.0)
    with pytest.raises(InvalidValueError, match="longer than the encoder"):
        ConvolvedChunks().passes(3 * 3600.0)
    with pytest.raises(InvalidValueError, match="no frame"):
        SubsampledFrames().passes(0.001)


def test_windows_cut_by_an_edge_are_counted_as_they_are() -> None:
    """A grid of 22 x 14 patches in windows of 8 x 8: 2 whole and one of 6 across, one whole and one of 6 down."""
    rule = SmartResize(14, 2, 1, 10**8, 112)
    squares = (8**2 + 8**2 + 6**2) * (8**2 + 6**2)
    assert rule.passes(22 * 14, 14 * 14).media[0].window_keys == pytest.approx(squares / (22 * 14))


ABSURD = [
    "0x720",
    "1280x0",
    "1280",
    "x",
    "",
    "1280x720x3",
    "-5x7",
    "1e3x5",
    "200000x5",
    None,
    5,
    (1, 2, 3),
    (1.5, 2),
    (True, 2),
]


@pytest.mark.parametrize("size", ABSURD)
def test_absurd_sizes_are_refused(size: Any) -> None:
    with pytest.raises(InvalidValueError, match="image_size"):
        parse_image_size(size)


@pytest.mark.parametrize("audio", ["30", "-3 s", "0 s", 0, -1, "30 m", "abc", "48 h", float("nan")])
def test_absurd_clips_are_refused(audio: Any) -> None:
    with pytest.raises(InvalidValueError, match="audio"):
        parse_seconds(audio)


def test_sizes_and_clips_as_people_write_them() -> None:
    assert [parse_image_size(size) for size in ("1280x720", " 1280 X 720 ", (1280, 720), [1280, 720])] == [(1280, 720)] * 4
    assert [parse_seconds(audio) for audio in ("30 s", "0.5min", 30)] == [30.0] * 3


def test_images_beyond_a_processor_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="ratio is at most 200"):
        SmartResize(14, 2, 3136, 12845056).passes(5000, 20)
    with pytest.raises(InvalidValueError, match="a pixel left"):
        PatchRows(16, 1, 1024).passes(2000, 1)
    with pytest.raises(InvalidValueError, match="10 pixels"):
        DynamicCrops(448, 14, 36).passes(5000, 4)


# Published anchors.


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("llava-1.5-7b", (500, 900), 576),
        ("llava-next-7b", (672, 672), 2928),  # 2,880 features and 48 ends of rows
        ("paligemma-3b", (224, 224), 256),
        ("gemma-3-27b-multimodal", (1280, 720), 256),
        ("qwen2.5-vl-7b", (1280, 720), 46 * 26),
        ("internvl3-8b", (1280, 720), 2 + 256 * 9),  # 4 x 2 tiles and the whole
        ("pixtral-12b", (1024, 1024), 64 * 65),
        ("llama-3.2-11b-vision", (1280, 720), 1),
    ],
)
def test_tokens_of_published_models(model: str, size: tuple[int, int], tokens: int) -> None:
    assert catalog.model(model).images.passes(*size).prompt_tokens == tokens
