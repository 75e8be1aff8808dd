"""``sparserec-np completion``: completion of commands, options and files in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(no_args_is_help=True, short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and files in SHELL.

    \b
    bash: eval "$(sparserec-np completion bash)"    in ~/.bashrc
    zsh:  eval "$(sparserec-np completion zsh)"     in ~/.zshrc
    fish: sparserec-np completion fish | source     in ~/.config/fish/config.fish
    """  # noqa: D301 (click looks for the character backspace)
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    program = kind(ctx.find_root().command, {}, "sparserec-np", "_SPARSEREC_NP_COMPLETE")
    # Not program.source(): it starts a bash to ask for its version, which may not be installed.
    click.echo(program.source_template % program.source_vars())
