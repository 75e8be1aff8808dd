"""Atomic writes: a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sparserec_np.errors import InputError


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all; see :func:`replacing`.

    Raises:
        InputError: The file cannot be written; nothing is left behind.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a file to write to, which replaces ``path`` once it is whole.

    The bytes go to a new file beside ``path``, reach the disk, and take the name in one step: a
    reader, or a crash at any moment, finds the old file or the new one, and a process that has the
    old one mapped keeps it.

    Raises:
        InputError: The file cannot be written; nothing is left behind.
    """
    target = Path(path)
    check_writable(target)
    temporary = target.parent / f".{target.name[:100]}.{os.urandom(6).hex()}"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise InputError(_failure(target, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Raises:
        InputError: The folder does not exist or cannot be written to, or ``path`` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target}: is a folder; give the name of a file")
    if not target.parent.is_dir():
        raise InputError(f"{target}: the folder {target.parent} does not exist; make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"{target}: no permission to write in the folder {target.parent}")


def _failure(target: Path, error: OSError) -> str:
    advice = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "; make room there, or name another place"
    return f"{target}: cannot be written ({error.strerror or error}){advice}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
