"""How Sphinx builds these pages: sphinx-build -W docs OUT."""

from sparserec_np import __version__

project = "sparserec-np"
author = "The sparserec-np authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["build"]

html_theme = "furo"
html_title = f"sparserec-np {__version__}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_show_sphinx = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
