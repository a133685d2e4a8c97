"""What a sweep will take, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from genz.errors import InvalidValueError
from genz.explore.blocks import Pricer
from genz.explore.space import Space
from genz.units import format_bytes, format_count

MAX_CONFIGURATIONS = 10**9
MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86400.0, 365.25 * 86400.0
# A structure that cannot be settled says nothing of the time that others take.
TRIED = 20


@dataclass(frozen=True)
class Estimate:
    """Configurations before conditions, and what pricing all of them would take on one core [s] and on the disk [B]."""

    configurations: int
    structures: int
    seconds: float
    bytes: float

    def __str__(self) -> str:
        looped = f" of {self.structures:,} structures" if self.structures > 1 else ""
        return (
            f"{count(self.configurations)} configurations{looped}: about {duration(self.seconds)} "
            f"and at most {format_bytes(self.bytes, digits=2)}"
        )


def count(number: int) -> str:
    """A count, with the short form of a large one behind it."""
    return f"{number:,}" if number < 10**6 else f"{number:,} ({format_count(number)})"


def duration(seconds: float) -> str:
    """A time as people say it."""
    for unit, name in ((YEAR, "years"), (DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 1 else "a second"


def estimate(space: Space, *, workers: int = 1) -> Estimate:
    """Price one block that can be, twice, and multiply."""
    mesh = space.mesh
    pricer = Pricer(space)
    step = max(1, mesh.structures // TRIED)
    per_structure = mesh.blocks // mesh.structures
    seconds, size = 0.0, 0.0
    for structure in range(0, mesh.structures, step):
        block = mesh.block(structure * per_structure)
        pricer.table(block)  # the first time loads what all others share
        begun = perf_counter()
        table = pricer.table(block)
        seconds = max(seconds, perf_counter() - begun)
        size = max(size, table.nbytes / max(1, table.num_rows))
        if table.num_rows and table["feasible"].combine_chunks().true_count:
            break
    return Estimate(mesh.rows, mesh.structures, seconds * mesh.blocks / workers, size * mesh.rows)


def check_size(found: Estimate, most: int = MAX_CONFIGURATIONS) -> None:
    """Raise `InvalidValueError` for more configurations than are allowed, with what they would take."""
    if found.configurations > most:
        raise InvalidValueError(
            f"this study has {found}",
            field="axes",
            value=found.configurations,
            allowed=f"at most {most:,} configurations",
            hint="take fewer values, or allow more with max_configurations (on the command line --max-configurations)",
        )
