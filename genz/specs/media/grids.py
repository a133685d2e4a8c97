"""Processors that resize an image to one grid of patches: of a fixed size, or close to its own.

Sources: the image processors of Hugging Face transformers 5 that each class names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from genz.specs.linear import ceil_div
from genz.specs.media.passes import VISION, Passes, one_pass, refuse_image
from genz.specs.workload import Media

# Processors that take an image of nearly any size have none of their own: a question that names none means a square of this.
USUAL_SIDE = 1024


@dataclass(frozen=True)
class FixedGrid:
    """Every image becomes one square of `side` pixels: LLaVA, PaliGemma, Gemma 3 without pan and scan, BLIP-2.

    The tower sees its patches and `class_tokens` more; the prompt takes `prompt_tokens` of it. Images pass a `resampler` of as
    many queries, where there is one, and towers `beside` it: the name of each, and its class tokens.
    """

    side: int
    patch: int
    prompt_tokens: int
    class_tokens: int = 0
    resampler: str | None = None
    beside: tuple[tuple[str, int], ...] = ()

    @property
    def native(self) -> tuple[int, int]:
        return self.side, self.side

    def passes(self, width: int, height: int) -> Passes:  # noqa: ARG002 (all sizes become one)
        patches = (self.side // self.patch) ** 2
        tokens = patches + self.class_tokens
        media = [Media(VISION, 1, tokens), *(Media(name, 1, patches + extra) for name, extra in self.beside)]
        if self.resampler is not None:
            media.append(Media(self.resampler, 1, self.prompt_tokens, source_tokens=tokens))
        return Passes(tuple(media), self.prompt_tokens)


@dataclass(frozen=True)
class PanAndScan:
    """Gemma 3: the whole image as one square, and crops of an elongated one where pan and scan is on.

    Source: `Gemma3ImageProcessor.pan_and_scan`; the text that introduces crops is not counted.
    """

    square: FixedGrid
    min_crop: int = 256
    max_crops: int = 4
    min_ratio: float = 1.2

    @property
    def native(self) -> tuple[int, int]:
        return self.square.native

    def crops(self, width: int, height: int) -> int:
        """Crops beside the whole image."""
        long, short = max(width, height), min(width, height)
        if long / short < self.min_ratio:
            return 0
        wanted = min(math.floor(long / self.min_crop), math.floor(long / short + 0.5))
        number = min(self.max_crops, max(2, wanted))
        return 0 if min(math.ceil(long / number), short) < self.min_crop else number

    def passes(self, width: int, height: int) -> Passes:
        squares = 1 + self.crops(width, height)
        whole = self.square.passes(width, height)
        return Passes(tuple(Media(m.encoder, squares, m.tokens) for m in whole.media), squares * whole.prompt_tokens)


@dataclass(frozen=True)
class SmartResize:
    """Qwen-VL: the image's own shape, in whole squares of `merge` x `merge` patches, between two numbers of pixels.

    Layers that attend within windows of `window` pixels see less where a window is cut by the edge of the image.
    Source: `smart_resize` in image_processing_qwen2_vl.py and `get_vision_window_index` in vision_utils.py.
    """

    patch: int
    merge: int
    min_pixels: int
    max_pixels: int
    window: int | None = None
    max_ratio: int = 200

    @property
    def native(self) -> tuple[int, int]:
        side = min(math.isqrt(self.max_pixels), USUAL_SIDE) // (self.patch * self.merge) * self.patch * self.merge
        return side, side

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows of patches."""
        if max(width, height) / min(width, height) > self.max_ratio:
            raise refuse_image(width, height, allowed=f"sides whose ratio is at most {self.max_ratio}")
        factor = self.patch * self.merge
        columns, rows = round(width / factor), round(height / factor)
        if rows * columns * factor**2 > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            rows = max(1, math.floor(height / shrink / factor))
            columns = max(1, math.floor(width / shrink / factor))
        elif rows * columns * factor**2 < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
        return columns * self.merge, rows * self.merge

    def passes(self, width: int, height: int) -> Passes:
        columns, rows = self.grid(width, height)
        return one_pass(
            columns * rows,
            columns * rows // self.merge**2,
            window_keys=None if self.window is None else self._window_keys(columns, rows),
        )

    def _window_keys(self, columns: int, rows: int) -> float:
        """Patches in the window of a patch, on average: windows tile the merged grid from its corner."""
        side = (self.window or 0) // self.patch // self.merge
        squares = [_squares(length // self.merge, side) for length in (columns, rows)]
        return squares[0] * squares[1] * self.merge**4 / (columns * rows)


def _squares(length: int, piece: int) -> int:
    """The sum of the squares of the pieces of a length: whole ones, and what is left over."""
    whole, rest = divmod(length, piece)
    return whole * piece**2 + rest**2


@dataclass(frozen=True)
class PatchRows:
    """Pixtral: the image's own shape, at most `longest` pixels a side, and a token that ends each row of patches.

    Source: `get_resize_output_image_size` in image_processing_pixtral.py, `PixtralProcessor`.
    """

    patch: int
    merge: int
    longest: int

    @property
    def native(self) -> tuple[int, int]:
        return self.longest, self.longest

    def passes(self, width: int, height: int) -> Passes:
        side, shrink = self.patch * self.merge, max(width / self.longest, height / self.longest, 1.0)
        if shrink > 1:
            width, height = math.floor(width / shrink), math.floor(height / shrink)
        if min(width, height) < 1:
            raise refuse_image(width, height, allowed=f"an image with a pixel left when its long side has {self.longest}")
        columns, rows = ceil_div(width, side), ceil_div(height, side)
        return one_pass(columns * rows * self.merge**2, (columns + 1) * rows)


@dataclass(frozen=True)
class SoftTokenBudget:
    """Gemma 4: the largest grid of the image's shape whose squares of `pool` x `pool` patches are within a budget.

    The tower works on the whole budget of patches, padded. Source: `get_aspect_ratio_preserving_size` in
    image_processing_gemma4.py.
    """

    patch: int
    pool: int
    budget: int

    @cached_property
    def native(self) -> tuple[int, int]:
        side = math.isqrt(self.budget) * self.pool * self.patch
        return side, side

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows of pooled squares."""
        side = self.pool * self.patch
        scale = math.sqrt(self.budget * self.pool**2 * self.patch**2 / (width * height))
        columns, rows = math.floor(width * scale / side), math.floor(height * scale / side)
        if rows == 0:
            return min(width // height, self.budget), 1
        if columns == 0:
            return 1, min(height // width, self.budget)
        return columns, rows

    def passes(self, width: int, height: int) -> Passes:
        columns, rows = self.grid(width, height)
        return one_pass(self.budget * self.pool**2, columns * rows)
