"""Calibration files from measurement tables: fit every cell, see how well relatives stand in, and write both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from genz.calibration.borrowing import Borrowed, bands_of
from genz.calibration.cells import FittedCell, cells_of, fit_cell
from genz.errors import GenZError
from genz.measurements.family import CellKey, Family
from genz.measurements.holdout import HELD_OUT_PER_CENT
from genz.measurements.registry import serves
from genz.specs import catalog
from genz.specs.calibration import Cell
from genz.specs.calibrations import BANDS, engine_name
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import definitions

FEWEST_CELLS_A_PROCESS = 4
# The column that tells what a row of each kind of table measured.
KIND_COLUMNS = ("op", "collective", "metric")
RULE = f"md5 of the shape's text, first 8 hexadecimal digits modulo 100 below {HELD_OUT_PER_CENT}"


def fit_family(family: Family, tables: Sequence[pd.DataFrame], *, progress: Callable[[str], None]) -> list[FittedCell]:
    """Every cell of a family on every chip in the catalog that the tables' rows identify, on all processors.

    `progress` is told of each chip.
    """
    waiting: list[tuple[Family, CellKey, pd.DataFrame, Chip]] = []
    for table in tables:
        column = next((name for name in KIND_COLUMNS if name in table), None)
        if column is None:
            continue
        rows = table[table[column].isin(family.ops)]
        for hardware, group in rows.groupby("hardware", sort=True):
            chip = _chip(str(hardware))
            if chip is not None and serves(family, chip):
                progress(f"{family.name} on {chip.name}: {len(group):,} rows")
                waiting += [(family, key, cell, chip) for key, cell in cells_of(family, group)]
    # A process takes longer to start than a few cells to fit.
    processes = min(os.cpu_count() or 1, len(waiting) // FEWEST_CELLS_A_PROCESS)
    if processes < 2:
        found = [fit_cell(*cell) for cell in waiting]
    else:
        with ProcessPoolExecutor(processes) as pool:
            found = list(pool.map(fit_cell, *zip(*waiting, strict=True), chunksize=1))
    return [cell for cell in found if cell is not None]


def _chip(name: str) -> Chip | None:
    try:
        return catalog.chip(name)
    except GenZError:
        return None


def write_calibrations(
    fitted: Iterable[FittedCell], families: Sequence[Family], out: Path, *, sources: Sequence[str], command: str
) -> list[Path]:
    """Write `<out>/<chip>/<engine>.yaml` for each chip and engine. Returns the files."""
    by_file: dict[tuple[str, str], list[FittedCell]] = {}
    for cell in fitted:
        by_file.setdefault((cell.chip, engine_name(cell.key.engine)), []).append(cell)
    record = fit_record(sources, command)
    kinds = {family.name: family.constants for family in families}
    written = []
    for (chip, engine), cells in sorted(by_file.items()):
        names = sorted({cell.family for cell in cells})
        document = {
            "chip": chip,
            "engine": engine,
            "fit": record,
            "definitions": {name: _definitions(kinds[name]) for name in names},
            "cells": [_cell(cell) for cell in sorted(cells, key=lambda c: (c.family, c.key))],
        }
        path = out / chip / f"{engine}.yaml"
        write_yaml(document, path)
        written.append(path)
    return written


def write_bands(
    borrowed: Sequence[Borrowed],
    factors: dict[str, dict[str, dict[str, float]]],
    out: Path,
    *,
    sources: Sequence[str],
    command: str,
) -> Path:
    """Write `<out>/bands.yaml`: how far borrowed constants are off, by family and relation, and factors of whole requests."""
    document = {"fit": fit_record(sources, command), "families": _rounded(bands_of(borrowed)), "requests": _rounded(factors)}
    path = out / BANDS
    write_yaml(document, path)
    return path


def _rounded(nested: Any) -> Any:
    """The same with floats as they are worth reading."""
    if isinstance(nested, dict):
        return {key: _rounded(value) for key, value in nested.items()}
    return significant(nested, 3) if isinstance(nested, float) else nested


def fit_record(sources: Sequence[str], command: str) -> dict[str, Any]:
    """What a calibration says of its own making."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "measurements": list(sources),
        "held_out": RULE,
    }


def _definitions(kind: type) -> dict[str, dict[str, Any]]:
    return {d.name: {"unit": d.unit, "low": d.low, "high": d.high, "meaning": d.meaning} for d in definitions(kind)}


def as_cell(cell: FittedCell) -> Cell:
    """What a calibration file says of a fitted cell."""
    return Cell.model_validate(_cell(cell))


def _cell(cell: FittedCell) -> dict[str, Any]:
    score, errors = cell.held_out, cell.fitted.errors

    def constant(name: str, value: float) -> dict[str, float]:
        error = errors.get(name)
        shown: dict[str, float] = {"value": significant(value)}
        if error is not None and np.isfinite(error):
            shown["error"] = significant(error, 2)
        return shown

    held = {"rows": score.rows} | {
        name: significant(value, 3) for name, value in asdict(score).items() if name != "rows" and np.isfinite(value)
    }
    names = {"format": cell.key.format, "kernel": cell.key.kernel, "version": cell.key.version, "variant": cell.variant}
    return {
        "family": cell.family,
        **{name: value for name, value in names.items() if value},
        "rows": cell.rows,
        "held_out": held,
        "band": [significant(edge, 3) for edge in cell.band],
        "span": [significant(edge, 3) for edge in cell.span],
        "constants": {name: constant(name, value) for name, value in asdict(cell.fitted.constants).items()},
    }


def significant(value: float, digits: int = 4) -> float:
    """A number with as many significant digits as are worth reading."""
    return float(f"{value:.{digits}g}")


class _Dumper(yaml.SafeDumper):
    """Block style, with the innermost mappings and lists on one line."""


def _represent(dumper: yaml.SafeDumper, data: dict[str, Any]) -> yaml.Node:
    is_innermost = not any(isinstance(value, (dict, list)) for value in data.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=is_innermost and len(data) <= 5)


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    is_innermost = not any(isinstance(value, (dict, list)) for value in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=is_innermost and len(str(data)) < 60)


_Dumper.add_representer(dict, _represent)
_Dumper.add_representer(list, _represent_list)


def write_yaml(document: dict[str, Any], path: Path) -> None:
    """Write a mapping as YAML that people can read; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=128, allow_unicode=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
