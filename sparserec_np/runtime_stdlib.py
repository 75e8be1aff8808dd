"""Recommend from a history with the Python standard library alone: one file to copy anywhere.

>>> import runtime_stdlib                                     # doctest: +SKIP
>>> model = runtime_stdlib.load("movies.srec")                # doctest: +SKIP
>>> ids, scores = model.recommend([1, 260], k=10)             # doctest: +SKIP

It reads history models (``users="history"``) of format versions 1 to 3 and gives the items and
scores of the NumPy runtime. It imports nothing of this package. Where loops over all weights would
be slow, the work is left to C: packed bits are spread by arithmetic on very long integers, unary
codes are taken apart by ``str.split``. The first request decodes the file (about 0.2 us a weight),
later ones cost about 25 ns a weight.
"""

from __future__ import annotations

import heapq
import json
import math
import mmap
import os
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, count, islice, pairwise, repeat
from operator import add, ge, lshift, sub
from typing import Any

MAX_HEADER = 1 << 20
MAX_VALUE = 1e6
_GROUPS = 4096  # groups of 8 packed values that are spread at a time


class ModelFileError(ValueError):
    """A file that is damaged, no history model, or of a version that this reader does not know."""


class UnknownIdError(KeyError):
    """None of the ids of a history is known."""


def load(path: str | os.PathLike[str], *, verify: bool = False) -> Model:
    """Open a model file: map it and check its header.

    Args:
        path: Path of the file.
        verify: Compare the checksum of all data, too.

    Raises:
        ModelFileError: The file is missing or unusable; says what is wrong.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise ModelFileError(f"{name}: {size} bytes, too short for a header")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelFileError(f"{name}: cannot be opened ({error.strerror or error})") from error
    try:
        return Model(_File(data, name, verify))
    except ModelFileError:
        raise
    except RecursionError:
        raise ModelFileError(f"{name}: the header is nested too deeply") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"{name}: the header is not valid ({error!r})") from error


class Model:
    """A history model to ask for recommendations; thread-safe.

    Attributes:
        users: Always ``"history"``.
        item_ids: Ids of the items, ascending: a range, an array of integers, or a list of strings.
    """

    users = "history"

    def __init__(self, file: _File) -> None:
        model = file.model
        if model["users"] != "history":
            raise ModelFileError(
                f"{file.name}: an {model['users']!r} model; this reader serves history models, "
                "use sparserec_np.load"
            )
        self._file = file
        self._n = _integer(model, "n_items", 1, 2**31 - 1)
        self._dim = _integer(model, "dim", 1, 65_535)
        self._exponent = model["exponent"]
        if type(self._exponent) not in (int, float) or not 0 <= self._exponent <= 2:
            raise ModelFileError(f"{file.name}: the exponent is no number from 0 to 2")
        self._eighths = _integer({"eighths": 8} | model, "eighths", 1, 8)
        self._recency = _integer({"recency": 0} | model, "recency", 0, 8)
        self.item_ids = _read_ids(file, model["item_ids"], self._n)
        self._bias = file.values("bias", self._n, _integer(model, "bias_bits", 1, 8))
        bits = _integer(model, "history_bits", 0, 8)
        self._weights = file.values("history", self._n, bits) if bits else None
        if self._weights is not None and min(self._weights) <= 0:
            raise ModelFileError(f"{file.name}: a history weight is not above 0")
        self._table: tuple[array[int], bytes, list[int], array[float]] | None = None

    def recommend(
        self, history: Iterable[Any], k: int = 10, exclude: Iterable[Any] | None = None
    ) -> tuple[list[Any], list[float]]:
        """Find the best items for somebody who has some items.

        Args:
            history: Item ids, the latest last; known ones count, each once.
            k: How many items, at most; 1 or more.
            exclude: Items to leave out; None leaves out the history.

        Returns:
            Ids, best first, equal scores in the order of the ids, and scores.

        Raises:
            UnknownIdError: No item of the history is known.
            ModelFileError: The file turns out to be damaged.
        """
        latest_first = list(dict.fromkeys(reversed(self._located(history))))
        if not latest_first:
            raise UnknownIdError("the model knows none of the items of the history")
        left_out = latest_first if exclude is None else self._located(exclude)
        scores = self._scores(latest_first)
        for item in left_out:
            scores[item] = -float("inf")
        best = heapq.nlargest(max(k, 0), range(self._n), key=scores.__getitem__)
        best = [item for item in best if scores[item] > -float("inf")]
        return [self.item_ids[item] for item in best], [scores[item] for item in best]

    def labels(self) -> list[str] | None:
        """Texts of all items, in the order of ``item_ids``; None if the model has none."""
        fields = self._file.model.get("labels")
        return None if fields is None else _read_texts(self._file, fields, self._n, "labels")

    def _located(self, ids: Iterable[Any]) -> list[int]:
        places = (_place(self.item_ids, item) for item in ids)
        return [place for place in places if place >= 0]

    def _scores(self, latest_first: list[int]) -> list[float]:
        """Score all items; sums in the order that the format prescribes."""
        weights = [1.0] * len(latest_first)
        if self._recency:
            weights = [_signed_power(1 / (age + 1), self._recency) for age in range(len(weights))]
        known = dict(zip(latest_first, weights, strict=True))
        *_, length = accumulate(weights)
        items, codes, bounds, levels = self._table = self._table or self._decode()
        vector = [0.0] * self._dim
        dim = 0
        for place in compress(count(), map(known.__contains__, items)):
            while bounds[dim + 1] <= place:
                dim += 1
            weight = known[items[place]]
            if self._weights is not None:
                weight = self._weights[items[place]] * weight
            vector[dim] += levels[codes[place]] * weight
        dots = [0.0] * self._n
        for dim, total in enumerate(vector):
            if total:
                value = _signed_power(total, self._eighths)
                begin, end = bounds[dim], bounds[dim + 1]
                products = [level * value for level in levels]
                for item, code in zip(items[begin:end], codes[begin:end], strict=True):
                    dots[item] += products[code]
        scale = length**-self._exponent
        return [dot * scale + bias for dot, bias in zip(dots, self._bias, strict=True)]

    def _decode(self) -> tuple[array[int], bytes, list[int], array[float]]:
        """Item table by dimension: items, codes, bounds of the dimensions, levels."""
        file, n, dim = self._file, self._n, self._dim
        fields = file.model.get("items")
        weights = _integer(fields, "weights", 0, n * dim)
        bits = _integer(fields, "value_bits", 1, 8)
        keys = _monotone(file, "items", weights, n * dim, _integer(fields, "low_bits", 0, 56))
        bounds = [bisect_left(keys, d * n) for d in range(dim + 1)]
        sizes = map(sub, bounds[1:], bounds)
        starts = chain.from_iterable(map(repeat, range(0, n * dim, n), sizes))
        items = array("H" if n <= 1 << 16 else "I", map(sub, keys, starts))
        codes = _unpack(file.tensor("items.codes", (weights * bits + 7) // 8), bits, weights)
        return items, codes.tobytes(), bounds, file.levels("items", bits)


class _File:
    """A mapped file whose header has been checked."""

    def __init__(self, data: mmap.mmap, name: str, verify: bool) -> None:
        self.name = name
        length = int.from_bytes(data[:8], "little")
        if not 2 <= length <= min(len(data) - 8, MAX_HEADER):
            raise ModelFileError(f"{name}: the length of the header, {length}, is not possible")
        raw = data[: 8 + length]
        header = _parse(raw[8:].decode("utf-8"))
        metadata = header["__metadata__"]
        if metadata.get("format") != "sparserec-np":
            raise ModelFileError(f"{name}: no model of sparserec-np")
        version = metadata.get("version")
        if str(version).partition(".")[0] not in ("1", "2", "3"):
            raise ModelFileError(f"{name}: format version {version!r}, none of 1.x to 3.x")
        place = raw.find(b'"header_crc32":"') + 16
        blank = raw[:place] + b"00000000" + raw[place + 8 :]
        if raw[place : place + 8] != b"%08x" % zlib.crc32(blank):
            raise ModelFileError(f"{name}: the checksum of the header is wrong")
        self._data = data
        self._start = 8 + length
        self._tensors = header
        self._check_cover()
        self.model = _parse(metadata["model"])
        if verify and metadata["data_crc32"] != f"{zlib.crc32(data[self._start :]):08x}":
            raise ModelFileError(f"{name}: the checksum of the data is wrong")

    def _check_cover(self) -> None:
        """Check that the tensors lie one after the other and are all of the data."""
        end = 0
        entries = [entry for key, entry in self._tensors.items() if key != "__metadata__"]
        for begin, stop in sorted(entry["data_offsets"] for entry in entries):
            if type(begin) is not int or type(stop) is not int or begin != end or stop < end:
                raise ModelFileError(f"{self.name}: the tensors do not lie one after the other")
            end = stop
        if self._start + end != len(self._data):
            raise ModelFileError(f"{self.name}: the tensors do not end where the file ends")

    def tensor(self, name: str, size: int) -> bytes:
        begin, end = self._tensors.get(name, {}).get("data_offsets", (0, -1))
        if end - begin != size:
            raise ModelFileError(f"{self.name}: there is no tensor {name!r} of {size} bytes")
        return self._data[self._start + begin : self._start + end]

    def levels(self, prefix: str, bits: int) -> array[float]:
        levels = array("f", self.tensor(f"{prefix}.levels", 4 << bits))
        if sys.byteorder == "big":
            levels.byteswap()
        falls = any(a > b for a, b in pairwise(levels))
        if falls or not all(abs(level) <= MAX_VALUE for level in levels):
            raise ModelFileError(f"{self.name}: '{prefix}.levels' is not ascending and finite")
        return levels

    def values(self, prefix: str, n: int, bits: int) -> list[float]:
        levels = self.levels(prefix, bits)
        codes = _unpack(self.tensor(f"{prefix}.codes", (n * bits + 7) // 8), bits, n)
        return list(map(levels.__getitem__, codes))


def _signed_power(value: float, eighths: int) -> float:
    """``sign(y) |y|^(eighths / 8)``, by square roots alone: the same bits in every language."""
    root, size = abs(value), 1.0
    for bit in (8, 4, 2, 1):
        if eighths & bit:
            size *= root
        root = math.sqrt(root)
    return math.copysign(size, value)


def _place(known: Sequence[Any], item: Any) -> int:
    """Index of an id among ascending ids, -1 if it is unknown."""
    if isinstance(item, bool) or not isinstance(item, str if isinstance(known, list) else int):
        return -1
    if isinstance(known, range):
        return int(item) - known.start if item in known else -1
    place = bisect_left(known, item)
    return place if place < len(known) and known[place] == item else -1


def _parse(text: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise ValueError("a key occurs twice")
        return result

    def short(digits: str) -> int:
        if len(digits) > 20:
            raise ValueError("an integer of too many digits")
        return int(digits)

    value = json.loads(text, object_pairs_hook=unique, parse_int=short)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _integer(fields: object, key: str, least: int, most: int) -> int:
    value = fields.get(key) if isinstance(fields, dict) else None
    if type(value) is not int or not least <= value <= most:
        raise ModelFileError(f"the header's field {key!r} is no integer from {least} to {most}")
    return value


def _unpack(packed: bytes, bits: int, n: int) -> array[int]:
    """Spread ``n`` packed values over an array of the smallest type that holds ``bits`` bits.

    Eight values are ``bits`` bytes. Each such group becomes the low end of a field of eight lanes;
    then the upper half of every field moves up, the upper quarters, and the upper eighths, for all
    groups at once.
    """
    typecode = next(t for t in "BHIQ" if 8 * array(t).itemsize >= bits)
    width = array(typecode).itemsize
    if not bits or not n:
        return array(typecode, bytes(n))
    at_once = min(_GROUPS, (n + 7) // 8)
    out = bytearray()
    steps = []
    for lanes in (4, 2, 1):  # lanes that stay; as many move up
        fields = range(0, 8, 2 * lanes)
        stay = sum(((1 << lanes * bits) - 1) << (8 * width * at) for at in fields)
        move = stay << lanes * bits
        masks = [
            int.from_bytes(mask.to_bytes(8 * width, "little") * at_once, "little")
            for mask in (stay, move)
        ]
        steps.append((*masks, lanes * (8 * width - bits)))
    for begin in range(0, (n + 7) // 8 * bits, at_once * bits):
        piece = packed[begin : begin + at_once * bits]
        groups = -(-len(piece) // bits)
        piece = piece.ljust(groups * bits, b"\0")
        spread = bytearray(groups * 8 * width)
        for byte in range(bits):
            spread[byte :: 8 * width] = piece[byte::bits]
        number = int.from_bytes(spread, "little")
        for stay_mask, move_mask, shift in steps:
            number = (number & stay_mask) | ((number & move_mask) << shift)
        out += number.to_bytes(groups * 8 * width, "little")
    values = array(typecode, bytes(out))
    if sys.byteorder == "big":
        values.byteswap()
    return values[:n]


def _monotone(file: _File, prefix: str, n: int, universe: int, low_bits: int) -> Sequence[int]:
    """Decode a strictly ascending sequence of ``n`` keys below ``universe``."""
    high = file.tensor(f"{prefix}.high", (n + (universe >> low_bits) + 7) // 8)
    low = file.tensor(f"{prefix}.low", (n * low_bits + 7) // 8)
    digits = f"{int.from_bytes(high, 'little'):b}"[::-1] if high else ""
    zeros = digits.split("1")[: digits.count("1")]  # before each 1: what its high part grows by
    if len(zeros) != n:
        raise ModelFileError(f"{file.name}: '{prefix}.high' has {len(zeros)} keys, not {n}")
    highs: Iterator[int] = accumulate(map(len, zeros))
    lows = _unpack(low, low_bits, n)
    keys = array("Q", map(add, map(lshift, highs, repeat(low_bits)), lows))
    if any(map(ge, keys, islice(keys, 1, None))) or (n and keys[-1] >= universe):
        raise ModelFileError(
            f"{file.name}: the keys of '{prefix}.high' do not rise or are too high"
        )
    return keys


def _read_ids(file: _File, fields: dict[str, Any], n: int) -> Sequence[Any]:
    if fields["kind"] == "str":
        texts = _read_texts(file, fields, n, "item_ids")
        if any(map(ge, texts, islice(texts, 1, None))):
            raise ModelFileError(f"{file.name}: the item ids do not rise")
        return texts
    start, span = int(fields["start"]), int(fields["span"])
    if fields["kind"] != "int" or not -(2**63) <= start <= start + span - 1 < 2**63 or span < n:
        raise ModelFileError(f"{file.name}: the kind or range of the item ids is not valid")
    if span == n:
        return range(start, start + n)
    steps = _monotone(file, "item_ids", n, span, _integer(fields, "low_bits", 0, 56))
    return array("q", map(add, steps, repeat(start)))


def _read_texts(file: _File, fields: Any, n: int, prefix: str) -> list[str]:
    """Inflate texts and join what each shares with the one before it and the rest of it."""
    stored, width = _integer(fields, "stored", 0, 2**53), _integer(fields, "width", 1, 4)
    lengths, most = 2 * n * width, 64 * stored + (1 << 24)
    total = lengths + _integer(fields, "bytes", 0, most)
    raw = file.tensor(f"{prefix}.texts", stored)
    texts, text, begin = [], b"", lengths
    try:
        if fields.get("deflated"):
            raw = zlib.decompressobj().decompress(raw, min(total, most) + 1)
        sizes = [int.from_bytes(raw[i : i + width], "little") for i in range(0, lengths, width)]
        if len(raw) != total or sum(sizes[n:]) != total - lengths or sum(sizes) > most:
            raise ModelFileError(f"{file.name}: '{prefix}.texts' is not {total} bytes")
        for shared, size in zip(sizes[:n], sizes[n:], strict=True):
            if shared > len(text):
                raise ModelFileError(f"{file.name}: a text of '{prefix}.texts' shares too much")
            text = text[:shared] + raw[begin : begin + size]
            begin += size
            texts.append(text.decode("utf-8"))
    except (zlib.error, UnicodeDecodeError) as error:
        raise ModelFileError(f"{file.name}: '{prefix}.texts' is damaged ({error})") from error
    return texts
