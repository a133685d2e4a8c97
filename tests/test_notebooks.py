"""The notebooks run from top to bottom, are stored as they ran, and use what every user of the package can."""

from __future__ import annotations

import ast
import getpass
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import genz
from genz import plots

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 1_000_000  # bytes: code hosts draw no larger ones
SLOW = ("02_platform_requirements",)
OTHERS = {"pandas", "numpy", "pathlib", "tempfile"}  # what a notebook may import beside genz


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_quick_start", "02_platform_requirements", "03_a_chip_that_does_not_exist"]


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=[pytest.mark.slow] * (p.stem in SLOW)) for p in NOTEBOOKS], ids=lambda p: p.stem
)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, as it needs nothing from around it. A cell that fails raises `CellExecutionError`."""
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    notebook = read(path)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    stored = [cell for cell in read(path).cells if cell.cell_type == "code"]
    run = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [len(cell.outputs) > 0 for cell in run] == [len(cell.outputs) > 0 for cell in stored]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_its_outputs_are_stored_as_they_ran(path: Path) -> None:
    cells = code_of(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", cell.source
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_plots_are_stored_as_pictures(path: Path) -> None:
    """A cell that ends in a plot shows one, and as a PNG: code hosts run no scripts."""
    for cell in code_of(path):
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        assert not {kind for kind in kinds if "plotly" in kind or "javascript" in kind}
        if cell.source.splitlines()[-1].startswith("genz.plots."):
            assert "image/png" in kinds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_tells_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    text = path.read_text()
    pictures = re.compile(r'"image/png": "[^"]*"')
    told = pictures.sub("", text)
    user = getpass.getuser()
    for private in (str(Path.home()), str(FOLDER.parent), sys.prefix, "/tmp/", "/home/", "/Users/"):
        assert private not in told
    assert user in ("root", "runner") or not re.search(rf"\b{re.escape(user)}\b", told)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_uses_public_names_alone(path: Path) -> None:
    for cell in code_of(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert set(names) <= {"genz", *OTHERS}, cell.source
            if not isinstance(node, ast.Attribute):
                continue
            if isinstance(node.value, ast.Name) and node.value.id == "genz":
                assert node.attr in genz.__all__, node.attr
            if isinstance(node.value, ast.Attribute) and ast.unparse(node.value) == "genz.plots":
                assert node.attr in plots.__all__, node.attr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_are_short(path: Path) -> None:
    for cell in code_of(path):
        assert len(cell.source.splitlines()) <= 25, cell.source
        assert max(map(len, cell.source.splitlines())) <= 128
