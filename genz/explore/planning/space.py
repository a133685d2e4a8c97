"""The space of replicas: every size, layout, precision and engine that is legal and fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from genz.errors import InvalidValueError, UnsupportedError
from genz.explore.planning.asked import Asked
from genz.explore.planning.machines import USUAL_BOUND, Candidate
from genz.explore.planning.pools import LINK
from genz.explore.planning.replica import Replica
from genz.inference.question import settle_question
from genz.specs.engine import Engine
from genz.specs.layouts import layouts
from genz.specs.precision import Precision


@dataclass(frozen=True)
class Family:
    """All replicas of one candidate in one precision on one engine that fit, of sizes up to `bound` devices."""

    candidate: Candidate
    precision: str
    engine: str
    bound: int
    replicas: tuple[Replica, ...]


@dataclass
class Space:
    """What was searched: families of replicas, and what could not be, with the reason."""

    families: list[Family] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    layouts: int = 0


def build_space(asked: Asked) -> Space:
    """Every family that was asked for.

    Layouts of more than one replica are left out as they are copies of a smaller layout, and copies are counted apart.
    Raises the error of the first family where not one can be built.
    """
    space, refused = Space(), []
    for candidate in asked.candidates:
        for precision in asked.precisions:
            for engine in asked.engines:
                try:
                    space.families.append(_family(asked, candidate, precision, engine, space))
                except UnsupportedError as error:
                    refused.append(error)
                    space.notes.append(f"{candidate.name}: {error.message}")
    if not space.families and refused:
        raise refused[0]
    chips = {family.candidate.chip.name: family.candidate.chip for family in space.families}
    for name, chip in chips.items():
        if asked.disaggregated and LINK not in chip.links:
            space.notes.append(f"{name} has no scale-out link to send caches over: no pools for prefill and decode")
    return space


def _family(asked: Asked, candidate: Candidate, precision: str | Precision, engine: str | Engine, space: Space) -> Family:
    settled = {**asked.settled, "precision": precision, "engine": engine}
    checked = settle_question(asked.model, candidate.part(1), **settled)
    _check_beams(asked, int(checked.workload.beams))
    bound = min(asked.max_devices_per_replica or USUAL_BOUND, candidate.reach)
    found: list[Replica] = []
    searched = 0
    while True:
        for size in candidate.sizes(bound):
            if searched < size <= asked.most_devices:
                found += _of_size(asked, candidate, size, settled, space)
        searched = bound
        if found or asked.max_devices_per_replica is not None or bound >= min(candidate.reach, asked.most_devices):
            break
        bound = min(2 * bound, candidate.reach)
    return Family(candidate, checked.widths.name, checked.engine.name, bound, tuple(found))


def _check_beams(asked: Asked, beams: int) -> None:
    if beams > asked.max_num_seqs:
        raise InvalidValueError(
            f"max_num_seqs: {asked.max_num_seqs} sequences at once do not hold the {beams} beams of one request",
            field="max_num_seqs",
            value=asked.max_num_seqs,
            allowed=f"at least {beams}",
        )


def _of_size(asked: Asked, candidate: Candidate, size: int, settled: dict[str, Any], space: Space) -> Iterator[Replica]:
    """Replicas on so many devices that fit."""
    platform = candidate.part(size)
    for laid in layouts(asked.model, size):
        if laid.replicas > 1:
            continue
        degrees: dict[str, Any] = {"tp": laid.tensor, "pp": laid.pipeline, "dp": laid.data, "ep": laid.expert}
        try:
            question = settle_question(asked.model, platform, batch=laid.data, **degrees, **settled)
        except InvalidValueError:  # a group that does not lie evenly on the network
            continue
        space.layouts += 1
        most = asked.max_num_seqs // int(question.workload.beams)
        replica = Replica(candidate, question, asked.prices[candidate.name], most)
        if replica.largest_batch:
            yield replica
