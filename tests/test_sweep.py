"""A sweep against what it stands for: one `predict` a row, refusals included, at every fidelity."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import genz
from genz.explore import sweep as module
from genz.explore.estimate import MAX_CONFIGURATIONS, estimate
from genz.explore.figures import expand, value_at
from genz.explore.space import resolve
from genz.explore.study import Study
from genz.inference.metrics import METRICS
from genz.specs import catalog
from genz.timing.machine import FIDELITIES

SMALL: dict[str, Any] = {"model": "llama-3.1-8b", "platform": "h100-sxm", "input": 512, "output": 64}
CLOSE = 1e-9
FIGURES = [name for name in METRICS if name not in ("memory_total_bytes", "memory_budget_bytes")]


def predicted(row: pd.Series, fixed: dict[str, Any], multiples: tuple[str, ...] = ()) -> genz.Prediction:
    """The prediction that a row stands for; figures are bound to the platform or the engine."""
    asked = dict(fixed)
    paths: dict[str, float] = {}
    for name, value in row.items():
        if name == "feasible":
            break
        if "." in str(name):
            paths[str(name)] = float(value)
        else:
            asked[str(name)] = value.item() if isinstance(value, np.generic) else value
    chip, devices = asked.pop("chip", None), asked.pop("devices", None)
    platform = catalog.platform(asked.pop("platform") if chip is None else f"{devices}x {chip}")
    engine = catalog.engine(asked.pop("engine", "vllm"))
    for name, value in paths.items():
        spec, path = (engine, name.removeprefix("engine.")) if name.startswith("engine.") else (platform, name)
        found = expand(spec, path, name=name)
        bound = genz.bind(spec, {p: value * value_at(spec, p) if name in multiples else value for p in found})
        platform, engine = (platform, bound) if name.startswith("engine.") else (bound, engine)
    return genz.predict(asked.pop("model"), platform, engine=engine, **asked)


def check(frame: pd.DataFrame, fixed: dict[str, Any], multiples: tuple[str, ...] = ()) -> None:
    """Each row is what `predict` says of it, to 1e-9; what predict refuses is infeasible, and shows no figure."""
    for _, row in frame.astype(object).iterrows():
        try:
            answer = predicted(row, fixed, multiples)
        except genz.DoesNotFitError as error:
            assert (row["feasible"], row["why"]) == (False, "does not fit")
            assert row["memory_total_bytes"] == pytest.approx(error.memory.total_bytes, rel=CLOSE)
            assert row[FIGURES].isna().all()
            continue
        except genz.GenZError as error:
            assert not row["feasible"] and row["why"], error
            assert row[list(METRICS)].isna().all()
            continue
        assert row["feasible"] and row["why"] == ""
        for name in METRICS:
            expected = METRICS[name].of(answer.outcome, answer.prices)
            expected = math.nan if expected is None else expected
            assert row[name] == pytest.approx(expected, rel=CLOSE, nan_ok=True), name
        for phase, bound in answer.bound.items():
            assert (row[f"{phase}_bound"] if isinstance(row[f"{phase}_bound"], str) else None) == bound


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize(
    ("model", "platform", "degrees"),
    [
        ("llama-3-70b", "8x h100-sxm", {"tp": [2, 3, 8, 16]}),
        ("deepseek-v3", "dgx-h200-x4", {"tp": [1, 8], "ep": [1, 32], "pp": [1, 2]}),
        ("gemma-2-9b", "h100-sxm", {"precision": ["bf16", "fp8"]}),
        ("falcon-7b", "l40s", {}),
    ],
)
def test_rows_are_predictions(fidelity: str, model: str, platform: str, degrees: dict[str, Any]) -> None:
    fixed = {"model": model, "platform": platform, "fidelity": fidelity}
    axes = {"chip.main_memory.bandwidth": [1e12, 3e12], "chip.matrix_flops.*": {"times": [0.5, 1, 2]}}
    frame = genz.sweep(**fixed, **degrees, batch=[1, 7, 512], input=[100, 9000], output=[1, 33], axes=axes)
    assert len(frame) == math.prod(map(len, degrees.values())) * 3 * 2 * 2 * 2 * 3
    check(frame.sample(25, random_state=1), fixed, ("chip.matrix_flops.*",))


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_space_is_made_of_predictions(data: st.DataObject) -> None:
    fixed: dict[str, Any] = {"model": data.draw(st.sampled_from(["llama-3.1-8b", "mixtral-8x7b", "qwen3-8b"])), "input": 1000}
    multiples = ("chip.matrix_flops.*", "network.*.bandwidth", "chip.vector_flops.*")
    candidates: dict[str, Any] = {
        "tp": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
        "ep": st.lists(st.sampled_from([1, 2, 8]), min_size=1, max_size=2, unique=True),
        "batch": st.lists(st.integers(1, 5000), min_size=1, max_size=4, unique=True),
        "cached": st.lists(st.integers(0, 2000), min_size=1, max_size=3, unique=True),
        "beams": st.lists(st.integers(1, 4), min_size=1, max_size=2, unique=True),
        "gpu_memory_utilization": st.lists(st.floats(0.3, 1), min_size=1, max_size=3, unique=True),
        "max_num_seqs": st.lists(st.integers(1, 3000), min_size=1, max_size=2, unique=True),
        "max_model_len": st.lists(st.integers(900, 3000), min_size=1, max_size=2, unique=True),
        "precision": st.lists(st.sampled_from(["bf16", "fp8", "int4"]), min_size=1, max_size=2, unique=True),
        "price": st.lists(st.floats(0, 10), min_size=1, max_size=2, unique=True),
        "energy_price": st.lists(st.floats(0, 1), min_size=1, max_size=2, unique=True),
        "chip.power.tdp": st.lists(st.floats(300, 2000), min_size=1, max_size=3, unique=True),
        "chip.main_memory.capacity": st.lists(st.floats(1e9, 1e12), min_size=1, max_size=3, unique=True),
        "network.0.latency": st.lists(st.floats(0, 1e-3), min_size=1, max_size=2, unique=True),
        "engine.overheads.host_per_step": st.lists(st.floats(0, 1e-2), min_size=1, max_size=2, unique=True),
        "engine.efficiency.memory": st.lists(st.floats(0.1, 1), min_size=1, max_size=2, unique=True),
        **dict.fromkeys(
            multiples, st.lists(st.floats(0.1, 9), min_size=1, max_size=2, unique=True).map(lambda v: {"times": v})
        ),
    }
    names = data.draw(st.lists(st.sampled_from(sorted(candidates)), max_size=5, unique=True))
    axes = {name: data.draw(candidates[name]) for name in names}
    axes |= {"output": data.draw(st.lists(st.integers(1, 300), min_size=1, max_size=2, unique=True))}
    axes |= {"chip": ["h100-sxm", "a100-sxm-80gb"], "devices": [4, 8]}
    fixed["fidelity"] = data.draw(st.sampled_from(FIDELITIES))
    frame = genz.sweep(**fixed, axes=axes)
    # A row holds prices in SI, which `predict` takes as people quote them.
    quoted = frame.sample(min(len(frame), 5), random_state=0)
    for name, factor in (("price", 3600.0), ("energy_price", 3.6e6)):
        if name in quoted:
            quoted[name] *= factor
    check(quoted, fixed, multiples)


def test_the_closed_form_agrees_at_the_roofline() -> None:
    bandwidths = [1e12, 2e12, 8e12]
    frame = genz.sweep(**SMALL, fidelity="roofline", axes={"chip.memory.hbm.bandwidth": bandwidths})
    question = genz.settle_question(**SMALL, fidelity="roofline")
    symbol = sympy.Symbol("B", positive=True)
    form = genz.evaluate(question.on(genz.bind(question.platform, {"chip.memory.hbm.bandwidth": symbol}))).tpot
    assert [float(form.subs(symbol, value)) for value in bandwidths] == pytest.approx(frame["tpot_s"].tolist(), rel=CLOSE)


# What cannot be.


def test_refusals_hold_row_by_row() -> None:
    frame = genz.sweep(
        model="llama-3-8b",
        platform="h100-sxm",
        input=[100, 8000],
        output=[100, 300],
        cached=[0, 100],
        batch=[1, 9],
        max_num_seqs=8,
    )
    check(frame, {"model": "llama-3-8b", "platform": "h100-sxm", "max_num_seqs": 8})
    by_reason = frame.groupby("why", observed=True).size().to_dict()
    assert by_reason == {
        "": 4,
        "beyond the model's context": 4,
        "cached tokens leave no prompt token to process": 4,
        "more sequences than max_num_seqs": 4,
    }


def test_a_structure_that_cannot_be_says_why() -> None:
    frame = genz.sweep(model="llama-3.1-8b", chip=["h100-sxm", "l4"], devices=[1, 16], tp=[1, 3], input=8, output=8)
    why = frame.set_index(["chip", "devices", "tp"])["why"]
    assert "more than the platform's 1 devices" in why["h100-sxm", 1, 3]
    assert "16 of h100-sxm are more than its scale-up link joins" in why["h100-sxm", 16, 1]
    assert (frame["why"] == "").equals(frame["feasible"])


def test_figures_that_contradict_each_other_are_no_machine() -> None:
    frame = genz.sweep(**SMALL, axes={"chip.power.tdp": [50.0, 90.0, 700.0], "chip.power.idle": [10.0, 80.0]})
    assert frame["feasible"].tolist() == [True, False, True, True, True, True]
    assert frame["why"][1] == "chip.power: idle = 80 W must be below tdp = 50 W"


def test_a_figure_that_one_platform_lacks_is_a_reason() -> None:
    frame = genz.sweep(**{**SMALL, "platform": ["h100-sxm", "2x h100-sxm"]}, axes={"network.0.bandwidth": [1e11]})
    assert frame["feasible"].tolist() == [False, True]
    assert "'0' is not found" in frame["why"][0]


# Structure of every kind.


def test_fields_that_are_structure_are_looped() -> None:
    base = catalog.platform("8x h100-sxm")
    frame = genz.sweep(
        **{**SMALL, "platform": "8x h100-sxm"},
        tp=8,
        axes={"chip.cores.count": [66, 132], "network.0.topology": ["ring", "switch"]},
    )
    for _, row in frame.iterrows():
        data = base.model_dump()
        data["chip"]["cores"]["count"] = row["chip.cores.count"]
        data["network"][0]["topology"] = row["network.0.topology"]
        answer = genz.predict("llama-3.1-8b", type(base).model_validate(data), tp=8, input=512, output=64)
        assert row["e2e_s"] == pytest.approx(answer.e2e, rel=CLOSE)
    assert frame["e2e_s"].nunique() == 4


def test_a_model_is_rebuilt_from_its_configuration(tmp_path: Path) -> None:
    frame = genz.sweep(**SMALL, axes={"model.num_hidden_layers": [16, 32], "model.num_key_value_heads": [1, 8]})
    assert frame["e2e_s"][3] == pytest.approx(genz.predict(**SMALL).e2e, rel=CLOSE)
    assert frame["memory_total_bytes"].is_monotonic_increasing
    with pytest.raises(genz.InvalidValueError, match="did you mean 'num_hidden_layers'"):
        genz.sweep(**SMALL, axes={"model.num_hiden_layers": [16]})
    refused = genz.sweep(**SMALL, axes={"model.num_key_value_heads": [3]})
    assert not refused["feasible"].any() and "num_key_value_heads" in refused["why"][0]


def test_fields_of_precision_and_engine() -> None:
    frame = genz.sweep(
        **SMALL, precision="int4", axes={"precision.weights.bits": [2.0, 4.0], "engine.memory.block_size": [16, 4096]}
    )
    named = genz.predict(**SMALL, precision="int4")
    assert frame["tpot_s"][2] == pytest.approx(named.tpot, rel=CLOSE)
    assert frame["memory_total_bytes"][2] == named.memory.total_bytes < frame["memory_total_bytes"][3]
    assert frame["tpot_s"][0] < frame["tpot_s"][2]


def test_specifications_stand_in_for_their_names() -> None:
    given: dict[str, Any] = {
        "model": [catalog.model("llama-3.1-8b")],
        "platform": [catalog.platform("2x h100-sxm"), catalog.chip("l40s")],
        "engine": catalog.engine("vllm"),
    }
    frame = genz.sweep(**given, input=512, output=64)
    named = genz.sweep(model=["llama-3.1-8b"], platform=["2x h100-sxm", "l40s"], engine="vllm", input=512, output=64)
    pd.testing.assert_frame_equal(frame, named)


# Zips, conditions, selections.


def test_what_is_zipped_advances_together() -> None:
    frame = genz.sweep(
        model="llama-3.1-8b",
        platform=["h100-sxm", "8x h100-sxm"],
        tp=[1, 8],
        input=[100, 200, 300],
        output=[1, 2, 3],
        zip=[("platform", "tp"), ("input", "output")],
    )
    assert frame[["platform", "tp", "input", "output"]].to_numpy().tolist() == [
        [platform, tp, length, length // 100]
        for platform, tp in (("h100-sxm", 1), ("8x h100-sxm", 8))
        for length in (100, 200, 300)
    ]
    check(frame, {"model": "llama-3.1-8b"})


@pytest.mark.parametrize(
    "where",
    ["batch >= 4 * tp", "tp in [1, 8] and batch != 7", "input * batch < 2000 or tp == 2", "chip.power.tdp < '600 W'", "tp > 9"],
)
def test_conditions_keep_what_a_filter_keeps(where: str) -> None:
    space: dict[str, Any] = {
        "tp": [1, 2, 8],
        "batch": [1, 4, 7, 32],
        "input": [100, 400],
        "axes": {"chip.power.tdp": [500.0, 700.0]},
    }
    whole = genz.sweep(**{**SMALL, "platform": "8x h100-sxm"} | space)
    kept = genz.sweep(**{**SMALL, "platform": "8x h100-sxm"} | space, where=where)
    told = where.replace("chip.power.tdp", "`chip.power.tdp`").replace("'600 W'", "600")
    pd.testing.assert_frame_equal(kept, whole.query(told).reset_index(drop=True), check_categorical=False)


def test_only_the_metrics_that_are_wanted() -> None:
    frame = genz.sweep(**SMALL, batch=[1, 2], metrics=["power_w", "ttft_s"])
    assert list(frame) == ["batch", "feasible", "why", "power_w", "ttft_s", "prefill_bound", "decode_bound"]
    assert frame["power_w"].tolist() == genz.sweep(**SMALL, batch=[1, 2])["power_w"].tolist()


def test_blocks_do_not_show_in_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {"batch": range(1, 12), "input": [100, 200, 300], "axes": {"chip.power.tdp": [500.0, 600.0, 700.0]}}
    asked = {k: v for k, v in SMALL.items() if k != "input"}
    pd.testing.assert_frame_equal(
        genz.sweep(**asked, **space), genz.sweep(**asked, **space, rows_per_file=7), check_exact=False, rtol=CLOSE
    )


def test_columns_know_their_unit(tmp_path: Path) -> None:
    result = genz.sweep(
        **SMALL, batch=[1], axes={"chip.power.tdp": [500.0], "chip.matrix_flops.*": {"times": [2]}}, out=tmp_path / "o"
    )
    schema = result.dataset().schema
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in schema}
    assert (units["chip.power.tdp"], units["chip.matrix_flops.*"], units["batch"]) == ("W", "x", "")
    assert all(units[name] == METRICS[name].unit for name in METRICS)


# Sizes.


def test_a_vast_product_is_refused_with_an_estimate() -> None:
    with pytest.raises(genz.InvalidValueError, match=r"1,000,000,000,000,000 \(1000 T\) configurations") as caught:
        genz.sweep(
            model="llama-3.1-8b",
            platform="h100",
            batch=range(1, 100_001),
            input=range(1, 100_001),
            output=range(1, 100_001),
        )
    assert "years" in str(caught.value) and "PB" in str(caught.value) and f"{MAX_CONFIGURATIONS:,}" in str(caught.value)
    with pytest.raises(genz.InvalidValueError, match="11 configurations"):
        genz.sweep(**SMALL, batch=range(1, 12), max_configurations=10)


def test_a_frame_has_a_limit_and_points_to_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FRAME_ROWS", 10)
    assert len(genz.sweep(**SMALL, batch=range(1, 11))) == 10
    with pytest.raises(genz.InvalidValueError, match="out="):
        genz.sweep(**SMALL, batch=range(1, 12))
    assert len(genz.sweep(**SMALL, batch=range(1, 100), where="batch < 5")) == 4


def test_the_estimate_counts_what_there_is() -> None:
    found = estimate(resolve(Study.load("decode-1024")))
    assert (found.configurations, found.structures) == (1024, 16)
    assert 0 < found.seconds < 1000 and 1024 * 100 < found.bytes < 1024 * 400


@pytest.mark.parametrize("given", [{"batch": [1]}, {"where": "tp > 1"}, {"metrics": ["ttft_s"]}, {"zip": [("a", "b")]}])
def test_a_study_says_its_parts_itself(given: dict[str, Any]) -> None:
    with pytest.raises(genz.InvalidValueError, match="the study says it already"):
        genz.sweep(Study.load("decode-1024"), **given)


def test_a_named_study_with_changes() -> None:
    frame = genz.sweep("decode-1024", batch=[1], input=512)
    assert len(frame) == 16 and set(frame["input"]) == {512}


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1"])
def test_rows_per_file_is_a_count(value: Any) -> None:
    with pytest.raises(genz.InvalidValueError, match="rows_per_file"):
        genz.sweep(**SMALL, rows_per_file=value)
