"""Multimodal models whose images are cut into tiles: InternVL, Llama 4, Llama 3.2 Vision, Idefics 3 and SmolVLM.

Sources: the configuration, modeling and processing files of Hugging Face transformers 5 for each `model_type`, and of
its makers for InternVL's own form.
"""

from __future__ import annotations

from genz.specs.config import Config
from genz.specs.linear import Linear
from genz.specs.media.tiles import BestCanvas, ClosestRatio, SplitLongest
from genz.specs.readers import towers
from genz.specs.readers.composite import LARGE_CLIP, Composite, CompositeReader, part, pixels, text_part
from genz.specs.readers.text_parts import MLLAMA
from genz.specs.readers.tower_choice import TOWER_DEFAULTS, TOWERS, feature_width, text_width, tower_of
from genz.specs.readers.towers import Projector, patches_of, side_of

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
    width, hidden = feature_width(config, tower) * merge, text_width(text, config)
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
    projector = Projector((Linear("project", tower.count("vision_output_dim"), text_width(text, config)),))
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
    kind, tower = tower_of(config, default_type, TOWER_DEFAULTS[default_type])
    scale = config.count("scale_factor", default=2)
    side, patches = side_of(tower, "image_size"), patches_of(tower)
    projector = Projector((Linear("project", tower.hidden * scale**2, text_width(text, config)),), merge=scale**2)
    images = SplitLongest(
        side,
        tower_tokens=patches,
        tile_tokens=patches // scale**2,
        longest=pixels(preprocessor, "size", "longest_edge", default=4 * side),
        splits=preprocessor.flag("do_image_splitting", default=True),
    )
    return Composite(text_type, text, (TOWERS[kind](tower, projector),), images)


COMPOSITES: dict[str, CompositeReader] = {
    "internvl": internvl,
    "internvl_chat": internvl,
    "llama4": llama4,
    "mllama": mllama,
    "idefics3": idefics3,
    "smolvlm": idefics3,
}
