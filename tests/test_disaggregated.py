"""Prefill and decode apart: the transfer by hand, pools that match, and what is refused."""

import pytest

import genz
from genz.errors import InvalidValueError, UnsupportedError
from genz.inference.disaggregated import disaggregate, match_pools

LENGTHS = {"input": 4096, "output": 513}


def pools(**changed: object):  # type: ignore[no-untyped-def]
    prefill = genz.settle_question("llama-3.1-70b", "4x h100-sxm", tp=4, batch=1, **LENGTHS)  # type: ignore[arg-type]
    decode = genz.settle_question("llama-3.1-70b", "4x h100-sxm", tp=4, batch=64, **{**LENGTHS, **changed})  # type: ignore[arg-type]
    return prefill, decode


def test_transfer_by_hand() -> None:
    """4,096 tokens of 327,680 bytes over four links of 50 GB/s, and one message's latency."""
    found = disaggregate(*pools())
    assert found.transfer_time == pytest.approx(4096 * 327_680 / (4 * 50e9) + 5e-6)
    assert found.exposed_transfer == pytest.approx(found.transfer_time / 80)
    assert disaggregate(*pools(), overlaps=False).exposed_transfer == found.transfer_time


def test_each_phase_takes_what_it_takes_alone() -> None:
    prefill, decode = pools()
    found = disaggregate(prefill, decode)
    assert found.ttft == genz.evaluate(prefill).ttft
    assert found.tpot == pytest.approx(genz.evaluate(decode).tpot + found.exposed_transfer / 512)


def test_the_slower_pool_sets_the_pace() -> None:
    found = disaggregate(*pools(), prefill_copies=1, decode_copies=3)
    assert found.requests_per_s == min(found.prefill_rate, found.decode_rate)
    assert found.devices == 16


def test_matched_pools_beat_every_other_split() -> None:
    prefill, decode = pools()
    best = match_pools(prefill, decode, devices=64)
    assert best.devices <= 64
    for copies in range(1, 16):
        other = disaggregate(prefill, decode, prefill_copies=copies, decode_copies=16 - copies)
        assert other.requests_per_s <= best.requests_per_s * (1 + 1e-12)


def test_what_cannot_be_is_refused() -> None:
    prefill, decode = pools()
    with pytest.raises(InvalidValueError, match="prefill_copies"):
        disaggregate(prefill, decode, prefill_copies=0)
    with pytest.raises(InvalidValueError, match="at least 8"):
        match_pools(prefill, decode, devices=4)
    with pytest.raises(InvalidValueError, match="input_tokens"):
        disaggregate(prefill, pools(input=4000)[1])
    with pytest.raises(InvalidValueError, match="different models"):
        disaggregate(prefill, genz.settle_question("llama-3.1-8b", "h100-sxm", **LENGTHS))  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="caches"):
        disaggregate(prefill, pools(kv_cache_dtype="fp8")[1])
    with pytest.raises(UnsupportedError, match="scale_sideways"):
        disaggregate(prefill, decode, link="scale_sideways")
