"""Where the ranks of a group lie, against the positions counted one by one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import dimension
from pydantic import ValidationError

from genz.errors import InvalidValueError
from genz.timing.network import Axis, ranks_of, span


def positions(rank: int, sizes: list[int]) -> tuple[int, ...]:
    found = []
    for size in sizes:
        rank, position = divmod(rank, size)
        found.append(position)
    return tuple(found)


def test_a_group_counts_through_the_innermost_dimension_first() -> None:
    node, cluster = dimension(size=8), dimension(size=16)
    assert [(hop.dimension, hop.ranks) for hop in span([node, cluster], 4)] == [(node, 4)]
    assert [(hop.dimension, hop.ranks) for hop in span([node, cluster], 32)] == [(node, 8), (cluster, 4)]


def test_a_stride_skips_what_lies_inside() -> None:
    node, cluster = dimension(size=8), dimension(size=16)
    # Tensor parallel 8: neighbours of a pipeline stand in other nodes, at the same place.
    assert [(hop.dimension is cluster, hop.ranks, hop.stride) for hop in span([node, cluster], 4, stride=8)] == [(True, 4, 1)]
    # Tensor parallel 2 and 16 replicas: four in each node.
    assert [(hop.ranks, hop.stride) for hop in span([node, cluster], 16, stride=2)] == [(4, 2), (4, 1)]
    assert [(hop.ranks, hop.stride) for hop in span([node, cluster], 4, stride=16)] == [(4, 2)]


def test_a_torus_is_counted_side_by_side() -> None:
    torus = dimension("torus", shape=(8, 8))
    assert span([torus], 8)[0].axes == (Axis(8, 8, 1),)
    assert span([torus], 16)[0].axes == (Axis(8, 8, 1), Axis(2, 8, 1))
    assert span([torus], 8, stride=8)[0].axes == (Axis(8, 8, 1),)
    assert span([torus], 16, stride=4)[0].axes == (Axis(2, 8, 4), Axis(8, 8, 1))
    assert span([torus], 4, stride=16)[0].stride == 16


@pytest.mark.parametrize(("ranks", "stride", "closes"), [(8, 1, True), (4, 2, True), (4, 1, False), (2, 3, False)])
def test_only_a_group_that_goes_all_around_closes_its_ring(ranks: int, stride: int, closes: bool) -> None:
    (hop,) = span([dimension("ring", 8)], ranks, stride)
    assert hop.axes[0].closes is closes


def test_one_rank_spans_nothing_and_a_dimension_of_one_device_is_none() -> None:
    assert span([dimension()], 1) == () == span([], 1)
    assert [hop.ranks for hop in span([dimension(size=1), dimension(size=8), dimension(size=1)], 8)] == [8]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(2, 40), st.integers(1, 12))
def test_a_span_is_the_product_of_the_positions_that_its_ranks_take(sizes: list[int], ranks: int, stride: int) -> None:
    stack = [dimension(size=size) for size in sizes]
    try:
        hops = span(stack, ranks, stride)
    except InvalidValueError:
        return
    assert ranks_of(hops) == ranks
    assert ranks * stride <= math.prod(sizes)
    # Every group that interleaves with the first takes the same number of positions in each dimension.
    for offset in range(stride):
        taken = {positions(offset + stride * index, sizes) for index in range(ranks)}
        in_each = [len({position[i] for position in taken}) for i in range(len(sizes))]
        assert [count for count in in_each if count > 1] == [hop.ranks for hop in hops]
        assert math.prod(in_each) == len(taken) == ranks


@pytest.mark.parametrize(
    ("ranks", "stride", "hint"),
    [
        (12, 1, "8 or 16"),  # a node and a half
        (1000, 1, "128"),  # beyond the network
        (18, 2, "16 or 20"),
        (4, 3, "2"),  # three apart in nodes of eight
        (2, 12, "stride at which two ranks do: 8 or 16"),
        (5, 64, "2"),
    ],
)
def test_what_does_not_lie_evenly_is_refused_with_the_nearest_that_does(ranks: int, stride: int, hint: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{ranks} ranks at stride {stride}") as raised:
        span([dimension(size=8), dimension(size=16)], ranks, stride)
    assert str(raised.value).endswith(hint)


def test_a_group_without_a_network_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="this platform has none"):
        span([], 2)
    with pytest.raises(InvalidValueError, match="only a group of 1 does"):
        span([dimension(size=1)], 2)


@pytest.mark.parametrize("ranks", [0, -1, 2.0, True])
def test_ranks_are_whole_numbers_from_one(ranks: int) -> None:
    with pytest.raises(InvalidValueError, match="no whole number from 1"):
        span([dimension()], ranks)
    with pytest.raises(InvalidValueError, match="stride"):
        span([dimension()], 2, stride=ranks)


def test_a_dimension_of_no_devices_is_refused() -> None:
    with pytest.raises(ValidationError, match="size"):
        dimension(size=0)


def test_only_a_fat_tree_has_leaves() -> None:
    with pytest.raises(ValidationError, match="only a fat tree has a leaf"):
        dimension(leaf=4)
