"""A server in steady state: formulas worked by hand, and against simulations that know nothing of them."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz.explore.planning.steady_state import prompt_wait, rate_within, residence, token_time


def test_a_request_stays_for_its_prefill_those_of_the_others_and_its_steps() -> None:
    """Four requests, 0.5 s a prompt, 100 steps of 20 ms: 4 x 0.5 + 2 = 4 s; TPOT = 20 ms + 3 x 0.5 / 100 = 35 ms."""
    assert residence(0.5, 0.5, 0.02, batch=4, steps=100) == pytest.approx(4.0)
    assert token_time(0.5, 0.02, batch=4, steps=100) == pytest.approx(0.035)


def test_a_pipeline_takes_further_prompts_at_the_pace_of_a_stage() -> None:
    """A passage of 0.8 s through four stages of 0.2 s: 0.8 + 3 x 0.2 + 2 = 3.4 s."""
    assert residence(0.8, 0.2, 0.02, batch=4, steps=100) == pytest.approx(3.4)


def test_the_wait_by_hand() -> None:
    """At half load M/D/1 waits half a service; with steps of 30 ms in the other half of the time, 15 ms longer."""
    assert prompt_wait(0.5, 1.0) == pytest.approx(0.5)
    assert prompt_wait(0.5, 1.0, 0.03) == pytest.approx(0.515)
    assert prompt_wait(0.0, 1.0) == 0


def test_the_rate_within_a_wait_by_hand() -> None:
    """2 w / (s (s + 2 w)) with s = 0.1 and w = 0.05: 0.1 / (0.1 x 0.2) = 5 a second, half of the time."""
    assert rate_within(0.05, 0.1) == pytest.approx(5.0)
    assert rate_within(0.0, 0.1) == 0
    assert rate_within(-1.0, 0.1) == 0


@given(busy=st.floats(0.01, 0.99), service=st.floats(1e-3, 1e3))
def test_the_rate_within_a_wait_is_its_inverse(busy: float, service: float) -> None:
    rate = busy / service
    assert rate_within(prompt_wait(rate, service), service) == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_the_queue_of_a_prefill_pool_against_a_simulation(busy: float) -> None:
    """Lindley's recursion with random arrivals: each prompt waits for what the one before leaves it."""
    source, wait, total, prompts = random.Random(1), 0.0, 0.0, 200_000
    for _ in range(prompts):
        total += wait
        wait = max(0.0, wait + 1.0 - source.expovariate(busy))
    assert total / prompts == pytest.approx(prompt_wait(busy, 1.0), rel=0.05)


def test_prompts_before_steps_against_a_simulation() -> None:
    """Prompts arrive at random, go first, and interrupt no step; a step follows a step in all other time."""
    source, rate, service, step = random.Random(2), 1.2, 0.4, 0.05
    arrival, clock, total, prompts = source.expovariate(rate), 0.0, 0.0, 100_000
    for _ in range(prompts):
        while clock < arrival:
            clock += step
        total += clock - arrival
        clock += service
        arrival += source.expovariate(rate)
    assert total / prompts == pytest.approx(prompt_wait(rate, service, step), rel=0.05)


@pytest.mark.parametrize(("batch", "tokens"), [(1, 5), (3, 7), (8, 40)])
def test_continuous_batching_against_a_simulation(batch: int, tokens: int) -> None:
    """Places are refilled by a prefill when they are empty, else a step is run: requests per second are B / T(B)."""
    prefill, step = 0.3, 0.02
    left = [1 + (tokens - 1) * place // batch for place in range(batch)]
    clock, done, rounds = 0.0, 0, 50 * tokens
    for _ in range(rounds):
        clock += step
        left = [steps - 1 for steps in left]
        ended = sum(steps == 0 for steps in left)
        left = [steps or tokens - 1 for steps in left]
        clock += ended * prefill
        done += ended
    stay = residence(prefill, prefill, step, batch=batch, steps=tokens - 1)
    assert done / clock == pytest.approx(batch / stay, rel=0.03)


def test_arrays_are_as_their_elements() -> None:
    batch = np.arange(1.0, 9.0)
    stays = residence(0.5, 0.25, 0.01, batch=batch, steps=10)
    assert stays == pytest.approx([residence(0.5, 0.25, 0.01, batch=b, steps=10) for b in range(1, 9)])
    assert rate_within(np.array([0.0, 0.05]), 0.1) == pytest.approx([0.0, 5.0])
