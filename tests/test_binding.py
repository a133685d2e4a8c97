"""Arrays and symbols in the place of a spec's figures: what is replaced, what is refused, what stays."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from genz.errors import GenZError, InvalidValueError
from genz.specs import catalog
from genz.specs.binding import bind
from genz.specs.engine import Engine
from genz.specs.hardware import Chip, Platform

PLATFORM = catalog.platform("8x h100-sxm")
CHIP = catalog.chip("h100-sxm")
ENGINE = catalog.engine("vllm")
BANDWIDTH = "chip.memory.hbm.bandwidth"


def look_up(spec: Any, path: str) -> Any:
    for part in path.split("."):
        spec = spec[int(part)] if isinstance(spec, tuple) else spec[part] if isinstance(spec, dict) else getattr(spec, part)
    return spec


def figures(spec: Any, prefix: str = "") -> list[str]:
    """Paths of all numbers of a spec."""
    if isinstance(spec, BaseModel):
        inner = {name: getattr(spec, name) for name in type(spec).model_fields if name not in ("provenance", "sources")}
    elif isinstance(spec, dict):
        inner = spec
    elif isinstance(spec, tuple):
        inner = {str(i): entry for i, entry in enumerate(spec)}
    else:
        return [prefix] if isinstance(spec, (int, float)) and not isinstance(spec, bool) else []
    return [path for name, value in inner.items() for path in figures(value, f"{prefix}.{name}".lstrip("."))]


SPECS = {"platform": PLATFORM, "chip": CHIP, "engine": ENGINE}
EVERY = [(kind, path) for kind, spec in SPECS.items() for path in figures(spec)]


def test_there_are_many_figures() -> None:
    assert len(EVERY) > 80
    assert ("platform", BANDWIDTH) in EVERY and ("engine", "overheads.kernel_gap") in EVERY


@pytest.mark.parametrize(("kind", "path"), EVERY, ids=[f"{kind}:{path}" for kind, path in EVERY])
def test_every_figure_takes_a_number_an_array_and_a_symbol(kind: str, path: str) -> None:
    spec = SPECS[kind]
    before = copy.deepcopy(spec)
    old = look_up(spec, path)
    symbol = sympy.Symbol("x")
    same = look_up(bind(spec, {path: old}), path)
    assert same == old and type(same) is type(old)
    array = look_up(bind(spec, {path: np.array([old, old])}), path)
    assert array.shape == (2,) and np.all(array == old)
    assert look_up(bind(spec, {path: symbol}), path) is symbol
    assert spec == before


@pytest.mark.parametrize(("kind", "path"), EVERY, ids=[f"{kind}:{path}" for kind, path in EVERY])
@pytest.mark.parametrize(
    "wrong", [math.nan, math.inf, -1.0, np.array([1.0, math.nan])], ids=["nan", "inf", "negative", "nan in array"]
)
def test_no_figure_takes_what_cannot_be(kind: str, path: str, wrong: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        bind(SPECS[kind], {path: wrong})
    assert caught.value.field == path and path in str(caught.value) and caught.value.allowed


def test_all_else_is_shared_and_of_the_same_kind() -> None:
    bound = bind(PLATFORM, {BANDWIDTH: np.array([1e12, 2e12])})
    assert isinstance(bound, Platform) and bound is not PLATFORM
    assert bound.network is PLATFORM.network and bound.technologies is PLATFORM.technologies
    assert bound.chip.memory["l2"] is PLATFORM.chip.memory["l2"] and bound.chip.power is PLATFORM.chip.power
    assert bound.chip.memory["hbm"].capacity == PLATFORM.chip.memory["hbm"].capacity
    assert list(bound.chip.memory) == list(PLATFORM.chip.memory)
    assert isinstance(bind(CHIP, {"power.tdp": 500}), Chip) and isinstance(bind(ENGINE, {"memory.utilization": 1}), Engine)


def test_several_figures_at_once_and_one_after_the_other() -> None:
    both = bind(PLATFORM, {BANDWIDTH: 1e12, "chip.memory.hbm.capacity": 2e10, "network.0.latency": 1e-6})
    memory = both.chip.memory["hbm"]
    assert (memory.bandwidth, memory.capacity, both.network[0].latency) == (1e12, 2e10, 1e-6)
    again = bind(bind(bind(PLATFORM, {BANDWIDTH: np.ones(3)}), {BANDWIDTH: sympy.Symbol("B")}), {BANDWIDTH: 5e11})
    assert again.chip.memory["hbm"].bandwidth == 5e11
    assert bind(PLATFORM, {}) is PLATFORM


def test_lists_become_arrays_and_are_copied() -> None:
    values = np.array([1e12, 2e12])
    bound = bind(PLATFORM, {BANDWIDTH: values})
    values[0] = -1.0
    assert bound.chip.memory["hbm"].bandwidth.tolist() == [1e12, 2e12]  # type: ignore[attr-defined]
    assert isinstance(bind(PLATFORM, {BANDWIDTH: [1, 2]}).chip.memory["hbm"].bandwidth, np.ndarray)
    assert isinstance(bind(PLATFORM, {BANDWIDTH: np.float32(3.0)}).chip.memory["hbm"].bandwidth, float)


def test_counts_stay_whole_numbers() -> None:
    assert type(bind(PLATFORM, {"devices": 4.0}).devices) is int
    assert bind(PLATFORM, {"chip.cores.count": np.array([1, 132])}).chip.cores.count.tolist() == [1, 132]  # type: ignore[attr-defined]


@given(st.lists(st.floats(1.0, 1e15), min_size=1, max_size=5), st.integers(0, 4), st.floats(max_value=0.0))
def test_one_bad_element_is_enough(good: list[float], place: int, bad: float) -> None:
    values = np.array(good)
    assert np.all(bind(PLATFORM, {BANDWIDTH: values}).chip.memory["hbm"].bandwidth == values)
    values[place % len(good)] = bad
    with pytest.raises(InvalidValueError, match="every value must be"):
        bind(PLATFORM, {BANDWIDTH: values})


LIMITS: list[tuple[str, str, Any, str]] = [
    ("platform", BANDWIDTH, 0, "> 0"),
    ("platform", BANDWIDTH, np.array([1e12, -1e12]), "> 0"),
    ("platform", "chip.matrix_flops.bf16", 0.0, "> 0"),
    ("platform", "chip.links.scale_up.latency", -1e-9, ">= 0"),
    ("platform", "chip.links.scale_up.domain", 0, ">= 1"),
    ("platform", "chip.price.hourly", -1.0, ">= 0"),
    ("platform", "chip.price.purchase", -1.0, ">= 0"),
    ("platform", "technologies.hbm3.energy_per_byte", -1e-12, ">= 0"),
    ("platform", "technologies.n4.energy_per_flop.fp8", np.array([-1e-12]), ">= 0"),
    ("platform", "devices", 0, ">= 1"),
    ("platform", "devices", 2.5, "a whole number"),
    ("platform", "network.0.size", np.array([8, 8.5]), "a whole number"),
    ("engine", "efficiency.compute", 1.01, "<= 1"),
    ("engine", "efficiency.memory", np.array([0.5, 0.0]), "> 0"),
    ("engine", "memory.utilization", 90, "<= 1"),
    ("engine", "memory.block_size", 0, ">= 1"),
    ("engine", "overheads.host_per_step", np.array([0.0, -1e-3]), ">= 0"),
    ("chip", "cores.clock", 0, "> 0"),
    ("chip", "year", 1066, ">= 1970"),
]


@pytest.mark.parametrize(("kind", "path", "value", "allowed"), LIMITS, ids=[f"{row[1]}={row[2]}" for row in LIMITS])
def test_limits_of_the_field_hold_for_each_element(kind: str, path: str, value: Any, allowed: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        bind(SPECS[kind], {path: value})
    assert caught.value.allowed == allowed and path in str(caught.value)


UNKNOWN = [
    ("chip.memory.hbm.bandwdth", "bandwidth"),
    ("chip.memory.hbn.bandwidth", "hbm"),
    ("chp.memory.hbm.bandwidth", "chip"),
    ("chip.matrix_flops.bf61", "bf16"),
    ("network.1.bandwidth", None),
    ("network.-1.bandwidth", None),
    ("network.first.bandwidth", None),
    (f"{BANDWIDTH}.value", None),
    ("chip.", None),
    ("", None),
    (".", None),
]


@pytest.mark.parametrize(("path", "near"), UNKNOWN, ids=[repr(path) for path, _ in UNKNOWN])
def test_unknown_paths_name_the_nearest(path: str, near: str | None) -> None:
    with pytest.raises(InvalidValueError, match="there is no figure") as caught:
        bind(PLATFORM, {path: 1.0})
    assert caught.value.field == path
    if near:
        assert caught.value.hint == f"did you mean {near!r}?" and near in str(caught.value.allowed)


@pytest.mark.parametrize(
    "path",
    [
        "chip",
        "chip.name",
        "chip.memory",
        "chip.memory.hbm",
        "chip.memory.hbm.technology",
        "chip.aliases.0",
        "network",
        "network.0",
        "network.0.topology",
        "network.0.in_network_reduction",
        "host",
        "sources",
        "provenance",
        "technologies",
    ],
)
def test_what_is_no_figure_is_not_replaced(path: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a figure") as caught:
        bind(PLATFORM, {path: 1.0})
    assert caught.value.field == path and caught.value.allowed


def test_citations_are_no_figures() -> None:
    with pytest.raises(InvalidValueError, match="is not a figure"):
        bind(CHIP, {"sources.datasheet": 1.0})
    chat = catalog.use_case("chat")
    assert "beams" in chat.provenance
    with pytest.raises(InvalidValueError, match="is not a figure"):
        bind(chat, {"provenance.beams": 1.0})


NO_NUMBERS: list[Any] = [
    None,
    "3.35 TB/s",
    "1e12",
    "",
    True,
    np.array([True]),
    [True],
    {"a": 1},
    {1.0},
    1j,
    np.array([1 + 1j]),
    [[1], [1, 2]],
    np.datetime64("2024-01-01"),
    object(),
    np.array([sympy.Symbol("x")]),
    b"1",
    10**400,
    lambda: 1.0,
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=[str(i) + type(v).__name__ for i, v in enumerate(NO_NUMBERS)])
def test_values_that_are_no_numbers(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="is not a number") as caught:
        bind(PLATFORM, {BANDWIDTH: value})
    assert caught.value.field == BANDWIDTH and "SI" in str(caught.value.allowed)


@given(st.text(max_size=30), st.floats(allow_nan=True) | st.text(max_size=5) | st.none())
def test_any_path_and_value_gives_a_typed_error(path: str, value: Any) -> None:
    with pytest.raises(GenZError):
        bind(PLATFORM, {path: value})


def test_a_failed_binding_leaves_the_original_as_it_was() -> None:
    before = copy.deepcopy(PLATFORM)
    with pytest.raises(InvalidValueError):
        bind(PLATFORM, {BANDWIDTH: 1e12, "chip.power.tdp": -1})
    assert before == PLATFORM


def test_a_missing_price_can_be_filled_in() -> None:
    assert CHIP.price.purchase is None
    assert bind(CHIP, {"price.purchase": 25_000}).price.purchase == 25_000.0
