"""Output folders of a batch: one that all workers see, or a place in an object store.

Either way a file appears at once or not at all, and writing it again changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sparserec_np.data.files.remote import is_url, store_of, translate_store_errors
from sparserec_np.errors import InputError
from sparserec_np.utils.temporary import temporary_folder

Result = TypeVar("Result")


class Folder:
    """A folder of a file system.

    Args:
        path: Its path, the same on every worker.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()

    def __str__(self) -> str:
        return str(self._path)

    def begin(self, aside: str) -> None:
        """Make the folder, and one in it for files that are there only meanwhile.

        Args:
            aside: Name of the latter.

        Raises:
            InputError: Something is in the way, or there is no permission.
        """
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            if any(self._path.iterdir()):
                raise _occupied(self)
            (self._path / aside).mkdir()
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self}: no folder to write to ({reason})") from error

    def put(self, name: str, write: Callable[[Path], Result]) -> Result:
        """Write a file; ``write`` is told where, and what it returns is returned."""
        target = self._path / name
        target.parent.mkdir(exist_ok=True)
        return write(target)

    def list(self, within: str) -> list[str]:
        """List the Parquet files of a folder in this one, perhaps none, in a fixed order."""
        return sorted(map(str, (self._path / within).glob("*.parquet")))

    def end(self, aside: str) -> None:
        """Remove the files that were there only meanwhile."""
        if (self._path / aside).exists():  # renamed, so that tasks still at work end here as well
            (self._path / aside).rename(self._path / f"{aside}-{os.urandom(6).hex()}")
        for left_over in self._path.glob(".*"):
            shutil.rmtree(left_over, ignore_errors=True)


class StoreFolder(Folder):
    """A place in an object store; files are written beside the worker, then put there whole.

    Args:
        url: Such as ``s3://bucket/folder``.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def __str__(self) -> str:
        return self._url

    def begin(self, aside: str) -> None:
        """Write a first object, to see whether that is allowed; see the base class."""
        with translate_store_errors(self._url, "written to"):
            store, path = store_of(self._url)
            store.invalidate_cache()
            if store.exists(path) and (store.isfile(path) or store.ls(path)):
                raise _occupied(self)
            store.pipe_file(f"{path}/{aside}/begun", b"")

    def put(self, name: str, write: Callable[[Path], Result]) -> Result:
        """Write a file here, then put it there; see the base class."""
        with temporary_folder("sparserec-put-") as scratch:
            file = scratch / "file.parquet"
            written = write(file)
            with translate_store_errors(f"{self._url}/{name}", "written"):
                store, path = store_of(f"{self._url}/{name}")
                store.put_file(str(file), path)
        return written

    def list(self, within: str) -> list[str]:
        """Look through the store; see the base class."""
        with translate_store_errors(f"{self._url}/{within}"):
            store, path = store_of(f"{self._url}/{within}")
            store.invalidate_cache()
            return sorted(map(store.unstrip_protocol, store.glob(f"{path}/*.parquet")))

    def end(self, aside: str) -> None:
        """Remove the files that were there only meanwhile."""
        with translate_store_errors(f"{self._url}/{aside}", "removed"):
            store, path = store_of(f"{self._url}/{aside}")
            store.invalidate_cache()
            if store.exists(path):
                store.rm(path, recursive=True)


def folder_at(place: str | Path) -> Folder:
    """Return the folder that a path or URL means."""
    return StoreFolder(str(place)) if is_url(str(place)) else Folder(place)


def _occupied(folder: Folder) -> InputError:
    return InputError(f"{folder}: there are files in it; give a new or empty folder")
