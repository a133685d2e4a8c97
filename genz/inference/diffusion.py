"""Diffusion: an image, or all tokens of an answer, in several passes over the whole of it.

Each denoising step is one forward pass as a prefill is: over the tokens of an image's latents (Peebles and Xie,
arXiv:2212.09748), or over prompt and answer of a masked diffusion language model (Nie et al., arXiv:2502.09992), whose tokens
see each other, so that nothing can be cached. An answer that is filled block by block takes as many steps and every one of them
is as long, as the blocks to come stand masked behind. Classifier-free guidance passes every sequence twice. The autoencoder
behind an image's latents and the encoder of its caption are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from genz import units
from genz.errors import InvalidValueError, UnsupportedError
from genz.footprint import Memory
from genz.graph.step import Group, Step
from genz.inference.evaluate import cost_of, memory_of
from genz.inference.limits import check_fits
from genz.inference.phase import PhaseCost
from genz.inference.question import Question, settle_question
from genz.numerics import Number
from genz.specs import catalog
from genz.specs.hardware import Chip, Platform
from genz.specs.model import ModelSpec
from genz.specs.workload import check_count

# Steps of an image where none are named: what the DiT authors and diffusers sample with, by a fast sampler.
IMAGE_STEPS = 50
MAX_STEPS = 10**6


@dataclass(frozen=True)
class Diffusion:
    """What denoising a batch takes. Times in seconds, of the fullest data-parallel rank; energy of the whole deployment."""

    question: Question
    memory: Memory
    cost: PhaseCost
    denoising_steps: int
    guided: bool
    output_tokens: int | None

    @property
    def time(self) -> Number:
        """Time of the batch: steps x a pass [s]."""
        return self.cost.time

    @property
    def step_time(self) -> Number:
        """Time of one denoising step [s]."""
        return self.cost.time / self.denoising_steps

    @property
    def results_per_s(self) -> Number:
        """Images, or answers, of the whole deployment [1/s]."""
        return self.question.workload.batch / self.time

    @property
    def output_tokens_per_s(self) -> Number | None:
        """Tokens of answers of the whole deployment [1/s]; None for images."""
        return None if self.output_tokens is None else self.output_tokens * self.results_per_s

    @property
    def matrix_flops(self) -> Number:
        """Matrix FLOPs of one device over all steps [FLOP]."""
        return self.cost.matrix_flops

    @property
    def energy(self) -> Number:
        """Energy of all devices over the batch [J]: idle power for all the time, and what the work adds."""
        question = self.question
        alike = question.parallelism.tensor * question.parallelism.context
        active = alike * question.workload.batch / question.requests_per_rank
        idle = question.platform.devices * question.platform.chip.power.idle
        return idle * self.time + active * self.cost.dynamic_energy

    @property
    def energy_per_result(self) -> Number:
        """Energy of an image, or of an answer [J]."""
        return self.energy / self.question.workload.batch

    def to_dict(self) -> dict[str, Any]:
        """The figures with units in their keys, ready for JSON."""
        question = self.question
        return {
            "time_s": self.time,
            "step_time_s": self.step_time,
            "denoising_steps": self.denoising_steps,
            "guided": self.guided,
            "tokens_per_pass": question.workload.input_tokens,
            "output_tokens": self.output_tokens,
            "results_per_s": self.results_per_s,
            "output_tokens_per_s": self.output_tokens_per_s,
            "matrix_flops": self.matrix_flops,
            "energy_j": self.energy,
            "energy_j_per_result": self.energy_per_result,
            "memory": self.memory.to_dict(),
            "model": {"name": question.model.name, "parameters": question.model.parameters},
            "platform": question.platform.name,
            "batch": question.workload.batch,
            "fidelity": question.fidelity,
        }

    def __str__(self) -> str:
        question, what = self.question, "image" if self.output_tokens is None else "answer"
        passes = "two passes (guidance)" if self.guided else "one pass"
        rate = f"{self.results_per_s:,.3g} {what}s/s"
        if self.output_tokens_per_s is not None:
            rate += f", {self.output_tokens_per_s:,.1f} output tokens/s"
        batch = question.workload.batch
        return (
            f"{question.model.name} on {question.platform.name}, batch {batch}, fidelity {question.fidelity}\n"
            f"{self.denoising_steps} denoising steps of {passes} over {question.workload.input_tokens:,} tokens each\n"
            f"time of the batch      {units.format_si(self.time, 's')} ({units.format_si(self.step_time, 's')} a step)\n"
            f"throughput             {rate}\n"
            f"energy per {what:<11} {units.format_si(self.energy_per_result, 'J')}\n"
            f"memory                 {units.format_bytes(self.memory.total_bytes)} "
            f"of {units.format_bytes(self.memory.capacity_bytes)} on the fullest device"
        )


def diffuse(
    model: str | ModelSpec,
    platform: str | Platform | Chip,
    *,
    denoising_steps: int | None = None,
    guidance: bool | None = None,
    image_size: str | tuple[int, int] | None = None,
    input: int | None = None,  # noqa: A002
    output: int | None = None,
    batch: int = 1,
    treat_as: str | None = None,
    **asked: Any,
) -> Diffusion:
    """Price what a diffusion model makes: images, or answers of a masked diffusion language model.

    Args:
        model, platform, batch: as of `genz.predict`, whose other arguments (tp, precision, engine, fidelity) apply too.
        denoising_steps: forward passes one after the other: 50 for an image unless told, for an answer one a token.
        guidance: classifier-free guidance, which passes every sequence twice; on for images unless told, off for answers.
        image_size: width and height of each image in pixels, as "512x512"; what the model was trained for unless told.
        input, output: tokens of each prompt and answer, of a language model.

    Raises:
        UnsupportedError: the model makes its tokens one after the other, or gives none.
        InvalidValueError: a count or a size that cannot be, or a length that is missing.
        DoesNotFitError: the memory is exceeded.
    """
    spec = model if isinstance(model, ModelSpec) else catalog.model(model, treat_as=treat_as)
    if not spec.denoises:
        raise UnsupportedError(
            f"{spec.name} is no diffusion model",
            field="model",
            value=spec.name,
            allowed="a model that denoises",
            hint="genz.predict",
        )
    steps = _steps(spec, denoising_steps, output)
    tokens = None if spec.images is not None else _length("input", input, least=0) + _length("output", output)
    if spec.images is not None and (input is not None or output is not None):
        field = "input" if input is not None else "output"
        raise UnsupportedError(f"{spec.name} makes images", field=field, value=input or output, allowed="image_size=")
    if spec.images is None and image_size is not None:
        raise UnsupportedError(
            f"{spec.name} makes no images", field="image_size", value=str(image_size), allowed="leave it out"
        )
    question = replace(settle_question(spec, platform, input=tokens, batch=batch, image_size=image_size, **asked), model=spec)
    guided = spec.images is not None if guidance is None else guidance
    memory = _memory(question, guided=guided)
    check_fits(question, memory)
    return Diffusion(
        question, memory, cost_of(question, denoising_step(question, steps, guided=guided), memory), steps, guided, output
    )


def denoising_step(question: Question, steps: int, *, guided: bool) -> Step:
    """One pass over all tokens of a rank's sequences, `steps` times; a language model turns every token into logits."""
    tokens = question.workload.input_tokens
    sequences = question.requests_per_micro_batch * (2 if guided else 1)
    sampled: Number = 0 if question.model.embedding.headless else tokens
    return Step("prefill", (Group(sequences, tokens, 0, sampled=sampled, advance=0),), steps)


def _memory(question: Question, *, guided: bool) -> Memory:
    """Memory of the fullest device: both passes of a guided sequence at once, and the logits of all tokens."""
    sequences = question.requests_per_rank * (2 if guided else 1)
    held = memory_of(question, sequences)
    if question.model.embedding.headless:
        return held
    return replace(held, logits_bytes=held.logits_bytes * question.workload.input_tokens)


def _length(name: str, value: int | None, *, least: int = 1) -> int:
    if value is None:
        raise InvalidValueError(f"{name}_tokens is missing", field=f"{name}_tokens", allowed="a number of tokens")
    check_count(value, f"{name}_tokens", least=least)
    return int(value)


def _steps(model: ModelSpec, given: int | None, output: int | None) -> int:
    """Denoising steps: as told, else 50 for an image and one for each token of an answer."""
    steps = given if given is not None else IMAGE_STEPS if model.images is not None else _length("output", output)
    check_count(steps, "denoising_steps", least=1, most=MAX_STEPS)
    if model.images is None and output is not None and steps > output:
        raise InvalidValueError(
            f"denoising_steps: {steps} is more than the {output} tokens that there are to fill in",
            field="denoising_steps",
            value=steps,
            allowed=f"1 to {output}",
        )
    return int(steps)
