"""Collectives against hand-worked costs, counted link loads and the bounds of any algorithm."""

import math
from itertools import product

import numpy as np
import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st
from networks import BANDWIDTH, LATENCY, dimension, dimensions, size_of, stacks
from tracer import Tracer, traced

import genz
from genz.errors import InvalidValueError, UnknownNameError, UnsupportedError
from genz.specs.hardware import NetworkDimension
from genz.timing.machine import Machine
from genz.timing.network import KINDS, Hop, Span, algorithms, collective_time, span
from genz.timing.network.rates import axis_load, mean_distance, neighbour_rate, pair_rate, ring_rate, root_rate, spread_rate

SIZES = st.floats(1, 1e10)
COLLECTIVES = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all")
US, GB = 1e-6, 1e9


def on(one: NetworkDimension, ranks: int | None = None, stride: int = 1) -> Span:
    return span([one], ranks or one.size, stride)


def hop(one: NetworkDimension, ranks: int, stride: int = 1) -> Hop:
    return on(one, ranks, stride)[0]


# By hand: 8 ranks, 1 GB, 100 GB/s, 1 us. A message takes 1 us, the buffer 10 ms.
PLAIN = {"bandwidth": 100e9, "latency": 1e-6}
BY_HAND = {
    ("all_reduce", "ring"): 14 * US + 2 * 7 / 8 * 10e-3,
    ("all_reduce", "tree"): 6 * US + 2 * 10e-3,
    ("all_reduce", "one_shot"): 1 * US + 7 * 10e-3,
    ("all_reduce", "two_shot"): 2 * US + 2 * 7 / 8 * 10e-3,
    ("all_reduce", "recursive_halving_doubling"): 6 * US + 2 * 7 / 8 * 10e-3,
    ("all_reduce", "in_network"): 2 * US + 9 / 8 * 10e-3,
    ("all_gather", "ring"): 7 * US + 7 / 8 * 10e-3,
    ("all_gather", "direct"): 1 * US + 7 / 8 * 10e-3,
    ("all_gather", "recursive_doubling"): 3 * US + 7 / 8 * 10e-3,
    ("reduce_scatter", "ring"): 7 * US + 7 / 8 * 10e-3,
    ("reduce_scatter", "direct"): 1 * US + 7 / 8 * 10e-3,
    ("reduce_scatter", "recursive_halving"): 3 * US + 7 / 8 * 10e-3,
    ("all_to_all", "direct"): 1 * US + 7 / 8 * 10e-3,
    ("all_to_all", "pairwise"): 7 * US + 7 / 8 * 10e-3,
    ("broadcast", "tree"): 3 * US + 3 * 10e-3,
    ("broadcast", "one_shot"): 1 * US + 7 * 10e-3,
    ("broadcast", "chain"): 6 * US + 10e-3 + 2 * math.sqrt(6 * US * 10e-3),
    ("send_receive", "point_to_point"): 1 * US + 10e-3,
}


@pytest.mark.parametrize(("kind", "algorithm"), BY_HAND)
def test_algorithms_through_a_switch_by_hand(kind: str, algorithm: str) -> None:
    group = on(dimension(in_network_reduction=True, **PLAIN))
    assert collective_time(kind, GB, span=group, algorithm=algorithm) == pytest.approx(BY_HAND[kind, algorithm])


def test_every_algorithm_through_a_switch_is_worked_by_hand() -> None:
    group = on(dimension(in_network_reduction=True))
    assert {(kind, name) for kind in KINDS for name in algorithms(kind, group)} == set(BY_HAND)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_is_the_least_of_all_algorithms(kind: str) -> None:
    for message_bytes in (1e3, 1e6, GB):
        for group in (
            on(dimension()),
            span([dimension(), dimension(bandwidth=50e9)], 32),
            on(dimension("torus", shape=(4, 4))),
        ):
            named = [collective_time(kind, message_bytes, span=group, algorithm=name) for name in algorithms(kind, group)]
            assert collective_time(kind, message_bytes, span=group) == min(named)


def test_one_shot_wins_small_and_two_shot_wins_large() -> None:
    group = on(dimension())
    for message_bytes, winner in ((1e3, "one_shot"), (GB, "two_shot")):
        best = collective_time("all_reduce", message_bytes, span=group)
        assert best == collective_time("all_reduce", message_bytes, span=group, algorithm=winner)


def test_folding_the_surplus_of_other_than_a_power_of_two() -> None:
    # Six ranks: two fold into four (1 us and the buffer, there and back), which halve and double.
    time = collective_time("all_reduce", GB, span=on(dimension(size=6, **PLAIN)), algorithm="recursive_halving_doubling")
    assert time == pytest.approx(2 * (US + 10e-3) + 4 * US + 2 * 3 / 4 * 10e-3)


def test_a_short_message_goes_down_the_chain_in_one_piece() -> None:
    time = collective_time("broadcast", 100.0, span=on(dimension(**PLAIN)), algorithm="chain")
    assert time == pytest.approx(7 * (US + 100 / 100e9))


def test_further_messages_of_a_step_cost_their_sender() -> None:
    group = on(dimension(message_overhead=1e-7, **PLAIN))
    assert collective_time("all_gather", 0.0, span=group, algorithm="direct") == pytest.approx(1 * US + 6 * 1e-7)
    assert collective_time("all_reduce", 0.0, span=group, algorithm="two_shot") == pytest.approx(2 * US + 12 * 1e-7)
    # Around a ring each step has one message, whose software is in the latency.
    assert collective_time("all_gather", 0.0, span=group, algorithm="ring") == pytest.approx(7 * US)


def test_a_reducing_fat_tree_streams_up_and_down() -> None:
    group = on(dimension("fat_tree", in_network_reduction=True, **PLAIN))
    assert collective_time("all_reduce", GB, span=group, algorithm="in_network") == pytest.approx(2 * US + 10e-3)


# Fully connected, ring, torus, fat tree, bus


def test_a_pair_of_a_fully_connected_node_has_one_link() -> None:
    node = dimension("fully_connected", 8, bandwidth=448e9)
    assert neighbour_rate(hop(node, 8)) == pair_rate(hop(node, 2)) == ring_rate(hop(node, 2)) == pytest.approx(64e9)
    assert ring_rate(hop(node, 4)) == spread_rate(hop(node, 4)) == pytest.approx(3 * 64e9)
    assert ring_rate(hop(node, 8)) == pytest.approx(448e9)


def test_a_ring_of_eight_by_hand() -> None:
    # 50 GB/s each way; a block goes both ways around or all the way one way.
    ring = on(dimension("ring", 8, **PLAIN))
    assert collective_time("all_gather", GB, span=ring, algorithm="ring") == pytest.approx(7 * US + 7 / 8 * 10e-3)
    assert collective_time("all_gather", GB, span=ring, algorithm="bidirectional_ring") == pytest.approx(4 * US + 7 / 8 * 10e-3)
    # Half of the ring is a line: the way back takes one direction of its links.
    line = on(dimension("ring", 8, **PLAIN), 4)
    assert collective_time("all_gather", GB, span=line, algorithm="ring") == pytest.approx(3 * US + 3 / 4 * 20e-3)
    # Every other device: two links apart, which the other half uses too.
    half = on(dimension("ring", 8, **PLAIN), 4, 2)
    assert collective_time("all_gather", GB, span=half, algorithm="ring") == pytest.approx(6 * US + 3 / 4 * 20e-3)


def test_all_to_all_on_a_ring_of_eight_by_hand() -> None:
    # 4 x 4 parts of n / 8 cross the cut each way over 2 links of B / 2: 2 n / B.
    ring = on(dimension("ring", 8, **PLAIN))
    assert collective_time("all_to_all", GB, span=ring, algorithm="direct") == pytest.approx(4 * US + 2 * 10e-3)
    assert collective_time("all_to_all", GB, span=ring, algorithm="ring") == pytest.approx(7 * US + 7 / 2 * 10e-3)


def test_all_to_all_on_an_8x8_torus_is_its_bisection() -> None:
    # 32 x 32 parts of n / 64 cross the cut each way, over 2 x 8 links of B / 4: 4 n / B. The diameter is 8 links.
    torus = on(dimension("torus", shape=(8, 8), **PLAIN))
    assert collective_time("all_to_all", GB, span=torus) == pytest.approx(8 * US + 4 * 10e-3)
    # 4 x 4 x 4: 32 x 32 n / 64 over 2 x 16 links of B / 6.
    cube = on(dimension("torus", shape=(4, 4, 4), **PLAIN))
    assert collective_time("all_to_all", GB, span=cube) == pytest.approx(6 * US + 3 * 10e-3)


def test_an_all_reduce_on_a_square_torus_uses_all_links() -> None:
    torus = on(dimension("torus", shape=(8, 8), **PLAIN))
    assert collective_time("all_reduce", GB, span=torus, algorithm="ring") == pytest.approx(28 * US + 2 * 63 / 64 * 10e-3)
    assert collective_time("all_reduce", GB, span=torus) == pytest.approx(16 * US + 2 * 63 / 64 * 10e-3)


def link_loads(sides: tuple[int, ...], strides: tuple[int, ...], ranks: tuple[int, ...]) -> float:
    """Largest load of a link when all interleaved groups exchange a part of 1, by the shortest way, side by side."""
    loads: dict[tuple[object, ...], float] = {}
    starts = product(*(range(stride) for stride in strides))
    for start in starts:
        members = list(
            product(*([s + i * stride for i in range(n)] for s, stride, n in zip(start, strides, ranks, strict=True)))
        )
        for source, target in product(members, members):
            at = list(source)
            for axis, side in enumerate(sides):
                closes = ranks[axis] * strides[axis] == side
                forward = (target[axis] - at[axis]) % side
                ways = [(1, forward), (-1, side - forward)]
                if not closes:
                    ways = [(1, forward)] if target[axis] >= at[axis] else [(-1, side - forward)]
                shortest = min(distance for _, distance in ways)
                chosen = [(step, distance) for step, distance in ways if distance == shortest]
                for step, distance in chosen:
                    for moved in range(distance):
                        link = (*at[:axis], (at[axis] + step * moved) % side, *at[axis + 1 :], axis, step)
                        loads[link] = loads.get(link, 0.0) + 1 / len(chosen)
                at[axis] = target[axis]
    return max(loads.values())


@pytest.mark.parametrize(
    ("shape", "ranks", "stride"),
    [((8,), 8, 1), ((7,), 7, 1), ((8,), 4, 2), ((8,), 5, 1), ((9,), 4, 2), ((4, 6), 24, 1), ((4, 6), 8, 1), ((4, 6), 12, 2)],
)
def test_loads_of_torus_links_counted_one_by_one(shape: tuple[int, ...], ranks: int, stride: int) -> None:
    one = dimension("torus", shape=shape)
    (found,) = on(one, ranks, stride)
    by_side = {axis.size: axis for axis in found.axes}
    strides = tuple(by_side[side].stride if side in by_side else 1 for side in shape)
    counts = tuple(by_side[side].ranks if side in by_side else 1 for side in shape)
    counted = link_loads(shape, strides, counts)
    # A part is n / P, and a link has 1 / (2 d) of a device's bandwidth.
    seconds = collective_time("all_to_all", ranks * BANDWIDTH, span=(found,), algorithm="direct")
    one_way = 2 * len(shape)
    latency = collective_time("all_to_all", 0.0, span=(found,), algorithm="direct")
    assert seconds - latency == pytest.approx(counted * one_way)


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("p", [2, 3, 4, 5, 8])
def test_distances_on_an_axis_counted_one_by_one(p: int, closes: bool) -> None:
    (axis,) = hop(dimension("ring", p if closes else 2 * p + 1), p).axes
    distances = [min(abs(a - b), p - abs(a - b)) if closes else abs(a - b) for a, b in product(range(p), range(p))]
    assert mean_distance(axis) == pytest.approx(sum(distances) / p**2)
    assert axis_load(axis) >= mean_distance(axis) - 1e-12


def test_an_oversubscribed_fat_tree_limits_what_leaves_a_leaf() -> None:
    tree = dimension("fat_tree", 64, oversubscription=4, leaf=16)
    assert spread_rate(hop(tree, 16)) == ring_rate(hop(tree, 16)) == pair_rate(hop(tree, 16)) == BANDWIDTH
    # 48 of 63 peers stand under other leaves, whose way there has a quarter of the bandwidth.
    assert spread_rate(hop(tree, 64)) == pytest.approx(BANDWIDTH / (4 * 48 / 63))
    assert pair_rate(hop(tree, 64)) == pytest.approx(BANDWIDTH / 4)
    # One ring leaves a leaf once, and 4 devices' worth of bandwidth leads out; 16 groups share that.
    assert ring_rate(hop(tree, 64)) == BANDWIDTH
    assert ring_rate(hop(tree, 4, 16)) == pytest.approx(BANDWIDTH / 4)
    assert spread_rate(hop(dimension("fat_tree", 64, oversubscription=4), 16)) == pytest.approx(BANDWIDTH / 4)


def test_all_ranks_share_a_bus() -> None:
    bus = dimension("bus", 8)
    assert ring_rate(hop(bus, 4)) == spread_rate(hop(bus, 4)) == BANDWIDTH / 4
    assert ring_rate(hop(bus, 4, 2)) == BANDWIDTH / 8
    assert neighbour_rate(hop(bus, 4, 2)) == root_rate(hop(bus, 4, 2)) == BANDWIDTH / 2


def test_a_message_to_the_next_on_a_torus_has_one_link() -> None:
    torus = dimension("torus", shape=(4, 4))
    assert neighbour_rate(hop(torus, 4)) == BANDWIDTH / 4
    # Two devices in a ring of two have both links between them.
    assert neighbour_rate(hop(dimension("ring", 2), 2)) == BANDWIDTH


# Hierarchies

NODE, CLUSTER = dimension(size=8, **PLAIN), dimension(size=16, bandwidth=10e9, latency=5e-6)


def test_a_hierarchical_all_reduce_by_hand() -> None:
    # Inside: 7/8 of 1 GB at 100 GB/s there and back; between: 1/8 GB over 4 nodes at 10 GB/s, two-shot.
    time = collective_time("all_reduce", GB, span=span([NODE, CLUSTER], 32), algorithm="hierarchical")
    assert time == pytest.approx(2 * (1 * US + 7 / 8 * 10e-3) + 2 * (5 * US) + 2 * 3 / 4 * 12.5e-3)


def test_a_hierarchical_all_gather_by_hand() -> None:
    time = collective_time("all_gather", GB, span=span([NODE, CLUSTER], 32), algorithm="hierarchical")
    assert time == pytest.approx(1 * US + 7 / 8 * 10e-3 + 5 * US + 3 / 4 * 12.5e-3)


def test_an_all_to_all_in_two_phases_saves_messages_and_a_flat_one_saves_bytes() -> None:
    group = span([NODE, CLUSTER.model_copy(update={"message_overhead": US})], 32)
    flat, phases = (
        [collective_time("all_to_all", n, span=group, algorithm=name) for n in (0.0, GB)] for name in ("direct", "hierarchical")
    )
    assert flat[0] == pytest.approx(5 * US + 30 * US)
    assert phases[0] == pytest.approx(1 * US + 5 * US + 2 * US)
    # 24 of 32 parts leave the node either way; in phases those pass the node's network too.
    assert flat[1] - flat[0] == pytest.approx(7 / 32 * 10e-3 + 24 / 32 * 100e-3)
    assert phases[1] - phases[0] == pytest.approx(7 / 8 * 10e-3 + 24 / 32 * 100e-3)


def test_a_ring_through_nodes_leaves_by_all_of_their_links() -> None:
    # 31 steps: 28 inside, 3 between; an eighth of the rings crosses between nodes at each rank.
    time = collective_time("all_gather", GB, span=span([NODE, CLUSTER], 32), algorithm="ring")
    assert time == pytest.approx(28 * US + 3 * 5 * US + 31 / 32 * (7 / 8 * 10e-3 + 1 / 8 * 100e-3))


def test_broadcast_scatters_where_that_uses_more_links() -> None:
    group = span([NODE, CLUSTER], 32)
    assert collective_time("broadcast", GB, span=group) == collective_time(
        "broadcast", GB, span=group, algorithm="scatter_gather"
    )
    assert collective_time("broadcast", 1.0, span=group) == collective_time(
        "broadcast", 1.0, span=group, algorithm="hierarchical"
    )


def test_the_slowest_dimension_between_neighbours_sets_the_pace() -> None:
    assert collective_time("send_receive", GB, span=span([NODE, CLUSTER], 16)) == pytest.approx(5 * US + 100e-3)


# Invariants


@given(size=SIZES, one=dimensions(), share=st.data())
def test_no_all_reduce_beats_the_bandwidth_bound(size: float, one: NetworkDimension, share: st.DataObject) -> None:
    # Without reduction in the network every rank must send (p - 1) / p of the buffer twice.
    # Source: Patarasuk and Yuan, J. Parallel Distrib. Comput. 69(2), 2009.
    one = one.model_copy(update={"in_network_reduction": False})
    ranks = share.draw(st.integers(2, one.size))
    group = legal(one, ranks)
    bound = 2 * (ranks - 1) / ranks * size / one.bandwidth
    assert collective_time("all_reduce", size, span=group) >= bound * (1 - 1e-12)


def legal(one: NetworkDimension, ranks: int) -> Span:
    try:
        return on(one, ranks)
    except InvalidValueError:
        assume(False)
        raise


@given(size=SIZES, stack=stacks(), which=st.integers(0, 2), factor=st.floats(1.01, 10), kind=st.sampled_from(KINDS))
def test_more_bandwidth_is_never_slower_and_more_latency_never_faster(
    size: float, stack: list[NetworkDimension], which: int, factor: float, kind: str
) -> None:
    index = which % len(stack)
    as_is = collective_time(kind, size, span=span(stack, size_of(stack)))
    for field, changes_to in (("bandwidth", -1), ("latency", 1), ("message_overhead", 1)):
        changed = [*stack]
        changed[index] = stack[index].model_copy(update={field: getattr(stack[index], field) * factor})
        time = collective_time(kind, size, span=span(changed, size_of(stack)))
        assert changes_to * (time - as_is) >= -1e-12 * as_is


@given(size=SIZES, stack=stacks(), kind=st.sampled_from(KINDS), more=st.floats(1, 100))
def test_more_bytes_and_less_efficiency_are_never_faster(
    size: float, stack: list[NetworkDimension], kind: str, more: float
) -> None:
    group = span(stack, size_of(stack))
    as_is = collective_time(kind, size, span=group)
    larger = collective_time(kind, size * more, span=group)
    assert larger >= as_is * (1 - 1e-12)
    assert collective_time(kind, size, span=group, efficiency=1 / more) == pytest.approx(larger)


@given(size=SIZES, inner=st.integers(2, 9), outer=st.integers(2, 9), kind=st.sampled_from(COLLECTIVES))
def test_two_equal_switch_dimensions_price_like_the_one_they_merge_into(size: float, inner: int, outer: int, kind: str) -> None:
    # Without an overhead of further messages, of which a hierarchy sends fewer.
    split = span([dimension(size=inner), dimension(size=outer)], inner * outer)
    merged = on(dimension(size=inner * outer))
    assert collective_time(kind, size, span=split) == pytest.approx(collective_time(kind, size, span=merged))


@given(size=SIZES, ranks=st.sampled_from([2, 4, 8]), kind=st.sampled_from(KINDS), stack=stacks())
def test_other_ways_to_write_a_machine_price_the_same(
    size: float, ranks: int, kind: str, stack: list[NetworkDimension]
) -> None:
    ring = collective_time(kind, size, span=on(dimension("ring", 8), ranks))
    assert ring == pytest.approx(collective_time(kind, size, span=on(dimension("torus", shape=(8,)), ranks)))
    assert ring == pytest.approx(collective_time(kind, size, span=on(dimension("torus", shape=(8, 1)), ranks)))
    with_ones = [dimension(size=1), *stack, dimension("ring", 1)]
    total = size_of(stack)
    assert collective_time(kind, size, span=span(stack, total)) == collective_time(kind, size, span=span(with_ones, total))


@given(size=SIZES, sides=st.permutations([2, 3, 4]), kind=st.sampled_from(KINDS))
def test_relabelling_the_ranks_of_a_torus_changes_nothing(size: float, sides: list[int], kind: str) -> None:
    as_is = collective_time(kind, size, span=on(dimension("torus", shape=(2, 3, 4))))
    assert collective_time(kind, size, span=on(dimension("torus", shape=tuple(sides)))) == pytest.approx(as_is)


@given(size=SIZES, kind=st.sampled_from(KINDS), ranks=st.integers(2, 4))
def test_relabelling_the_ports_of_a_switch_changes_nothing(size: float, kind: str, ranks: int) -> None:
    times = {collective_time(kind, size, span=on(dimension(), ranks, stride)) for stride in range(1, 8 // ranks + 1)}
    assert len(times) == 1


@given(size=SIZES, one=dimensions(), skew=st.floats(1, 8))
def test_skew_slows_an_all_to_all_and_one_is_balanced(size: float, one: NetworkDimension, skew: float) -> None:
    group = on(one)
    balanced = collective_time("all_to_all", size, span=group)
    assert collective_time("all_to_all", size, span=group, skew=1.0) == balanced
    assert collective_time("all_to_all", size, span=group, skew=skew) >= balanced


def test_the_most_loaded_rank_receives_its_share_through_its_own_port() -> None:
    group = on(dimension(**PLAIN))
    assert collective_time("all_to_all", GB, span=group, skew=3.0) == pytest.approx(1 * US + 3 * 7 / 8 * 10e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_of_one_costs_nothing(kind: str) -> None:
    assert collective_time(kind, GB, span=()) == 0
    assert (collective_time(kind, np.array([1.0, GB]), span=()) == 0).all()  # type: ignore[arg-type,attr-defined]
    assert algorithms(kind, ()) == ()


# Numbers of every kind


@given(stack=stacks(), kind=st.sampled_from(KINDS))
def test_arrays_agree_with_scalars(stack: list[NetworkDimension], kind: str) -> None:
    sizes = np.array([1.0, 1e4, 1e7, 1e10])
    skew = 1.5 if kind == "all_to_all" else 1.0
    group = span(stack, size_of(stack))
    times = collective_time(kind, sizes, span=group, skew=skew)  # type: ignore[arg-type]
    assert times == pytest.approx([collective_time(kind, float(size), span=group, skew=skew) for size in sizes])


@given(stack=stacks(), kind=st.sampled_from(KINDS))
def test_no_formula_reads_a_value(stack: list[NetworkDimension], kind: str) -> None:
    fields = ("bandwidth", "latency", "message_overhead", "oversubscription")
    opaque = [one.model_copy(update={field: Tracer(getattr(one, field)) for field in fields}) for one in stack]
    total = size_of(stack)
    time = collective_time(kind, Tracer(1e6), span=span(opaque, total), efficiency=Tracer(0.8))  # type: ignore[arg-type]
    assert traced(time) == pytest.approx(collective_time(kind, 1e6, span=span(stack, total), efficiency=0.8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stack", [[dimension()], [dimension(), dimension(bandwidth=50e9)], [dimension("torus", shape=(4, 4))]])
def test_symbols_agree_with_scalars(kind: str, stack: list[NetworkDimension]) -> None:
    n, bandwidth, latency = sympy.symbols("n B alpha", positive=True)
    unknown = [stack[0].model_copy(update={"bandwidth": bandwidth, "latency": latency}), *stack[1:]]
    total = size_of(stack)
    formula = collective_time(kind, n, span=span(unknown, total))
    for size in (1e3, GB):
        given_values = {n: size, bandwidth: BANDWIDTH, latency: LATENCY}
        expected = collective_time(kind, size, span=span(stack, total))
        assert float(formula.subs(given_values)) == pytest.approx(expected)  # type: ignore[attr-defined]


# Wrong questions


def test_an_unknown_collective_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'all_reduce'"):
        collective_time("allreduce", 1.0, span=on(dimension()))
    with pytest.raises(UnknownNameError, match="broadcast"):
        algorithms("scatter", on(dimension()))


def test_an_unknown_algorithm_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"allowed: best, .*two_shot") as raised:
        collective_time("all_reduce", 1.0, span=on(dimension()), algorithm="two_shots")
    assert "did you mean 'two_shot'" in str(raised.value)
    with pytest.raises(UnknownNameError, match="pairwise"):
        collective_time("all_reduce", 1.0, span=(), algorithm="pairwise")


def test_an_algorithm_that_the_network_does_not_allow_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'tree' is not possible on ring \(8 ranks\); allowed: best, ring"):
        collective_time("all_reduce", 1.0, span=on(dimension("ring")), algorithm="tree")
    with pytest.raises(UnsupportedError, match="in_network"):
        collective_time("all_reduce", 1.0, span=on(dimension()), algorithm="in_network")


def test_a_skew_below_one_or_of_another_collective_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="below 1"):
        collective_time("all_to_all", 1.0, span=on(dimension()), skew=0.5)
    with pytest.raises(InvalidValueError, match="all_reduce has no skew"):
        collective_time("all_reduce", 1.0, span=on(dimension()), skew=2.0)


def test_a_machine_prices_groups_at_a_stride() -> None:
    machine = Machine(genz.platform("dgx-h100"), genz.engine("ideal"), "roofline", 0.0)
    assert machine.collective("all_gather", GB, machine.group(4, stride=2))[0] == pytest.approx(2e-6 + 3 / 4 * GB / 450e9)
    with pytest.raises(InvalidValueError, match="nearest number of ranks that does: 2"):
        machine.group(4, stride=4)
