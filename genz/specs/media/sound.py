"""Processors of audio: seconds -> frames of the spectrogram -> tokens of the encoder -> tokens of the prompt.

Sources: the feature extractors and processors of Hugging Face transformers 5 that each class names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from genz.errors import InvalidValueError
from genz.specs.linear import ceil_div
from genz.specs.media.passes import AUDIO, Passes
from genz.specs.workload import Media

SAMPLES_PER_SECOND = 16_000
SAMPLES_PER_FRAME = 160  # of a spectrogram: a frame every 10 ms


def _too_long(seconds: float, most: float, unit: str) -> InvalidValueError:
    return InvalidValueError(
        f"audio: a clip of {seconds:g} s is longer than the encoder takes",
        field="audio",
        value=seconds,
        allowed=f"up to {most:g} s {unit}",
        hint="send a longer recording as several requests",
    )


@dataclass(frozen=True)
class PaddedWindow:
    """Whisper's encoder, as in Qwen2-Audio: every clip is padded to the encoder's `positions`, two frames each.

    A pool of two makes the tokens of the prompt, of the clip without its padding. Sources: `WhisperFeatureExtractor`,
    `Qwen2AudioProcessor`.
    """

    positions: int = 1500
    pool: int = 2
    marks: int = 0

    def passes(self, seconds: float) -> Passes:
        frames = math.floor(seconds * SAMPLES_PER_SECOND) // SAMPLES_PER_FRAME
        most = 2 * self.positions
        if frames > most:
            raise _too_long(seconds, most * SAMPLES_PER_FRAME / SAMPLES_PER_SECOND, "a clip")
        encoded = (frames - 1) // 2 + 1
        tokens = max((encoded - self.pool) // self.pool + 1, 1)
        return Passes((Media(AUDIO, 1, self.positions),), tokens + self.marks)


@dataclass(frozen=True)
class Windows:
    """Whisper: a clip is cut into windows of 30 s, the last one padded, that the encoder's `positions` take, two frames each.

    Source: Radford et al., arXiv:2212.04356, section 2.1; `WhisperFeatureExtractor`.
    """

    positions: int = 1500

    @property
    def seconds(self) -> float:
        """Length of a window [s]."""
        return 2 * self.positions * SAMPLES_PER_FRAME / SAMPLES_PER_SECOND

    def passes(self, seconds: float) -> Passes:
        return Passes((Media(AUDIO, math.ceil(seconds / self.seconds), self.positions),), 0)


@dataclass(frozen=True)
class ConvolvedChunks:
    """Qwen3-Omni: chunks of 2 x `window` frames that three convolutions shrink, and attention within `inferred` frames.

    Source: `_get_feat_extract_output_lengths` and `get_audio_cu_seqlens` in modeling_qwen3_omni_moe.py.
    """

    window: int = 50
    inferred: int = 800
    most_seconds: float = 40 * 60.0

    def passes(self, seconds: float) -> Passes:
        if seconds > self.most_seconds:
            raise _too_long(seconds, self.most_seconds, "a clip, as its makers state")
        frames = max(math.floor(seconds * SAMPLES_PER_SECOND) // SAMPLES_PER_FRAME, 1)
        chunk = 2 * self.window
        tokens = frames // chunk * convolved(chunk) + convolved(frames % chunk)
        piece = convolved(chunk) * (self.inferred // chunk)
        whole, rest = divmod(tokens, piece)
        keys = (whole * piece**2 + rest**2) / tokens
        return Passes((Media(AUDIO, 1, tokens, window_keys=keys),), tokens)


def convolved(frames: int) -> int:
    """Frames behind three convolutions of stride 2."""
    for _ in range(3):
        frames = (frames + 1) // 2
    return frames


@dataclass(frozen=True)
class SubsampledFrames:
    """Phi-4 multimodal: frames of a window of `width` samples, of which `reduction` make one token.

    Source: `Phi4MultimodalFeatureExtractor`; clips beyond `most` tokens are unfolded into sequences of that many.
    """

    reduction: int = 8
    width: int = 400
    most: int = 500

    def passes(self, seconds: float) -> Passes:
        samples = math.floor(seconds * SAMPLES_PER_SECOND)
        frames = (samples - self.width) // SAMPLES_PER_FRAME + 1
        if frames < 1:
            raise InvalidValueError(
                f"audio: {seconds:g} s is no frame",
                field="audio",
                value=seconds,
                allowed=f"at least {self.width / SAMPLES_PER_SECOND:g} s",
            )
        tokens = ceil_div(frames, self.reduction)
        sequences = ceil_div(tokens, self.most)
        return Passes((Media(AUDIO, sequences, tokens if sequences == 1 else self.most),), tokens)


@dataclass(frozen=True)
class StridedFrames:
    """Gemma 4: frames of `width` samples, half a frame of silence first, of which two convolutions of stride 2 make tokens.

    Source: `_compute_audio_num_tokens` in processing_gemma4.py; longer clips than `most` tokens are cut there.
    """

    width: int = 320
    most: int = 750

    def passes(self, seconds: float) -> Passes:
        samples = math.floor(seconds * SAMPLES_PER_SECOND)
        frames = max((samples + self.width // 2 - self.width - 1) // SAMPLES_PER_FRAME + 1, 1)
        tokens = ceil_div(ceil_div(frames, 2), 2)
        if tokens > self.most:
            raise _too_long(seconds, self.most * 4 * SAMPLES_PER_FRAME / SAMPLES_PER_SECOND, "a clip")
        return Passes((Media(AUDIO, 1, tokens),), tokens)
