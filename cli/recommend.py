"""``sparserec-np recommend``: items for a user, for a history, or for all users."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from sparserec_np.errors import InputError, UnknownIdError
from sparserec_np.utils.temporary import temporary_folder

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
    from sparserec_np.runtime.taste import Taste


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
@click.option(
    "--like",
    multiple=True,
    metavar="TITLE_OR_ID",
    help="Recommend to someone who likes this, in any order; may be repeated.",
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
    help="With --all-users: a .parquet or .csv file, - for CSV on stdout, or a folder or URL.",
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option("--exclude", metavar="ID,ID,...", help="Items to leave out, beside the known ones.")
@click.option("--candidates", metavar="ID,ID,...", help="Recommend from these items alone.")
@click.option(
    "--popularity",
    type=float,
    default=1.0,
    metavar="X",
    help="How much popularity counts: 1 as learned, 0 not at all.",
)
@click.option(
    "--diversity",
    type=float,
    default=0.0,
    metavar="X",
    help="From 0, the best items, to 1, items unlike each other.",
)
@click.option(
    "--recency",
    type=float,
    metavar="X",
    help="How much the latest items count, 0 to 1 in eighths; else as learned.",
)
@click.option(
    "--dislike",
    multiple=True,
    metavar="TITLE_OR_ID",
    help="Neither this nor what is like it; may be repeated.",
)
@click.option("--why", is_flag=True, help="Show what of the history speaks for each item.")
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
    all_users: bool,
    interactions: tuple[str, ...],
    output: str | None,
    k: int,
    threads: int | None,
    dask: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Recommend items from the file MODEL, best first.

    Give one of --user, --history, --like and --all-users. With --all-users the output has a row for
    each recommendation, with the columns user, rank, item and score; CSV has titles as well. Data
    of any size goes to a folder of Parquet files: one of it is in memory at a time.
    """
    from sparserec_np.data.files.remote import is_url
    from sparserec_np.runtime.model import load

    request = Request(**{name: options.pop(name) for name in Request._fields})
    request.check(all_users, interactions)
    if all_users != (output is not None):
        raise click.UsageError("--all-users and --output go together")
    if all_users and not interactions:
        raise click.UsageError("--all-users needs --interactions, which names the users")
    if dask is not None and not all_users:
        raise click.UsageError("--dask goes with --all-users")
    loaded = load(model)
    if output is None:
        asked = request.of(loaded, interactions, options)
        found = loaded.recommend(**asked, k=k)
        reasons = None
        if request.why:
            wishes = {
                n: v for n, v in asked.items() if n not in ("diversity", "exclude", "candidates")
            }
            reasons = [loaded.explain(id_, **wishes) for id_ in found[0]]
        print_items(loaded, *found, as_json=as_json, reasons=reasons)
        return
    taste = request.taste(loaded)
    ending = Path(output).suffix.lower()
    if output == "-" or (ending in (".parquet", ".csv") and dask is None and not is_url(output)):
        written = _to_one_file(loaded, interactions, output, k, threads, taste, options)
    else:
        written = _to_folder(model, interactions, output, k, threads, dask, taste, options)
    if output != "-":
        _tell(output, written, as_json)


class Request(NamedTuple):
    """Options of a request for one person."""

    user: str | None
    history: str | None
    like: tuple[str, ...]
    exclude: str | None
    candidates: str | None
    popularity: float
    diversity: float
    recency: float | None
    dislike: tuple[str, ...]
    why: bool

    def check(self, all_users: bool, interactions: tuple[str, ...]) -> None:
        """Check that the options go together."""
        if sum((self.user is not None, self.history is not None, bool(self.like), all_users)) != 1:
            raise click.UsageError("Give one of --user, --history, --like and --all-users")
        if interactions and (self.history is not None or self.like):
            raise click.UsageError(
                "--history and --like say all about the user: leave out --interactions"
            )
        alone = {"exclude", "candidates", "dislike", "why"}
        given = sorted(f"--{name}" for name in alone if getattr(self, name))
        if all_users and given:
            raise click.UsageError(f"{given[0]} is for one user and does not go with --all-users")

    def taste(self, model: Model) -> Taste:
        """Return the wishes that go with all users."""
        from sparserec_np.runtime.taste import checked_taste

        return checked_taste(self.popularity, self.diversity, self.recency, model.users)

    def of(self, model: Model, files: tuple[str, ...], reading: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of :meth:`sparserec_np.Model.recommend` but for ``k``."""
        asked: dict[str, Any] = {
            "popularity": self.popularity,
            "diversity": self.diversity,
            "recency": self.recency,
        }
        if self.dislike:
            asked["dislikes"] = [model.resolve(text) for text in self.dislike]
        if self.candidates is not None:
            asked["candidates"] = _ids(model, self.candidates, "--candidates")
        known: list[Any] = []
        if self.user is not None:
            known = _known(model, self.user, files, reading)
        elif model.users == "embedding":
            option = "--like" if self.like else "--history"
            raise InputError(
                f"this model serves the users it was fitted on: give --user ID, not {option}; "
                "fit with --users history serves anyone"
            )
        elif self.like:
            known = [model.resolve(text) for text in self.like]
            asked["recency"] = self.recency or 0.0  # picked by hand: their order says nothing
        else:
            known = _ids(model, str(self.history), "--history")
        if model.users == "history":
            asked["history"] = known
        else:
            assert model.user_ids is not None  # an embedding model has users
            asked["user"] = model.user_ids.parse(str(self.user))
        if self.exclude is not None or model.users == "embedding":
            more = [] if self.exclude is None else _ids(model, self.exclude, "--exclude")
            asked["exclude"] = known + more
        return asked


def _ids(model: Model, text: str, option: str) -> list[Any]:
    ids = split_ids(text, option)
    try:
        return [model.item_ids.parse(one) for one in ids]
    except InputError as error:
        titles = "; --like takes titles" if option == "--history" else ""
        raise InputError(f"{option}: {error}{titles}") from error


def split_ids(text: str, option: str = "--history") -> list[str]:
    """Split ids at commas; an id that holds a comma is put in double quotes, as in CSV.

    >>> split_ids('12,"Goodbye, Lenin",7')
    ['12', 'Goodbye, Lenin', '7']
    """
    ids = next(csv.reader([text], skipinitialspace=True), [])
    if not ids:
        raise InputError(f"{option} is empty: give at least one item id")
    return ids


def _known(model: Model, user: str, files: tuple[str, ...], reading: dict[str, Any]) -> list[Any]:
    """Return the items that a user has by the files."""
    if not files:
        if model.users == "history":
            raise InputError(
                "this model knows no users, it serves them by their histories: "
                "add --interactions FILE, or give --history ID,ID,... instead of --user"
            )
        log.warning(
            "the model does not know what the user has, so that may be recommended again: "
            "--interactions FILE leaves it out"
        )
        return []
    interactions = read_histories(model, files, reading)
    (position,) = interactions.user_ids.locate([interactions.user_ids.parse(user)])
    if position < 0 and model.users == "history":
        raise UnknownIdError(f"user {user} is not in {', '.join(files)}")
    if position < 0:
        return []
    return interactions.item_ids.take(interactions.items_of(position))


def _to_one_file(
    model: Model,
    files: tuple[str, ...],
    output: str,
    k: int,
    threads: int | None,
    taste: Taste,
    reading: dict[str, Any],
) -> Written:
    from sparserec_np.evaluation.batch_recommend import write_recommendations

    with_times = (model.history_recency if taste.recency is None else taste.recency) > 0
    interactions = read_histories(model, files, reading, with_times=with_times)
    wishes: dict[str, Any] = {"k": k, "taste": taste, "threads": threads}
    if output != "-":
        return write_recommendations(model, interactions, Path(output), **wishes)
    with temporary_folder("sparserec-") as folder:
        whole = folder / "recommendations.csv"
        written = write_recommendations(model, interactions, whole, **wishes)
        with whole.open(encoding="utf-8") as lines:
            for line in lines:
                echo(line.rstrip("\n"))
    return written


def _to_folder(
    model: Path,
    files: tuple[str, ...],
    output: str,
    k: int,
    threads: int | None,
    dask: str | None,
    taste: Taste,
    reading: dict[str, Any],
) -> Written:
    from sparserec_np.distributed import recommend_all

    if Path(output).suffix:
        raise InputError(
            f"--output {output}: give a name that ends in .parquet or .csv for one file. A name "
            "without an ending is a folder of Parquet files; --dask and URLs need one."
        )
    if dask is not None:
        silence_dask()
    how: dict[str, Any] = {"k": k, "dask": dask, "threads": threads, "taste": taste}
    return recommend_all(model, files, output, **how, **reading)


def _tell(output: str, written: Written, as_json: bool) -> None:
    if written.skipped:
        log.warning("%s users are unknown to the model and have no rows", f"{written.skipped:,}")
    summary = {"output": output, "users": written.users, "rows": written.rows}
    if as_json:
        print_json({**summary, "skipped_users": written.skipped})
    else:
        echo(f"{output}: {written.rows:,} recommendations for {written.users:,} users")
