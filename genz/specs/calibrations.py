"""Where calibrations are found: the user's folders first, then those that GenZ ships."""

from __future__ import annotations

import re
from pathlib import Path

from genz.errors import UnknownNameError
from genz.specs import catalog
from genz.specs.calibration import Bands, Calibration
from genz.specs.catalog import SUFFIXES, remembered, roots

FOLDER = "hardware_specs/calibration"
BANDS = "bands.yaml"
ENERGY = "energy"  # a folder of its own: power is a chip's, whatever the engine


@remembered
def engine_name(framework: str) -> str:
    """The name under which an engine's calibrations are filed: "trtllm" and "TensorRT-LLM" are "tensorrt-llm".

    One that the catalog does not know keeps its own, in lower case with dashes: "cuBLAS(torch)" is "cublas-torch".
    """
    try:
        return catalog.engine(framework).name
    except UnknownNameError:
        return re.sub(r"[^a-z0-9.]+", "-", framework.lower()).strip("-")


@remembered
def calibrated_engines() -> dict[str, dict[str, Path]]:
    """{chip: {engine: file}} of all calibrations; a user's file stands before one of the same name that GenZ ships."""
    found: dict[str, dict[str, Path]] = {}
    for root in reversed(roots()):
        folder = root / FOLDER
        if folder.is_dir():
            for path in sorted(folder.glob("*/*")):
                if path.suffix in SUFFIXES and path.parent.name != ENERGY:
                    found.setdefault(path.parent.name, {})[path.stem] = path
    return found


@remembered
def calibration(path: Path) -> Calibration:
    """The calibration of a file."""
    return Calibration.from_file(path)


@remembered
def bands() -> Bands | None:
    """Bands of borrowed constants, if there are any."""
    for root in roots():
        path = root / FOLDER / BANDS
        if path.is_file():
            return Bands.from_file(path)
    return None
