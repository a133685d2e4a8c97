"""Which constants a kernel is priced with: those of its own chip and engine, or of its nearest relative.

Kernels come before chips: an FP8 kernel of another generation says more about an FP8 kernel than a BF16 kernel of the
chip itself. Of what is left the nearest chip, engine, kernel and version is taken, by a distance that adds up

- the chip: 0 itself, 1 a sibling (same vendor and architecture), 3 another generation of the vendor, 6 another vendor, 9
  another kind of chip; a tenth for each year between them, 1.5 for another kind of memory;
- the engine: 2.5 for another one; the kernel: 2 for another one where both are named, 7 where kernels of a family do
  different things; a quarter for another version;
- the number format: 5 where its operands are as wide, 8 otherwise; a half for what engines add, whatever the kernels.

The relation so found ("own", "version", "kernel", "sibling", "generation", "other") sets the width of the interval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar

from genz.errors import GenZError
from genz.numerics import Number, log2, maximum
from genz.specs import catalog
from genz.specs.calibration import Bands, Cell
from genz.specs.calibrations import CalibrationFile, bands, calibrated_engines
from genz.specs.hardware import Chip
from genz.timing.kernels.constants import definitions

C = TypeVar("C")

# Kernels of these families do different things: a ring says nothing of an all-to-all, a norm little of an activation.
_UNLIKE_KERNELS = frozenset({"collectives", "dispatch", "elementwise"})
# Of these not even a wide band helps: a scan and a recurrence differ by orders of magnitude.
_KERNELS_APART = frozenset({"mamba2", "gated_delta_net"})
SIBLING, GENERATION, VENDOR, KIND = 1.0, 3.0, 6.0, 9.0
PER_YEAR, OTHER_MEMORY = 0.1, 1.5
OTHER_ENGINE, OTHER_KERNEL, UNLIKE_KERNEL, OTHER_VERSION, LIKE_FORMAT, OTHER_FORMAT = 2.5, 2.0, 7.0, 0.25, 5.0, 8.0
# Where no experiment tells how far off borrowed constants are: log of a factor of two and a half either way.
UNKNOWN_BAND = (-0.92, 0.92)
UNTRIED_VERSION = 2.0
# A version's lead over an older one is less than this: it settles ties only.
NEWEST = 1e-3
# What an engine adds to its kernels hangs little on their number format.
ENGINE, ENGINE_FORMAT = "engine", 0.5
# Formats whose operands are multiplied in like widths.
_WIDTHS = {
    "bfloat16": 16,
    "float32": 32,
    "int8_wo": 16,
    "int4_wo": 16,
    "w4a16_mxfp4": 16,
    "fp8": 8,
    "fp8_block": 8,
    "sq": 8,
    "nvfp4": 4,
    "w4a8_mxfp4_mxfp8": 8,
}


# A prediction beyond the times that were fitted has a band wider by this share for each factor of ten.
WIDENING_PER_DECADE = 0.5


@dataclass(frozen=True, eq=False)
class Selected:
    """Constants for a kernel, how they were found, and the band that this has earned.

    `band` are the 5 % and 95 % quantiles of log(measured / predicted), for times within `span` [s]. `source` names the chip,
    engine and cell.
    """

    values: dict[str, float]
    variant: str
    relation: str
    band: tuple[float, float]
    span: tuple[float, float]
    kernel: str
    source: str
    _made: dict[type, Any] = field(default_factory=dict, repr=False)

    def constants(self, kind: type[C]) -> C:
        """The values as the constants of a family of kernels; those that the file does not know keep their priors."""
        made: C | None = self._made.get(kind)
        if made is None:
            made = kind(**{d.name: self.values[d.name] for d in definitions(kind) if d.name in self.values})
            self._made[kind] = made
        return made

    def band_at(self, time: Number) -> tuple[Number, Number]:
        """The band of a predicted time, wider by the decades that it lies beyond what was fitted."""
        shortest, longest = self.span
        time = maximum(time, 1e-9 * shortest)  # a phase of no steps has calls of no time
        beyond = maximum(log2(shortest / time), log2(time / longest), 0.0) / log2(10.0)
        factor = 1 + WIDENING_PER_DECADE * beyond
        return self.band[0] * factor, self.band[1] * factor


@dataclass(frozen=True)
class _Candidate:
    distance: float
    relation: str
    chip: str
    engine: str
    cell: Cell


class _Wanted(NamedTuple):
    """The cell that would fit exactly."""

    engine: str
    version: str
    format: str
    kernel: str
    only_engine: bool


class Cells(Protocol):
    """Calibrated cells of one engine."""

    def may_hold(self, family: str) -> bool:
        """Whether there can be one of a family of kernels, as far as that is told at once."""
        ...

    def of_family(self, family: str) -> Sequence[Cell]:
        """Those of a family of kernels."""
        ...


_Kin = tuple[str, str, int, str, str]  # vendor, architecture, year, kind of chip, kind of memory ("hbm", "gddr")


def _kin(chip: Chip) -> _Kin:
    memory = (chip.main_memory.technology or "").rstrip("0123456789ex-")  # hbm2e and hbm3 are of a kind
    return (chip.vendor, chip.architecture, chip.year, chip.kind_of_chip, memory)


@dataclass(frozen=True, eq=False)
class Library:
    """Calibrated cells by chip; `bands` tell how far borrowed constants are off.

    `entries(chip)` are pairs of an engine and cells: one cell, or a file that is read when it may hold what is nearest.
    """

    chips: tuple[str, ...]
    entries: Callable[[str], Sequence[tuple[str, Cells]]]
    bands: Bands | None = None

    @lru_cache(maxsize=8192)  # noqa: B019 (there are few libraries, and each lives as long as the process)
    def nearest(self, name: str, kin: _Kin, family: str, wanted: _Wanted) -> Selected | None:
        """The nearest cell of a family for a chip of that name and kin."""
        best: _Candidate | None = None
        for other, apart in self._by_distance(name, kin, family):
            if best is not None and apart > best.distance + NEWEST:
                break
            # The engine's own cells first: they may spare the reading of the others.
            for engine, cells in sorted(self.entries(other), key=lambda entry: entry[0] != wanted.engine):
                is_another = wanted.engine not in ("", engine)
                least = apart + (OTHER_ENGINE if is_another else 0.0)
                if (wanted.only_engine and engine != wanted.engine) or (best is not None and least > best.distance + NEWEST):
                    continue
                for cell in cells.of_family(family):
                    if family in _KERNELS_APART and wanted.kernel not in ("", cell.kernel):
                        continue
                    found = _judge(cell, engine, other, apart, wanted)
                    if best is None or (found.distance, -found.cell.rows) < (best.distance, -best.cell.rows):
                        best = found
            if best is not None and best.distance + NEWEST < SIBLING:
                break
        return None if best is None else _selected(best, self.bands)

    def _by_distance(self, name: str, kin: _Kin, family: str) -> Iterator[tuple[str, float]]:
        """Chips that may have cells of a family, the chip itself first; of others its file has to be read."""
        able = self._able(family)
        if name in able:
            yield name, 0.0
        found = []
        for other in able:
            try:
                if other != name:
                    found.append((other, _apart(kin, _kin(catalog.chip(other)))))
            except GenZError:  # a chip that its owner has since renamed
                continue
        yield from sorted(found, key=lambda entry: entry[1])

    @lru_cache(maxsize=256)  # noqa: B019 (as above)
    def _able(self, family: str) -> tuple[str, ...]:
        return tuple(chip for chip in self.chips if any(cells.may_hold(family) for _, cells in self.entries(chip)))


@catalog.remembered
def shipped() -> Library:
    """All calibrations that are found: the user's, and those that GenZ ships."""

    def entries(chip: str) -> list[tuple[str, CalibrationFile]]:
        return [(engine, CalibrationFile(path)) for engine, path in calibrated_engines()[chip].items()]

    return Library(tuple(calibrated_engines()), entries, bands())


def select(
    chip: Chip,
    family: str,
    *,
    engine: str = "",
    version: str = "",
    format: str = "",  # noqa: A002
    kernel: str = "",
    only_engine: bool = False,
    library: Library | None = None,
) -> Selected | None:
    """Constants of the nearest cell of a family, none if there is no cell of it at all.

    Names left empty match anything, the newest version and the best-measured kernel first. With `only_engine` no other
    engine's cells will do.
    """
    wanted = _Wanted(engine, version, format, kernel, only_engine)
    return (library or shipped()).nearest(chip.name, _kin(chip), family, wanted)


def _apart(one: _Kin, other: _Kin) -> float:
    """Distance between two different chips."""
    vendor, architecture, year, kind, memory = one
    if kind != other[3]:
        base = KIND
    elif vendor != other[0]:
        base = VENDOR
    else:
        base = SIBLING if architecture == other[1] else GENERATION
    return base + PER_YEAR * abs(year - other[2]) + (OTHER_MEMORY if memory != other[4] else 0.0)


def _judge(cell: Cell, engine: str, chip: str, apart: float, wanted: _Wanted) -> _Candidate:
    distance, relation = apart, "own"
    if apart:
        relation = "sibling" if apart < GENERATION else "generation" if apart < VENDOR else "other"
    if wanted.engine and engine != wanted.engine:
        # Where a kernel is known by what it does, another engine's is another version of it.
        weaker = "version" if cell.family in _UNLIKE_KERNELS else "kernel"
        distance, relation = distance + OTHER_ENGINE, _weaker(relation, weaker)
    if wanted.kernel and cell.kernel != wanted.kernel:
        apart = UNLIKE_KERNEL if cell.family in _UNLIKE_KERNELS else OTHER_KERNEL
        distance, relation = distance + apart, _weaker(relation, "kernel")
    if wanted.version and cell.version != wanted.version:
        distance, relation = distance + OTHER_VERSION, _weaker(relation, "version")
    if wanted.format and cell.format != wanted.format:
        if cell.family == ENGINE:
            distance, relation = distance + ENGINE_FORMAT, _weaker(relation, "version")
        else:
            alike = _WIDTHS.get(cell.format) == _WIDTHS.get(wanted.format) is not None
            distance, relation = distance + (LIKE_FORMAT if alike else OTHER_FORMAT), "other"
    return _Candidate(distance - _newness(cell.version), relation, chip, engine, cell)


RELATIONS = ("own", "version", "kernel", "sibling", "generation", "other")


def _weaker(one: str, other: str) -> str:
    return max(one, other, key=RELATIONS.index)


def _newness(version: str) -> float:
    """A tie-break far below any distance: later versions first."""
    numbers = [min(int(part), 999) for part in re.findall(r"\d+", version)[:4]]
    return NEWEST * sum(number / 1000.0 ** (i + 1) for i, number in enumerate(numbers))


def _selected(found: _Candidate, known: Bands | None) -> Selected:
    cell = found.cell
    band = cell.band if found.relation == "own" else _wider(cell.band, _band_of(known, cell, found.relation))
    parts = (found.chip, found.engine, cell.version, cell.family, cell.format, cell.kernel)
    source = " ".join(part for part in parts if part)
    return Selected(cell.values, cell.variant, found.relation, band, cell.span, cell.kernel, source)


def _band_of(known: Bands | None, cell: Cell, relation: str) -> tuple[float, float]:
    """The band that experiments found for a relation, or else for a weaker one; another version's is twice the cell's own."""
    by_relation = known.families.get(cell.family, {}) if known else {}
    if relation == "version" and relation not in by_relation:
        return UNTRIED_VERSION * cell.band[0], UNTRIED_VERSION * cell.band[1]
    for name in RELATIONS[RELATIONS.index(relation) :]:
        if name in by_relation:
            return by_relation[name].low, by_relation[name].high
    return UNKNOWN_BAND


def _wider(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])
