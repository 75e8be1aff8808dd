"""``sparserec-np extend``: items that a model lacks, by what they are."""

from __future__ import annotations

from pathlib import Path

import click

from .options import FEATURES_FILE, LOCAL_FILE, OUTPUT_FILE, common_options, json_option
from .output import format_size, print_json
from .terminal import echo


@click.command(no_args_is_help=True, short_help="Add new items to a model, by their features.")
@click.argument("model", type=LOCAL_FILE)
@click.option(
    "--item-features",
    type=FEATURES_FILE,
    required=True,
    metavar="FILE[:ID,COLUMN,...]",
    help="What items are, as in movies.csv:movieId,genres,title.",
)
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="The model file to write.")
@json_option
@common_options
def extend(model: Path, item_features: str, output: Path, as_json: bool) -> None:
    """Add the items of a table that MODEL lacks, learned from the rows of those that it has.

    No interactions are needed. Ids, rows and answers of all other items stay as they are.
    """
    from sparserec_np.features.extend import extend as extend_model
    from sparserec_np.utils.atomic_write import write

    found = extend_model(model, item_features)
    write(output, found.file)
    if as_json:
        print_json({"model": str(output), "bytes": len(found.file), **found.summary()})
    else:
        echo(f"{output}: {format_size(len(found.file))}, {found}")
