"""Exact top-k for one vector, compiled: by all of its weights, or by bounds.

The bounds are those of :mod:`sparserec_np.runtime.upper_bounds`, which says why they never change an answer.
Items are searched in *blocks*: their places in it fit into 16 bits, and their scores into the
second-level cache. (Blocks that fit into the first level were slower: they cut the lists of items
into pieces too short to be read ahead.) What the blocks before have found is the bar for the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sparserec_np.runtime.upper_bounds import STRONG, TINY, rounding, upwards

BLOCK = 65_536  # items whose scores are added up together: their places fit into 16 bits
_RUN = 64  # scores that are compared with the k-th best at once; divides a block
_WORTH = 0.5  # weights that bounds must spare for each item to make up for their passes


class Searchable(NamedTuple):
    """An item table, both by dimension and by item, with its biases.

    Attributes:
        offsets: Where the items of a block and dimension begin, int64 array of shape
            [blocks * dim + 1].
        places: Their places in the block, uint16 array of shape [weights], ascending in each.
        item_values: Their values there, float32 array of shape [weights].
        counts: Number of items of each dimension, int64 array of shape [dim].
        indptr: Rows of the table, int64 array of shape [n_items + 1].
        dims: uint16 array of shape [weights], ascending within a row.
        values: float32 array of shape [weights].
        bias: float32 array of shape [n_items].
        lengths: Lengths of the rows, rounded up, float32 array of shape [n_items].
        sizes: Sums of the sizes of their weights, rounded up, float32 array of shape [n_items].
        run_lengths: The largest of each ``_RUN`` of the lengths, float32 array.
        run_sizes: The largest of each ``_RUN`` of the sizes, float32 array.
        slack: What rounding makes of the biases, at most.
    """

    offsets: NDArray[np.int64]
    places: NDArray[np.uint16]
    item_values: NDArray[np.float32]
    counts: NDArray[np.int64]
    indptr: NDArray[np.int64]
    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    lengths: NDArray[np.float32]
    sizes: NDArray[np.float32]
    run_lengths: NDArray[np.float32]
    run_sizes: NDArray[np.float32]
    slack: float


def searchable(
    indptr: NDArray[np.int64],
    dims: NDArray[np.uint16],
    values: NDArray[np.float32],
    bias: NDArray[np.float32],
    dim: int,
) -> Searchable:
    """Index the rows of an item table of ``dim`` columns; see :class:`Searchable`."""
    offsets, places, item_values, counts, squares, sums = _transpose(indptr, dims, values, dim)
    slack = rounding(dim) * float(np.abs(bias).max(initial=0.0)) + TINY
    lengths, sizes = upwards(np.sqrt(squares)), upwards(sums)
    runs = np.arange(0, bias.size, _RUN)
    run_lengths, run_sizes = (np.maximum.reduceat(norms, runs) for norms in (lengths, sizes))
    return Searchable(
        offsets, places, item_values, counts, indptr, dims, values, bias, lengths, sizes,
        run_lengths, run_sizes, slack,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _transpose(indptr, dims, values, dim):
    """Sort the weights by block and dimension, count them; sum squares and sizes of each row."""
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
    places = np.empty(dims.size, np.uint16)
    item_values = np.empty(dims.size, np.float32)
    squares, sizes = np.zeros(n_items), np.zeros(n_items)
    for item in range(n_items):
        for e in range(indptr[item], indptr[item + 1]):
            c = item // BLOCK * dim + dims[e]
            places[free[c]], item_values[free[c]] = item % BLOCK, values[e]
            free[c] += 1
            squares[item] += np.float64(values[e]) ** 2
            sizes[item] += abs(np.float64(values[e]))
    return offsets, places, item_values, counts, squares, sizes


@njit(cache=True, nogil=True)
def plan(table, vector):
    """Split a vector, and tell what a search for it costs.

    Args:
        table: The items.
        vector: Float array of shape [dim].

    Returns:
        The dimensions that are summed for all items, int64 array, ascending; how many weights are
        there; how many the bounds spare, 0 where they are not worth their passes; and the radius
        and the limit of the weak part, as in :class:`sparserec_np.runtime.upper_bounds.Split`.
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
    limit = STRONG * length
    strong = np.empty(n, np.int64)
    n_strong = touched = spared = 0
    square = 0.0
    for d in dims:
        n_weights = table.counts[d]
        if abs(vector[d]) > limit:
            strong[n_strong] = d
            n_strong += 1
            touched += n_weights
        else:
            spared += n_weights
            square += np.float64(vector[d]) ** 2
    if spared < _WORTH * table.bias.size:
        return dims, touched + spared, 0, (0.0, 0.0)
    error = _rounding(vector.size) * length
    return strong[:n_strong], touched, spared, (np.sqrt(square) + error, limit + error)


_rounding = njit(cache=True)(rounding)


@njit(cache=True, nogil=True)
def search(table, vector, scale, left_out, best, best_scores):
    """Find the best items for a vector.

    Scores are ``scale * (vector . v_i) + b_i``, summed in the precision of ``vector`` over the
    dimensions ascending, whichever way they are found.

    Args:
        table: The items.
        vector: float64 or float32 array of shape [dim].
        scale: Of the same type; above 0.
        left_out: Items that are not ranked, array of integers.
        best: Filled with items by falling score, equal ones by rising number; shape [k].
        best_scores: Filled with their scores, of the type of ``vector``, shape [k].

    Returns:
        How many there are, at most k.
    """
    dims, _, spared, rest = plan(table, vector)
    found = first = 0
    if spared:
        found, first = _by_bounds(
            table, vector, scale, left_out, dims, rest, spared, best, best_scores
        )
        if first < table.bias.size:
            dims = vector.nonzero()[0]
    if first < table.bias.size:
        found = _by_all(table, vector, scale, left_out, dims, first, found, best, best_scores)
    return found


@njit(cache=True, nogil=True, inline="always")
def _add_block(table, first, dims, vector, scale, scores):
    """Add to the scores of the block that begins at item ``first`` what some dimensions give."""
    column = first // BLOCK * vector.size
    for d in dims:
        x = scores.dtype.type(vector[d] * scale)
        for e in range(table.offsets[column + d], table.offsets[column + d + 1]):
            scores[table.places[e]] += table.item_values[e] * x


@njit(cache=True, nogil=True)
def _by_all(table, vector, scale, left_out, dims, first, found, best, best_scores):
    """As :func:`search` from item ``first`` on, where ``found`` are found already."""
    n_items = table.bias.size
    scores = np.zeros(n_items, vector.dtype)
    for item in left_out:
        scores[item] = -np.inf
    one = vector.dtype.type(1.0)
    for start in range(first, n_items, BLOCK):
        part, bias = scores[start : start + BLOCK], table.bias[start : start + BLOCK]
        _add_block(table, start, dims, vector, one, part)
        for t in range(part.size):
            part[t] = part[t] * scale + bias[t]
        found = _leaders(part, start, found, best, best_scores)
    return found


@njit(cache=True, nogil=True)
def _leaders(scores, first, found, best, best_scores):
    """Put the best scores of the items from ``first`` on, above -inf, among the best so far."""
    bar = scores.dtype.type(-np.inf)
    if found == best.size:
        bar = best_scores[found - 1]
    for start in range(0, scores.size, _RUN):
        run = scores[start : start + _RUN]
        better = 0  # a count, not a flag: that becomes vector instructions
        for t in range(run.size):
            better += run[t] > bar
        if not better:
            continue
        for t in range(run.size):
            if run[t] > bar:
                found = insert(best, best_scores, found, first + start + t, run[t])
                if found == best.size:
                    bar = best_scores[found - 1]
    return found


@njit(cache=True, nogil=True)
def _by_bounds(table, vector, scale, left_out, strong, rest, spared, best, best_scores):
    """As :func:`search`, up to a block where the bounds leave more to do than they spare.

    Returns:
        How many are found, and the first item that has not been looked at.
    """
    n_items, k = table.bias.size, best.size
    scores = table.bias.copy()
    for item in left_out:
        scores[item] = -np.inf
    few = np.empty(min(BLOCK, n_items), np.int64)
    leaders, approximate = np.empty(k, np.int64), np.empty(k, np.float32)
    radius, limit = np.float32(rest[0] * scale), np.float32(rest[1] * scale)
    done = spent = found = 0
    for first in range(0, n_items, BLOCK):
        part = scores[first : first + BLOCK]
        _add_block(table, first, strong, vector, scale, part)
        lowest = vector.dtype.type(-np.inf)
        if found == k:
            lowest = best_scores[k - 1]
        elif _leaders(part, first, 0, leaders, approximate) == k:
            lowest = vector.dtype.type(np.inf)
            for item in leaders:
                lowest = min(lowest, _score(table, item, vector, scale))
        bar = np.nextafter(np.float32(lowest - table.slack), np.float32(-np.inf))
        n_few = _within_reach(table, part, first, radius, limit, bar, few)
        for item in few[:n_few]:
            spent += table.indptr[item + 1] - table.indptr[item]
        done += part.size
        if spent * n_items > spared * (done + BLOCK):
            return found, first
        for item in few[:n_few]:
            score = _score(table, item, vector, scale)
            if found < k or score > best_scores[found - 1]:
                found = insert(best, best_scores, found, item, score)
    return found, n_items


@njit(cache=True, nogil=True)
def _within_reach(table, scores, first, radius, limit, bar, few):
    """Collect the items whose scores may be above the bar; return their number."""
    n = 0
    lengths = table.lengths[first : first + scores.size]
    sizes = table.sizes[first : first + scores.size]
    for start in range(0, scores.size, _RUN):
        run = scores[start : start + _RUN]
        number = (first + start) // _RUN
        most = min(radius * table.run_lengths[number], limit * table.run_sizes[number])
        likely = 0
        for t in range(run.size):
            likely += run[t] + most > bar
        if not likely:
            continue
        for t in range(run.size):
            if run[t] + min(radius * lengths[start + t], limit * sizes[start + t]) > bar:
                few[n] = first + start + t
                n += 1
    return n


@njit(cache=True, nogil=True)
def _score(table, item, vector, scale):
    total = vector.dtype.type(0.0)
    for e in range(table.indptr[item], table.indptr[item + 1]):
        total += table.values[e] * vector[table.dims[e]]
    return total * scale + table.bias[item]


@njit(cache=True, nogil=True)
def insert(best, best_scores, found, item, score):
    """Put an item in its place among the best, after equals; return how many there are now."""
    found = min(found + 1, best.size)
    t = found - 1
    while t > 0 and best_scores[t - 1] < score:
        best_scores[t], best[t] = best_scores[t - 1], best[t - 1]
        t -= 1
    best_scores[t], best[t] = score, item
    return found
