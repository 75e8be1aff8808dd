"""Recommend from a history with the Python standard library alone: one file to copy anywhere.

>>> import runtime_stdlib                                     # doctest: +SKIP
>>> model = runtime_stdlib.load("movies.srec")                # doctest: +SKIP
>>> ids, scores = model.recommend([1, 260], k=10)             # doctest: +SKIP

It reads history models (``users="history"``) of format versions 1 to 4 and gives the items and
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
import stat
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, count, islice, pairwise, repeat
from operator import add, ge, lshift, sub
from typing import Any

MAX_HEADER = 1 << 20
MAX_VALUE = 1e6
ROWS_A_BYTE = 2  # items for each byte of the file, at most
_POOL = 100  # items that diversity chooses from, at least
_GROUPS = 4096  # groups of 8 packed values that are spread at a time


class ModelFileError(ValueError):
    """A file that is damaged, no history model, or of a version that this reader does not know."""


class UnknownIdError(KeyError):
    """None of the ids of a history is known."""


def load(path: str | os.PathLike[str], *, verify: bool = False) -> Model:
    """Open a model file: map it and check its header.

    Args:
        path: Path of the file.
        verify: Compare the checksum of all data, and check every part, too.

    Raises:
        ModelFileError: The file is missing or unusable; says what is wrong.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ModelFileError(f"{name}: is no regular file")
            if found.st_size < 8:
                raise ModelFileError(f"{name}: {found.st_size} bytes, too short for a header")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelFileError(f"{name}: cannot be opened ({error.strerror or error})") from error
    model = Model(_File(data, name))
    if verify:
        model.verify()
    return model


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; of a FIFO, too, at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class Model:
    """A history model to ask for recommendations; thread-safe.

    Attributes:
        users: Always ``"history"``.
        item_ids: Ids of the items, ascending: a range, an array of integers, or a list of strings.
    """

    users = "history"

    def __init__(self, file: _File) -> None:
        model = file.model
        if model.get("users") != "history":
            raise ModelFileError(
                f"{file.name}: a model of users {model.get('users')!r}; this reader serves history "
                "models, use sparserec_np.load"
            )
        self._file = file
        self._n = _integer(model, "n_items", 1, min(2**31 - 1, ROWS_A_BYTE * file.size))
        self._dim = _integer(model, "dim", 1, 65_535)
        exponent = model.get("exponent")
        if type(exponent) not in (int, float) or not 0 <= exponent <= 2:  # type: ignore[operator]
            raise ModelFileError(f"{file.name}: the exponent is no number from 0 to 2")
        self._exponent: float = exponent  # type: ignore[assignment]
        self._eighths = _integer({"eighths": 8} | model, "eighths", 1, 8)
        self._recency = _integer({"recency": 0} | model, "recency", 0, 8)
        self.item_ids = _read_ids(file, model.get("item_ids"), self._n)
        self._bias = file.values("bias", self._n, _integer(model, "bias_bits", 1, 8))
        bits = _integer(model, "history_bits", 0, 8)
        self._weights = file.values("history", self._n, bits) if bits else None
        if bits and file.levels("history", bits)[0] <= 0:
            raise ModelFileError(f"{file.name}: a history weight is not above 0")
        self._table: tuple[array[int], bytes, list[int], array[float]] | None = None
        self._neighbours: _Neighbours | None = None

    def recommend(
        self,
        history: Iterable[Any],
        k: int = 10,
        exclude: Iterable[Any] | None = None,
        *,
        popularity: float = 1.0,
        diversity: float = 0.0,
        recency: float | None = None,
        dislikes: Iterable[Any] = (),
    ) -> tuple[list[Any], list[float]]:
        """Find the best items for somebody who has some items.

        Args:
            history: Item ids, the latest last; known ones count, each once.
            k: How many items, at most; 1 or more.
            exclude: Items to leave out; None leaves out the history.
            popularity: Factor of what is popular with everybody, 0 to 1; 1 as learned.
            diversity: From 0, the best items, to 1, items as unlike each other as can be.
            recency: How fast the items of a history lose weight with age, a multiple of 1/8 from 0
                to 1; None as learned.
            dislikes: Items not to be recommended, nor what is like them; no part of the history.

        Returns:
            Ids, best first, equal scores in the order of the ids, and scores. With diversity in the
            order of choice.

        Raises:
            UnknownIdError: No item of the history is known, or all of them are disliked.
            ValueError: A wish is out of its range.
            ModelFileError: The file turns out to be damaged.
        """
        eighths = self._recency if recency is None else recency * 8
        if not 0 <= popularity <= 1 or not 0 <= diversity <= 1 or eighths not in range(9):
            raise ValueError("popularity, diversity and recency (in eighths) go from 0 to 1")
        disliked = set(self._located(dislikes))
        latest_first = list(dict.fromkeys(reversed(self._located(history))))
        latest_first = [item for item in latest_first if item not in disliked]
        if not latest_first:
            raise UnknownIdError("the model knows none of the items of the history")
        weights = [_signed_power(1 / (age + 1), int(eighths)) for age in range(len(latest_first))]
        *_, length = accumulate(weights)
        known = dict(zip(latest_first, weights, strict=True)) | dict.fromkeys(disliked, -1.0)
        scores = self._scores(known, length**-self._exponent, popularity)
        for item in disliked.union(latest_first if exclude is None else self._located(exclude)):
            scores[item] = -float("inf")
        n_ranked = min(max(_POOL, 2 * k) if diversity else max(k, 0), self._n)
        best = heapq.nlargest(n_ranked, range(self._n), key=scores.__getitem__)
        best = [item for item in best if scores[item] > -float("inf")]
        if diversity:
            best = self._diversify(best, [scores[item] for item in best], k, diversity)
        return [self.item_ids[item] for item in best], [scores[item] for item in best]

    def labels(self) -> list[str] | None:
        """Texts of all items, in the order of ``item_ids``; None if the model has none."""
        if "labels" not in self._file.model:
            return None
        return _read_texts(self._file, self._file.model["labels"], self._n, "labels")

    def verify(self) -> None:
        """Compare the checksum of all data, and decode every part once.

        Raises:
            ModelFileError: The file is damaged.
        """
        self._file.verify()
        self.labels()
        self._table = self._table or self._decode()
        self._decode_neighbours()

    def _located(self, ids: Iterable[Any]) -> list[int]:
        places = (_place(self.item_ids, item) for item in ids)
        return [place for place in places if place >= 0]

    def _scores(self, known: dict[int, float], scale: float, popularity: float) -> array[float]:
        """Score all items; sums in the order that the format prescribes."""
        items, codes, bounds, levels = self._table = self._table or self._decode()
        vector = [0.0] * self._dim
        for dim, item, code in self._entries(known):
            weight = known[item]
            if self._weights is not None:
                weight = self._weights[item] * weight
            vector[dim] += levels[code] * weight
        dots = array("d", bytes(8 * self._n))
        for dim, total in enumerate(vector):
            if total:
                value = _signed_power(total, self._eighths)
                begin, end = bounds[dim], bounds[dim + 1]
                products = [level * value for level in levels]
                for item, code in zip(items[begin:end], codes[begin:end], strict=True):
                    dots[item] += products[code]
        for item, bias in enumerate(self._bias):
            dots[item] = dots[item] * scale + bias * popularity
        self._decode_neighbours()
        if self._neighbours is not None:
            for item, added in self._neighbours.additions(known).items():
                dots[item] += added
        return dots

    def _entries(self, wanted: Container[int]) -> Iterator[tuple[int, int, int]]:
        """Yield dimension, item and code of each weight of some items, dimensions ascending."""
        items, codes, bounds, _ = self._table = self._table or self._decode()
        dim = 0
        for place in compress(count(), map(wanted.__contains__, items)):
            while bounds[dim + 1] <= place:
                dim += 1
            yield dim, items[place], codes[place]

    def _diversify(
        self, best: list[int], scores: list[float], k: int, diversity: float
    ) -> list[int]:
        """Choose items one by one for their score and for being unlike those chosen before."""
        rows: dict[int, dict[int, float]] = {item: {} for item in best}
        items, _, _, levels = self._table or self._decode()
        if self._neighbours is not None and not items:
            rows = {item: self._neighbours.row(item) for item in best}
        for dim, item, code in self._entries(rows):
            rows[item][dim] = levels[code]
        lengths = {
            item: math.sqrt(_total(value * value for value in row.values()))
            for item, row in rows.items()
        }
        worth = dict.fromkeys(best, 0.0)
        if best and scores[0] > scores[-1]:
            spread = scores[0] - scores[-1]
            for item, score in zip(best, scores, strict=True):
                worth[item] = (1 - diversity) * (score - scores[-1]) / spread
        closest = dict.fromkeys(best, 0.0)
        chosen: list[int] = []
        while worth and len(chosen) < k:
            one = max(worth, key=lambda item: worth[item] - diversity * closest[item])
            chosen.append(one)
            del worth[one]
            for item in worth:
                row, product = rows[one], lengths[item] * lengths[one]
                if product > 0:
                    dot = _total(row.get(dim, 0.0) * value for dim, value in rows[item].items())
                    closest[item] = max(closest[item], dot / product)
        return chosen

    def _decode_neighbours(self) -> None:
        if self._neighbours is None and "neighbours" in self._file.model:
            self._neighbours = _Neighbours(self._file, self._n)

    def _decode(self) -> tuple[array[int], bytes, list[int], array[float]]:
        """Item table by dimension: items, codes, bounds of the dimensions, levels."""
        file, n, dim = self._file, self._n, self._dim
        fields = file.model.get("items")
        weights = _integer(fields, "weights", 0, min(n * dim, 2**32 - 1))
        bits = _integer(fields, "value_bits", 1, 8)
        keys = _monotone(file, "items", weights, n * dim, _integer(fields, "low_bits", 0, 56))
        bounds = [bisect_left(keys, d * n) for d in range(dim + 1)]
        sizes = map(sub, bounds[1:], bounds)
        starts = chain.from_iterable(map(repeat, range(0, n * dim, n), sizes))
        items = array("H" if n <= 1 << 16 else "I", map(sub, keys, starts))
        codes = _unpack(file.tensor("items.codes", "U8", (weights * bits + 7) // 8), bits, weights)
        return items, codes.tobytes(), bounds, file.levels("items", bits)


class _Neighbours:
    """Additions of the items of a history to the scores of others."""

    def __init__(self, file: _File, n: int) -> None:
        fields = file.model["neighbours"]
        entries = _integer(fields, "weights", 0, min(2**32 - 1, n * n))
        bits, low_bits = _integer(fields, "value_bits", 1, 8), _integer(fields, "low_bits", 0, 56)
        self._n = n
        self._keys = _monotone(file, "neighbours", entries, n * n, low_bits)
        packed = file.tensor("neighbours.codes", "U8", (entries * bits + 7) // 8)
        self._codes = _unpack(packed, bits, entries)
        self._levels = file.levels("neighbours", bits)

    def additions(self, known: dict[int, float]) -> dict[int, float]:
        """Sum what items add, by the item that they add to.

        Args:
            known: The items and their recency weights.
        """
        sums: dict[int, float] = {}
        for own in sorted(known):
            for item, value in self.row(own).items():
                sums[item] = sums.get(item, 0.0) + value * known[own]
        return sums

    def row(self, own: int) -> dict[int, float]:
        """Return what one item adds, by the item that it adds to, ascending."""
        begin, end = (bisect_left(self._keys, key * self._n) for key in (own, own + 1))
        return {
            self._keys[place] - own * self._n: self._levels[self._codes[place]]
            for place in range(begin, end)
        }


class _File:
    """A mapped file whose header has been checked."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self.name = name
        self.size = len(data)
        length = int.from_bytes(data[:8], "little")
        if not 2 <= length <= min(self.size - 8, MAX_HEADER):
            raise ModelFileError(f"{name}: the length of the header, {length}, is not possible")
        raw = data[: 8 + length]
        header = self._parse(raw[8:], "the header")
        self._metadata = header.pop("__metadata__", None)
        if not isinstance(self._metadata, dict) or not all(
            isinstance(text, str) for text in self._metadata.values()
        ):
            raise ModelFileError(f"{name}: the header has no '__metadata__' of texts")
        if self._metadata.get("format") != "sparserec-np":
            raise ModelFileError(f"{name}: no model of sparserec-np")
        version = self._metadata.get("version", "")
        major, _, minor = version.partition(".")
        if major not in ("1", "2", "3", "4") or not (minor.isascii() and minor.isdigit()):
            raise ModelFileError(f"{name}: format version {version!r}, none of 1.x to 4.x")
        place = raw.find(b'"header_crc32":"') + 16
        blank = raw[:place] + b"00000000" + raw[place + 8 :]
        if place < 16 or raw[place : place + 8] != b"%08x" % zlib.crc32(blank):
            raise ModelFileError(f"{name}: the checksum of the header is wrong")
        self._data = data
        self._start = 8 + length
        self._tensors = {key: self._tensor(key, entry) for key, entry in header.items()}
        self._check_cover()
        self.model, *_ = (
            self._parse(self._metadata.get(key, "").encode(), f"the header's text {key!r}")
            for key in ("model", "config", "facts")
        )

    def _parse(self, text: bytes, what: str) -> dict[str, Any]:
        try:
            return _strict_json(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"{self.name}: {what} is no valid JSON ({error})") from None

    def _tensor(self, key: str, entry: Any) -> tuple[str, list[int], int, int]:
        """Check an entry of the directory: dtype, shape, and where its bytes begin and end."""
        if isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}:
            dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
            if isinstance(dtype, str) and isinstance(shape, list) and isinstance(offsets, list):
                numbers = [_whole(number) for number in shape + offsets]
                counts = [n for n in numbers if n is not None and 0 <= n < 2**53]
                if len(offsets) == 2 and len(counts) == len(numbers) <= 34:
                    *sizes, begin, end = counts
                    width = {"U8": 1, "U32": 4, "F32": 4}.get(dtype)
                    if width is None or math.prod(sizes) * width == end - begin:
                        return dtype, sizes, begin, end
        raise ModelFileError(f"{self.name}: the header's entry for {key!r} is not valid")

    def _check_cover(self) -> None:
        """Check that the tensors lie one after the other and are all of the data."""
        position = 0
        for begin, end in sorted((begin, end) for _, _, begin, end in self._tensors.values()):
            if begin != position or end < position:
                raise ModelFileError(f"{self.name}: the tensors do not lie one after the other")
            position = end
        if self._start + position != self.size:
            raise ModelFileError(f"{self.name}: the tensors do not end where the file ends")

    def verify(self) -> None:
        crc = 0
        for begin in range(self._start, self.size, 1 << 18):
            crc = zlib.crc32(self._data[begin : begin + (1 << 18)], crc)
        if self._metadata.get("data_crc32") != f"{crc:08x}":
            raise ModelFileError(f"{self.name}: the checksum of the data is wrong")

    def tensor(self, name: str, dtype: str, length: int) -> bytes:
        found, shape, begin, end = self._tensors.get(name, ("", [], 0, 0))
        if found != dtype or shape != [length]:
            raise ModelFileError(f"{self.name}: there is no tensor {name!r}, {dtype}, of {length}")
        return self._data[self._start + begin : self._start + end]

    def levels(self, prefix: str, bits: int) -> array[float]:
        levels = array("f", self.tensor(f"{prefix}.levels", "F32", 1 << bits))
        if sys.byteorder == "big":
            levels.byteswap()
        falls = any(a > b for a, b in pairwise(levels))
        if falls or not all(abs(level) <= MAX_VALUE for level in levels):
            raise ModelFileError(f"{self.name}: '{prefix}.levels' is not ascending and finite")
        return levels

    def values(self, prefix: str, n: int, bits: int) -> array[float]:
        levels = self.levels(prefix, bits)
        codes = _unpack(self.tensor(f"{prefix}.codes", "U8", (n * bits + 7) // 8), bits, n)
        return array("f", map(levels.__getitem__, codes))


def _total(values: Iterable[float]) -> float:
    """Add one after the other; ``sum`` does it in another way from Python 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


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


def _strict_json(text: str) -> dict[str, Any]:
    """Read a JSON object; raise ValueError for all that FORMAT.md forbids in section 6."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise ValueError("a key occurs twice")
        return result

    def number(text: str) -> Any:
        value = float(text) if set(text) & set(".eENI") else int(text) if len(text) <= 20 else None
        if value is None or not math.isfinite(value):
            raise ValueError(f"{text[:40]} is no number that it may have")
        return value

    def check(value: Any, depth: int) -> None:
        if isinstance(value, str):
            value.encode()  # a ValueError for a lone surrogate
        elif isinstance(value, (dict, list)):
            if depth > 32:
                raise ValueError("nested too deeply")
            for item in [*value, *(value.values() if isinstance(value, dict) else ())]:
                check(item, depth + 1)

    value = json.loads(
        text,
        object_pairs_hook=unique,
        parse_int=number,
        parse_float=number,
        parse_constant=number,
    )
    check(value, 1)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _whole(value: object) -> int | None:
    """Return a number as an integer if its value is one, however it is written."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _integer(fields: object, key: str, least: int, most: int) -> int:
    value = _whole(fields.get(key)) if isinstance(fields, dict) else None
    if value is None or not least <= value <= most:
        raise ModelFileError(f"the header's field {key!r} is no integer from {least} to {most}")
    return value


def _decimal(fields: dict[str, Any], key: str, least: int, most: int) -> int:
    """Read an integer that is written as text."""
    value = fields.get(key)
    text = value if isinstance(value, str) else ""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise ModelFileError(f"the header's field {key!r} is no integer in text")
    return _integer({key: int(text)}, key, least, most)


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
    high = file.tensor(f"{prefix}.high", "U8", (n + (universe >> low_bits) + 7) // 8)
    low = file.tensor(f"{prefix}.low", "U8", (n * low_bits + 7) // 8)
    digits = f"{int.from_bytes(high, 'little'):b}"[::-1] if high else ""
    if (found := digits.count("1")) != n:  # before there is a text for each
        raise ModelFileError(f"{file.name}: '{prefix}.high' has {found} keys, not {n}")
    zeros = digits.split("1")[:n]  # before each 1: what its high part grows by
    if sum(map(len, zeros)) << low_bits >> 64:
        raise ModelFileError(f"{file.name}: '{prefix}.high' has a key of more than 64 bits")
    highs: Iterator[int] = accumulate(map(len, zeros))
    lows = _unpack(low, low_bits, n)
    keys = array("Q", map(add, map(lshift, highs, repeat(low_bits)), lows))
    if any(map(ge, keys, islice(keys, 1, None))) or (n and keys[-1] >= universe):
        raise ModelFileError(
            f"{file.name}: the keys of '{prefix}.high' do not rise or are too high"
        )
    return keys


def _read_ids(file: _File, fields: Any, n: int) -> Sequence[Any]:
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if kind == "str":
        texts = _read_texts(file, fields, n, "item_ids")
        if any(map(ge, texts, islice(texts, 1, None))):
            raise ModelFileError(f"{file.name}: the item ids do not rise")
        return texts
    if kind != "int":
        raise ModelFileError(f"{file.name}: the kind of the item ids is neither 'int' nor 'str'")
    start = _decimal(fields, "start", -(2**63), 2**63 - 1)
    span = _decimal(fields, "span", n, 2**63 - start)
    if span == n:
        return range(start, start + n)
    steps = _monotone(file, "item_ids", n, span, _integer(fields, "low_bits", 0, 56))
    return array("q", map(add, steps, repeat(start)))


def _read_texts(file: _File, fields: Any, n: int, prefix: str) -> list[str]:
    """Inflate texts and join what each shares with the one before it and the rest of it."""
    stored, width = _integer(fields, "stored", 0, 2**53 - 1), _integer(fields, "width", 1, 4)
    lengths, most = 2 * n * width, 64 * stored + (1 << 24)
    total = lengths + _integer(fields, "bytes", 0, 2**53 - 1)
    deflated = fields.get("deflated")
    if width == 3 or not isinstance(deflated, bool):
        raise ModelFileError(f"{file.name}: the fields of '{prefix}.texts' are not valid")
    raw = file.tensor(f"{prefix}.texts", "U8", stored)
    if total > most or (total != stored and not deflated):
        raise ModelFileError(f"{file.name}: '{prefix}.texts' cannot be {total} bytes")
    texts, text, begin = [], b"", lengths
    try:
        if deflated:
            inflater = zlib.decompressobj()
            raw = inflater.decompress(raw, total + 1)
            if len(raw) != total or not inflater.eof or inflater.unused_data:
                raise ModelFileError(f"{file.name}: '{prefix}.texts' is not {total} bytes")
        numbers = (int.from_bytes(raw[i : i + width], "little") for i in range(0, lengths, width))
        sizes = array("I", numbers)
        if sum(sizes[n:]) != total - lengths or sum(sizes) > most:
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
