"""Run the notebooks and store their outputs, with plots as pictures, so that they can be read without running anything.

    python notebooks/execute.py [NOTEBOOK ...]

A plot in a notebook is a Plotly figure, which no code host draws. It is stored as a PNG instead, which needs Kaleido
(`pip install kaleido`) and a Chrome or Chromium; running the notebooks does not.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
FIGURE = "application/vnd.plotly.v1+json"
WIDTH, HEIGHT, SCALE = 820, 440, 1.25
SECONDS_PER_CELL = 600


def execute(path: Path) -> nbformat.NotebookNode:
    """A notebook, run from the top in its own folder. Raises `CellExecutionError` where a cell does."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    client = NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    return notebook


def with_pictures(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with a PNG in the place of each Plotly figure, and without the times at which cells ran."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if FIGURE in data:
                output["data"] = {"image/png": _picture(data[FIGURE])}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _picture(figure: dict[str, Any]) -> str:
    from base64 import b64encode

    from plotly import io

    drawn = io.from_json(json.dumps(figure))
    return b64encode(io.to_image(drawn, "png", width=WIDTH, height=HEIGHT, scale=SCALE)).decode()


def main(names: list[str]) -> int:
    """Run and store the notebooks that are named, or all of them."""
    if find_spec("kaleido") is None:
        print("storing plots as pictures needs Kaleido: pip install kaleido", file=sys.stderr)
        return 2
    for path in [Path(name) for name in names] or sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(with_pictures(execute(path)), path)
        print(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
