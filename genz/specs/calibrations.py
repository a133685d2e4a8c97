"""Where calibrations are found: the user's folders first, then those that GenZ ships."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from genz.errors import UnknownNameError
from genz.specs import catalog
from genz.specs.base import read_text
from genz.specs.calibration import Bands, Calibration, Cell
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


@dataclass(frozen=True)
class CalibrationFile:
    """A calibration that is parsed only when it may hold cells of the family of kernels that is asked for."""

    path: Path

    def may_hold(self, family: str) -> bool:
        """Whether the text names the family: otherwise only an escape could spell it."""
        text = _text(self.path)
        return family in text or "\\" in text

    def of_family(self, family: str) -> tuple[Cell, ...]:
        """Its cells of a family. Raises `SpecError` if the file has to be parsed and is not sound."""
        return _cells_of(self.path, family) if self.may_hold(family) else ()


@remembered
def _cells_of(path: Path, family: str) -> tuple[Cell, ...]:
    return tuple(cell for cell in calibration(path).cells if cell.family == family)


@remembered
def _text(path: Path) -> str:
    return read_text(path)


@remembered
def bands() -> Bands | None:
    """Bands of borrowed constants, if there are any."""
    for root in roots():
        path = root / FOLDER / BANDS
        if path.is_file():
            return Bands.from_file(path)
    return None
