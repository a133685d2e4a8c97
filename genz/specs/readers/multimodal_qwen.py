"""Multimodal models of the Qwen family: Qwen-VL, whose images keep their shape, Qwen2-Audio, and Qwen3-Omni's thinker.

Sources: the configuration, modeling and processing files of Hugging Face transformers 5 for each `model_type`.
"""

from __future__ import annotations

from typing import Any

from genz.specs.config import Config
from genz.specs.linear import Linear
from genz.specs.media.grids import SmartResize
from genz.specs.media.sound import ConvolvedChunks, PaddedWindow
from genz.specs.readers import towers_audio, towers_qwen
from genz.specs.readers.composite import INHERITED, Composite, CompositeReader, part, text_part
from genz.specs.readers.towers import Projector, side_of

QWEN2_TOWER = {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "patch_size": 14}
QWEN2_5_TOWER = {
    "depth": 32,
    "hidden_size": 3584,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "window_size": 112,
    "out_hidden_size": 3584,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
QWEN3_TOWER = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "patch_size": 16,
    "out_hidden_size": 3584,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
}
# Pixels of an image, least and most, of the published preprocessor_config.json: Qwen2-VL and Qwen2.5-VL, and Qwen3-VL.
QWEN2_PIXELS, QWEN3_PIXELS = (56 * 56, 28 * 28 * 16384), (256 * 256, 4096 * 4096)
# Keys of a flat configuration that do not belong to its text part.
NOT_TEXT = ("vision_config", "architectures")


def _flat_text(config: Config, text_type: str) -> tuple[str, dict[str, Any]]:
    """The text part, whose keys stand at the top in files before transformers 5; old files name it after the whole."""
    if config.raw.get("text_config") is not None:
        _, text = text_part(config, default_type=text_type, tied=False)
    else:
        text = {key: value for key, value in config.raw.items() if key not in NOT_TEXT}
    return text_type, {**text, "model_type": text_type}


def _smart_resize(preprocessor: Config, tower: Config, limits: tuple[int, int]) -> SmartResize:
    """The processor's limits: `min_pixels` and `max_pixels`, or the edges of `size`."""
    size = preprocessor.raw.get("size")
    edges = Config(size if isinstance(size, dict) else {}, origin=f"{preprocessor.origin}: size")
    least = preprocessor.count("min_pixels", default=edges.count("shortest_edge", "min_pixels", default=limits[0]))
    most = preprocessor.count("max_pixels", default=edges.count("longest_edge", "max_pixels", default=limits[1], most=10**9))
    if least > most:
        raise preprocessor.error("min_pixels", least, f"at most max_pixels = {most}")
    return SmartResize(
        side_of(tower, "patch_size"),
        towers_qwen.merge_of(tower),
        least,
        most,
        window=tower.optional_count("window_size") if "fullatt_block_indexes" in tower.raw else None,
    )


def qwen2_vl(config: Config, preprocessor: Config) -> Composite:
    """Qwen2-VL."""
    tower = part(config, "vision_config", default=QWEN2_TOWER)
    return Composite(
        *_flat_text(config, "qwen2_vl_text"),
        (towers_qwen.qwen2_vision(tower),),
        _smart_resize(preprocessor, tower, QWEN2_PIXELS),
    )


def qwen2_5_vl(config: Config, preprocessor: Config) -> Composite:
    """Qwen2.5-VL: attention within windows in most layers of its tower."""
    tower = part(config, "vision_config", default=QWEN2_5_TOWER)
    return Composite(
        *_flat_text(config, "qwen2_5_vl_text"),
        (towers_qwen.qwen2_5_vision(tower),),
        _smart_resize(preprocessor, tower, QWEN2_PIXELS),
    )


def qwen3_vl(config: Config, preprocessor: Config) -> Composite:
    """Qwen3-VL: outputs of several layers of the tower go into the decoder, dense or of experts."""
    mixture = config.text("model_type", default="qwen3_vl") == "qwen3_vl_moe"
    tower = part(config, "vision_config", default=QWEN3_TOWER)
    return Composite(
        *_flat_text(config, "qwen3_vl_moe_text" if mixture else "qwen3_vl_text"),
        (towers_qwen.qwen3_vision(tower),),
        _smart_resize(preprocessor, tower, QWEN3_PIXELS),
    )


def qwen3_5(config: Config, preprocessor: Config) -> Composite:
    """Qwen3.5: Qwen3-VL's tower without the outputs of its inner layers, before gated delta nets, dense or of experts."""
    mixture = config.text("model_type", default="qwen3_5") == "qwen3_5_moe"
    tower = part(config, "vision_config", default={**QWEN3_TOWER, "deepstack_visual_indexes": None})
    if tower.raw.get("deepstack_visual_indexes"):
        raise tower.error(
            "deepstack_visual_indexes", tower.raw["deepstack_visual_indexes"], "none: this tower has no such outputs"
        )
    return Composite(
        *_flat_text(config, "qwen3_5_moe_text" if mixture else "qwen3_5_text"),
        (towers_qwen.qwen3_vision(tower),),
        _smart_resize(preprocessor, tower, QWEN3_PIXELS),
    )


WHISPER_TOWER = {
    "num_mel_bins": 128,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "d_model": 1280,
    "max_source_positions": 1500,
}


def qwen2_audio(config: Config, preprocessor: Config) -> Composite:  # noqa: ARG001 (a clip has the encoder's length)
    """Qwen2-Audio: Whisper's encoder, of whose outputs two are pooled, and one matrix."""
    text_type, text = text_part(config, default_type="qwen2", tied=False)
    tower = part(config, "audio_config", default=WHISPER_TOWER)
    hidden = Config(text, origin=config.origin).hidden
    projector = Projector((Linear("project", tower.count("d_model"), hidden, bias=True),), merge=2)
    return Composite(
        text_type,
        text,
        (towers_audio.whisper(tower, projector),),
        audio=PaddedWindow(tower.count("max_source_positions", default=1500)),
    )


def qwen3_omni(config: Config, preprocessor: Config) -> Composite:
    """Qwen3-Omni's thinker: Qwen3-VL with an audio tower. Its talker, which speaks, is another model and is left out."""
    thinker = part(config, "thinker_config") if "thinker_config" in config.raw else config
    inherited = {key: config.raw[key] for key in INHERITED if config.raw.get(key) is not None}
    thinker = Config({**inherited, **thinker.raw}, origin=thinker.origin)
    vision = part(thinker, "vision_config", default=QWEN3_TOWER)
    audio = part(thinker, "audio_config", default=WHISPER_TOWER | {"n_window": 50, "n_window_infer": 800, "output_dim": 3584})
    _, text = text_part(thinker, default_type="qwen3_omni_moe_text", tied=False)
    return Composite(
        "qwen3_omni_moe_text",
        text,
        (towers_qwen.qwen3_vision(vision), towers_audio.qwen3_omni_audio(audio)),
        _smart_resize(preprocessor, vision, QWEN3_PIXELS),
        ConvolvedChunks(audio.count("n_window", default=50), audio.count("n_window_infer", default=800)),
    )


COMPOSITES: dict[str, CompositeReader] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5,
    "qwen2_audio": qwen2_audio,
    "qwen3_omni_moe": qwen3_omni,
    "qwen3_omni_moe_thinker": qwen3_omni,
}
