"""Bytes on the wires, by hand and against what time and bandwidth say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import BANDWIDTH, dimension

from genz.errors import UnknownNameError
from genz.timing.network import KINDS, collective_time, span, wire_bytes_by_dimension

GROUP = span([dimension(size=8), dimension(size=16)], 32)


@pytest.mark.parametrize(
    ("kind", "inside", "between"),
    [
        ("all_reduce", 2 * 7 / 8, 2 * 3 / 4 / 8),
        ("all_gather", 7 / 8, 3 / 4 / 8),
        ("reduce_scatter", 7 / 8, 3 / 4 / 8),
        ("all_to_all", 7 / 8, 3 / 4),
        ("broadcast", 28 / 32, 3 / 32),  # 31 copies by 32 ranks, 3 of them between nodes
        ("send_receive", 28 / 31, 3 / 31),
    ],
)
def test_two_dimensions_by_hand(kind: str, inside: float, between: float) -> None:
    assert wire_bytes_by_dimension(kind, 1e9, GROUP) == pytest.approx((inside * 1e9, between * 1e9))


def test_a_reducing_switch_saves_what_ranks_would_send_twice() -> None:
    reducing = dimension(in_network_reduction=True)
    assert wire_bytes_by_dimension("all_reduce", 1e9, span([reducing], 8)) == pytest.approx((9 / 8 * 1e9,))
    assert wire_bytes_by_dimension("all_reduce", 1e9, span([reducing], 2)) == pytest.approx((1e9,))


def test_bytes_that_pass_through_others_count_at_each_link() -> None:
    torus = span([dimension("torus", shape=(8, 8))], 64)
    # Two links in the mean along each side.
    assert wire_bytes_by_dimension("all_to_all", 1e9, torus) == pytest.approx((4e9,))
    assert wire_bytes_by_dimension("all_gather", 1e9, torus) == pytest.approx((63 / 64 * 1e9,))
    half = span([dimension("ring", 8)], 4, 2)
    assert wire_bytes_by_dimension("all_gather", 1e9, half) == pytest.approx((2 * 3 / 4 * 1e9,))


@given(ranks=st.integers(2, 64), kind=st.sampled_from(["all_reduce", "all_gather", "reduce_scatter", "all_to_all"]))
def test_a_switch_carries_what_it_has_the_time_for(ranks: int, kind: str) -> None:
    group = span([dimension(size=64, latency=0.0)], ranks)
    (sent,) = wire_bytes_by_dimension(kind, 1e9, group)
    assert sent == pytest.approx((2 if kind == "all_reduce" else 1) * (ranks - 1) / ranks * 1e9)
    assert collective_time(kind, 1e9, span=group) == pytest.approx(sent / BANDWIDTH)


def test_an_unknown_collective_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'all_to_all'"):
        wire_bytes_by_dimension("alltoall", 1e9, GROUP)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_of_one_sends_nothing(kind: str) -> None:
    assert wire_bytes_by_dimension(kind, 1e9, ()) == ()
