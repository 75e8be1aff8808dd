"""Bit packing and monotone sequences: positions in 9 bits instead of 32, with numpy alone.

Two primitives, both little-endian in bytes and in bits (bit ``b`` of a packed array is bit
``b & 7`` of byte ``b >> 3``):

* **packed integers**: value ``i`` takes the bits ``[i * bits, (i + 1) * bits)``;
* **monotone sequences** (Elias-Fano): keys ``k_0 <= k_1 <= ... < universe`` are cut into ``l`` low
  bits each, packed, and high parts, written in unary: bit ``(k_e >> l) + e`` of the vector ``high``
  is set for every ``e`` and no other is. That takes ``l + 1`` bits a key plus
  ``universe >> l`` bits in all, within half a bit a key of the least that any code for arbitrary
  sets can do, and the size depends on the count and the universe alone.

Sources: P. Elias, "Efficient storage and retrieval by content and address of static files", JACM
21(2), 1974; R. Fano, MIT Project MAC memo 61, 1971.

Functions raise ``ValueError`` for arrays that no writer makes; the reader of model files says
where. Decoding works in pieces, so that its scratch memory is bounded (about 0.3 MB) whatever the
size of the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    UInt8Array = npt.NDArray[np.uint8]
    UInt64Array = npt.NDArray[np.uint64]

MAX_BITS = 56
"""Most bits of a packed value: 56 + 7 bits of misalignment still fit one 64-bit word."""
MAX_CODE_BITS = 8
"""Most bits of a code: an index into a codebook fits one byte."""


class ByteSequence(Protocol):
    """A uint8 array, or anything that returns one for a slice."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> UInt8Array: ...


_PACK_PIECE = 8 * 1024  # values; a multiple of 8, so that every piece ends on a whole byte
_UNARY_PIECE = 2048  # bytes of the vector ``high`` that are decoded at a time


def packed_bytes(count: int, bits: int) -> int:
    """Return the number of bytes of ``count`` packed integers of ``bits`` bits."""
    return (count * bits + 7) // 8


def pack_bits(values: npt.NDArray[np.unsignedinteger], bits: int) -> UInt8Array:
    """Pack unsigned integers.

    Args:
        values: Array of shape [n], each value below ``2**bits``.
        bits: 0 to ``MAX_BITS``.

    Returns:
        uint8 array of shape [packed_bytes(n, bits)]; the bits left over are zero.
    """
    packed = np.empty(packed_bytes(len(values), bits), dtype=np.uint8)
    for start in range(0, len(values), _PACK_PIECE):
        piece = values[start : start + _PACK_PIECE].astype("<u8")
        table = np.unpackbits(piece.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        first = start * bits // 8
        piece_bytes = packed_bytes(len(piece), bits)
        packed[first : first + piece_bytes] = np.packbits(table[:, :bits], bitorder="little")
    return packed


def unpack_bits(
    packed: ByteSequence, bits: int, start: int, stop: int
) -> npt.NDArray[np.unsignedinteger]:
    """Read the packed integers ``start`` to ``stop - 1``, without touching the others.

    Args:
        packed: Bytes as :func:`pack_bits` makes them, enough for ``stop`` values.
        bits: 0 to ``MAX_BITS``.
        start: First value, 0 or more.
        stop: One after the last value.

    Returns:
        Array of shape [stop - start] in the smallest unsigned type that holds ``bits`` bits; for
        8 bits a slice of ``packed``.
    """
    if bits == 8:
        return packed[start:stop]
    skipped = start % 8  # read whole groups of 8 values, which are ``bits`` whole bytes
    n_groups = max(stop - start + skipped + 7, 0) // 8
    out = np.empty((n_groups, 8), dtype=np.min_scalar_type((1 << bits) - 1))
    for first in range(0, n_groups, _PACK_PIECE // 8):
        groups = out[first : first + _PACK_PIECE // 8]
        begin = (start // 8 + first) * bits
        piece = packed[begin : begin + len(groups) * bits]
        # One 64-bit word is read at each value; the words of the last values end in the padding.
        window = np.zeros(len(groups) * bits + 8, dtype=np.uint8)
        window[: len(piece)] = piece
        if bits <= MAX_CODE_BITS:
            words = np.ndarray((len(groups),), "<u8", window, 0, (bits,))
            groups[:] = _spread(words, bits).view(np.uint8).reshape(-1, 8)
            continue
        mask = np.uint64((1 << bits) - 1)
        for j in range(8):
            words = np.ndarray((len(groups),), "<u8", window, j * bits // 8, (bits,))
            groups[:, j] = (words >> np.uint64(j * bits % 8)) & mask
    return out.reshape(-1)[skipped : skipped + stop - start]


def _spread(words: UInt64Array, bits: int) -> UInt64Array:
    """Move the 8 values of ``bits`` bits at the low end of each word to a byte each.

    In halves, then quarters, then eighths of a word: all 8 values at once.
    """
    for width in (4, 2, 1):
        part = (1 << width * bits) - 1
        lower = sum(part << place for place in range(0, 64, 16 * width))
        upper = np.uint64(lower << width * bits)
        shift = np.uint64(width * (8 - bits))
        words = (words & np.uint64(lower)) | ((words & upper) << shift)
    return words.astype("<u8", copy=False)


def choose_low_bits(count: int, universe: int) -> int:
    """Return the number of low bits that makes a monotone sequence smallest; the lowest one."""
    sizes = [count * bits + (universe >> bits) for bits in range(MAX_BITS + 1)]
    return sizes.index(min(sizes))


def unary_bytes(count: int, universe: int, low_bits: int) -> int:
    """Return the bytes of the unary vector of ``count`` keys below ``universe``."""
    return (count + (universe >> low_bits) + 7) // 8


def encode_monotone(
    keys: npt.NDArray[np.integer], universe: int, low_bits: int
) -> tuple[UInt8Array, UInt8Array]:
    """Encode an ascending sequence (equal keys allowed).

    Args:
        keys: Array of shape [n], non-negative, ascending, each below ``universe``.
        universe: Up to 2**64.
        low_bits: See :func:`choose_low_bits`.

    Returns:
        ``low`` and ``high``: uint8 arrays of packed_bytes(n, low_bits) and
        unary_bytes(n, universe, low_bits) bytes.
    """
    low = np.empty(packed_bytes(len(keys), low_bits), dtype=np.uint8)
    bits = np.zeros(8 * unary_bytes(len(keys), universe, low_bits), dtype=np.uint8)
    mask = np.uint64((1 << low_bits) - 1)
    for start in range(0, len(keys), _PACK_PIECE):
        piece = keys[start : start + _PACK_PIECE].astype(np.uint64)
        first = start * low_bits // 8
        low[first : first + packed_bytes(len(piece), low_bits)] = pack_bits(piece & mask, low_bits)
        ones = (piece >> np.uint64(low_bits)).astype(np.int64)
        bits[ones + np.arange(start, start + len(piece))] = 1
    return low, np.packbits(bits, bitorder="little")


def decode_monotone(
    low: ByteSequence,
    high: ByteSequence,
    low_bits: int,
    *,
    first: int = 0,
    count: int,
    start_bit: int = 0,
    stop_bit: int | None = None,
) -> Iterator[UInt64Array]:
    """Decode a sequence, or a range of it, piece by piece.

    Args:
        low: Packed low bits of the whole sequence.
        high: Unary vector of the whole sequence.
        low_bits: Low bits of a key.
        first: Number of the first key to decode.
        count: How many keys to decode.
        start_bit: Bit of ``high`` where the range begins: at most the bit of key ``first``, and
            above the bit of the key before it.
        stop_bit: One after the last bit of the range; None is the end of ``high``.

    Yields:
        uint64 arrays: the keys ``first`` to ``first + count - 1`` in order, none empty.

    Raises:
        ValueError: The range does not hold exactly ``count`` keys, or a key is below the one
            before it. The pieces that came before the error are not to be trusted either.
    """
    stop_bit = 8 * len(high) if stop_bit is None else stop_bit
    done, previous = 0, np.uint64(0)
    for begin in range(start_bit // 8, (stop_bit + 7) // 8, _UNARY_PIECE):
        piece = high[begin : min(begin + _UNARY_PIECE, (stop_bit + 7) // 8)]
        ones = _ones(piece)
        if begin == start_bit // 8:
            ones = ones[np.searchsorted(ones, start_bit - 8 * begin) :]
        if stop_bit < 8 * (begin + len(piece)):
            ones = ones[: np.searchsorted(ones, stop_bit - 8 * begin)]
        if done + len(ones) > count:
            raise ValueError(f"more than the {count} keys that it should have")
        if not len(ones):
            continue
        e = first + done
        ones -= np.arange(len(ones))
        ones += 8 * begin - e
        keys = ones.view(np.uint64)  # all in place: fresh memory costs more than the arithmetic
        if int(keys[-1]) << low_bits >> 64:
            raise ValueError("a key of more than 64 bits")
        keys <<= np.uint64(low_bits)
        keys |= unpack_bits(low, low_bits, e, e + len(ones))
        if keys[0] < previous or (keys[1:] < keys[:-1]).any():
            raise ValueError(f"the keys {e} to {e + len(ones) - 1} are not in ascending order")
        done, previous = done + len(ones), keys[-1]
        yield keys
    if done != count:
        raise ValueError(f"{done} keys, where {count} should be")


def _ones(packed: UInt8Array) -> npt.NDArray[np.int64]:
    """Return the places of the bits that are set; int64 even where NumPy's index has 32 bits."""
    bits = np.unpackbits(packed, bitorder="little").view(np.bool_)
    return np.flatnonzero(bits).astype(np.int64, copy=False)
