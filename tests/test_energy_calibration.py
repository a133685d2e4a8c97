"""Calibrated energy: files are sound, relatives stand in, and runs give back what they were made of."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import genz
from genz.energy import active_energy, energy_constants, flop_multiplier
from genz.errors import SpecError
from genz.specs.energy_calibration import FOLDER, WIDENING, EnergyCalibration, energy_files, power_calibration, power_values
from genz.timing.kernels.constants import definitions
from genz.timing.kernels.power import PowerConstants
from genz.validation.energy import energy_runs

REPOSITORY = Path(__file__).resolve().parents[1]
FILES = sorted((REPOSITORY / FOLDER).glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_files_are_sound(path: Path) -> None:
    found = EnergyCalibration.from_file(path)
    assert found.chip == path.stem == genz.chip(path.stem).name
    assert set(found.values) == {d.name for d in definitions(PowerConstants)}
    for d in definitions(PowerConstants):
        assert (found.definitions[d.name].low, found.definitions[d.name].high) == (d.low, d.high)
    assert found.figures["idle_watts"] == genz.chip(path.stem).power.idle
    assert found.band[0] < 0 < found.band[1]


@pytest.mark.parametrize(
    ("chip", "owner", "relation"),
    [
        ("h200", "h200", "own"),
        ("gh200", "h100-sxm", "sibling"),
        ("gb200", "b200", "generation"),
        ("mi300x", "h100-sxm", "vendor"),
        ("xeon-6980p", "h200", "other"),
    ],
)
def test_a_chip_without_a_calibration_takes_its_nearest_relative(chip: str, owner: str, relation: str) -> None:
    spec = genz.chip(chip)
    if relation != "own" and spec.architecture == genz.chip(owner).architecture:
        relation = "sibling"
    found = power_calibration(spec)
    assert found is not None
    assert found.relation == relation
    own_band = found.calibration.band
    assert found.band == (own_band[0] * WIDENING[relation], own_band[1] * WIDENING[relation])
    if relation in {"own", "sibling"}:
        assert found.calibration.chip == owner
    # Shares and multiples carry over as they are: the borrower's own power and prices are what they apply to.
    constants = energy_constants(genz.platform(chip), calibrated=True)
    stated = energy_constants(genz.platform(chip))
    assert constants.active == pytest.approx(found.calibration.values["active"] * (spec.power.tdp - spec.power.idle))
    assert constants.per_level[0] == pytest.approx(stated.per_level[0] * found.calibration.values["byte"])
    assert constants.per_level[1:] == stated.per_level[1:]


def test_constants_are_those_of_technologies_unless_asked() -> None:
    constants = energy_constants(genz.platform("h200"))
    assert (constants.active, constants.experts, constants.held) == (0.0, 0.0, 1.0)
    assert active_energy(constants, 2.0, 1.0, 0.5) == 0.0


def test_active_energy_by_hand() -> None:
    constants = energy_constants(genz.platform("h200"), calibrated=True)
    waiting, running = constants.waiting * constants.active, constants.active
    assert active_energy(constants, 3.0, 1.0, 0.5) == pytest.approx(2 * waiting + running + 0.5 * constants.experts)
    # A device cannot run for longer than the time it has.
    assert active_energy(constants, 1.0, 5.0) == pytest.approx(running)


def test_multipliers_go_by_the_width_of_a_type() -> None:
    known = PowerConstants(flop=2.0, flop_8=1.5, flop_4=0.5)
    expected = {
        "bf16": 2.0,
        "tf32": 2.0,
        "fp64": 2.0,
        "fp8": 3.0,
        "int8": 3.0,
        "fp4": 1.0,
        "int4": 1.0,
        "fp6": 1.0,
        "vector": 1.0,
    }
    assert {name: flop_multiplier(name, known) for name in expected} == expected


def test_a_users_file_stands_before_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = yaml.safe_load((REPOSITORY / FOLDER / "h200.yaml").read_text())
    document["constants"]["active"]["value"] = 0.123
    path = tmp_path / FOLDER / "h200.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(document))
    monkeypatch.setattr("genz.specs.catalog.roots", lambda: (tmp_path, REPOSITORY))
    energy_files.cache_clear()
    try:
        values = power_values(genz.chip("h200"))
    finally:
        energy_files.cache_clear()
    assert values is not None
    assert values["active"] == 0.123


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constants": {"active": {"value": 0.9}}}, "active = 0.9 is not within"),
        ({"constants": {"activ": {"value": 0.3}}}, "'activ' is not among the definitions"),
        ({"band": [0.2, -0.2]}, "is no interval"),
        ({"band": None}, "band"),
        ({"wats": 3}, "unknown key"),
        ({"constants": {"active": {"value": -1}}}, "active"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    document = yaml.safe_load((REPOSITORY / FOLDER / "h200.yaml").read_text()) | change
    path = tmp_path / "h200.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(SpecError, match=message):
        EnergyCalibration.from_file(path)


def run(metrics: dict[str, float], **columns: Any) -> pd.DataFrame:
    """One run of eight requests on an H100, with its metrics."""
    row = {
        "record_id": 1, "source": "made", "hardware": "H100-SXM-80GB", "model": "llama-3.1-8b", "framework": "vllm",
        "weight_dtype": "bf16", "load_kind": "static_batch", "mode": None, "notes": None, "n_devices": 1.0, "tp": 1.0,
        "pp": 1.0, "ep": float("nan"), "dp": float("nan"), "batch_or_concurrency": 8.0, "input_tokens": 512.0,
        "output_tokens": 128.0, **columns,
    }  # fmt: skip
    return pd.DataFrame([{**row, "metric": name, "value": value} for name, value in metrics.items()])


@pytest.mark.parametrize(
    ("metrics", "columns"),
    [
        ({"e2e_s": 2.0, "avg_gpu_power_w_gpu0": 400.0}, {}),
        ({"e2e_s": 2.0, "avg_power_frac_tdp": 400 / 700}, {}),
        ({"e2e_s": 2.0, "gpu_energy_j_batch": 800.0}, {}),
        ({"e2e_s": 2.0, "joules_per_output_token": 800 / 1024}, {}),
        ({"output_tok_per_s": 512.0, "avg_gpu_power_w_total": 400.0}, {"load_kind": "max_num_seqs(saturated)"}),
        ({"output_tok_per_s": 512.0, "joules_per_request": 100.0}, {"load_kind": "max_num_seqs(saturated)"}),
    ],
)
def test_every_way_of_telling_power_comes_to_the_same(metrics: dict[str, float], columns: dict[str, Any]) -> None:
    runs = energy_runs(run(metrics, **columns))
    (row,) = runs.rows.frame.to_dict("records")
    assert row["measured"] == pytest.approx(400.0)
    assert row["seconds"] == pytest.approx(2.0)
    # Nearly all FLOPs are those of the weights: 2 x 8e9 for each of 8 x (512 + 128) tokens, attention adds little.
    assert row["flop"] == pytest.approx(2 * 7.5e9 * 8 * 640 * 0.55e-12 / 2.0, rel=0.1)
    table = runs.energy_per_token({"h100-sxm": PowerConstants()})
    assert table["measured"].iloc[0] == pytest.approx(800 / 1024)
    predicted = runs.rows.predicted(PowerConstants())[0]
    assert table["in_measured_time"].iloc[0] == pytest.approx(predicted * 2.0 / 1024)
    assert table["in_predicted_time"].iloc[0] > 0


@pytest.mark.parametrize(
    ("metrics", "columns", "reason"),
    [
        ({"avg_gpu_power_w_gpu0": 400.0}, {}, "without the time"),
        ({"e2e_s": 2.0, "avg_gpu_power_w_gpu0": 80.0}, {}, "idle power"),
        ({"e2e_s": 2.0, "avg_gpu_power_w_gpu0": 400.0}, {"load_kind": "poisson_trace"}, "under load"),
        ({"avg_gpu_power_w_gpu0": 400.0}, {"load_kind": "max_num_seqs(saturated)"}, "without a throughput"),
        ({"e2e_s": 2.0, "avg_gpu_power_w_gpu0": 400.0}, {"model": "no-such-model"}, "unknown model"),
        ({"e2e_s": 2.0, "avg_gpu_power_w_gpu0": 400.0}, {"hardware": "a toaster"}, "unknown chip"),
    ],
)
def test_runs_that_cannot_be_asked_about_are_counted(metrics: dict[str, float], columns: dict[str, Any], reason: str) -> None:
    runs = energy_runs(run(metrics, **columns))
    assert runs.rows.frame.empty
    ((found, count),) = runs.not_answered.items()
    assert reason in found
    assert count == 1
