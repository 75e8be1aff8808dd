"""``sparserec-np evaluate``: ranking metrics of a model file on held-out interactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    DATA_FILE,
    LOCAL_FILE,
    FilesCommand,
    FilesOption,
    common_options,
    json_option,
)
from .output import format_size, print_facts, print_json, print_metrics
from .reading import read_files, read_histories, reading_options


@click.command(
    cls=FilesCommand,
    no_args_is_help=True,
    short_help="Score a model file on held-out interactions.",
)
@click.argument("model", type=LOCAL_FILE)
@click.option(
    "--train",
    cls=FilesOption,
    required=True,
    help="Histories of the users; their items are left out of the rankings.",
)
@click.option(
    "--test", type=DATA_FILE, required=True, metavar="FILE", help="Interactions to predict."
)
@click.option("--k", "-k", type=click.IntRange(min=1), default=20, show_default=True, help="Ranks.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads.")
@reading_options
@json_option
@common_options
def evaluate(
    model: Path,
    train: tuple[str, ...],
    test: str,
    k: int,
    threads: int | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Score the file MODEL: recall, NDCG, hit rate, MRR and coverage of its first k items.

    For each user of the test file all items are ranked, except those that the user has in the
    training files. Beside the model stands what is popular: the items that most users have.
    """
    from sparserec_np.evaluation.evaluate import evaluate as score
    from sparserec_np.runtime.model import load

    loaded = load(model)
    known = read_histories(loaded, train, reading)
    wanted = read_files([test], **reading)
    metrics = score(loaded, known, wanted, k=k, threads=threads)
    if as_json:
        print_json(metrics)
        return
    print_metrics(metrics, metrics["popularity"], title=str(model))
    size = format_size(metrics["model_bytes"])
    print_facts([("users", f"{metrics['users']:,}"), ("file", f"{model}, {size}")])
