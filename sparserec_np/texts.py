"""Texts (string ids, labels) to bytes and back: lengths, then UTF-8, deflated where that pays.

Lengths in front instead of separators allow any text; deflating both together makes the lengths
of ids of one form nearly free. zlib is imported where there are texts to inflate, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.container import damaged
from sparserec_np.ids import StrIds
from sparserec_np.layout import MAX_INFLATION, TextsLayout

if TYPE_CHECKING:
    import numpy.typing as npt

    UInt8Array = npt.NDArray[np.uint8]


def encode_texts(texts: StrIds) -> tuple[TextsLayout, UInt8Array]:
    """Store texts in the smaller of the two forms.

    Returns:
        The layout, and uint8 bytes of shape [layout.stored].
    """
    import zlib

    lengths = np.diff(texts.offsets)
    longest = int(lengths.max(initial=0))
    width = 1 if longest < 1 << 8 else 2 if longest < 1 << 16 else 4
    raw = lengths.astype(f"<u{width}").tobytes() + texts.blob.tobytes()
    deflated = zlib.compress(raw, 9)
    smaller = len(deflated) < len(raw) <= MAX_INFLATION * len(deflated)
    stored = np.frombuffer(deflated if smaller else raw, dtype=np.uint8)
    return TextsLayout(len(texts), len(texts.blob), width, len(stored), smaller), stored


def decode_texts(stored: UInt8Array, layout: TextsLayout, name: str, what: str) -> StrIds:
    """Read texts back; what is not deflated stays a view of ``stored``.

    Args:
        stored: uint8 bytes of shape [layout.stored].
        layout: Their layout.
        name: How messages call the file.
        what: How messages call the tensor.

    Raises:
        ModelFileError: The bytes are not those of texts.
    """
    raw = _inflate(stored, layout, name, what) if layout.deflated else stored
    lengths_end = layout.rows * layout.width
    lengths = raw[:lengths_end].view(f"<u{layout.width}")
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    blob = raw[lengths_end:]
    if offsets[-1] != len(blob):
        raise damaged(name, f"the texts of {what} should take {offsets[-1]} bytes, not {len(blob)}")
    try:
        str(blob.data, "utf-8")
    except UnicodeDecodeError as error:
        raise damaged(name, f"{what} is no UTF-8 ({error.reason})") from None
    starts = offsets[:-1][offsets[:-1] < len(blob)]
    if ((blob[starts] & 0xC0) == 0x80).any():
        raise damaged(name, f"a text of {what} begins within a character")
    return StrIds(blob, offsets)


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
