"""What attention sees, against a mask that is built token by token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz.operators.visibility import sight, stretches


def mask(context: int, new_tokens: int, window: int | None, chunk: int | None) -> np.ndarray:
    """[new_tokens, context + new_tokens] booleans: which keys each query sees."""
    query = np.arange(context, context + new_tokens)[:, None]
    key = np.arange(context + new_tokens)[None, :]
    seen = key <= query
    if window is not None:
        seen &= query - key < window
    if chunk is not None:
        seen &= query // chunk == key // chunk
    return seen


KINDS = st.sampled_from([(None, None), (1, None), (7, None), (64, None), (None, 8), (None, 50)])


@given(context=st.integers(0, 150), new_tokens=st.integers(1, 120), kind=KINDS)
def test_sight_counts_the_mask(context: int, new_tokens: int, kind: tuple[int | None, int | None]) -> None:
    window, chunk = kind
    seen = mask(context, new_tokens, window, chunk)
    found = sight(context, new_tokens, window=window, chunk=chunk)
    assert found.pairs == seen.sum()
    assert found.keys == seen.any(axis=0).sum()


@given(context=st.integers(0, 150), steps=st.integers(0, 120), kind=KINDS)
def test_stretches_add_up_to_every_decode_step(context: int, steps: int, kind: tuple[int | None, int | None]) -> None:
    window, chunk = kind
    one_by_one = sum(mask(context + step, 1, window, chunk).sum() for step in range(steps))
    parts = stretches(context, 1, steps, window=window, chunk=chunk)
    summed = sum(part.weight * part.length * (part.first.pairs + part.last.pairs) / 2 for part in parts)
    assert summed == pytest.approx(one_by_one)


@given(context=st.integers(0, 150), steps=st.integers(0, 60), new_tokens=st.integers(1, 9))
def test_stretches_of_several_tokens_without_a_window_are_exact(context: int, steps: int, new_tokens: int) -> None:
    one_by_one = sum(mask(context + step * new_tokens, new_tokens, None, None).sum() for step in range(steps))
    (part,) = stretches(context, new_tokens, steps)
    assert part.length * (part.first.pairs + part.last.pairs) / 2 == pytest.approx(one_by_one)


def test_steps_of_several_tokens_stop_growing_at_the_window() -> None:
    parts = stretches(0, 4, 100, window=16)
    assert sum(part.length for part in parts) == 100
    assert parts[-1].first.pairs == parts[-1].last.pairs == 4 * 16


def test_prefill_does_half_the_square() -> None:
    assert sight(0, 1000).pairs == 1000 * 1001 / 2


def test_a_context_that_does_not_advance_stays_as_it_is() -> None:
    (part,) = stretches(100, 1, 7, window=50, advance=0)
    assert part.length == 7
    assert part.first == part.last == sight(100, 1, window=50)
