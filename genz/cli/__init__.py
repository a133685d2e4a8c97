"""The command `genz`. Each command lives in a module of its own, loaded when it is called."""

from __future__ import annotations

import errno
import json
import os
import sys
from importlib import import_module
from typing import Any

import click

from genz import __version__
from genz.errors import DoesNotFitError, GenZError, InvalidValueError, nearest

# name -> (module, function, one line of help): help is shown without loading the commands.
COMMANDS = {
    "predict": ("genz.cli.predict", "predict", "Predict one deployment: latency, throughput, memory, energy, cost."),
    "compare": ("genz.cli.compare", "compare", "Predict several deployments side by side."),
    "speculate": ("genz.cli.techniques", "speculate", "Price speculative decoding beside plain decoding."),
    "diffuse": ("genz.cli.diffuse", "diffuse", "Price images, or answers, that are made in steps of denoising."),
    "disaggregate": ("genz.cli.techniques", "disaggregate", "Price prefill and decode in pools of their own."),
    "sweep": ("genz.cli.sweep", "sweep", "Price a whole design space: any field as an axis, millions of rows."),
    "plan": ("genz.cli.plan", "plan", "Rank deployments that serve a load within an SLO."),
    "require": ("genz.cli.require", "require", "The hardware that a use case needs."),
    "explain": ("genz.cli.explain", "explain", "The closed forms behind a prediction."),
    "sensitivity": ("genz.cli.sensitivity", "sensitivity", "What a change of each figure would change."),
    "validate": ("genz.cli.validate", "validate", "Hold predictions against measurements, by chip and operator."),
    "calibrate": ("genz.cli.calibrate", "calibrate", "Measure this machine, or take measurements, and fit."),
    "models": ("genz.cli.listings", "models", "List the models of the catalog."),
    "hardware": ("genz.cli.listings", "hardware", "List the chips and platforms of the catalog."),
    "engines": ("genz.cli.listings", "engines", "List the serving engines."),
    "precisions": ("genz.cli.listings", "precisions", "List the precisions."),
    "use-cases": ("genz.cli.listings", "use_cases", "List the use cases with their lengths and objectives."),
    "show": ("genz.cli.show", "show", "Show one model, chip, engine, precision or use case, with its sources."),
    "estimates": ("genz.cli.estimates", "estimates", "List the figures that are estimates, or recalled."),
    "completion": ("genz.cli.completion", "completion", "Print the script that completes commands in your shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, function, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = nearest(args[0], COMMANDS)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="genz")
def cli() -> None:
    """Predict, from formulas, how a large language model runs on hardware.

    \b
    genz predict llama-3.1-8b --platform h100-sxm --isl 2048 --osl 256
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of GenZ become one message and an exit status, never a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = _run(given)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # What is buffered would be written once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # The reader of a pipe may leave early; a disk must not be full.
        if error.errno == errno.ENOSPC:
            click.echo(f"error: cannot write the output: {error.strerror}", err=True)
        status = 1
    if status:
        sys.exit(status)


def _run(given: list[str]) -> int:
    """The exit status of a command line."""
    try:
        # Without standalone mode click returns the status of an Exit, or what a command returns: nothing.
        return cli.main(args=given, prog_name="genz", standalone_mode=False) or 0
    except click.Abort:
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        _report(_of_click(error), as_json="--json" in given)
        return error.exit_code
    except GenZError as error:
        _report(error, as_json="--json" in given)
        return error.exit_code


def _of_click(error: click.ClickException) -> GenZError:
    """An error of the command line itself in the form of all others."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    parameter = getattr(error, "param", None)
    return InvalidValueError(
        message[:1].lower() + message[1:],
        field=parameter.name if parameter else None,
        hint=f"see '{context.command_path} --help'" if context and not message.endswith(("?", ")")) else None,
    )


def _report(error: GenZError, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(error.to_dict(), indent=2, default=str))
        return
    if isinstance(error, DoesNotFitError):
        from genz.inference.report import misfit

        click.echo(f"error: {misfit(error)}", err=True)
        return
    click.echo(f"error: {error}", err=True)


def echo_json(data: Any) -> None:
    """Print data as JSON."""
    click.echo(json.dumps(data, indent=2, default=str))
