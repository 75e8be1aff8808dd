"""Small text files that a person names: read whole, up to a limit."""

from __future__ import annotations

import os

from sparserec_np.errors import InputError

MOST = 64 << 20
"""Bytes of a text file, at most: a device or a wrong name ends in a message, not in all memory."""


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text file in UTF-8.

    Raises:
        InputError: It cannot be read, is no such text, or is longer than ``MOST``.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MOST:
        raise InputError(f"{path}: has more than {MOST:,} bytes; give the right file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text in UTF-8 ({error.reason})") from error
