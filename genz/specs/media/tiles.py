"""Processors that cut an image into tiles, each a sequence of the vision tower of its own.

Sources: the image processors and processors of Hugging Face transformers 5 that each class names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from genz.specs.linear import ceil_div
from genz.specs.media.passes import Passes, one_pass, refuse_image

Grid = tuple[int, int]  # columns, rows


@dataclass(frozen=True)
class AnyResolution:
    """LLaVA-NeXT and LLaVA-OneVision: the whole image as one tile, and tiles of the listed resolution that fits it best.

    The features of the tiles are put together, what was padded is cut off, and a token ends each row of them. `pinpoints` are
    (height, width). `most_tiles`: features beyond that many tiles' are shrunk. Sources: `select_best_resolution` in
    image_processing_utils.py, `_get_unpadded_features` in processing_llava_next.py and processing_llava_onevision.py.
    """

    side: int
    patch: int
    pinpoints: tuple[tuple[int, int], ...]
    class_tokens: int = 1
    most_tiles: int | None = None
    keeps_class_token: bool = False

    @property
    def native(self) -> Grid:
        return 2 * self.side, 2 * self.side

    def resolution(self, width: int, height: int) -> tuple[int, int]:
        """The (height, width) that keeps most of an image and, of those, wastes least. Raises `InvalidValueError`."""
        best, most, least = None, 0, math.inf
        for tall, wide in self.pinpoints:
            scale = min(wide / width, tall / height)
            kept = min(int(width * scale) * int(height * scale), width * height)
            if kept > most or (kept == most and tall * wide - kept < least):
                best, most, least = (tall, wide), kept, tall * wide - kept
        if best is None:
            raise refuse_image(width, height, allowed="an image of which a pixel is left in one of the model's resolutions")
        return best

    def passes(self, width: int, height: int) -> Passes:
        tall, wide = self.resolution(width, height)
        side = self.side // self.patch
        tiles = (tall // self.side) * (wide // self.side)
        columns, rows = _unpadded(width, height, side * (wide // self.side), side * (tall // self.side))
        features = columns * rows + rows
        if self.most_tiles is not None:
            shrink = math.sqrt(columns * rows / (self.most_tiles * side**2))
            if shrink > 1.1:
                features = int(rows // shrink) * int(columns // shrink) + int(rows // shrink)
        kept = side**2 + (self.class_tokens if self.keeps_class_token else 0)
        return one_pass(side**2 + self.class_tokens, features + kept, sequences=1 + tiles)


def _unpadded(width: int, height: int, columns: int, rows: int) -> Grid:
    """The features of a grid that do not lie in the padding of an image of another shape."""
    if width / height > columns / rows:
        return columns, rows - (rows - round_down(height * (columns / width))) // 2 * 2
    return columns - (columns - round_down(width * (rows / height))) // 2 * 2, rows


def round_down(value: float) -> int:
    """The whole number below a value, which may lie a rounding error below itself."""
    return int(round(value, 7))


@dataclass(frozen=True)
class ClosestRatio:
    """InternVL: the tiles of the grid whose shape is closest to the image's, and the whole image where they are several.

    The prompt takes `tile_tokens` of each tile and two marks. Sources: `get_optimal_tiled_canvas` in
    image_processing_got_ocr2.py, `InternVLProcessor`.
    """

    side: int
    tile_tokens: int
    tower_tokens: int
    most: int
    least: int = 1
    whole: bool = True
    dynamic: bool = True
    marks: int = 2

    @property
    def native(self) -> Grid:
        return self.side, self.side

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """Grids of as many tiles as may be, the fewest first."""
        pairs = [(c, r) for c in range(1, self.most + 1) for r in range(1, self.most + 1)]
        return tuple(sorted((p for p in pairs if self.least <= p[0] * p[1] <= self.most), key=lambda p: p[0] * p[1]))

    def tiles(self, width: int, height: int) -> int:
        """Tiles of an image, the whole one included."""
        if not self.dynamic or self.most == 1:
            return 1
        columns, rows = closest_grid(self.grids, width, height, self.side)
        return columns * rows + (1 if self.whole and columns * rows > 1 else 0)

    def passes(self, width: int, height: int) -> Passes:
        tiles = self.tiles(width, height)
        return one_pass(self.tower_tokens, tiles * self.tile_tokens + self.marks, sequences=tiles)


def closest_grid(grids: Iterable[Grid], width: int, height: int, side: int) -> Grid:
    """The grid whose ratio of sides is closest to an image's; of equal ones the larger, while it is not twice the image."""
    best, least = (1, 1), math.inf
    for columns, rows in grids:
        distance = abs(width / height - columns / rows)
        if distance < least:
            best, least = (columns, rows), distance
        elif distance == least and width * height > 0.5 * side**2 * columns * rows:
            best = (columns, rows)
    return best


@dataclass(frozen=True)
class BestCanvas:
    """Llama 4 and Llama 3.2 Vision: the canvas of tiles that holds an image at the smallest enlargement, else the largest.

    Llama 4 takes the tiles, with marks between them, and the whole image beside several. Llama 3.2 pads to `most` tiles, which
    attend to each other in the tower, and hands their tokens to cross attention: the prompt takes one. Sources:
    `get_optimal_tiled_canvas` in image_processing_mllama.py, `get_best_fit` in image_processing_llama4.py,
    `Llama4Processor._prompt_split_image`.
    """

    side: int
    tower_tokens: int
    tile_tokens: int
    most: int
    crosses: bool = False

    @property
    def native(self) -> Grid:
        return self.side, self.side

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """(columns, rows) of every canvas."""
        sides = range(1, self.most + 1)
        return tuple((columns, rows) for columns in sides for rows in sides if columns * rows <= self.most)

    def canvas(self, width: int, height: int) -> Grid:
        """Columns and rows of tiles."""
        scales = {(c, r): min(r * self.side / height, c * self.side / width) for c, r in self.grids}
        larger = [scale for scale in scales.values() if scale >= 1]
        chosen = min(larger) if larger else max(scales.values())
        return min((grid for grid, scale in scales.items() if scale == chosen), key=lambda grid: grid[0] * grid[1])

    def passes(self, width: int, height: int) -> Passes:
        if self.crosses:
            whole = one_pass(self.most * self.tower_tokens, 1)
            return Passes(whole.media, 1, source_tokens=self.most * self.tile_tokens)
        columns, rows = self.canvas(width, height)
        tiles = columns * rows
        split = tiles > 1
        marks = 3 + (tiles if split else 0)  # start, image, end; a mark between the tiles of a row, and one behind each row
        sequences = tiles + 1 if split else 1
        return one_pass(self.tower_tokens, sequences * self.tile_tokens + marks, sequences=sequences)


@dataclass(frozen=True)
class SplitLongest:
    """Idefics 3 and SmolVLM: an image whose long side is `longest` is split into tiles of `side`, and the whole one follows.

    The prompt takes `tile_tokens` of each and marks around them. Source: `get_number_of_image_patches` in
    image_processing_idefics3.py, `Idefics3Processor`.
    """

    side: int
    tower_tokens: int
    tile_tokens: int
    longest: int
    splits: bool = True
    ceiling: int = 4096

    @property
    def native(self) -> Grid:
        return self.longest, self.longest

    def grid(self, width: int, height: int) -> Grid:
        """Columns and rows of tiles, none where the image is one."""
        if not self.splits:
            return 0, 0
        ratio = width / height
        if width >= height:
            width, height = self.longest, _even(int(self.longest / ratio))
        else:
            width, height = _even(int(self.longest * ratio)), self.longest
        if max(width, height) > self.ceiling:
            scale, wide = width / height, width >= height
            width, height = (self.ceiling, int(self.ceiling / scale)) if wide else (int(self.ceiling * scale), self.ceiling)
        columns, rows = ceil_div(max(width, 1), self.side), ceil_div(max(height, 1), self.side)
        return (columns, rows) if columns * rows > 1 else (0, 0)

    def passes(self, width: int, height: int) -> Passes:
        columns, rows = self.grid(width, height)
        prompt = self.tile_tokens + 3 + rows * (columns * (self.tile_tokens + 2) + 1)
        return one_pass(self.tower_tokens, prompt, sequences=columns * rows + 1)


def _even(length: int) -> int:
    return length + length % 2


@dataclass(frozen=True)
class DynamicCrops:
    """Phi-4 multimodal: crops that cover an image, up to `most`, and the whole one; of each 2 x 2 patches make a token.

    Tokens of the padding are left out, a token ends each row, and one stands between the whole image and the crops. Source:
    `dynamic_preprocess` in image_processing_phi4_multimodal.py.
    """

    side: int
    patch: int
    most: int

    @property
    def native(self) -> Grid:
        return self.side, self.side

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        pairs = [(c, r) for c in range(1, self.most + 1) for r in range(1, self.most + 1) if c * r <= self.most]
        return tuple(sorted(pairs, key=lambda pair: pair[0] * pair[1]))

    def passes(self, width: int, height: int) -> Passes:
        columns, rows = ceil_div(width, self.side), ceil_div(height, self.side)
        if columns * rows > self.most:
            columns, rows = closest_grid(self.grids, width, height, self.side)
        scale = min(self.side * columns / width, self.side * rows / height)
        by_width = self.side * columns / width < self.side * rows / height
        new = (self.side * columns, int(height * scale)) if by_width else (int(width * scale), self.side * rows)
        if min(new) < 10:
            raise refuse_image(width, height, allowed="an image with at least 10 pixels a side when it is resized to its crops")
        half = self.side // self.patch // 2
        kept = [
            ceil_div(self.side // self.patch * crops - (self.side * crops - length) // self.patch, 2)
            for crops, length in zip((columns, rows), new, strict=True)
        ]
        whole = half * half
        prompt = whole + 1 + kept[0] * kept[1] + kept[1] + half
        return one_pass((self.side // self.patch) ** 2, prompt, sequences=columns * rows + 1)
