"""Attention kernels: closed forms worked by hand, bounds that no kernel can beat, and what must not change a time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genz.operators.shapes import AttentionShape
from genz.specs import catalog
from genz.specs.binding import bind
from genz.timing.kernels import decode_attention, prefill_attention
from genz.timing.kernels.attention_parts import NO_WINDOW, head_factor, overlapped, transfer_times
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.decode_attention import DecodeAttentionConstants, decode_attention_time
from genz.timing.kernels.prefill_attention import PrefillAttentionConstants, prefill_attention_time

H100 = catalog.chip("h100-sxm")
# An ideal chip and kernel: nothing but arithmetic and memory.
TINY = 1e-12
IDEAL_PREFILL = PrefillAttentionConstants(
    launch=TINY, efficiency=1.0, prologue=TINY, tail=1.0, exposed=TINY, query_passes=1.0, cache_passes=1.0, append=TINY
)
# The same without memory.
ARITHMETIC = replace(IDEAL_PREFILL, query_passes=TINY, cache_passes=TINY)
IDEAL_DECODE = DecodeAttentionConstants(
    launch=TINY,
    bandwidth=1.0,
    core_bandwidth=1e9,
    efficiency=1e9,
    prologue=TINY,
    exposed=TINY,
    split_keys=1.0,
    reduction=TINY,
    query_passes=TINY,
    append=TINY,
)
SHAPE = AttentionShape(
    sequences=4,
    new_tokens=2048,
    context=0,
    query_heads=32,
    kv_heads=8,
    key_dim=128,
    value_dim=128,
    cached_width=2 * 8 * 128,
    cache_bytes=2.0,
    activation_bytes=2.0,
    matrix_type="bf16",
    format="bfloat16",
)
STEP = replace(SHAPE, sequences=64, new_tokens=1, context=8191, phase="decode")

shapes = st.fixed_dictionaries(
    {
        "sequences": st.integers(1, 512),
        "new_tokens": st.integers(1, 16384),
        "context": st.integers(0, 100_000),
        "kv_heads": st.integers(1, 16),
        "group": st.integers(1, 32),
        "dim": st.sampled_from([64, 72, 128, 192, 256, 512]),
        "window": st.sampled_from([None, 128, 4096]),
        "causal": st.booleans(),
        "cache_bytes": st.sampled_from([1.0, 2.0]),
    }
)


def shaped(drawn: dict[str, object]) -> AttentionShape:
    fields = dict(drawn)
    group, dim, heads = fields.pop("group"), fields.pop("dim"), fields["kv_heads"]
    widths = {"query_heads": heads * group, "key_dim": dim, "value_dim": dim, "cached_width": 2 * heads * dim}
    return replace(SHAPE, **fields, **widths)


def visible_pairs(shape: AttentionShape) -> int:
    """Pairs of queries and keys of one sequence, counted one by one."""
    keys = shape.context + shape.new_tokens
    limit = keys if shape.window is None else min(shape.window, keys)
    if not shape.causal:
        return shape.new_tokens * limit
    return sum(min(shape.context + i, limit) for i in range(1, shape.new_tokens + 1))


def test_a_long_prompt_takes_its_flops_over_the_peak() -> None:
    # 4 h d S (S + 1) / 2 FLOPs for each sequence; edges of tiles add (tile + block) / 2 keys to each row's S / 2.
    shape = replace(SHAPE, new_tokens=65536)
    flops = 4 * 4 * 32 * 128 * 65536 * 65537 / 2
    assert prefill_attention_time(shape, H100, ARITHMETIC, "128") == pytest.approx(flops / 989.4e12, rel=5e-3)


def test_bidirectional_attention_costs_twice_the_causal() -> None:
    shape = replace(SHAPE, new_tokens=65536)
    causal = prefill_attention_time(shape, H100, ARITHMETIC, "128")
    whole = prefill_attention_time(replace(shape, causal=False), H100, ARITHMETIC, "128")
    assert whole == pytest.approx(2 * causal, rel=5e-3)


def test_a_window_takes_its_share_and_what_is_masked_costs_as_asked() -> None:
    shape = replace(SHAPE, new_tokens=65536, window=8192)
    pairs = 8192 * 8193 / 2 + (65536 - 8192) * 8192
    rate = 989.4e12 / (4 * 4 * 32 * 128)
    free = replace(ARITHMETIC, masked=TINY)
    assert prefill_attention_time(shape, H100, free, "128") == pytest.approx(pairs / rate, rel=0.03)
    # A kernel that masks but never skips works on every block of the triangle.
    walks = replace(ARITHMETIC, masked=1.0)
    full = prefill_attention_time(replace(shape, window=None), H100, ARITHMETIC, "128")
    assert prefill_attention_time(shape, H100, walks, "128") == pytest.approx(full, rel=0.01)


def test_a_long_cache_streams_at_the_bandwidth_of_main_memory() -> None:
    # 64 sequences x 8192 keys x 2 x 8 heads x 128 x 2 bytes = 2.147 GB at 3.35 TB/s.
    cold = decode_attention_time(STEP, H100, IDEAL_DECODE, "packed")
    assert cold == pytest.approx(64 * 8192 * 2 * 8 * 128 * 2 / 3.35e12, rel=1e-3)
    # Too much for the 50 MiB of L2, a loop gains nothing; 8 sequences of 512 keys (17 MB) stay there.
    assert decode_attention_time(STEP, H100, IDEAL_DECODE, "packed", warm=True) == pytest.approx(cold, rel=1e-3)
    little = replace(STEP, sequences=8, context=511)
    cached = decode_attention_time(little, H100, IDEAL_DECODE, "packed", warm=True)
    assert cached == pytest.approx(8 * 512 * 2 * 8 * 128 * 2 / 6.6e12, rel=0.02)


def test_an_fp8_cache_halves_the_stream_and_a_window_cuts_it() -> None:
    whole = decode_attention_time(STEP, H100, IDEAL_DECODE, "packed")
    assert decode_attention_time(replace(STEP, cache_bytes=1.0), H100, IDEAL_DECODE, "packed") == pytest.approx(whole / 2)
    cut = decode_attention_time(replace(STEP, window=1024), H100, replace(IDEAL_DECODE, masked=TINY), "packed")
    assert cut == pytest.approx(whole / 8, rel=1e-3)


def test_the_latent_is_read_once_for_all_heads() -> None:
    # DeepSeek-V3: 576 elements a token, whether 16 heads or 128 share them.
    latent = replace(STEP, kv_heads=1, key_dim=576, value_dim=512, cached_width=576, latent="absorbed")
    few, many = (
        decode_attention_time(replace(latent, query_heads=heads), H100, replace(IDEAL_DECODE, head_512=1.0), "packed")
        for heads in (16, 128)
    )
    assert few == pytest.approx(64 * 8192 * 576 * 2 / 3.35e12, rel=1e-2)
    assert many == pytest.approx(few, rel=1e-6)


def test_splits_let_one_long_sequence_use_all_cores() -> None:
    # One KV head of one sequence: alone it streams at 1/132 of the cores' rate, split at all of it.
    alone = replace(STEP, sequences=1, context=131071, query_heads=8, kv_heads=1, cached_width=256)
    kernel = replace(IDEAL_DECODE, core_bandwidth=1.0)
    stream = 131072 * 256 * 2 / 3.35e12
    assert decode_attention_time(alone, H100, replace(kernel, split_keys=1e9), "packed") == pytest.approx(
        132 * stream, rel=1e-3
    )
    assert decode_attention_time(alone, H100, replace(kernel, split_keys=64.0), "packed") == pytest.approx(stream, rel=1e-3)
    assert decode_attention_time(alone, H100, replace(kernel, split_keys=64.0), "packed_few_splits") == pytest.approx(
        132 / 8 * stream, rel=1e-3
    )


def test_waves_are_whole() -> None:
    # 132 pieces fill an H100's cores once, 133 twice.
    kernel = replace(IDEAL_DECODE, prologue=1e-3)
    step = replace(STEP, query_heads=8, kv_heads=1, cached_width=256, context=0)
    assert decode_attention_time(replace(step, sequences=132), H100, kernel, "packed") == pytest.approx(1e-3, rel=1e-3)
    assert decode_attention_time(replace(step, sequences=133), H100, kernel, "packed") == pytest.approx(2e-3, rel=1e-3)
    # A head each: eight times the pieces.
    assert decode_attention_time(replace(step, sequences=132), H100, kernel, "per_head") == pytest.approx(8e-3, rel=1e-3)
    windowed = replace(step, sequences=132, window=4096)
    assert decode_attention_time(windowed, H100, kernel, "packed_unless_windowed") == pytest.approx(8e-3, rel=1e-3)


def test_packing_makes_full_tiles_of_a_few_queries() -> None:
    # 16 queries of 32 heads over 8 KV heads: 8 packed tiles of 64 rows instead of 32 tiles with 16 rows in use.
    kernel = replace(IDEAL_PREFILL, prologue=1e-3)
    shape = replace(SHAPE, sequences=132, new_tokens=16)
    assert prefill_attention_time(shape, H100, kernel, "64") == pytest.approx(32e-3, rel=0.05)
    assert prefill_attention_time(shape, H100, kernel, "64_packed") == pytest.approx(8e-3, rel=0.05)
    assert prefill_attention_time(shape, H100, kernel, "adaptive") == pytest.approx(8e-3, rel=0.05)


def test_head_dimensions_run_in_the_narrowest_kernel_that_holds_them() -> None:
    kernel = PrefillAttentionConstants(head_64=2.0, head_192=3.0, head_256=4.0, head_512=5.0)
    dims = np.array([32, 64, 65, 80, 128, 160, 192, 256, 257, 576])
    assert head_factor(dims, kernel).tolist() == [2, 2, 1, 1, 1, 3, 3, 4, 5, 5]
    assert [head_factor(int(d), kernel) for d in dims] == [2, 2, 1, 1, 1, 3, 3, 4, 5, 5]


def test_what_fits_the_cache_comes_from_it() -> None:
    assert transfer_times(1e3, H100, 1.0, 3) == pytest.approx(1 / 6.6e12)
    assert transfer_times(1e12, H100, 1.0, 3) == pytest.approx(1 / 3.35e12)
    # At the end of its capacity half of it hits.
    assert transfer_times(H100.memory["l2"].capacity, H100, 1.0, 3) == pytest.approx((1 / 3.35e12 + 1 / 6.6e12) / 2)
    assert overlapped(3.0, 2.0, 0.5) == overlapped(2.0, 3.0, 0.5) == 4.0


@pytest.mark.parametrize("variant", prefill_attention.VARIANTS)
@settings(max_examples=25, deadline=None)
@given(drawn=shapes)
def test_a_prompt_is_never_faster_than_the_roofline(variant: str, drawn: dict[str, object]) -> None:
    shape = shaped({**drawn, "context": min(int(drawn["context"]), 2048), "new_tokens": min(int(drawn["new_tokens"]), 512)})  # type: ignore[call-overload]
    ideal = replace(IDEAL_PREFILL, head_64=1.0, head_192=1.0, head_256=1.0, head_512=1.0)
    pairs = shape.sequences * shape.query_heads * visible_pairs(shape)
    compute = 2 * pairs * (shape.key_dim + shape.value_dim) / 989.4e12
    new = shape.sequences * shape.new_tokens * 2 * (shape.query_heads + shape.kv_heads) * shape.key_dim * 2
    assert prefill_attention_time(shape, H100, ideal, variant) >= max(compute, new / 6.6e12) * (1 - 1e-9)


@pytest.mark.parametrize("variant", decode_attention.VARIANTS)
@settings(max_examples=25, deadline=None)
@given(drawn=shapes, new_tokens=st.integers(1, 8))
def test_a_step_is_never_faster_than_its_cache_streams(variant: str, drawn: dict[str, object], new_tokens: int) -> None:
    shape = shaped({**drawn, "new_tokens": new_tokens, "causal": True})
    ideal = replace(IDEAL_DECODE, head_64=1.0, head_192=1.0, head_256=1.0, head_512=1.0)
    keys = shape.context + new_tokens if shape.window is None else min(shape.context + new_tokens, shape.window)
    stream = shape.sequences * keys * shape.cached_width * shape.cache_bytes
    assert decode_attention_time(shape, H100, ideal, variant) >= stream / 3.35e12 * (1 - 1e-9)
    assert decode_attention_time(shape, H100, ideal, variant, warm=True) >= stream / 6.6e12 * (1 - 1e-9)


@pytest.mark.parametrize("time_of", [prefill_attention_time, decode_attention_time])
@settings(max_examples=40, deadline=None)
@given(drawn=shapes, field=st.sampled_from(["sequences", "context", "kv_heads", "new_tokens"]))
def test_more_work_never_takes_less_time(time_of: object, drawn: dict[str, object], field: str) -> None:
    is_prefill = time_of is prefill_attention_time
    if not is_prefill:
        drawn = {**drawn, "new_tokens": 1, "causal": True}
        field = "sequences" if field == "new_tokens" else field
    shape = shaped(drawn)
    more = shaped({**drawn, field: 2 * int(drawn[field]) + (field == "context")})  # type: ignore[call-overload]
    constants = PrefillAttentionConstants() if is_prefill else DecodeAttentionConstants()
    variant = "128" if is_prefill else "per_head"
    before, after = (time_of(s, H100, constants, variant) for s in (shape, more))  # type: ignore[operator]
    assert after >= before * (1 - 1e-9)


@pytest.mark.parametrize("warm", [False, True])
@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(shapes, min_size=2, max_size=4))
def test_arrays_give_what_scalars_give(warm: bool, drawn: list[dict[str, object]]) -> None:
    rows = [shaped({**d, "causal": True, "cache_bytes": 2.0}) for d in drawn]
    names = ("sequences", "new_tokens", "context", "query_heads", "kv_heads", "key_dim", "value_dim", "cached_width")
    together = replace(
        SHAPE,
        **{name: np.array([getattr(row, name) for row in rows], float) for name in names},
        window=np.array([NO_WINDOW if row.window is None else row.window for row in rows], float),
    )
    for variant in prefill_attention.VARIANTS:
        times = prefill_attention_time(together, H100, PrefillAttentionConstants(), variant, warm=warm)
        alone = [prefill_attention_time(row, H100, PrefillAttentionConstants(), variant, warm=warm) for row in rows]
        assert times == pytest.approx(alone, rel=1e-9)
    for variant in decode_attention.VARIANTS:
        times = decode_attention_time(together, H100, DecodeAttentionConstants(), variant, warm=warm)
        alone = [decode_attention_time(row, H100, DecodeAttentionConstants(), variant, warm=warm) for row in rows]
        assert times == pytest.approx(alone, rel=1e-9)


def test_chip_figures_may_be_arrays() -> None:
    bandwidths = np.array([1e12, 2e12, 4e12])
    chips = bind(H100, {"memory.hbm.bandwidth": bandwidths})
    times = decode_attention_time(STEP, chips, IDEAL_DECODE, "packed")
    assert times == pytest.approx(64 * 8192 * 2 * 8 * 128 * 2 / bandwidths, rel=1e-2)


def test_constants_lie_within_their_bounds_and_units_are_named() -> None:
    for kind in (PrefillAttentionConstants, DecodeAttentionConstants):
        for known in definitions(kind):
            assert 0 < known.low < known.prior < known.high < math.inf
            assert known.unit in ("s", "1")


def test_a_window_hides_nothing_from_a_short_sequence() -> None:
    # Kernels that take a window as such may work otherwise; that is another variant.
    for window in (8192, 10**6):
        assert decode_attention_time(replace(STEP, window=window), H100, DecodeAttentionConstants(), "packed") == pytest.approx(
            decode_attention_time(STEP, H100, DecodeAttentionConstants(), "packed")
        )
