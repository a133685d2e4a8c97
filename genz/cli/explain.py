"""`genz explain`."""

from __future__ import annotations

from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import deployment_options
from genz.errors import InvalidValueError

# Closed forms are of the roofline, and of no price.
_NOT_ASKED = ("fidelity", "price", "energy_price", "carbon_intensity")


@click.command()
@deployment_options
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    help="What to leave open: batch, context, output, bandwidth, flops, vector_flops, cache_bandwidth, capacity, "
    "link_bandwidth, link_latency; give it several times.  [default: batch, context, bandwidth, flops]",
)
@click.option("--latex", "as_latex", is_flag=True, help="Print equations in LaTeX.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(model: str, platform: str, *, symbols: tuple[str, ...], as_latex: bool, as_json: bool, **asked: Any) -> None:
    """Print the closed forms behind a prediction of MODEL, at the roofline.

    \b
    genz explain llama-3.1-70b --platform "8x h100" --tp 8 --isl 2048 --osl 256
    genz explain llama-3.1-8b --platform h100 --use-case chat --symbol context
    """
    from genz.explore.closed_forms import USUAL_SYMBOLS
    from genz.explore.closed_forms import explain as run

    if as_latex and as_json:
        raise InvalidValueError("--latex and --json exclude each other", field="--latex", value="--json", allowed="one of them")
    found = run(model, platform, symbols=symbols or USUAL_SYMBOLS, **asked)
    if as_json:
        echo_json(found.to_dict())
    else:
        click.echo(found.to_latex() if as_latex else str(found))


explain.params = [parameter for parameter in explain.params if parameter.name not in _NOT_ASKED]
