"""Coding of rows against a sparse factor: the compiled work of the sparse NMF.

A row ``r`` of a matrix is coded against the sparse factor ``F``, one row of ``F`` for each column
of the matrix:

1. ``b = F^T r``, gathered from the rows of ``F`` that ``r`` touches;
2. the support is the ``width`` dimensions with the largest ``b_c^2 / G_cc``, where ``G = F^T F``:
   the decrease of the squared error that each dimension could give alone;
3. the values minimise ``1/2 w^T G w - b^T w`` for ``w >= 0`` on that support, by a few passes of
   coordinate descent on a small dense copy of ``G``.

Most of the time goes into waiting for rows of ``F`` and entries of ``G``, which lie anywhere in
some megabytes. So both are prefetched: the rows of ``F`` a few columns before they are added,
the entries of ``G`` as soon as a support is known. Its values follow after the support of the next
row is found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.training.kernels.intrinsics import claim, prefetch, task_at
from sparserec_np.training.kernels.selection import sort_few
from sparserec_np.utils.compiled import helper, kernel

ROWS_PER_TASK = 256  # rows that a thread takes at a time: some have many more columns than others
CODING_PASSES = 4  # coordinate-descent passes over the support of a row
SMALLEST = np.float32(1e-12)  # values up to it count as zero: their squares in G could be zero
_AHEAD = 3  # columns of a row between prefetching a row of the factor and adding it


class Matrix(NamedTuple):
    """A matrix in CSR form whose entries are products of a scale of the row and of the column.

    Attributes:
        indptr: int64 array of shape [n_rows + 1].
        columns: int32 array of shape [nnz].
        row_scale: float32 array of shape [n_rows].
        column_scale: float32 array, one for each column.
    """

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    row_scale: NDArray[np.float32]
    column_scale: NDArray[np.float32]


class Factor(NamedTuple):
    """A sparse factor with room for the same number of entries in each row.

    Attributes:
        dims: Dimensions of the entries, uint16 array of shape [n, width].
        values: Their values, > 0, float32 array of shape [n, width].
        counts: How many of a row's places are used, int32 array of shape [n].
    """

    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    counts: NDArray[np.int32]


class Gram(NamedTuple):
    """The products of the columns of a factor.

    Attributes:
        products: ``F^T F``, float32 array of shape [dim, dim].
        inverse: One over each entry of the diagonal, 0 over a 0, float32 array of shape [dim].
    """

    products: NDArray[np.float32]
    inverse: NDArray[np.float32]


class _Scratch(NamedTuple):
    """Scratch memory of a thread.

    Attributes:
        b: All zero but while a row is projected, float32 array of shape [dim].
        touched: Where it is not, int32 array of shape [dim + 1]: one place more than are used.
        gain: Of the dimensions of the support, float32 array of shape [width].
        support: Of two rows in turn, int32 array of shape [2, width].
        rest: ``b - G w`` on the support, the same, float32.
        local: ``G`` on the support, float32 array of shape [width, width].
    """

    b: NDArray[np.float32]
    touched: NDArray[np.int32]
    gain: NDArray[np.float32]
    support: NDArray[np.int32]
    rest: NDArray[np.float32]
    local: NDArray[np.float32]


def empty_factor(n_rows: int, width: int) -> Factor:
    """Return a factor of ``n_rows`` empty rows."""
    return Factor(
        np.zeros((n_rows, width), np.uint16),
        np.zeros((n_rows, width), np.float32),
        np.zeros(n_rows, np.int32),
    )


@helper
def scratch(dim, width):
    """Allocate the scratch memory for rows of at most ``width`` entries.

    Only arrays of one dimension are made: NumPy's function is compiled anew for each kind.
    """
    return _Scratch(
        np.zeros(dim, np.float32),
        np.zeros(dim + 1, np.int32),
        np.zeros(width, np.float32),
        np.zeros(2 * width, np.int32).reshape(2, width),
        np.zeros(2 * width, np.float32).reshape(2, width),
        np.zeros(width * width, np.float32).reshape(width, width),
    )


@helper
def project(columns, column_scale, row_scale, factor, b, touched, n_touched):
    """Add a row's columns to ``b``; return how many dimensions it has touched by now."""
    dims, values = factor.dims.reshape(-1), factor.values.reshape(-1)
    width = factor.dims.shape[1]
    for e in range(columns.size):
        if e + _AHEAD < columns.size:
            next_one = columns[e + _AHEAD] * width
            prefetch(dims, next_one)
            prefetch(values, next_one)
            prefetch(values, next_one + width - 1)
        column = columns[e]
        weight = row_scale * column_scale[column]
        for t in range(column * width, column * width + factor.counts[column]):
            c = dims[t]
            before = b[c]
            touched[n_touched] = c  # kept where it is new: no branch that could be guessed wrong
            n_touched += before == 0.0
            b[c] = before + weight * values[t]
    return n_touched


@helper
def choose_support(turn, n_touched, gram, work):
    """Choose the support of a row by its ``b``, which is all zero afterwards.

    Args:
        turn: Which of the two places of ``work`` it goes to.
        n_touched: How many dimensions the row has touched.
        gram: Of the factor.
        work: Scratch memory; ``b`` and ``touched`` are filled.

    Returns:
        Number of dimensions of the support, in ascending order.
    """
    b, gain, support = work.b, work.gain, work.support[turn]
    keep, least = 0, np.float32(-1.0)
    for s in range(n_touched):
        c = work.touched[s]
        g = b[c] * b[c] * gram.inverse[c]
        if g <= least:
            continue
        keep = min(keep + 1, support.size)
        t = keep - 1
        while t > 0 and gain[t - 1] < g:
            gain[t], support[t] = gain[t - 1], support[t - 1]
            t -= 1
        gain[t], support[t] = g, c
        if keep == support.size:
            least = gain[keep - 1]
    chosen = support[:keep]
    sort_few(chosen)
    products, dim = gram.products.reshape(-1), gram.inverse.size
    for s in range(keep):
        work.rest[turn, s] = b[chosen[s]]
        for t in range(s, keep):
            prefetch(products, chosen[s] * dim + chosen[t])
    for s in range(n_touched):
        b[work.touched[s]] = 0.0
    return keep


@helper
def solve(turn, keep, gram, work, out, row):
    """Find the values of a row whose support is chosen."""
    chosen, rest, local = work.support[turn], work.rest[turn], work.local
    for s in range(keep):
        for t in range(s, keep):
            local[s, t] = local[t, s] = gram.products[chosen[s], chosen[t]]
    values = out.values[row]
    values[:] = 0.0
    for _ in range(CODING_PASSES):
        for s in range(keep):
            value = max(np.float32(0.0), values[s] + rest[s] * gram.inverse[chosen[s]])
            step = value - values[s]
            values[s] = value
            if step != 0.0:
                for t in range(keep):
                    rest[t] -= step * local[s, t]
    n = 0
    for s in range(keep):
        if values[s] > SMALLEST:
            out.dims[row, n] = chosen[s]
            values[n] = values[s]
            n += 1
    values[n:] = 0.0
    out.counts[row] = n


@helper
def _code_rows(first, end, matrix, factor, gram, work, out):
    """Code some rows; the values of each are found after the support of the next one."""
    before = np.int64(0)  # no literal, for which `solve` would be compiled once more
    for row in range(first, end + 1):
        keep = np.int64(0)
        if row < end:
            columns = matrix.columns[matrix.indptr[row] : matrix.indptr[row + 1]]
            scale = matrix.row_scale[row]
            n = project(columns, matrix.column_scale, scale, factor, work.b, work.touched, 0)
            keep = choose_support(row & 1, n, gram, work)
        if row > first:
            solve(~row & 1, before, gram, work, out, row - 1)
        before = keep


@kernel
def half_sweep(seat, n_seats, taken, matrix, factor, gram, out):
    """Code all rows of a matrix against a factor; each thread calls it.

    Args:
        seat: Number of the thread.
        n_seats: How many threads there are.
        taken: All 0, int64 array with an element for each ``ROWS_PER_TASK`` rows.
        matrix: :class:`Matrix`.
        factor: :class:`Factor` to code against, a row for each column of the matrix.
        gram: :class:`Gram` of the factor.
        out: :class:`Factor` that takes the codes of the rows.
    """
    n_rows, width = matrix.indptr.size - 1, out.dims.shape[1]
    work = scratch(gram.inverse.size, width)
    for turn in range(taken.size):
        task = task_at(turn, seat, n_seats, taken.size)
        if taken[task] == 0 and claim(taken, task):
            first = task * ROWS_PER_TASK
            _code_rows(first, min(n_rows, first + ROWS_PER_TASK), matrix, factor, gram, work, out)


def free_tasks(n_rows: int) -> NDArray[np.int64]:
    """Return an array in which no task of coding ``n_rows`` rows is taken yet."""
    return np.zeros(-(-n_rows // ROWS_PER_TASK), np.int64)


@kernel
def add_gram(seat, n_seats, factor, products):
    """Add the products of the dimensions of all rows of a factor, in their order.

    Each thread reads the whole factor, for some rows of the products.

    Args:
        seat: Number of the thread.
        n_seats: How many threads there are.
        factor: :class:`Factor`.
        products: float32 array of shape [dim, dim]; changed.
    """
    dim = products.shape[0]
    first, end = seat * dim // n_seats, (seat + 1) * dim // n_seats
    for row in range(factor.counts.size):
        for s in range(factor.counts[row]):
            c, value = factor.dims[row, s], factor.values[row, s]
            if first <= c < end:
                for t in range(factor.counts[row]):
                    products[c, factor.dims[row, t]] += value * factor.values[row, t]


def empty_gram(dim: int) -> Gram:
    """Return a Gram matrix that is all zero."""
    return Gram(np.zeros((dim, dim), np.float32), np.zeros(dim, np.float32))


def invert_diagonal(gram: Gram) -> None:
    """Fill in ``inverse``, once the products are complete."""
    diagonal = gram.products.diagonal()
    gram.inverse[:] = 0.0
    np.divide(np.float32(1.0), diagonal, out=gram.inverse, where=diagonal > 0)
