"""The item table, decoded for requests: by dimension and by item, with NumPy alone.

The order of additions is part of the contract, so that readers in other languages rank exactly
alike: all sums are in float64, over history items by ascending index and over dimensions
ascending, each starting from 0 (``FORMAT.md``, "Scores").
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from sparserec_np.modelfile.reader import ModelFile
from sparserec_np.runtime import upper_bounds
from sparserec_np.runtime.neighbours import NOTHING, Additions
from sparserec_np.runtime.sparse_rows import GatheredRows, SparseRows
from sparserec_np.runtime.top_k import descending, threshold, top_k
from sparserec_np.utils.csr import indptr_from_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]
    _Float = TypeVar("_Float", np.float32, np.float64)

_DENSE = 8  # places for each weight, at most, of a table that is kept as a dense one
_WORTH = 0.25  # weights that bounds must spare for each item to make up for their passes
_FEW = 32  # one item in so many may be scored on its own; scoring all of them is faster than more
_PIECE = 6 * 1024  # weights scored at a time, in 0.2 MB of scratch memory


class Query(NamedTuple):
    """A search for items by ``scale * (vector . v_i) + popularity * b_i``.

    Attributes:
        vector: float64 array of shape [dim].
        scale: Above 0.
        popularity: Factor of the biases, 0 to 1.
    """

    vector: FloatArray
    scale: float = 1.0
    popularity: float = 1.0


class _Norms(NamedTuple):
    """Norms of the item rows, for :mod:`sparserec_np.runtime.upper_bounds`.

    Attributes:
        l2: Euclidean norms, rounded up, float32 array of shape [n_items].
        l1: Sums of the absolute values, likewise.
        slack: The largest rounding error of the biases.
    """

    l2: npt.NDArray[np.float32]
    l1: npt.NDArray[np.float32]
    slack: float


class ItemIndex:
    """The item table, searchable both by dimension and by item; thread-safe.

    Each way takes 3 bytes a weight (by dimension 5 above 65,536 items) and 4 bytes a dimension or
    an item; biases and norms take 12 bytes an item. All are built when they are first needed, which
    takes at most 16 bytes an item more. A table of few zeros is kept as a dense one too, in at most
    32 bytes a weight: no postings are added up as fast as a dense table is multiplied.

    Args:
        file: The opened file.
    """

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._n_items = file.layout.items.n_rows
        self.dim = file.layout.items.dim
        self._short_levels = file.item_levels()
        self._levels = self._short_levels.astype(np.float64)

    @cached_property
    def bias(self) -> npt.NDArray[np.float32]:
        """Item biases, float32 array of shape [n_items]."""
        return self._file.item_bias()

    @cached_property
    def _by_dim(self) -> SparseRows:
        table = self._file.layout.items
        all_items = np.empty(table.nnz, np.uint16 if table.n_rows <= 1 << 16 else np.uint32)
        all_codes = np.empty(table.nnz, np.uint8)
        counts = np.zeros(table.dim, np.int64)
        done = 0
        for dims, some_counts, items, codes in self._file.item_weights():
            here = slice(done, done + len(items))
            all_items[here], all_codes[here] = items, codes
            counts[dims] += some_counts
            done = here.stop
        return SparseRows(indptr_from_counts(counts).astype(np.uint32), all_items, all_codes)

    @cached_property
    def _by_item(self) -> SparseRows:
        free = np.zeros(self._n_items, np.intp)  # the next free place in each item's row
        for _, items, _ in self._postings():
            free[items] += 1
        indptr = indptr_from_counts(free).astype(np.uint32)
        free[:] = indptr[:-1]
        all_dims, all_codes = np.empty(indptr[-1], np.uint16), np.empty(indptr[-1], np.uint8)
        for dim, items, codes in self._postings():
            places = free[items]
            all_dims[places], all_codes[places] = dim, codes
            places += 1
            free[items] = places
        return SparseRows(indptr, all_dims, all_codes)

    def _postings(self) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.uint8]]]:
        """Yield each dimension that has weights, its items, each of them once, and their codes."""
        indptr, items, codes = self._by_dim
        for dim, (begin, end) in enumerate(pairwise(indptr.tolist())):
            if begin < end:
                yield dim, items[begin:end].astype(np.intp), codes[begin:end]

    @cached_property
    def _dense(self) -> npt.NDArray[np.float32] | None:
        """The table with its zeros, shape [n_items, dim]; None where most of it is zeros."""
        table = self._file.layout.items
        if table.n_rows * table.dim > _DENSE * table.nnz:
            return None
        dense = np.zeros((table.n_rows, table.dim), dtype=np.float32)
        for dim, items, codes in self._postings():
            dense[items, dim] = self._short_levels[codes]
        return dense

    def rows(self, items: IntArray) -> GatheredRows:
        """Gather the rows of some items.

        Args:
            items: int64 array, ascending and unique.
        """
        return self._by_item.gather(items, self._levels)

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
        factors = vector.take(dims)
        begins, ends = self._by_dim.bounds(dims)
        lengths = ends - begins
        slices = list(map(slice, begins.tolist(), ends.tolist()))
        # Views are joined as bytes in a fifth of the time that arrays take.
        all_items, all_codes = self._by_dim.indices.data, self._by_dim.codes.data
        cuts: list[int] = (np.flatnonzero(np.diff(lengths.cumsum() // _PIECE)) + 1).tolist()
        for first, last in pairwise([0, *cuts, len(dims)]):
            codes = np.frombuffer(b"".join([all_codes[s] for s in slices[first:last]]), np.uint8)
            products = levels.take(codes, mode="wrap")
            products *= factors[first:last].repeat(lengths[first:last])
            items = b"".join([all_items[s] for s in slices[first:last]])
            places = np.frombuffer(items, self._by_dim.indices.dtype).astype(np.intp)
            np.add.at(sums, places, products)

    def best(
        self, query: Query, excluded: IntArray, k: int, additions: Additions = NOTHING
    ) -> tuple[IntArray, FloatArray]:
        """Find the items of the k largest scores, exactly.

        Args:
            query: What scores are made of, but for ``additions``.
            excluded: Items that are not ranked, int64 array.
            k: Number of items, at least 1.
            additions: What is added to the scores of some items.

        Returns:
            At most ``k`` items, by falling score, equal ones by rising index, and their scores.
        """
        found = self._best_by_bounds(query, excluded, k, additions)
        if found is not None:
            return found
        scores = self.dots(query.vector)
        scores *= query.scale
        scores += weighed(self.bias, query.popularity)
        scores[additions.items] += additions.values
        scores[excluded] = -np.inf
        best = top_k(scores, k)
        return best, scores[best]

    def _best_by_bounds(
        self, query: Query, excluded: IntArray, k: int, additions: Additions
    ) -> tuple[IntArray, FloatArray] | None:
        """Do the same by :mod:`sparserec_np.runtime.upper_bounds`; None where that costs more.

        Bounds know nothing of additions: the items that have some are scored exactly, all of them.
        """
        if max(k, len(additions.items)) * _FEW > self._n_items:
            return None
        approximate = self._approximate(query.vector * query.scale, query.popularity)
        if approximate is None:
            return None
        scores, radius, limit = approximate
        scores[excluded] = -np.inf
        added = additions.of_items(scores.take(additions.items) > -np.inf)
        scores[added.items] = -np.inf
        least = threshold(scores, k)  # a guess, of approximate scores
        norms = self._norms
        most = norms.l1 * np.float32(limit)
        most += scores
        while True:
            floor = np.float32(least - norms.slack)
            few = (most > floor).nonzero()[0]
            few = few[scores.take(few) + norms.l2.take(few) * np.float32(radius) > floor]
            if len(few) * _FEW > self._n_items:
                return None
            if len(added.items):
                few = np.sort(np.concatenate((few, added.items)))
            exact = self._score(few, query)
            exact[np.searchsorted(few, added.items)] += added.values
            order = descending(exact)[:k]
            worst = float(exact[order[-1]]) if len(order) == k else -np.inf
            if worst >= least:
                return few[order], exact[order]
            least = worst  # the guess was too high; this one is not

    def _approximate(
        self, vector: FloatArray, popularity: float
    ) -> tuple[npt.NDArray[np.float32], float, float] | None:
        """Compute scores of all items with less work.

        Returns:
            Scores, float32 array of shape [n_items], and their largest errors, as multiples of the
            L2 and of the L1 norms; None where it would cost more.
        """
        if self._dense is not None:
            scores = self._dense @ vector.astype(np.float32)
            scores += weighed(self.bias, popularity, np.float32)
            error = upper_bounds.rounding(len(vector)) * math.sqrt(float(vector @ vector))
            return scores, error, error
        essential, n_rest, radius, limit = upper_bounds.split_query(vector)
        n_spared = n_rest / len(vector) * self._file.layout.items.nnz  # more or less
        if n_spared < _WORTH * self._n_items:
            return None
        scores = weighed(self.bias, popularity, np.float32).copy()
        self._add(scores, essential, vector.astype(np.float32), self._short_levels)
        return scores, radius, limit

    def _score(self, items: IntArray, query: Query) -> FloatArray:
        """Compute the exact scores of some items."""
        rows = self.rows(items)
        scores = sum_by(rows.owners, query.vector.take(rows.dims) * rows.values, len(items))
        scores *= query.scale
        scores += weighed(self.bias[items], query.popularity)
        return scores

    @cached_property
    def _norms(self) -> _Norms:
        norms = np.zeros((2, self._n_items))
        squares, sizes = np.square(self._levels), np.abs(self._levels)
        for _, items, codes in self._postings():
            norms[0, items] += squares[codes]
            norms[1, items] += sizes[codes]
        np.sqrt(norms[0], out=norms[0])
        slack = upper_bounds.rounding(self._file.layout.items.dim) * float(np.abs(self.bias).max())
        l2, l1 = upper_bounds.round_up(norms)
        return _Norms(l2, l1, slack + upper_bounds.TINY)

    @cached_property
    def lengths(self) -> FloatArray:
        """Euclidean length of every item row, float64 array of shape [n_items]."""
        squares, level_squares = np.zeros(self._n_items), np.square(self._levels)
        for _, items, codes in self._postings():
            squares[items] += level_squares[codes]
        return np.sqrt(squares)


def weighed(
    bias: npt.NDArray[np.float32], popularity: float, dtype: type[np.floating] = np.float64
) -> npt.NDArray[Any]:
    """Multiply biases by the popularity of a request; as they are, float32, if that is 1."""
    return bias if popularity == 1 else np.multiply(bias, popularity, dtype=dtype)


def sum_by(
    places: npt.NDArray[np.integer], values: npt.NDArray[np.floating], size: int
) -> FloatArray:
    """Sum values by their place, in the order given, in float64; shape [size]."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64, copy=False)
