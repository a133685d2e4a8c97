"""What a question leaves to its model: no output of an encoder, the one image of an image model, the source of a decoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genz.errors import InvalidValueError, UnsupportedError
from genz.numerics import Number, every, is_symbolic
from genz.specs.media.passes import parse_image_size
from genz.specs.model import ModelSpec
from genz.specs.workload import Media, PromptPart, UseCase, Workload

WINDOWS = "windows"


@dataclass(frozen=True)
class Lengths:
    """The lengths that a question asks for, once its model has had its say; `embeds`: nothing is generated."""

    model: ModelSpec
    input: Number | None
    output: Number | None
    embeds: bool
    image_size: Any
    parts: tuple[PromptPart, ...] = ()


def lengths_for(
    model: ModelSpec,
    case: UseCase | None,
    *,
    input: Number | None,  # noqa: A002
    output: Number | None,
    images: int,
    image_size: Any,
    audio: Any,
    embed: bool,
) -> Lengths:
    """Complete what a question asks for by what its model is.

    An encoder generates nothing, and a decoder that shall `embed` neither: its head is not run. Their result counts as one
    output token. A model of images alone takes one a request; one that listens starts its output from a few tokens of its
    own. Raises `UnsupportedError` where an encoder is asked to generate, `InvalidValueError` where a clip is missing.
    """
    embeds = _embeds(model, output if output is not None else case.output_tokens if case else None, embed)
    settled = Lengths(model.headless if embeds else model, input, 1 if embeds else output, embeds, image_size)
    if model.source is not None and model.audio is not None:
        if audio is None:
            raise InvalidValueError("audio is missing", field="audio", allowed="the length of a clip", hint="give audio='30 s'")
        return replace(settled, input=model.source.start if input is None else input)
    if not model.takes_text:
        return _of_one_image(settled, images)
    return settled


def _embeds(model: ModelSpec, output: Number | None, embed: bool) -> bool:
    """Whether nothing is generated: the model cannot, or an embedding is asked for."""
    if model.generates and not embed:
        return False
    if model.generates and model.source is not None:
        raise UnsupportedError(
            f"{model.name} is an encoder-decoder; GenZ prices what it generates",
            field="embed",
            value=embed,
            allowed="False",
        )
    is_one = output is None or (not is_symbolic(output) and np.ndim(output) == 0 and output == 1)
    if not is_one:
        if model.generates:
            problem, hint = "generates nothing where an embedding is asked for", "leave the output out"
        elif model.denoises:
            problem, hint = "makes all of its output at once, step by step", "genz.diffuse prices that"
        else:
            problem, hint = "is an encoder; it generates nothing", "leave the output out"
        raise UnsupportedError(
            f"{model.name} {problem}", field="output_tokens", value=output, allowed="1, or leave it out", hint=hint
        )
    return True


def _of_one_image(settled: Lengths, images: int) -> Lengths:
    """The input of a model of images: the tokens of one image."""
    model = settled.model
    if settled.input is not None or images not in (0, 1):
        name, value = ("images", images) if settled.input is None else ("input_tokens", settled.input)
        raise UnsupportedError(
            f"{model.name} takes one image a request and no text",
            field=name,
            value=value,
            allowed="1" if name == "images" else "leave it out",
            hint="several images are several requests: give batch=",
        )
    if model.source is not None or model.images is None:
        return replace(settled, input=1 if model.source is None else model.source.start)
    width, height = model.images.native if settled.image_size is None else parse_image_size(settled.image_size)
    tokens = model.images.passes(width, height).prompt_tokens
    return replace(settled, input=tokens, image_size=None, parts=(PromptPart("images", 1, tokens),))


def refuse_denoiser(model: ModelSpec) -> None:
    """Raise `UnsupportedError` for a model that makes all of its output at once, in steps of denoising."""
    if model.denoises:
        raise UnsupportedError(
            f"{model.name} makes its output in steps of denoising",
            field="model",
            value=model.name,
            allowed="a model that generates token by token, or an encoder",
            hint="ask genz.diffuse",
        )


def images_for(model: ModelSpec, images: int) -> int:
    """The images that pass encoders: one where they are all that the model takes."""
    if model.takes_text:
        return images
    return 1 if model.source is not None else 0


def windows_of(workload: Workload) -> int:
    """Sequences that one request is: the windows of its clip, or one."""
    return next((part.count for part in workload.parts if part.kind == WINDOWS), 1)


def with_source(model: ModelSpec, workload: Workload) -> Workload:
    """The workload of an encoder-decoder: what is asked for as input passes its encoder, and the decoder starts anew.

    A clip of several windows is as many sequences. Raises `InvalidValueError` where a prompt is cached, as an encoder keeps
    nothing.
    """
    source = model.source
    if source is None and any(mixer.causal for layer, _ in model.layer_groups for mixer in layer.token_mixers):
        return workload
    if not is_symbolic(workload.cached_tokens) and not every(workload.cached_tokens == 0):
        raise InvalidValueError(
            f"cached_tokens: {model.name} has an encoder, which keeps nothing of a prompt",
            field="cached_tokens",
            value=workload.cached_tokens,
            allowed="0",
        )
    if source is None:
        return workload
    passed = next((media for media in workload.media if media.encoder == source.encoder), None)
    if passed is not None:
        windows = passed.sequences
        own = tuple(replace(media, sequences=1) for media in workload.media)
        parts = (PromptPart(WINDOWS, int(windows), 0),) if model.audio is not None else workload.parts
        return replace(workload, batch=workload.batch * windows, media=own, parts=parts, source_tokens=passed.tokens)
    read = workload.input_tokens
    return replace(
        workload, input_tokens=source.start, source_tokens=read, media=(Media(source.encoder, 1, read), *workload.media)
    )


def check_plain_decoder(model: ModelSpec, workload: Workload, technique: str) -> None:
    """Raise `UnsupportedError` where a technique of serving has no prompt and no decode to work on.

    An encoder has no decode, an embedding neither; an encoder-decoder's prompt does not pass its decoder.
    """
    kind = "encoder-decoder" if model.source is not None else "encoder" if model.embedding.headless else "diffusion model"
    if model.source is not None or workload.embeds or not model.generates:
        raise UnsupportedError(
            f"{model.name} is an {kind}: {technique} needs a decoder that generates from its prompt".replace(
                "an diff", "a diff"
            ),
            field="model",
            value=model.name,
            allowed="a decoder, and an output of one token or more",
        )
