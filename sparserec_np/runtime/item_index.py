"""Exact scores of all items from a decoded item table, with NumPy alone.

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

from sparserec_np.modelfile.reader import ModelFile
from sparserec_np.runtime import upper_bounds
from sparserec_np.runtime.top_k import threshold, top_k
from sparserec_np.utils.csr import indptr_from_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]
    _Float = TypeVar("_Float", np.float32, np.float64)

_SCORED = 16_384  # weights scored at a time: their scratch arrays stay in the second-level cache
_INDEXED = 8_192  # weights put in an index at a time, for the same reason
_DENSE = 8  # places for each weight, at most, of a table that is kept as a dense one
_WORTH = 0.25  # weights that bounds must spare for each item to make up for their passes
_FEW = 32  # one item in so many may be scored on its own; scoring all of them is faster than more


class GatheredRows(NamedTuple):
    """Some rows of the item table, one after the other.

    Attributes:
        dims: Integer array of shape [nnz of these rows], ascending within a row.
        values: float64 array of the same shape.
        owners: int64 array of the same shape: number of the row among those gathered, from 0.
    """

    dims: npt.NDArray[np.integer]
    values: FloatArray
    owners: IntArray


class _Postings(NamedTuple):
    """The item table by dimension.

    Attributes:
        items: Items of each dimension, ascending, as the bytes of their array: bytes are joined in
            a tenth of the time that arrays take.
        codes: Codes of their values, uint8, likewise.
        counts: Number of weights of each dimension, array of NumPy's index type, of shape [dim].
        item_type: Type of the items.
    """

    items: list[bytes]
    codes: list[bytes]
    counts: npt.NDArray[np.intp]
    item_type: type[np.unsignedinteger]


class _RowIndex(NamedTuple):
    """The item table by item.

    Attributes:
        indptr: uint32 array of shape [n_items + 1].
        dims: Dimension of each weight, by item, then dimension, uint16 array of shape [nnz].
        codes: Code of each weight, uint8 array of shape [nnz].
    """

    indptr: npt.NDArray[np.uint32]
    dims: npt.NDArray[np.uint16]
    codes: npt.NDArray[np.uint8]


class ItemIndex:
    """The item table, searchable both by dimension and by item; thread-safe.

    Each way takes 3 bytes a weight (5 by dimension above 65,536 items) and some bytes an item.
    A table of few zeros is kept as a dense one, where that takes at most 32 bytes a weight: no
    postings are added up as fast as a dense table is multiplied.

    Args:
        file: The opened file.
    """

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._n_items = file.layout.items.n_rows
        self._short_levels = file.item_levels()
        self._levels = self._short_levels.astype(np.float64)

    @cached_property
    def bias(self) -> npt.NDArray[np.float32]:
        """Item biases, float32 array of shape [n_items]."""
        return self._file.item_bias()

    @cached_property
    def _postings(self) -> _Postings:
        table = self._file.layout.items
        item_type = np.uint16 if table.n_rows <= 1 << 16 else np.uint32
        all_items, all_codes = np.empty(table.nnz, item_type), np.empty(table.nnz, np.uint8)
        counts = np.zeros(table.dim, np.intp)
        done = 0
        for dims, some_counts, items, codes in self._file.item_weights():
            here = slice(done, done + len(items))
            all_items[here], all_codes[here] = items, codes
            counts[dims] += some_counts
            done = here.stop
        bounds = list(pairwise(indptr_from_counts(counts).tolist()))
        items_of, codes_of = (
            [every[a:b].tobytes() for a, b in bounds] for every in (all_items, all_codes)
        )
        return _Postings(items_of, codes_of, counts, item_type)

    def _pieces(
        self, dims: IntArray, size: int
    ) -> Iterator[tuple[IntArray, npt.NDArray[np.unsignedinteger], npt.NDArray[np.uint8]]]:
        """Yield some of the dimensions at a time, with the items and codes of their weights.

        Args:
            dims: Ascending dimensions.
            size: Number of weights in a piece; those of its last dimension may exceed it.
        """
        items_of, codes_of, counts, item_type = self._postings
        pieces = counts.take(dims).cumsum() // size
        for part in np.split(dims, np.flatnonzero(np.diff(pieces)) + 1):
            chosen = part.tolist()
            items = np.frombuffer(b"".join([items_of[d] for d in chosen]), item_type)
            codes = np.frombuffer(b"".join([codes_of[d] for d in chosen]), np.uint8)
            yield part, items, codes

    def _all_pieces(
        self,
    ) -> Iterator[tuple[IntArray, npt.NDArray[np.unsignedinteger], npt.NDArray[np.uint8]]]:
        return self._pieces(np.arange(len(self._postings.counts)), _INDEXED)

    @cached_property
    def _row_index(self) -> _RowIndex:
        place = np.zeros(self._n_items, np.uint32)
        for _, items, _ in self._all_pieces():
            np.add.at(place, items.astype(np.intp), np.uint32(1))
        indptr = indptr_from_counts(place).astype(np.uint32)
        place[:] = indptr[:-1]
        all_dims, all_codes = np.empty(indptr[-1], np.uint16), np.empty(indptr[-1], np.uint8)
        for dims, items, codes in self._all_pieces():
            order = items.argsort(kind="stable")
            ordered = items.take(order)
            at = np.arange(len(order))
            at -= ordered.searchsorted(ordered)  # weights of the same item before, in this piece
            at += place.take(ordered)
            all_dims[at] = dims.repeat(self._postings.counts.take(dims)).take(order)
            all_codes[at] = codes.take(order)
            at += 1
            place[ordered] = at  # of an item that occurs again, the last one stays
        return _RowIndex(indptr, all_dims, all_codes)

    @cached_property
    def _dense(self) -> npt.NDArray[np.float32] | None:
        """The table with its zeros, shape [n_items, dim]; None where most of it is zeros."""
        table = self._file.layout.items
        if table.n_rows * table.dim > _DENSE * table.nnz:
            return None
        dense = np.zeros((table.n_rows, table.dim), dtype=np.float32)
        for dims, items, codes in self._all_pieces():
            dense[items, dims.repeat(self._postings.counts.take(dims))] = self._short_levels[codes]
        return dense

    def rows(self, items: IntArray) -> GatheredRows:
        """Gather the rows of some items.

        Args:
            items: int64 array, ascending and unique.
        """
        indptr, all_dims, all_codes = self._row_index
        starts, ends = (indptr.take(places).astype(np.intp) for places in (items, items + 1))
        lengths = ends - starts
        starts -= lengths.cumsum() - lengths
        places = starts.repeat(lengths)
        places += np.arange(len(places))
        values = self._levels.take(all_codes.take(places), mode="wrap")
        return GatheredRows(all_dims.take(places), values, np.arange(len(items)).repeat(lengths))

    def dots(self, vector: FloatArray) -> FloatArray:
        """Return the dot product of every item row with a vector.

        Only the dimensions where the vector is not zero are touched.

        Args:
            vector: float64 array of shape [dim].

        Returns:
            float64 array of shape [n_items].
        """
        sums = np.zeros(self._n_items)
        self._add(sums, np.flatnonzero(vector), vector, self._levels)
        return sums

    def _add(
        self,
        sums: npt.NDArray[_Float],
        dims: IntArray,
        vector: npt.NDArray[_Float],
        levels: npt.NDArray[_Float],
    ) -> None:
        """Add to each item's sum its products with a vector at some dimensions, in their order."""
        for part, items, codes in self._pieces(dims, _SCORED):
            products = levels.take(codes, mode="wrap")
            products *= vector.take(part).repeat(self._postings.counts.take(part))
            np.add.at(sums, items.astype(np.intp), products)

    def best(
        self, vector: FloatArray, scale: float, excluded: IntArray, k: int
    ) -> tuple[IntArray, FloatArray]:
        """Find the items of the k largest scores, ``scale * (vector . v_i) + b_i``, exactly.

        Args:
            vector: float64 array of shape [dim].
            scale: Above 0.
            excluded: Items that are not ranked, int64 array.
            k: Number of items, at least 1.

        Returns:
            At most ``k`` items, by falling score, equal ones by rising index, and their scores.
        """
        found = self._best_by_bounds(vector, scale, excluded, k)
        if found is not None:
            return found
        scores = self.dots(vector)
        scores *= scale
        scores += self.bias
        scores[excluded] = -np.inf
        best = top_k(scores, k)
        return best, scores[best]

    def _best_by_bounds(
        self, vector: FloatArray, scale: float, excluded: IntArray, k: int
    ) -> tuple[IntArray, FloatArray] | None:
        """Do the same by :mod:`sparserec_np.runtime.upper_bounds`; None where that costs more."""
        if k * _FEW > self._n_items:
            return None
        found = self._approximate(vector * scale)
        if found is None:
            return None
        scores, radius, limit = found
        scores[excluded] = -np.inf
        least = threshold(scores, k)  # a guess, of approximate scores
        lengths, sizes, slack = self._norms
        most = sizes * np.float32(limit)
        most += scores
        while True:
            floor = np.float32(least - slack)
            few = (most > floor).nonzero()[0]
            few = few[scores.take(few) + lengths.take(few) * np.float32(radius) > floor]
            if len(few) * _FEW > self._n_items:
                return None
            exact = self._score(few, vector, scale)
            order = np.argsort(-exact, kind="stable")[:k]
            worst = float(exact[order[-1]]) if len(order) == k else -np.inf
            if worst >= least:
                return few[order], exact[order]
            least = worst  # the guess was too high; this one is not

    def _approximate(
        self, vector: FloatArray
    ) -> tuple[npt.NDArray[np.float32], float, float] | None:
        """Compute scores of all items with less work.

        Returns:
            Scores, float32 array of shape [n_items], and their largest error, as a multiple of the
            lengths of the rows, and of the sums of the sizes of their weights; None where it would
            cost more.
        """
        if self._dense is not None:
            scores = self._dense @ vector.astype(np.float32)
            scores += self.bias
            error = upper_bounds.rounding(len(vector)) * math.sqrt(float(vector @ vector))
            return scores, error, error
        essential, n_rest, radius, limit = upper_bounds.split_query(vector)
        spared = n_rest / len(vector) * self._file.layout.items.nnz  # more or less
        if spared < _WORTH * self._n_items:
            return None
        scores = self.bias.copy()
        self._add(scores, essential, vector.astype(np.float32), self._short_levels)
        return scores, radius, limit

    def _score(self, items: IntArray, vector: FloatArray, scale: float) -> FloatArray:
        """Compute the exact scores of some items."""
        rows = self.rows(items)
        scores = sum_by(rows.owners, vector.take(rows.dims) * rows.values, len(items))
        scores *= scale
        scores += self.bias[items]
        return scores

    @cached_property
    def _norms(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
        """Lengths of the rows and sums of the sizes of their weights, both rounded up; slack.

        The slack is the largest rounding error of the biases.
        """
        slack = upper_bounds.rounding(self._file.layout.items.dim) * float(np.abs(self.bias).max())
        lengths = upper_bounds.round_up(np.sqrt(self._sum_rows(np.square)))
        sizes = upper_bounds.round_up(self._sum_rows(np.abs))
        return lengths, sizes, slack + upper_bounds.TINY

    @cached_property
    def lengths(self) -> FloatArray:
        """Euclidean length of every item row, float64 of shape [n_items]."""
        return np.sqrt(self._sum_rows(np.square))

    def _sum_rows(self, function: np.ufunc) -> FloatArray:
        """Sum a function of its values for each row."""
        sums, values = np.zeros(self._n_items), function(self._levels)
        for _, items, codes in self._all_pieces():
            np.add.at(sums, items.astype(np.intp), values.take(codes, mode="wrap"))
        return sums


def sum_by(
    places: npt.NDArray[np.integer], values: npt.NDArray[np.floating], size: int
) -> FloatArray:
    """Sum values by their place, in the order given, in float64; shape [size]."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64, copy=False)
