"""Decorators of compiled functions, and the folder that keeps compiled code.

Compilation is most of a first fit's time, and Numba compiles more than the functions themselves:
for each one a wrapper that Python calls and one that C calls. No C code calls ours, and most are
called by compiled code alone.

Numba compares only the file that a function stands in with what it keeps of it: not those of the
functions and types that it uses. So compiled code lies in a folder that is named by all of these
files, and no version of the package takes that of another.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numba
from numba.core import config, event

from sparserec_np.utils.log import logger

_log = logger(__name__)
_config: Any = config  # its names are made when it is imported

_PACKAGE = Path(__file__).resolve().parents[1]
# All that decorate a function with what is here, and the types and numbers that these use.
_SOURCES = ("training/kernels", "utils", "runtime/upper_bounds.py", "modelfile/layout.py")
_DECORATING, _OWN_NAME = ("training", "retrieval"), b"utils.compiled"
SECONDS = 20
"""CPU-seconds that a first fit compiles for, more or less, on a laptop."""


def _digest() -> str:
    """Return a checksum of all sources that compiled code is made of, and of what compiles it."""
    checksum = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for source in (*_SOURCES, *_DECORATING):
        path = _PACKAGE / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content = file.read_bytes()
            if source in _SOURCES or _OWN_NAME in content:
                checksum.update(content)
    return checksum.hexdigest()[:16]


def _folders(digest: str) -> Iterator[Path]:
    """Yield the folders that compiled code may lie in, the best first."""
    if _config.CACHE_DIR:
        yield Path(_config.CACHE_DIR) / f"sparserec_np-{digest}"
    else:
        yield _PACKAGE / "__pycache__" / f"compiled-{digest}"
        with suppress(RuntimeError):  # no home folder
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            yield home / "sparserec_np" / digest
    own = getattr(os, "getuid", lambda: "")()
    yield Path(tempfile.gettempdir()) / f"sparserec_np-{own}-{digest}"


def _is_usable(folder: Path) -> bool:
    """Make a folder that nobody else can write to; return whether it is there and can be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
        is_own = not hasattr(os, "getuid") or state.st_uid in (os.getuid(), 0)
        if folder.is_symlink() or not is_own or (os.name == "posix" and state.st_mode & 0o022):
            return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _choose_folder() -> Path | None:
    """Find the folder of compiled code; None where none can be written to."""
    digest = _digest()
    for place, folder in enumerate(_folders(digest)):
        is_new = not folder.exists()
        if _is_usable(folder):
            if is_new and folder.parent == _PACKAGE / "__pycache__":
                for old in folder.parent.glob("compiled-*"):  # of the version before
                    if old != folder:
                        shutil.rmtree(old, ignore_errors=True)
            if folder.parent == Path(tempfile.gettempdir()) and place:
                _log.warning(
                    "compiled code is kept in %s, as no better folder can be written to; set "
                    "NUMBA_CACHE_DIR to one that lasts",
                    folder,
                )
            return folder
    _log.warning(
        "no folder can keep compiled code, so each process compiles anew, for about %d s; set "
        "NUMBA_CACHE_DIR to a folder that can be written to",
        SECONDS,
    )
    return None


FOLDER = _choose_folder()
"""The folder of compiled code, or None."""

_njit = partial(numba.njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls; what it calls is kept with it."""
    if FOLDER is None:
        return _njit(function)
    before, _config.CACHE_DIR = _config.CACHE_DIR, str(FOLDER)
    try:
        return _njit(function, cache=True)
    finally:
        _config.CACHE_DIR = before


helper: Any = partial(_njit, no_cpython_wrapper=True)
"""Compile a function that compiled code calls: from Python the call would crash."""

inline: Any = partial(_njit, inline="always")
"""Compile a function as a part of those that call it."""


class _Notice(event.Listener):
    """Says once that compilation has begun, which takes a while."""

    said = False

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if not self.said and function.__module__.startswith("sparserec_np."):
            self.said = True
            what = "compiling the engine, once for each kind of command on this machine"
            _log.info("%s, up to about %d s", what, SECONDS)

    def on_end(self, event: Any) -> None:
        """Do nothing."""


event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]
