"""`genz compare`."""

from __future__ import annotations

import math
import sys
from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import (
    ENGINES,
    PRECISIONS,
    CatalogName,
    WholeNumber,
    check_output,
    limit_options,
    output_options,
    parallelism_options,
    workload_options,
)
from genz.units import format_si


@click.command()
@click.argument("models", nargs=-1, required=True, type=CatalogName("model", file=True))
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    required=True,
    type=CatalogName("platform", "chip", file=True),
    help="Give it several times.",
)
@click.option(
    "--tp",
    "-tp",
    "--tensor-parallel-size",
    "tps",
    multiple=True,
    type=WholeNumber(),
    default=(1,),
    help="Give it several times.",
)
@PRECISIONS
@ENGINES
@parallelism_options
@workload_options
@limit_options
@output_options(json="Print a JSON list, one object a combination.", csv="Print one CSV row a combination.")
def compare(models: tuple[str, ...], platforms: tuple[str, ...], *, as_json: bool, as_csv: bool, **asked: Any) -> None:
    """Predict every combination of MODELS, platforms, precisions, engines and degrees, the first as the baseline.

    \b
    genz compare llama-3.1-8b qwen3-8b --platform h100-sxm --isl 2048 --osl 256
    genz compare llama-3.1-8b --platform l40s -q bf16 -q fp8 --use-case chat
    """
    from genz.inference.compare import compare as run

    check_output(as_json, as_csv)
    frame = run(models, platforms, **asked)
    if as_json:
        echo_json(frame.astype(object).where(frame.notna(), None).to_dict(orient="records"))
    elif as_csv:
        frame.to_csv(sys.stdout, index=False)
    else:
        click.echo(_page(frame))


METRICS = (
    ("ttft_s", "TTFT", "s"),
    ("tpot_s", "TPOT", "s"),
    ("output_tokens_per_s", "tokens/s", ""),
    ("energy_j_per_output_token", "energy per token", "J"),
)
VARIABLES = ("model", "platform", "precision", "engine", "tp")


def _page(frame: Any) -> str:
    """Rows with each metric against the first row that fits, in per cent."""
    from genz.inference.report import WIDE, render, table

    fitting = frame[frame["fits"]]
    baseline = fitting.iloc[0] if len(fitting) else None
    varied = [key for key in VARIABLES if frame[key].nunique() > 1] or ["model"]
    rows = [_cells(row, varied, baseline) for _, row in frame.iterrows()]
    header = (*varied, *(title for _, title, _ in METRICS), "bound")
    words = (*range(len(varied)), len(header) - 1)
    return render(table("Against the first row that fits", header, rows, words=words), width=WIDE)


def _cells(row: Any, varied: list[str], baseline: Any) -> tuple[str, ...]:
    bounds = [row[key] for key in ("prefill_bound", "decode_bound") if isinstance(row[key], str)]
    bound = ", ".join(bounds) if row["fits"] else "does not fit"
    return (*(str(row[key]) for key in varied), *(_metric(row, key, unit, baseline) for key, _, unit in METRICS), bound)


def _metric(row: Any, key: str, unit: str, baseline: Any) -> str:
    value = row[key]
    if value is None or math.isnan(value):
        return "-"
    change = "" if row.name == baseline.name else f" ({value / baseline[key] - 1:+.0%})"
    return format_si(value, unit) + change
