"""Exact top-k for one vector, compiled: by all of its weights, or by bounds.

The bounds are those of :mod:`sparserec_np.bounds`, which says why they never change an answer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sparserec_np.bounds import STRONG, TINY, rounding, upwards

_BLOCK = 64  # scores that are compared with the k-th best at once
_WORTH = 0.5  # weights that bounds must spare for each item to make up for their passes


class Searchable(NamedTuple):
    """An item table, both by dimension and by item, with its biases.

    Attributes:
        offsets: Where the items of a dimension begin, int64 array of shape [dim + 1].
        items: Items by dimension, int32 array of shape [weights], ascending in each.
        item_values: Their values there, float32 array of shape [weights].
        indptr: Rows of the table, int64 array of shape [n_items + 1].
        dims: uint16 array of shape [weights], ascending within a row.
        values: float32 array of shape [weights].
        bias: float32 array of shape [n_items].
        norms: Lengths of the rows, rounded up, float32 array of shape [n_items].
        block_norms: The largest of each ``_BLOCK`` of them, float32 array.
        slack: What rounding makes of the biases, at most.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    item_values: NDArray[np.float32]
    indptr: NDArray[np.int64]
    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    norms: NDArray[np.float32]
    block_norms: NDArray[np.float32]
    slack: float


def searchable(
    indptr: NDArray[np.int64],
    dims: NDArray[np.uint16],
    values: NDArray[np.float32],
    bias: NDArray[np.float32],
    dim: int,
) -> Searchable:
    """Index the rows of an item table of ``dim`` columns; see :class:`Searchable`."""
    offsets, items, item_values, squares = _transpose(indptr, dims, values, dim)
    slack = rounding(dim) * float(np.abs(bias).max(initial=0.0)) + TINY
    norms = upwards(np.sqrt(squares))
    block_norms = np.maximum.reduceat(norms, np.arange(0, norms.size, _BLOCK))
    return Searchable(
        offsets, items, item_values, indptr, dims, values, bias, norms, block_norms, slack
    )


@njit(cache=True, nogil=True)
def _transpose(indptr, dims, values, dim):
    """Sort the weights by dimension, and sum the squares of each row."""
    offsets = np.zeros(dim + 1, np.int64)
    for d in dims:
        offsets[d + 1] += 1
    for d in range(dim):
        offsets[d + 1] += offsets[d]
    place = offsets[:-1].copy()
    items = np.empty(dims.size, np.int32)
    item_values = np.empty(dims.size, np.float32)
    squares = np.zeros(indptr.size - 1)
    for item in range(squares.size):
        for e in range(indptr[item], indptr[item + 1]):
            d = dims[e]
            items[place[d]], item_values[place[d]] = item, values[e]
            place[d] += 1
            squares[item] += np.float64(values[e]) ** 2
    return offsets, items, item_values, squares


@njit(cache=True, nogil=True)
def plan(table, vector):
    """Split a vector, and tell what a search for it costs.

    Args:
        table: The items.
        vector: Float array of shape [dim].

    Returns:
        The dimensions that are summed for all items, int64 array, ascending; how many weights are
        there; how many the bounds spare, 0 where they are not worth their passes; and the length of
        the weak part, rounding included.
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
    strong = np.empty(n, np.int64)
    n_strong = touched = spared = 0
    square = 0.0
    for d in dims:
        n_weights = table.offsets[d + 1] - table.offsets[d]
        if abs(vector[d]) > STRONG * length:
            strong[n_strong] = d
            n_strong += 1
            touched += n_weights
        else:
            spared += n_weights
            square += np.float64(vector[d]) ** 2
    if spared < _WORTH * table.bias.size:
        return dims, touched + spared, 0, 0.0
    radius = np.sqrt(square) + _rounding(vector.size) * length
    return strong[:n_strong], touched, spared, radius


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
    dims, _, spared, radius = plan(table, vector)
    if spared:
        found = _by_bounds(table, vector, scale, left_out, dims, radius, spared, best, best_scores)
        if found >= 0:
            return found
        dims = vector.nonzero()[0]
    return _by_all(table, vector, scale, left_out, dims, best, best_scores)


@njit(cache=True, nogil=True)
def _by_all(table, vector, scale, left_out, dims, best, best_scores):
    scores = np.zeros(table.bias.size, vector.dtype)
    for d in dims:
        x = vector[d]
        for e in range(table.offsets[d], table.offsets[d + 1]):
            scores[table.items[e]] += table.item_values[e] * x
    for item in range(scores.size):
        scores[item] = scores[item] * scale + table.bias[item]
    for item in left_out:
        scores[item] = -np.inf
    return _leaders(scores, best, best_scores)


@njit(cache=True, nogil=True)
def _leaders(scores, best, best_scores):
    """Find the best scores above -inf; see :func:`search`."""
    found, bar = 0, scores.dtype.type(-np.inf)
    for first in range(0, scores.size, _BLOCK):
        part = scores[first : first + _BLOCK]
        better = 0  # a count, not a flag: that becomes vector instructions
        for t in range(part.size):
            better += part[t] > bar
        if not better:
            continue
        for t in range(part.size):
            if part[t] > bar:
                found = insert(best, best_scores, found, first + t, part[t])
                if found == best.size:
                    bar = best_scores[found - 1]
    return found


@njit(cache=True, nogil=True)
def _by_bounds(table, vector, scale, left_out, strong, radius, spared, best, best_scores):
    """As :func:`search`, but -1 if the bounds leave more to do than they spare."""
    scores = table.bias.copy()
    for d in strong:
        x = np.float32(vector[d] * scale)
        for e in range(table.offsets[d], table.offsets[d + 1]):
            scores[table.items[e]] += table.item_values[e] * x
    for item in left_out:
        scores[item] = -np.inf
    approximate = np.empty(best.size, np.float32)
    if _leaders(scores, best, approximate) < best.size:
        return -1
    lowest = np.inf
    for item in best:
        lowest = min(lowest, _score(table, item, vector, scale))
    bar = np.nextafter(np.float32(lowest - table.slack), np.float32(-np.inf))
    reach = np.float32(radius * scale)
    found = 0
    for first in range(0, scores.size, _BLOCK):
        part, norms = scores[first : first + _BLOCK], table.norms[first : first + _BLOCK]
        most = reach * table.block_norms[first // _BLOCK]
        likely = 0
        for t in range(part.size):
            likely += part[t] + most > bar
        if not likely:
            continue
        for t in range(part.size):
            if part[t] + reach * norms[t] > bar:
                item = first + t
                spared -= table.indptr[item + 1] - table.indptr[item]
                score = _score(table, item, vector, scale)
                if found < best.size or score > best_scores[found - 1]:
                    found = insert(best, best_scores, found, item, score)
        if spared < 0:
            return -1
    return found


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
