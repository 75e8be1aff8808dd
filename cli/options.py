"""Options that several commands share, and the functions behind them."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sparserec_np.training.config import HYPERPARAMETERS

if TYPE_CHECKING:
    from sparserec_np.data import Interactions
    from sparserec_np.runtime.model import Model

Command = TypeVar("Command", bound=Callable[..., Any])


class LocalPath(click.Path):
    """A path on this machine. Mapped files and files that appear by renaming cannot be URLs."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a URL, which would otherwise become a local folder ``s3:``."""
        from sparserec_np.data.files.remote import is_url

        if is_url(str(value)):
            self.fail(f"{value}: must be a file on this machine; copy it from or to there", param)
        return super().convert(value, param, ctx)


MODEL = LocalPath()
FILE = click.Path()
"""A file to read. The reader of the files resolves ``-`` and patterns like ``*.csv``."""

_READING = (
    click.option("--user-col", metavar="NAME", help="Column of the user ids: name or number."),
    click.option("--item-col", metavar="NAME", help="Column of the item ids: name or number."),
    click.option("--rating-col", metavar="NAME", help="Column of the ratings: name or number."),
    click.option("--time-col", metavar="NAME", help="Column of the times: name or number."),
    click.option(
        "--min-rating", type=float, metavar="X", help="Rows with a lower rating do not count."
    ),
    click.option(
        "--on-bad-rows",
        type=click.Choice(["stop", "skip"]),
        default="stop",
        show_default=True,
        help="What to do with rows that cannot be read.",
    ),
)


def reading_options(command: Command) -> Command:
    """Add the options of reading interactions, named as arguments of :func:`sparserec_np.read`."""
    for option in reversed(_READING):
        command = option(command)
    return command


def hyperparameter_options(command: Command) -> Command:
    """Add an option for each hyperparameter that has the text of one in its metadata."""
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


_FILTERS = ("min_user_interactions", "min_item_interactions")
_READ = {"user_col", "item_col", "rating_col", "time_col", "min_rating", "on_bad_rows", *_FILTERS}
NO_FILTER = dict.fromkeys(_FILTERS, 1)
"""Values of the options of :func:`filter_options` that leave nothing out, for validation files."""


def filter_options(command: Command) -> Command:
    """Add the options that leave rare users and items out of the training data."""
    for name in reversed(_FILTERS):
        command = click.option(
            "--" + name.replace("_", "-"),
            type=int,
            default=1,
            metavar="N",
            help=f"Leave out {name.split('_')[1]}s with fewer.",
        )(command)
    return command


def apart(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of reading, and of the other options those that were given."""
    reading = {name: value for name, value in options.items() if name in _READ}
    others = {
        name: value for name, value in options.items() if name not in _READ and value is not None
    }
    return reading, others


def dask_option(what: str) -> Callable[[Command], Command]:
    """Add ``--dask``; ``what`` says what the cluster does."""
    return click.option(
        "--dask", metavar="ADDRESS", help=f"{what} on this Dask scheduler's workers."
    )


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout."
    )(command)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-q``, ``-v`` and ``--debug``, which every command has, and set up the log."""

    @click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="More of what goes on, on stderr.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, debug: bool, **options: Any) -> Any:
        _log_to_stderr(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
        return command(*args, **options)

    return wrapped


class _ToStderr(logging.Handler):
    """Writes to ``sys.stderr`` as it is at that moment, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        click.echo(prefix + self.format(record), err=True)


def _log_to_stderr(level: int) -> None:
    logger = logging.getLogger("sparserec_np")
    logger.handlers = [_ToStderr()]
    logger.setLevel(level)


def quiet() -> bool:
    """Return True if ``-q`` was given."""
    return not logging.getLogger("sparserec_np").isEnabledFor(logging.INFO)


def times_of(model: Model) -> dict[str, Any]:
    """Return the options of reading histories for a model: it may need their times."""
    return {"with_times": model.history_recency > 0}


def read_files(files: Sequence[Path | str], **options: Any) -> Interactions:
    """Read interactions, and report on stderr what was read and what was left out."""
    from sparserec_np.data import read

    interactions: Interactions = read(files, **options)
    tell_report(interactions)
    return interactions


def tell_report(interactions: Interactions) -> None:
    """Report on stderr what was read of the files and what was left out."""
    log, report = logging.getLogger("sparserec_np.cli"), interactions.report
    if report is not None:
        log.info("%s", report.summary())
        for note in report.notes:
            log.warning("%s", note)
        for row in report.bad_examples:
            log.warning("skipped %s", row)


def hush_dask() -> None:
    """Silence the logs of Dask: our own messages report the problems of a cluster."""
    import distributed  # noqa: F401  (which sets its levels, so it comes first)

    for name in ("asyncio", "distributed", "distributed.client", "tornado", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line of stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))
