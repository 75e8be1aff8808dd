"""Options that several commands share."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import Any, TypeVar

import click

from sparserec_np.training.config import HYPERPARAMETERS

from .log import log_to_stderr

Command = TypeVar("Command", bound=Callable[..., Any])


class LocalPath(click.Path):
    """A path on this machine: a file that is mapped or renamed cannot be behind a URL."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a URL, which would become a folder ``s3:`` here."""
        from sparserec_np.data.files.remote import is_url

        if is_url(str(value)):
            self.fail(f"{value}: must be a file on this machine; copy it from or to there", param)
        return super().convert(value, param, ctx)


class OutputPath(LocalPath):
    """A path that is to be written: :func:`check_files` checks it."""


class OutputPlace(OutputPath):
    """A path, or a URL; what has no ending is a folder, which must be new or empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take anything, as text."""
        return str(value)


class LabelsFile(click.types.StringParamType):
    """A file and two of its columns, ``FILE:ID,TITLE``."""


class FeaturesFile(click.types.StringParamType):
    """A file, or a file and its columns: ``FILE:ID,COLUMN,...``."""


LOCAL_FILE = LocalPath()
OUTPUT_FILE = OutputPath()
OUTPUT_PLACE = OutputPlace()
LABELS_FILE = LabelsFile()
FEATURES_FILE = FeaturesFile()
DATA_FILE = click.Path()
"""A file of interactions; the reader understands ``-``, URLs, and patterns like ``*.csv``."""


def check_files(*more: Path) -> None:
    """Check the outputs of the command that runs, before anything is read.

    Args:
        more: Outputs beside those that are options.

    Raises:
        InputError: One cannot be written, or is also an input or another output.
    """
    from sparserec_np.data.files.remote import is_url
    from sparserec_np.utils.atomic_write import check_outputs

    context = click.get_current_context()
    inputs: list[str] = []
    outputs = list(map(str, more))
    for param in context.command.params:
        given = context.params.get(param.name or "")
        for value in map(str, given if isinstance(given, tuple) else (given,) if given else ()):
            if is_url(value):
                continue
            if isinstance(param.type, OutputPlace):
                outputs += [value] if Path(value).suffix and value != "-" else []
            elif isinstance(param.type, OutputPath):
                outputs.append(value)
            elif isinstance(param.type, LabelsFile):
                inputs.append(os.path.expanduser(value.rpartition(":")[0]))
            elif isinstance(param.type, FeaturesFile):
                names = filter(None, (value, value.rpartition(":")[0]))
                inputs += map(os.path.expanduser, names)
            elif isinstance(param.type, click.Path):
                inputs.append(value)
                inputs += glob(os.path.expanduser(value), recursive=True)
                inputs.append(os.path.expanduser(value))  # as the reader of data does
    check_outputs(outputs, inputs)


class FilesOption(click.Option):
    """An option of one file or more, in a :class:`FilesCommand`: ``--train a.csv b.csv``."""

    def __init__(self, *names: Any, **settings: Any) -> None:
        super().__init__(
            *names, **{"multiple": True, "type": DATA_FILE, "metavar": "FILE...", **settings}
        )


class FilesCommand(click.Command):
    """A command in which a :class:`FilesOption` takes all arguments up to the next option.

    Click itself has only ``--train a.csv --train b.csv`` (``nargs=-1`` raises a TypeError for
    options, by design: https://github.com/pallets/click/issues/1351), but a shell turns
    ``--train part-*.csv`` into the other form.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the name of the option before each file but its first, as click reads it."""
        options = (option for option in self.params if isinstance(option, FilesOption))
        return super().parse_args(
            ctx, repeat_names(args, {name for option in options for name in option.opts})
        )


def repeat_names(args: list[str], names: set[str]) -> list[str]:
    """Repeat the name of an option that has several values before each of them.

    >>> repeat_names(["--train", "a", "b", "--k", "5", "model"], {"--train"})
    ['--train', 'a', '--train', 'b', '--k', '5', 'model']
    """
    repeated: list[str] = []
    option, has_value = None, False
    for arg in args:
        if arg.startswith("-") and arg != "-":
            name, equals, _ = arg.partition("=")
            option, has_value = name if name in names else None, bool(equals)
        elif option and has_value:
            repeated.append(option)
        else:
            has_value = True
        repeated.append(arg)
    return repeated


def hyperparameter_options(command: Command) -> Command:
    """Add an option for each hyperparameter whose metadata has the text of one."""
    for name, field in reversed(list(HYPERPARAMETERS.items())):
        text = field.metadata.get("option")
        if text is not None:
            whole = isinstance(field.default, int)
            kind: Any = click.Choice(["history", "embedding"]) if name == "users" else float
            command = click.option(
                "--" + name.replace("_", "-"),
                type=int if whole else kind,
                metavar=None if name == "users" else "N" if whole else "X",
                help=text,
            )(command)
    return command


def dask_option(work: str) -> Callable[[Command], Command]:
    """Add ``--dask``; ``work`` is a verb for the help, such as ``"Train"``."""
    return click.option(
        "--dask", metavar="ADDRESS", help=f"{work} on this Dask scheduler's workers."
    )


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout."
    )(command)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-q``, ``-v`` and ``--debug``, show the log, and check the files of the command."""

    @click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="More of what goes on, on stderr.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, debug: bool, **options: Any) -> Any:
        log_to_stderr(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
        check_files()
        return command(*args, **options)

    return wrapped
