"""Prefill and decode apart: a pool of devices for each, and the cache sent from one to the other.

Sources: Zhong et al., DistServe, arXiv:2401.09670; Patel et al., Splitwise, arXiv:2311.18677.
"""

from __future__ import annotations

from dataclasses import dataclass

from genz.errors import InvalidValueError, UnsupportedError
from genz.footprint import request_cache_bytes
from genz.inference.evaluate import Outcome, evaluate
from genz.inference.lengths import check_plain_decoder
from genz.inference.question import Question
from genz.numerics import Number, maximum, minimum
from genz.specs.hardware import Link
from genz.specs.workload import Workload, check_count


@dataclass(frozen=True)
class Disaggregated:
    """A prefill pool of `prefill_copies` deployments and a decode pool of `decode_copies`. Times in seconds."""

    prefill: Outcome
    decode: Outcome
    prefill_copies: int
    decode_copies: int
    transfer_time: Number
    exposed_transfer: Number

    @property
    def ttft(self) -> Number:
        """Time to first token: the prefill, which also samples it [s]."""
        return self.prefill.ttft

    @property
    def tpot(self) -> Number:
        """Time per output token after the first; the second waits for what is left of the transfer [s]."""
        return self.decode.tpot + self.exposed_transfer / (self.decode.question.workload.output_tokens - 1)

    @property
    def e2e(self) -> Number:
        """Time of one request without queueing [s]."""
        return self.ttft + self.exposed_transfer + self.decode.decode.time

    @property
    def prefill_rate(self) -> Number:
        """Requests that the prefill pool can take [1/s]."""
        return self.prefill_copies * self.prefill.question.workload.batch / self.prefill.ttft

    @property
    def decode_rate(self) -> Number:
        """Requests that the decode pool can take [1/s]."""
        return self.decode_copies * self.decode.question.workload.batch / self.decode.decode.time

    @property
    def requests_per_s(self) -> Number:
        """Requests of the whole: the slower pool sets the pace [1/s]."""
        return minimum(self.prefill_rate, self.decode_rate)

    @property
    def devices(self) -> int:
        prefill, decode = self.prefill.question.platform.devices, self.decode.question.platform.devices
        return self.prefill_copies * prefill + self.decode_copies * decode

    @property
    def output_tokens_per_s_per_device(self) -> Number:
        """Output tokens of the whole over its devices [1/s]."""
        return self.requests_per_s * self.decode.question.workload.output_tokens / self.devices


def disaggregate(
    prefill: Question,
    decode: Question,
    *,
    prefill_copies: int = 1,
    decode_copies: int = 1,
    link: str = "scale_out",
    overlaps: bool = True,
) -> Disaggregated:
    """Price a prefill pool and a decode pool of the same model, each with its own platform, parallelism and batch.

    Every prefill device sends its share of a prompt's cache over its own `link`. With `overlaps` each layer is sent while
    the next is computed, so the first decode step waits for the last layer alone, or for what the transfer takes longer
    than the prefill. Raises `InvalidValueError` for an empty pool, different models or lengths, and `UnsupportedError`
    where a chip has no such link.
    """
    check_count(prefill_copies, "prefill_copies", least=1)
    check_count(decode_copies, "decode_copies", least=1)
    for question in (prefill, decode):
        check_plain_decoder(question.model, question.workload, "disaggregation")
    _check_alike(prefill, decode)
    transfer = transfer_time(prefill, decode, link)
    before, after = evaluate(prefill), evaluate(decode)
    exposed = exposed_transfer(prefill, transfer, before.ttft) if overlaps else transfer
    return Disaggregated(before, after, prefill_copies, decode_copies, transfer, exposed)


def transfer_time(prefill: Question, decode: Question, link: str = "scale_out") -> Number:
    """Seconds in which the cache of a rank's prompts goes from one deployment to the other, device by device.

    Raises `UnsupportedError` where a chip has no such link.
    """
    sender, receiver = (_link(question, link) for question in (prefill, decode))
    cached = prefill.requests_per_rank * request_cache_bytes(
        prefill.model, prefill.widths, _prompt_only(prefill), parallelism=prefill.parallelism
    )
    streams = minimum(
        prefill.parallelism.devices // prefill.parallelism.data, decode.parallelism.devices // decode.parallelism.data
    )
    whole = cached * (prefill.parallelism.devices // prefill.parallelism.data) / streams
    return whole / minimum(sender.bandwidth, receiver.bandwidth) + maximum(sender.latency, receiver.latency)


def exposed_transfer(prefill: Question, transfer: Number, prefill_time: Number) -> Number:
    """Seconds of a transfer that overlaps a prefill for which the first decode step waits [s]."""
    return maximum(transfer / len(prefill.model.layers), transfer - prefill_time)


def match_pools(prefill: Question, decode: Question, *, devices: int, **arguments: str | bool) -> Disaggregated:
    """The numbers of copies, on at most `devices` devices, that give the most output tokens per second.

    Raises `InvalidValueError` where the devices do not hold one copy of each pool.
    """
    check_count(devices, "devices", least=1)
    one, other = prefill.platform.devices, decode.platform.devices
    if devices < one + other:
        raise InvalidValueError(
            f"devices: {devices} do not hold a prefill pool of {one} and a decode pool of {other}",
            field="devices",
            value=devices,
            allowed=f"at least {one + other}",
        )
    single = disaggregate(prefill, decode, **arguments)  # type: ignore[arg-type]

    def of(copies: int) -> Disaggregated:
        return Disaggregated(
            single.prefill,
            single.decode,
            copies,
            (devices - copies * one) // other,
            single.transfer_time,
            single.exposed_transfer,
        )

    return max((of(copies) for copies in range(1, (devices - other) // one + 1)), key=lambda pools: pools.requests_per_s)


def _link(question: Question, name: str) -> Link:
    chip = question.platform.chip
    if name not in chip.links:
        raise UnsupportedError(
            f"{chip.name} has no link {name!r} to send its cache over",
            field="link",
            value=name,
            allowed=", ".join(chip.links) or None,
        )
    return chip.links[name]


def _prompt_only(question: Question) -> Workload:
    """A request that has been prefilled and not yet decoded."""
    return question.with_workload(output_tokens=0, beams=1).workload


def _check_alike(prefill: Question, decode: Question) -> None:
    if prefill.model.name != decode.model.name:
        raise InvalidValueError(
            f"the pools serve different models: {prefill.model.name} and {decode.model.name}",
            field="model",
            value=decode.model.name,
            allowed=prefill.model.name,
        )
    for name in ("input_tokens", "output_tokens"):
        ours, theirs = getattr(prefill.workload, name), getattr(decode.workload, name)
        if ours is not theirs and ours != theirs:
            raise InvalidValueError(
                f"the pools differ in {name}: {ours} and {theirs}", field=name, value=theirs, allowed=str(ours)
            )
    if prefill.widths.kv_cache != decode.widths.kv_cache:
        raise InvalidValueError(
            f"the pools keep their caches in {prefill.widths.kv_cache} and {decode.widths.kv_cache}",
            field="kv_cache_dtype",
            value=decode.widths.kv_cache,
            allowed=prefill.widths.kv_cache,
        )
