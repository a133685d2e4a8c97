"""Multimodal models with a vision tower before a text model, by the `model_type` of the whole: LLaVA and its kin.

A reader finds the text part and its type, builds the towers with what projects their output, and says what the model's
processor makes of an image. Numbers of the processor come from a `preprocessor_config.json` where there is one, else they are
those of the published files.

Sources: the configuration, modeling and processing files of Hugging Face transformers 5 for each `model_type`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from genz.specs.config import Config
from genz.specs.layers import Encoder
from genz.specs.linear import Linear
from genz.specs.media.grids import FixedGrid, PanAndScan, PatchRows
from genz.specs.media.passes import ImageRule
from genz.specs.media.tiles import AnyResolution, BestCanvas, ClosestRatio, SplitLongest
from genz.specs.readers import towers
from genz.specs.readers.composite import (
    CLIP_DEFAULTS,
    LARGE_CLIP,
    SIGLIP_DEFAULTS,
    Composite,
    CompositeReader,
    kind_of,
    part,
    pixels,
    text_part,
)
from genz.specs.readers.text_parts import MLLAMA
from genz.specs.readers.towers import Projector, patches_of, side_of

Tower = Callable[[Config, Projector], Encoder]
TOWERS: dict[str, Tower] = {
    "clip_vision_model": towers.clip,
    "siglip_vision_model": towers.siglip,
    "idefics3_vision": towers.headless_siglip,
    "smolvlm_vision": towers.headless_siglip,
    "pixtral": towers.pixtral,
}
PIXTRAL_DEFAULTS = LARGE_CLIP | {"image_size": 1024, "patch_size": 16}
TOWER_DEFAULTS = {
    "clip_vision_model": CLIP_DEFAULTS,
    "siglip_vision_model": SIGLIP_DEFAULTS,
    "idefics3_vision": SIGLIP_DEFAULTS
    | {"hidden_size": 1152, "num_attention_heads": 16, "image_size": 224, "patch_size": 32},
    "smolvlm_vision": SIGLIP_DEFAULTS | {"hidden_size": 1152, "num_attention_heads": 16, "image_size": 224, "patch_size": 32},
    "pixtral": PIXTRAL_DEFAULTS,
}
CLASS_TOKENS = {"clip_vision_model": 1}


def _vision(config: Config, default_type: str, defaults: dict[str, Any]) -> tuple[str, Config]:
    """The type and the keys of the tower; what a file without the key or the type means is `defaults`."""
    named = part(config, "vision_config", default={})
    kind = kind_of(named, TOWERS, default_type)
    filled = defaults if kind == default_type else TOWER_DEFAULTS[kind]
    return kind, Config({**TOWER_DEFAULTS[kind], **filled, **named.raw}, origin=named.origin)


def _features(config: Config, tower: Config) -> int:
    """Width of what the projector reads: the outputs of one layer of the tower, or of several."""
    layers = config.raw.get("vision_feature_layer")
    count = len(layers) if isinstance(layers, list) else 1
    if count == 0:
        raise config.error("vision_feature_layer", layers, "a layer, or several")
    return tower.hidden * count


def _two_matrices(config: Config, inputs: int, outputs: int, *, bias: bool = True) -> tuple[Linear, ...]:
    biased = config.flag("multimodal_projector_bias", default=bias)
    return (Linear("project_1", inputs, outputs, bias=biased), Linear("project_2", outputs, outputs, bias=biased))


def _keeps_class_token(config: Config, default: str) -> bool:
    strategy = config.text("vision_feature_select_strategy", default=default)
    if strategy not in ("default", "full"):
        raise config.error("vision_feature_select_strategy", strategy, "default, full")
    return strategy == "full"


def _hidden(text: dict[str, Any], config: Config) -> int:
    """Width of the text part."""
    return Config(text, origin=f"{config.origin}: text_config").hidden


def llava(config: Config, preprocessor: Config) -> Composite:
    """LLaVA 1.5: CLIP and two matrices; with Pixtral's tower as Pixtral 12B."""
    text_type, text = text_part(config, default_type="llama", tied=False)
    kind, tower = _vision(config, "clip_vision_model", LARGE_CLIP)
    projector = Projector(_two_matrices(config, _features(config, tower), _hidden(text, config)))
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
    kind, tower = _vision(config, "clip_vision_model", LARGE_CLIP)
    hidden, side = _hidden(text, config), side_of(tower, "image_size")
    projector = Projector(_two_matrices(config, _features(config, tower), hidden), vectors=hidden)
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
    kind, tower = _vision(config, "siglip_vision_model", ONEVISION_SIGLIP)
    hidden, side = _hidden(text, config), side_of(tower, "image_size")
    projector = Projector(_two_matrices(config, _features(config, tower), hidden), vectors=hidden)
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
    _, tower = _vision(config, "pixtral", PIXTRAL_DEFAULTS | {"image_size": 1540, "patch_size": 14})
    hidden, merge = tower.hidden, config.count("spatial_merge_size", default=2)
    projector = Projector(
        (
            Linear("merge", hidden * merge**2, hidden),
            *_two_matrices(config, _features(config, tower), _hidden(text, config), bias=False),
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
    _, tower = _vision(config, "siglip_vision_model", defaults)
    width = config.count("projection_dim", default=2048)
    projector = Projector((Linear("project", tower.hidden, width, bias=True),))
    images = FixedGrid(side_of(tower, "image_size"), side_of(tower, "patch_size"), patches_of(tower))
    return Composite(text_type, text, (towers.siglip(tower, projector),), images)


def gemma3(config: Config, preprocessor: Config) -> Composite:
    """Gemma 3: SigLIP, whose patches are pooled to 256 tokens, and a matrix; crops where the processor pans and scans."""
    text_type, text = text_part(config, default_type="gemma3_text", tied=True)
    _, tower = _vision(config, "siglip_vision_model", {})
    tokens, patches = config.count("mm_tokens_per_image", default=256), patches_of(tower)
    if config.raw.get("vision_config") and patches % tokens:
        raise config.error("mm_tokens_per_image", tokens, f"a divisor of the tower's {patches} patches")
    projector = Projector(
        (Linear("project", tower.hidden, _hidden(text, config)),), merge=max(patches // tokens, 1), vectors=tower.hidden
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


INTERNVL_TOWER = LARGE_CLIP | {"image_size": 448}


def internvl(config: Config, preprocessor: Config) -> Composite:
    """InternVL: InternViT, a pixel shuffle, a norm and two matrices; in the form of transformers or that of its makers."""
    custom = "llm_config" in config.raw
    key = "llm_config" if custom else "text_config"
    text_type, text = text_part(config, default_type="qwen2", tied=not custom, key=key)
    tower = part(config, "vision_config", default=INTERNVL_TOWER)
    kind = tower.text("model_type", default="internvl_vision")
    if kind not in ("internvl_vision", "intern_vit_6b"):
        raise tower.error("model_type", kind, "internvl_vision, intern_vit_6b")
    side = side_of(tower, "image_size")
    forced = config.optional_count("force_image_size")
    if forced is not None and forced != side:
        raise config.error("force_image_size", forced, f"the tower's image_size = {side}")
    ratio = config.raw.get("downsample_ratio", 0.5)
    if not isinstance(ratio, (int, float)) or not 0 < ratio <= 1 or round(1 / ratio) != 1 / ratio:
        raise config.error("downsample_ratio", ratio, "one over a whole number")
    merge = round(1 / ratio) ** 2
    width, hidden = _features(config, tower) * merge, _hidden(text, config)
    matrices = (Linear("project_1", width, hidden, bias=True), Linear("project_2", hidden, hidden, bias=True))
    projector = Projector(matrices, merge=merge, vectors=2 * width)
    patches = patches_of(tower)
    images = ClosestRatio(
        side,
        tile_tokens=patches // merge,
        tower_tokens=patches + 1,
        most=preprocessor.count("max_patches", default=config.count("max_dynamic_patch", default=12)),
        least=preprocessor.count("min_patches", default=config.count("min_dynamic_patch", default=1)),
        whole=config.flag("use_thumbnail", default=True),
        dynamic=config.flag("dynamic_image_size", default=True),
    )
    return Composite(text_type, text, (towers.intern_vit(tower, projector),), images)


LLAMA4_TOWER = {
    "hidden_size": 768,
    "num_hidden_layers": 34,
    "num_attention_heads": 16,
    "intermediate_size": 5632,
    "vision_output_dim": 7680,
    "image_size": 448,
    "patch_size": 14,
    "pixel_shuffle_ratio": 0.5,
}


def llama4(config: Config, preprocessor: Config) -> Composite:
    """Llama 4: its own tower with an adapter, and a matrix; tiles with marks between them, and the whole image."""
    text_type, text = text_part(config, default_type="llama4_text", tied=False)
    tower = part(config, "vision_config", default=LLAMA4_TOWER)
    projector = Projector((Linear("project", tower.count("vision_output_dim"), _hidden(text, config)),))
    encoder = towers.llama4_vision(tower, projector)
    patches = patches_of(tower)
    images = BestCanvas(
        side_of(tower, "image_size"),
        tower_tokens=patches + 1,
        tile_tokens=patches // encoder.merge,
        most=preprocessor.count("max_patches", default=16),
    )
    return Composite(text_type, text, (encoder,), images)


MLLAMA_TOWER = {
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "attention_heads": 16,
    "intermediate_size": 5120,
    "vision_output_dim": 7680,
    "image_size": 448,
    "patch_size": 14,
    "intermediate_layers_indices": [3, 7, 15, 23, 30],
}


def mllama(config: Config, preprocessor: Config) -> Composite:
    """Llama 3.2 Vision: tokens of the tiles are handed to cross attention; the prompt takes one of an image."""
    text_type, text = text_part(config, default_type="mllama_text_model", tied=False)
    tower = part(config, "vision_config", default=MLLAMA_TOWER)
    read, hidden = tower.count("vision_output_dim"), Config({**MLLAMA, **text}, origin=config.origin).hidden
    kept = tower.indices("intermediate_layers_indices", below=tower.layers)
    outputs = tower.hidden * (len(kept) + 1)
    if read != outputs:
        raise tower.error("vision_output_dim", read, f"the width of {len(kept)} layers and the last: {outputs}")
    encoder = towers.mllama_vision(tower, Projector((Linear("project", read, hidden, bias=True),)))
    images = BestCanvas(
        side_of(tower, "image_size"),
        tower_tokens=towers.mllama_padded_tokens(tower),
        tile_tokens=patches_of(tower) + 1,
        most=preprocessor.count("max_image_tiles", default=tower.count("max_num_tiles", default=4)),
        crosses=True,
    )
    return Composite(text_type, text, (encoder,), images)


def idefics3(config: Config, preprocessor: Config) -> Composite:
    """Idefics 3 and SmolVLM: SigLIP, a pixel shuffle and one matrix; images are split along their longest side."""
    text_type, text = text_part(config, default_type="llama", tied=False)
    default_type = "smolvlm_vision" if config.text("model_type", default="") == "smolvlm" else "idefics3_vision"
    kind, tower = _vision(config, default_type, TOWER_DEFAULTS[default_type])
    scale = config.count("scale_factor", default=2)
    side, patches = side_of(tower, "image_size"), patches_of(tower)
    projector = Projector((Linear("project", tower.hidden * scale**2, _hidden(text, config)),), merge=scale**2)
    images = SplitLongest(
        side,
        tower_tokens=patches,
        tile_tokens=patches // scale**2,
        longest=pixels(preprocessor, "size", "longest_edge", default=4 * side),
        splits=preprocessor.flag("do_image_splitting", default=True),
    )
    return Composite(text_type, text, (TOWERS[kind](tower, projector),), images)


COMPOSITES: dict[str, CompositeReader] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "mistral3": mistral3,
    "paligemma": paligemma,
    "gemma3": gemma3,
    "internvl": internvl,
    "internvl_chat": internvl,
    "llama4": llama4,
    "mllama": mllama,
    "idefics3": idefics3,
    "smolvlm": idefics3,
}
