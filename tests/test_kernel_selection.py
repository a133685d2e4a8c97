"""Which constants a kernel is priced with: the distances of the rule, worked out by hand."""

import pytest

from genz.specs import catalog
from genz.specs.calibration import Band, Bands, Cell, FitRecord, HeldOut
from genz.timing.kernels.selection import UNKNOWN_BAND, Library, select

RECORD = FitRecord(date="2026-01-01", command="by hand", measurements=("made up",), held_out="none")


def cell(family="gemm", *, format="bfloat16", kernel="", version="", rows=100, value=1.0) -> Cell:  # noqa: A002
    return Cell(
        family=family,
        format=format,
        kernel=kernel,
        version=version,
        variant="split",
        rows=rows,
        held_out=HeldOut(rows=0),
        band=(-0.1, 0.1),
        span=(1e-6, 1e-3),
        constants={"launch": {"value": value}},
    )


def library(entries: dict[str, list[tuple[str, Cell]]], bands: Bands | None = None) -> Library:
    return Library(tuple(entries), lambda chip: entries[chip], bands)


def found(chip: str, entries: dict[str, list[tuple[str, Cell]]], bands: Bands | None = None, **wanted):
    return select(catalog.chip(chip), "gemm", library=library(entries, bands), **wanted)


def test_its_own_cell_comes_first():
    own, sibling = cell(value=1.0), cell(value=2.0)
    chosen = found("h100-sxm", {"h200": [("vllm", sibling)], "h100-sxm": [("vllm", own)]}, engine="vllm", format="bfloat16")
    assert (chosen.relation, chosen.values["launch"], chosen.band) == ("own", 1.0, (-0.1, 0.1))


@pytest.mark.parametrize(
    "chip, relation, nearest",
    [("h200", "sibling", 1.0), ("b200", "generation", 1.0), ("mi300x", "other", 2.0), ("a100-sxm-80gb", "generation", 2.0)],
)
def test_the_nearest_chip_stands_in(chip, relation, nearest):
    # A100 (2020): itself another generation than H100 (2022), as B200 (2024); a sibling of the A100 PCIe.
    entries = {"h100-sxm": [("vllm", cell(value=1.0))], "l40s": [("vllm", cell(value=2.0))]}
    chosen = found(chip, entries, engine="vllm", format="bfloat16")
    assert chosen.relation == relation
    assert chosen.values["launch"] in (1.0, 2.0)
    if chip in ("h200", "b200"):
        assert chosen.values["launch"] == nearest


def test_a_kernel_of_another_chip_comes_before_another_format_of_its_own():
    entries = {
        "h100-sxm": [("vllm", cell(format="bfloat16", value=1.0))],
        "h200": [("vllm", cell(format="fp8", value=2.0))],
    }
    chosen = found("h100-sxm", entries, engine="vllm", format="fp8")
    assert (chosen.relation, chosen.values["launch"]) == ("sibling", 2.0)


def test_a_sibling_with_the_same_engine_comes_before_another_engine_of_its_own():
    entries = {"h100-sxm": [("sglang", cell(value=1.0))], "h200": [("vllm", cell(value=2.0))]}
    assert found("h100-sxm", entries, engine="vllm", format="bfloat16").values["launch"] == 2.0


def test_only_its_own_engine_will_do_where_that_is_asked():
    entries = {"h100-sxm": [("sglang", cell(value=1.0))]}
    assert found("h100-sxm", entries, engine="vllm", only_engine=True) is None


def test_the_newest_version_and_the_best_measured_kernel_stand_for_an_unnamed_one():
    versions = [("vllm", cell(version=v, value=float(i + 1))) for i, v in enumerate(("0.9.2", "0.22.0", "0.10.1"))]
    assert found("h200", {"h200": versions}, engine="vllm").values["launch"] == 2.0
    kernels = [("vllm", cell(kernel="a", rows=50, value=1.0)), ("vllm", cell(kernel="b", rows=500, value=2.0))]
    assert found("h200", {"h200": kernels}, engine="vllm").values["launch"] == 2.0


def test_a_named_version_is_taken_and_another_is_called_by_its_name():
    entries = {"h200": [("vllm", cell(version="0.22.0", value=1.0)), ("vllm", cell(version="0.24.0", value=2.0))]}
    assert found("h200", entries, engine="vllm", version="0.22.0").values["launch"] == 1.0
    assert found("h200", entries, engine="vllm", version="0.23.0").relation == "version"


def test_borrowed_bands_are_those_of_the_experiment_and_never_narrower_than_the_cells_own():
    known = Bands(
        fit=RECORD,
        families={"gemm": {"sibling": Band(low=-0.05, high=0.3, rows=10), "generation": Band(low=-0.5, high=0.4, rows=10)}},
    )
    entries = {"h100-sxm": [("vllm", cell())]}
    assert found("h200", entries, known).band == (-0.1, 0.3)
    assert found("b200", entries, known).band == (-0.5, 0.4)
    assert found("mi300x", entries, known).band == UNKNOWN_BAND
    assert found("h200", entries).band == UNKNOWN_BAND


def test_no_cell_of_the_family_is_no_answer():
    assert found("h100-sxm", {"h100-sxm": [("vllm", cell("experts"))]}) is None
    assert found("h100-sxm", {}) is None
