"""`genz predict`."""

from __future__ import annotations

import csv
import sys
from typing import Any

import click

from genz import units
from genz.cli import echo_json
from genz.cli.options import CatalogName, WholeNumber, limit_options, workload_options
from genz.errors import InvalidValueError


@click.command()
@click.argument("model", type=CatalogName("model", file=True))
@click.option("--platform", required=True, type=CatalogName("platform", "chip", file=True), help='Chips and their number: "8x h100-sxm".')
@click.option("--tp", "-tp", "--tensor-parallel-size", "tp", type=WholeNumber(), default=1, show_default=True, help="Devices that share each matrix.")
@click.option("--precision", "--quantization", "-q", default="auto", show_default=True, type=CatalogName("precision", file=True), help="fp8, int4, ...")
@click.option("--engine", default="vllm", show_default=True, type=CatalogName("engine", file=True), help="Serving engine.")
@workload_options
@limit_options
@click.option("--tpot", help="Say the largest batch whose TPOT is at most this, such as 30ms.")
@click.option("--operators", is_flag=True, help="Show every operator.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV row an operator.")
def predict(model: str, platform: str, tpot: str | None, operators: bool, as_json: bool, as_csv: bool, **asked: Any) -> None:
    """Predict TTFT, TPOT, throughput, memory, energy and cost of MODEL on a platform.

    MODEL is a name from the catalog, a hub id, or the path of a config.json. What does not fit in memory exits
    with status 3, the memory table, and the smallest changes that would make it fit.

    \b
    genz predict llama-3.1-70b --platform "8x h100-sxm" --tp 8 --batch 16 --isl 2048 --osl 256 --precision fp8
    genz predict ./my-model/config.json --platform l40s --use-case chat --fidelity roofline --json
    """
    from genz.inference.predict import predict as run

    if as_json and as_csv:
        raise InvalidValueError("--json and --csv exclude each other", field="--csv", value="--json", allowed="one of them")
    prediction = run(model, platform, **asked)
    goal = None if tpot is None else units.parse(tpot, units.TIME, field="tpot")
    best = None if goal is None else _largest_batch_within(prediction, goal)
    if as_json:
        data = prediction.to_dict()
        echo_json(data if goal is None else {**data, "largest_batch_within_tpot": {"tpot_s": goal, "batch": best}})
    elif as_csv:
        prediction.to_frame().to_csv(sys.stdout, index=False, quoting=csv.QUOTE_MINIMAL)
    else:
        click.echo(str(prediction))
        if goal is not None:
            click.echo(f"Largest batch with a TPOT of at most {units.format_si(goal, 's')}: {best or 'none, not even 1'}.")
        if operators:
            from genz.inference.report import operator_table

            click.echo("\n" + operator_table(prediction))


def _largest_batch_within(prediction: Any, goal: float) -> int:
    from genz.inference.limits import largest_batch_within

    if goal <= 0:
        raise InvalidValueError(f"tpot: {goal} s is not allowed", field="tpot", value=goal, allowed="more than 0 s")
    return largest_batch_within(prediction.question, tpot=goal)
