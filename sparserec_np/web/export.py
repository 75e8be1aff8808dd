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
from sparserec_np.utils.atomic_write import check_outputs, write
from sparserec_np.utils.temporary import folder_beside

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
        folder: Folder to write to; made if it does not exist, whole or not at all. Files of the
            same names are replaced, ``index.html`` last.
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
    page = resources.files("sparserec_np") / "web"
    index = (page / "index.html").read_text("utf-8").replace("{{title}}", html.escape(title))
    encoded = base64.b64encode(Path(model).read_bytes()).decode("ascii")
    files = {
        "index.html": index.encode(),
        "model.js": f'"use strict";\nconst SPARSEREC_MODEL = "{encoded}";\n'.encode(),
        **{name: (page / name).read_bytes() for name in _COPIED},
    }
    target = Path(os.path.realpath(folder))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            check_outputs([target / name for name in files], [model])
        with folder_beside(target) as whole:
            for name, content in files.items():
                write(whole / name, content)
            if not target.exists():
                whole.chmod(0o777 & ~_umask())
                whole.rename(target)
            else:  # the page itself last: until then it is the old one, or there is none
                for name in reversed(files):
                    os.replace(whole / name, target / name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return [Path(folder) / name for name in files]


def _umask() -> int:
    """Return the bits that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
