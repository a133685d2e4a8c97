"""`genz speculate` and `genz disaggregate`."""

from __future__ import annotations

from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import ENGINE, MODEL, PRECISION, CatalogName, WholeNumber, deployment_options
from genz.units import format_si

PRICES = ("price", "energy_price", "carbon_intensity")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@deployment_options
@click.option("--draft-model", type=CatalogName("model", file=True), help="A smaller model of the same vocabulary.")
@click.option("--method", default="model", show_default=True, help="model; mtp: the model's own head; ngram: a look-up.")
@click.option("--num-speculative-tokens", "tokens", type=WholeNumber(), required=True, help="Tokens drafted a round.")
@click.option("--acceptance", type=float, required=True, help="Probability that a drafted token is accepted.")
@_JSON
def speculate(model: str, platform: str, *, draft_model: str | None, as_json: bool, **asked: Any) -> None:
    """Price speculative decoding of MODEL beside plain decoding.

    \b
    genz speculate llama-3.1-70b --platform "8x h100-sxm" --tp 8 \\
                   --isl 2048 --osl 256 --draft-model llama-3.1-8b \\
                   --num-speculative-tokens 4 --acceptance 0.8
    """
    from genz.inference.question import settle_question
    from genz.inference.speculative import speculate as run

    drafted = {name: asked.pop(name) for name in ("tokens", "acceptance", "method")}
    lengths = {name: value for name, value in asked.items() if name not in PRICES}
    found = run(settle_question(model, platform, **lengths), draft=draft_model, **drafted)
    data = {
        "tpot_s": found.tpot,
        "plain_tpot_s": found.baseline.tpot,
        "speedup": found.speedup,
        "tokens_per_round": found.draft.tokens_per_round,
        "break_even_tokens_per_round": found.break_even_tokens,
        "draft_time_s": found.draft_time,
        "verify_time_s": found.verify_time,
    }
    if as_json:
        echo_json(data)
        return
    click.echo(
        f"TPOT {format_si(found.tpot, 's')}, against {format_si(found.baseline.tpot, 's')} without: {found.speedup:.2f} times "
        f"as fast\na round yields {found.draft.tokens_per_round:.2f} tokens on average; it pays from "
        f"{found.break_even_tokens:.2f} on"
    )


@click.command()
@MODEL
@click.option("--prefill-platform", required=True, type=CatalogName("platform", "chip", file=True), help="Of one prefill copy.")
@click.option("--decode-platform", required=True, type=CatalogName("platform", "chip", file=True), help="Of one decode copy.")
@click.option("--prefill-tp", type=WholeNumber(), default=1, show_default=True)
@click.option("--decode-tp", type=WholeNumber(), default=1, show_default=True)
@click.option("--prefill-batch", type=WholeNumber(), default=1, show_default=True)
@click.option("--decode-batch", type=WholeNumber(), default=1, show_default=True)
@click.option("--isl", "--input", "input", type=WholeNumber(), required=True, help="Input tokens of each request.")
@click.option("--osl", "--output", "output", type=WholeNumber(2), required=True, help="Output tokens of each request.")
@click.option("--devices", type=WholeNumber(), required=True, help="Devices of both pools together; their split is chosen.")
@click.option("--link", default="scale_out", show_default=True, help="The chips' link that the cache is sent over.")
@click.option("--fidelity", default="calibrated", show_default=True)
@PRECISION
@ENGINE
@_JSON
def disaggregate(model: str, *, devices: int, link: str, as_json: bool, **asked: Any) -> None:
    """Price MODEL with prefill and decode in pools of their own, split as suits the load best.

    \b
    genz disaggregate llama-3.1-70b --isl 4096 --osl 512 --devices 64 \\
                      --prefill-platform "4x h100-sxm" --prefill-tp 4 \\
                      --decode-platform "4x h100-sxm" --decode-tp 4 \\
                      --decode-batch 64
    """
    from genz.inference.disaggregated import match_pools
    from genz.inference.question import settle_question

    shared = {name: asked[name] for name in ("input", "output", "fidelity", "precision", "engine")}
    prefill, decode = (
        settle_question(model, asked[f"{pool}_platform"], tp=asked[f"{pool}_tp"], batch=asked[f"{pool}_batch"], **shared)
        for pool in ("prefill", "decode")
    )
    found = match_pools(prefill, decode, devices=devices, link=link)
    data = {
        "prefill_copies": found.prefill_copies,
        "decode_copies": found.decode_copies,
        "devices": found.devices,
        "ttft_s": found.ttft,
        "tpot_s": found.tpot,
        "e2e_s": found.e2e,
        "requests_per_s": found.requests_per_s,
        "output_tokens_per_s_per_device": found.output_tokens_per_s_per_device,
        "transfer_time_s": found.transfer_time,
        "exposed_transfer_s": found.exposed_transfer,
    }
    if as_json:
        echo_json(data)
        return
    click.echo(
        f"{found.prefill_copies} prefill copies and {found.decode_copies} decode copies on {found.devices} devices\n"
        f"TTFT {format_si(found.ttft, 's')}, TPOT {format_si(found.tpot, 's')}; {found.requests_per_s:.2f} requests/s, "
        f"{found.output_tokens_per_s_per_device:,.1f} output tokens/s per device\n"
        f"the cache of a prompt takes {format_si(found.transfer_time, 's')} to send; "
        f"{format_si(found.exposed_transfer, 's')} of it is waited for"
    )
