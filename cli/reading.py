"""Reading interactions from files: the options for it, and a report on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .log import log
from .options import Command

if TYPE_CHECKING:
    from sparserec_np.data import Interactions
    from sparserec_np.runtime.model import Model

_OPTIONS = (
    click.option("--user-col", metavar="NAME", help="Column of the user ids: name or number."),
    click.option("--item-col", metavar="NAME", help="Column of the item ids: name or number."),
    click.option(
        "--rating-col", metavar="NAME", help="Column of the ratings: name or number, or none."
    ),
    click.option("--time-col", metavar="NAME", help="Column of the times, likewise."),
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
    click.option("--delimiter", metavar="TEXT", help="Text between columns; also tab, blank."),
    click.option(
        "--header/--no-header", default=None, help="The first line names the columns, or is a row."
    ),
    click.option("--encoding", metavar="NAME", help="Encoding of text, like latin-1."),
    click.option(
        "--format", type=click.Choice(["lists"]), help="Lines of a user and all items of that user."
    ),
    click.option(
        "--missing-ids", metavar="TEXT,TEXT", help="Texts that mean no id, for NULL, nan and so on."
    ),
)
_DIALECT = ("delimiter", "header", "encoding", "format", "missing_ids")
_NO_FILTERS = dict.fromkeys(("min_user_interactions", "min_item_interactions"), 1)
_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("user_col", "item_col", "rating_col", "time_col", "min_rating", *_DIALECT)),
    "on_bad_rows": "stop",
    **_NO_FILTERS,
}


def reading_options(command: Command) -> Command:
    """Add the options of :func:`sparserec_np.read`, but for the filters."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filter_options(command: Command) -> Command:
    """Add the options that leave rare users and items out of the training data."""
    for name, default in reversed(_NO_FILTERS.items()):
        command = click.option(
            "--" + name.replace("_", "-"),
            type=int,
            default=default,
            metavar="N",
            help=f"Leave out {name.split('_')[1]}s with fewer.",
        )(command)
    return command


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into those of reading and, of all others, those that were given."""
    reading = {name: value for name, value in options.items() if name in _DEFAULTS}
    others = {
        name: value
        for name, value in options.items()
        if name not in _DEFAULTS and value is not None
    }
    return reading, others


def changed_options(reading: dict[str, Any]) -> dict[str, Any]:
    """Return the options of reading whose values are not the defaults."""
    return {name: value for name, value in reading.items() if value != _DEFAULTS[name]}


def read_files(files: Sequence[str], **options: Any) -> Interactions:
    """Read interactions; report on stderr what was read and what was left out."""
    from sparserec_np.data import read

    interactions: Interactions = read(files, **options)
    log_report(interactions)
    return interactions


def read_validation(file: str | None, reading: dict[str, Any]) -> Interactions | None:
    """Read the file of ``--valid``, if there is one; rare users and items stay in it."""
    return read_files([file], **{**reading, **_NO_FILTERS}) if file else None


def read_histories(
    model: Model,
    files: Sequence[str],
    reading: dict[str, Any],
    *,
    with_times: bool | None = None,
) -> Interactions:
    """Read the interactions of a model's users.

    Args:
        model: The model.
        files: The files.
        reading: Options of :func:`sparserec_np.read`.
        with_times: Read times, too; None: if the model weighs recency.

    Raises:
        InputError: They have no item, or no user where it knows users, in common with the model.
    """
    from sparserec_np.data.alignment import check_overlap

    with_times = model.history_recency > 0 if with_times is None else with_times
    interactions = read_files(files, **reading, with_times=with_times)
    for role in ("item", "user"):
        known = getattr(model, f"{role}_ids")
        if known is not None:
            ids = getattr(interactions, f"{role}_ids")
            names = (role, "the interactions", "the model")
            check_overlap(ids, known, ids.positions_in(known), names)
    return interactions


def log_report(interactions: Interactions) -> None:
    """Report on stderr what was read and what was left out."""
    report = interactions.report
    if report is not None:
        log.info("%s", report.summary())
        for note in report.notes:
            log.warning("%s", note)
        for row in report.bad_examples:
            log.warning("skipped %s", row)
