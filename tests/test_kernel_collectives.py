"""Collectives of a library and direct all-reduce against closed forms, published bandwidths, bounds and invariants."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import dimension

from genz.errors import UnknownNameError
from genz.timing.kernels.blend import smooth_maximum, smooth_minimum
from genz.timing.kernels.collectives import DIRECT, KERNEL_OF, CollectiveConstants, collective_kernel_time, share_of_rank
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.direct_all_reduce import direct_all_reduce_time
from genz.timing.network import collective_time, span
from genz.timing.network.calibrated import calibrated_collective

LINK = 450e9
LIBRARY = CollectiveConstants()
counts = st.integers(2, 72)
sizes = st.floats(1, 1e10)


@st.composite
def some_constants(draw):
    """Constants anywhere within their bounds."""
    drawn = {d.name: draw(st.floats(np.log(d.low), np.log(d.high))) for d in definitions(CollectiveConstants)}
    return CollectiveConstants(**{name: float(np.exp(value)) for name, value in drawn.items()})


def necessary_bytes(kind, size, devices, *, reduces):
    """What crosses the busiest rank's link at least."""
    share = {
        "all_reduce": 2 * (devices - 1) / devices,
        "all_gather": (devices - 1) / devices,
        "reduce_scatter": (devices - 1) / devices,
        "all_to_all": (devices - 1) / devices,
    }.get(kind, 1.0)
    if reduces and kind == "all_reduce":
        share = min(share, (devices + 1) / devices)
    return size * share


@pytest.mark.parametrize("kind", KERNEL_OF)
@given(size=sizes, devices=counts, reduces=st.booleans(), constants=some_constants())
def test_is_never_faster_than_the_link(kind, size, devices, reduces, constants):
    bound = necessary_bytes(kind, size, devices, reduces=reduces) / LINK
    about = {"devices": devices, "link_bandwidth": LINK, "constants": constants, "in_network_reduction": reduces}
    assert collective_kernel_time(kind, size, **about) >= bound * (1 - 1e-9)
    if kind == "all_reduce":
        assert direct_all_reduce_time(size, **about) >= bound * (1 - 1e-9)


@pytest.mark.parametrize("kind", KERNEL_OF)
@given(constants=some_constants(), devices=counts, reduces=st.booleans(), captured=st.booleans())
def test_grows_with_the_message_and_arrays_are_scalars(kind, constants, devices, reduces, captured):
    series = np.array([0.0, *np.geomspace(1, 1e11, 60)])
    about = {
        "devices": devices,
        "link_bandwidth": LINK,
        "constants": constants,
        "in_network_reduction": reduces,
        "captured": captured,
    }
    kernels = [lambda n: collective_kernel_time(kind, n, **about)]
    if kind == "all_reduce":
        kernels.append(lambda n: direct_all_reduce_time(n, **about))
    for kernel in kernels:
        times = kernel(series)
        assert np.all(np.diff(times) >= -1e-12 * times[1:])
        assert [kernel(float(n)) for n in series] == pytest.approx(list(times), rel=1e-12)


def test_arrays_of_devices_and_links_are_scalars():
    devices, links, size = np.array([2.0, 4.0, 8.0, 16.0]), np.array([3e11, 4.5e11, 9e11, 9e11]), 2.0**24
    about = {"constants": LIBRARY, "in_network_reduction": True}
    times = collective_kernel_time("all_reduce", size, devices=devices, link_bandwidth=links, **about)
    apart = [
        collective_kernel_time("all_reduce", size, devices=int(n), link_bandwidth=float(w), **about)
        for n, w in zip(devices, links, strict=True)
    ]
    assert list(times) == pytest.approx(apart, rel=1e-12)


def test_large_messages_by_hand():
    # 8 ranks, M = 8 GB: V = 14 GB sent and 0.5 GB copied at half of 450 GB/s, and 20 us.
    constants = dataclasses.replace(
        LIBRARY,
        launch=1e-5,
        step=1e-9,
        bulk_latency=1e-5,
        bulk_share=0.5,
        copy=0.5,
        growth=0.01,
        crowding=1e-3,
        quick_share=1e-4,
    )
    constants = dataclasses.replace(constants, middle_share=1e-3)
    time = collective_kernel_time("all_reduce", 8e9, devices=8, link_bandwidth=LINK, constants=constants)
    assert time == pytest.approx(14.5e9 / (0.5 * LINK * (2 / 8) ** 1e-3) + 2e-5, rel=1e-4)


def test_small_messages_take_launch_and_steps():
    # A ring of n: 2 (n - 1) steps of an all-reduce, n - 1 of an all-gather.
    for devices in (2, 4, 8):
        about = {"devices": devices, "link_bandwidth": LINK, "constants": LIBRARY}
        assert collective_kernel_time("all_reduce", 0.0, **about) == pytest.approx(5e-6 + 2 * (devices - 1) * 9e-7)
        assert collective_kernel_time("all_gather", 0.0, **about) == pytest.approx(5e-6 + (devices - 1) * 9e-7)


def test_bus_bandwidth_is_that_which_is_published():
    """nccl-tests on 8 H100 SXM: 460 to 480 GB/s of bus bandwidth, which is bytes over time times 2 (n - 1) / n.

    Sources: NVIDIA/nccl-tests, doc/PERFORMANCE.md (the definition); NCCL-tests in practice, docs.alayanew.com, 2026-05-06.
    A ring cannot exceed the 450 GB/s of the links.
    """
    about = {"devices": 8, "link_bandwidth": LINK, "constants": LIBRARY}
    size = 8 * 2.0**30
    by_switch = collective_kernel_time("all_reduce", size, **about, in_network_reduction=True)
    by_ring = collective_kernel_time("all_reduce", size, **about)
    assert 1.75 * size / by_switch == pytest.approx(470e9, rel=0.12)
    assert 1.75 * size / by_ring < LINK


def test_switch_helps_full_nodes_alone():
    about = {"link_bandwidth": LINK, "constants": LIBRARY}
    for devices, helps in ((2, False), (4, False), (8, True)):
        plain = collective_kernel_time("all_reduce", 1e9, devices=devices, **about)
        reduced = collective_kernel_time("all_reduce", 1e9, devices=devices, in_network_reduction=True, **about)
        assert (reduced < plain) == helps


def test_what_a_rank_sends_is_that_of_the_network_formulas():
    # Bandwidth alone: latencies of none, so the time of a ring is V / B.
    network = dimension("switch", 8, latency=0.0)
    for kind in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_receive"):
        algorithm = {"all_to_all": "direct", "send_receive": "point_to_point"}.get(kind, "ring")
        expected = collective_time(kind, 1e6, span=span([network], 8), algorithm=algorithm)
        assert share_of_rank(kind, 1e6, 8).sent / network.bandwidth == pytest.approx(expected)


def test_unknown_collective():
    with pytest.raises(UnknownNameError, match="all_reduce"):
        collective_kernel_time("all_reduces", 1.0, devices=2, link_bandwidth=LINK, constants=LIBRARY)


def test_direct_one_shot_reads_everything_of_everyone():
    # 64 KiB among 8: 7 x 64 KiB at 0.6 of the link, one-shot; two-shot's second synchronisation costs more than it saves.
    constants = dataclasses.replace(DIRECT, crowding=1e-3)
    time = direct_all_reduce_time(2.0**16, devices=8, link_bandwidth=LINK, constants=constants)
    assert time == pytest.approx(4e-6 + 7e-7 + 7 * 2**16 / (0.6 * LINK * 0.25**1e-3), rel=1e-3)


def test_direct_is_the_librarys_far_above_its_limit():
    about = {"devices": 4, "link_bandwidth": LINK}
    size = 1e9
    expected = 4e-6 + 3e-7 + 3e-5 + (6 + 0.7) / 4 * size / (0.85 * LINK * 0.5**0.01)
    assert direct_all_reduce_time(size, constants=DIRECT, **about) == pytest.approx(expected, rel=1e-6)


@given(size=sizes, constants=some_constants(), host=st.floats(1e-6, 5e-4))
def test_host_hides_what_is_shorter(size, constants, host):
    constants = dataclasses.replace(constants, host=host)
    about = {"devices": 4, "link_bandwidth": LINK, "constants": constants}
    for kernel in (lambda **k: collective_kernel_time("all_reduce", size, **k), lambda **k: direct_all_reduce_time(size, **k)):
        device, eager = kernel(**about), kernel(**about, captured=False)
        assert max(device, host) <= eager * (1 + 1e-12)
        assert eager <= max(device, host) * 2 ** (1 / 6) * (1 + 1e-12)


@given(times=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=4))
def test_smooth_minimum_is_near_the_least(times):
    least = min(times)
    assert least * len(times) ** (-1 / 6) * (1 - 1e-9) <= smooth_minimum(*times) <= least * (1 + 1e-9)
    assert smooth_maximum(times[0], times[-1]) >= max(times[0], times[-1]) * (1 - 1e-12)


def test_group_on_one_switch_is_the_kernel():
    group = span([dimension("switch", 8)], 4)
    expected = collective_kernel_time("all_gather", 1e7, devices=4, link_bandwidth=LINK, constants=LIBRARY)
    assert calibrated_collective("all_gather", 1e7, group, library=LIBRARY) == expected
    assert calibrated_collective("all_gather", 1e7, (), library=LIBRARY) == 0


def test_direct_kernel_up_to_its_limit_and_the_library_above():
    group = span([dimension("switch", 8)], 4)
    small, large = 2.0**18, 2.0**28
    about = {"devices": 4, "link_bandwidth": LINK}
    sizes_ = np.array([small, large])
    times = calibrated_collective("all_reduce", sizes_, group, library=LIBRARY, direct=DIRECT)
    assert times[0] == pytest.approx(direct_all_reduce_time(small, constants=DIRECT, **about))
    assert times[1] == pytest.approx(collective_kernel_time("all_reduce", large, constants=LIBRARY, **about))


@pytest.mark.parametrize("kind", KERNEL_OF)
def test_several_dimensions_cost_more_than_the_roofline(kind):
    network = [dimension("switch", 8), dimension("switch", 16, bandwidth=5e10, latency=5e-6)]
    group = span(network, 32)
    messages = np.geomspace(1, 1e9, 40)
    times = calibrated_collective(kind, messages, group, library=LIBRARY)
    assert np.all(times >= collective_time(kind, messages, span=group) * (1 - 1e-9))
    assert np.all(np.diff(times) >= 0)


@pytest.mark.parametrize("topology", ["ring", "torus"])
def test_rings_of_links_fall_back_to_alpha_beta(topology):
    given_ = {"shape": (2, 4)} if topology == "torus" else {}
    group = span([dimension(topology, 8, **given_)], 8)
    expected = LIBRARY.launch + collective_time("all_reduce", 1e8, span=group, efficiency=LIBRARY.bulk_share)
    assert calibrated_collective("all_reduce", 1e8, group, library=LIBRARY) == pytest.approx(expected)


@given(size=sizes)
def test_bus_of_two_halves_nothing_that_crowding_does_not(size):
    crowded = dataclasses.replace(LIBRARY, crowding=1.0)
    group = span([dimension("bus", 8)], 4)
    expected = collective_kernel_time("all_to_all", size, devices=4, link_bandwidth=LINK, constants=crowded)
    assert calibrated_collective("all_to_all", size, group, library=crowded) == pytest.approx(expected)
