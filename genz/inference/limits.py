"""How far a deployment goes: the largest batch, the longest context, and what would make a misfit fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from genz import units
from genz.errors import DoesNotFitError, GenZError, InvalidValueError
from genz.footprint import Memory
from genz.inference.evaluate import evaluate, memory_of
from genz.inference.lengths import windows_of
from genz.inference.question import Question, settle_widths
from genz.numerics import Number
from genz.specs import catalog
from genz.specs.hardware import Chip, Platform
from genz.specs.precision import Widths
from genz.specs.workload import MAX_COUNT

NARROWER_PRECISIONS = ("fp8", "w8a16", "int4")


def largest_whole(holds: Callable[[int], bool], *, most: int = MAX_COUNT) -> int:
    """The largest whole number up to `most` for which a monotone condition holds; 0 if it fails at 1."""
    if not holds(1):
        return 0
    low, high = 1, 2
    while high <= most and holds(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def largest_batch(question: Question) -> int:
    """The largest batch of the whole deployment that fits in memory; 0 where not one request does."""
    most = MAX_COUNT if question.max_num_seqs is None else max(question.max_num_seqs // int(question.workload.beams), 1)
    requests = largest_whole(lambda requests: bool(memory_of(question, requests).fits), most=most)
    return requests * question.parallelism.data


def longest_context(question: Question) -> int | None:
    """The most tokens, input and output together, that a request of this batch can have in memory.

    The output length and the cached tokens stay; 0 where not even one input token fits, None where every length
    does, as windows bound the cache. The model's own limit is another matter.
    """
    workload = question.workload

    def fits(input_tokens: int) -> bool:
        cached = min(int(workload.cached_tokens), input_tokens - 1)
        asked = replace(workload, input_tokens=input_tokens, cached_tokens=cached)
        return bool(memory_of(replace(question, workload=asked)).fits)

    longest = largest_whole(fits)
    if longest == MAX_COUNT:
        return None
    return longest + int(workload.generated_tokens) if longest else 0


def largest_batch_within(question: Question, *, tpot: Number) -> int:
    """The largest batch that fits and whose TPOT is at most `tpot` seconds; 0 where even one request takes longer.

    Raises `InvalidValueError` for a time that is not positive, and where one output token leaves no TPOT.
    """
    if not tpot > 0:
        raise InvalidValueError(f"tpot: {tpot:g} s is not allowed", field="tpot", value=tpot, allowed="more than 0 s")
    if question.workload.output_tokens == 1:
        raise InvalidValueError(
            "tpot: a request of one output token has none", field="tpot", value=tpot, allowed="2 or more output tokens"
        )
    ranks = question.parallelism.data
    most = largest_batch(question) // ranks

    def meets(requests: int) -> bool:
        workload = replace(question.workload, batch=requests * ranks)
        return bool(evaluate(replace(question, workload=workload)).tpot <= tpot)

    return largest_whole(meets, most=most) * ranks if most else 0


def critical_batch(chip: Chip, widths: Widths) -> Number:
    """Tokens in a step at which a dense GEMM turns from memory-bound to compute-bound.

    T* = rate x weight bytes / (2 x bandwidth): streaming the weights takes as long as multiplying them. An H100 in
    BF16: 989.4e12 x 2 / (2 x 3.35e12) = 295. Source: the JAX scaling book, chapter on rooflines.
    """
    rate = chip.multiply_rate(widths.matrix_type(quantised=True))
    return rate * widths.weight_bytes(quantised=True) / (2 * chip.main_memory.bandwidth)


def check_fits(question: Question, memory: Memory) -> None:
    """Raise `DoesNotFitError`, with the table and the smallest changes that help, if the memory is exceeded."""
    if memory.fits:
        return
    device = f"one {question.platform.chip.name}"
    raise DoesNotFitError(
        f"{question.model.name} does not fit: {device} would hold {units.format_bytes(memory.total_bytes)} of the "
        f"{units.format_bytes(memory.budget_bytes)} that {question.engine.name} may take",
        memory=memory,
        suggestions=[str(remedy) for remedy in remedies(question)],
        field="memory",
        value=memory.total_bytes,
        allowed=f"at most {units.format_bytes(memory.budget_bytes)} on each device",
    )


@dataclass(frozen=True)
class Remedy:
    """A change in words and in flags of the command line, and the question with it."""

    text: str
    flags: str
    question: Question

    def __str__(self) -> str:
        return f"{self.text} ({self.flags})"

    def __add__(self, other: Remedy) -> Remedy:
        """Both changes; the other one was made to the question of this one."""
        return Remedy(f"{self.text} and {other.text}", f"{self.flags} {other.flags}", other.question)

    @property
    def fits(self) -> bool:
        return bool(memory_of(self.question).fits)


def remedies(question: Question) -> list[Remedy]:
    """Single changes, each the smallest of its kind, that make the question fit; two or three where none does alone."""
    single = [
        *_fewer(question),
        *_shorter(question),
        *_first_fitting(_wider(question)),
        *_first_fitting(_narrower(question)),
        *_first_fitting(_narrower_cache(question)),
        *_larger_share(question),
    ]
    return single or [*_first_fitting(_combined(question))]


def _first_fitting(candidates: Iterator[Remedy]) -> Iterator[Remedy]:
    found = next((remedy for remedy in candidates if remedy.fits), None)
    return iter(()) if found is None else iter((found,))


def _fewer(question: Question) -> Iterator[Remedy]:
    """The largest batch that fits."""
    windows = windows_of(question.workload)
    batch, asked = largest_batch(question) // windows, question.workload.batch // windows
    if 0 < batch < asked:
        fewer = replace(question, workload=replace(question.workload, batch=batch * windows))
        yield Remedy(f"batch {batch} instead of {asked}", f"--batch {batch}", fewer)


def _shorter(question: Question) -> Iterator[Remedy]:
    """The longest prompt that fits, if it is longer than what is cached of it."""
    workload = question.workload
    if question.model.source is not None:  # what its encoder reads is not what its decoder starts from
        return
    prompt = (longest_context(question) or 0) - int(workload.generated_tokens)
    if prompt > workload.cached_tokens + workload.media_tokens:
        shorter = replace(question, workload=replace(workload, input_tokens=prompt))
        text = prompt - workload.media_tokens
        yield Remedy(f"{prompt} input tokens instead of {workload.input_tokens}", f"--isl {text}", shorter)


def _wider(question: Question) -> Iterator[Remedy]:
    """Every wider tensor parallelism, on more of the same chips if need be; the smallest first."""
    model, chip, given, asked = question.model, question.platform.chip, question.platform, question.parallelism
    if asked.expert > 1 or asked.decode_context > 1:
        return
    for degree in range(asked.tensor + 1, model.attention_heads + 1):
        if model.attention_heads % degree:
            continue
        devices = degree * asked.pipeline * asked.context
        try:
            platform = given if devices <= given.devices else _more_of(chip, devices)
            parallelism = replace(asked, tensor=degree, data=platform.devices // devices)
            parallelism.check(model, devices=platform.devices, joined=platform.joined_devices)
        except GenZError:
            continue
        flag = "" if platform is given else f'--platform "{platform.name}" '
        wider = replace(question, platform=platform, parallelism=parallelism)
        yield Remedy(f"tensor parallelism over {degree} devices", f"{flag}--tp {degree}", wider)


def _more_of(chip: Chip, devices: int) -> Platform:
    """Devices of a chip from the catalog. Raises a `GenZError` where there is no such platform."""
    platform = catalog.platform(f"{devices}x {chip.name}")
    if platform.chip != chip:
        raise InvalidValueError(f"{chip.name} is not that of the catalog", field="chip", value=chip.name)
    return platform


def _narrower(question: Question) -> Iterator[Remedy]:
    """Narrower weights that the chip can use."""
    for name in NARROWER_PRECISIONS:
        try:
            widths = settle_widths(question.model, question.platform.chip, name, question.kv_cache_dtype)
        except GenZError:
            continue
        if widths.weights.bytes_per_element < question.widths.weights.bytes_per_element:
            yield Remedy(f"weights in {name}", f"--precision {name}", replace(question, widths=widths))


def _narrower_cache(question: Question) -> Iterator[Remedy]:
    if question.widths.kv_cache_bytes > 1:
        narrower = replace(question, widths=replace(question.widths, kv_cache="fp8"))
        yield Remedy("an 8-bit KV cache", "--kv-cache-dtype fp8", narrower)


def _larger_share(question: Question) -> Iterator[Remedy]:
    """The share of the device's memory that would do, where the engine takes less of it."""
    share = math.ceil(1000 * memory_of(question).total_bytes / question.platform.chip.main_memory.capacity) / 1000
    if share <= 1:
        larger = replace(question, utilization=share)
        yield Remedy(f"{share:.1%} of the device's memory for the engine", f"--gpu-memory-utilization {share:.3f}", larger)


def _combined(question: Question) -> Iterator[Remedy]:
    """Narrower weights on more devices; else the most devices, or the narrowest weights on them, with a smaller batch."""
    narrower = [*_narrower(question)]
    for remedy in narrower:
        yield from (remedy + wider for wider in _wider(remedy.question))
    widest = [*_wider(question)][-1:]
    both = [remedy + wider for remedy in narrower[-1:] for wider in [*_wider(remedy.question)][-1:]]
    for remedy in (*widest, *narrower[-1:], *both):
        yield from (remedy + fewer for fewer in _fewer(remedy.question))
