"""DuckDB: a connection that stays within its memory, its errors in plain words, SQL literals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sparserec_np.data.files.remote import restore_urls
from sparserec_np.errors import InputError, missing_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


MEMORY_LIMITS = ("256MB", "1GB")
"""Of DuckDB, if the caller gives none; the second where the first is too small."""


class NoRoomError(InputError):
    """DuckDB needs more memory or disk space than it may use."""


@contextmanager
def open_database(
    scratch: str, memory_limit: str, threads: int | None
) -> Iterator[DuckDBPyConnection]:
    """Open a database in memory that spills to disk.

    Args:
        scratch: Folder to spill to.
        memory_limit: Most memory that DuckDB may use, such as ``"2GB"``.
        threads: Threads of DuckDB; None: one a core.

    Raises:
        InputError: ``memory_limit`` is no size, or ``threads`` is below 1.
        MissingExtraError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise missing_extra("duckdb", "train", "reading files") from error
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": scratch,
        "autoinstall_known_extensions": False,
    }
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads must be at least 1, not {threads}")
        config["threads"] = threads
    try:
        db = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        raise InputError(f"memory_limit={memory_limit!r} is no size such as '2GB'") from error
    with db:
        db.execute("SET TimeZone = 'UTC'")  # of times that do not say theirs
        db.execute("SET enable_progress_bar = false")  # it would go to standard output
        yield db


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turn the errors of DuckDB into one sentence.

    Args:
        name: Name of what is read, for messages.

    Raises:
        InputError: In place of any error of DuckDB.
        NoRoomError: In place of the error that memory or disk space are not enough.
        KeyboardInterrupt: In place of the error that a query was interrupted.
    """
    import duckdb

    try:
        yield
    except RuntimeError as error:
        if "interrupted" in str(error):  # how DuckDB passes Ctrl-C on
            raise KeyboardInterrupt from error
        raise
    except duckdb.Error as error:
        lines = str(error).strip().split("\n")
        # An error within Python, of a store that is read from, comes with its traceback.
        line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
        message = restore_urls(re.sub(r"^[\w. ]*Error: ", "", line))
        if isinstance(error, duckdb.OutOfMemoryException) or "No space left" in message:
            raise NoRoomError(
                f"{name}: reading needs more memory or temporary disk space than it may use: raise "
                f"memory_limit (default {MEMORY_LIMITS[-1]}), or point TMPDIR to a larger disk"
            ) from error
        raise InputError(f"{name} cannot be read: {message}") from error


def literal(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def path_literal(path: str) -> str:
    """Return a path as an SQL literal; brackets and stars in it are no pattern."""
    return literal("".join(f"[{c}]" if c in "*?[" else c for c in path))
