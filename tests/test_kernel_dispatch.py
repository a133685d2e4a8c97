"""Dispatch and combine against closed forms, published figures, bounds and invariants."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import dimension

import genz
from genz.operators.exchange import Routing, TokenExchange
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.dispatch import DispatchConstants, dispatch_time
from genz.timing.network import exchange_time, span
from genz.timing.network.calibrated import calibrated_exchange

LINK = 450e9
CONSTANTS = DispatchConstants()
ABOUT = {"nodes": 1, "link_bandwidth": LINK, "cores": 20, "clock": 1.8e9, "constants": CONSTANTS}


@st.composite
def some_constants(draw):
    """Constants anywhere within their bounds."""
    drawn = {d.name: draw(st.floats(np.log(d.low), np.log(d.high))) for d in definitions(DispatchConstants)}
    return DispatchConstants(**{name: float(np.exp(value)) for name, value in drawn.items()})


@given(
    constants=some_constants(),
    tokens=st.floats(1, 1e6),
    top_k=st.integers(1, 16),
    nodes=st.sampled_from([1, 2, 8]),
    each=st.booleans(),
    balanced=st.booleans(),
)
def test_is_never_faster_than_the_link(constants, tokens, top_k, nodes, each, balanced):
    devices, width = 8 * nodes, 7168.0
    groups = devices if nodes == 1 else nodes
    distinct = top_k if each else min(top_k, groups) if balanced else groups * (1 - (1 - 1 / groups) ** top_k)
    bound = tokens * width * distinct * (1 - 1 / groups) / LINK
    about = ABOUT | {"nodes": nodes, "constants": constants}
    time = dispatch_time(tokens, width, top_k=top_k, experts=256, devices=devices, each_expert=each, balanced=balanced, **about)
    assert time >= bound * (1 - 1e-9)


@given(constants=some_constants(), each=st.booleans(), balanced=st.booleans(), cores=st.integers(4, 148))
def test_grows_with_tokens_and_experts_and_arrays_are_scalars(constants, each, balanced, cores):
    about = ABOUT | {"constants": constants, "cores": cores, "experts": 256, "each_expert": each, "balanced": balanced}
    tokens, top_k = np.geomspace(1, 1e6, 30)[:, None], np.arange(1, 17)
    times = dispatch_time(tokens, 7168.0, top_k=top_k, devices=8, **about)
    assert np.all(np.diff(times, axis=0) >= 0)
    assert np.all(np.diff(times, axis=1) >= 0)
    apart = [dispatch_time(float(t), 7168.0, top_k=int(k), devices=8, **about) for t in tokens[::7, 0] for k in (1, 8)]
    assert apart == pytest.approx(list(times[::7][:, [0, 7]].ravel()), rel=1e-12)


def test_by_hand():
    # 8 ranks, k = 2: D = 8 (1 - (7/8)^2) = 15/8; 20 cores of 12 B/cycle at 1.8 GHz copy 4096 tokens of 7168 B each 2.175 times.
    time = dispatch_time(4096, 7168, top_k=2, experts=64, devices=8, **ABOUT)
    core = 4096 / 20 * (15 / 8 + 0.3) * (1e-7 + 7168 / (12 * 1.8e9))
    link = 4096 * 7168 * 15 / 8 * 7 / 8 / (0.6 * LINK)
    assert time == pytest.approx(2e-5 + 7 * 5e-7 + (core**6 + link**6) ** (1 / 6))


def test_fewer_cores_than_the_link_needs_set_the_pace():
    about = ABOUT | {"top_k": 8, "experts": 256, "devices": 8}
    few, twice = (dispatch_time(131072, 7168, **about | {"cores": cores}) for cores in (2, 4))
    many, more = (dispatch_time(131072, 7168, **about | {"cores": cores}) for cores in (2000, 4000))
    assert few == pytest.approx(2 * twice, rel=0.01)
    assert many == pytest.approx(more, rel=0.01)


def test_low_latency_serves_an_expert_with_a_core():
    # Experts fewer than cores leave cores idle; more of them take another round.
    about = ABOUT | {"top_k": 1, "devices": 8, "each_expert": True, "cores": 128, "link_bandwidth": 1e15}
    eight, sixteen = (dispatch_time(1024, 7168, experts=experts, **about) for experts in (8, 16))
    base = CONSTANTS.launch + CONSTANTS.peer
    assert eight - base == pytest.approx(2 * (sixteen - base))
    one, two = (dispatch_time(1e-9, 7168, experts=experts, **about) for experts in (128, 129))
    assert two - one == pytest.approx(CONSTANTS.peer)


@pytest.mark.parametrize(
    ("nodes", "element_bytes", "published"),
    [
        (2, 1 + 4 / 128, 118e-6),
        (4, 1 + 4 / 128, 155e-6),
        (8, 1 + 4 / 128, 173e-6),
        (2, 2, 195e-6),
        (4, 2, 273e-6),
        (8, 2, 314e-6),
    ],
)
def test_published_low_latency_across_nodes(nodes, element_bytes, published):
    """128 tokens of 7168 elements to 8 of 256 experts on H800 in nodes of eight, a 400 Gbit/s port each.

    Source: deepseek-ai/DeepEP, docs/legacy.md, low-latency kernels: dispatch in FP8, combine in BF16.
    """
    constants = dataclasses.replace(CONSTANTS, launch=2e-5, link_share=0.95)
    about = ABOUT | {"nodes": nodes, "link_bandwidth": 50e9, "cores": 132, "constants": constants}
    time = dispatch_time(128, 7168 * element_bytes, top_k=8, experts=256, devices=8 * nodes, each_expert=True, **about)
    assert time == pytest.approx(published, rel=0.15)


def test_balanced_tokens_reach_min_of_ranks_and_experts():
    about = ABOUT | {"experts": 256, "top_k": 8, "cores": 1e6}
    link = 1e6 * 7168 / (0.6 * LINK)
    for devices, reached in ((2, 2), (4, 4), (8, 8), (64, 8)):
        time = dispatch_time(1e6, 7168, devices=devices, balanced=True, **about)
        assert time == pytest.approx(link * reached * (1 - 1 / devices), rel=0.01)


def test_node_limit_bounds_the_copies_between_nodes():
    chip = genz.chip("h100-sxm")
    group = span([dimension("switch", 8), dimension("switch", 16, bandwidth=5e10)], 64)
    free = TokenExchange(4096, 7168.0, Routing(8, experts=256))
    limited = TokenExchange(4096, 7168.0, Routing(8, experts=256, node_limit=4))
    assert calibrated_exchange(limited, group, chip, CONSTANTS) < calibrated_exchange(free, group, chip, CONSTANTS)


@pytest.mark.parametrize("mode", ["normal", "low_latency"])
@pytest.mark.parametrize("ranks", [4, 16])
def test_exchange_is_slower_than_the_link_allows(mode, ranks):
    chip = genz.chip("h100-sxm")
    group = span([dimension("switch", 8, latency=0.0), dimension("switch", 16, bandwidth=5e10, latency=0.0)], ranks)
    exchange = TokenExchange(np.geomspace(1, 1e5, 20), 7168.0, Routing(8, mode=mode))
    times = calibrated_exchange(exchange, group, chip, CONSTANTS)
    roofline = exchange_time(exchange, group[-1:], efficiency=1.0)
    assert np.all(np.diff(times) > 0)
    if mode == "normal":
        assert np.all(times >= roofline * 0.99)
    assert calibrated_exchange(exchange, (), chip, CONSTANTS).max() == 0


def test_skew_loads_the_busiest_rank():
    chip = genz.chip("h100-sxm")
    group = span([dimension("switch", 8)], 8)
    even, skewed = (
        calibrated_exchange(TokenExchange(1e5, 7168.0, Routing(8, experts=256, skew=skew)), group, chip, CONSTANTS)
        for skew in (1.0, 2.0)
    )
    assert skewed > 1.8 * even


def test_three_dimensions_and_rings_fall_back():
    chip = genz.chip("h100-sxm")
    exchange = TokenExchange(1000.0, 7168.0, Routing(8, experts=256))
    three = span([dimension("switch", 2)] * 3, 8)
    ring = span([dimension("ring", 8)], 8)
    for group in (three, ring):
        expected = CONSTANTS.launch + exchange_time(exchange, group, efficiency=CONSTANTS.link_share)
        assert calibrated_exchange(exchange, group, chip, CONSTANTS) == pytest.approx(expected)
