"""A static page around a model: open it in a browser, from a disk or any web server.

The page searches titles, takes what somebody likes, and recommends at once with reasons; all of it
runs in the browser (``web/sparserec.js``), nothing is sent anywhere. The model travels as text
within a script, because browsers let pages from ``file://`` run scripts but not read files.
"""

from __future__ import annotations

import base64
import html
import os
from importlib import resources
from pathlib import Path

from sparserec_np.errors import InputError
from sparserec_np.modelfile.reader import open_model
from sparserec_np.utils.atomic_write import write

_COPIED = ("sparserec.js", "app.js", "style.css")
_MOST = 256 << 20  # bytes of a model: browsers have no texts of much more than 500 MB


def export_web(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    title: str = "What do you like?",
) -> list[Path]:
    """Write the page of a model.

    Args:
        model: Path of a history model; its labels are the titles, its ids where it has none.
        folder: Folder to write to; made if it does not exist. Files of the same names are
            replaced.
        title: Heading of the page.

    Returns:
        The files written, ``index.html`` first.

    Raises:
        ModelFileError: The model cannot be read or is damaged.
        InputError: It is an embedding model, which knows only the users of its training; or the
            folder cannot be written.
    """
    opened = open_model(model, verify=True)
    if opened.layout.users != "history":
        raise InputError(
            f"{os.fspath(model)}: is an embedding model and can serve only the users of its "
            "training; a page needs a model trained with users='history'"
        )
    if opened.size > _MOST:
        raise InputError(
            f"{os.fspath(model)}: has {opened.size:,} bytes, more than a browser opens as a page "
            f"({_MOST:,}): fit with --max-size"
        )
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be made ({error.strerror or error})") from error
    page = resources.files("sparserec_np") / "web"
    index = (page / "index.html").read_text("utf-8").replace("{{title}}", html.escape(title))
    encoded = base64.b64encode(Path(model).read_bytes()).decode("ascii")
    files = {
        "index.html": index.encode(),
        "model.js": f'"use strict";\nconst SPARSEREC_MODEL = "{encoded}";\n'.encode(),
        **{name: (page / name).read_bytes() for name in _COPIED},
    }
    for name, content in files.items():
        write(target / name, content)
    return [target / name for name in files]
