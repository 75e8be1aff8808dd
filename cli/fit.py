"""``sparserec-np fit``: ratings in, model file out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from .configs import check_ranges, merged, read_config
from .labels import labels_by_id, read_labels
from .options import (
    FILE,
    MODEL,
    NO_FILTER,
    apart,
    common_options,
    dask_option,
    filter_options,
    hush_dask,
    json_option,
    print_json,
    read_files,
    reading_options,
    tell_report,
)
from .progress import show_epochs
from .tables import kilobytes


@click.command(no_args_is_help=True, short_help="Learn from ratings and write a model file.")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("-o", "--output", type=MODEL, required=True, help="The model file to write.")
@click.option(
    "--config",
    type=MODEL,
    metavar="FILE",
    help="Hyperparameters, as tune writes them; options given here win.",
)
@click.option(
    "--users",
    type=click.Choice(["history", "embedding"]),
    help="What stands for a user: the items they had, or a row of their own.",
)
@click.option("--dim", type=int, metavar="N", help="Columns of the embedding tables.")
@click.option(
    "--sparsity",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="S",
    help="Share of the entries not stored.",
)
@click.option("--max-size", metavar="SIZE", help="Bytes of the file at most, like 500KB or 1MiB.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the data; else found by itself.")
@click.option(
    "--valid",
    type=FILE,
    metavar="FILE",
    help="Keep the epoch with the best NDCG@20 on this file.",
)
@click.option("--seed", type=int, metavar="N", help="Same seed, same file.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads; the file does not depend on it.",
)
@click.option("--candidates", type=int, metavar="N", help="Negatives to choose the hardest from.")
@click.option("--learning-rate", type=float, metavar="X", help="Step size of Adagrad.")
@click.option(
    "--recency",
    type=click.FloatRange(0, 1),
    metavar="E",
    help="How much what is recent counts for more, 0 to 1; else chosen where times are known.",
)
@click.option("--reg", type=float, metavar="X", help="L2 penalty on the weights.")
@click.option(
    "--warm-start",
    type=MODEL,
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
    "--labels", metavar="FILE:ID,TITLE", help="Titles to store, as in movies.csv:movieId,title."
)
@click.option(
    "--log", type=MODEL, metavar="FILE", help="Write how each epoch went, for report --log."
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
    from sparserec_np.estimator import SparseRec
    from sparserec_np.modelfile.writer import check_writable
    from sparserec_np.runtime.model import load
    from sparserec_np.training.checkpoint import clear
    from sparserec_np.training.epoch_log import write_log

    started = time.perf_counter()
    reading, hyperparameters = apart(options)
    for path in (output, log):
        if path is not None:
            check_writable(path)
    if config is not None:
        hyperparameters = merged(read_config(config), hyperparameters)
    check_ranges(hyperparameters)
    _check_checkpoints(checkpoint, checkpoint_every, resume)
    if warm_start is not None:
        hyperparameters.setdefault("users", load(warm_start).users)
    titles = read_labels(labels) if labels else []
    held = read_files([valid], **{**reading, **NO_FILTER}) if valid else None
    reading["with_times"] = None
    data = read_files(files, **reading) if dask is None else _spread(files, reading)
    with show_epochs() as on_epoch:
        estimator = SparseRec(**hyperparameters).fit(
            data,
            valid=held,
            labels=labels_by_id(titles),
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            warm_start=warm_start,
            dask=dask,
        )
    interactions = estimator.interactions_
    if dask is not None:
        tell_report(interactions)
    estimator.save(output)
    if log is not None:
        write_log(log, estimator.epoch_metrics_)
    if checkpoint is not None:
        clear(checkpoint)
    facts = estimator.model_.info()
    summary = {
        "model": str(output),
        "bytes": output.stat().st_size,
        "weights": facts["weights"],
        "users": facts["users"],
        "dim": facts["dim"],
        "n_users": interactions.n_users,
        "n_items": interactions.n_items,
        "interactions": interactions.nnz,
        "epochs": estimator.best_epoch_,
        "ndcg": estimator.best_ndcg_,
        "recency": estimator.recency_,
        "seconds": round(time.perf_counter() - started, 3),
    }
    if as_json:
        print_json(summary)
    else:
        click.echo(_closing_line(summary))


def _spread(files: tuple[str, ...], reading: dict[str, Any]) -> Any:
    """Leave the reading to the workers."""
    from sparserec_np.distributed import Files

    hush_dask()
    return Files(files, **reading)


def _check_checkpoints(folder: str | None, every: str, resume: bool) -> None:
    """Find out now whether checkpoints can be kept, not after the reading."""
    from sparserec_np.training.checkpoint import check_folder, parse_every

    parse_every(every)
    if folder is not None:
        check_folder(folder, resume=resume)
    elif resume:
        raise click.UsageError("--resume needs the folder of the checkpoints: --checkpoint DIR")


def _closing_line(summary: dict[str, Any]) -> str:
    ndcg = (
        "" if summary["ndcg"] is None else f", NDCG@20 {summary['ndcg']:.4f} on the held-out part"
    )
    return (
        f"{summary['model']}: {kilobytes(summary['bytes'])}, {summary['weights']:,} weights for "
        f"{summary['n_items']:,} items{ndcg}, {summary['seconds']:.0f} s"
    )
