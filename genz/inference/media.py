"""Images and clips of a question: how many tokens they add to the prompt, and what passes the encoders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from genz.errors import InvalidValueError, UnsupportedError, shown
from genz.numerics import is_symbolic
from genz.specs.media.passes import Passes, parse_image_size, parse_seconds
from genz.specs.model import ModelSpec
from genz.specs.workload import PromptPart, Workload, check_count

MAX_IMAGES = 10_000


def with_media(
    model: ModelSpec, workload: Workload, *, images: int, image_size: Any, image_tokens: int | None, audio: Any
) -> Workload:
    """The workload with each request's images and clip before its text.

    Raises `UnsupportedError` where the model takes none, `InvalidValueError` for a size, a number or a length that cannot be.
    """
    check_count(images, "images", least=0, most=MAX_IMAGES)
    if is_symbolic(images) or np.ndim(images):
        raise InvalidValueError(f"images: {shown(images)} is not allowed", field="images", value=images, allowed="one number")
    if not images and (image_size is not None or image_tokens is not None):
        field = "image_size" if image_size is not None else "image_tokens"
        raise InvalidValueError(
            f"{field}: there is no image", field=field, value=image_size or image_tokens, hint="give images=1"
        )
    if images:
        workload = _with_images(model, workload, int(images), image_size, image_tokens)
    if audio is not None:
        workload = _with_audio(model, workload, audio)
    return workload


def _with_images(model: ModelSpec, workload: Workload, images: int, size: Any, kept: int | None) -> Workload:
    if model.images is None:
        raise UnsupportedError(f"{model.name} takes no images", field="images", value=images, allowed=_takes(model))
    width, height = model.images.native if size is None else parse_image_size(size)
    passes = model.images.passes(width, height)
    return _added(workload, passes if kept is None else _pruned(passes, kept), "images", images)


def _with_audio(model: ModelSpec, workload: Workload, audio: Any) -> Workload:
    if model.audio is None:
        raise UnsupportedError(f"{model.name} takes no audio", field="audio", value=str(audio), allowed=_takes(model))
    return _added(workload, model.audio.passes(parse_seconds(audio)), "audio", 1)


def _takes(model: ModelSpec) -> str:
    """What a model takes, in words."""
    kinds = [name for name, rule in (("images", model.images), ("audio", model.audio)) if rule is not None]
    return " and ".join(["text", *kinds]) + " alone"


def _pruned(passes: Passes, kept: int) -> Passes:
    """An image of whose tokens a technique keeps `kept` behind the encoder, in the prompt or for cross attention."""
    crosses = passes.source_tokens > 0
    most = passes.source_tokens if crosses else passes.prompt_tokens
    check_count(kept, "image_tokens", least=1, most=most)
    return replace(passes, source_tokens=int(kept)) if crosses else replace(passes, prompt_tokens=int(kept))


def _added(workload: Workload, passes: Passes, kind: str, count: int) -> Workload:
    own = tuple(replace(media, sequences=media.sequences * count) for media in passes.media)
    return replace(
        workload,
        input_tokens=workload.input_tokens + count * passes.prompt_tokens,
        source_tokens=workload.source_tokens + count * passes.source_tokens,
        media=(*workload.media, *own),
        parts=(*workload.parts, PromptPart(kind, count, passes.prompt_tokens)),
    )
