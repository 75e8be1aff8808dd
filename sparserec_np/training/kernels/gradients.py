"""Gradient records: how they lie in memory, and the Adagrad steps that are made of them.

A record is the gradient of one item row from one user. A group writes its records one after the
other in each *part* of the item rows, and so their gradients at the stored weights: the thread that
makes the steps of a part reads them in one go. Their number is known once the negatives are chosen,
so :func:`lay_out` counts them beforehand. It also prefetches all rows that a group is going to
read, as :func:`apply_part` does for those that it is going to change: half of them have last been
written by another core, and waiting for one after the other took longer than all the sums.
"""

from __future__ import annotations

import numpy as np

from sparserec_np.training.kernels.arrays import PARTS
from sparserec_np.training.kernels.intrinsics import prefetch, prefetch_to_write, step_row
from sparserec_np.utils.compiled import helper, inline

BLOCK = np.uint64(16)  # rows that lie in the same part, so that two parts share few cache lines
_AHEAD = np.uint64(8)  # records between asking for a row and changing it
_ONE = np.uint64(1)


@inline
def span(rows, row):
    """Return where a row begins and ends; unsigned, so that no index counts from the end."""
    row = np.uint64(row)
    return np.uint64(rows.indptr[row]), np.uint64(rows.indptr[row + _ONE])


@inline
def _part(row):
    """Return the part of a row: that of its block."""
    return np.uint64(row) // BLOCK % np.uint64(PARTS)


@inline
def _end_of_block(rows, row):
    """Return where the weights of the block of a row end."""
    after = (row // BLOCK + _ONE) * BLOCK
    return np.uint64(rows.indptr[min(after, np.uint64(rows.indptr.size - 1))])


@inline
def _make_room(g, row, items, w):
    """Count a record, and prefetch what it will be made from."""
    rows = items.rows
    part = _part(row)
    first, last = span(rows, row)
    w.records[g, part] += 1
    w.end[g, part] += last - first
    prefetch(rows.values, first)
    prefetch(rows.values, last - _ONE)
    prefetch(rows.dims, first)
    prefetch(rows.dims, last - _ONE)
    prefetch(items.bias, np.uint64(row))


@helper
def lay_out(g, group, histories, items, users, w):
    """Find a place for the records of each part and their gradients; the negatives are chosen.

    Args:
        g: Place of the group in its batch.
        group: Its users, int64 array.
        histories: :class:`Histories`.
        items: :class:`ItemParameters`.
        users: Embeddings of the users; None in the history model.
        w: :class:`Workspace`; ``first``, ``begin``, ``records`` and ``end`` are filled.
    """
    w.records[g, :] = 0
    w.end[g, :] = 0
    at = 0
    for user in group:
        positives = histories.items[histories.indptr[user] : histories.indptr[user + 1]]
        if users is not None or positives.size > 1:
            for t in range(positives.size):
                j = w.negatives[g, at + t]
                if j >= 0 or users is None:
                    _make_room(g, positives[t], items, w)
                if j >= 0:
                    _make_room(g, j, items, w)
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


@inline
def record(w, g, row, lane, bias_gradient, nnz):
    """Note a record of a row with ``nnz`` weights; return where its gradient begins."""
    part = _part(row)
    r = np.uint64(w.records[g, part])
    w.records[g, part] += 1
    start = w.end[g, part]
    w.end[g, part] = start + nnz
    w.row[g, r] = row
    w.lane[g, r] = lane
    w.bias_gradient[g, r] = bias_gradient
    return start


@helper
def _accumulate(sums, pull, x, own, dx):
    """Add a record's gradient at all dimensions, without the part of a positive left out."""
    if own == 0.0:
        for d in range(sums.size):
            sums[d] += pull * x[d]
    else:
        for d in range(sums.size):
            sums[d] += pull * x[d] - own * dx[d]


@inline
def _prefetch_row(row, items):
    """Prefetch a row that will be changed."""
    rows = items.rows
    first, last = span(rows, row)
    last -= _ONE
    prefetch_to_write(rows.values, first)
    prefetch_to_write(rows.values, last)
    prefetch_to_write(rows.squares, first)
    prefetch_to_write(rows.squares, last)
    prefetch_to_write(items.bias, row)
    prefetch_to_write(items.bias_squares, row)


@helper
def apply_part(part, n_groups, items, users, step, w, accumulator):
    """Make the Adagrad steps of a part of the item rows, in the order (group, record).

    Args:
        part: Number of the part.
        n_groups: Groups of the batch.
        items: :class:`ItemParameters`; changed.
        users: Embeddings of the users; None in the history model.
        step: :class:`Step`.
        w: :class:`Workspace` with the records of all groups.
        accumulator: :class:`GradientAccumulator` of the items; changed.
    """
    rows, bias, bias_squares = items.rows, items.bias, items.bias_squares
    for g in range(n_groups):
        row_of, lane_of, gradient = w.row[g], w.lane[g], w.gradient[g]
        first, last = np.uint64(w.first[g, part]), np.uint64(w.first[g, part + 1])
        start = w.begin[g, part]
        for r in range(first, min(first + _AHEAD, last)):
            _prefetch_row(np.uint64(row_of[r]), items)
        for r in range(first, last):
            if r + _AHEAD < last:
                _prefetch_row(np.uint64(row_of[r + _AHEAD]), items)
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
            slot = accumulator.slot[row]
            if slot >= 0:
                lane = lane_of[r]  # that of a positive is complemented
                own = np.float32(0.0)
                if users is None and lane < 0:
                    own = items.weight[row]
                lane = max(lane, ~lane)
                pull = of_bias * w.scale[g, lane]
                _accumulate(accumulator.sums[slot], pull, w.x[g, lane], own, w.dx[g, lane])
