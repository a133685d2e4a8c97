"""What a plan searches, what binds it, what would relax it, and wrong questions."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genz
from genz.explore.planning import NoPlanError
from genz.explore.planning.machines import settle_candidates
from genz.specs import catalog
from genz.specs.parallelism import Parallelism

SMALL: dict[str, Any] = {
    "input": 500,
    "output": 51,
    "platforms": "h100-sxm",
    "max_devices_per_replica": 2,
    "max_num_seqs": 16,
    "fidelity": "roofline",
}
MODEL = "llama-3.2-1b"


def plan(**asked: Any) -> Any:
    return genz.plan(MODEL, **{**SMALL, **asked})


# Machines.


def test_sizes_of_a_chip_are_any_within_a_node_and_whole_nodes_beyond() -> None:
    (candidate,) = settle_candidates("h100-sxm")
    assert candidate.sizes(30) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 24]
    part = candidate.part(24)
    assert [dimension.size for dimension in part.network] == [8, 3]
    assert [dimension.link for dimension in part.network] == ["scale_up", "scale_out"]


def test_sizes_of_a_machine_are_parts_of_it() -> None:
    (candidate,) = settle_candidates("dgx-h100-x4")
    assert candidate.sizes(100) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 24, 32]
    assert candidate.part(32) == catalog.platform("dgx-h100-x4")
    assert settle_candidates("8x h100-sxm")[0].sizes(100) == list(range(1, 9))
    assert settle_candidates("1x h100-sxm")[0].sizes(100) == [1]


@pytest.mark.parametrize(("machine", "devices"), [("8x mi300x", 4), ("8x mi300x", 2), ("dgx-h100-x4", 16)])
def test_a_part_of_a_machine_costs_what_a_copy_on_the_whole_does(machine: str, devices: int) -> None:
    """A replica on a part of the machine against replicas that fill it: same times, and its share of the energy."""
    (candidate,) = settle_candidates(machine)
    whole = catalog.platform(machine)
    copies = whole.devices // devices
    asked: dict[str, Any] = {"input": 512, "output": 64, "tp": devices if devices <= 8 else 8, "pp": max(1, devices // 8)}
    part = genz.evaluate(genz.settle_question("llama-3.1-8b", candidate.part(devices), batch=6, **asked))
    full = genz.evaluate(genz.settle_question("llama-3.1-8b", whole, batch=6 * copies, **asked))
    assert part.tpot == pytest.approx(full.tpot, rel=1e-12)
    assert part.ttft == pytest.approx(full.ttft, rel=1e-12)
    assert part.energy * copies == pytest.approx(full.energy, rel=1e-12)


def test_usual_candidates_have_a_price_and_a_way_out() -> None:
    found = settle_candidates(None)
    assert len(found) > 5
    assert all(c.chip.price.hourly is not None and "scale_out" in c.chip.links for c in found)


def test_every_layout_is_searched_and_every_batch() -> None:
    """The space is that of `genz.layouts` without copies, each at all batches that fit or are allowed."""
    found = plan(requests_per_second=10, max_devices_per_replica=4, disaggregated=False)
    (family,) = found.space.families
    expected = {laid for devices in range(1, 5) for laid in genz.layouts(catalog.model(MODEL), devices) if laid.replicas == 1}
    assert {replica.question.parallelism for replica in family.replicas} == expected
    assert {replica.largest_batch for replica in family.replicas} == {16}
    assert Parallelism(data=2) not in expected


def test_the_search_goes_on_to_more_devices_where_the_model_needs_them() -> None:
    """405 B parameters in 16 bits take 811 GB: on two nodes of 80 GB devices, but not on one."""
    found = genz.plan(
        "llama-3.1-405b", input=100, output=20, requests_per_second=0.1, platforms="a100-sxm-40gb", fidelity="roofline"
    )
    (family,) = found.space.families
    assert family.bound == 32
    assert found.best.parts[0].replica.devices == 24


def test_what_a_chip_cannot_compute_is_passed_over_with_a_note() -> None:
    found = plan(requests_per_second=10, platforms=["a100-sxm-80gb", "h100-sxm"], precisions=["bf16", "fp8"])
    assert {(option.platform, option.precision) for option in found.options} == {
        ("a100-sxm-80gb", "bf16"),
        ("h100-sxm", "bf16"),
        ("h100-sxm", "fp8"),
    }
    assert any("a100-sxm-80gb" in note and "fp8" in note for note in found.notes)
    with pytest.raises(genz.UnsupportedError, match="fp8"):
        plan(requests_per_second=10, platforms="a100-sxm-80gb", precisions="fp8")


def test_several_engines() -> None:
    found = plan(requests_per_second=10, engines=["vllm", "sglang", "accelerate"])
    assert {option.engine for option in found.options} == {"vllm", "sglang", "accelerate"}
    by_engine = {option.engine: option for option in found.options}
    assert by_engine["sglang"].launches()[0].command[0] in ("python", "python3")
    assert "no commands for accelerate" in by_engine["accelerate"].launches()[0]


# Loads.


@settings(max_examples=12, deadline=None)
@given(st.floats(0.1, 3000), st.floats(1, 5))
def test_more_load_never_takes_fewer_chips(rate: float, factor: float) -> None:
    slo = {"ttft": "20 ms", "tpot": "1 ms"}
    devices = [plan(requests_per_second=r, slo=slo, objective="devices").best.devices for r in (rate, rate * factor)]
    assert devices[0] <= devices[1]


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5))
def test_more_users_never_take_fewer_chips(users: int, factor: int) -> None:
    devices = [
        plan(concurrent_users=u, slo={"tpot": "1 ms"}, objective="devices").best.devices for u in (users, users * factor)
    ]
    assert devices[0] <= devices[1]


def test_users_are_spread_over_replicas() -> None:
    """100 users over places for 16 a rank are 7 replicas with 15 a rank; the rate is by Little's law."""
    found = plan(concurrent_users=100, platforms="1x h100-sxm", disaggregated=False)
    (option,) = found.options
    part = option.parts[0]
    assert (part.copies, part.batch) == (7, 15)
    outcome = genz.predict(MODEL, "h100-sxm", input=500, output=51, batch=15, fidelity="roofline")
    first = genz.predict(MODEL, "h100-sxm", input=500, output=51, fidelity="roofline").ttft
    assert option.figures["requests_per_s"] == pytest.approx(100 / (15 * first + 50 * outcome.tpot))


def test_a_request_without_decode_is_a_queue() -> None:
    """An H100 alone: TTFT = t + x t^2 / (2 (1 - x t)), with so many copies that it stays within the objective."""
    time = genz.predict(MODEL, "h100-sxm", input=500, output=1, fidelity="roofline").ttft
    found = plan(output=1, requests_per_second=1000, slo={"ttft": 1.5 * time, "tpot": None}, platforms="1x h100-sxm")
    (option,) = found.options
    # Half a service of wait is a load of one half.
    assert option.devices == math.ceil(1000 * time / 0.5)
    share = 1000 / option.devices
    assert option.figures["ttft_s"] == pytest.approx(time + share * time**2 / (2 * (1 - share * time)))
    assert math.isnan(option.figures["tpot_s"])
    assert json.loads(found.to_json(), parse_constant=pytest.fail)["options"][0]["tpot_s"] is None
    assert "None" not in str(found)
    assert "nan" not in str(found)
    closed = plan(output=1, concurrent_users=30, slo={"ttft": 3.5 * time}, platforms="1x h100-sxm")
    assert (closed.best.parts[0].copies, closed.best.parts[0].batch) == (10, 3)
    assert closed.best.figures["ttft_s"] == pytest.approx(3 * time)


def test_beams_take_places_of_sequences() -> None:
    found = plan(requests_per_second=10, beams=4, disaggregated=False)
    assert {replica.largest_batch for replica in found.space.families[0].replicas} == {4}
    assert all(part.max_num_seqs <= 16 for option in found.options for part in option.parts)
    with pytest.raises(genz.InvalidValueError, match="max_num_seqs"):
        plan(requests_per_second=10, beams=4, max_num_seqs=3)


# Limits and relaxations.

REFUSED: list[dict[str, Any]] = [
    {"slo": {"ttft": "8 ms", "tpot": "0.3 ms"}},
    {"slo": {"ttft": "0.8 ms", "tpot": "5 ms"}},
    {"slo": {"ttft": "0.8 ms", "tpot": "0.3 ms"}},
    {"slo": {"ttft": "10 ms", "tpot": "2 ms"}, "max_devices": 12},
    {"slo": {"e2e": "26 ms"}, "max_usd_per_hour": "40 USD/h"},
    {"slo": {"e2e": "20 ms"}},
    {"slo": {"tpot": "2 ms"}, "max_watts": "1 kW"},
    {"slo": {"ttft": "1 ms"}, "max_devices": 40, "max_watts": "9 kW", "energy_price": 0.1, "max_usd_per_hour": 30},
    {"slo": {"ttft": "1 ms"}, "max_devices": 8, "output": 1},
    {"slo": {"ttft": "0.8 ms"}, "output": 1},
]
ARGUMENTS = {"devices": "max_devices", "usd_per_hour": "max_usd_per_hour", "power_w": "max_watts"}


def relaxed(asked: dict[str, Any], constraint: str, value: float) -> dict[str, Any]:
    if constraint in ARGUMENTS:
        return {**asked, ARGUMENTS[constraint]: value}
    return {**asked, "slo": {**asked["slo"], constraint.removesuffix("_s"): value}}


@pytest.mark.parametrize("asked", REFUSED)
def test_each_relaxation_is_the_smallest_that_works(asked: dict[str, Any]) -> None:
    asked = {"requests_per_second": 4000, **asked}
    with pytest.raises(NoPlanError) as caught:
        plan(**asked)
    error = caught.value
    assert error.exit_code == 3
    for change in error.relaxations:
        assert change.needed > change.limit
        enough = int(change.needed) if change.constraint == "devices" else change.needed * (1 + 1e-9)
        less = int(change.needed) - 1 if change.constraint == "devices" else change.needed * (1 - 1e-6)
        assert plan(**relaxed(asked, change.constraint, enough)).options
        with pytest.raises(NoPlanError):
            plan(**relaxed(asked, change.constraint, less))
    if error.relaxations:
        assert error.binding == min(error.relaxations, key=lambda change: change.needed / change.limit).constraint
        assert "each of these alone would do" in str(error)
    else:
        assert error.binding is None
        together = asked
        for change in error.together:
            together = relaxed(together, change.constraint, change.needed * (1 + 1e-9))
        assert plan(**together).options
    assert json.dumps(error.to_dict())


def test_some_of_these_have_relaxations_and_some_have_none() -> None:
    """So that the test before looks at both."""
    found = []
    for asked in REFUSED:
        with pytest.raises(NoPlanError) as caught:
            plan(**{"requests_per_second": 4000, **asked})
        found.append(len(caught.value.relaxations))
    assert 0 in found
    assert max(found) >= 2


def test_nothing_beyond_a_limit_is_an_option() -> None:
    free = plan(requests_per_second=400)
    limits = {"max_devices": 8, "max_usd_per_hour": 22.0, "max_watts": 3500}
    held = plan(requests_per_second=400, **limits)
    assert 0 < len(held.options) <= len(free.options)
    for option in held.options:
        assert option.devices <= 8
        assert option.figures["usd_per_hour"] <= 22
        assert option.figures["power_w"] <= 3500
    assert held.best.devices == free.best.devices


def test_what_fits_nowhere_says_so() -> None:
    with pytest.raises(NoPlanError, match="fits on no replica of up to 2 devices of l4"):
        genz.plan("llama-3.1-70b", input=10, output=10, requests_per_second=1, platforms="l4", max_devices_per_replica=2)
    with pytest.raises(NoPlanError) as caught:
        genz.plan("llama-3.1-70b", input=10, output=10, requests_per_second=1, platforms="h100-sxm", max_devices=1,
                  fidelity="roofline")  # fmt: skip
    assert caught.value.binding == "devices"
    assert caught.value.relaxations[0].needed == 2


# Results.


def test_the_frame_the_data_and_the_page_agree() -> None:
    found = plan(requests_per_second=40, slo={"ttft": "100 ms", "tpot": "2 ms"})
    frame, data, page = found.to_frame(), found.to_dict(), str(found)
    assert len(frame) == len(data["options"]) == len(found)
    for row, option in zip(frame.to_dict(orient="records"), data["options"], strict=True):
        assert row["devices"] == option["devices"] == sum(part["devices"] for part in option["parts"])
        assert row["usd_per_million_tokens"] == option["usd_per_million_tokens"]
        assert row["ttft_headroom"] == option["headroom"]["ttft"]
        assert row["replicas"] == option["parts"][-1]["replicas"]
    assert json.loads(found.to_json(), parse_constant=pytest.fail) == json.loads(json.dumps(data))
    assert data["options"][0]["parts"][0]["launch"]["command"][:2] == ["vllm", "serve"]
    assert "40 requests/s" in page
    assert "vllm serve" in page
    assert "headroom: TTFT" in page


def test_the_launch_command_allows_the_batch_at_capacity() -> None:
    option = plan(requests_per_second=40, disaggregated=False).best
    (launch,) = option.launches()
    assert launch.command[launch.command.index("--max-num-seqs") + 1] == str(option.parts[0].max_num_seqs)


def test_pools_have_a_command_each() -> None:
    found = plan(requests_per_second=40)
    option = next(option for option in found.options if option.is_disaggregated)
    assert [part.role for part in option.parts] == ["prefill", "decode"]
    assert len(option.launches()) == 2


@pytest.mark.parametrize(
    ("front", "columns"),
    [
        ("interactivity", ("output_tokens_per_s_per_user", "output_tokens_per_s_per_device")),
        ("cost", ("e2e_s", "usd_per_million_tokens")),
    ],
)
def test_no_option_beats_the_front(front: str, columns: tuple[str, str]) -> None:
    found = plan(requests_per_second=300, slo={"ttft": "20 ms", "tpot": "1 ms"})
    frame = found.pareto(front)
    sign = 1 if front == "interactivity" else -1
    first, second = (sign * frame[name].to_numpy() for name in columns)
    assert (np.diff(first) < 0).all()
    assert (np.diff(second) > 0).all()
    assert frame.meets_objectives.any()
    for option in found.options:
        x, y = (sign * option.figures[name] for name in columns)
        # Each option is on the front or below it.
        assert ((first >= x * (1 - sign * 1e-12)) & (second >= y * (1 - sign * 1e-12))).any()
    with pytest.raises(genz.UnknownNameError, match="did you mean 'cost'"):
        found.pareto("costs")


def test_points_of_the_front_are_within_the_budgets() -> None:
    found = plan(requests_per_second=4000, slo={"tpot": "1 ms"}, max_devices=60)
    frame = found.pareto()
    assert (frame.devices <= 60).all()
    assert not frame.meets_objectives.all()


# Wrong questions.

WRONG: list[tuple[dict[str, Any], type[genz.GenZError], str]] = [
    ({}, genz.InvalidValueError, "load: none is given"),
    ({"requests_per_second": 1, "concurrent_users": 1}, genz.InvalidValueError, "exclude each other"),
    ({"requests_per_second": -1}, genz.InvalidValueError, "requests_per_second: -1"),
    ({"requests_per_second": 0}, genz.InvalidValueError, "a number above 0"),
    ({"requests_per_second": math.inf}, genz.InvalidValueError, "requests_per_second"),
    ({"requests_per_second": math.nan}, genz.InvalidValueError, "requests_per_second"),
    ({"requests_per_second": True}, genz.InvalidValueError, "requests_per_second"),
    ({"requests_per_second": "50"}, genz.InvalidValueError, "requests_per_second"),
    ({"concurrent_users": 0}, genz.InvalidValueError, "concurrent_users"),
    ({"concurrent_users": 1.5}, genz.InvalidValueError, "concurrent_users"),
    ({"concurrent_users": [1, 2]}, genz.InvalidValueError, "one whole number"),
    ({"slo": {"ttft": "500"}}, genz.UnitError, "slo ttft: '500' has no unit"),
    ({"slo": {"ttft": "30 W"}}, genz.UnitError, "slo ttft"),
    ({"slo": {"ttft": "0 s"}}, genz.InvalidValueError, "more than 0 s"),
    ({"slo": {"tpot": -0.1}}, genz.InvalidValueError, "slo tpot"),
    ({"slo": {"tpott": "1 s"}}, genz.UnknownNameError, "did you mean 'tpot'"),
    ({"slo": "500 ms"}, genz.InvalidValueError, "slo: '500 ms'"),
    ({"slo": {"tpot": "1 s"}, "output": 1}, genz.InvalidValueError, "one output token has none"),
    ({"platforms": "h100-sxn"}, genz.UnknownNameError, "h100-sxm"),
    ({"platforms": []}, genz.InvalidValueError, "platforms: none are given"),
    ({"platforms": 8}, genz.InvalidValueError, "platforms"),
    ({"platforms": [8]}, genz.InvalidValueError, "8 is not a platform"),
    ({"precisions": "fp9"}, genz.UnknownNameError, "fp9"),
    ({"precisions": []}, genz.InvalidValueError, "precisions: none"),
    ({"engines": "vlm"}, genz.UnknownNameError, "vllm"),
    ({"objective": "usd"}, genz.UnknownNameError, "usd_per_million_tokens"),
    ({"fidelity": "rooflin"}, genz.UnknownNameError, "roofline"),
    ({"use_case": "chatt"}, genz.UnknownNameError, "chat"),
    ({"input": None}, genz.InvalidValueError, "input_tokens is missing"),
    ({"input": 10**7}, genz.InvalidValueError, "max_model_len"),
    ({"max_devices": 0}, genz.InvalidValueError, "max_devices"),
    ({"max_watts": "5 USD/h"}, genz.UnitError, "max_watts"),
    ({"max_usd_per_hour": "5 W"}, genz.UnitError, "max_usd_per_hour"),
    ({"max_usd_per_hour": -5}, genz.InvalidValueError, "max_usd_per_hour"),
    ({"max_num_seqs": 0}, genz.InvalidValueError, "max_num_seqs"),
    ({"max_devices_per_replica": 1.5}, genz.InvalidValueError, "max_devices_per_replica"),
    ({"platforms": "mi325x"}, genz.InvalidValueError, "no price of mi325x is known"),
    ({"price": {"h200": 1}}, genz.UnknownNameError, "h200"),
    ({"price": -1}, genz.InvalidValueError, "negative"),
]


@pytest.mark.parametrize(("asked", "error", "message"), WRONG, ids=[str(asked) for asked, _, _ in WRONG])
def test_wrong_questions(asked: dict[str, Any], error: type[genz.GenZError], message: str) -> None:
    load = {} if not asked or {"requests_per_second", "concurrent_users"} & asked.keys() else {"requests_per_second": 10}
    with pytest.raises(error, match=message):
        plan(**load, **asked)


def test_an_unknown_model() -> None:
    with pytest.raises(genz.UnknownNameError, match=r"did you mean 'llama-3\.2-1b'"):
        genz.plan("lama-3.2-1b", requests_per_second=1, **SMALL)


def test_chips_without_a_price_rank_by_other_figures() -> None:
    found = plan(requests_per_second=10, platforms="mi325x", objective="devices")
    assert math.isnan(found.best.figures["usd_per_hour"])
    assert found.to_dict()["options"][0]["usd_per_million_tokens"] is None
    assert plan(requests_per_second=10, platforms="mi325x", price={"mi325x": "2 USD/h"}).best.figures["usd_per_hour"] == 2
    assert "nan" not in str(found)


def test_objectives_of_the_use_case_hold_unless_they_are_replaced() -> None:
    asked: dict[str, Any] = {"input": None, "output": None, "use_case": "chat", "requests_per_second": 1}
    asked |= {"max_devices_per_replica": 4}
    assert plan(**asked).asked.constraints == {"ttft_s": 0.2, "tpot_s": 0.01}
    assert plan(slo={"ttft": "1 s"}, **asked).asked.constraints == {"ttft_s": 1.0, "tpot_s": 0.01}
    assert plan(slo={"ttft": None}, **asked).asked.constraints == {"tpot_s": 0.01}
    assert plan(**{**asked, "output": 1}).asked.constraints == {"ttft_s": 0.2}
