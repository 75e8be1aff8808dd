"""``sparserec-np fit``: ratings in, model file out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from .configs import merge, read_config
from .labels import read_labels
from .log import log as show
from .log import silence_dask
from .options import (
    DATA_FILE,
    FEATURES_FILE,
    LABELS_FILE,
    LOCAL_FILE,
    OUTPUT_FILE,
    common_options,
    dask_option,
    hyperparameter_options,
    json_option,
)
from .output import format_size, print_json
from .progress import show_epochs
from .reading import (
    filter_options,
    log_report,
    read_files,
    read_validation,
    reading_options,
    split_options,
)
from .terminal import echo


@click.command(no_args_is_help=True, short_help="Learn from ratings and write a model file.")
@click.argument("files", nargs=-1, required=True, type=DATA_FILE, metavar="FILE...")
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="The model file to write.")
@click.option(
    "--config",
    type=LOCAL_FILE,
    metavar="FILE",
    help="Hyperparameters, as tune writes them; options given here win.",
)
@hyperparameter_options
@click.option(
    "--sparsity",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="S",
    help="Share of the entries not stored.",
)
@click.option("--max-size", metavar="SIZE", help="Bytes of the file at most, like 500KB or 1MiB.")
@click.option(
    "--valid",
    type=DATA_FILE,
    metavar="FILE",
    help="Keep the epoch with the best NDCG@20 on this file.",
)
@click.option(
    "--fast",
    is_flag=True,
    default=None,
    help="Choose the number of epochs alone, in a third of the time.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads; the file does not depend on it.",
)
@click.option(
    "--warm-start",
    type=LOCAL_FILE,
    metavar="OLD",
    help="Continue from this model: few epochs, its options where none are given.",
)
@click.option("--checkpoint", metavar="DIR", help="Keep the state of the fit in this folder.")
@click.option(
    "--checkpoint-every",
    metavar="EVERY",
    default="1",
    show_default=True,
    help="Epochs, like 2, or a time, like 30s or 5min.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in that folder.")
@reading_options
@filter_options
@click.option(
    "--labels",
    type=LABELS_FILE,
    metavar="FILE:ID,TITLE",
    help="Titles to store, as in movies.csv:movieId,title.",
)
@click.option(
    "--item-features",
    type=FEATURES_FILE,
    metavar="FILE[:ID,COLUMN,...]",
    help="What items are, as in movies.csv:movieId,genres,title: adds those without ratings.",
)
@click.option(
    "--log", type=OUTPUT_FILE, metavar="FILE", help="Write how each epoch went, for report --log."
)
@dask_option("Train")
@json_option
@common_options
def fit(
    files: tuple[str, ...],
    output: Path,
    config: Path | None,
    valid: str | None,
    labels: str | None,
    item_features: str | None,
    log: Path | None,
    checkpoint: str | None,
    checkpoint_every: str,
    resume: bool,
    warm_start: Path | None,
    dask: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn from the interactions in FILE... and write the model.

    A file is CSV, TSV, Parquet or JSON lines, also compressed; several are read as one. The columns
    are found by their usual names, or named by the options below.
    """
    from sparserec_np.distributed import backend_for
    from sparserec_np.runtime.model import load
    from sparserec_np.training.budget import SizeLimit
    from sparserec_np.training.checkpoint import Checkpointing, clear
    from sparserec_np.training.config import Config
    from sparserec_np.training.epoch_log import write_log
    from sparserec_np.training.fit import fit as fit_model
    from sparserec_np.utils.atomic_write import write

    started = time.perf_counter()
    reading, given = split_options(options)
    if config is not None:
        given = merge(read_config(config), given)
    limit = SizeLimit.parse(
        sparsity=given.pop("sparsity", None), max_size=given.pop("max_size", None)
    )
    threads, fast = given.pop("threads", None), given.pop("fast", False)
    Config(**given)  # so that a value out of range is found before the data is read
    checkpointing = Checkpointing.parse(checkpoint, every=checkpoint_every, resume=resume)
    if warm_start is not None:
        load(warm_start)
    titles = read_labels(labels)
    held = read_validation(valid, reading)
    reading["with_times"] = None
    data = read_files(files, **reading) if dask is None else _read_by_workers(files, reading)
    with show_epochs() as on_epoch, backend_for(dask, threads) as backend:
        result = fit_model(
            data,
            given,
            limit=limit,
            valid=held,
            labels=titles,
            item_features=item_features,
            warm_start=warm_start,
            fast=fast,
            checkpointing=checkpointing,
            on_epoch=on_epoch,
            backend=backend,
        )
    if dask is not None:
        log_report(result.interactions)
    write(output, result.file)
    if log is not None:
        write_log(log, result.metrics)
    if checkpointing is not None:
        clear(checkpointing.folder)
    facts = load(result.file).info()
    summary = {
        "model": str(output),
        "bytes": facts["bytes"],
        "weights": facts["weights"],
        "neighbours": facts["neighbours"],
        "users": facts["users"],
        "dim": facts["dim"],
        "n_users": result.interactions.n_users,
        "n_items": facts["n_items"],
        "interactions": result.interactions.nnz,
        "epochs": result.chosen.epochs,
        "ndcg": result.chosen.ndcg,
        "recency": result.chosen.recency,
        "changes": dict(result.chosen.changes),
        "seconds": round(time.perf_counter() - started, 3),
    }
    if result.extension is not None:
        summary["item_features"] = result.extension.summary()
        show.info("%s", result.extension)
    if as_json:
        print_json(summary)
    else:
        echo(_closing_line(summary))


def _read_by_workers(files: tuple[str, ...], reading: dict[str, Any]) -> Any:
    """Return a description of the files, which the workers read."""
    from sparserec_np.distributed import Files

    silence_dask()
    return Files(files, **reading)


def _closing_line(summary: dict[str, Any]) -> str:
    ndcg = (
        "" if summary["ndcg"] is None else f", NDCG@20 {summary['ndcg']:.4f} on the held-out part"
    )
    counts = [f"{summary[name]:,} {name}" for name in ("weights", "neighbours") if summary[name]]
    return (
        f"{summary['model']}: {format_size(summary['bytes'])}, {' and '.join(counts)} for "
        f"{summary['n_items']:,} items{ndcg}, {summary['seconds']:.0f} s"
    )
