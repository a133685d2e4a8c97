"""`genz completion`: the script that teaches a shell to complete commands, options and catalog names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  eval "$(genz completion bash)"      in ~/.bashrc
    zsh:   eval "$(genz completion zsh)"       in ~/.zshrc
    fish:  genz completion fish | source       in ~/.config/fish/config.fish
    """
    from genz.cli import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"{shell} has no completion")
    click.echo(found(cli, {}, "genz", "_GENZ_COMPLETE").source())
