"""Which files to read: globs, URLs, standard input; and whether a file is what its name says."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO

from sparserec_np.data.files.remote import expand_url, is_url, name_for_duckdb, open_url
from sparserec_np.errors import InputError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
FORMATS = {
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
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)


@dataclass(frozen=True)
class InputFile:
    """One file to read, checked: it exists, can be opened and begins like its name says."""

    path: str
    """Where DuckDB finds the bytes."""
    name: str
    """What messages call it: the path or URL as the caller gave it."""
    format: str
    """``"text"``, ``"JSON lines"`` or ``"Parquet"``."""
    compression: str
    """``"none"``, ``"gzip"`` or ``"zstd"``, for text and JSON lines."""


def find_files(paths: Sequence[str | Path] | str | Path, scratch: Path) -> list[InputFile]:
    """List the files that some paths, URLs, globs or ``-`` (standard input) mean; check each.

    Args:
        paths: One or many; a glob gives its files in the order of their names.
        scratch: Folder for copies of standard input and pipes, as files are read more than once.

    Raises:
        InputError: Nothing there, a folder, not readable, empty, or other data than the name says.
        MissingExtraError: A package for the store behind a URL is not installed.
    """
    given = _listed(paths)
    if given.count("-") > 1:
        raise InputError("standard input (-) can be read only once")
    files: list[InputFile] = []
    for path in given:
        if path == "-":
            copy = _copy(sys.stdin.buffer, scratch / f"{len(files)}")
            files.append(_inspect(copy, "standard input"))
        elif is_url(path):
            files += [_inspect_url(url) for url, _ in expand_url(path)]
        else:
            for match in _expand(path):
                if os.path.isfile(match):
                    files.append(_inspect(match, match))
                else:  # a pipe, as shells make of <(command)
                    with open(match, "rb") as pipe:
                        copy = _copy(pipe, scratch / f"{len(files)}")
                    files.append(_inspect(copy, match))
    return files


def list_files(paths: Sequence[str | Path] | str | Path) -> list[tuple[str, int]]:
    """List files that will be read elsewhere or later, without opening them.

    Args:
        paths: Paths, URLs or globs, one or many; a glob gives its files in the order of their
            names.

    Returns:
        Absolute path or URL of each, and its number of bytes.

    Raises:
        InputError: Nothing there, a folder, or what can be read only once.
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


def _listed(paths: Sequence[str | Path] | str | Path) -> list[str]:
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not given:
        raise InputError("no file to read was given")
    return [str(path) for path in given]


def _expand(path: str) -> list[str]:
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


def _copy(stream: BinaryIO, target: Path) -> str:
    """Keep what can be read only once."""
    with target.open("wb") as copy:
        shutil.copyfileobj(stream, copy)
    return str(target)


def _inspect(path: str, name: str) -> InputFile:
    """Open a file and compare how it begins with what its name says."""
    try:
        with open(path, "rb") as file:
            return _inspect_open(file, path, name)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


def _inspect_url(url: str) -> InputFile:
    with open_url(url) as file:
        return _inspect_open(file, name_for_duckdb(url), url)


def _inspect_open(file: BinaryIO, path: str, name: str) -> InputFile:
    if file.seek(0, os.SEEK_END) == 0:
        raise InputError(f"{name} is empty")
    file.seek(0)
    compression, begin = _beginning(file, name)
    stem, extension = os.path.splitext(name.lower())
    if extension in COMPRESSIONS:
        if compression != COMPRESSIONS[extension]:
            raise InputError(f"{name} is named {extension} but holds no {extension[1:]} data")
        extension = os.path.splitext(stem)[1]
    elif compression != "none" and extension in FORMATS:
        ending = {packing: end for end, packing in COMPRESSIONS.items()}[compression]
        raise InputError(f"{name} holds {compression} data: name it {name}{ending}")
    return InputFile(path, name, _format(name, extension, compression, begin), compression)


def _beginning(file: BinaryIO, name: str) -> tuple[str, bytes]:
    """Read the first bytes, unpacked where the standard library can."""
    begin = file.read(_HEAD_BYTES)
    file.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        return "gzip", _check_gzip_is_whole(file, name)
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        check_zstd_is_whole(file, name)
        return "zstd", b""
    return "none", begin


def _format(name: str, extension: str, compression: str, begin: bytes) -> str:
    named = FORMATS.get(extension)
    is_parquet = begin.startswith(b"PAR1")
    if named == "Parquet" or (named is None and is_parquet):
        if not is_parquet or compression != "none":
            raise InputError(f"{name} is named {extension} but holds no Parquet data")
        return "Parquet"
    kind = next((kind for magic, kind in _MAGIC if begin.startswith(magic)), None)
    if kind is None and begin.lstrip()[:9].lower() in (b"<!doctype", b"<html"):
        kind = "a web page"
    if kind == "UTF-16 text":
        raise InputError(f"{name} is UTF-16 text: convert it, iconv -f UTF-16 -t UTF-8")
    if kind is None and b"\x00" in begin:
        kind = "binary data"
    if kind is not None:
        raise InputError(
            f"{name} holds {kind}, not text: give CSV, TSV, JSON lines or Parquet named as such"
        )
    looks_like_json = begin.lstrip().startswith((b'{"', b"{ ", b"{}"))
    return named or ("JSON lines" if looks_like_json else "text")


def _check_gzip_is_whole(file: BinaryIO, name: str) -> bytes:
    """Unpack a gzip file once for its checksum, which DuckDB does not look at.

    Some versions of DuckDB also take a file that is cut short for one that ends there.

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


def check_zstd_is_whole(file: BinaryIO, name: str) -> None:
    """Walk over the frames and blocks of a zstd file without unpacking it.

    DuckDB takes a file that is cut short for one that ends there, and would lose rows in silence.
    The layout is that of RFC 8878, section 3.1.

    Raises:
        InputError: The file ends within a frame, or something else follows a frame.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    while file.tell() < size:
        magic = int.from_bytes(file.read(4), "little")
        if 0x184D2A50 <= magic <= 0x184D2A5F:  # skippable frame: its length, then anything
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
            file.seek(4, os.SEEK_CUR)  # past the end: whoever calls sees that bytes are missing
            return
        block = int.from_bytes(header, "little")
        last = bool(block & 1)
        run_length_encoded = block >> 1 & 3 == 1
        file.seek(1 if run_length_encoded else block >> 3, os.SEEK_CUR)
    if descriptor >> 2 & 1:
        file.seek(4, os.SEEK_CUR)  # checksum of the content
