"""The packages of the extra `genz[calibrate]`: loaded when they are needed, and asked for by name when they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from genz.errors import InvalidValueError, UnsupportedError

INSTALL = 'pip install "genz[calibrate]"'
DEVICES = ("auto", "cpu", "cuda", "mps")


def load(package: str, purpose: str) -> Any:
    """A package of the extra. Raises `UnsupportedError`, which says how to install it, where it is missing."""
    try:
        return import_module(package)
    except ImportError as error:
        raise UnsupportedError(
            f"{purpose} needs the package {package!r}, which cannot be imported: {error}", field=package, hint=f"run: {INSTALL}"
        ) from None


def load_torch() -> Any:
    """PyTorch, which runs what is measured. Raises `UnsupportedError` where it is missing."""
    return load("torch", "measuring this machine")


def choose_device(torch: Any, wanted: str) -> str:
    """The device to measure: what is wanted, or the fastest kind that PyTorch finds. ROCm's GPUs count as "cuda".

    Raises `InvalidValueError` for a device that PyTorch does not have here.
    """
    if wanted not in DEVICES:
        raise InvalidValueError(f"device: {wanted!r} is not known", field="device", value=wanted, allowed=", ".join(DEVICES))
    present = [name for name, is_there in _present(torch).items() if is_there]
    if wanted == "auto":
        return present[0]
    if wanted not in present:
        raise InvalidValueError(
            f"device: PyTorch {torch.__version__} finds no {wanted!r} here",
            field="device",
            value=wanted,
            allowed=", ".join(present),
            hint="a build of PyTorch for that device may be missing" if wanted == "cuda" else None,
        )
    return wanted


def _present(torch: Any) -> dict[str, bool]:
    """{device: whether it is there}, the fastest kind first."""
    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
