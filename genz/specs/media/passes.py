"""What one image or one clip becomes: passes through encoders, and tokens of the prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from genz import units
from genz.errors import InvalidValueError, shown
from genz.specs.workload import Media

# The longest side and clip that a question may have: beyond them it is a slip of the pen.
MAX_SIDE = 100_000
MAX_SECONDS = 24 * 3600.0
VISION, AUDIO = "vision", "audio"
_SIZE = re.compile(r"^\s*(\d{1,9})\s*[x×*]\s*(\d{1,9})\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Passes:
    """One image or clip: what passes encoders, `prompt_tokens` in the prompt, `source_tokens` for cross attention."""

    media: tuple[Media, ...]
    prompt_tokens: int
    source_tokens: int = 0


class ImageRule(Protocol):
    """How a family's processor turns an image into tokens."""

    @property
    def native(self) -> tuple[int, int]:
        """Width and height of an image that is taken as it is, for questions that name none."""
        ...

    def passes(self, width: int, height: int) -> Passes:
        """What an image of that many pixels becomes. Raises `InvalidValueError` for one that the processor refuses."""
        ...


class AudioRule(Protocol):
    """How a family's processor turns a clip into tokens."""

    def passes(self, seconds: float) -> Passes:
        """What a clip becomes. Raises `InvalidValueError` for one that is longer than the encoder takes."""
        ...


def one_pass(tokens: int, prompt_tokens: int, *, sequences: int = 1, window_keys: float | None = None) -> Passes:
    """An image that passes the vision tower as `sequences` alike."""
    return Passes((Media(VISION, sequences, tokens, window_keys=window_keys),), prompt_tokens)


def parse_image_size(size: Any) -> tuple[int, int]:
    """Width and height in pixels of "1280x720", or of a pair. Raises `InvalidValueError`."""
    if isinstance(size, str):
        match = _SIZE.match(size)
        pair: Any = (int(match[1]), int(match[2])) if match else None
    else:
        pair = tuple(size) if isinstance(size, (tuple, list)) else None
    if pair is None or len(pair) != 2 or not all(_is_side(side) for side in pair):
        raise InvalidValueError(
            f"image_size: {shown(size)} is not allowed",
            field="image_size",
            value=size,
            allowed=f"width and height from 1 to {MAX_SIDE:,} pixels, as in '1280x720'",
        )
    return pair[0], pair[1]


def _is_side(side: Any) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MAX_SIDE


def parse_seconds(audio: Any) -> float:
    """Seconds of "30 s", or of a number. Raises `InvalidValueError`."""
    seconds = units.parse(audio, units.TIME, field="audio", needs_unit=isinstance(audio, str))
    if not 0 < seconds <= MAX_SECONDS:
        raise InvalidValueError(
            f"audio: {shown(audio)} is not allowed", field="audio", value=audio, allowed=f"above 0 s, up to {MAX_SECONDS:g} s"
        )
    return seconds


def refuse_image(width: int, height: int, *, allowed: str) -> InvalidValueError:
    """The error for an image that a processor refuses."""
    size = f"{width}x{height}"
    return InvalidValueError(f"image_size: {size} is not allowed", field="image_size", value=size, allowed=allowed)
