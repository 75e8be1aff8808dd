"""``sparserec-np search``: items by title."""

from __future__ import annotations

from pathlib import Path

import click

from .log import log
from .options import LOCAL_FILE, common_options, json_option
from .output import print_json, print_table


@click.command(no_args_is_help=True, short_help="Find items by their titles.")
@click.argument("model", type=LOCAL_FILE)
@click.argument("text", nargs=-1, required=True)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@json_option
@common_options
def search(model: Path, text: tuple[str, ...], k: int, as_json: bool) -> None:
    """Find items whose titles have all words of TEXT, the closest first.

    Accents, case and punctuation do not matter.
    """
    from sparserec_np.runtime.model import load

    loaded = load(model)
    found = loaded.find(" ".join(text), k)
    if not found:
        lack = "" if loaded.labels is not None else "; the model has no titles (fit with --labels)"
        log.warning("nothing has all words of %r%s", " ".join(text), lack)
    if as_json:
        print_json({"items": [id_ for id_, _ in found], "labels": [title for _, title in found]})
        return
    print_table(["item", "title"], found)
