"""`genz validate`: predicted against measured."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from genz.cli import echo_json
from genz.errors import InvalidValueError

KINDS = ("ops", "collectives", "e2e")
FIDELITIES = ("calibrated", "engine", "roofline")
# What rows are often grouped by; any other column of the file will do.
COLUMNS = (
    *("source", "hardware", "op", "metric", "engine", "dtype", "kernel", "version", "model", "batch", "kind"),
    *("framework", "collective", "notes", "n_devices", "tp", "quality"),
)


class Columns(click.ParamType):  # type: ignore[type-arg]
    """Names of columns, with commas between them."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ARG002
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not all(names):
            raise InvalidValueError(
                f"--by: {value!r} is not allowed", field="by", value=value, allowed="columns such as hardware,op,engine"
            )
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        begun, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{begun}{comma}{name}") for name in COLUMNS if name.startswith(last)]


@click.command()
@click.argument("measurements", nargs=-1, required=True, type=click.Path())
@click.option("--kind", type=click.Choice(KINDS), help="What was measured.  [default: as the columns tell]")
@click.option(
    "--by",
    type=Columns(),
    help="Columns to group by, such as hardware,op,engine.  [default: source,hardware,op or metric,framework]",
)
@click.option("--out", type=click.Path(), help="Folder to write scores, refusals and a page of plots to.")
@click.option(
    "--fidelity",
    type=click.Choice(FIDELITIES),
    default="calibrated",
    show_default=True,
    help="What to hold against the measurements.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a group; errors are fractions.")
def validate(
    measurements: tuple[str, ...],
    *,
    kind: str | None,
    by: tuple[str, ...] | None,
    out: str | None,
    fidelity: str,
    as_json: bool,
) -> None:
    """Hold predictions against MEASUREMENTS: Parquet, CSV or JSON-lines files in the tidy schema.

    Every row is answered, or counted with the reason why not. Errors are relative to what was measured.

    \b
    genz validate ops.parquet --by hardware,op
    genz validate mine.csv --kind ops --out report --json
    """
    from genz.validation.report import page, write
    from genz.validation.validate import validate as run

    report = run(measurements, kind=kind, by=by, fidelity=fidelity)
    written = write(report, out) if out is not None else []
    if as_json:
        echo_json(report.to_list())
        for warning in report.warnings:
            click.echo(f"warning: {warning}", err=True)
        return
    click.echo(page(report))
    if written:
        click.echo("\nwritten: " + ", ".join(str(path) for path in written))
        if not any(path.suffix == ".html" for path in written):
            click.echo("no plots: Plotly is not installed (pip install 'genz[plots]')")
