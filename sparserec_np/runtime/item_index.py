"""Exact scores of all items from a decoded item table, and the best of them, with numpy alone.

The order of additions is part of the contract, so that readers in other languages rank exactly
alike: all sums are in float64, over history items by ascending index and over dimensions
ascending, each starting from 0 (``FORMAT.md``, "Scores").
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from sparserec_np.modelfile.layout import EIGHTHS
from sparserec_np.modelfile.reader import ModelFile
from sparserec_np.runtime import upper_bounds
from sparserec_np.utils.csr import indptr_from_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]
    _Float = TypeVar("_Float", np.float32, np.float64)

_CODE_BITS = 8  # of the words that hold an item, or a dimension, and the code of a value
_PIECE = 32_768  # weights scored at a time: their scratch arrays stay in the second-level cache
_ROWS = 4_096  # rows looked at together, for the same reason
_FULL = 8  # places for each weight, at most, of a table that is kept in full
_STREAMS = 2  # passes of the first request
_GROUP = 8  # in the search for a threshold a maximum stands for so many scores, squared
_SHORT = 100  # lists up to it are ordered by Python
_WORTH = 0.25  # weights that bounds must spare for each item to make up for their passes
_FEW = 32  # one item in so many may be scored on its own; scoring all of them is faster than more


class Rows(NamedTuple):
    """Some rows of the item table, one after the other.

    Attributes:
        dims: Integer array of shape [weights of all rows], ascending within a row.
        values: float64 array, likewise.
        owners: int64 array, likewise: which of the rows asked for, counted from 0.
    """

    dims: npt.NDArray[np.integer]
    values: FloatArray
    owners: IntArray


class _Lists(NamedTuple):
    """The item table by dimension, as it is kept for requests.

    Attributes:
        words: For each dimension its items, ascending, and their codes, both in one word, as bytes:
            these are joined in a third of the time that arrays take.
        word: Type of these words.
        counts: How many they are, array of NumPy's index type, of shape [dim].
    """

    words: list[bytes]
    word: type[np.unsignedinteger]
    counts: npt.NDArray[np.intp]


class ItemTable:
    """The item table, searchable both by dimension and by item; thread-safe.

    The first request streams through the file, once for the rows of its items and once for the
    scores, and keeps nothing: a process that answers one question needs little memory. From the
    second request on the table is kept by row, 4 bytes a weight, with 24 bytes an item; and by
    dimension, 4 bytes a weight (8 above 16,777,216 items), or in full, zeros and all, where that
    takes at most 32 bytes a weight: no list is added up as fast as a full table is multiplied.

    Args:
        file: The opened file.
    """

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._n_items = file.layout.items.rows
        self._short_levels = file.item_levels()
        self._levels = self._short_levels.astype(np.float64)
        self._streams_left = _STREAMS

    @cached_property
    def bias(self) -> npt.NDArray[np.float32]:
        """Item biases, float32 array of shape [n_items]."""
        return self._file.item_bias()

    def rows(self, items: IntArray) -> Rows:
        """Collect the rows of some items.

        Args:
            items: int64 array, ascending and unique.
        """
        return self._streamed_rows(items) if self._may_stream() else self._kept_rows(items)

    def _kept_rows(self, items: IntArray) -> Rows:
        indptr, all_words = self._row_index
        starts, lengths = indptr.take(items), indptr.take(items + 1)
        lengths -= starts  # in place, and by methods: calls are most of what a few rows cost
        starts += lengths
        starts -= lengths.cumsum()
        places = starts.repeat(lengths)
        places += np.arange(len(places))
        words = all_words.take(places)
        values = self._levels.take(words.astype(np.uint8), mode="wrap")
        words >>= _CODE_BITS
        return Rows(words, values, np.arange(len(items)).repeat(lengths))

    def _may_stream(self) -> bool:
        self._streams_left -= 1
        return self._streams_left >= 0

    def _streamed_rows(self, items: IntArray) -> Rows:
        none = np.empty(0, dtype=np.int64)
        pieces = [(none, none, none.astype(np.float64))]
        for dims, stored, codes in self._file.items.rows(items):
            pieces.append((dims, stored, self._levels[codes]))
        all_dims, all_items, values = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        order = sorted(range(len(all_items)), key=all_items.tolist().__getitem__)
        owners = np.searchsorted(items, all_items[order])
        return Rows(all_dims[order], values[order], owners)

    @cached_property
    def _lists(self) -> _Lists:
        items, codes, offsets, _ = self._file.postings()
        word = np.uint64 if self._n_items > 1 << (32 - _CODE_BITS) else np.uint32
        words = items.astype(word)
        words <<= _CODE_BITS
        words |= codes
        lists = [words[begin:end].tobytes() for begin, end in pairwise(offsets.tolist())]
        return _Lists(lists, word, np.diff(offsets).astype(np.intp, copy=False))

    @cached_property
    def _row_index(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint32]]:
        """Where each row begins, and its dimensions and codes, both in one word."""
        items, codes, offsets, _ = self._file.postings()
        counts = np.diff(offsets).astype(np.intp, copy=False)
        words = np.arange(len(counts), dtype=np.uint32).repeat(counts)
        words <<= _CODE_BITS
        words |= codes
        lengths = np.bincount(items.astype(np.intp), minlength=self._n_items)
        indptr = indptr_from_counts(lengths).astype(np.intp, copy=False)
        return indptr, words[np.argsort(items, kind="stable")]

    @cached_property
    def _full(self) -> npt.NDArray[np.float32] | None:
        """The table in full, shape [n_items, dim]; None where most of it is zeros."""
        table = self._file.layout.items
        if table.rows * table.dim > _FULL * table.weights:
            return None
        full = np.zeros((table.rows, table.dim), dtype=np.float32)
        for items, rows in self._all_rows():
            full[items[rows.owners], rows.dims] = rows.values
        return full

    def dots(self, vector: FloatArray) -> FloatArray:
        """Dot product of every item row with a vector.

        Only the dimensions where the vector is not zero are touched.

        Args:
            vector: float64 array of shape [dim].

        Returns:
            float64 array of shape [n_items].
        """
        result = np.zeros(self._n_items)
        if self._may_stream():
            self._streamed_dots(vector, result)
            return result
        active = np.flatnonzero(vector)
        pieces = np.cumsum(self._lists.counts[active]) // _PIECE
        for part in np.split(active, np.flatnonzero(np.diff(pieces)) + 1):
            self._add(result, part, vector, self._levels)
        return result

    def _add(
        self,
        sums: npt.NDArray[_Float],
        dims: IntArray,
        vector: npt.NDArray[_Float],
        levels: npt.NDArray[_Float],
    ) -> None:
        """Add to each item's sum its products with a vector at some dimensions, in their order."""
        lists, word, counts = self._lists
        words = np.frombuffer(b"".join([lists[d] for d in dims.tolist()]), word)
        products = levels.take(words.astype(np.uint8), mode="wrap")
        products *= vector.take(dims).repeat(counts.take(dims))
        np.add.at(sums, (words >> _CODE_BITS).astype(np.intp), products)

    def _streamed_dots(self, vector: FloatArray, result: FloatArray) -> None:
        for dims, items, codes in self._file.items.lists(np.flatnonzero(vector)):
            products = self._levels[codes]
            products *= vector[dims]
            np.add.at(result, items, products)

    def best(
        self, vector: FloatArray, scale: float, left_out: IntArray, k: int
    ) -> tuple[IntArray, FloatArray]:
        """Find the items of the best scores, ``scale * (vector . v_i) + b_i``, exactly.

        Args:
            vector: float64 array of shape [dim].
            scale: Above 0.
            left_out: Items that are not ranked, int64 array.
            k: How many, 1 or more.

        Returns:
            At most ``k`` items, by falling score, equal ones by rising index, and their scores.
        """
        streams = self._streams_left > 0
        found = None if streams else self._best_by_bounds(vector, scale, left_out, k)
        if found is not None:
            return found
        scores = self.dots(vector)
        scores *= scale
        if streams:
            self._file.add_item_bias(scores)
        else:
            scores += self.bias
        scores[left_out] = -np.inf
        best = top_k(scores, k)
        return best, scores[best]

    def _best_by_bounds(
        self, vector: FloatArray, scale: float, left_out: IntArray, k: int
    ) -> tuple[IntArray, FloatArray] | None:
        """As :meth:`best`, as :mod:`sparserec_np.runtime.upper_bounds` has it; None where it is not worth it."""
        if k * _FEW > self._n_items:
            return None
        found = self._approximate(vector * scale)
        if found is None:
            return None
        scores, radius, limit = found
        scores[left_out] = -np.inf
        bar = _bar(scores, k, short=0)  # a guess; a program that asks again wants speed
        lengths, sizes, slack = self._norms
        most = sizes * np.float32(limit)
        most += scores
        while True:
            floor = np.float32(bar - slack)
            few = (most > floor).nonzero()[0]
            few = few[scores.take(few) + lengths.take(few) * np.float32(radius) > floor]
            if len(few) * _FEW > self._n_items:
                return None
            exact = self._score(few, vector, scale)
            order = np.argsort(-exact, kind="stable")[:k]
            worst = float(exact[order[-1]]) if len(order) == k else -np.inf
            if worst >= bar:
                return few[order], exact[order]
            bar = worst  # the guess was too high; this one is not

    def _approximate(
        self, vector: FloatArray
    ) -> tuple[npt.NDArray[np.float32], float, float] | None:
        """Compute scores of all items with less work.

        Returns:
            Scores, float32 array of shape [n_items], and what they may be off by, as a multiple of
            the lengths of the rows, and of the sums of the sizes of their weights; None where it is
            not worth it.
        """
        if self._full is not None:
            scores = self._full @ vector.astype(np.float32)
            scores += self.bias
            error = upper_bounds.rounding(len(vector)) * math.sqrt(float(vector @ vector))
            return scores, error, error
        strong, n_weak, radius, limit = upper_bounds.split(vector)
        spared = n_weak / len(vector) * self._file.layout.items.weights  # more or less
        if spared < _WORTH * self._n_items:
            return None
        scores = self.bias.copy()
        self._add(scores, strong, vector.astype(np.float32), self._short_levels)
        return scores, radius, limit

    def _score(self, items: IntArray, vector: FloatArray, scale: float) -> FloatArray:
        """Exact scores of some items."""
        rows = self._kept_rows(items)
        scores = sum_by(rows.owners, vector.take(rows.dims) * rows.values, len(items))
        scores *= scale
        scores += self.bias[items]
        return scores

    @cached_property
    def _norms(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
        """What :mod:`sparserec_np.runtime.upper_bounds` needs to know of the rows, and of the biases.

        Returns:
            Lengths of the rows and sums of the sizes of their weights, both rounded up, and what
            rounding makes of the biases at most.
        """
        slack = upper_bounds.rounding(self._file.layout.items.dim) * float(np.abs(self.bias).max())
        sizes = upper_bounds.upwards(self._sum_rows(np.abs))
        return upper_bounds.upwards(self.lengths), sizes, slack + upper_bounds.TINY

    @cached_property
    def lengths(self) -> FloatArray:
        """Euclidean length of every item row, float64 of shape [n_items]."""
        return np.sqrt(self._sum_rows(np.square))

    def _sum_rows(self, function: np.ufunc) -> FloatArray:
        """Sum a function of its values for each row."""
        sums = np.empty(self._n_items)
        for items, rows in self._all_rows():
            sums[items] = sum_by(rows.owners, function(rows.values), len(items))
        return sums

    def _all_rows(self) -> Iterator[tuple[IntArray, Rows]]:
        """All items and their rows, some at a time."""
        for first in range(0, self._n_items, _ROWS):
            items = np.arange(first, min(first + _ROWS, self._n_items))
            yield items, self._kept_rows(items)


def sum_by(
    places: npt.NDArray[np.integer], values: npt.NDArray[np.floating], size: int
) -> FloatArray:
    """Sum values by their place, in the order given, in float64; shape [size]."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64, copy=False)


def bend(values: FloatArray, power: float) -> FloatArray:
    """Compute ``sign(y) |y|^power`` by square roots alone, as ``FORMAT.md`` has it.

    Square roots and products are rounded alike everywhere, so all readers get the same bits.

    Args:
        values: float64 array.
        power: A multiple of 1/8 above 0, at most 1.

    Returns:
        float64 array of the same shape; ``values`` itself if the power is 1.
    """
    eighths = round(power * EIGHTHS)
    if eighths == EIGHTHS:
        return values
    root = np.abs(values)
    sizes = np.ones_like(root)
    for bit in (4, 2, 1):
        if eighths % (2 * bit) == 0:
            break
        np.sqrt(root, out=root)
        if eighths & bit:
            sizes *= root
    return np.copysign(sizes, values, out=sizes)


def stretch(values: FloatArray, power: float) -> FloatArray:
    """Divide what :func:`bend` gives by the values: 1 if the power is 1, else 0 where one is 0."""
    if power == 1:
        return np.ones_like(values)
    return np.divide(bend(values, power), values, out=np.zeros_like(values), where=values != 0)


def top_k(scores: npt.NDArray[np.floating], k: int) -> IntArray:
    """Find the best scores, exactly.

    Args:
        scores: float array of shape [n]; -inf marks what is left out.
        k: How many, 1 or more.

    Returns:
        int64 array of at most ``k`` indices, by falling score, equal ones by rising index; none is
        of a score of -inf.
    """
    candidates = np.flatnonzero(scores >= _bar(scores, k))
    candidates = candidates[scores[candidates] > -np.inf]
    found = scores[candidates]
    if k > _SHORT:
        return candidates[np.argsort(-found, kind="stable")[:k]]
    best = sorted(zip((-found).tolist(), candidates.tolist(), strict=True))[:k]
    return np.array([item for _, item in best], dtype=np.int64)


def _bar(scores: npt.NDArray[np.floating], k: int, short: int = _SHORT) -> float:
    """A lower bound of the k-th best score: the k-th best of the maxima of groups.

    Up to ``short`` without NumPy's partition, as without its sorts above: together they are half a
    megabyte of code, which a process that answers one question need not load.
    """
    while (groups := len(scores) // _GROUP**2) > 2 * k:
        for n in (groups * _GROUP, groups):  # in two steps: few long passes are faster
            scores = scores[: n * _GROUP].reshape(_GROUP, n).max(0)
    if k >= len(scores):
        return -np.inf
    if k > short:
        return float(np.partition(scores, len(scores) - k)[-k])
    return float(sorted(scores.tolist())[-k])
