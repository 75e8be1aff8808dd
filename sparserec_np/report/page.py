"""From figures to a page: jinja2 fills ``page.html``, which escapes every text."""

from __future__ import annotations

from importlib import import_module, resources
from typing import Any

from sparserec_np._version import __version__
from sparserec_np.errors import missing_extra
from sparserec_np.report.charts import draw
from sparserec_np.report.figures import Figures

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
    """Check for what :func:`render` needs, before the work that leads to it.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    for package in ("jinja2", "matplotlib"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise missing_extra(package, "report", "a report") from error


def render(figures: Figures, *, name: str) -> str:
    """Make the page: HTML that is well-formed XML too, and loads nothing from anywhere.

    Args:
        figures: What :func:`sparserec_np.report.figures` gives.
        name: What the model is called, in the heading.

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
    page = (resources.files("sparserec_np.report") / "page.html").read_text("utf-8")
    charts = {chart: Markup(svg) for chart, svg in draw(figures).items()}
    text: str = environment.from_string(page).render(
        **figures, charts=charts, name=name, parts=_parts(figures["info"]), version=__version__
    )
    # Characters that XML does not allow, not even escaped, have no place in a page.
    return "".join(c for c in text if c >= " " or c in "\n\t")


def _parts(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Say what each part of the file is, the largest first."""
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
