"""Copies of tokens against all ways to choose experts, counted one by one, and times by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import dimension
from tracer import Tracer, traced

from genz.errors import InvalidValueError
from genz.operators.exchange import Routing, TokenExchange
from genz.timing.network import combine_time, copies, dispatch_time, distinct_groups, exchange_time, exchanged_bytes, span

US = 1e-6
PLAIN = {"bandwidth": 100e9, "latency": 1e-6}
NODE, CLUSTER = dimension(size=8, **PLAIN), dimension(size=8, bandwidth=10e9, latency=5e-6)


@pytest.mark.parametrize(("groups", "top_k"), [(2, 1), (3, 2), (4, 3)])
def test_distinct_ranks_of_independent_draws_counted_one_by_one(groups: int, top_k: int) -> None:
    draws = list(product(range(groups), repeat=top_k))
    assert distinct_groups(groups, top_k) == pytest.approx(sum(len(set(draw)) for draw in draws) / len(draws))


@pytest.mark.parametrize(("groups", "top_k", "experts"), [(2, 2, 4), (3, 2, 6), (4, 4, 8), (8, 8, 8), (4, 6, 8)])
def test_distinct_ranks_of_different_experts_counted_one_by_one(groups: int, top_k: int, experts: int) -> None:
    chosen = list(combinations(range(experts), top_k))
    counted = sum(len({expert * groups // experts for expert in subset}) for subset in chosen) / len(chosen)
    assert distinct_groups(groups, top_k, experts) == pytest.approx(counted)


def test_many_experts_are_like_independent_draws() -> None:
    assert distinct_groups(8, 8, 10**6) == pytest.approx(distinct_groups(8, 8), rel=1e-5)
    assert distinct_groups(8, 8) == pytest.approx(8 * (1 - (7 / 8) ** 8))


def test_copies_over_two_nodes_of_two_counted_one_by_one() -> None:
    # One expert a rank; a copy for another node goes to the rank of the same place there, which hands it on.
    between = inside = 0
    chosen = list(combinations(range(4), 2))
    for source, experts in product(range(4), chosen):
        between += len({expert // 2 for expert in experts} - {source // 2})
        inside += sum(expert % 2 != source % 2 for expert in experts)
    group = span([dimension(size=2), dimension(size=2)], 4)
    assert copies(Routing(2, experts=4), group) == pytest.approx((inside / 4 / len(chosen), between / 4 / len(chosen)))


def test_low_latency_sends_to_each_expert_apart() -> None:
    assert copies(Routing(8, mode="low_latency"), span([NODE, CLUSTER], 64)) == pytest.approx((8 * 7 / 64, 8 * 56 / 64))


def test_node_limited_routing_reaches_no_more_nodes() -> None:
    group = span([NODE, CLUSTER], 64)
    free, limited = (copies(Routing(8, experts=256, node_limit=limit), group) for limit in (None, 4))
    assert limited[1] == pytest.approx(distinct_groups(4, 8, 128) * 7 / 8)
    assert limited[0] == pytest.approx(distinct_groups(32, 8, 128) * 7 / 8)
    assert limited < free
    assert copies(Routing(8, experts=256, node_limit=8), group) == free
    assert copies(Routing(8, experts=256, node_limit=1), group)[1] == pytest.approx(7 / 8)


def test_a_dispatch_inside_a_node_by_hand() -> None:
    # 4,096 tokens of 7,168 x (1 + 1/32) bytes to 5.25 ranks, one of eight of them itself.
    group = span([NODE], 8)
    distinct = 8 * (1 - (7 / 8) ** 8)
    sent = 4096 * 7168 * (1 + 1 / 32) * distinct * 7 / 8
    assert dispatch_time(4096, 7168, Routing(8), span=group) == pytest.approx(1 * US + sent / 100e9)
    back = 4096 * 7168 * 2 * distinct * 7 / 8
    assert combine_time(4096, 7168, Routing(8), span=group) == pytest.approx(1 * US + back / 100e9)
    assert combine_time(4096, 7168, Routing(8, skew=2.0), span=group) == pytest.approx(1 * US + 2 * back / 100e9)
    assert combine_time(4096, 7168, Routing(8), span=group, efficiency=0.5) == pytest.approx(1 * US + 2 * back / 100e9)


def test_a_node_receives_a_token_once_however_many_of_its_ranks_want_it() -> None:
    group = span([NODE, CLUSTER], 64)
    between = 8 * (1 - (7 / 8) ** 8) * 7 / 8
    time = dispatch_time(4096, 7168, Routing(8), span=group, element_bytes=2.0)
    assert time == pytest.approx(6 * US + 4096 * 7168 * 2 * between / 10e9)


def test_an_exchange_is_priced_as_the_dispatch_that_it_describes() -> None:
    group, exchange = span([NODE, CLUSTER], 64), TokenExchange(4096, 7168 * 2.0, Routing(8, experts=256))
    expected = dispatch_time(4096, 7168, exchange.routing, span=group, element_bytes=2.0, efficiency=0.8)
    assert exchange_time(exchange, group, efficiency=0.8) == expected
    sent = [4096 * 7168 * 2 * crossing for crossing in copies(exchange.routing, group)]
    assert exchanged_bytes(exchange, group) == pytest.approx(sent)


def test_each_copy_of_the_low_latency_kind_is_a_message() -> None:
    group = span([dimension(size=8, message_overhead=1e-8, **PLAIN)], 8)
    time = dispatch_time(128, 0.0, Routing(8, mode="low_latency"), span=group)
    assert time == pytest.approx(1 * US + (128 * 8 * 7 / 8 - 1) * 1e-8)
    assert dispatch_time(128, 0.0, Routing(8), span=group) == pytest.approx(1 * US + 6 * 1e-8)


def test_a_group_of_one_exchanges_nothing() -> None:
    assert dispatch_time(128, 7168, Routing(8), span=()) == combine_time(128, 7168, Routing(8), span=()) == 0


@given(ranks=st.sampled_from([2, 4, 8, 16, 64]), top_k=st.integers(1, 16), tokens=st.floats(1, 1e5))
def test_no_more_copies_than_choices_or_ranks(ranks: int, top_k: int, tokens: float) -> None:
    group = span([NODE, CLUSTER], ranks)
    normal, apart = copies(Routing(top_k), group), copies(Routing(top_k, mode="low_latency"), group)
    assert normal[-1] <= min(apart[-1], ranks - 1) + 1e-9
    slower = dispatch_time(tokens, 4096, Routing(top_k + 1), span=group)
    assert dispatch_time(tokens, 4096, Routing(top_k), span=group) <= slower


def test_arrays_and_opaque_numbers_agree_with_scalars() -> None:
    group, tokens = span([NODE, CLUSTER], 64), np.array([1.0, 128.0, 4096.0])
    for routing in (Routing(8), Routing(8, experts=256, node_limit=4), Routing(8, mode="low_latency", skew=1.5)):
        expected = [dispatch_time(float(t), 7168, routing, span=group) for t in tokens]
        assert dispatch_time(tokens, 7168, routing, span=group) == pytest.approx(expected)  # type: ignore[arg-type]
        opaque = dispatch_time(Tracer(128.0), Tracer(7168), routing, span=group, efficiency=Tracer(1.0))  # type: ignore[arg-type]
        assert traced(opaque) == pytest.approx(expected[1])


def test_routings_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="top_k = 9 is above experts = 8"):
        Routing(9, experts=8)
    with pytest.raises(InvalidValueError, match="node_limit = 0"):
        Routing(2, node_limit=0)
    with pytest.raises(InvalidValueError, match=r"node_limit = 1 of 8 nodes holds 4 experts.*nodes that holds them: 2"):
        copies(Routing(8, experts=32, node_limit=1), span([NODE, CLUSTER], 64))
