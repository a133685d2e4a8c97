"""`genz predict`."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

import click

from genz import units
from genz.cli import echo_json
from genz.cli.options import check_output, deployment_options, output_options
from genz.errors import InvalidValueError

if TYPE_CHECKING:
    from genz.export import Launch


@click.command()
@deployment_options
@click.option("--tpot", help="Say the largest batch whose TPOT is at most this, such as 30ms.")
@click.option("--operators", is_flag=True, help="Show every operator.")
@click.option("--export", "export_to", metavar="ENGINE", help="Show how to launch it on vllm, sglang or tensorrt-llm.")
@output_options(json="Print one JSON object.", csv="Print one CSV row an operator.")
def predict(
    model: str,
    platform: str,
    *,
    tpot: str | None,
    operators: bool,
    export_to: str | None,
    as_json: bool,
    as_csv: bool,
    **asked: Any,
) -> None:
    """Predict TTFT, TPOT, throughput, memory, energy and cost of MODEL on a platform.

    MODEL is a name from the catalog, a hub id, or the path of a config.json. What does not fit in memory exits
    with status 3, the memory table, and the smallest changes that would make it fit.

    \b
    genz predict llama-3.1-70b --platform "8x h100-sxm" --tp 8 --batch 16 \\
                 --isl 2048 --osl 256 --precision fp8
    genz predict ./my-model/config.json --platform l40s --use-case chat --json
    genz predict llama-3.1-8b --platform h100-sxm --use-case chat --export vllm
    """
    from genz.inference.predict import predict as run

    check_output(as_json, as_csv)
    for flag, value in (("tpot", tpot), ("export", export_to)):
        if as_csv and value is not None:
            problem = f"--{flag} has no place in a table of operators"
            raise InvalidValueError(problem, field=flag, value=value, hint="leave out --csv")
    goal = None if tpot is None else units.parse(tpot, units.TIME, field="tpot")
    prediction = run(model, platform, **asked)
    best = None if goal is None else _largest_batch_within(prediction, goal)
    launch = None if export_to is None else _launch(prediction, export_to)
    if as_json:
        data = _data(prediction, goal, best, operators=operators)
        echo_json(data if launch is None else {**data, "launch": launch.to_dict()})
    elif as_csv:
        prediction.to_frame().to_csv(sys.stdout, index=False, quoting=csv.QUOTE_MINIMAL)
    else:
        click.echo(_page(prediction, goal, best, operators=operators))
        if launch is not None:
            click.echo(f"\n{launch}")


def _launch(prediction: Any, engine: str) -> Launch:
    from genz.export import launch_for

    return launch_for(prediction.question, engine)


def _largest_batch_within(prediction: Any, goal: float) -> int:
    from genz.inference.limits import largest_batch_within

    return largest_batch_within(prediction.question, tpot=goal)


def _data(prediction: Any, goal: float | None, best: int | None, *, operators: bool) -> dict[str, Any]:
    data: dict[str, Any] = prediction.to_dict()
    if goal is not None:
        data["largest_batch_within_tpot"] = {"tpot_s": goal, "batch": best}
    if operators:
        data["operators"] = prediction.to_frame().to_dict(orient="records")
    return data


def _page(prediction: Any, goal: float | None, best: int | None, *, operators: bool) -> str:
    from genz.inference.report import operator_table

    parts = [str(prediction)]
    if goal is not None:
        parts.append(f"Largest batch with a TPOT of at most {units.format_si(goal, 's')}: {best or 'none, not even 1'}.")
    if operators:
        parts.append("\n" + operator_table(prediction))
    return "\n".join(parts)
