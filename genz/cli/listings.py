"""`genz models`, `hardware`, `engines`, `precisions` and `use-cases`: what the catalog holds."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import check_output, output_options
from genz.errors import nearest
from genz.inference.report import seconds
from genz.specs import catalog
from genz.specs.hardware import Chip
from genz.specs.huggingface import ENDLESS
from genz.units import format_bytes, format_count, format_si

Row = dict[str, Any]
NOTHING_MATCHES = 1  # exit status, as of grep
FILTER_HELP = "\n\nFILTER keeps the rows that contain it; where none does, the exit status is 1."


@dataclass(frozen=True)
class Columns:
    """How rows are shown: their cells, and which columns are words."""

    header: Sequence[str]
    words: Collection[int]
    cells: Callable[[Row], Sequence[str]]
    title: str = ""
    shows: Callable[[Row], bool] = lambda _: True

    def tables(self, rows: Sequence[Row]) -> list[Any]:
        """One table, or none where there is nothing to show."""
        from genz.inference.report import table

        cells = [self.cells(row) for row in rows if self.shows(row)]
        return [table(self.title, self.header, cells, words=self.words)] if cells else []


def _listing(command: Callable[[], list[Row]], *parts: Columns) -> click.Command:
    @click.command(name=command.__name__.strip("_").replace("_", "-"), help=f"{command.__doc__}{FILTER_HELP}")
    @click.argument("wanted", metavar="[FILTER]", required=False)
    @output_options(json="Print a JSON list.", csv="Print CSV.")
    def run(wanted: str | None, *, as_json: bool, as_csv: bool) -> None:
        check_output(as_json, as_csv)
        listed = command()
        rows = [row for row in listed if wanted is None or _matches(row, wanted)]
        if as_json:
            echo_json(rows)
        elif as_csv:
            writer = csv.DictWriter(sys.stdout, fieldnames=list(listed[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        elif rows:
            from genz.inference.report import WIDE, render

            click.echo(render(*(table for part in parts for table in part.tables(rows)), width=WIDE))
        if not rows:
            close = nearest(wanted or "", [row["name"] for row in listed])
            click.echo(f"nothing matches {wanted!r}" + (f"; did you mean {close[0]!r}?" if close else ""), err=True)
            raise click.exceptions.Exit(NOTHING_MATCHES)

    return run


def _matches(row: Row, wanted: str) -> bool:
    return any(wanted.lower() in str(value).lower() for value in row.values())


def _models() -> list[Row]:
    """List the models of the catalog."""
    found = []
    for name in catalog.names("model"):
        spec = catalog.model(name)
        found.append(
            {
                "name": spec.name,
                "title": spec.title,
                "model_type": spec.model_type,
                "parameters": spec.parameters,
                "active_parameters": spec.active_parameters,
                "layers": len(spec.layers),
                "max_context": spec.max_context,
                "stored_as": spec.precision.name if spec.precision else spec.dtype,
            }
        )
    return found


def _hardware() -> list[Row]:
    """List the chips and platforms of the catalog."""
    found = []
    for name in catalog.names("chip"):
        chip = catalog.chip(name)
        domain = chip.links["scale_up"].domain if "scale_up" in chip.links else 1
        found.append({"name": chip.name, "title": chip.title, "kind": "chip", **_device(chip, 1), "scale_up_domain": domain})
    for name in catalog.names("platform"):
        spec = catalog.platform(name)
        found.append(
            {
                "name": spec.name,
                "title": spec.title,
                "kind": "platform",
                **_device(spec.chip, spec.devices),
                "scale_up_domain": spec.scale_up_size,
            }
        )
    return found


def _device(chip: Chip, devices: int) -> Row:
    """The figures of one device."""
    widest = "bf16" if "bf16" in chip.matrix_flops else next(iter(chip.matrix_flops))
    return {
        "chip": chip.name,
        "devices": devices,
        "vendor": chip.vendor,
        "year": chip.year,
        "type": widest,
        "matrix_flops": chip.matrix_flops[widest],
        "fp8_flops": chip.matrix_flops.get("fp8"),
        "memory_bytes": chip.main_memory.capacity,
        "memory_bandwidth": chip.main_memory.bandwidth,
        "tdp_w": chip.power.tdp,
    }


def _engines() -> list[Row]:
    """List the serving engines."""
    found = []
    for name in catalog.names("engine"):
        spec = catalog.engine(name)
        found.append({"name": spec.name, "title": spec.title, "fused": ", ".join(spec.fused)})
    return found


def _precisions() -> list[Row]:
    """List the precisions."""
    found = []
    for name in catalog.names("precision"):
        spec = catalog.precision(name)
        found.append(
            {"name": spec.name, "title": spec.title, "weight_bytes": spec.weights.bytes_per_element, "compute": spec.compute}
        )
    return found


def _use_cases() -> list[Row]:
    """List the use cases with their lengths and objectives."""
    found = []
    for name in catalog.names("use_case"):
        spec = catalog.use_case(name)
        found.append(
            {
                "name": spec.name,
                "title": spec.title,
                "input_tokens": spec.input_tokens,
                "output_tokens": spec.output_tokens,
                "beams": spec.beams,
                "ttft_s": spec.slo.ttft,
                "tpot_s": spec.slo.tpot,
            }
        )
    return found


models = _listing(
    _models,
    Columns(
        ("name", "parameters", "active", "layers", "context", "stored as"),
        (0, 5),
        lambda r: (
            r["name"],
            format_count(r["parameters"]),
            format_count(r["active_parameters"]),
            str(r["layers"]),
            "any" if r["max_context"] >= ENDLESS else f"{r['max_context']:,}",
            r["stored_as"],
        ),
    ),
)
hardware = _listing(
    _hardware,
    Columns(
        ("name", "matrix rate", "memory", "bandwidth", "power", "domain"),
        (0,),
        lambda r: (
            r["name"],
            f"{format_si(r['matrix_flops'], 'FLOP/s')} {r['type']}",
            format_bytes(r["memory_bytes"], digits=3),
            format_si(r["memory_bandwidth"], "B/s"),
            format_si(r["tdp_w"], "W"),
            str(r["scale_up_domain"]),
        ),
        title="Chips",
        shows=lambda r: r["kind"] == "chip",
    ),
    Columns(
        ("name", "devices", "domain", "title"),
        (0, 1, 3),
        lambda r: (r["name"], f"{r['devices']}x {r['chip']}", str(r["scale_up_domain"]), r["title"]),
        title="Platforms",
        shows=lambda r: r["kind"] == "platform",
    ),
)
engines = _listing(_engines, Columns(("name", "title", "fuses"), (0, 1, 2), lambda r: (r["name"], r["title"], r["fused"])))
precisions = _listing(
    _precisions,
    Columns(
        ("name", "title", "B/weight", "computes in"),
        (0, 1, 3),
        lambda r: (r["name"], r["title"], f"{r['weight_bytes']:.4g}", r["compute"]),
    ),
)
use_cases = _listing(
    _use_cases,
    Columns(
        ("name", "title", "input", "output", "beams", "TTFT", "TPOT"),
        (0, 1),
        lambda r: (
            r["name"],
            r["title"],
            f"{r['input_tokens']:,}",
            f"{r['output_tokens']:,}",
            str(r["beams"]),
            seconds(r["ttft_s"]),
            seconds(r["tpot_s"]),
        ),
    ),
)
