"""Rows of whole requests as questions to GenZ: which deployment a row measured, and why some cannot be asked about."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from genz.errors import GenZError, UnknownNameError
from genz.specs import catalog
from genz.specs.hardware import Chip, NetworkDimension, Platform
from genz.validation.sources import Source, known_sources

STATIC = "static_batch"
# Rows without lengths are of short prompts, and of answers whose length hardly moves the time of a token.
UNSTATED_PROMPT, UNSTATED_OUTPUT = 32, 256


class NotAnsweredError(Exception):
    """Why a row has no prediction."""


@dataclass(frozen=True)
class Request:
    """One measured deployment: what `genz.predict` is asked, and the numbers that turn its answer into metrics."""

    model: str
    platform: Platform = field(compare=False)
    platform_name: str
    engine: str
    precision: str
    prompt: int
    output: int
    batch: int
    routing: str
    degrees: tuple[tuple[str, int], ...]

    @property
    def asked(self) -> dict[str, Any]:
        """Arguments of `genz.predict`."""
        return {
            "model": self.model,
            "platform": self.platform,
            "engine": self.engine,
            "precision": self.precision,
            "input": self.prompt,
            "output": self.output,
            "batch": self.batch,
            "routing": self.routing,
            "max_model_len": self.prompt + self.output,
            **dict(self.degrees),
        }


def request_of(row: Any) -> Request:
    """The deployment that a row (with the columns of the `e2e` schema as attributes) measured.

    Raises `NotAnsweredError`, or `GenZError` for names that the catalog does not have.
    """
    if isinstance(row.load_kind, str) and row.load_kind != STATIC:
        raise NotAnsweredError(f"measured under load ({row.load_kind}), which GenZ does not simulate")
    if row.mode == "disagg":
        raise NotAnsweredError("prefill and decode in pools of their own")
    source, names = known_sources().of(row.source), known_sources()
    if not isinstance(row.framework, str):
        raise NotAnsweredError("framework is missing")
    engine = catalog.engine(names.engine(row.framework)).name
    batch = _count(row.batch_or_concurrency, 1)
    if batch > 1 and engine in source.batch_is_a_label:
        raise NotAnsweredError("its batch is a label: the engine ran one request after the other")
    chip = chip_of(row.hardware, source)
    devices, degrees = layout_of(row, source, engine)
    platform = platform_of(chip, devices)
    return Request(
        model=catalog.model(names.model(row.model)).name,
        platform=platform,
        platform_name=platform.name,
        engine=engine,
        precision=names.precision(row.weight_dtype) if isinstance(row.weight_dtype, str) else "auto",
        prompt=max(_count(row.input_tokens, UNSTATED_PROMPT), 1),
        output=max(_count(row.output_tokens, UNSTATED_OUTPUT), 1),
        batch=max(batch, 1),
        routing=source.routing,
        degrees=tuple(degrees.items()),
    )


def _count(value: float, default: int) -> int:
    return default if isnan(value) else round(value)


def chip_of(hardware: str, source: Source) -> Chip:
    """The chip of a row: by its name, or as the card that stands in brackets behind the name of a computer."""
    name = source.hardware.get(catalog.normalise(hardware), hardware)
    inside = re.search(r"\(([^()]*)\)", name)
    candidates = [name] if inside is None else [name, inside[1], inside[1].partition(" ")[2]]
    first: UnknownNameError | None = None
    for candidate in candidates:
        try:
            return catalog.chip(candidate)
        except UnknownNameError as error:
            first = first or error
        except GenZError:  # what is left of a name may be empty
            continue
    raise first or NotAnsweredError(f"hardware {hardware!r} is no name")


def layout_of(row: Any, source: Source, engine: str) -> tuple[int, dict[str, int]]:
    """Number of devices and the degrees of parallelism, as columns or notes tell."""
    notes = row.notes if isinstance(row.notes, str) else ""
    tensor = row.tp
    if isnan(tensor) and source.notes_pattern and (found := re.search(source.notes_pattern, notes)):
        tensor = float(found[1])
    if isnan(tensor):
        tensor = float(source.tensor_parallel.get(catalog.normalise(row.model), "nan"))
    stages = 1 if isnan(row.pp) else int(row.pp)
    given = stages * (1 if isnan(tensor) else int(tensor))
    devices = given if isnan(row.n_devices) else int(row.n_devices)
    # "parallelism=PP" must not be taken for "parallelism=Pipeline ...": the whole item counts.
    stated = next((degrees for text, degrees in source.layouts.items() if text in notes.split("; ")), None)
    if stated is not None:
        return devices, {name: devices if degree == "all" else degree for name, degree in stated.items()}
    if source.splits_layers(engine):
        return devices, {"pp": devices, "micro_batches": 1} if devices > 1 else {}
    if isnan(tensor):
        tensor = devices / stages
    degrees = {"tp": int(tensor), "pp": stages}
    if not isnan(row.ep) and row.ep > 1:
        degrees["ep"] = int(row.ep)
    used = degrees["tp"] * stages * (1 if isnan(row.dp) else int(row.dp))
    if used != devices:
        raise NotAnsweredError(f"{devices} devices in degrees of parallelism that use {used}")
    return devices, degrees


def platform_of(chip: Chip, devices: int) -> Platform:
    """So many chips: on their scale-up link, and in nodes on the scale-out link where that does not join them all."""
    inside, between = chip.links.get("scale_up"), chip.links.get("scale_out")
    if inside is None or between is None or devices <= inside.domain or devices % inside.domain:
        return catalog.platform_of(chip, devices)
    node = catalog.platform_of(chip, inside.domain)
    outer = NetworkDimension(
        link="scale_out",
        topology="switch",
        size=devices // inside.domain,
        bandwidth=between.bandwidth,
        latency=between.latency,
        technology=between.technology,
    )
    technologies = dict(node.technologies)
    if between.technology:
        technologies[between.technology] = catalog.technology(between.technology)
    return node.model_copy(
        update={
            "name": f"{devices}x {chip.name}",
            "devices": devices,
            "network": (*node.network, outer),
            "technologies": technologies,
        }
    )
