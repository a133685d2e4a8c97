"""Calibrations are read only where they may matter, and nothing that matters is missed."""

import itertools

import pytest

import genz
from genz.specs import catalog
from genz.specs.calibrations import CalibrationFile, calibrated_engines, calibration
from genz.timing.kernels import selection
from genz.timing.kernels.selection import Library, select, shipped

CALIBRATION = """
chip: h100-sxm
engine: vllm
fit: {{date: "2026-01-01", command: by hand, measurements: [made up], held_out: none}}
definitions:
  {family}: {{launch: {{unit: s, low: 1e-7, high: 1e-3, meaning: launch}}}}
cells:
- family: {family}
  rows: 10
  held_out: {{rows: 0}}
  band: [-0.1, 0.1]
  span: [1e-6, 1e-3]
  constants: {{launch: {{value: 1e-5}}}}
"""


@pytest.mark.parametrize("written", ["gemm", "'gemm'", '"gemm"', r'"g\x65mm"'])
def test_a_family_is_found_however_it_is_spelt(tmp_path, written):
    path = tmp_path / "vllm.yaml"
    path.write_text(CALIBRATION.format(family=written))
    file = CalibrationFile(path)
    assert [cell.family for cell in file.of_family("gemm")] == ["gemm"]
    assert file.of_family("experts") == ()


def test_a_file_that_names_no_such_family_is_not_parsed_and_another_must_be_sound(tmp_path):
    path = tmp_path / "vllm.yaml"
    path.write_text("cells: [gemm")
    file = CalibrationFile(path)
    assert file.of_family("experts") == ()
    with pytest.raises(genz.SpecError, match="is not valid YAML"):
        file.of_family("gemm")


def test_of_all_shipped_cells_the_nearest_is_chosen():
    # The rule applied to every cell of every chip, none of them left out.
    files = calibrated_engines()
    pairs = {chip: [(e, cell) for e, path in files[chip].items() for cell in calibration(path).cells] for chip in files}
    everything = [(chip, engine, cell) for chip in pairs for engine, cell in pairs[chip]]
    chips = ("h100-sxm", "a40", "mi300x", "tpu-v5p")
    asked = [("gemm", "fp8", ""), ("elementwise", "", "norm"), ("collectives", "bfloat16", "all_reduce"), ("mamba2", "", "")]
    for name, (family, form, kernel), engine in itertools.product(chips, asked, ("vllm", "sglang", "")):
        chip = catalog.chip(name)
        wanted = selection._Wanted(engine, "", form, kernel, False)
        ranked = [
            selection._judge(cell, of, other, _apart(chip, other), wanted)
            for other, of, cell in everything
            if cell.family == family
        ]
        best = min(ranked, key=lambda found: (found.distance, -found.cell.rows))
        chosen = select(chip, family, engine=engine, format=form, kernel=kernel)
        assert chosen is not None
        assert chosen.source == selection._selected(best, None).source
        assert chosen.values == best.cell.values


def _apart(chip: genz.specs.hardware.Chip, other: str) -> float:
    return 0.0 if other == chip.name else selection._apart(selection._kin(chip), selection._kin(catalog.chip(other)))


def test_its_own_cell_spares_all_other_files(monkeypatch):
    catalog.forget()
    read = []
    monkeypatch.setattr("genz.specs.calibrations.calibration", lambda path: read.append(path.stem) or calibration(path))
    library = shipped()
    select(catalog.chip("h100-sxm"), "gemm", engine="vllm", format="bfloat16", library=library)
    assert isinstance(library, Library)
    assert read == ["vllm"]
    catalog.forget()
