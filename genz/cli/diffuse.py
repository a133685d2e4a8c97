"""`genz diffuse`."""

from __future__ import annotations

from typing import Any

import click

from genz.cli import echo_json
from genz.cli.options import CatalogName, WholeNumber, parallelism_options


@click.command()
@click.argument("model", type=CatalogName("model", file=True))
@click.option("--platform", required=True, type=CatalogName("platform", "chip", file=True), help='Such as "8x h100-sxm".')
@click.option("--denoising-steps", "--steps", "denoising_steps", type=WholeNumber(), help="[default: 50; a token each of text]")
@click.option("--guidance/--no-guidance", default=None, help="Pass every sequence twice.  [default: images yes, text no]")
@click.option("--image-size", help="Width and height of each image in pixels, such as 512x512.  [default: the model's own]")
@click.option("--isl", "--input", "input", type=WholeNumber(0), help="Prompt tokens, of a language model.")
@click.option("--osl", "--output", "output", type=WholeNumber(), help="Tokens of each answer, of a language model.")
@click.option("--batch", type=WholeNumber(), default=1, show_default=True, help="Images or answers at once.")
@click.option("--tp", "-tp", "--tensor-parallel-size", "tp", type=WholeNumber(), default=1, show_default=True)
@click.option(
    "--precision", "--quantization", "-q", default="auto", show_default=True, type=CatalogName("precision", file=True)
)
@click.option("--engine", default="vllm", show_default=True, type=CatalogName("engine", file=True))
@click.option("--fidelity", default="calibrated", show_default=True, help="roofline, engine or calibrated.")
@click.option("--max-model-len", type=WholeNumber(), help="Allow this many tokens, whatever the model was made for.")
@click.option("--as", "treat_as", help="Read a config.json as this model_type.")
@parallelism_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diffuse(model: str, platform: str, *, as_json: bool, **asked: Any) -> None:
    """Price what MODEL makes in steps of denoising: images, or answers of a masked diffusion language model.

    \b
    genz diffuse dit-xl-2 --platform h100-sxm --batch 8 --steps 50
    genz diffuse llada-8b --platform h100-sxm --isl 512 --osl 256 --steps 128
    """
    from genz.inference.diffusion import diffuse as run

    found = run(model, platform, **asked)
    if as_json:
        echo_json(found.to_dict())
    else:
        click.echo(found)
