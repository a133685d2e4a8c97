"""Which vision tower a `vision_config` names, and the widths that a projector joins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genz.specs.config import Config
from genz.specs.layers import Encoder
from genz.specs.readers import towers
from genz.specs.readers.composite import CLIP_DEFAULTS, LARGE_CLIP, SIGLIP_DEFAULTS, kind_of, part
from genz.specs.readers.towers import Projector

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
    "idefics3_vision": SIGLIP_DEFAULTS | {"hidden_size": 1152, "num_attention_heads": 16, "image_size": 224, "patch_size": 32},
    "smolvlm_vision": SIGLIP_DEFAULTS | {"hidden_size": 1152, "num_attention_heads": 16, "image_size": 224, "patch_size": 32},
    "pixtral": PIXTRAL_DEFAULTS,
}
CLASS_TOKENS = {"clip_vision_model": 1}


def tower_of(config: Config, default_type: str, defaults: dict[str, Any]) -> tuple[str, Config]:
    """The type and the keys of the tower; what a file without the key or the type means is `defaults`."""
    named = part(config, "vision_config", default={})
    kind = kind_of(named, TOWERS, default_type)
    filled = defaults if kind == default_type else TOWER_DEFAULTS[kind]
    return kind, Config({**TOWER_DEFAULTS[kind], **filled, **named.raw}, origin=named.origin)


def feature_width(config: Config, tower: Config) -> int:
    """Width of what the projector reads: the outputs of one layer of the tower, or of several."""
    layers = config.raw.get("vision_feature_layer")
    count = len(layers) if isinstance(layers, list) else 1
    if count == 0:
        raise config.error("vision_feature_layer", layers, "a layer, or several")
    return tower.hidden * count


def text_width(text: dict[str, Any], config: Config) -> int:
    """Width of the text part."""
    return Config(text, origin=f"{config.origin}: text_config").hidden
