"""`genz sensitivity`."""

from __future__ import annotations

import sys
from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import check_output, deployment_options, output_options
from genz.errors import InvalidValueError


@click.command()
@deployment_options
@click.option("--metric", "metrics", multiple=True, help="Such as tpot_s; give it several times.  [default: the usual ones]")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    help="Such as chip.memory.hbm.bandwidth, network.0.latency, engine.overheads.kernel_gap or batch; give it several times.",
)
@click.option("--by", default="10%", show_default=True, help="Change each parameter by this much, too.")
@output_options(json="Print one JSON object.", csv="Print one CSV row a metric and parameter.")
def sensitivity(
    model: str,
    platform: str,
    *,
    metrics: tuple[str, ...],
    parameters: tuple[str, ...],
    by: str,
    as_json: bool,
    as_csv: bool,
    **asked: Any,
) -> None:
    """Say how much the answers for MODEL move when a figure of the machine or the request does.

    Elasticities are exact: by how many per cent a metric grows for each per cent of the parameter.

    \b
    genz sensitivity llama-3.1-70b --platform "8x h100" --tp 8 --use-case chat
    genz sensitivity llama-3.1-8b --platform h100-sxm --use-case chat \\
                     --parameter chip.memory.hbm.bandwidth --by 20%
    """
    from genz.explore.sensitivity import sensitivity as run

    check_output(as_json, as_csv)
    found = run(model, platform, metrics=metrics or None, parameters=parameters or None, by=_share(by), **asked)
    if as_json:
        echo_json(found.to_dict())
    elif as_csv:
        found.to_frame().to_csv(sys.stdout, index=False)
    else:
        click.echo(str(found))


def _share(text: str) -> float:
    """A share such as "10%" or "0.1". Raises `InvalidValueError`."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise InvalidValueError(f"--by: {text!r} is not allowed", field="by", value=text, allowed="a share such as 10% or 0.1")
    return share
