"""``sparserec-np tune``: search for hyperparameters on a validation part."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparserec_np.training.config import Config

from .charts import check_chart, draw_chart
from .configs import write_config
from .labels import read_labels
from .log import log
from .options import (
    DATA_FILE,
    LABELS_FILE,
    OUTPUT_FILE,
    check_files,
    common_options,
    json_option,
)
from .output import format_size, print_json, print_table
from .progress import show_trials
from .reading import (
    changed_options,
    filter_options,
    read_files,
    read_validation,
    reading_options,
    split_options,
)
from .terminal import echo, echo_command

if TYPE_CHECKING:
    from sparserec_np.data import Interactions
    from sparserec_np.tuning.tune import Tuned


@click.command(no_args_is_help=True, short_help="Search for hyperparameters that suit the data.")
@click.argument("files", nargs=-1, required=True, type=DATA_FILE, metavar="FILE...")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="N",
    help="Sets of hyperparameters to try, for each size; the defaults are the first.",
)
@click.option(
    "--valid",
    type=DATA_FILE,
    metavar="FILE",
    help="Score by NDCG@20 on this file; else on a held-out part.",
)
@click.option("--max-size", metavar="SIZE", help="Bytes of the model file at most, like 300KB.")
@click.option(
    "--sizes", metavar="SIZE,SIZE,...", help="Search for each of these sizes: NDCG against bytes."
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Write the best config as JSON, for fit --config; with --sizes one for each.",
)
@click.option(
    "--plot", type=OUTPUT_FILE, metavar="FILE", help="Draw NDCG against bytes, as PNG or SVG."
)
@click.option(
    "--storage",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Keep the trials in this SQLite file, and go on from those in it.",
)
@click.option(
    "--users",
    type=click.Choice(["history", "embedding"]),
    default="history",
    show_default=True,
    help="User model: a history of items, or an embedding.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same trials.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads.")
@reading_options
@filter_options
@click.option(
    "--labels",
    type=LABELS_FILE,
    metavar="FILE:ID,TITLE",
    help="Titles that the model file is to hold.",
)
@json_option
@common_options
def tune(
    files: tuple[str, ...],
    trials: int,
    valid: str | None,
    max_size: str | None,
    sizes: str | None,
    output: Path | None,
    plot: Path | None,
    storage: Path | None,
    users: str,
    seed: int,
    threads: int | None,
    labels: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Search for the hyperparameters that rank best, for the interactions in FILE...

    The first trial has what fit --fast takes, so the result is as good on the validation part or
    better. Neighbours are not searched: fit --config tries them beside what was found, unless
    --fast is given. Trials that fall behind are given up. Ctrl-C ends the search and keeps the
    result so far.
    """
    started = time.perf_counter()
    if sizes and max_size:
        raise click.UsageError("Give either --max-size or --sizes")
    max_sizes = _split(sizes) if sizes else [max_size]
    outputs = _outputs(output, max_sizes)
    _check(max_sizes, outputs, plot, storage, seed)
    reading, _ = split_options(options)
    titles = read_labels(labels)
    interactions = read_files(files, **reading, with_times=None)
    found, stopped = _search(
        interactions,
        max_sizes,
        trials=trials,
        valid=read_validation(valid, reading),
        labels=titles,
        storage=storage,
        users=users,
        seed=seed,
        threads=threads,
    )
    for tuned, path in zip(found, outputs, strict=False):
        write_config(path, tuned.config)
    if plot is not None:
        draw_chart(found, plot)
    if as_json:
        results = [tuned.to_dict() for tuned in found]
        seconds = round(time.perf_counter() - started, 3)
        print_json({**({"sizes": results} if sizes else results[0]), "seconds": seconds})
    else:
        (_show_sizes if sizes else _show_best)(found)
        if outputs:
            echo_command("Next:", _next(files, valid, labels, reading, outputs[len(found) - 1]))
    if stopped:
        log.warning("interrupted: this was found by then")
    return 130 if stopped else 0


def _search(
    interactions: Interactions, max_sizes: Sequence[str | None], *, trials: int, **options: Any
) -> tuple[list[Tuned], bool]:
    """Search for each size, starting from the best of the size before.

    Returns:
        The results, and whether Ctrl-C ended the search.
    """
    from sparserec_np.tuning.tune import tune as search

    found: list[Tuned] = []
    for size in max_sizes:
        first = found[-1].best.params if found else None
        try:
            with show_trials(size or "trials", trials) as (on_epoch, on_trial):
                tuned = search(
                    interactions,
                    trials=trials,
                    max_size=size,
                    try_first=first,
                    on_epoch=on_epoch,
                    on_trial=on_trial,
                    **options,
                )
        except KeyboardInterrupt:
            if not found:
                raise
            return found, True
        found.append(tuned)
        if tuned.interrupted:
            return found, True
    return found, False


def _split(sizes: str) -> list[str]:
    """Split sizes at commas, the smallest first."""
    from sparserec_np.utils.sizes import parse_size

    given = [size.strip() for size in sizes.split(",")]
    return sorted(dict.fromkeys(given), key=parse_size)


def _outputs(output: Path | None, max_sizes: Sequence[str | None]) -> list[Path]:
    """Name the file of each config: ``best.json``, or ``best-300KB.json`` where there are more."""
    if output is None:
        return []
    if len(max_sizes) == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{size}{output.suffix}") for size in max_sizes]


def _check(
    max_sizes: Sequence[str | None],
    outputs: Sequence[Path],
    plot: Path | None,
    storage: Path | None,
    seed: int,
) -> None:
    """Check the installation, sizes, seed and output files, before anything is read.

    Raises:
        MissingExtraError: optuna is not installed.
        InputError: A size or the seed is out of range, or a file cannot be written.
    """
    from sparserec_np.training.budget import SizeLimit
    from sparserec_np.tuning.trials import check_storage, import_optuna

    import_optuna()
    Config(seed=seed)
    for size in max_sizes:
        SizeLimit.parse(max_size=size)
    if len(outputs) > 1:
        check_files(*outputs)
    if plot is not None:
        check_chart(plot)
    if storage is not None:
        check_storage(storage)


def _show_best(found: Sequence[Tuned]) -> None:
    (tuned,) = found
    best, default = tuned.best, tuned.default
    rows = [(name, f"{default.params[name]:g}", f"{best.params[name]:g}") for name in best.params]
    print_table(("hyperparameter", "default", "best"), rows)
    pruned = sum(trial.state != "complete" for trial in tuned.trials)
    echo(
        f"NDCG@20 {best.ndcg:.4f} in {format_size(best.bytes or 0)}, "
        f"by defaults {default.ndcg:.4f}: trial {best.number + 1} of {len(tuned.trials)}, "
        f"of which {pruned} were given up"
    )


def _show_sizes(found: Sequence[Tuned]) -> None:
    top = max(tuned.best.ndcg or 0.0 for tuned in found)
    rows = [
        (
            tuned.config["max_size"],
            f"{tuned.best.bytes:,}",
            f"{tuned.best.weights:,}",
            tuned.default.ndcg,
            tuned.best.ndcg,
            f"{(tuned.best.ndcg or 0.0) / top:.0%}",
        )
        for tuned in found
    ]
    columns = ("size", "bytes", "weights", "NDCG@20 by defaults", "NDCG@20 tuned", "of the best")
    print_table(columns, rows)


def _next(
    files: Sequence[str],
    valid: str | None,
    labels: str | None,
    reading: dict[str, Any],
    config: Path,
) -> str:
    """Return the command that fits with a config, and reads the files as the search did."""
    options = {**changed_options(reading), "valid": valid, "labels": labels, "config": config}
    words = ["sparserec-np", "fit", *files, "-o", "model.srec"]
    for name, value in options.items():
        if value is not None:
            words += ["--" + name.replace("_", "-"), str(value)]
    return shlex.join(words)
