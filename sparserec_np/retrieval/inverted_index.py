"""Exact top-k of one query with an inverted index, compiled: by all weights, or by bounds.

:mod:`sparserec_np.runtime.upper_bounds` has the bounds, and says why they never change an answer.
Items are searched in *blocks*, whose positions fit into 16 bits and whose scores fit into the
second-level cache. (Blocks that fit into the first level were slower: they cut the postings into
pieces too short to be read ahead.) The k-th best score of the blocks before is the threshold of the
next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.runtime.upper_bounds import ESSENTIAL, TINY, round_up, rounding
from sparserec_np.utils.compiled import helper, inline, kernel

if TYPE_CHECKING:
    from sparserec_np.modelfile.arrays import Neighbours

BLOCK = 65_536
"""Items whose scores are summed together."""

_RUN = 64  # scores that are compared with the k-th best at once; divides a block
_WORTH = 0.5  # weights that bounds must spare for each item to make up for their passes


class InvertedIndex(NamedTuple):
    """An item table by dimension and by item, with item biases and norms.

    Attributes:
        offsets: Bounds of the postings of each block and dimension in the next two arrays, int64
            array of shape [n_blocks * dim + 1].
        positions: Position of each posting's item in its block, ascending within a block and
            dimension; uint16 array of shape [nnz].
        posting_values: float32 array of shape [nnz].
        counts: Number of postings of each dimension, int64 array of shape [dim].
        indptr: Rows of the table, int64 array of shape [n_items + 1].
        dims: uint16 array of shape [nnz], ascending within a row.
        values: float32 array of shape [nnz].
        bias: float32 array of shape [n_items].
        l2_norms: Euclidean norms of the rows, rounded up, float32 array of shape [n_items].
        l1_norms: Sums of the absolute values of the rows, rounded up, float32 array of shape
            [n_items].
        run_l2_norms: The largest of each ``_RUN`` L2 norms, float32 array of shape [n_runs].
        run_l1_norms: The largest of each ``_RUN`` L1 norms, float32 array of shape [n_runs].
        slack: The largest rounding error of the biases.
    """

    offsets: NDArray[np.int64]
    positions: NDArray[np.uint16]
    posting_values: NDArray[np.float32]
    counts: NDArray[np.int64]
    indptr: NDArray[np.int64]
    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    l2_norms: NDArray[np.float32]
    l1_norms: NDArray[np.float32]
    run_l2_norms: NDArray[np.float32]
    run_l1_norms: NDArray[np.float32]
    slack: float


class Query(NamedTuple):
    """A search for items by ``scale * (vector . v_i) + popularity * b_i``.

    Attributes:
        vector: float32 or float64 array of shape [dim].
        scale: Of the same type, above 0.
        popularity: Of the same type, 0 to 1.
        excluded: Items that are not ranked, array of integers.
    """

    vector: NDArray[np.floating]
    scale: np.floating | float
    popularity: np.floating | float
    excluded: NDArray[np.integer]


class NeighbourRows(NamedTuple):
    """Additions of the items of a history to the scores of others; rows may all be empty.

    Attributes:
        indptr: int64 array of shape [n_items + 1].
        items: int32 array of shape [nnz], ascending within a row.
        values: float32 array of shape [nnz].
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[np.float32]


def neighbour_rows(neighbours: Neighbours | None) -> NeighbourRows:
    """Return the neighbours of a model as compiled code takes them; None: there are none."""
    if neighbours is None:
        return NeighbourRows(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    return NeighbourRows(neighbours.indptr, neighbours.items, neighbours.values)


class TopK(NamedTuple):
    """Arrays of shape [k] for the result of a search.

    Attributes:
        items: Array of integers, by falling score, equal ones by rising item.
        scores: Their scores, of the type of the query's vector.
    """

    items: NDArray[np.integer]
    scores: NDArray[np.floating]


class QuerySplit(NamedTuple):
    """The dimensions of a query whose postings are summed, and bounds of the rest.

    Attributes:
        dims: Dimensions to sum, ascending, int64 array: the essential ones, or all that are not
            zero where bounds would cost more than they spare.
        n_spared: Number of postings of the other dimensions.
        radius: Factor of the L2 norms, as in :class:`sparserec_np.runtime.upper_bounds.Split`.
        limit: Factor of the L1 norms.
    """

    dims: NDArray[np.int64]
    n_spared: int
    radius: float
    limit: float


def build_index(
    indptr: NDArray[np.int64],
    dims: NDArray[np.uint16],
    values: NDArray[np.float32],
    bias: NDArray[np.float32],
    dim: int,
) -> InvertedIndex:
    """Index the rows of an item table of ``dim`` columns; arrays as in :class:`InvertedIndex`."""
    offsets, positions, posting_values, counts, squares, sums = _transpose(
        indptr, dims, values, dim
    )
    slack = rounding(dim) * float(np.abs(bias).max(initial=0.0)) + TINY
    l2_norms, l1_norms = round_up(np.sqrt(squares)), round_up(sums)
    runs = np.arange(0, bias.size, _RUN)
    run_l2_norms, run_l1_norms = (np.maximum.reduceat(some, runs) for some in (l2_norms, l1_norms))
    return InvertedIndex(
        offsets, positions, posting_values, counts, indptr, dims, values, bias,
        l2_norms, l1_norms, run_l2_norms, run_l1_norms, slack,
    )  # fmt: skip


@kernel
def _transpose(indptr, dims, values, dim):
    """Sort the weights by block and dimension, count them, and sum each row's squares and sizes."""
    n_items = indptr.size - 1
    n_blocks = (n_items + BLOCK - 1) // BLOCK
    offsets = np.zeros(n_blocks * dim + 1, np.int64)
    for item in range(n_items):
        for d in dims[indptr[item] : indptr[item + 1]]:
            offsets[item // BLOCK * dim + d + 1] += 1
    counts = np.zeros(dim, np.int64)
    for c in range(n_blocks * dim):
        counts[c % dim] += offsets[c + 1]
        offsets[c + 1] += offsets[c]
    free = offsets[:-1].copy()
    positions = np.empty(dims.size, np.uint16)
    posting_values = np.empty(dims.size, np.float32)
    squares, sizes = np.zeros(n_items), np.zeros(n_items)
    for item in range(n_items):
        for e in range(indptr[item], indptr[item + 1]):
            c = item // BLOCK * dim + dims[e]
            positions[free[c]], posting_values[free[c]] = item % BLOCK, values[e]
            free[c] += 1
            squares[item] += np.float64(values[e]) ** 2
            sizes[item] += abs(np.float64(values[e]))
    return offsets, positions, posting_values, counts, squares, sizes


@kernel
def add_rows(index, items, weights, vector):
    """Add weighted rows of the item table to a vector, one after the other.

    Args:
        index: The items.
        items: Array of integers of shape [n].
        weights: Array of shape [n], of the type of ``vector``.
        vector: float32 or float64 array of shape [dim], changed.
    """
    for item, weight in zip(items, weights):  # noqa: B905  (numba knows no strict=)
        for e in range(index.indptr[item], index.indptr[item + 1]):
            vector[index.dims[e]] += index.values[e] * weight


@kernel
def split_query(index, vector):
    """Split a query, float array of shape [dim], into sums and bounds: a :class:`QuerySplit`."""
    dims = np.empty(vector.size, np.int64)
    n = 0
    for d in range(vector.size):
        dims[n] = d  # without a branch, which would often be mispredicted
        n += vector[d] != 0.0
    square = 0.0
    for d in dims[:n]:
        square += np.float64(vector[d]) ** 2
    length = np.sqrt(square)
    limit = ESSENTIAL * length
    essential = np.empty(n, np.int64)
    n_essential = n_spared = 0
    square = 0.0
    for d in dims[:n]:
        if abs(vector[d]) > limit:
            essential[n_essential] = d
            n_essential += 1
        else:
            n_spared += index.counts[d]
            square += np.float64(vector[d]) ** 2
    if n_spared < _WORTH * index.bias.size:
        essential, n_essential, n_spared = dims, n, 0
    error = _rounding(vector.size) * length
    return QuerySplit(essential[:n_essential], n_spared, np.sqrt(square) + error, limit + error)


_rounding = helper(rounding)


@kernel
def search_index(index, query, best):
    """Find the items of the largest scores.

    Scores are summed in the precision of the query's vector over the dimensions ascending, with
    bounds or without.

    Args:
        index: The items.
        query: The :class:`Query`.
        best: The :class:`TopK` to fill.

    Returns:
        The number of items found, at most k.
    """
    split = split_query(index, query.vector)
    dims = split.dims
    found = first = 0
    if split.n_spared:
        found, first = _search_by_bounds(index, query, split, best)
        if first == index.bias.size:
            return found
        dims = query.vector.nonzero()[0]
    return _search_all(index, query, dims, first, best, found)


@helper
def search_with_neighbours(index, neighbours, items, weights, query, best):
    """Find the items of the largest scores where items of a history add to those of others.

    Bounds know nothing of what is added: the items that have some are left out of the search,
    scored exactly, and inserted.

    Args:
        index: The items.
        neighbours: :class:`NeighbourRows`.
        items: The history by ascending item, array of integers of shape [n].
        weights: Their recency weights, of the type of the query's vector, array of shape [n]; of
            shape [0] where all are 1.
        query: The :class:`Query`.
        best: The :class:`TopK` to fill.

    Returns:
        The number of items found, at most k.
    """
    one = query.vector.dtype.type(1.0)
    sums = np.zeros(index.bias.size, query.vector.dtype)
    n_added = 0
    for item in items:
        n_added += neighbours.indptr[item + 1] - neighbours.indptr[item]
    excluded = np.empty(query.excluded.size + n_added, query.excluded.dtype)
    n = 0
    for t in range(items.size):
        weight = weights[t] if weights.size else one
        for e in range(neighbours.indptr[items[t]], neighbours.indptr[items[t] + 1]):
            item = neighbours.items[e]
            if sums[item] == 0.0:
                excluded[n] = item
                n += 1
            sums[item] += neighbours.values[e] * weight
    for item in query.excluded:
        sums[item] = -np.inf
    added = excluded[:n]
    excluded[n : n + query.excluded.size] = query.excluded
    excluded = excluded[: n + query.excluded.size]
    left_out = Query(query.vector, query.scale, query.popularity, excluded)
    found = search_index(index, left_out, best)
    for item in added:
        if sums[item] > -np.inf:
            score = _exact_score(index, query, item) + sums[item]
            sums[item] = -np.inf
            found = _insert_by_item(best, found, item, score)
    return found


@helper
def _insert_by_item(best, found, item, score):
    """Insert an item into the best, among those of the same score by its number."""
    items, scores = best
    k = items.size
    if found == k and (score < scores[k - 1] or (score == scores[k - 1] and item > items[k - 1])):
        return found
    found = min(found + 1, k)
    t = found - 1
    while t > 0 and (scores[t - 1] < score or (scores[t - 1] == score and items[t - 1] > item)):
        scores[t], items[t] = scores[t - 1], items[t - 1]
        t -= 1
    scores[t], items[t] = score, item
    return found


@inline
def _add_postings(index, first, dims, vector, scale, scores):
    """Add the products at some dimensions to the scores of the block that begins at ``first``."""
    column = first // BLOCK * vector.size
    for d in dims:
        x = scores.dtype.type(vector[d] * scale)
        for e in range(index.offsets[column + d], index.offsets[column + d + 1]):
            scores[index.positions[e]] += index.posting_values[e] * x


@helper
def _search_all(index, query, dims, first, best, found):
    """Search the items from ``first`` on; ``found`` of those before are among the best already."""
    vector, scale = query.vector, query.scale
    scores = np.zeros(index.bias.size, vector.dtype)
    for item in query.excluded:
        scores[item] = -np.inf
    one = vector.dtype.type(1.0)
    for start in range(first, scores.size, BLOCK):
        block, bias = scores[start : start + BLOCK], index.bias[start : start + BLOCK]
        _add_postings(index, start, dims, vector, one, block)
        for t in range(block.size):
            block[t] = block[t] * scale + bias[t] * query.popularity
        found = _insert_block(block, start, best, found)
    return found


@helper
def _search_by_bounds(index, query, split, best):
    """Search with bounds, up to a block where they leave more to do than they spare.

    Returns:
        The number of items found, and the first item that has not been searched.
    """
    n_items, k = index.bias.size, best.items.size
    scores = index.bias * np.float32(query.popularity)
    for item in query.excluded:
        scores[item] = -np.inf
    candidates = np.empty(min(BLOCK, n_items), np.int64)
    approximate = TopK(np.empty(k, np.int64), np.empty(k, np.float32))
    scale = query.scale
    radius, limit = np.float32(split.radius * scale), np.float32(split.limit * scale)
    n_searched = n_scored = found = 0
    for first in range(0, n_items, BLOCK):
        block = scores[first : first + BLOCK]
        _add_postings(index, first, split.dims, query.vector, scale, block)
        lowest = query.vector.dtype.type(-np.inf)
        if found == k:
            lowest = best.scores[k - 1]
        elif _insert_block(block, first, approximate, 0) == k:
            lowest = query.vector.dtype.type(np.inf)
            for item in approximate.items:
                lowest = min(lowest, _exact_score(index, query, item))
        threshold = np.nextafter(np.float32(lowest - index.slack), np.float32(-np.inf))
        n = _collect_candidates(index, block, first, radius, limit, threshold, candidates)
        for item in candidates[:n]:
            n_scored += index.indptr[item + 1] - index.indptr[item]
        n_searched += block.size
        if n_scored * n_items > split.n_spared * (n_searched + BLOCK):
            return found, first
        for item in candidates[:n]:
            score = _exact_score(index, query, item)
            if found < k or score > best.scores[found - 1]:
                found = _insert_item(best, found, item, score)
    return found, n_items


@helper
def _collect_candidates(index, scores, first, radius, limit, threshold, candidates):
    """Collect the items whose scores may be above the threshold, and return their number."""
    n = 0
    l2_norms = index.l2_norms[first : first + scores.size]
    l1_norms = index.l1_norms[first : first + scores.size]
    for start in range(0, scores.size, _RUN):
        run = scores[start : start + _RUN]
        number = (first + start) // _RUN
        most = min(radius * index.run_l2_norms[number], limit * index.run_l1_norms[number])
        likely = 0
        for t in range(run.size):
            likely += run[t] + most > threshold
        if not likely:
            continue
        for t in range(run.size):
            most = min(radius * l2_norms[start + t], limit * l1_norms[start + t])
            if run[t] + most > threshold:
                candidates[n] = first + start + t
                n += 1
    return n


@helper
def _exact_score(index, query, item):
    total = query.vector.dtype.type(0.0)
    for e in range(index.indptr[item], index.indptr[item + 1]):
        total += index.values[e] * query.vector[index.dims[e]]
    return total * query.scale + index.bias[item] * query.popularity


@helper
def _insert_block(scores, first, best, found):
    """Insert the items from ``first`` on, whose scores these are, into the best; none at -inf."""
    threshold = scores.dtype.type(-np.inf)
    if found == best.items.size:
        threshold = best.scores[found - 1]
    for start in range(0, scores.size, _RUN):
        run = scores[start : start + _RUN]
        better = 0  # a count, not a flag: that becomes vector instructions
        for t in range(run.size):
            better += run[t] > threshold
        if not better:
            continue
        for t in range(run.size):
            if run[t] > threshold:
                found = _insert_item(best, found, first + start + t, run[t])
                if found == best.items.size:
                    threshold = best.scores[found - 1]
    return found


@helper
def _insert_item(best, found, item, score):
    """Insert an item into the best, after those of the same score; return their new number."""
    items, scores = best
    found = min(found + 1, items.size)
    t = found - 1
    while t > 0 and scores[t - 1] < score:
        scores[t], items[t] = scores[t - 1], items[t - 1]
        t -= 1
    scores[t], items[t] = score, item
    return found
