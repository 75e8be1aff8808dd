"""The files to read: paths, globs, URLs and standard input."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from socket import gethostname
from typing import BinaryIO

from sparserec_np.data.files.inspection import InputFile, as_utf8, inspect_file
from sparserec_np.data.files.remote import duckdb_path, expand_url, is_url, open_url
from sparserec_np.errors import InputError, SparseRecError

MOST_COPIED = 100 * 10**9
"""Bytes of standard input or a pipe, at most, and half of the room on the disk."""

_PIECE = 1 << 20


def find_files(
    paths: Sequence[str | Path] | str | Path, scratch: Path, encoding: str | None = None
) -> list[InputFile]:
    """List the files to read, and inspect each.

    Args:
        paths: One or many paths, URLs, globs or ``"-"`` (standard input); the files of a glob come
            in the order of their names.
        scratch: Folder for copies of standard input and pipes, as files are read more than once.
        encoding: See :func:`inspect_file`.

    Raises:
        InputError: There is no such file, or it is a folder, or it cannot be read; see also
            :func:`inspect_file`.
        MissingExtraError: A package for the store behind a URL is not installed.
    """
    given = _listed(paths)
    if given.count("-") > 1:
        raise InputError("standard input (-) can be read only once")
    files: list[InputFile] = []
    for path in given:
        if path == "-":
            copy = _copy(sys.stdin.buffer, "standard input", scratch / f"{len(files)}")
            files.append(_inspect(copy, "standard input", encoding))
        elif is_url(path):
            files += [_inspect_url(url, encoding) for url, _ in expand_url(path)]
        else:
            for match in _expand(path):
                if os.path.isfile(match):
                    files.append(_inspect(match, match, encoding))
                else:  # a pipe, as shells make of <(command)
                    with open(match, "rb") as pipe:
                        copy = _copy(pipe, match, scratch / f"{len(files)}")
                    files.append(_inspect(copy, match, encoding))
    return files


def list_files(paths: Sequence[str | Path] | str | Path) -> list[tuple[str, int]]:
    """List files that will be read elsewhere or later, without opening them.

    Args:
        paths: One or many paths, URLs or globs; the files of a glob come in the order of their
            names.

    Returns:
        Absolute path or URL of each, and its number of bytes.

    Raises:
        InputError: There is no such file, or it is a folder, or it can be read only once.
        MissingExtraError: A package for the store behind a URL is not installed.
    """
    files: list[tuple[str, int]] = []
    for path in _listed(paths):
        if is_url(path):
            files += expand_url(path)
            continue
        for match in ["-"] if path == "-" else _expand(path):
            if match == "-" or not os.path.isfile(match):
                name = "standard input (-)" if match == "-" else match
                raise InputError(f"{name} can be read only once, and here alone: give files")
            files.append((str(Path(match).resolve()), os.path.getsize(match)))
    return files


def check_seen(paths: list[str]) -> None:
    """Check that files are there, on the machine where this runs.

    Raises:
        InputError: One is not, or what reads it is not installed.
    """
    for path in paths:
        if is_url(path):
            try:
                list_files(path)
            except SparseRecError as error:
                raise InputError(f"{error} (seen from {gethostname()})") from error
        elif not Path(path).exists():
            raise InputError(
                f"{path}: is not to be found on {gethostname()}: put the files where every worker "
                "finds them under the same name"
            )


def _listed(paths: Sequence[str | Path] | str | Path) -> list[str]:
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not given:
        raise InputError("no file to read was given")
    return [os.path.expanduser(path) for path in given]


def _expand(path: str) -> list[str]:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path!r}: a name that is not UTF-8 cannot be read: rename it") from error
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder: name the files in it, such as {path}/*.csv")
    if os.path.exists(path):
        return [path]
    matches = sorted(glob(path, recursive=True)) if has_magic(path) else []
    matches = [match for match in matches if not os.path.isdir(match)]
    if not matches:
        problem = "no file matches" if has_magic(path) else "there is no file"
        raise InputError(f"{problem} {path}: check the name and the folder ({os.getcwd()})")
    return matches


def _copy(stream: BinaryIO, name: str, target: Path) -> str:
    """Copy to a file what can be read only once.

    Raises:
        InputError: It takes more than half of the room that there is on the disk.
    """
    left = limit = min(MOST_COPIED, shutil.disk_usage(target.parent).free // 2)
    with target.open("wb") as copy:
        while piece := stream.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise InputError(
                    f"{name}: has more than {limit:,} bytes, the most that is copied to "
                    f"{target.parent.parent} of what can be read only once; give a file"
                )
            copy.write(piece)
    return str(target)


def copy_as_utf8(file: InputFile, scratch: Path) -> InputFile:
    """Copy a text file in UTF-8; see :func:`as_utf8`."""
    with open_url(file.name) if is_url(file.name) else open(file.path, "rb") as opened:
        return as_utf8(file, opened, scratch)


def _inspect(path: str, name: str, encoding: str | None) -> InputFile:
    try:
        with open(path, "rb") as file:
            return inspect_file(file, path, name, encoding)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


def _inspect_url(url: str, encoding: str | None) -> InputFile:
    with open_url(url) as file:
        return inspect_file(file, duckdb_path(url), url, encoding)
