"""Exact scores of all items from a decoded item table, and the best of them, with numpy alone.

The order of additions is part of the contract, so that readers in other languages rank exactly
alike: all sums are in float64, over history items by ascending index and over dimensions
ascending, each starting from 0 (``FORMAT.md``, "Scores").
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparserec_np.reader import ModelFile, Postings

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]

_PIECE = 16_384  # weights scored at a time: their scratch arrays stay in the second-level cache
_STREAMS = 2  # passes of the first request
_GROUP = 64  # scores whose maximum stands for them in the search for a threshold


class Rows(NamedTuple):
    """Some rows of the item table, one after the other.

    Attributes:
        dims: int64 array of shape [weights of all rows], ascending within a row.
        values: float64 array, likewise.
        owners: int64 array, likewise: which of the rows asked for, counted from 0.
    """

    dims: IntArray
    values: FloatArray
    owners: IntArray


class ItemTable:
    """The item table, searchable both by dimension and by item; thread-safe.

    The first request streams through the file, once for the rows of its items and once for the
    scores, and keeps nothing: a process that answers one question needs little memory. From the
    second request on the table is kept as decoded, 3 bytes a weight (5 above 65,536 items), and by
    rows as much again.

    Args:
        file: The opened file.
    """

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._n_items = file.layout.items.rows
        self._levels = file.item_levels().astype(np.float64)
        self._streams_left = _STREAMS

    def rows(self, items: IntArray) -> Rows:
        """Collect the rows of some items.

        Args:
            items: int64 array, ascending and unique.
        """
        if self._may_stream():
            return self._streamed_rows(items)
        indptr, dims, codes = self._row_index
        starts, lengths = indptr[items], indptr[items + 1] - indptr[items]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        places = np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
        owners = np.repeat(np.arange(len(items)), lengths)
        return Rows(dims[places].astype(np.int64), self._levels[codes[places]], owners)

    def _may_stream(self) -> bool:
        self._streams_left -= 1
        return self._streams_left >= 0

    def _streamed_rows(self, items: IntArray) -> Rows:
        wanted = np.zeros(self._n_items, dtype=np.bool_)
        wanted[items] = True
        none = np.empty(0, dtype=np.int64)
        pieces = [(none, none, none.astype(np.float64))]
        for dims, stored, codes in self._file.item_pieces():
            places = np.flatnonzero(wanted[stored])
            pieces.append((dims[places], stored[places], self._levels[codes[places]]))
        all_dims, all_items, values = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        order = np.argsort(all_items, kind="stable")
        owners = np.searchsorted(items, all_items[order])
        return Rows(all_dims[order], values[order], owners)

    @cached_property
    def _postings(self) -> Postings:
        return self._file.postings()

    @cached_property
    def _lengths(self) -> IntArray:
        return np.diff(self._postings.offsets)

    @cached_property
    def _bounds(self) -> list[int]:
        bounds: list[int] = self._postings.offsets.tolist()
        return bounds

    @cached_property
    def _row_index(self) -> tuple[IntArray, npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
        postings = self._postings
        order = np.argsort(postings.items, kind="stable")
        dims = np.repeat(np.arange(len(self._lengths), dtype=np.uint16), self._lengths)
        counts = np.bincount(postings.items, minlength=self._n_items)
        return np.r_[0, np.cumsum(counts)], dims[order], postings.codes[order]

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
        ends = np.cumsum(self._lengths[active])
        start = 0
        while start < len(active):
            limit = (ends[start - 1] if start else 0) + _PIECE
            stop = max(int(np.searchsorted(ends, limit, side="right")), start + 1)
            items, codes = self._gather(active[start:stop])
            products = self._levels.take(codes)
            products *= np.repeat(vector[active[start:stop]], self._lengths[active[start:stop]])
            np.add.at(result, items.astype(np.intp), products)
            start = stop
        return result

    def _streamed_dots(self, vector: FloatArray, result: FloatArray) -> None:
        active = vector != 0
        for dims, items, codes in self._file.item_pieces():
            places = np.flatnonzero(active[dims])
            products = self._levels[codes[places]]
            products *= vector[dims[places]]
            np.add.at(result, items[places], products)

    def _gather(
        self, dims: IntArray
    ) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.uint8]]:
        bounds, postings = self._bounds, self._postings
        slices = [slice(bounds[d], bounds[d + 1]) for d in dims.tolist()]
        return (
            np.concatenate([postings.items[s] for s in slices]),
            np.concatenate([postings.codes[s] for s in slices]),
        )

    @cached_property
    def norms(self) -> FloatArray:
        """Euclidean length of every item row, float64 of shape [n_items]."""
        squares = np.zeros(self._n_items)
        for start in range(0, len(self._postings.items), _PIECE):
            items = self._postings.items[start : start + _PIECE].astype(np.intp)
            values = self._levels[self._postings.codes[start : start + _PIECE]]
            np.add.at(squares, items, values * values)
        return np.sqrt(squares)


def sum_by(places: IntArray, values: npt.NDArray[np.floating], size: int) -> FloatArray:
    """Sum values by their place, in the order given, in float64; shape [size]."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64, copy=False)


def top_k(scores: FloatArray, k: int) -> IntArray:
    """Find the best scores, exactly.

    Args:
        scores: float64 array of shape [n]; -inf marks what is left out.
        k: How many, 1 or more.

    Returns:
        int64 array of at most ``k`` indices, by falling score, equal ones by rising index; none is
        of a score of -inf.
    """
    groups = len(scores) // _GROUP
    # Any lower bound of the k-th best score will do: the k-th best maximum of groups is one.
    sample = scores[: groups * _GROUP].reshape(_GROUP, groups).max(0) if groups > 2 * k else scores
    if k < len(sample):
        candidates = np.flatnonzero(scores >= np.partition(sample, len(sample) - k)[-k])
    else:
        candidates = np.arange(len(scores))
    candidates = candidates[scores[candidates] > -np.inf]
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
