"""The safetensors container: named tensors and text in one file, and two checksums.

A file is 8 bytes (length of the header, little-endian), the header (JSON, padded with spaces), and
the data: the bytes of all tensors, one after the other without holes
(https://github.com/huggingface/safetensors#format). On top of what safetensors asks for, the
header's ``__metadata__`` ends with two CRC-32 sums in hexadecimal: ``data_crc32`` over the data,
and ``header_crc32`` over the first 8 bytes and the header, its own eight digits read as zeros. The
second is checked whenever a file is opened, so that every number that decides how bytes are read
has been checked before it is used.

:func:`parse` takes any bytes at all: it raises :class:`ModelFileError` or returns facts that are
safe to use. Its time and memory are bounded by the size of the header, at most 1 MiB.
"""

from __future__ import annotations

import json
import math
from binascii import crc32
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from sparserec_np.errors import ModelFileError
from sparserec_np.modelfile.byte_source import ByteRange, ByteSource

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_HEADER = 1 << 20
"""Longest header in bytes, in writing and in reading."""

KNOWN_MAJORS = ("1", "2", "3", "4")
"""Major versions of the format that are read, whatever the minor one."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "U8": np.dtype("u1"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
}
MAX_COUNT = 2**53 - 1
"""Largest whole number in a header: JSON readers of other languages have no larger ones."""

_MAX_DIMENSIONS = 32
_MAX_DEPTH = 32  # of objects and arrays in each other
_VERIFY_PIECE = 1 << 18
_NO_SUM = "00000000"
# Within a JSON text quotes are escaped, so these bytes begin this field and nothing else.
_HEADER_SUM = b'"header_crc32":"'


def damaged(name: str, what: str) -> ModelFileError:
    """Build the error for a damaged file; ``what`` says what is wrong, and where."""
    return ModelFileError(
        f"{name}: {what}. The file is damaged or no model of sparserec-np; write or fetch it again"
    )


class Tensor(NamedTuple):
    """An entry of the directory: dtype name, shape, and the bytes ``[begin, end)`` in the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Container:
    """An opened file: its texts, and its tensors as arrays.

    Args:
        source: The bytes of the file.
        metadata: The texts of ``__metadata__``.
        tensors: Directory, by name.
        data_start: Offset of the data in the file, in bytes.
    """

    def __init__(
        self,
        source: ByteSource,
        metadata: dict[str, str],
        tensors: dict[str, Tensor],
        data_start: int,
    ) -> None:
        self.source = source
        self.name = source.name
        self.metadata = metadata
        self.tensors = tensors
        self.data_start = data_start

    def _extent(self, name: str) -> tuple[int, int]:
        tensor = self.tensors[name]
        return self.data_start + tensor.begin, self.data_start + tensor.end

    def mapped(self, name: str) -> npt.NDArray[Any]:
        """Return a tensor as a one-dimensional, read-only view of the file, without copying."""
        return self.source.view(*self._extent(name)).view(_DTYPES[self.tensors[name].dtype])

    def read(self, name: str) -> npt.NDArray[Any]:
        """Return a tensor as a one-dimensional, read-only copy."""
        data = self.source.read(*self._extent(name))
        array: npt.NDArray[Any] = np.frombuffer(data, _DTYPES[self.tensors[name].dtype])
        return array

    def part(self, name: str) -> ByteRange:
        """Return the bytes of a tensor, to be read slice by slice."""
        return ByteRange(self.source, *self._extent(name))

    def check_tensors(self, expected: Mapping[str, tuple[str, int]]) -> None:
        """Check that one-dimensional tensors are there with exactly this dtype and length.

        Raises:
            ModelFileError: One is not. Other tensors are left alone.
        """
        for name, (dtype, length) in expected.items():
            tensor = self.tensors.get(name)
            if tensor is None:
                raise damaged(self.name, f"the tensor {name!r} is missing")
            if tensor.dtype != dtype or tensor.shape != (length,):
                raise damaged(
                    self.name,
                    f"the tensor {name!r} is {tensor.dtype} of shape {list(tensor.shape)}, "
                    f"but the header asks for {dtype} of shape [{length}]",
                )

    def verify(self) -> None:
        """Read all data, a piece at a time, and compare its checksum.

        Raises:
            ModelFileError: The data is not what was written.
        """
        found = 0
        for begin in range(self.data_start, self.source.size, _VERIFY_PIECE):
            end = min(begin + _VERIFY_PIECE, self.source.size)
            found = crc32(self.source.read(begin, end), found)
        expected = self.metadata.get("data_crc32", "")
        if f"{found:08x}" != expected:
            raise damaged(
                self.name, f"the checksum of the data is {found:08x}, not {expected[:40]!r}"
            )


def build_header(
    metadata: Mapping[str, str], tensors: Mapping[str, tuple[str, int]], data_crc32: str = _NO_SUM
) -> bytes:
    """Write everything that comes before the data.

    Args:
        metadata: Texts, the version first; format and the two checksums are added.
        tensors: dtype and length of each one-dimensional tensor, in the order of their data.
            Four-byte types first keeps them aligned.
        data_crc32: Checksum of the data, eight hexadecimal digits.

    Returns:
        bytes, a multiple of 8; their number does not depend on the checksums.

    Raises:
        ValueError: The header would be longer than ``MAX_HEADER``.
    """
    header: dict[str, Any] = {
        "__metadata__": {
            "format": "sparserec-np",
            **metadata,
            "data_crc32": data_crc32,
            "header_crc32": _NO_SUM,
        }
    }
    end = 0
    for name, (dtype, length) in tensors.items():
        begin, end = end, end + length * _DTYPES[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": [length], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"a header of {len(text)} bytes, more than {MAX_HEADER}")
    blank = len(text).to_bytes(8, "little") + text
    place = blank.index(_HEADER_SUM) + len(_HEADER_SUM)
    return blank[:place] + b"%08x" % crc32(blank) + blank[place + 8 :]


def build(metadata: Mapping[str, str], tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Write a file.

    Args:
        metadata: Texts.
        tensors: One-dimensional uint8, uint32 and float32 arrays, by name.

    Returns:
        The bytes of the file.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    shapes = {name: (names[array.dtype], len(array)) for name, array in tensors.items()}
    data = b"".join(array.tobytes() for array in tensors.values())
    return build_header(metadata, shapes, f"{crc32(data):08x}") + data


def parse(source: ByteSource) -> Container:
    """Read and check the header of a file.

    Args:
        source: The bytes of the file.

    Returns:
        The container; tensors of types that this version does not use are listed as well.

    Raises:
        ModelFileError: Anything at all is not as the format says.
    """
    name, size = source.name, source.size
    if size < 8:
        raise damaged(name, f"{size} bytes, too short for a header")
    prefix = source.read(0, 8)
    length = int.from_bytes(prefix, "little")
    most = min(size - 8, MAX_HEADER)
    if not 2 <= length <= most:
        if size > 8 and source.read(8, 9) != b"{":
            raise ModelFileError(
                f"{name} is no model of sparserec-np: give a file that 'sparserec-np fit' has made"
            )
        raise damaged(
            name, f"bytes 0 to 7 give the header {length} bytes; it can have 2 to {max(most, 2)}"
        )
    text = source.read(8, 8 + length)
    header = parse_json(text, name, "the header")
    metadata = _metadata(header, name)
    _check_header_sum(prefix + text, name)
    tensors = {key: _tensor(key, entry, name) for key, entry in header.items()}
    _check_cover(tensors, size - 8 - length, name)
    return Container(source, metadata, tensors, 8 + length)


def _metadata(header: dict[str, Any], name: str) -> dict[str, str]:
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise damaged(name, "the header has no '__metadata__' of texts")
    if metadata.get("format") != "sparserec-np":
        raise damaged(name, "the header does not say that its format is 'sparserec-np'")
    version = metadata.get("version", "")
    parts = version.split(".")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() for p in parts):
        raise damaged(name, f"the header gives the version {version[:40]!r}, which is none")
    if parts[0] not in KNOWN_MAJORS:
        raise ModelFileError(
            f"{name}: a model of format version {version[:40]}, but this reader knows "
            f"{KNOWN_MAJORS[0]}.x to {KNOWN_MAJORS[-1]}.x: upgrade sparserec-np, or "
            "write the model again"
        )
    return metadata


def _check_header_sum(header: bytes, name: str) -> None:
    place = header.find(_HEADER_SUM) + len(_HEADER_SUM)
    if place < len(_HEADER_SUM):
        raise damaged(name, "the header has no checksum 'header_crc32'")
    blank = header[:place] + _NO_SUM.encode() + header[place + 8 :]
    found, expected = b"%08x" % crc32(blank), header[place : place + 8]
    if found != expected:
        raise damaged(
            name,
            f"the checksum of the header is {found.decode()}, "
            f"not {expected.decode('ascii', 'replace')}",
        )


def _tensor(key: str, entry: object, name: str) -> Tensor:
    where = f"the header's entry for the tensor {key!r}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise damaged(name, f"{where} is not one of dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = shape if isinstance(shape, list) else [None]
    numbers = numbers + (offsets if isinstance(offsets, list) and len(offsets) == 2 else [None])
    counts = [n for n in map(whole_number, numbers) if n is not None and 0 <= n <= MAX_COUNT]
    if not isinstance(dtype, str) or not len(numbers) == len(counts) <= _MAX_DIMENSIONS + 2:
        raise damaged(name, f"{where} has a shape or offsets that are no counts")
    *shape, begin, end = counts
    known = _DTYPES.get(dtype)
    if known is not None and math.prod(shape) * known.itemsize != end - begin:
        raise damaged(name, f"{where} has shape {shape}, which is not {end - begin} bytes")
    return Tensor(dtype, tuple(shape), begin, end)


def _check_cover(tensors: Mapping[str, Tensor], size: int, name: str) -> None:
    """Check that the tensors lie one after the other and are all of the data."""
    position = 0
    for key, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != position or tensor.end < position:
            raise damaged(
                name,
                f"the tensor {key!r} has the data offsets {tensor.begin} to {tensor.end}, "
                f"but should begin at {position}",
            )
        position = tensor.end
    if position != size:
        raise damaged(name, f"the tensors take {position} bytes of data, but the file has {size}")


def parse_json(text: bytes, name: str, what: str) -> dict[str, Any]:
    """Read a JSON object of a file; see :func:`strict_json`.

    Args:
        text: The JSON text.
        name: How messages call the file.
        what: What the text is, for messages.

    Raises:
        ModelFileError: It is no such object.
    """
    try:
        return strict_json(text.decode("utf-8"))
    except ValueError as error:
        raise damaged(name, f"{what} is no valid JSON ({error})") from None


def strict_json(text: str) -> dict[str, Any]:
    """Read a JSON object as ``FORMAT.md`` has it in section 6.

    Raises:
        ValueError: It is no JSON or no object; a key occurs twice; a number is not finite or an
            integer of more than 20 characters; a text holds a lone surrogate; or objects and arrays
            are nested too deeply.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short_int,
        )
        _check_values(value, 1)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def whole_number(value: object) -> int | None:
    """Return a number of JSON as an integer if its value is one, however it is written."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:80]!r} occurs twice")
        result[key] = value
    return result


def _check_values(value: object, depth: int) -> None:
    if isinstance(value, str):
        value.encode()  # an error for a lone surrogate
    elif isinstance(value, (dict, list)):
        if depth > _MAX_DEPTH:
            raise RecursionError
        for item in value:
            _check_values(item, depth + 1)
        for item in value.values() if isinstance(value, dict) else ():
            _check_values(item, depth + 1)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is beyond all numbers")
    return value


def _short_int(text: str) -> int:
    if len(text) > 20:  # 64 bits have at most 20 digits; long ones would take quadratic time
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)
