"""`genz models`, `hardware`, `engines`, `precisions` and `use-cases`: what the catalog holds."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from genz.cli import echo_json
from genz.specs import catalog
from genz.units import format_bytes, format_count, format_si

Row = dict[str, Any]


def _listing(command: Callable[[], list[Row]], shown: Callable[[Row], Sequence[str]], header: Sequence[str]) -> click.Command:
    @click.command(name=command.__name__.replace("_", "-"), help=command.__doc__)
    @click.argument("filter", required=False)
    @click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
    def run(filter: str | None, as_json: bool, as_csv: bool) -> None:
        rows = [row for row in command() if filter is None or filter.lower() in str(row).lower()]
        if as_json:
            echo_json(rows)
        elif as_csv:
            writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)
        elif rows:
            from genz.inference.report import render, table

            click.echo(render(table("", header, [shown(row) for row in rows], left=2), width=130))
        else:
            click.echo(f"nothing matches {filter!r}", err=True)

    return run


def _models() -> list[Row]:
    """List the models of the catalog; FILTER keeps those whose row contains it."""
    found = []
    for name in catalog.names("model"):
        spec = catalog.model(name)
        found.append({
            "name": spec.name, "title": spec.title, "model_type": spec.model_type, "parameters": spec.parameters,
            "active_parameters": spec.active_parameters, "layers": len(spec.layers), "max_context": spec.max_context,
            "stored_as": spec.precision.name if spec.precision else spec.dtype,
        })  # fmt: skip
    return found


def _hardware() -> list[Row]:
    """List the chips and platforms of the catalog; FILTER keeps those whose row contains it."""
    found = []
    for name in catalog.names("chip"):
        chip = catalog.chip(name)
        widest = "bf16" if "bf16" in chip.matrix_flops else next(iter(chip.matrix_flops))
        found.append({
            "name": chip.name, "title": chip.title, "vendor": chip.vendor, "year": chip.year, "type": widest,
            "matrix_flops": chip.matrix_flops[widest], "fp8_flops": chip.matrix_flops.get("fp8"),
            "memory_bytes": chip.main_memory.capacity, "memory_bandwidth": chip.main_memory.bandwidth, "tdp_w": chip.power.tdp,
            "scale_up_domain": chip.links["scale_up"].domain if "scale_up" in chip.links else 1,
        })  # fmt: skip
    for name in catalog.names("platform"):
        platform = catalog.platform(name)
        found.append({**_platform_row(platform)})
    return found


def _platform_row(platform: Any) -> Row:
    chip = platform.chip
    widest = "bf16" if "bf16" in chip.matrix_flops else next(iter(chip.matrix_flops))
    return {
        "name": platform.name, "title": f"{platform.devices}x {chip.name}", "vendor": chip.vendor, "year": chip.year, "type": widest,
        "matrix_flops": chip.matrix_flops[widest], "fp8_flops": chip.matrix_flops.get("fp8"),
        "memory_bytes": chip.main_memory.capacity, "memory_bandwidth": chip.main_memory.bandwidth, "tdp_w": chip.power.tdp,
        "scale_up_domain": platform.scale_up_size,
    }  # fmt: skip


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
        found.append({"name": spec.name, "title": spec.title, "weight_bytes": spec.weights.bytes_per_element, "compute": spec.compute})
    return found


def _use_cases() -> list[Row]:
    """List the use cases with their lengths and objectives."""
    found = []
    for name in catalog.names("use_case"):
        spec = catalog.use_case(name)
        found.append({"name": spec.name, "title": spec.title, "input_tokens": spec.input_tokens, "output_tokens": spec.output_tokens,
                      "beams": spec.beams, "ttft_s": spec.slo.ttft, "tpot_s": spec.slo.tpot})  # fmt: skip
    return found


models = _listing(
    _models,
    lambda r: (r["name"], r["model_type"], format_count(r["parameters"]), format_count(r["active_parameters"]), str(r["layers"]),
               f"{r['max_context']:,}", r["stored_as"]),
    ("name", "model_type", "parameters", "active", "layers", "context", "stored as"),
)  # fmt: skip
hardware = _listing(
    _hardware,
    lambda r: (r["name"], r["title"], str(r["year"]), f"{format_si(r['matrix_flops'], 'FLOP/s')} {r['type']}",
               format_bytes(r["memory_bytes"], digits=3), format_si(r["memory_bandwidth"], "B/s"), format_si(r["tdp_w"], "W"),
               str(r["scale_up_domain"])),
    ("name", "", "year", "matrix rate", "memory", "bandwidth", "power", "domain"),
)  # fmt: skip
engines = _listing(_engines, lambda r: (r["name"], r["title"], r["fused"]), ("name", "", "fuses"))
precisions = _listing(
    _precisions, lambda r: (r["name"], r["title"], f"{r['weight_bytes']:.4g}", r["compute"]), ("name", "", "B/weight", "computes in")
)
use_cases = _listing(
    _use_cases,
    lambda r: (r["name"], r["title"], str(r["input_tokens"]), str(r["output_tokens"]), str(r["beams"]),
               format_si(r["ttft_s"], "s"), format_si(r["tpot_s"], "s")),
    ("name", "", "input", "output", "beams", "TTFT", "TPOT"),
)  # fmt: skip
