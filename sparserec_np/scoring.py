"""Exact scores of all items from a decoded item table, and the best of them, with numpy alone.

The order of additions is part of the contract, so that readers in other languages rank exactly
alike: all sums are in float64, over history items by ascending index and over dimensions
ascending, each starting from 0 (``FORMAT.md``, "Scores").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sparserec_np.reader import Postings

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PIECE = 16_384  # weights scored at a time: their scratch arrays stay in the second-level cache
_BLOCK = 256  # scores whose maximum stands for them in the search for a threshold


@dataclass(frozen=True, eq=False)
class Rows:
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

    By dimension it is kept as decoded, 3 bytes a weight (5 above 65,536 items). The first request
    finds the rows of its items by a pass over all weights (some 2 ns each); the second pays for an
    index by rows (some 20 ns and 3 bytes a weight), which makes that step vanish afterwards. A
    process that answers one question and ends never pays for the index.

    Args:
        postings: The table by dimension.
        n_items: Number of rows.
    """

    def __init__(self, postings: Postings, n_items: int) -> None:
        self._postings = postings
        self._n_items = n_items
        self._levels = postings.levels.astype(np.float64)
        self._lengths = np.diff(postings.offsets)
        self._bounds = postings.offsets.tolist()
        self._asked = False

    def rows(self, items: IntArray) -> Rows:
        """Collect the rows of some items.

        Args:
            items: int64 array, ascending and unique.
        """
        if not self._asked:
            self._asked = True
            return self._rows_by_scan(items)
        indptr, dims, codes = self._row_index
        starts, lengths = indptr[items], indptr[items + 1] - indptr[items]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        places = np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
        owners = np.repeat(np.arange(len(items)), lengths)
        return Rows(dims[places].astype(np.int64), self._levels[codes[places]], owners)

    def _rows_by_scan(self, items: IntArray) -> Rows:
        owner = np.full(self._n_items, -1, dtype=np.int32)
        owner[items] = np.arange(len(items))
        places = np.flatnonzero((owner >= 0)[self._postings.items])
        owners = owner[self._postings.items[places]].astype(np.int64)
        order = np.argsort(owners, kind="stable")
        places = places[order]
        dims = np.searchsorted(self._postings.offsets, places, side="right") - 1
        return Rows(dims, self._levels[self._postings.codes[places]], owners[order])

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
    n = len(scores)
    blocks = n // _BLOCK
    # Any lower bound of the k-th best score will do: the k-th best block maximum is one.
    sample = scores[: blocks * _BLOCK].reshape(-1, _BLOCK).max(1) if blocks > 2 * k else scores
    if k < len(sample):
        threshold = np.partition(sample, len(sample) - k)[len(sample) - k]
        candidates = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(n)
    candidates = candidates[scores[candidates] > -np.inf]
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
