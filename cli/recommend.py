"""``sparserec-np recommend``: items for a user, for a history, or for all users."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparserec_np.errors import InputError, UnknownIdError

from .log import log, silence_dask
from .options import (
    LOCAL_FILE,
    OUTPUT_PLACE,
    FilesCommand,
    FilesOption,
    common_options,
    dask_option,
    json_option,
)
from .output import print_items, print_json
from .reading import read_histories, reading_options
from .terminal import echo

if TYPE_CHECKING:
    from sparserec_np.evaluation.batch_recommend import Written
    from sparserec_np.runtime.model import Model


@click.command(
    cls=FilesCommand, no_args_is_help=True, short_help="Recommend items from a model file."
)
@click.argument("model", type=LOCAL_FILE)
@click.option("--user", metavar="ID", help="Recommend to this user.")
@click.option(
    "--history",
    metavar="ID,ID,...",
    help="Recommend to someone who liked these items, the latest last.",
)
@click.option("--all-users", is_flag=True, help="Recommend to every user of --interactions.")
@click.option(
    "--interactions",
    cls=FilesOption,
    help="Histories of the users; their items are not recommended again.",
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT_PLACE,
    help="The Parquet file to write, with --all-users; or a folder or URL for one of each input.",
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of threads, with --all-users.",
)
@dask_option("With --all-users, work")
@reading_options
@json_option
@common_options
def recommend(
    model: Path,
    user: str | None,
    history: str | None,
    all_users: bool,
    interactions: tuple[str, ...],
    output: str | None,
    k: int,
    threads: int | None,
    dask: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Recommend items from the file MODEL, best first.

    Give one of --user, --history and --all-users. With --all-users the output has a row for each
    recommendation, with the columns user, rank, item and score. Data of any size goes to a folder:
    one file of it is in memory at a time.
    """
    from sparserec_np.data.files.remote import is_url
    from sparserec_np.runtime.model import load

    if sum((user is not None, history is not None, all_users)) != 1:
        raise click.UsageError("Give one of --user, --history and --all-users")
    if all_users != (output is not None):
        raise click.UsageError("--all-users and --output go together")
    if history is not None and interactions:
        raise click.UsageError("--history says all about the user: leave out --interactions")
    if all_users and not interactions:
        raise click.UsageError("--all-users needs --interactions, which names the users")
    if dask is not None and not all_users:
        raise click.UsageError("--dask goes with --all-users")
    loaded = load(model)
    if history is not None:
        if loaded.users == "embedding":
            raise InputError(
                "this model serves the users it was fitted on: give --user ID, not --history; "
                "fit with --users history serves anyone"
            )
        items = [loaded.item_ids.parse(text) for text in split_ids(history)]
        print_items(loaded, *loaded.recommend(history=items, k=k), as_json=as_json)
    elif user is not None:
        print_items(loaded, *_to_user(loaded, user, interactions, k, reading), as_json=as_json)
    else:
        assert output is not None  # checked above
        if Path(output).suffix == ".parquet" and dask is None and not is_url(output):
            written = _to_one_file(loaded, interactions, Path(output), k, threads, reading)
        else:
            written = _to_folder(model, interactions, output, k, threads, dask, reading)
        _tell(output, written, as_json)


def split_ids(text: str) -> list[str]:
    """Split ids at commas; an id that holds a comma is put in double quotes, as in CSV.

    >>> split_ids('12,"Goodbye, Lenin",7')
    ['12', 'Goodbye, Lenin', '7']
    """
    ids = next(csv.reader([text], skipinitialspace=True), [])
    if not ids:
        raise InputError("--history is empty: give at least one item id")
    return ids


def _to_user(
    model: Model, user: str, files: tuple[str, ...], k: int, reading: dict[str, Any]
) -> Any:
    if model.users == "history" and not files:
        raise InputError(
            "this model knows no users, it serves them by their histories: "
            "add --interactions FILE, or give --history ID,ID,... instead of --user"
        )
    known: list[Any] = []
    if files:
        interactions = read_histories(model, files, reading)
        (position,) = interactions.user_ids.locate([interactions.user_ids.parse(user)])
        if position < 0 and model.users == "history":
            raise UnknownIdError(f"user {user} is not in {', '.join(files)}")
        if position >= 0:
            known = interactions.item_ids.take(interactions.items_of(position))
    if model.users == "history":
        return model.recommend(history=known, k=k)
    assert model.user_ids is not None  # an embedding model has users
    return model.recommend(user=model.user_ids.parse(user), k=k, exclude=known)


def _to_one_file(
    model: Model,
    files: tuple[str, ...],
    output: Path,
    k: int,
    threads: int | None,
    reading: dict[str, Any],
) -> Written:
    from sparserec_np.evaluation.batch_recommend import write_recommendations

    interactions = read_histories(model, files, reading)
    return write_recommendations(model, interactions, output, k=k, threads=threads)


def _to_folder(
    model: Path,
    files: tuple[str, ...],
    output: str,
    k: int,
    threads: int | None,
    dask: str | None,
    reading: dict[str, Any],
) -> Written:
    from sparserec_np.distributed import recommend_all

    if Path(output).suffix:
        raise InputError(
            f"--output {output}: the name must end in .parquet or, for a folder of files, and with "
            "--dask or a URL in any case, have no ending"
        )
    if dask is not None:
        silence_dask()
    return recommend_all(model, files, output, k=k, dask=dask, threads=threads, **reading)


def _tell(output: str, written: Written, as_json: bool) -> None:
    if written.skipped:
        log.warning("%s users are unknown to the model and have no rows", f"{written.skipped:,}")
    summary = {"output": output, "users": written.users, "rows": written.rows}
    if as_json:
        print_json({**summary, "skipped_users": written.skipped})
    else:
        echo(f"{output}: {written.rows:,} recommendations for {written.users:,} users")
