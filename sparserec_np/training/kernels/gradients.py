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
def _make_room(g, row, items, records):
    """Count a record, and prefetch what it will be made from."""
    rows = items.rows
    part = _part(row)
    first, last = span(rows, row)
    records.place[g, part] += 1
    records.end[g, part] += last - first
    prefetch(rows.values, first)
    prefetch(rows.values, last - _ONE)
    prefetch(rows.dims, first)
    prefetch(rows.dims, last - _ONE)
    prefetch(items.bias, np.uint64(row))


@helper
def lay_out(g, group, histories, items, users, records):
    """Find a place for the records of each part and their gradients; the negatives are chosen.

    Args:
        g: Place of the group in its batch.
        group: Its users, int64 array.
        histories: :class:`Histories`.
        items: :class:`ItemParameters`.
        users: Embeddings of the users; None in the history model.
        records: :class:`Records`; ``first``, ``begin``, ``place`` and ``end`` are filled.
    """
    for part in range(PARTS):
        records.place[g, part], records.end[g, part] = 0, np.uint64(0)
    at = 0
    for lane in range(group.size):
        first, last = histories.indptr[group[lane]], histories.indptr[group[lane] + 1]
        if users is not None or last - first > 1:
            for t in range(last - first):
                j = records.negatives[g, at + t]
                for side in range(2):  # a positive without a negative still has a record
                    row = j if side else histories.items[first + t]
                    if j >= 0 or (side == 0 and users is None):
                        _make_room(g, row, items, records)
        at += last - first
    r, end = 0, np.uint64(0)
    for part in range(PARTS):
        records.first[g, part] = r
        records.begin[g, part] = end
        r += records.place[g, part]
        end += records.end[g, part]
        records.place[g, part] = records.first[g, part]
        records.end[g, part] = records.begin[g, part]
    records.first[g, PARTS] = r


@inline
def record(records, g, row, lane, nnz):
    """Note a record of a row with ``nnz`` weights.

    Returns:
        Its number, and where its gradient begins; both gradients are still to be written.
    """
    part = _part(row)
    r = np.uint64(records.place[g, part])
    records.place[g, part] += 1
    start = records.end[g, part]
    records.end[g, part] = start + nnz
    records.row[g, r] = row
    records.lane[g, r] = lane
    return r, start


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
def apply_part(part, n_groups, items, item_reg, users, step, vectors, records, accumulator):
    """Make the Adagrad steps of a part of the item rows, in the order (group, record).

    Args:
        part: Number of the part.
        n_groups: Groups of the batch.
        items: :class:`ItemParameters`; changed.
        item_reg: See :class:`Workspace`.
        users: Embeddings of the users; None in the history model.
        step: :class:`Step`.
        vectors: :class:`UserVectors`.
        records: :class:`Records` of all groups.
        accumulator: :class:`GradientAccumulator` of the items; changed.
    """
    rows, bias, bias_squares = items.rows, items.bias, items.bias_squares
    for g in range(n_groups):
        row_of, lane_of, gradient = records.row[g], records.lane[g], records.gradient[g]
        first, last = np.uint64(records.first[g, part]), np.uint64(records.first[g, part + 1])
        start = records.begin[g, part]
        ahead = first
        for r in range(first, last):
            while ahead < last and ahead <= r + _AHEAD:
                _prefetch_row(np.uint64(row_of[ahead]), items)
                ahead += _ONE
            row = np.uint64(row_of[r])
            e0, e1 = span(rows, row)
            step_row(
                rows.values, rows.squares, e0, e1, _end_of_block(rows, row), gradient, start,
                step.learning_rate, item_reg[row],
            )  # fmt: skip
            start += e1 - e0
            of_bias = records.bias_gradient[g, r]
            bias_squares[row] += of_bias * of_bias
            bias[row] -= step.learning_rate * of_bias / np.sqrt(bias_squares[row])
            slot = accumulator.slot[row]
            if slot >= 0:
                lane = lane_of[r]  # that of a positive is complemented
                own = np.float32(0.0)
                if users is None and lane < 0:
                    own = items.weight[row]
                lane = max(lane, ~lane)
                pull = of_bias * vectors.scale[g, lane]
                sums = accumulator.sums[slot]
                _accumulate(sums, pull, vectors.x[g, lane], own, vectors.dx[g, lane])
