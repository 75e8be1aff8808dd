"""``sparserec-np similar``: the items most similar to one item."""

from __future__ import annotations

from pathlib import Path

import click

from .options import LOCAL_FILE, common_options, json_option
from .output import print_items


@click.command(no_args_is_help=True, short_help="Show the items most like one item.")
@click.argument("model", type=LOCAL_FILE)
@click.argument("item")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@json_option
@common_options
def similar(model: Path, item: str, k: int, as_json: bool) -> None:
    """Show the items most like ITEM, an id or a title, by what the model has learned.

    The score is the cosine between their rows; where the model has neighbours, the mean of that and
    of what the two items add to each other.
    """
    from sparserec_np.runtime.model import load

    loaded = load(model)
    item_id = loaded.resolve(item)
    print_items(loaded, *loaded.similar_items(item_id, k), as_json=as_json, similar_to=item_id)
