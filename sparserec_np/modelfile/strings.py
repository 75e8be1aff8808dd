"""Texts (string ids, labels) to bytes and back: front-coded, and deflated where that pays.

A text is stored as the number of bytes that it shares with the text before it, and the rest. All
shared lengths come first, then the lengths of all rests, then the rests. Sorted ids shrink by a
third and more that way, beyond what deflating alone does; where it saves less than a tenth, as for
titles, nothing is shared, and reading needs no loop over the texts. Lengths in front instead of
separators allow any text. zlib is imported where there are texts to inflate, not before.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.modelfile.container import damaged
from sparserec_np.modelfile.layout import TextsLayout
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import StrIds, strings_from_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    UInt8Array = npt.NDArray[np.uint8]
    IntArray = npt.NDArray[np.int64]

_WORTH_SHARING = 0.9
_PIECE = 1 << 16  # bytes of text that are checked at a time


def encode_texts(texts: StrIds) -> tuple[TextsLayout, UInt8Array]:
    """Store texts in the smallest form.

    Returns:
        The layout, and uint8 bytes of shape [layout.stored].
    """
    encoded = [texts[position] for position in range(len(texts))]
    apart = _encode(encoded, [0] * len(encoded))
    shared = [_shared_bytes(*pair) for pair in pairwise([b"", *encoded])]
    together = _encode(encoded, shared)
    return together if together[0].stored < _WORTH_SHARING * apart[0].stored else apart


def _shared_bytes(before: bytes, after: bytes) -> int:
    length = 0
    for a, b in zip(before, after, strict=False):
        if a != b:
            break
        length += 1
    return length


def _encode(encoded: Sequence[bytes], shared: Sequence[int]) -> tuple[TextsLayout, UInt8Array]:
    import zlib

    rests = [text[begin:] for text, begin in zip(encoded, shared, strict=True)]
    lengths = np.array([*shared, *map(len, rests)], dtype=np.int64)
    longest = int(lengths.max(initial=0))
    width = 1 if longest < 1 << 8 else 2 if longest < 1 << 16 else 4
    suffixes = b"".join(rests)
    raw = lengths.astype(f"<u{width}").tobytes() + suffixes
    for stored, deflated in ((zlib.compress(raw, 9), True), (raw, False)):
        layout = TextsLayout(len(encoded), len(suffixes), width, len(stored), deflated)
        total = sum(shared) + len(suffixes)
        if len(stored) <= len(raw) and max(total, len(raw)) <= layout.most_bytes:
            break
    return layout, np.frombuffer(stored, dtype=np.uint8)


def decode_texts(stored: UInt8Array, layout: TextsLayout, name: str, what: str) -> StrIds:
    """Read texts back; what is neither deflated nor shared stays a view of ``stored``.

    Args:
        stored: uint8 bytes of shape [layout.stored].
        layout: Their layout.
        name: How messages call the file.
        what: How messages call the tensor.

    Raises:
        ModelFileError: The bytes are not those of texts.
    """
    raw = _inflate(stored, layout, name, what) if layout.deflated else stored
    n, end = layout.n_rows, 2 * layout.n_rows * layout.width
    lengths = raw[:end].view(f"<u{layout.width}").astype(np.int64)
    shared, sizes = lengths[:n], lengths[n:]
    suffixes = raw[end:]
    if sizes.sum() != len(suffixes):
        raise damaged(name, f"the texts of {what} should take {sizes.sum()} bytes")
    whole = shared + sizes
    if (shared[1:] > whole[:-1]).any() or shared[:1].any() or whole.sum() > layout.most_bytes:
        raise damaged(name, f"a text of {what} shares more than the text before it has")
    if shared.any():
        texts = strings_from_bytes(_join(shared, sizes, suffixes))
    else:
        texts = StrIds(suffixes, indptr_from_counts(sizes))
    _check_unicode(texts, name, what)
    return texts


def _join(shared: IntArray, sizes: IntArray, suffixes: UInt8Array) -> list[bytes]:
    blob, begin, text, texts = suffixes.tobytes(), 0, b"", []
    for prefix, size in zip(shared.tolist(), sizes.tolist(), strict=True):
        text = text[:prefix] + blob[begin : begin + size]
        begin += size
        texts.append(text)
    return texts


def _check_unicode(texts: StrIds, name: str, what: str) -> None:
    decoder = getincrementaldecoder("utf-8")()  # all at once may take four times the memory
    try:
        for begin in range(0, len(texts.blob), _PIECE):
            decoder.decode(texts.blob[begin : begin + _PIECE].data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise damaged(name, f"{what} is no UTF-8 ({error.reason})") from None
    starts = texts.offsets[:-1][texts.offsets[:-1] < len(texts.blob)]
    if ((texts.blob[starts] & 0xC0) == 0x80).any():
        raise damaged(name, f"a text of {what} begins within a character")


def _inflate(stored: UInt8Array, layout: TextsLayout, name: str, what: str) -> UInt8Array:
    import zlib

    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(stored.data, layout.raw_bytes + 1)
    except zlib.error as error:
        raise damaged(name, f"{what} cannot be inflated ({error})") from None
    if len(raw) != layout.raw_bytes or not inflater.eof or inflater.unused_data:
        raise damaged(name, f"{what} does not inflate to {layout.raw_bytes} bytes")
    return np.frombuffer(raw, dtype=np.uint8)
