"""Options that commands share, named as in vLLM, with the short names of serving benchmarks beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from genz.specs import catalog


class WholeNumber(click.ParamType):
    """A count of tokens, requests or devices."""

    name = "int"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = self.least - 1
        if number < self.least:
            self.fail(f"{value!r} is not allowed; allowed: a whole number of at least {self.least}", param, ctx)
        return number


class CatalogName(click.ParamType):
    """A name from the catalog, completed in the shell; paths pass as they are."""

    name = "text"

    def __init__(self, *kinds: str, file: bool = False) -> None:
        self.kinds = kinds
        self.file = file

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        listed = [name for kind in self.kinds for name in catalog.names(kind)]
        found = [CompletionItem(name) for name in listed if name.startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type="file")] if self.file else [])


_WORKLOAD = (
    click.option("--use-case", type=CatalogName("use_case", file=True), help="Lengths, beams and objectives by name, such as 'chat'."),
    click.option("--isl", "--input", "--input-len", "input", type=WholeNumber(), help="Input tokens of each request."),
    click.option("--osl", "--output", "--output-len", "output", type=WholeNumber(), help="Output tokens of each request."),
    click.option("--batch", "--batch-size", "batch", type=WholeNumber(), default=1, show_default=True, help="Requests in the whole deployment."),
    click.option("--beams", type=WholeNumber(), help="Sequences kept per request (beam search).  [default: 1]"),
    click.option("--cached", "--prefix-hit", "cached", type=WholeNumber(0), default=0, help="Prompt tokens that are in the cache already."),
)  # fmt: skip
_LIMITS = (
    click.option("--kv-cache-dtype", help="Data type of the KV cache, such as fp8.  [default: that of the activations]"),
    click.option("--fidelity", default="engine", show_default=True, help="roofline: data-sheet rates alone; engine: with its overheads."),
    click.option("--max-model-len", type=WholeNumber(), help="Allow this many tokens in all, whatever the model was made for."),
    click.option("--max-num-seqs", type=WholeNumber(), help="Sequences that the engine runs at once."),
    click.option("--gpu-memory-utilization", type=float, help="Share of the device's memory for the engine.  [default: the engine's]"),
    click.option("--price", help="Rent of one device, such as '2.5 USD/h'.  [default: its list price]"),
    click.option("--energy-price", help="Such as '0.10 USD/kWh'."),
    click.option("--carbon-intensity", help="Such as '400 g/kWh'."),
    click.option("--as", "treat_as", help="Read a config.json as this model_type."),
)  # fmt: skip


def workload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Lengths, batch and beams."""
    return _apply(_WORKLOAD, command)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Cache type, fidelity, limits and prices."""
    return _apply(_LIMITS, command)


def _apply(options: tuple[Callable[..., Any], ...], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command
