"""DuckDB: a connection that stays within its memory, its errors in plain words, SQL literals."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sparserec_np.data.files.remote import is_url, restore_urls
from sparserec_np.data.values import literal
from sparserec_np.errors import InputError, missing_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


MEMORY_LIMITS = ("256MB", "1GB")
"""Of DuckDB, if the caller gives none; the second where the first is too small."""


class NoRoomError(InputError):
    """DuckDB needs more memory or disk space than it may use."""


def connect(path: str = ":memory:", **config: Any) -> DuckDBPyConnection:
    """Connect to DuckDB, which neither fetches nor loads extensions, whatever a path looks like.

    Args:
        path: The database.
        config: More settings.

    Raises:
        InputError: The memory limit is no size.
        MissingExtraError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise missing_extra("duckdb", "train", "reading files") from error
    config["autoinstall_known_extensions"] = config["autoload_known_extensions"] = False
    try:
        return duckdb.connect(path, config=config)
    except duckdb.Error as error:
        if "memory_limit" not in config:
            raise
        limit = config["memory_limit"]
        raise InputError(f"memory_limit={limit!r} is no size such as '2GB'") from error


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
    config: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": scratch}
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads must be at least 1, not {threads}")
        config["threads"] = threads
    with connect(**config) as db:
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


def path_literal(path: str) -> str:
    """Return a path or URL as an SQL literal: absolute, and brackets and stars are no pattern."""
    if not is_url(path):
        path = os.path.abspath(path)
    return literal("".join(f"[{c}]" if c in "*?[" else c for c in path))
