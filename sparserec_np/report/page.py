"""The page of a report: jinja2 fills ``page.html`` and escapes every text."""

from __future__ import annotations

import re
from importlib import import_module, resources
from typing import Any

from sparserec_np._version import __version__
from sparserec_np.errors import missing_extra
from sparserec_np.report.charts import draw
from sparserec_np.report.figures import Figures

_LONG = 30  # letters of a title in a reason
_PARTS = {
    "header": "header: layout, config, facts",
    "items": "item weights",
    "users": "user weights",
    "bias": "item biases",
    "history": "history weights",
    "item_ids": "ids of items",
    "user_ids": "ids of users",
    "labels": "titles",
}
_PIECES = {
    "high": "where they stand, upper bits",
    "low": "where they stand, lower bits",
    "codes": "values",
    "levels": "codebook",
    "blocks": "directory",
    "texts": "texts",
}


def check_installed() -> None:
    """Check that the packages for :func:`render` are installed, before the long work.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    for package in ("jinja2", "matplotlib"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise missing_extra(package, "report", "a report") from error


def render(figures: Figures, *, name: str) -> str:
    """Render the page as HTML that is also well-formed XML, and loads nothing.

    Args:
        figures: Result of :func:`sparserec_np.report.figures`.
        name: Name of the model, for the heading.

    Returns:
        The text of the page.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    check_installed()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["short"] = _short
    page = (resources.files("sparserec_np.report") / "page.html").read_text("utf-8")
    charts = {chart: Markup(svg) for chart, svg in draw(figures).items()}
    text: str = environment.from_string(page).render(
        **figures, charts=charts, name=name, parts=_parts(figures["info"]), version=__version__
    )
    # XML does not allow control characters, not even escaped.
    return "".join(c for c in text if c >= " " or c in "\n\t")


def _short(title: str) -> str:
    """Leave out what stands in brackets, and cut a long title off after a word.

    >>> _short("Harry Potter and the Sorcerer's Stone (a.k.a. ...) (2001)")
    'Harry Potter and the…'
    """
    bare = re.sub(r"\s*\([^()]*\)", "", title) or title
    return bare if len(bare) <= _LONG else re.sub(r"[\s,:]+\S*$", "", bare[:_LONG]) + "…"


def _parts(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Describe the parts of the file, the largest first."""
    rows = []
    for tensor, n_bytes in sorted(info["parts"].items(), key=lambda part: -part[1]):
        prefix, _, piece = tensor.partition(".")
        what = _PARTS.get(prefix, prefix)
        if piece in _PIECES and piece != "texts":
            what += f": {_PIECES[piece]}"
        rows.append(
            {"tensor": tensor, "what": what, "bytes": n_bytes, "share": n_bytes / info["bytes"]}
        )
    return rows
