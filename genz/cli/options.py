"""Options that commands share, named as in vLLM, with the short names of serving benchmarks beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from genz.errors import InvalidValueError, shown
from genz.specs import catalog
from genz.specs.workload import MAX_COUNT


class WholeNumber(click.ParamType):  # type: ignore[type-arg]
    """A count of tokens, requests or devices."""

    name = "int"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ARG002
        try:
            number = int(value)
        except ValueError:
            number = self.least - 1
        if not self.least <= number <= MAX_COUNT:
            raise _not_allowed(value, param, f"a whole number from {self.least} to {MAX_COUNT:,}")
        return number


class Fraction(click.ParamType):  # type: ignore[type-arg]
    """A share of a whole."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number <= 1:
            raise _not_allowed(value, param, "a fraction above 0 and up to 1")
        return number


def _not_allowed(value: Any, param: click.Parameter | None, allowed: str) -> InvalidValueError:
    option, field = (param.opts[0], param.name) if param else ("value", None)
    return InvalidValueError(f"{option}: {shown(value)} is not allowed", field=field, value=value, allowed=allowed)


class CatalogName(click.ParamType):  # type: ignore[type-arg]
    """A name from the catalog, completed in the shell; paths pass as they are."""

    name = "text"

    def __init__(self, *kinds: str, file: bool = False) -> None:
        self.kinds = kinds
        self.file = file

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        listed = [name for kind in self.kinds for name in catalog.names(kind)]
        found = [CompletionItem(name) for name in listed if name.startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type="file")] if self.file else [])


MODEL = click.argument("model", type=CatalogName("model", file=True))
PLATFORM = click.option(
    "--platform", required=True, type=CatalogName("platform", "chip", file=True), help='Chips and their number: "8x h100-sxm".'
)
TENSOR_PARALLEL = click.option(
    "--tp",
    "-tp",
    "--tensor-parallel-size",
    "tp",
    type=WholeNumber(),
    default=1,
    show_default=True,
    help="Devices that share each matrix.",
)
PRECISION = click.option(
    "--precision",
    "--quantization",
    "-q",
    default="auto",
    show_default=True,
    type=CatalogName("precision", file=True),
    help="fp8, int4, ...; auto: as the model's files say.",
)
ENGINE = click.option(
    "--engine", default="vllm", show_default=True, type=CatalogName("engine", file=True), help="Serving engine."
)
PRECISIONS = click.option(
    "--precision",
    "--quantization",
    "-q",
    "precisions",
    multiple=True,
    default=("auto",),
    type=CatalogName("precision", file=True),
    help="Give it several times.",
)
ENGINES = click.option(
    "--engine",
    "engines",
    multiple=True,
    default=("vllm",),
    type=CatalogName("engine", file=True),
    help="Give it several times.",
)
_WORKLOAD = (
    click.option(
        "--use-case", type=CatalogName("use_case", file=True), help="Lengths, beams and objectives by name, such as 'chat'."
    ),
    click.option("--isl", "--input", "--input-len", "input", type=WholeNumber(), help="Input tokens of each request."),
    click.option("--osl", "--output", "--output-len", "output", type=WholeNumber(), help="Output tokens of each request."),
    click.option("--embed", is_flag=True, help="Ask a decoder for an embedding of its input instead."),
    click.option(
        "--batch",
        "--batch-size",
        "batch",
        type=WholeNumber(),
        default=1,
        show_default=True,
        help="Requests in the whole deployment.",
    ),
    click.option("--beams", type=WholeNumber(), help="Sequences kept per request (beam search).  [default: 1]"),
    click.option(
        "--cached",
        "--prefix-hit",
        "cached",
        type=WholeNumber(0),
        default=0,
        help="Tokens of each prompt that are in the cache already.",
    ),
    click.option("--images", type=WholeNumber(0), default=0, help="Images of each request, beside its input tokens."),
    click.option(
        "--image-size", help="Width and height of each image in pixels, such as 1280x720.  [default: the model's own]"
    ),
    click.option("--image-tokens", type=WholeNumber(), help="Tokens that pruning leaves of each image.  [default: all]"),
    click.option("--audio", help="Length of the clip of each request, such as '30 s'."),
)
_LIMITS = (
    click.option(
        "--kv-cache-dtype", help="Data type of the KV cache, such as fp8.  [default: 16 bits, or as the precision says]"
    ),
    click.option(
        "--fidelity",
        default="calibrated",
        show_default=True,
        help="roofline: data-sheet rates alone; engine: flat shares and overheads; calibrated: fitted kernels, with intervals.",
    ),
    click.option("--max-model-len", type=WholeNumber(), help="Allow this many tokens in all, whatever the model was made for."),
    click.option("--max-num-seqs", type=WholeNumber(), help="Sequences that the engine of one replica runs at once."),
    click.option(
        "--gpu-memory-utilization",
        type=Fraction(),
        help="Share of the device's memory for the engine.  [default: the engine's]",
    ),
    click.option("--price", help="Rent of one device, such as '2.5 USD/h'.  [default: its list price]"),
    click.option("--energy-price", help="Price of electricity, such as '0.10 USD/kWh'."),
    click.option("--carbon-intensity", help="Carbon of electricity, such as '400 g/kWh'."),
    click.option("--as", "treat_as", help="Read a config.json as this model_type."),
)


_PARALLELISM = (
    click.option(
        "--pp",
        "-pp",
        "--pipeline-parallel-size",
        "pp",
        type=WholeNumber(),
        default=1,
        help="Stages that the layers are split into.",
    ),
    click.option(
        "--dp",
        "-dp",
        "--data-parallel-size",
        "dp",
        type=WholeNumber(),
        help="Copies of the attention layers.  [default: what remains]",
    ),
    click.option(
        "--cp",
        "--context-parallel-size",
        "--prefill-context-parallel-size",
        "cp",
        type=WholeNumber(),
        default=1,
        help="Devices that share a prompt, and its cache.",
    ),
    click.option(
        "--ep", "--expert-parallel-size", "ep", type=WholeNumber(), default=1, help="Ranks that the experts are spread over."
    ),
    click.option(
        "--dcp",
        "--decode-context-parallel-size",
        "dcp",
        type=WholeNumber(),
        default=1,
        help="Tensor ranks that share one copy of the cache in decode.",
    ),
    click.option(
        "--redundant-experts", "--num-redundant-experts", type=WholeNumber(0), default=0, help="Further copies of experts."
    ),
    click.option("--micro-batches", type=WholeNumber(), help="Of a batch in the pipeline.  [default: as many as stages]"),
    click.option("--sequence-parallel", is_flag=True, help="Split norms and residuals over the tensor ranks."),
    click.option("--offload-weights", type=float, default=0.0, help="Share of the weights that lives in the offload tier."),
    click.option("--offload-cache", type=float, default=0.0, help="Share of the KV cache that lives in the offload tier."),
    click.option("--offload-tier", default="host", show_default=True, help="Where that is: host, or a tier of the platform."),
    click.option(
        "--routing",
        default="balanced",
        show_default=True,
        help="Load of the expert ranks: balanced, uniform, worst, or a power law such as power_law_1.2.",
    ),
)


def deployment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One deployment of one model: platform, degrees, precision, engine, workload and limits."""
    return _apply((MODEL, PLATFORM, TENSOR_PARALLEL, PRECISION, ENGINE, *_PARALLELISM, *_WORKLOAD, *_LIMITS), command)


def parallelism_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Degrees of parallelism beyond the tensor one."""
    return _apply(_PARALLELISM, command)


def workload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Lengths, batch and beams."""
    return _apply(_WORKLOAD, command)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Cache type, fidelity, limits and prices."""
    return _apply(_LIMITS, command)


def output_options(json: str, csv: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--json and --csv with their help; `check_output` refuses both at once."""
    options = (
        click.option("--json", "as_json", is_flag=True, help=json),
        click.option("--csv", "as_csv", is_flag=True, help=csv),
    )
    return lambda command: _apply(options, command)


def check_output(as_json: bool, as_csv: bool) -> None:
    """Raise `InvalidValueError` where both forms of output are asked for."""
    if as_json and as_csv:
        raise InvalidValueError("--json and --csv exclude each other", field="--csv", value="--json", allowed="one of them")


def _apply(options: tuple[Callable[..., Any], ...], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command
