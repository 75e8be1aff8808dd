"""Exact top-k for one vector with an inverted index, compiled: by all weights, or by bounds.

The bounds are those of :mod:`sparserec_np.runtime.upper_bounds`, where it is said why they never
change an answer. Items are searched in *blocks*, whose positions fit into 16 bits and whose scores
fit into the second-level cache. (Blocks that fit into the first level were slower: they cut the
postings into pieces too short to be read ahead.) The k-th best score of the blocks before is the
threshold of the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sparserec_np.runtime.upper_bounds import ESSENTIAL, TINY, round_up, rounding

BLOCK = 65_536  # items whose scores are added up together
_RUN = 64  # scores that are compared with the k-th best at once; divides a block
_WORTH = 0.5  # weights that bounds must spare for each item to make up for their passes


class InvertedIndex(NamedTuple):
    """An item table by dimension and by item, with item biases and norms.

    Attributes:
        offsets: Where the postings of a block and dimension begin, int64 array of shape
            [blocks * dim + 1].
        positions: Their items' positions in the block, uint16 array of shape [nnz], ascending in
            each.
        posting_values: Their values, float32 array of shape [nnz].
        counts: Number of postings of each dimension, int64 array of shape [dim].
        indptr: Rows of the table, int64 array of shape [n_items + 1].
        dims: uint16 array of shape [nnz], ascending within a row.
        values: float32 array of shape [nnz].
        bias: float32 array of shape [n_items].
        l2_norms: Euclidean norms of the rows, rounded up, float32 array of shape [n_items].
        l1_norms: Sums of the absolute values of the rows, rounded up, the same.
        run_l2_norms: The largest of each ``_RUN`` of the L2 norms, float32 array.
        run_l1_norms: The largest of each ``_RUN`` of the L1 norms, float32 array.
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
    norms = round_up(np.sqrt(squares)), round_up(sums)
    runs = np.arange(0, bias.size, _RUN)
    run_norms = [np.maximum.reduceat(some, runs) for some in norms]
    return InvertedIndex(
        offsets, positions, posting_values, counts, indptr, dims, values, bias,
        *norms, *run_norms, slack,
    )  # fmt: skip


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def split_query(index, vector):
    """Split a query vector into essential dimensions and a rest, and estimate the cost of both.

    Args:
        index: The items.
        vector: Float array of shape [dim].

    Returns:
        The essential dimensions, int64 array, ascending; the number of their postings; the number
        of postings of the rest, which bounds spare; and radius and limit of the rest, as in
        :class:`sparserec_np.runtime.upper_bounds.Split`. Where bounds would cost more than they
        spare, all dimensions are essential, and no postings are spared.
    """
    dims = np.empty(vector.size, np.int64)
    n = 0
    for d in range(vector.size):
        dims[n] = d  # without a branch, which would often be mispredicted
        n += vector[d] != 0.0
    dims = dims[:n]
    square = 0.0
    for d in dims:
        square += np.float64(vector[d]) ** 2
    length = np.sqrt(square)
    limit = ESSENTIAL * length
    essential = np.empty(n, np.int64)
    n_essential = touched = spared = 0
    square = 0.0
    for d in dims:
        n_weights = index.counts[d]
        if abs(vector[d]) > limit:
            essential[n_essential] = d
            n_essential += 1
            touched += n_weights
        else:
            spared += n_weights
            square += np.float64(vector[d]) ** 2
    if spared < _WORTH * index.bias.size:
        return dims, touched + spared, 0, (0.0, 0.0)
    error = _rounding(vector.size) * length
    return essential[:n_essential], touched, spared, (np.sqrt(square) + error, limit + error)


_rounding = njit(cache=True)(rounding)


@njit(cache=True, nogil=True)
def search_index(index, vector, scale, excluded, best, best_scores):
    """Find the best items for a vector.

    Scores are ``scale * (vector . v_i) + b_i``, summed in the precision of ``vector`` over the
    dimensions ascending, whichever way they are found.

    Args:
        index: The items.
        vector: float64 or float32 array of shape [dim].
        scale: Of the same type; above 0.
        excluded: Items that are not ranked, array of integers.
        best: Filled with items by falling score, equal ones by rising number; shape [k].
        best_scores: Filled with their scores, of the type of ``vector``, shape [k].

    Returns:
        The number of items found, at most k.
    """
    dims, _, spared, rest = split_query(index, vector)
    found = first = 0
    if spared:
        found, first = _by_bounds(
            index, vector, scale, excluded, dims, rest, spared, best, best_scores
        )
        if first < index.bias.size:
            dims = vector.nonzero()[0]
    if first < index.bias.size:
        found = _by_all(index, vector, scale, excluded, dims, first, found, best, best_scores)
    return found


@njit(cache=True, nogil=True, inline="always")
def _add_block(index, first, dims, vector, scale, scores):
    """Add the products at some dimensions to the scores of the block that begins at ``first``."""
    column = first // BLOCK * vector.size
    for d in dims:
        x = scores.dtype.type(vector[d] * scale)
        for e in range(index.offsets[column + d], index.offsets[column + d + 1]):
            scores[index.positions[e]] += index.posting_values[e] * x


@njit(cache=True, nogil=True)
def _by_all(index, vector, scale, excluded, dims, first, found, best, best_scores):
    """Search the items from ``first`` on; ``found`` of those before are among the best already."""
    n_items = index.bias.size
    scores = np.zeros(n_items, vector.dtype)
    for item in excluded:
        scores[item] = -np.inf
    one = vector.dtype.type(1.0)
    for start in range(first, n_items, BLOCK):
        part, bias = scores[start : start + BLOCK], index.bias[start : start + BLOCK]
        _add_block(index, start, dims, vector, one, part)
        for t in range(part.size):
            part[t] = part[t] * scale + bias[t]
        found = _insert_best(part, start, found, best, best_scores)
    return found


@njit(cache=True, nogil=True)
def _insert_best(scores, first, found, best, best_scores):
    """Insert the items from ``first`` on, whose scores these are, into the best; none at -inf."""
    threshold = scores.dtype.type(-np.inf)
    if found == best.size:
        threshold = best_scores[found - 1]
    for start in range(0, scores.size, _RUN):
        run = scores[start : start + _RUN]
        better = 0  # a count, not a flag: that becomes vector instructions
        for t in range(run.size):
            better += run[t] > threshold
        if not better:
            continue
        for t in range(run.size):
            if run[t] > threshold:
                found = insert(best, best_scores, found, first + start + t, run[t])
                if found == best.size:
                    threshold = best_scores[found - 1]
    return found


@njit(cache=True, nogil=True)
def _by_bounds(index, vector, scale, excluded, essential, rest, spared, best, best_scores):
    """Search with bounds, up to a block where they leave more to do than they spare.

    Returns:
        The number of items found, and the first item that has not been scored.
    """
    n_items, k = index.bias.size, best.size
    scores = index.bias.copy()
    for item in excluded:
        scores[item] = -np.inf
    candidates = np.empty(min(BLOCK, n_items), np.int64)
    leaders, approximate = np.empty(k, np.int64), np.empty(k, np.float32)
    radius, limit = np.float32(rest[0] * scale), np.float32(rest[1] * scale)
    done = spent = found = 0
    for first in range(0, n_items, BLOCK):
        part = scores[first : first + BLOCK]
        _add_block(index, first, essential, vector, scale, part)
        lowest = vector.dtype.type(-np.inf)
        if found == k:
            lowest = best_scores[k - 1]
        elif _insert_best(part, first, 0, leaders, approximate) == k:
            lowest = vector.dtype.type(np.inf)
            for item in leaders:
                lowest = min(lowest, _exact_score(index, item, vector, scale))
        threshold = np.nextafter(np.float32(lowest - index.slack), np.float32(-np.inf))
        n_candidates = _collect_candidates(index, part, first, radius, limit, threshold, candidates)
        for item in candidates[:n_candidates]:
            spent += index.indptr[item + 1] - index.indptr[item]
        done += part.size
        if spent * n_items > spared * (done + BLOCK):
            return found, first
        for item in candidates[:n_candidates]:
            score = _exact_score(index, item, vector, scale)
            if found < k or score > best_scores[found - 1]:
                found = insert(best, best_scores, found, item, score)
    return found, n_items


@njit(cache=True, nogil=True)
def _collect_candidates(index, scores, first, radius, limit, threshold, candidates):
    """Collect the items whose scores may be above the threshold, and return their number."""
    n = 0
    lengths = index.l2_norms[first : first + scores.size]
    sizes = index.l1_norms[first : first + scores.size]
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
            if run[t] + min(radius * lengths[start + t], limit * sizes[start + t]) > threshold:
                candidates[n] = first + start + t
                n += 1
    return n


@njit(cache=True, nogil=True)
def _exact_score(index, item, vector, scale):
    total = vector.dtype.type(0.0)
    for e in range(index.indptr[item], index.indptr[item + 1]):
        total += index.values[e] * vector[index.dims[e]]
    return total * scale + index.bias[item]


@njit(cache=True, nogil=True)
def insert(best, best_scores, found, item, score):
    """Insert an item into the best, after those of the same score; return their new number."""
    found = min(found + 1, best.size)
    t = found - 1
    while t > 0 and best_scores[t - 1] < score:
        best_scores[t], best[t] = best_scores[t - 1], best[t - 1]
        t -= 1
    best_scores[t], best[t] = score, item
    return found
