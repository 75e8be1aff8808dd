"""Inspection of a file before it is read: its format, and whether it is what its name says."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from sparserec_np.errors import InputError

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_FORMATS = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".json": "JSON lines",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".dat": "text",
}
_HEAD_BYTES = 4096
_MAGIC = (
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"PAR1", "Parquet data"),
    (b"PK\x03\x04", "a zip archive (Excel files are such too)"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF document"),
)


@dataclass(frozen=True)
class InputFile:
    """A file to read, after inspection."""

    path: str
    """Path for DuckDB."""
    name: str
    """Name for messages: the path or URL as the caller gave it."""
    format: str
    """``"text"``, ``"JSON lines"`` or ``"Parquet"``."""
    compression: str
    """``"none"``, ``"gzip"`` or ``"zstd"``, for text and JSON lines."""
    encoding: str = "utf-8"
    """Of text and JSON lines, by Python's name."""
    mended: bool = False
    """True if this is a copy in which U+FFFD stands for what is not in the encoding."""


def inspect_file(file: BinaryIO, path: str, name: str, encoding: str | None = None) -> InputFile:
    """Compare the beginning of a file with its name; read compressed files to their end.

    Args:
        file: The file, open for reading, with seek.
        path: See :class:`InputFile`.
        name: See :class:`InputFile`.
        encoding: That of text, or None: what a byte order mark says, else UTF-8.

    Raises:
        InputError: There is no such encoding, or the file is empty, cut short, or holds other data
            than its name says.
    """
    if file.seek(0, os.SEEK_END) == 0:
        raise InputError(f"{name} is empty")
    file.seek(0)
    compression, begin = _beginning(file, name)
    stem, extension = os.path.splitext(name.lower())
    if extension in _COMPRESSIONS:
        if compression != _COMPRESSIONS[extension]:
            raise InputError(f"{name} is named {extension} but holds no {extension[1:]} data")
        extension = os.path.splitext(stem)[1]
    elif compression != "none" and extension in _FORMATS:
        ending = {packing: end for end, packing in _COMPRESSIONS.items()}[compression]
        raise InputError(f"{name} holds {compression} data: name it {name}{ending}")
    if encoding is None and begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    form = _format(name, extension, compression, begin, encoding)
    return InputFile(path, name, form, compression, _python_name(encoding or "utf-8"))


def as_utf8(file: InputFile, opened: BinaryIO, scratch: Path) -> InputFile:
    """Copy a text file in UTF-8; U+FFFD stands for bytes that are not in its encoding.

    Args:
        file: The file.
        opened: The same, open for reading.
        scratch: Folder for the copy.

    Raises:
        InputError: It is compressed by zstd, which the standard library does not unpack.
    """
    if file.compression == "zstd":
        raise InputError(
            f"{file.name} is zstd data that is not UTF-8: unpack it first, or pack it by gzip"
        )
    source = gzip.GzipFile(fileobj=opened) if file.compression == "gzip" else opened
    copy = scratch / f"utf8-{len(list(scratch.iterdir()))}"
    decoder = codecs.getincrementaldecoder(file.encoding)("replace")
    with copy.open("w", encoding="utf-8", newline="") as target:
        while block := source.read(1 << 20):
            target.write(decoder.decode(block))
        target.write(decoder.decode(b"", True))
    return replace(file, path=str(copy), compression="none", encoding="utf-8", mended=True)


def _python_name(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except LookupError as error:
        raise InputError(f"there is no encoding {encoding!r}: try latin-1 or utf-16") from error
    return name


def _beginning(file: BinaryIO, name: str) -> tuple[str, bytes]:
    """Return the compression and the first bytes, unpacked where the standard library can."""
    begin = file.read(_HEAD_BYTES)
    file.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        return "gzip", _check_gzip_is_whole(file, name)
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        _check_zstd_is_whole(file, name)
        return "zstd", b""
    return "none", begin


def _format(name: str, extension: str, compression: str, begin: bytes, encoding: str | None) -> str:
    named = _FORMATS.get(extension)
    is_parquet = begin.startswith(b"PAR1")
    if named == "Parquet" or (named is None and is_parquet):
        if not is_parquet or compression != "none":
            raise InputError(f"{name} is named {extension} but holds no Parquet data")
        return "Parquet"
    kind = next((kind for magic, kind in _MAGIC if begin.startswith(magic)), None)
    if kind is None and begin.lstrip()[:9].lower() in (b"<!doctype", b"<html"):
        kind = "a web page"
    if kind is None and encoding is None and b"\x00" in begin:
        zeros = [begin[first::2].count(0) * 2 / len(begin) for first in (0, 1)]
        if max(zeros) > 0.5 and min(zeros) < 0.1:
            order = "le" if zeros[1] > zeros[0] else "be"
            raise InputError(
                f"{name} looks like UTF-16 text: read it with --encoding utf-16-{order}"
            )
        kind = "binary data"
    if kind is not None:
        raise InputError(
            f"{name} holds {kind}, not text: give CSV, TSV, JSON lines or Parquet named as such"
        )
    looks_like_json = begin.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b'{"', b"{ ", b"{}"))
    return named or ("JSON lines" if looks_like_json else "text")


def _check_gzip_is_whole(file: BinaryIO, name: str) -> bytes:
    """Unpack a gzip file once for its checksum, which DuckDB does not check.

    Some versions of DuckDB also read a file that is cut short as if it ended there.

    Returns:
        The first bytes of the content.
    """
    try:
        with gzip.open(file) as unpacked:
            begin = unpacked.read(_HEAD_BYTES)
            while unpacked.read(1 << 20):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{name} is damaged or cut short ({error}): fetch or pack it again"
        ) from error
    return begin


def _check_zstd_is_whole(file: BinaryIO, name: str) -> None:
    """Walk over the frames and blocks of a zstd file without unpacking it.

    DuckDB reads a file that is cut short as if it ended there, and would lose rows in silence. The
    layout is that of RFC 8878, section 3.1.

    Raises:
        InputError: The file ends within a frame, or something else follows a frame.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    while file.tell() < size:
        magic = int.from_bytes(file.read(4), "little")
        if 0x184D2A50 <= magic <= 0x184D2A5F:  # skippable frame: its length, then any bytes
            file.seek(int.from_bytes(file.read(4), "little"), os.SEEK_CUR)
        elif magic == 0xFD2FB528:
            _skip_zstd_frame(file)
        else:
            raise InputError(f"{name} is damaged: no zstd frame at byte {file.tell() - 4:,}")
    if file.tell() > size or file.tell() == 0:
        raise InputError(f"{name} is cut short: fetch or pack it again")


def _skip_zstd_frame(file: BinaryIO) -> None:
    """Seek to the end of a frame, past the end of a file that is cut short."""
    descriptor = int.from_bytes(file.read(1), "little")
    single_segment = descriptor >> 5 & 1
    content_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    dictionary_id = (0, 1, 2, 4)[descriptor & 3]
    file.seek((1 - single_segment) + dictionary_id + content_size, os.SEEK_CUR)
    last = False
    while not last:
        header = file.read(3)
        if len(header) < 3:
            file.seek(4, os.SEEK_CUR)  # past the end: the caller sees that bytes are missing
            return
        block = int.from_bytes(header, "little")
        last = bool(block & 1)
        run_length_encoded = block >> 1 & 3 == 1
        file.seek(1 if run_length_encoded else block >> 3, os.SEEK_CUR)
    if descriptor >> 2 & 1:
        file.seek(4, os.SEEK_CUR)  # checksum of the content
