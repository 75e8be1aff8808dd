"""``sparserec-np split``: one file into what to learn from, and what to be predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .log import log
from .options import DATA_FILE, LOCAL_FILE, check_files, common_options, json_option
from .output import print_json
from .reading import log_report, reading_options
from .terminal import echo


@click.command(no_args_is_help=True, short_help="Split files into a train and a test part.")
@click.argument("files", nargs=-1, required=True, type=DATA_FILE)
@click.option(
    "-o",
    "--output",
    type=LOCAL_FILE,
    required=True,
    metavar="DIR",
    help="Folder for train.csv and test.csv.",
)
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    metavar="X",
    help="Share of each user's interactions that goes to test.csv.",
)
@click.option(
    "--by",
    type=click.Choice(["time", "random"]),
    help="The latest of each user or any; without it time, where it is known.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same seed, same split.")
@reading_options
@json_option
@common_options
def split(
    files: tuple[str, ...],
    output: Path,
    test_share: float,
    by: str | None,
    seed: int,
    as_json: bool,
    **reading: Any,
) -> None:
    """Split the rows of FILES into train.csv, to learn from, and test.csv, to be predicted.

    All columns are kept. A user keeps at least one interaction in train.csv, and rows of the same
    user and item stay together.
    """
    from sparserec_np.data.files.row_split import split_files
    from sparserec_np.errors import InputError
    from sparserec_np.utils.temporary import folder_beside

    names = ("train.csv", "test.csv")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: no folder to write to ({error.strerror or error})") from error
    check_files(*(output / name for name in names))
    with folder_beside(output / "split") as scratch:
        with (
            (scratch / names[0]).open("w", encoding="utf-8", newline="") as train,
            (scratch / names[1]).open("w", encoding="utf-8", newline="") as test,
        ):
            done = split_files(
                files,
                train,
                test,
                share=test_share,
                by_time=None if by is None else by == "time",
                seed=seed,
                **reading,
            )
        for name in names:
            (scratch / name).replace(output / name)
    log_report(done.interactions)
    for note in done.notes:
        log.warning("%s", note)
    which = "the latest" if done.by_time else "a random"
    if as_json:
        by = "time" if done.by_time else "random"
        print_json({"output": str(output), "train": done.train, "test": done.test, "by": by})
        return
    echo(f"{output / names[0]}: {done.train:,} rows")
    echo(f"{output / names[1]}: {done.test:,} rows, {which} {test_share:.0%} of each user's")
