"""Which family of kernels answers for an operator or a collective of a table."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from genz.errors import nearest
from genz.measurements.family import Family
from genz.specs.hardware import Chip

# Homes of the families: module and names. All are loaded when the first operator is looked up.
_HOMES: dict[str, tuple[str, ...]] = {
    "gemm": ("GEMM",),
    "elementwise": ("ELEMENTWISE",),
    "attention": ("PREFILL_ATTENTION", "DECODE_ATTENTION", "LATENT_PREFILL", "LATENT_DECODE"),
    "latent_module": ("LATENT_PREFILL_MODULE", "LATENT_DECODE_MODULE"),
    "experts": ("EXPERTS",),
    "state_space": ("MAMBA2", "GATED_DELTA_NET"),
    "collectives": ("COLLECTIVES",),
    "dispatch": ("DISPATCH",),
}
# Families that take another's place on chips of one kind: by the other's name and the kind.
_INSTEAD: dict[tuple[str, str], tuple[str, str]] = {("gemm", "cpu"): ("cpu_gemm", "CPU_GEMM")}
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


@cache
def _stand_ins() -> dict[tuple[str, str], Family]:
    return {place: getattr(import_module(f"genz.measurements.{module}"), name) for place, (module, name) in _INSTEAD.items()}


def every_family() -> list[Family]:
    """All families, each once: those of operators, and those that stand in for them on some kind of chip."""
    return list({family.name: family for family in (*families().values(), *_stand_ins().values())}.values())


def on_chip(family: Family, chip: Chip) -> Family:
    """The family itself, or the one that takes its place on chips of that kind."""
    return _stand_ins().get((family.name, chip.kind_of_chip), family)


def serves(family: Family, chip: Chip) -> bool:
    """Whether a family prices its operators on a chip, or leaves them to another one."""
    kinds = [kind for (_, kind), stand_in in _stand_ins().items() if stand_in is family]
    return on_chip(family, chip) is family and (not kinds or chip.kind_of_chip in kinds)


def unknown_operator(op: str) -> str:
    """Why an operator is not answered, with what is known, the nearest first."""
    known = sorted(families())
    listed = [*nearest(op, known), *known]
    some = list(dict.fromkeys(listed))[:SHOWN]
    more = f" and {len(known) - len(some)} more" if len(known) > len(some) else ""
    return f"op {op!r} is not known; known: {', '.join(some)}{more}"
