"""Options that take several files.

``--train a.csv b.csv`` is the same as ``--train a.csv --train b.csv``.
"""

from __future__ import annotations

from typing import Any

import click

from .options import FILE


class FilesOption(click.Option):
    """An option that takes one file or more; used in a :class:`FilesCommand`."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        super().__init__(
            *names, **{"multiple": True, "type": FILE, "metavar": "FILE...", **settings}
        )


class FilesCommand(click.Command):
    """A command in which a :class:`FilesOption` takes all arguments up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the name of the option before each further file, as click expects it."""
        names = {
            name
            for option in self.params
            if isinstance(option, FilesOption)
            for name in option.opts
        }
        return super().parse_args(ctx, repeat_names(args, names))


def repeat_names(args: list[str], names: set[str]) -> list[str]:
    """Repeat the name of an option before each further value.

    >>> repeat_names(["--train", "a", "b", "--k", "5", "model"], {"--train"})
    ['--train', 'a', '--train', 'b', '--k', '5', 'model']
    """
    spelt: list[str] = []
    option, has_value = None, False
    for arg in args:
        if arg.startswith("-") and arg != "-":
            name, equals, _ = arg.partition("=")
            option, has_value = name if name in names else None, bool(equals)
        elif option and has_value:
            spelt.append(option)
        else:
            has_value = True
        spelt.append(arg)
    return spelt
