"""The requests of a question, settled: their lengths, their images and clips, and what of them passes an encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from genz.errors import InvalidValueError
from genz.inference.lengths import images_for, lengths_for, with_source
from genz.inference.media import with_media
from genz.numerics import Number, is_symbolic
from genz.specs.model import ModelSpec
from genz.specs.workload import UseCase, Workload


def settle_requests(
    model: ModelSpec,
    case: UseCase | None,
    *,
    input: Number | None = None,  # noqa: A002
    output: Number | None = None,
    batch: Number = 1,
    beams: Number | None = None,
    cached: Number = 0,
    images: int = 0,
    image_size: Any = None,
    image_tokens: int | None = None,
    audio: Any = None,
    embed: bool = False,
) -> tuple[ModelSpec, Workload]:
    """The workload of requests, and the model as they use it: without its head where nothing is generated.

    Numbers may be arrays or symbols. The rules that a question must keep (`genz.inference.question.rules`) are not checked.
    Raises `InvalidValueError` and `UnsupportedError`.
    """
    lengths = lengths_for(
        model, case, input=input, output=output, images=images, image_size=image_size, audio=audio, embed=embed
    )
    workload = _counts(case, input=lengths.input, output=lengths.output, batch=batch, beams=beams, cached=cached)
    workload = with_media(
        lengths.model,
        replace(workload, embeds=lengths.embeds, parts=lengths.parts),
        images=images_for(lengths.model, images),
        image_size=lengths.image_size,
        image_tokens=image_tokens,
        audio=audio,
    )
    return lengths.model, with_source(lengths.model, workload)


def _plain(value: Number) -> Number:
    """A checked count as a plain int, whatever its type was; arrays and symbols stay what they are."""
    return value if is_symbolic(value) or np.ndim(value) else int(value)


def _counts(
    case: UseCase | None,
    *,
    input: Number | None,  # noqa: A002
    output: Number | None,
    batch: Number,
    beams: Number | None,
    cached: Number,
) -> Workload:
    """Lengths from the use case, unless they are given; every number is a count."""
    settled: dict[str, Any] = {
        "input_tokens": input if input is not None else case.input_tokens if case else None,
        "output_tokens": output if output is not None else case.output_tokens if case else None,
        "beams": beams if beams is not None else case.beams if case else 1,
    }
    for name in ("input_tokens", "output_tokens"):
        if settled[name] is None:
            flag = name.removesuffix("_tokens")
            raise InvalidValueError(
                f"{name} is missing",
                field=name,
                allowed="a whole number of tokens",
                hint=f"give {flag}= (on the command line --{'isl' if flag == 'input' else 'osl'}), or a use case",
            )
    settled |= {"batch": batch, "cached_tokens": cached}
    Workload(**settled).check_counts()
    plain: dict[str, Any] = {name: _plain(value) for name, value in settled.items()}
    return Workload(**plain)
