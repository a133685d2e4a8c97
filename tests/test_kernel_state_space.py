"""Kernels of layers with a state: FLOPs and bytes by hand, limits that none beats, scalars as arrays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genz.operators.state_space import StateSpaceWork, chunked_scan, convolution, recurrence
from genz.specs import catalog
from genz.timing.kernels.state_space import StateSpaceConstants, state_space_time

CHIP = catalog.chip("h100-sxm")
PRIOR = StateSpaceConstants()
IDEAL = StateSpaceConstants(launch=0.0, memory=1.0, compute=1.0, step=0.0, task=0.0)
# A Mamba-2 layer with 128 heads of 64, a state of 128 and 8 groups.
MAMBA = {"heads": 128, "key_dim": 128, "value_dim": 64, "shared": 2 * 8 * 128}


def test_a_decode_step_reads_and_writes_the_state() -> None:
    # 128 heads x 128 x 64 x 4 B, twice: 8.39 MB a sequence, and a token's activations.
    work = recurrence(32.0, **MAMBA)
    assert work.moved_bytes == pytest.approx(32 * (8_388_608 + 2 * (2 * 128 * 64 + 2048)))
    assert state_space_time(work, CHIP, IDEAL, matrix_type="bf16") == pytest.approx(work.moved_bytes / 3.35e12)


def test_a_convolution_moves_each_token_twice() -> None:
    # 10240 channels, 4096 tokens and the 3 before them, in and out, of 2 bytes.
    work = convolution(1.0, 4096.0, channels=10240, width=4, block=8)
    assert work.moved_bytes == 10240 * 4099 * 2 * 2 and work.steps == 512 and work.tasks == 10240


def test_a_scan_in_one_chunk_is_masked_attention_and_one_state() -> None:
    # 64 tokens in a chunk of 64: scores 2 x 64 x 128, sums 2 x 64 x 64, and 4 x 128 x 64 for the state, a token and head.
    work = chunked_scan(1.0, 64.0, **MAMBA, chunk=64, delta=False)
    assert work.matrix_flops == 64 * 128 * (2 * 64 * 128 + 2 * 64 * 64 + 4 * 128 * 64)
    assert work.steps == 1


def test_long_prompts_grow_linearly() -> None:
    short, long = (chunked_scan(1.0, tokens, **MAMBA, chunk=128, delta=True) for tokens in (4096.0, 16384.0))
    assert long.matrix_flops == pytest.approx(4 * short.matrix_flops) and long.steps == 4 * short.steps
    assert long.moved_bytes == pytest.approx(4 * short.moved_bytes)


def test_the_delta_rule_costs_more_than_the_plain_scan() -> None:
    plain, delta = (chunked_scan(4.0, 1000.0, **MAMBA, chunk=64, delta=d) for d in (False, True))
    assert delta.matrix_flops > plain.matrix_flops and delta.moved_bytes > plain.moved_bytes


def test_steps_of_a_chain_wait_for_each_other() -> None:
    work = StateSpaceWork(0.0, 0.0, 100.0, 132.0)
    chained = replace(IDEAL, step=1e-6, task=1e-8)
    # 100 steps of 1 us, and one task on each of 132 cores.
    assert state_space_time(work, CHIP, chained, matrix_type="bf16") == pytest.approx(100e-6 + 1e-8)


@settings(max_examples=60, deadline=None)
@given(batch=st.integers(1, 256), tokens=st.integers(1, 40_000), delta=st.booleans())
def test_nothing_beats_memory_or_matrix_units(batch: int, tokens: int, delta: bool) -> None:
    work = chunked_scan(float(batch), float(tokens), **MAMBA, chunk=128, delta=delta)
    bound = max(work.moved_bytes / CHIP.main_memory.bandwidth, work.matrix_flops / CHIP.matrix_flops["bf16"])
    cold = state_space_time(work, CHIP, PRIOR, matrix_type="bf16")
    assert cold >= bound and cold >= state_space_time(work, CHIP, PRIOR, matrix_type="bf16", warm=True)


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 256), tokens=st.integers(1, 20_000), more=st.integers(1, 5))
def test_longer_prompts_and_larger_batches_take_longer(batch: int, tokens: int, more: int) -> None:
    def time(b: float, t: float) -> float:
        return state_space_time(chunked_scan(b, t, **MAMBA, chunk=128, delta=True), CHIP, PRIOR, matrix_type="bf16")

    before = time(float(batch), float(tokens))
    assert time(float(batch + more), float(tokens)) >= before and time(float(batch), float(tokens + more)) >= before


def test_arrays_are_scalars_element_by_element() -> None:
    tokens = np.array([1.0, 100.0, 129.0, 30_000.0])
    many = state_space_time(
        chunked_scan(2.0, tokens, **MAMBA, chunk=128, delta=True), CHIP, PRIOR, matrix_type="bf16", warm=True
    )
    one = [
        state_space_time(
            chunked_scan(2.0, float(t), **MAMBA, chunk=128, delta=True), CHIP, PRIOR, matrix_type="bf16", warm=True
        )
        for t in tokens
    ]
    assert many == pytest.approx(one, rel=1e-12)
