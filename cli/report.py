"""``sparserec-np report``: a page about a model, its quality and what it has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    DATA_FILE,
    LOCAL_FILE,
    OUTPUT_FILE,
    FilesCommand,
    FilesOption,
    common_options,
    json_option,
)
from .output import format_size, print_json
from .reading import read_files, read_histories, reading_options
from .terminal import echo


@click.command(
    cls=FilesCommand, no_args_is_help=True, short_help="Write a page about a model file."
)
@click.argument("model", type=LOCAL_FILE)
@click.option(
    "--train", cls=FilesOption, required=True, help="Interactions that the model learned from."
)
@click.option(
    "--test", type=DATA_FILE, required=True, metavar="FILE", help="Interactions to predict."
)
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="The HTML file to write.")
@click.option(
    "--log", type=LOCAL_FILE, metavar="FILE", help="Learning curves, as fit --log writes them."
)
@click.option("--k", "-k", type=click.IntRange(min=1), default=20, show_default=True, help="Ranks.")
@click.option(
    "--examples",
    type=click.IntRange(0, 20),
    default=4,
    show_default=True,
    metavar="N",
    help="Users to show, with their ids; 0 for none.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads.")
@reading_options
@json_option
@common_options
def report(
    model: Path,
    train: tuple[str, ...],
    test: str,
    output: Path,
    log: Path | None,
    k: int,
    examples: int,
    threads: int | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Write one page about the file MODEL: quality, data, training, and what it has learned.

    The page is a single HTML file that loads nothing, so it can be kept and sent around. It scores
    the model as evaluate does.
    """
    from sparserec_np.report import check_installed, figures, render
    from sparserec_np.runtime.model import load
    from sparserec_np.training.epoch_log import read_log
    from sparserec_np.utils.atomic_write import write

    check_installed()
    records = None if log is None else read_log(log)
    loaded = load(model)
    known = read_histories(loaded, train, reading)
    wanted = read_files([test], **reading)
    found = figures(loaded, known, wanted, k=k, log=records, examples=examples, threads=threads)
    page = render(found, name=model.name).encode()
    write(output, page)
    if as_json:
        popularity = {**found["popular"], "k": k}
        result = {"report": str(output), "bytes": len(page), **found["metrics"]}
        print_json({**result, "popularity": popularity})
    else:
        echo(f"{output}: open it in a browser; {format_size(len(page))} with all it needs")
