"""`genz require`."""

from __future__ import annotations

import sys
from typing import Any

import click

from genz import units
from genz.cli import echo_json
from genz.cli.options import (
    PRECISION,
    TENSOR_PARALLEL,
    CatalogName,
    WholeNumber,
    check_output,
    output_options,
    parallelism_options,
)
from genz.errors import InvalidValueError

_MACHINE = (
    click.option("--devices", type=WholeNumber(), help="How many share the work.  [default: as many as the degrees ask for]"),
    TENSOR_PARALLEL,
    click.option(
        "--like",
        type=CatalogName("chip", file=True),
        help="Chip whose caches, ratios and latencies are kept.  [default: ideal]",
    ),
    click.option(
        "--given",
        multiple=True,
        metavar="FIGURE=VALUE",
        help="A fixed figure, such as bandwidth=3.35TB/s: of flops, bandwidth, capacity, link_bandwidth, link_latency.",
    ),
    click.option(
        "--network-share",
        type=float,
        default=0.1,
        show_default=True,
        help="Share of the objectives that exchanges between devices may take.",
    ),
)
_REQUEST = (
    click.option(
        "--use-case",
        "use_cases",
        multiple=True,
        type=CatalogName("use_case", file=True),
        help="Lengths, beams and objectives by name. Give it several times for a table.",
    ),
    click.option("--isl", "--input", "--input-len", "input", type=WholeNumber(), help="Input tokens of each request."),
    click.option("--osl", "--output", "--output-len", "output", type=WholeNumber(), help="Output tokens of each request."),
    click.option(
        "--batch", "--batch-size", "batch", type=WholeNumber(), default=1, show_default=True, help="Requests at once."
    ),
    click.option("--beams", type=WholeNumber(), help="Sequences kept per request.  [default: the use case's, or 1]"),
    click.option(
        "--cached", "--prefix-hit", "cached", type=WholeNumber(0), default=0, help="Tokens of each prompt in the cache."
    ),
    click.option("--ttft", help="Longest time to first token, such as 500ms.  [default: the use case's]"),
    click.option("--tpot", help="Longest time per output token, such as 30ms.  [default: the use case's]"),
)
_SERVING = (
    PRECISION,
    click.option("--kv-cache-dtype", help="Data type of the KV cache, such as fp8."),
    click.option("--engine", default="ideal", show_default=True, type=CatalogName("engine", file=True), help="Serving engine."),
    click.option("--fidelity", default="roofline", show_default=True, help="roofline, engine, or calibrated (needs --like)."),
    click.option("--max-model-len", type=WholeNumber(), help="Allow this many tokens in all, whatever the model was made for."),
    click.option(
        "--gpu-memory-utilization", type=float, help="Share of the device's memory for the engine.  [default: its own]"
    ),
    click.option("--as", "treat_as", help="Read a config.json as this model_type."),
)


def _options(command: Any) -> Any:
    for option in reversed((*_REQUEST, *_MACHINE, *_SERVING)):
        command = option(command)
    return command


@click.command()
@click.argument("models", nargs=-1, type=CatalogName("model", file=True))
@click.option("--paper", is_flag=True, help="The table of arXiv:2406.01698: its models and use cases, on one device, in INT8.")
@_options
@parallelism_options
@output_options(
    json="Print JSON: an object, or a list where there are several.", csv="Print CSV, one row a model and use case."
)
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the required chip as a file that --platform takes.")
def require(
    models: tuple[str, ...],
    *,
    paper: bool,
    use_cases: tuple[str, ...],
    ttft: str | None,
    tpot: str | None,
    given: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    as_yaml: bool,
    **asked: Any,
) -> None:
    """The FLOP/s, bandwidth, memory and link that MODELS ask of each device to keep TTFT and TPOT.

    Beside each figure's least value, all others without limit, stands a balanced machine that meets both objectives exactly.

    \b
    genz require llama-3-70b --use-case chat --tp 8 -q fp8
    genz require llama-3-70b --isl 2048 --osl 256 --ttft 500ms --tpot 30ms \\
                 --given bandwidth=3.35TB/s
    genz require llama-3-70b --use-case chat --tp 8 -q fp8 --yaml > chip.yaml
    genz predict llama-3-70b --platform "8x ./chip.yaml" --tp 8 -q fp8 \\
                 --use-case chat --engine ideal --fidelity roofline
    genz require --paper --csv
    """
    from genz.explore.require import paper_table
    from genz.explore.require import require as run
    from genz.explore.require import table as table_of

    _check(models, paper, as_json, as_csv, as_yaml)
    said = {"ttft": ttft, "tpot": tpot}
    goals = {name: units.parse(goal, units.TIME, field=name) for name, goal in said.items() if goal is not None}
    if paper:
        _refuse_beside_paper(use_cases, goals, given)
        _show(paper_table(), as_json, as_csv)
        return
    question = {**asked, "slo": goals or None, "given": _given(given)}
    if len(models) > 1 or len(use_cases) > 1 or as_csv:
        if as_yaml:
            raise InvalidValueError("--yaml is for one machine", field="yaml", allowed="one model and one use case")
        _show(table_of(models, use_cases or None, **question), as_json, as_csv)
        return
    found = run(models[0], use_case=use_cases[0] if use_cases else None, **question)
    if as_json:
        echo_json(found.to_dict())
    else:
        click.echo(found.to_yaml() if as_yaml else str(found), nl=not as_yaml)


def _check(models: tuple[str, ...], paper: bool, as_json: bool, as_csv: bool, as_yaml: bool) -> None:
    check_output(as_json, as_csv)
    if as_yaml and (as_json or as_csv or paper):
        other = "--json" if as_json else "--csv" if as_csv else "--paper"
        raise InvalidValueError(f"--yaml and {other} exclude each other", field="yaml", value=other, allowed="one of them")
    if bool(models) == paper:
        problem = "--paper brings its own models" if paper else "no model is named"
        hint = "leave out the models, or --paper" if paper else "name a model, or say --paper"
        raise InvalidValueError(problem, field="models", value=list(models), hint=hint)


def _refuse_beside_paper(use_cases: tuple[str, ...], goals: dict[str, float], given: tuple[str, ...]) -> None:
    """The paper's table is one command without a choice: what would change it is not silently dropped."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    free = {"paper", "as_json", "as_csv", "as_yaml", "models"}
    changed = [name for name in context.params if name not in free and context.get_parameter_source(name) != default]
    if changed or use_cases or goals or given:
        option = next(p.opts[0] for p in context.command.params if p.name == changed[0])
        raise InvalidValueError(
            f"{option} has no place beside --paper, which says it all",
            field=changed[0],
            hint="name models and use cases instead",
        )


def _given(pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        key = name.strip().replace("-", "_")
        if not equals or key in found:
            problem = "is given twice" if equals else "is no figure and its value"
            raise InvalidValueError(
                f"--given: {pair!r} {problem}", field="given", value=pair, allowed="FIGURE=VALUE, such as bandwidth=3.35TB/s"
            )
        found[key] = value
    return found


def _show(frame: Any, as_json: bool, as_csv: bool) -> None:
    if as_json:
        echo_json(frame.astype(object).where(frame.notna(), None).to_dict(orient="records"))
    elif as_csv:
        frame.to_csv(sys.stdout, index=False)
    else:
        from genz.explore.requirements.page import table_page

        click.echo(table_page(frame))
