"""What makes two runs of a study the same: its text, the specifications behind its names, calibrations and GenZ itself."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import genz
from genz.errors import GenZError
from genz.explore.axes import label_of
from genz.explore.space import Space
from genz.inference.question import DEFAULT_FIDELITY
from genz.specs import calibrations
from genz.specs.catalog import roots


def identity(space: Space) -> dict[str, Any]:
    """All that the rows depend on, as JSON-ready data."""
    told = space.study.to_dict()
    return {
        "study": told.pop("study"),
        "genz": genz.__version__,
        **told,
        "specifications": _specifications(space),
        "calibrations": calibrations_digest() if is_calibrated(space) else None,
    }


def is_calibrated(space: Space) -> bool:
    """Whether any row is priced with calibrated kernels."""
    asked = next((axis.values for axis in space.study.axes if axis.target == "fidelity"), (DEFAULT_FIDELITY,))
    return "calibrated" in asked


def _specifications(space: Space) -> dict[str, str]:
    """{kind and name: digest of its contents}."""
    found: dict[str, str] = {}
    for kind, specs in (("model", space.models.values()), ("platform", space.platforms.values()), *space.specs.items()):
        for spec in specs:
            name = f"{kind} {label_of(spec)}" if not isinstance(spec, GenZError) else f"{kind}: {spec.message}"
            found[name] = _digest(repr(spec).encode())
    for number, raw in enumerate(space.configurations):
        found[f"configuration {number}"] = _digest(repr(raw).encode())
    return found


def calibrations_digest() -> str:
    """A digest of all calibrations that this process finds."""
    return _digest_of(tuple(root / calibrations.FOLDER for root in roots()))


@lru_cache(maxsize=8)
def _digest_of(folders: tuple[Path, ...]) -> str:
    digest = sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _digest(contents: bytes) -> str:
    return sha256(contents).hexdigest()[:16]
