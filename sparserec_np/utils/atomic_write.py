"""Atomic writes: a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sparserec_np.errors import InputError
from sparserec_np.utils.temporary import keep, new_name_beside


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
    old one mapped keeps it. A link stays one: what it leads to is replaced.

    Raises:
        InputError: The file cannot be written; nothing is left behind.
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    temporary = new_name_beside(target)
    try:
        with open(temporary, "xb") as file:
            keep(file.fileno())
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
        InputError: The folder does not exist or cannot be written to, or ``path`` is a folder or
            anything else than a regular file, or no name of one.
    """
    target = Path(path)
    try:
        final = Path(os.path.realpath(path))
        mode = _mode(final)
        folder_exists = final.parent.is_dir()
    except OSError as error:  # such as a name that is too long
        raise InputError(_failure(target, error)) from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{target}: is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{target}: is a device or a pipe; give the name of a file")
    if not folder_exists:
        raise InputError(f"{target}: the folder {final.parent} does not exist; make it first")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise InputError(f"{target}: no permission to write in the folder {final.parent}")


def check_outputs(
    outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]]
) -> None:
    """Check that outputs can be written, and that none is an input or another output.

    Files are the same if they are so by other names, too, through links of both kinds.

    Args:
        outputs: Files to be written.
        inputs: Files to be read, or ``"-"`` for standard input.

    Raises:
        InputError: An output cannot be written, or would replace what is still needed.
    """
    taken = {_identity(path): f"the input {os.fspath(path)}" for path in inputs}
    for path in outputs:
        check_writable(path)
        identity = _identity(path)
        if identity in taken:
            raise InputError(
                f"{os.fspath(path)}: is the same file as {taken[identity]}, which it would "
                "replace; give another name"
            )
        taken[identity] = f"the output {os.fspath(path)}"


def _mode(path: Path) -> int:
    """Return the mode of a file, or that of a regular one if there is none yet."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return stat.S_IFREG


def _identity(path: str | os.PathLike[str]) -> object:
    try:
        found = os.stat(0 if path == "-" else path)
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


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
