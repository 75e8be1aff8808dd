"""Files behind URLs such as ``s3://bucket/key``, by way of fsspec.

fsspec and its package for each kind of store (s3fs, gcsfs, adlfs, ...) decide which stores there
are, and where credentials and endpoints come from. DuckDB reads files where they are, and of
Parquet only the columns that are needed.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from glob import has_magic
from threading import Lock, local
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote, unquote

from sparserec_np.errors import InputError, MissingExtraError, SparseRecError, missing_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A scheme has at least two letters: C: is a drive.
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
# The scheme of our own files in DuckDB, which would read s3:// and others by itself.
_SCHEME = "sparserec"
# Bytes that fsspec fetches, and keeps, at a time, for each thread that reads a file.
_BLOCK = 1 << 22


def is_url(path: str) -> bool:
    """Return True for a URL, False for the path of a file."""
    return _URL.match(path) is not None


def store_of(url: str) -> tuple[Any, str]:
    """Return the store of a URL, an fsspec file system, and the path in it.

    Raises:
        MissingExtraError: The package for this kind of store is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise missing_extra("fsspec", "remote", url) from error
    try:
        return cast("tuple[Any, str]", url_to_fs(url))
    except ImportError as error:
        raise MissingExtraError(
            f"{url} needs a package that is not installed: {error}, with pip install "
            "(s3fs for s3://, gcsfs for gs://, adlfs for abfs://, aiohttp for https://)"
        ) from error


@contextmanager
def translate_store_errors(url: str, done: str = "read") -> Iterator[None]:
    """Turn the errors of a store into one sentence.

    Args:
        url: The file, for the message.
        done: Participle for the message: the file cannot be ``done``.

    Raises:
        InputError: In place of any error of the store.
    """
    try:
        yield
    except SparseRecError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"there is no {url}: check the bucket and the name") from error
    except Exception as error:  # each package has its own
        reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
        raise InputError(f"{url} cannot be {done}: {reason}") from error


def expand_url(url: str) -> list[tuple[str, int]]:
    """List the files that match a URL, which may hold a pattern.

    Returns:
        URL and number of bytes of each, in the order of their names.

    Raises:
        InputError: Nothing is there, it is a folder, or the store refuses to look.
        MissingExtraError: The package for this kind of store is not installed.
    """
    with translate_store_errors(url):
        store, path = store_of(url)
        store.invalidate_cache()  # another process may have written since
        try:
            found = store.info(path)
        except FileNotFoundError:
            if not has_magic(path):
                raise
            matches = store.glob(path, detail=True).values()
            files = [match for match in matches if match["type"] == "file"]
            if not files:
                raise InputError(f"no file matches {url}: check the bucket and the name") from None
            listed = [(store.unstrip_protocol(file["name"]), file["size"] or 0) for file in files]
            return sorted(listed)
        if found["type"] == "directory":
            folder = url.rstrip("/")
            raise InputError(f"{url} is a folder: name the files in it, such as {folder}/*.csv")
        return [(url, found["size"] or 0)]


@contextmanager
def open_url(url: str) -> Iterator[BinaryIO]:
    """Open a file for reading, with seek.

    Raises:
        InputError: The file cannot be read, now or while it is open.
    """
    with translate_store_errors(url), _open(url) as file:
        yield file


def duckdb_path(url: str) -> str:
    """Return the path of a file for a DuckDB connection after :func:`register`.

    Everything that DuckDB or fsspec could mistake for a pattern or a query is escaped.
    """
    return f"{_SCHEME}://{quote(url, safe='')}"


def restore_urls(message: str) -> str:
    """Put the URLs back into a message of DuckDB that names :func:`duckdb_path`."""
    return re.sub(rf"{_SCHEME}://(\S+?)(?=['\"\s]|$)", lambda m: unquote(m[1]), message)


def register(db: DuckDBPyConnection) -> None:
    """Let DuckDB read the files that :func:`duckdb_path` names."""
    from fsspec import AbstractFileSystem

    class Stores(AbstractFileSystem):  # type: ignore[misc]
        """All stores as one."""

        protocol = _SCHEME
        cachable = False

        def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
            return SharedFile(unquote(path))

        def glob(self, path: str, **_: Any) -> list[str]:
            return [path]

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            store, its_path = store_of(unquote(self._strip_protocol(path)))
            return {**store.info(its_path), "name": path}

        def modified(self, path: str) -> datetime:
            return datetime.fromtimestamp(0, timezone.utc)  # no file changes while it is read

    db.register_filesystem(Stores())


class SharedFile:
    """A file that many threads read at once, each at a position of its own.

    DuckDB (since 2.0 at the latest) reads one Parquet file by many threads through one object, each
    with a ``seek`` and then a ``read``. So each thread opens the file for itself, and reads from
    the position it has sought, or, without a seek, from the position of the last read of all.

    Args:
        url: The file.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._own = local()
        self._lock = Lock()
        self._position = 0
        self._files: list[Any] = []
        self._file()  # an error comes here, and not at the first read

    def _file(self) -> Any:
        if not hasattr(self._own, "file"):
            self._own.file = _open(self._url)
            with self._lock:
                self._files.append(self._own.file)
        return self._own.file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of this thread."""
        file = self._file()
        if whence == os.SEEK_CUR:
            offset, whence = offset + self.tell(), os.SEEK_SET
        self._own.sought = self._position = int(file.seek(offset, whence))
        return self._position

    def tell(self) -> int:
        """Return the position of this thread."""
        sought = getattr(self._own, "sought", None)
        return self._position if sought is None else sought

    def read(self, size: int = -1) -> bytes:
        """Read from the position of this thread."""
        file = self._file()
        file.seek(self.tell())
        data: bytes = file.read(size)
        self._own.sought, self._position = None, file.tell()
        return data

    def close(self) -> None:
        """Close the files of all threads."""
        with self._lock:
            while self._files:
                self._files.pop().close()


def _open(url: str) -> Any:
    from fsspec.implementations.memory import MemoryFile

    store, path = store_of(url)
    file = store.open(path, "rb", block_size=_BLOCK)
    if isinstance(file, MemoryFile):  # one object, with one position, for all that open it
        return io.BytesIO(file.getvalue())
    return file
