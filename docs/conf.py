"""Settings of Sphinx for these pages: sphinx-build -W docs OUT."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

from sparserec_np import __version__

project = "sparserec-np"
author = "The sparserec-np authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["build"]

html_theme = "furo"
html_title = f"sparserec-np {__version__}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_show_copyright = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 88  # a longer one has a line for each argument


class Docstring(GoogleDocstring):
    """A Google style docstring whose types are in the signature: a colon is just a colon."""

    def _consume_returns_section(self, preprocess_types: bool = False) -> list[Any]:
        lines = self._dedent(self._consume_to_next_section())
        return [("", "", lines)] if lines else []


def setup(app: Sphinx) -> None:
    """Turn docstrings and help texts into reStructuredText; attributes' are that already."""

    def process(
        app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
    ) -> None:
        if what not in {"attribute", "data", "property"}:
            settings = Config(napoleon_use_rtype=False, napoleon_use_ivar=True)
            lines[:] = Docstring(lines, settings, app, what, name, thing, options).lines()
        no_mail(lines)

    app.connect("autodoc-process-docstring", process)
    app.connect("sphinx-click-process-options", lambda app, context, lines: no_mail(lines))
    for part in ("description", "epilog"):
        app.connect(f"sphinx-click-process-{part}", lambda app, context, lines: help_text(lines))


def no_mail(lines: list[str]) -> None:
    """Keep NDCG@20 from becoming an address to send mail to."""
    lines[:] = [re.sub(r"(?<=[A-Za-z])@(?=[\dk])", r"\@", line) for line in lines]


def help_text(lines: list[str]) -> None:
    """Keep the two dashes of an option from becoming one long one."""
    no_mail(lines)
    lines[:] = [re.sub(r"(--[a-z][a-z-]*)", r"``\1``", line) for line in lines]
