"""Collectives against hand-worked costs and the bounds of any algorithm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genz.errors import UnsupportedError
from genz.specs.hardware import NetworkDimension
from genz.timing import network

SIZES = st.floats(1, 1e10)
RANKS = st.integers(2, 64)


def switch(**changed: object) -> NetworkDimension:
    given = {"link": "x", "topology": "switch", "size": 64, "bandwidth": 450e9, "latency": 2e-6, **changed}
    return NetworkDimension.model_validate(given)


def test_ring_all_reduce_by_hand() -> None:
    # 8 ranks, 1 GB, 100 GB/s, 1 us: 14 messages and 2 x 7/8 of the buffer.
    assert network.ring_all_reduce(1e9, 8, 100e9, 1e-6) == pytest.approx(14e-6 + 17.5e-3)


def test_tree_all_reduce_by_hand() -> None:
    assert network.tree_all_reduce(1e6, 8, 100e9, 1e-6) == pytest.approx(6e-6 + 20e-6)


def test_one_shot_wins_small_and_ring_or_two_shot_wins_large() -> None:
    small = network.collective_time("all_reduce", 1e3, ranks=8, dimension=switch())
    large = network.collective_time("all_reduce", 1e9, ranks=8, dimension=switch())
    assert small == pytest.approx(network.one_shot_all_reduce(1e3, 8, 450e9, 2e-6))
    assert large == pytest.approx(network.two_shot_all_reduce(1e9, 8, 450e9, 2e-6))


def test_a_ring_has_no_direct_algorithms() -> None:
    ring = switch(topology="ring")
    assert network.collective_time("all_gather", 1e3, ranks=8, dimension=ring) > network.collective_time(
        "all_gather", 1e3, ranks=8, dimension=switch()
    )


def test_reduction_in_the_switch_nearly_halves_large_messages() -> None:
    plain = network.collective_time("all_reduce", 1e9, ranks=8, dimension=switch())
    reduced = network.collective_time("all_reduce", 1e9, ranks=8, dimension=switch(in_network_reduction=True))
    assert reduced / plain == pytest.approx(8 / 14, rel=0.01)


@given(size=SIZES, ranks=RANKS)
def test_no_all_reduce_beats_the_bandwidth_bound(size: float, ranks: int) -> None:
    # Without reduction in the network every rank must send (p - 1) / p of the buffer twice.
    # Source: Patarasuk and Yuan, J. Parallel Distrib. Comput. 69(2), 2009.
    bound = 2 * (ranks - 1) / ranks * size / 450e9
    assert network.collective_time("all_reduce", size, ranks=ranks, dimension=switch()) >= bound


@given(size=SIZES, ranks=RANKS, faster=st.floats(1.01, 10))
def test_more_bandwidth_is_never_slower(size: float, ranks: int, faster: float) -> None:
    for kind in ("all_reduce", "all_gather"):
        slow = network.collective_time(kind, size, ranks=ranks, dimension=switch())
        fast = network.collective_time(kind, size, ranks=ranks, dimension=switch(bandwidth=450e9 * faster))
        assert fast <= slow


def test_an_unknown_collective_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="broadcast"):
        network.collective_time("broadcast", 1.0, ranks=2, dimension=switch())
