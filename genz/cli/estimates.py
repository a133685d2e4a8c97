"""`genz estimates`: the figures of the catalog that nobody has published or nobody has read again."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import check_output, output_options
from genz.cli.show import figure_text, leaves
from genz.specs import catalog
from genz.specs.base import Spec
from genz.specs.model import ModelSpec

Row = dict[str, Any]
KINDS = ("chip", "platform", "technology", "engine", "use_case", "model")
COLUMNS = ("kind", "name", "figure", "value", "doubt", "remark", "source")
# Words by which a citation says that it was written from memory.
FROM_MEMORY = ("recalled", "from memory", "not re-read")
ESTIMATE, RECALLED = "estimate", "recalled"


@click.command()
@click.argument("wanted", metavar="[FILTER]", required=False)
@click.option("--kind", type=click.Choice([kind.replace("_", "-") for kind in KINDS]), help="Those of one kind alone.")
@click.option("--all", "in_full", is_flag=True, help="Every figure, also without a filter.")
@output_options(json="Print a JSON list, one object a figure.", csv="Print one CSV row a figure.")
def estimates(wanted: str | None, *, kind: str | None, in_full: bool, as_json: bool, as_csv: bool) -> None:
    """List the figures that are estimates, or whose source was recalled and not read again.

    Without FILTER, how many there are in each file; with it (a part of a name, a figure or a remark), each of them.

    \b
    genz estimates h100
    genz estimates --kind chip power
    """
    check_output(as_json, as_csv)
    kinds = KINDS if kind is None else (kind.replace("-", "_"),)
    rows = [row for row in _doubts(kinds) if wanted is None or any(wanted.lower() in str(v).lower() for v in row.values())]
    if as_json:
        echo_json(rows)
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif not rows:
        click.echo(f"nothing that matches {wanted!r} is an estimate" if wanted else "nothing is an estimate")
    else:
        click.echo(_figures(rows) if wanted or in_full else _counts(rows))


def _doubts(kinds: tuple[str, ...]) -> Iterator[Row]:
    """Every figure in doubt, by kind and name."""
    for kind in kinds:
        for name in catalog.names(kind):
            spec = getattr(catalog, kind)(name)
            yield from _of_model(spec) if isinstance(spec, ModelSpec) else _of_spec(kind, spec)


def _of_spec(kind: str, spec: Spec) -> Iterator[Row]:
    values = dict(leaves(spec))
    for path, origin in spec.provenance.items():
        doubt = _doubt(origin.estimate, f"{origin.source} {origin.note}")
        if doubt:
            value = figure_text(path, values[path]) if path in values else ""
            yield _row(kind, spec.name, path, value, doubt, origin.note, origin.source)


def _of_model(spec: ModelSpec) -> Iterator[Row]:
    """A model's configuration is one source, its published size another."""
    for key, citation in spec.sources.items():
        if _doubt(False, citation):
            yield _row("model", spec.name, key, "", RECALLED, "", citation)
    if spec.published is not None and spec.published.estimate:
        size = f"{spec.published.total:,.0f}"
        yield _row("model", spec.name, "published_parameters", size, ESTIMATE, "", spec.published.source)


def _doubt(estimate: bool, words: str) -> str:
    if estimate:
        return ESTIMATE
    return RECALLED if any(word in words.lower() for word in FROM_MEMORY) else ""


def _row(*cells: str) -> Row:
    return dict(zip(COLUMNS, cells, strict=True))


def _figures(rows: list[Row]) -> str:
    from genz.inference.report import WIDE, render, table

    header = ("name", "figure", "value", "doubt", "remark or source")
    cells = [(row["name"], row["figure"], row["value"], row["doubt"], row["remark"] or row["source"]) for row in rows]
    return render(table("", header, cells, words=(0, 1, 3, 4)), width=WIDE)


def _counts(rows: list[Row]) -> str:
    from genz.inference.report import render, table

    counted = Counter((row["kind"], row["name"], row["doubt"]) for row in rows)
    names = dict.fromkeys((row["kind"], row["name"]) for row in rows)
    cells = [(kind, name, str(counted[kind, name, ESTIMATE]), str(counted[kind, name, RECALLED])) for kind, name in names]
    total = f"{len(rows):,} figures in {len(names)} files; 'genz estimates NAME' tells which, and why."
    return render(table("Figures in doubt", ("kind", "name", "estimates", "recalled"), cells, words=(0, 1)), total)
