"""Multimodal models with a vision tower before a text model, by the `model_type` of the whole: LLaVA and its kin.

A reader finds the text part and its type, builds the towers with what projects their output, and says what the model's
processor makes of an image. Numbers of the processor come from a `preprocessor_config.json` where there is one, else they are
those of the published files.

Sources: the configuration, modeling and processing files of Hugging Face transformers 5 for each `model_type`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from genz.specs.config import Config
from genz.specs.linear import Linear
from genz.specs.media.grids import FixedGrid, PanAndScan, PatchRows
from genz.specs.media.passes import ImageRule
from genz.specs.media.tiles import AnyResolution
from genz.specs.readers import towers
from genz.specs.readers.composite import LARGE_CLIP, Composite, CompositeReader, pixels, text_part
from genz.specs.readers.tower_choice import (
    CLASS_TOKENS,
    PIXTRAL_DEFAULTS,
    TOWERS,
    feature_width,
    text_width,
    tower_of,
)
from genz.specs.readers.towers import Projector, patches_of, side_of


def _two_matrices(config: Config, inputs: int, outputs: int, *, bias: bool = True) -> tuple[Linear, ...]:
    biased = config.flag("multimodal_projector_bias", default=bias)
    return (Linear("project_1", inputs, outputs, bias=biased), Linear("project_2", outputs, outputs, bias=biased))


def _keeps_class_token(config: Config, default: str) -> bool:
    strategy = config.text("vision_feature_select_strategy", default=default)
    if strategy not in ("default", "full"):
        raise config.error("vision_feature_select_strategy", strategy, "default, full")
    return strategy == "full"


def llava(config: Config, preprocessor: Config) -> Composite:
    """LLaVA 1.5: CLIP and two matrices; with Pixtral's tower as Pixtral 12B."""
    text_type, text = text_part(config, default_type="llama", tied=False)
    kind, tower = tower_of(config, "clip_vision_model", LARGE_CLIP)
    projector = Projector(_two_matrices(config, feature_width(config, tower), text_width(text, config)))
    images: ImageRule
    if kind == "pixtral":
        longest = pixels(preprocessor, "size", "longest_edge", default=side_of(tower, "image_size"))
        images = PatchRows(side_of(tower, "patch_size"), 1, longest)
    else:
        extra = CLASS_TOKENS.get(kind, 0)
        kept = extra if _keeps_class_token(config, "default") else 0
        images = FixedGrid(
            side_of(tower, "image_size"), side_of(tower, "patch_size"), patches_of(tower) + kept, class_tokens=extra
        )
    encoder = TOWERS[kind](tower, projector)
    if isinstance(images, FixedGrid) and images.prompt_tokens > patches_of(tower):
        # The class token passes the projector, too.
        rate = images.prompt_tokens / patches_of(tower)
        encoder = replace(encoder, exit_rates=(rate,) * len(encoder.exit))
    return Composite(text_type, text, (encoder,), images)


LLAVA_NEXT_PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
ONEVISION_PINPOINTS = tuple((384 * rows, 384 * columns) for rows in range(1, 7) for columns in range(1, 7))


def _pinpoints(config: Config, default: tuple[tuple[int, int], ...], side: int) -> tuple[tuple[int, int], ...]:
    listed = config.sequence("image_grid_pinpoints")
    if listed is None:
        return default
    for pair in listed:
        good = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(type(n) is int and n >= side for n in pair)
        if not good:
            raise config.error("image_grid_pinpoints", pair, f"pairs of a height and a width, each at least {side} pixels")
    return tuple((pair[0], pair[1]) for pair in listed)


def llava_next(config: Config, preprocessor: Config) -> Composite:  # noqa: ARG001 (the file repeats what the config says)
    """LLaVA-NeXT: tiles of the resolution that fits best, and a learned end of each row."""
    text_type, text = text_part(config, default_type="llama", tied=False)
    kind, tower = tower_of(config, "clip_vision_model", LARGE_CLIP)
    hidden, side = text_width(text, config), side_of(tower, "image_size")
    projector = Projector(_two_matrices(config, feature_width(config, tower), hidden), vectors=hidden)
    images = AnyResolution(
        side,
        side_of(tower, "patch_size"),
        _pinpoints(config, LLAVA_NEXT_PINPOINTS, side),
        class_tokens=CLASS_TOKENS.get(kind, 0),
        keeps_class_token=_keeps_class_token(config, "default"),
    )
    return Composite(text_type, text, (TOWERS[kind](tower, projector),), images)


ONEVISION_SIGLIP = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "patch_size": 14,
    "image_size": 384,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "vision_use_head": False,
}


def llava_onevision(config: Config, preprocessor: Config) -> Composite:  # noqa: ARG001
    """LLaVA-OneVision: SigLIP, up to 36 tiles, whose features are shrunk to those of nine."""
    text_type, text = text_part(config, default_type="qwen2", tied=False)
    kind, tower = tower_of(config, "siglip_vision_model", ONEVISION_SIGLIP)
    hidden, side = text_width(text, config), side_of(tower, "image_size")
    projector = Projector(_two_matrices(config, feature_width(config, tower), hidden), vectors=hidden)
    limit = config.text("vision_aspect_ratio", default="anyres_max_9")
    most = limit.removeprefix("anyres_max_")
    if not most.isdigit() or int(most) == 0:
        raise config.error("vision_aspect_ratio", limit, "anyres_max_ and a number of tiles")
    images = AnyResolution(
        side,
        side_of(tower, "patch_size"),
        _pinpoints(config, ONEVISION_PINPOINTS, side),
        class_tokens=CLASS_TOKENS.get(kind, 0),
        most_tiles=int(most),
    )
    return Composite(text_type, text, (TOWERS[kind](tower, projector),), images)


MISTRAL3_TEXT = {
    "head_dim": 128,
    "hidden_size": 5120,
    "intermediate_size": 32768,
    "max_position_embeddings": 131072,
    "num_hidden_layers": 40,
    "sliding_window": None,
    "vocab_size": 131072,
}


def mistral3(config: Config, preprocessor: Config) -> Composite:
    """Mistral Small 3.1: Pixtral's tower, of whose patches 2 x 2 are merged."""
    text_type, text = text_part(config, default_type="mistral", tied=True, defaults=_unless_named(config, MISTRAL3_TEXT))
    _, tower = tower_of(config, "pixtral", PIXTRAL_DEFAULTS | {"image_size": 1540, "patch_size": 14})
    hidden, merge = tower.hidden, config.count("spatial_merge_size", default=2)
    projector = Projector(
        (
            Linear("merge", hidden * merge**2, hidden),
            *_two_matrices(config, feature_width(config, tower), text_width(text, config), bias=False),
        ),
        merge=merge**2,
        vectors=hidden,
    )
    longest = pixels(preprocessor, "size", "longest_edge", default=side_of(tower, "image_size"))
    images = PatchRows(side_of(tower, "patch_size"), merge, longest)
    return Composite(text_type, text, (towers.pixtral(tower, projector),), images)


def _unless_named(config: Config, defaults: dict[str, Any]) -> dict[str, Any]:
    """Defaults of a composite for a text part that it makes itself; one that is named has those of its own class."""
    return {} if config.raw.get("text_config") else defaults


PALIGEMMA_TEXT = {
    "hidden_size": 2048,
    "num_hidden_layers": 18,
    "intermediate_size": 16384,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "vocab_size": 257152,
}
PALIGEMMA_SIGLIP = {
    "intermediate_size": 4096,
    "hidden_size": 1152,
    "patch_size": 14,
    "image_size": 224,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "vision_use_head": False,
}


def paligemma(config: Config, preprocessor: Config) -> Composite:  # noqa: ARG001
    """PaliGemma: SigLIP and one matrix before Gemma."""
    text_type, text = text_part(config, default_type="gemma", tied=True, defaults=_unless_named(config, PALIGEMMA_TEXT))
    defaults = {"vision_use_head": False} if config.raw.get("vision_config") else PALIGEMMA_SIGLIP
    _, tower = tower_of(config, "siglip_vision_model", defaults)
    width = config.count("projection_dim", default=2048)
    projector = Projector((Linear("project", tower.hidden, width, bias=True),))
    images = FixedGrid(side_of(tower, "image_size"), side_of(tower, "patch_size"), patches_of(tower))
    return Composite(text_type, text, (towers.siglip(tower, projector),), images)


def gemma3(config: Config, preprocessor: Config) -> Composite:
    """Gemma 3: SigLIP, whose patches are pooled to 256 tokens, and a matrix; crops where the processor pans and scans."""
    text_type, text = text_part(config, default_type="gemma3_text", tied=True)
    _, tower = tower_of(config, "siglip_vision_model", {})
    tokens, patches = config.count("mm_tokens_per_image", default=256), patches_of(tower)
    if config.raw.get("vision_config") and patches % tokens:
        raise config.error("mm_tokens_per_image", tokens, f"a divisor of the tower's {patches} patches")
    projector = Projector(
        (Linear("project", tower.hidden, text_width(text, config)),), merge=max(patches // tokens, 1), vectors=tower.hidden
    )
    square = FixedGrid(side_of(tower, "image_size"), side_of(tower, "patch_size"), tokens)
    images: ImageRule = square
    if preprocessor.flag("do_pan_and_scan", default=False):
        images = PanAndScan(
            square,
            min_crop=preprocessor.count("pan_and_scan_min_crop_size", default=256),
            max_crops=preprocessor.count("pan_and_scan_max_num_crops", default=4),
        )
    return Composite(text_type, text, (towers.siglip(tower, projector),), images)


COMPOSITES: dict[str, CompositeReader] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "mistral3": mistral3,
    "paligemma": paligemma,
    "gemma3": gemma3,
}
