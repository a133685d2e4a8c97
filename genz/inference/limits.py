"""How far a deployment goes: the largest batch, the longest context, and what would make a misfit fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from genz import units
from genz.errors import DoesNotFitError, GenZError
from genz.footprint import Memory
from genz.inference.evaluate import evaluate, memory_of
from genz.inference.question import Question
from genz.numerics import Number
from genz.specs import catalog
from genz.specs.hardware import Chip
from genz.specs.parallelism import Parallelism
from genz.specs.precision import Widths, settle
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
    return requests * question.replicas


def longest_context(question: Question) -> int:
    """The most tokens, input and output together, that a request of this batch can have in memory.

    The output length stays; 0 where not even one input token fits. The model's own limit is another matter.
    """
    output = int(question.workload.output_tokens)

    def fits(input_tokens: int) -> bool:
        workload = replace(question.workload, input_tokens=input_tokens, cached_tokens=0)
        return bool(memory_of(replace(question, workload=workload)).fits)

    longest = largest_whole(fits)
    return longest + output if longest else 0


def largest_batch_within(question: Question, *, tpot: Number) -> int:
    """The largest batch that fits and whose TPOT is at most `tpot` seconds; 0 where even one request takes longer."""
    replicas = question.replicas
    most = largest_batch(question) // replicas

    def meets(requests: int) -> bool:
        workload = replace(question.workload, batch=requests * replicas)
        return bool(evaluate(replace(question, workload=workload)).tpot <= tpot)

    return largest_whole(meets, most=most) * replicas if most else 0


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
        suggestions=list(_remedies(question)),
        field="memory",
        value=memory.total_bytes,
        allowed=f"at most {units.format_bytes(memory.budget_bytes)} on each device",
    )


def _remedies(question: Question) -> Iterator[str]:
    """Single changes, each the smallest of its kind, that make the question fit."""
    batch = largest_batch(question)
    if 0 < batch < question.workload.batch:
        yield f"batch {batch} instead of {question.workload.batch} (--batch {batch})"
    context = longest_context(question)
    output = int(question.workload.output_tokens)
    if context:
        yield f"{context - output} input tokens instead of {question.workload.input_tokens} (--isl {context - output})"
    yield from _wider(question)
    yield from _narrower(question)
    share = memory_of(question).total_bytes / question.platform.chip.main_memory.capacity
    if share <= 1:
        yield f"{share:.3f} of the device's memory for the engine (--gpu-memory-utilization {share + 5e-4:.3f})"


def _wider(question: Question) -> Iterator[str]:
    """The smallest tensor parallelism that fits, on more of the same chips if need be."""
    heads, chip = question.model.attention_heads, question.platform.chip
    domain = chip.links["scale_up"].domain if "scale_up" in chip.links else 1
    for degree in range(question.parallelism.tensor + 1, min(domain, heads) + 1):
        if heads % degree:
            continue
        devices = max(degree, question.platform.devices)
        if devices % degree:
            continue
        platform = question.platform if devices == question.platform.devices else catalog.platform_of(chip, devices)
        wider = replace(question, platform=platform, parallelism=Parallelism(tensor=degree))
        if memory_of(wider).fits:
            flag = "" if platform is question.platform else f'--platform "{platform.name}" '
            yield f"tensor parallelism over {degree} devices ({flag}--tp {degree})"
            return


def _narrower(question: Question) -> Iterator[str]:
    """Narrower weights, or a narrower cache, that the chip can use."""
    chip, old = question.platform.chip, question.widths
    for name in NARROWER_PRECISIONS:
        try:
            widths = settle(catalog.precision(name), model_type=old.base, chip_name=chip.name, computable=chip.computable)
        except GenZError:
            continue
        if widths.weights.bytes_per_element < old.weights.bytes_per_element and memory_of(
            replace(question, widths=widths)
        ).fits:
            yield f"weights in {name} (--precision {name})"
            break
    if old.kv_cache_bytes > 1 and memory_of(replace(question, widths=replace(old, kv_cache="fp8"))).fits:
        yield "an 8-bit KV cache (--kv-cache-dtype fp8)"
