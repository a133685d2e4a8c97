"""Axes: what may vary, under which names, and which values are refused."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genz
from genz.explore.axes import ALIASES, ARGUMENTS, Kind, axis, target_of
from genz.explore.figures import declared, disagreements, expand, replaced, value_at
from genz.explore.values import MAX_VALUES
from genz.specs import catalog
from genz.specs.hardware import Platform


def values(name: str, written: Any, **given: Any) -> tuple[Any, ...]:
    return axis(name, written, **given).values


# Names.


def test_every_argument_of_predict_that_is_settled_can_vary() -> None:
    import inspect

    told = set(inspect.signature(genz.predict).parameters)
    assert told == set(ARGUMENTS) - {"chip", "devices"}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("tensor_parallel_size", "tp"),
        ("--tensor-parallel-size", "tp"),
        ("parallelism.tensor", "tp"),
        ("isl", "input"),
        ("workload.input_tokens", "input"),
        ("workload.batch", "batch"),
        ("quantization", "precision"),
        ("max-num-batched-tokens", "engine.memory.max_num_batched_tokens"),
        ("engine.memory.utilization", "gpu_memory_utilization"),
        ("chip.power.tdp", "platform.chip.power.tdp"),
        ("platform.chip.power.tdp", "platform.chip.power.tdp"),
        ("network.0.bandwidth", "platform.network.0.bandwidth"),
        ("model.num_hidden_layers", "model.num_hidden_layers"),
        ("precision.weights.bits", "precision.weights.bits"),
    ],
)
def test_one_thing_has_many_names(name: str, target: str) -> None:
    assert target_of(name) == target


def test_every_alias_leads_somewhere() -> None:
    assert all(target_of(alias) in ARGUMENTS or "." in target_of(alias) for alias in ALIASES)


@pytest.mark.parametrize(
    ("name", "nearest"), [("bach", "'batch'"), ("tensor_paralel_size", "'tensor_parallel_size'"), ("chipp.power", "'chip'")]
)
def test_an_unknown_axis_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(genz.UnknownNameError, match=f"unknown axis '{name}'") as caught:
        target_of(name)
    assert nearest in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "chip", "chip.", "engine", 5, None, "..", "a b", "\0"])
def test_what_is_no_axis(name: Any) -> None:
    with pytest.raises(genz.GenZError):
        axis(name, [1])


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("chip.pover.tdp", "'power'"),
        ("chip.main_memory.bandwith", "'bandwidth'"),
        ("engine.overheads.host_pr_step", "'host_per_step'"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest(path: str, nearest: str) -> None:
    with pytest.raises(genz.InvalidValueError, match="there is no field") as caught:
        axis(path, [1.0])
    assert nearest in str(caught.value)


def test_the_links_of_a_chip_do_not_change_a_network_that_is_made() -> None:
    with pytest.raises(genz.InvalidValueError, match="made already") as caught:
        axis("chip.links.scale_up.bandwidth", {"times": [2]})
    assert "network.0.bandwidth" in str(caught.value)
    assert axis("chip.links.host.bandwidth", {"times": [2]}).relative


# Kinds.


@pytest.mark.parametrize(
    ("name", "written", "kind"),
    [
        ("tp", [1, 2], Kind.STRUCTURE),
        ("batch", [1, 2], Kind.REQUEST),
        ("gpu_memory_utilization", [0.8, 0.9], Kind.REQUEST),
        ("price", [1, 2], Kind.PRICE),
        ("chip.power.tdp", [500.0], Kind.FIGURE),
        ("engine.overheads.host_per_step", [1e-3], Kind.FIGURE),
        ("chip.cores.count", [64], Kind.STRUCTURE),
        ("network.0.topology", ["ring"], Kind.STRUCTURE),
        ("precision.weights.bits", [4.0], Kind.STRUCTURE),
        ("model.num_hidden_layers", [32], Kind.STRUCTURE),
        ("offload_weights", [0.0, 0.5], Kind.STRUCTURE),
    ],
)
def test_figures_are_arrays_and_everything_else_is_structure(name: str, written: Any, kind: Kind) -> None:
    assert axis(name, written).kind is kind


# Values.


def test_lists_of_every_type() -> None:
    for written in ([1, 2, 4], (1, 2, 4), np.array([1, 2, 4]), iter([1, 2, 4]), [1.0, 2, np.int64(4)]):
        assert values("batch", written) == (1, 2, 4)
    assert values("batch", range(1, 4)) == (1, 2, 3)
    assert values("batch", 7) == (7,)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"from": 1, "to": 9, "step": 4}, (1, 5, 9)),
        ({"from": 1, "to": 10, "step": 4}, (1, 5, 9)),
        ({"from": 1, "to": 9, "count": 3}, (1, 5, 9)),
        ({"from": 1, "to": 256, "count": 9, "scale": "log"}, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        # Whole numbers between the ends are the nearest, each once.
        ({"from": 1, "to": 4, "count": 7, "scale": "log"}, (1, 2, 3, 4)),
        ({"from": 5, "to": 5, "count": 1}, (5,)),
    ],
)
def test_ranges_of_whole_numbers(written: Any, expected: tuple[int, ...]) -> None:
    assert values("batch", written) == expected


@given(st.floats(1e9, 1e12), st.floats(1.1, 100), st.integers(2, 50))
def test_log_ranges_have_equal_ratios_and_keep_their_ends(first: float, ratio: float, count: int) -> None:
    found = values("chip.main_memory.bandwidth", {"from": first, "to": first * ratio, "count": count, "scale": "log"})
    assert (found[0], found[-1], len(found)) == (first, first * ratio, count)
    for one, other in itertools.pairwise(found):
        assert other / one == pytest.approx(ratio ** (1 / (count - 1)))


@given(st.floats(0.01, 10), st.integers(0, 1000), st.floats(0, 100))
def test_steps_end_where_they_land(step: float, count: int, first: float) -> None:
    found = values("chip.main_memory.bandwidth", {"times": {"from": first + 1, "to": first + 1 + count * step, "step": step}})
    assert len(found) == count + 1


def test_quantities_have_units_and_columns_are_si() -> None:
    found = axis("chip.main_memory.bandwidth", ["1 TB/s", "3.35 TB/s"])
    assert (found.values, found.unit) == ((1e12, 3.35e12), "B/s")
    assert values("chip.main_memory.bandwidth", {"from": "1 TB/s", "to": "2 TB/s", "step": "500 GB/s"}) == (1e12, 1.5e12, 2e12)
    assert values("network.0.latency", ["2 us"]) == (2e-6,)
    assert values("chip.memory.hbm.capacity", ["80 GiB"]) == (80 * 2**30,)
    assert values("energy_price", ["0.36 USD/kWh", 0.72]) == (pytest.approx(1e-7), pytest.approx(2e-7))
    assert values("price", ["3.6 USD/h"]) == (pytest.approx(1e-3),)


def test_plain_numbers_are_si_in_python_and_refused_in_files() -> None:
    assert values("chip.power.tdp", [500]) == (500.0,)
    with pytest.raises(genz.UnitError, match="has no unit"):
        values("chip.power.tdp", [500], needs_unit=True)
    # What has no unit never needs one.
    assert values("engine.efficiency.compute", [0.5, 1], needs_unit=True) == (0.5, 1.0)


@pytest.mark.parametrize("value", ["3 TFLOP/s", "3,35 TB/s", "fast", "", True, None, [1], 1j, "-1 TB/s", "0 TB/s", math.nan])
def test_a_wrong_quantity_is_refused(value: Any) -> None:
    with pytest.raises(genz.InvalidValueError) as caught:
        axis("chip.main_memory.bandwidth", [value])
    assert str(caught.value).startswith("chip.main_memory.bandwidth: ")


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, math.inf, True, "16", None, [1, 2], 10**13])
@pytest.mark.parametrize("name", ["batch", "tp", "input", "max_num_seqs"])
def test_a_wrong_count_is_refused(name: str, value: Any) -> None:
    with pytest.raises(genz.InvalidValueError, match=name):
        axis(name, [value])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gpu_memory_utilization", 1.5),
        ("offload_weights", 2),
        ("sequence_parallel", 1),
        ("model", 5),
        ("fidelity", "roofine"),
        ("routing", "evn"),
        ("kv_cache_dtype", "fp88"),
        ("context_exchange", "rings"),
        ("price", -1),
        ("price", "5 kg"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_priced(name: str, value: Any) -> None:
    with pytest.raises(genz.GenZError):
        axis(name, [value])


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ([], "is empty"),
        (range(0), "is empty"),
        ([1, 2, 1], "is given twice"),
        ({}, "has no 'from'"),
        ({"from": 1}, "has no 'to'"),
        ({"from": 1, "to": 5}, "needs a step or a count"),
        ({"from": 1, "to": 5, "step": 1, "count": 5}, "needs a step or a count"),
        ({"from": 5, "to": 1, "step": 1}, "ends before it begins"),
        ({"from": 1, "to": 5, "step": 0}, "not allowed"),
        ({"from": 1, "to": 5, "count": 0}, "is no count"),
        ({"from": 1, "to": 5, "count": 1}, "is no count"),
        ({"from": 1, "to": 5, "count": 2.5}, "is no count"),
        ({"from": 1, "to": 5, "count": 3, "scale": "lag"}, "is no scale"),
        ({"from": 1, "to": 5, "step": 1, "scale": "log"}, "on a log scale"),
        ({"form": 1, "to": 5, "count": 3}, "is no part of a range"),
        ({"times": [1, 2]}, "make no sense"),
        ({"from": 1, "to": 10**12, "step": 1}, "too many for one axis"),
        (range(10**15), "too many for one axis"),
        ({"from": 1, "to": 5, "count": 10**12}, "too many for one axis"),
        (itertools.count(1), "too many for one axis"),
    ],
)
def test_what_is_no_list_of_values(written: Any, problem: str) -> None:
    with pytest.raises(genz.InvalidValueError, match=problem):
        axis("batch", written)


def test_the_longest_axis() -> None:
    assert len(axis("batch", range(1, MAX_VALUES + 1))) == MAX_VALUES


@pytest.mark.parametrize("written", [[0], [-1], ["2"], [True], [math.inf], {"times": [1], "from": 2}])
def test_what_is_no_multiple(written: Any) -> None:
    with pytest.raises(genz.InvalidValueError):
        axis("chip.power.tdp", written if isinstance(written, dict) else {"times": written})


def test_only_figures_have_multiples_and_patterns_have_nothing_else() -> None:
    with pytest.raises(genz.InvalidValueError, match="only figures"):
        axis("chip.cores.count", {"times": [2]})
    with pytest.raises(genz.InvalidValueError, match="change together"):
        axis("chip.matrix_flops.*", ["1 PFLOP/s"])
    assert axis("chip.matrix_flops.*", {"times": [0.5, 2]}).unit == "x"


# Fields of specifications.


def test_patterns_name_what_a_specification_has() -> None:
    platform = catalog.platform("8x h100-sxm")
    assert expand(platform, "chip.main_memory.bandwidth", name="x") == ["chip.memory.hbm.bandwidth"]
    assert expand(platform, "chip.matrix_flops.*", name="x") == [f"chip.matrix_flops.{t}" for t in platform.chip.matrix_flops]
    assert expand(platform, "network.*.bandwidth", name="x") == ["network.0.bandwidth"]
    with pytest.raises(genz.InvalidValueError, match="'1' is not found"):
        expand(platform, "network.1.bandwidth", name="network.1.bandwidth")
    assert value_at(platform, "chip.memory.hbm.bandwidth") == platform.chip.main_memory.bandwidth


def test_a_field_is_replaced_and_the_rest_agrees() -> None:
    platform = catalog.platform("8x h100-sxm")
    assert replaced(platform, "chip.cores.count", 64, name="x").chip.cores.count == 64
    assert replaced(platform, "network.0.topology", "ring", name="x").network[0].topology == "ring"
    assert platform.chip.cores.count != 64
    with pytest.raises(genz.SpecError, match="must be below tdp"):
        replaced(platform, "chip.power.tdp", 50.0, name="chip.power.tdp")
    assert "must be below tdp" in str(disagreements(platform, "chip.power", {"tdp": 50.0}))
    assert disagreements(platform, "chip.power", {"tdp": 500.0}) is None


def test_declared_types_need_no_specification() -> None:
    assert declared(Platform, "storage.cxl.bandwidth", name="x").is_number
    assert not declared(Platform, "network.0.topology", name="x").is_number
