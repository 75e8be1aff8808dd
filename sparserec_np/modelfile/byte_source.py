"""The bytes of a model file, read or mapped.

A part that is decoded once is *read*, so that no page of the file counts as memory of this process.
A part that is used again and again, such as the table of a million users, is *mapped*: its pages
are loaded when they are touched, and all processes that have the file open share them.
"""

from __future__ import annotations

import mmap
import os
import stat
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.errors import ModelFileError

if TYPE_CHECKING:
    import numpy.typing as npt

    UInt8Array = npt.NDArray[np.uint8]


class ByteSource:
    """Bytes in memory.

    Args:
        data: All bytes of a file.
        name: Name of the file in messages.
    """

    def __init__(self, data: bytes, name: str = "model bytes") -> None:
        self.name = name
        self._data: Any = data
        self.size = len(data)

    def read(self, begin: int, end: int) -> bytes:
        """Copy the bytes ``[begin, end)``, which must be within the file."""
        return bytes(self._data[begin:end])

    def view(self, begin: int, end: int) -> UInt8Array:
        """Return the bytes ``[begin, end)`` as a read-only uint8 array over the data, no copy."""
        if begin == end:  # numpy refuses an empty view at the very end of a buffer
            return np.empty(0, dtype=np.uint8)
        return np.frombuffer(self._data, np.uint8, end - begin, begin)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; of a FIFO, too, at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class MappedFile(ByteSource):
    """A file, open for reading and mapped read-only.

    Args:
        path: Path of the file.

    Raises:
        ModelFileError: It cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                self._handle = os.dup(file.fileno())  # open as long as this object lives
            weakref.finalize(self, os.close, self._handle)
            found = os.fstat(self._handle)
            if not stat.S_ISREG(found.st_mode):
                raise ModelFileError(f"{self.name}: is no regular file; copy the model to one")
            self.size = found.st_size
            self._data = b""  # an empty file cannot be mapped; it is refused as too short
            if self.size:
                self._data = mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise ModelFileError(
                f"{self.name}: cannot be opened ({error.strerror or error}); check the path"
            ) from error

    def read(self, begin: int, end: int) -> bytes:
        """Copy the bytes ``[begin, end)``; see :meth:`ByteSource.read`.

        Raises:
            ModelFileError: The file has become shorter since it was opened.
        """
        data = os.pread(self._handle, end - begin, begin)
        while len(data) < end - begin:  # a read may be cut short, above all at 2 GiB
            more = os.pread(self._handle, end - begin - len(data), begin + len(data))
            if not more:
                raise ModelFileError(
                    f"{self.name}: has been cut to {begin + len(data)} bytes while it was open; "
                    "write or fetch it again"
                )
            data += more
        return data


class ByteRange:
    """A range of a source that is read slice by slice, like a uint8 array.

    Args:
        source: The file.
        begin: Offset of the first byte.
        end: One after the last byte.
    """

    def __init__(self, source: ByteSource, begin: int, end: int) -> None:
        self._source = source
        self._begin = begin
        self._length = end - begin

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> UInt8Array:
        start, stop, _ = part.indices(self._length)
        data = self._source.read(self._begin + start, self._begin + max(start, stop))
        return np.frombuffer(data, dtype=np.uint8)
