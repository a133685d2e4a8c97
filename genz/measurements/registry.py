"""Which family of kernels answers for an operator or a collective of a table."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from genz.errors import nearest
from genz.measurements.family import Family

# Homes of the families: module and names. All are loaded when the first operator is looked up.
_HOMES: dict[str, tuple[str, ...]] = {
    "gemm": ("GEMM",),
    "elementwise": ("ELEMENTWISE",),
    "attention": ("PREFILL_ATTENTION", "DECODE_ATTENTION", "LATENT_PREFILL", "LATENT_DECODE"),
    "experts": ("EXPERTS",),
    "state_space": ("MAMBA2", "GATED_DELTA_NET"),
    "collectives": ("COLLECTIVES",),
    "dispatch": ("DISPATCH",),
}
SHOWN = 12


@cache
def families() -> dict[str, Family]:
    """{operator or collective: its family}."""
    found: dict[str, Family] = {}
    for module, names in _HOMES.items():
        for name in names:
            family: Family = getattr(import_module(f"genz.measurements.{module}"), name)
            found.update(dict.fromkeys(family.ops, family))
    return found


def family_of(op: str) -> Family | None:
    """The family of an operator, none where no family knows it."""
    return families().get(op)


def unknown_operator(op: str) -> str:
    """Why an operator is not answered, with what is known, the nearest first."""
    known = sorted(families())
    listed = [*nearest(op, known), *known]
    some = list(dict.fromkeys(listed))[:SHOWN]
    more = f" and {len(known) - len(some)} more" if len(known) > len(some) else ""
    return f"op {op!r} is not known; known: {', '.join(some)}{more}"
