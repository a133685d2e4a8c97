"""`genz plan`."""

from __future__ import annotations

import sys
from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import ENGINES, PRECISIONS, CatalogName, Fraction, WholeNumber, check_output, output_options
from genz.errors import InvalidValueError

SLO = ("ttft", "tpot", "e2e")


@click.command()
@click.argument("model", type=CatalogName("model", file=True))
@click.option("--use-case", type=CatalogName("use_case", file=True), help="Lengths, beams and objectives by name.")
@click.option("--isl", "--input", "--input-len", "input", type=WholeNumber(), help="Input tokens of each request.")
@click.option("--osl", "--output", "--output-len", "output", type=WholeNumber(), help="Output tokens of each request.")
@click.option("--beams", type=WholeNumber(), help="Sequences kept per request (beam search).  [default: 1]")
@click.option("--cached", "--prefix-hit", "cached", type=WholeNumber(0), default=0, help="Tokens of each prompt in the cache.")
@click.option("--slo-ttft", "ttft", help="Longest mean time to first token, such as 500ms; 'none' lifts the use case's.")
@click.option("--slo-tpot", "tpot", help="Longest mean time per output token, such as 30ms; likewise.")
@click.option("--slo-e2e", "e2e", help="Longest mean time of a request, such as 20s.")
@click.option("--rps", "--requests-per-second", "requests_per_second", type=float, help="Requests that arrive per second.")
@click.option("--users", "--concurrent-users", "concurrent_users", type=int, help="Requests in flight, instead of --rps.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    type=CatalogName("platform", "chip", file=True),
    help="A chip, or a machine such as dgx-h100; several times.  [default: every chip with a price and a scale-out link]",
)
@click.option("--max-devices", type=WholeNumber(), help="Devices of the whole at most.")
@click.option("--max-usd-per-hour", help="Cost of the whole per hour at most, in USD/h.")
@click.option("--max-watts", help="Mean power of the whole at most, such as 20kW; a number is in W.")
@click.option("--max-devices-per-replica", type=WholeNumber(), help="Largest replica that is searched.  [default: 16]")
@click.option("--max-num-seqs", type=WholeNumber(), help="Sequences that one engine runs at once.  [default: 1024]")
@PRECISIONS
@ENGINES
@click.option("--fidelity", default="calibrated", show_default=True, help="roofline, engine or calibrated.")
@click.option(
    "--objective",
    default="usd_per_million_tokens",
    show_default=True,
    help="Also: devices, energy, throughput_per_device.",
)
@click.option("--disaggregated/--aggregated-only", "disaggregated", default=True, help="Search pools apart, too.")
@click.option("--mixed-pools", is_flag=True, help="Pools may be of different platforms.")
@click.option("--kv-cache-dtype", help="Data type of the KV cache, such as fp8.")
@click.option("--max-model-len", type=WholeNumber(), help="Allow this many tokens in all.")
@click.option("--gpu-memory-utilization", type=Fraction(), help="Share of the device's memory for the engine.")
@click.option("--routing", default="balanced", show_default=True, help="Load of the expert ranks.")
@click.option("--price", multiple=True, help="Rent of one device, such as '2.5 USD/h', or PLATFORM='2.5 USD/h'; several times.")
@click.option("--energy-price", help="Price of electricity, such as '0.10 USD/kWh'.")
@click.option("--as", "treat_as", help="Read a config.json as this model_type.")
@click.option("--top", type=WholeNumber(), default=10, show_default=True, help="Options to show.")
@click.option("--pareto", is_flag=True, help="Show the fronts: tokens/s/user against tokens/s/chip, cost against latency.")
@click.option("--export", "export_to", metavar="ENGINE", help="Write commands for vllm, sglang or tensorrt-llm.")
@output_options(json="Print one JSON object.", csv="Print one CSV row an option.")
def plan(
    model: str,
    *,
    top: int,
    pareto: bool,
    export_to: str | None,
    as_json: bool,
    as_csv: bool,
    price: tuple[str, ...],
    **asked: Any,
) -> None:
    """Rank deployments of MODEL that serve a load within objectives of latency and budgets.

    Where none does, the exit status is 3, and the smallest change of each constraint that would do is shown.

    \b
    genz plan llama-3.1-70b --use-case chat --slo-ttft 500ms --slo-tpot 30ms \\
              --rps 50 --platform h100-sxm --platform mi300x
    genz plan qwen3-8b --isl 2000 --osl 200 --users 300 --platform l40s
    """
    from genz.explore.planning import plan as run
    from genz.explore.planning.result import FRONTS

    check_output(as_json, as_csv)
    _check_engine(export_to)
    objectives = {name: value for name in SLO if (value := asked.pop(name)) is not None}
    asked["slo"] = {name: None if value.lower() == "none" else value for name, value in objectives.items()}
    asked["platforms"] = asked["platforms"] or None
    found = run(model, price=_prices(price), **{name: _amount(name, value) for name, value in asked.items()})
    if as_csv:
        found.to_frame().head(top).to_csv(sys.stdout, index=False)
        return
    fronts = {name: found.pareto(name) for name in FRONTS} if pareto else {}
    if as_json:
        data = found.to_dict(top=top, engine=export_to)
        if pareto:
            listed = {name: frame.astype(object).where(frame.notna(), None) for name, frame in fronts.items()}
            data["pareto"] = {name: frame.to_dict(orient="records") for name, frame in listed.items()}
        echo_json(data)
        return
    from genz.explore.planning.report import front_page, page

    click.echo(page(found, top=top, engine=export_to))
    for name, frame in fronts.items():
        click.echo("\n" + front_page(FRONTS[name], frame))


def _check_engine(name: str | None) -> None:
    """Raise `UnknownNameError` for an engine without an exporter before the search, not after it."""
    from genz.errors import unknown_name
    from genz.export import ENGINES
    from genz.specs import catalog

    if name is not None and catalog.engine(name).name not in ENGINES:
        raise unknown_name("engine to export to", name, ENGINES)


def _amount(name: str, value: Any) -> Any:
    """A bare number of a budget is in the unit that its option names."""
    if name not in ("max_usd_per_hour", "max_watts") or value is None:
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _prices(given: tuple[str, ...]) -> Any:
    """One price for all, or a price for each platform that is named."""
    if not given:
        return None
    named = [text.rpartition("=") for text in given]
    if len(given) == 1 and not named[0][1]:
        return _number(given[0])
    if any(not equals for _, equals, _ in named):
        raise InvalidValueError(
            "--price: several prices need the platform of each",
            field="price",
            value=given,
            allowed="one price, or PLATFORM=PRICE several times",
        )
    return {platform: _number(price) for platform, _, price in named}


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
