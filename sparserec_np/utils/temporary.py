"""Temporary files and folders; what killed processes left behind is removed by the next ones.

Each is locked by its process as long as it is in use, and the system frees the locks of a process
that dies in whatever way.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_YOUNG = 60.0  # seconds in which a new file may not be locked yet
_LONGEST = 100  # bytes of the name of the file that a temporary one stands beside


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder where the system keeps temporary ones; it is removed at the end.

    Args:
        prefix: Of its name; left-over folders of the same prefix are removed.
    """
    yield from _folder(_new_name(Path(tempfile.gettempdir()), prefix))


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Yield a new folder beside a file or folder that is to be written; it is removed at the end.

    Raises:
        OSError: It cannot be made.
    """
    yield from _folder(new_name_beside(target))


def _folder(path: Path) -> Iterator[Path]:
    path.mkdir(mode=0o700)
    handle = os.open(path, os.O_RDONLY)
    try:
        keep(handle)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def new_name_beside(target: Path) -> Path:
    """Return a new name beside a file, and remove what is left over of earlier ones."""
    short = os.fsdecode(os.fsencode(target.name)[:_LONGEST])
    return _new_name(target.parent, f".{short}.")


def keep(handle: int) -> None:
    """Lock an open file or folder of this process, so that no other process removes it."""
    with suppress(OSError):  # a file system without locks: then nothing can be removed either
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _new_name(folder: Path, prefix: str) -> Path:
    ours = re.compile(re.escape(prefix) + "[0-9a-f]{12}")
    with suppress(OSError):
        for entry in os.scandir(folder):
            if ours.fullmatch(entry.name):
                _remove_if_left_over(Path(entry.path))
    return folder / f"{prefix}{os.urandom(6).hex()}"


def _remove_if_left_over(path: Path) -> None:
    with suppress(OSError):
        found = path.lstat()
        if time.time() - found.st_mtime < _YOUNG or found.st_uid != os.geteuid():
            return
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(handle)
