"""Records of gradients: how they lie in memory, and the Adagrad steps that are made of them.

A record is the gradient of one item row from one user. A group writes its records one after the
other in each *part* of the item rows, and so their gradients at the stored weights: whoever makes
the steps of a part reads them in one go. How many there will be is known once the negatives are
chosen, so :func:`lay_out` counts them beforehand. It also asks for all rows that a group is going
to read, as :func:`apply_part` does for those that it is going to change: half of them have last
been written by another core, and waiting for one after the other took longer than all the sums.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sparserec_np.training.kernels.arrays import PARTS
from sparserec_np.training.kernels.intrinsics import prefetch, prefetch_to_write, step_row

BLOCK = np.uint64(16)  # rows that lie in the same part, so that two parts share few cache lines
_AHEAD = np.uint64(8)  # records between asking for a row and changing it
_ONE = np.uint64(1)


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def span(rows, row):
    """Where a row begins and ends; unsigned, so that no index counts from the end of an array."""
    row = np.uint64(row)
    return np.uint64(rows.indptr[row]), np.uint64(rows.indptr[row + _ONE])


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _part(row):
    """Part of a row: that of its block."""
    return np.uint64(row) // BLOCK % np.uint64(PARTS)


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _end_of_block(rows, row):
    """Where the weights of the block of a row end."""
    after = (row // BLOCK + _ONE) * BLOCK
    return np.uint64(rows.indptr[min(after, np.uint64(rows.indptr.size - 1))])


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _make_room(g, row, rows, bias, w):
    """Count a record, and ask for what it will be made from."""
    part = _part(row)
    first, last = span(rows, row)
    w.records[g, part] += 1
    w.end[g, part] += last - first
    prefetch(rows.values, first)
    prefetch(rows.values, last - _ONE)
    prefetch(rows.dims, first)
    prefetch(rows.dims, last - _ONE)
    prefetch(bias, np.uint64(row))


@njit(error_model="numpy", cache=True, nogil=True)
def lay_out(g, group, indptr, interactions, rows, bias, history, w):
    """Give the records of each part, and their gradients, a place; their negatives are chosen."""
    w.records[g, :] = 0
    w.end[g, :] = 0
    at = 0
    for user in group:
        positives = interactions[indptr[user] : indptr[user + 1]]
        if not history or positives.size > 1:
            for t in range(positives.size):
                j = w.negatives[g, at + t]
                if j >= 0 or history:
                    _make_room(g, positives[t], rows, bias, w)
                if j >= 0:
                    _make_room(g, j, rows, bias, w)
        at += positives.size
    r, end = 0, np.uint64(0)
    for part in range(PARTS):
        w.first[g, part] = r
        w.begin[g, part] = end
        r += w.records[g, part]
        end += w.end[g, part]
        w.records[g, part] = w.first[g, part]
        w.end[g, part] = w.begin[g, part]
    w.first[g, PARTS] = r


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def record(w, g, row, lane, bias_gradient, weights):
    """Note a record; return where its gradient begins."""
    part = _part(row)
    r = np.uint64(w.records[g, part])
    w.records[g, part] += 1
    start = w.end[g, part]
    w.end[g, part] = start + weights
    w.row[g, r] = row
    w.lane[g, r] = lane
    w.bias_gradient[g, r] = bias_gradient
    return start


@njit(error_model="numpy", cache=True, nogil=True)
def _note_growth(sums, pull, x, own, dx):
    """Add a record's gradient at all dimensions, but for the part of the positive left out."""
    if own == 0.0:
        for d in range(sums.size):
            sums[d] += pull * x[d]
    else:
        for d in range(sums.size):
            sums[d] += pull * x[d] - own * dx[d]


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _ask(row, rows, bias, bias_squares):
    """Ask for a row that will be changed."""
    first, last = span(rows, row)
    last -= _ONE
    prefetch_to_write(rows.values, first)
    prefetch_to_write(rows.values, last)
    prefetch_to_write(rows.squares, first)
    prefetch_to_write(rows.squares, last)
    prefetch_to_write(bias, row)
    prefetch_to_write(bias_squares, row)


@njit(error_model="numpy", cache=True, nogil=True)
def apply_part(part, n_groups, rows, bias, bias_squares, weight, history, step, w, growth):
    """Make the steps of a part of the item rows, in the order (group, record)."""
    for g in range(n_groups):
        row_of, lane_of, gradient = w.row[g], w.lane[g], w.gradient[g]
        first, last = np.uint64(w.first[g, part]), np.uint64(w.first[g, part + 1])
        start = w.begin[g, part]
        for r in range(first, min(first + _AHEAD, last)):
            _ask(np.uint64(row_of[r]), rows, bias, bias_squares)
        for r in range(first, last):
            if r + _AHEAD < last:
                _ask(np.uint64(row_of[r + _AHEAD]), rows, bias, bias_squares)
            row = np.uint64(row_of[r])
            e0, e1 = span(rows, row)
            step_row(
                rows.values, rows.squares, e0, e1, _end_of_block(rows, row), gradient, start,
                step.learning_rate, w.item_reg[row],
            )  # fmt: skip
            start += e1 - e0
            of_bias = w.bias_gradient[g, r]
            bias_squares[row] += of_bias * of_bias
            bias[row] -= step.learning_rate * of_bias / np.sqrt(bias_squares[row])
            slot = growth.slot[row]
            if slot >= 0:
                lane = lane_of[r]  # that of a positive is complemented
                own = weight[row] if history and lane < 0 else np.float32(0.0)
                lane = max(lane, ~lane)
                pull = of_bias * w.scale[g, lane]
                _note_growth(growth.sums[slot], pull, w.x[g, lane], own, w.dx[g, lane])
