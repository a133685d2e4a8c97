"""`genz compare`."""

from __future__ import annotations

import sys
from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import CatalogName, WholeNumber, limit_options, workload_options
from genz.units import format_si


@click.command()
@click.argument("models", nargs=-1, required=True, type=CatalogName("model", file=True))
@click.option("--platform", "platforms", multiple=True, required=True, type=CatalogName("platform", "chip", file=True), help="Give it several times.")
@click.option("--tp", "-tp", "--tensor-parallel-size", "tps", multiple=True, type=WholeNumber(), default=(1,), help="Give it several times.")
@click.option("--precision", "precisions", multiple=True, default=("auto",), type=CatalogName("precision", file=True), help="Give it several times.")
@click.option("--engine", "engines", multiple=True, default=("vllm",), type=CatalogName("engine", file=True), help="Give it several times.")
@workload_options
@limit_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a combination.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV row a combination.")
def compare(models: tuple[str, ...], platforms: tuple[str, ...], as_json: bool, as_csv: bool, **asked: Any) -> None:
    """Predict every combination of MODELS, platforms, precisions, engines and degrees, the first as the baseline.

    \b
    genz compare llama-3.1-8b qwen3-8b --platform h100-sxm --platform l40s --isl 2048 --osl 256
    genz compare llama-3.1-8b --platform h100-sxm --precision bf16 --precision fp8 --use-case chat
    """
    from genz.inference.compare import compare as run

    frame = run(models, platforms, **asked)
    if as_json:
        echo_json(frame.astype(object).where(frame.notna(), None).to_dict(orient="records"))
    elif as_csv:
        frame.to_csv(sys.stdout, index=False)
    else:
        click.echo(_page(frame))


def _page(frame: Any) -> str:
    """Rows with each metric against the first row that fits, in per cent."""
    from genz.inference.report import render, table

    metrics = (("ttft_s", "TTFT", "s"), ("tpot_s", "TPOT", "s"), ("output_tokens_per_s", "tok/s", ""), ("energy_j_per_output_token", "J/tok", "J"))
    fitting = frame[frame["fits"]]
    baseline = fitting.iloc[0] if len(fitting) else None

    def cell(row: Any, key: str, unit: str) -> str:
        value = row[key]
        if not row["fits"] or value is None or value != value:
            return "-"
        change = "" if baseline is None or row.name == baseline.name else f" ({value / baseline[key] - 1:+.0%})"
        return format_si(value, unit) + change

    varied = [key for key in ("model", "platform", "precision", "engine", "tp") if frame[key].nunique() > 1] or ["model"]
    rows = [
        (*(str(row[key]) for key in varied), *(cell(row, key, unit) for key, _, unit in metrics),
         f"{row['prefill_bound']}/{row['decode_bound']}" if row["fits"] else "does not fit")
        for _, row in frame.iterrows()
    ]  # fmt: skip
    header = (*varied, *(title for _, title, _ in metrics), "bound")
    return render(table("Against the first row that fits", header, rows, left=len(varied)), width=140)
