"""``sparserec-np export-web``: a page that recommends in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from .options import LOCAL_FILE, common_options, json_option
from .output import format_size, print_json
from .terminal import echo


@click.command("export-web", no_args_is_help=True, short_help="Write a page around a model file.")
@click.argument("model", type=LOCAL_FILE)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The folder to write; made if it does not exist.",
)
@click.option(
    "--title", default="What do you like?", show_default=True, help="Heading of the page."
)
@json_option
@common_options
def export_web(model: Path, output: Path, title: str, as_json: bool) -> None:
    """Write a static page that recommends from the file MODEL.

    Open its index.html in a browser, from a disk or any web server: people pick what they like and
    see at once what else they may like, and why. Everything happens in their browser. MODEL must
    be a history model; with --labels in fit, the page shows titles.
    """
    from sparserec_np.web.export import export_web as write_page

    files = write_page(model, output, title=title)
    n_bytes = sum(path.stat().st_size for path in files)
    if as_json:
        print_json({"files": [str(path) for path in files], "bytes": n_bytes})
    else:
        echo(f"{files[0]}: open it in a browser; {format_size(n_bytes)} with all it needs")
