"""Calibration files: written, read again, refused where they are wrong; and the whole way from tables to a prediction."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import genz
from genz.calibration.calibrate import calibrate_tables
from genz.errors import InvalidValueError, SpecError
from genz.measurements.table import read_table
from genz.specs import catalog
from genz.specs.calibration import Bands, Calibration
from genz.timing.kernels.gemm import GemmConstants

LAUNCH, RATE_SHARE, BANDWIDTH_SHARE = 4e-6, 0.6, 0.7


def measured_gemms(hardware: str, rows: int = 300, noise: float = 0.02) -> pd.DataFrame:
    """GEMMs as a plain roofline with a launch would take, which is what the test knows of this made-up silicon."""
    chip = catalog.chip(hardware)
    draw = np.random.default_rng(7)
    m, n, k = (2.0 ** draw.integers(low, high, rows) for low, high in ((0, 14), (9, 14), (9, 14)))
    compute = 2 * m * n * k / (RATE_SHARE * chip.matrix_flops["bf16"])
    memory = 2 * (m * k + k * n + m * n) / (BANDWIDTH_SHARE * chip.main_memory.bandwidth)
    seconds = LAUNCH + np.maximum(compute, memory) * np.exp(draw.normal(0, noise, rows))
    text = {"source": "made up", "hardware": hardware, "op": "gemm", "framework": "vllm", "dtype": "bfloat16", "quality": "ok"}
    return pd.DataFrame({**text, "m": m, "n": n, "k": k, "measured_s": seconds})


def read_back(folder: Path, *tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables as the command reads them."""
    path = folder / "measured.parquet"
    pd.concat(tables).to_parquet(path)
    return [read_table(path).usable]


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder of the user's own, forgotten after the test."""
    monkeypatch.setenv("GENZ_SPECS", "")
    yield tmp_path
    monkeypatch.undo()
    catalog.forget()


def test_from_a_table_to_a_file_to_a_prediction(own_folder):
    before = genz.predict("llama-3.1-8b", "h200", input=512, output=16, fidelity="calibrated")
    made = calibrate_tables(read_back(own_folder, measured_gemms("h200")), own_folder, command="by hand")
    (cell,) = made.cells
    assert cell.held_out.mean < 0.15
    path = own_folder / "hardware_specs" / "calibration" / "h200" / "vllm.yaml"
    assert path in made.files
    calibration = Calibration.from_file(path)
    (written,) = calibration.cells
    assert written.family == "gemm"
    assert written.rows == cell.rows
    # The launch of the made-up silicon is found again; compute and memory share what a roofline makes of tiles.
    assert written.constants["launch"].value / catalog.chip("h200").cores.clock == pytest.approx(LAUNCH, rel=0.35)
    assert written.constants["memory"].value == pytest.approx(BANDWIDTH_SHARE, rel=0.15)
    definition = calibration.definitions["gemm"]["launch"]
    assert definition.unit == "cycles"
    after = genz.predict("llama-3.1-8b", "h200", input=512, output=16, fidelity="calibrated")
    assert after.tpot != before.tpot


def test_two_chips_lend_to_each_other(own_folder):
    made = calibrate_tables(read_back(own_folder, *map(measured_gemms, ("h200", "h100-sxm", "b200"))), own_folder)
    experiments = {(item.cell.chip, item.experiment) for item in made.borrowed}
    assert ("h200", "sibling") in experiments
    assert ("b200", "generation") in experiments
    known = Bands.from_file(own_folder / "hardware_specs" / "calibration" / "bands.yaml")
    # Shares of the data sheet are alike on all three by construction, so what is borrowed is hardly worse than one's own.
    assert known.families["gemm"]["sibling"].high < 0.5


def test_too_few_rows_identify_nothing(own_folder):
    with pytest.raises(InvalidValueError, match="keep their priors") as caught:
        calibrate_tables(read_back(own_folder, measured_gemms("h200").head(8)), own_folder)
    assert "at least 12 rows" in caught.value.allowed


def test_chips_that_are_not_in_the_catalog_are_passed_over(own_folder):
    strange = measured_gemms("h200").assign(hardware="Z9000")
    made = calibrate_tables(read_back(own_folder, measured_gemms("h200"), strange), own_folder)
    assert {cell.chip for cell in made.cells} == {"h200"}


def document() -> dict:
    constants = {name: {"value": getattr(GemmConstants(), name)} for name in ("compute", "memory")}
    return {
        "chip": "h200",
        "engine": "vllm",
        "fit": {"date": "2026-01-01", "command": "by hand", "measurements": ["made up"], "held_out": "none"},
        "definitions": {
            "gemm": {name: {"unit": "1", "low": 1e-9, "high": 10, "meaning": "made up"} for name in ("compute", "memory")}
        },
        "cells": [
            {
                "family": "gemm",
                "rows": 20,
                "held_out": {"rows": 0},
                "band": [-0.1, 0.1],
                "span": [1e-6, 1e-3],
                "constants": constants,
            }
        ],
    }


def read(tmp_path: Path, raw: dict) -> Calibration:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(raw))
    return Calibration.from_file(path)


def test_a_file_by_hand_is_read(tmp_path):
    assert read(tmp_path, document()).cells[0].values["memory"] == GemmConstants().memory


@pytest.mark.parametrize(
    "change, field",
    [
        (lambda raw: raw["cells"][0]["constants"]["compute"].update(value=-1), "compute"),
        (lambda raw: raw["cells"][0]["constants"]["compute"].update(value=float("nan")), "compute"),
        (lambda raw: raw["cells"][0]["constants"]["compute"].update(value=100), "compute"),
        (lambda raw: raw["cells"][0]["constants"].update(lunch={"value": 1.0}), "lunch"),
        (lambda raw: raw["cells"][0].update(band=[0.2, -0.2]), "band"),
        (lambda raw: raw["cells"][0].update(band=[0.2]), "band"),
        (lambda raw: raw["cells"][0].pop("family"), "family"),
        (lambda raw: raw["cells"][0].update(rows=0), "rows"),
        (lambda raw: raw.pop("fit"), "fit"),
        (lambda raw: raw.update(calibrated="yes"), "calibrated"),
    ],
)
def test_a_wrong_file_names_its_field(tmp_path, change, field):
    raw = document()
    change(raw)
    with pytest.raises(SpecError, match=field) as caught:
        read(tmp_path, raw)
    assert str(tmp_path) in str(caught.value)


def test_every_shipped_calibration_can_be_read():
    from genz.specs.calibrations import bands, calibrated_engines, calibration

    files = [path for by_engine in calibrated_engines().values() for path in by_engine.values()]
    assert files
    for path in files:
        found = calibration(path)
        assert found.chip == path.parent.name
        assert found.engine == path.stem
        assert catalog.chip(found.chip).name == found.chip
    assert bands() is not None
