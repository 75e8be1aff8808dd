"""Sparse non-negative matrix factorisation: the starting mask and values.

The degree-normalised interactions ``D_u^-1/2 R D_i^-1/2`` are approximated by ``W H^T`` with at
most ``width`` entries in each row of ``W`` (users) and ``H`` (items). Rows are coded one at a time
against the other factor, so memory is ``O(interactions + (n_users + n_items) * width + dim^2)``: no
``n x dim`` array exists at any moment.

A half-sweep codes a row ``r`` of the matrix against the sparse factor ``F`` (one row of ``F`` for
each column of the matrix):

1. ``b = F^T r``, gathered from the rows of ``F`` that ``r`` touches;
2. the support is the ``width`` dimensions with the largest ``b_c^2 / G_cc``, where ``G = F^T F``:
   the decrease of the squared error that each dimension could give alone;
3. the values minimise ``1/2 w^T G w - b^T w`` for ``w >= 0`` on that support, by a few passes of
   coordinate descent on a small dense copy of ``G``.

The rows of a half-sweep are independent, so they run in parallel and give the same bits for any
number of threads. The start is ``dim`` seed items, drawn by their number of users: a user has
dimension c if it had the c-th seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sparserec_np.interactions import Interactions

ROWS_PER_TASK = 256  # rows coded by one task; fixes who owns which scratch vector
CODING_PASSES = 4  # coordinate-descent passes over the support of a row
SMALLEST = np.float32(1e-12)  # values up to it count as zero: their squares in G could be zero


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


def empty_factor(n_rows: int, width: int) -> Factor:
    """Return a factor of ``n_rows`` empty rows."""
    return Factor(
        np.zeros((n_rows, width), np.uint16),
        np.zeros((n_rows, width), np.float32),
        np.zeros(n_rows, np.int32),
    )


@njit(cache=True, nogil=True)
def _best_support(b, gram, touched, n_touched, gain, support):
    """Fill ``support`` with the dimensions of the largest gains, best first; return how many."""
    keep = 0
    for s in range(n_touched):
        c = touched[s]
        g = b[c] * b[c] / gram[c, c]
        if keep == support.size and g <= gain[keep - 1]:
            continue
        if keep < support.size:
            keep += 1
        t = keep - 1
        while t > 0 and gain[t - 1] < g:
            gain[t], support[t] = gain[t - 1], support[t - 1]
            t -= 1
        gain[t], support[t] = g, c
    return keep


@njit(cache=True, nogil=True)
def _code_row(columns, column_scale, row_scale, factor, gram, out, row, scratch):
    """Code one row; ``b`` in the scratch is all zero before and after."""
    b, touched, gain, support, local = scratch
    n_touched = 0
    for column in columns:
        weight = row_scale * column_scale[column]
        for t in range(factor.counts[column]):
            c = factor.dims[column, t]
            if b[c] == 0.0:
                touched[n_touched] = c
                n_touched += 1
            b[c] += weight * factor.values[column, t]
    keep = _best_support(b, gram, touched, n_touched, gain, support)
    chosen = support[:keep]
    chosen.sort()
    for s in range(keep):
        for t in range(keep):
            local[s, t] = gram[chosen[s], chosen[t]]
    values = out.values[row]
    values[:] = 0.0
    for _ in range(CODING_PASSES):
        for s in range(keep):
            rest = b[chosen[s]]
            for t in range(keep):
                rest -= local[s, t] * values[t]
            values[s] = max(np.float32(0.0), values[s] + rest / local[s, s])
    n = 0
    for s in range(keep):
        if values[s] > SMALLEST:
            out.dims[row, n] = chosen[s]
            values[n] = values[s]
            n += 1
    values[n:] = 0.0
    out.counts[row] = n
    for s in range(n_touched):
        b[touched[s]] = 0.0


@njit(cache=True, parallel=True)
def _half_sweep(indptr, indices, row_scale, column_scale, factor, gram, out):
    n_rows = indptr.size - 1
    dim = gram.shape[0]
    width = out.dims.shape[1]
    for block in prange((n_rows + ROWS_PER_TASK - 1) // ROWS_PER_TASK):
        scratch = (
            np.zeros(dim, np.float32),
            np.zeros(dim, np.int32),
            np.zeros(width, np.float32),
            np.zeros(width, np.int32),
            np.zeros((width, width), np.float32),
        )
        for row in range(block * ROWS_PER_TASK, min(n_rows, (block + 1) * ROWS_PER_TASK)):
            columns = indices[indptr[row] : indptr[row + 1]]
            _code_row(columns, column_scale, row_scale[row], factor, gram, out, row, scratch)


@njit(cache=True, nogil=True)
def _gram(factor, gram):
    gram[:] = 0.0
    for row in range(factor.counts.size):
        for s in range(factor.counts[row]):
            c, value = factor.dims[row, s], factor.values[row, s]
            for t in range(factor.counts[row]):
                gram[c, factor.dims[row, t]] += value * factor.values[row, t]


@njit(cache=True, nogil=True)
def _seed_users(indptr, items, dim_of_item, item_scale, factor):
    """Start ``W``: a user has dimension c when it has the c-th seed item; rarest seeds first."""
    width = factor.dims.shape[1]
    for user in range(indptr.size - 1):
        n = 0
        dims, values = factor.dims[user], factor.values[user]
        for item in items[indptr[user] : indptr[user + 1]]:
            if dim_of_item[item] < 0:
                continue
            value = item_scale[item]
            if n == width and value <= values[n - 1]:
                continue
            if n < width:
                n += 1
            t = n - 1
            while t > 0 and values[t - 1] < value:
                dims[t], values[t] = dims[t - 1], values[t - 1]
                t -= 1
            dims[t], values[t] = dim_of_item[item], value
        factor.counts[user] = n


def factorise(
    interactions: Interactions,
    dim: int,
    *,
    user_width: int,
    item_width: int,
    sweeps: int,
    rng: np.random.Generator,
) -> tuple[Factor, Factor]:
    """Factorise the degree-normalised interactions.

    Args:
        interactions: What to factorise.
        dim: Number of dimensions, at most 65,536.
        user_width: Most entries of a user's row.
        item_width: Most entries of an item's row.
        sweeps: How often both factors are coded, the users first.
        rng: Draws the seed items.

    Returns:
        ``W`` and ``H``. A row that shares no dimension with what it touches stays empty.
    """
    degrees = interactions.item_degrees()
    dim_of_item = _draw_seeds(degrees, dim, rng)  # its scratch is gone before the rest is there
    by_item = _transposed(interactions)
    user_scale = _inverse_root(interactions.user_degrees())
    item_scale = _inverse_root(degrees)
    users = empty_factor(interactions.n_users, user_width)
    items = empty_factor(interactions.n_items, item_width)
    gram = np.zeros((dim, dim), np.float32)
    _seed_users(interactions.indptr, interactions.items, dim_of_item, item_scale, users)
    for sweep in range(sweeps):
        if sweep:
            _gram(items, gram)
            _half_sweep(
                interactions.indptr, interactions.items, user_scale, item_scale, items, gram, users
            )
        _gram(users, gram)
        _half_sweep(*by_item, item_scale, user_scale, users, gram, items)
    return users, items


def _inverse_root(degrees: NDArray[np.int64]) -> NDArray[np.float32]:
    return (1.0 / np.sqrt(np.maximum(degrees, 1))).astype(np.float32)


def _draw_seeds(
    degrees: NDArray[np.int64], dim: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Draw up to ``dim`` items by degree; return the dimension of each item, -1 for most."""
    n_seeds = min(dim, int(np.count_nonzero(degrees)))
    seeds = rng.choice(degrees.size, n_seeds, replace=False, p=degrees / degrees.sum())
    dim_of_item = np.full(degrees.size, -1, np.int32)
    dim_of_item[seeds] = np.arange(n_seeds)
    return dim_of_item


def _transposed(interactions: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Users of each item: int64 array of shape [n_items + 1], int32 array of shape [nnz]."""
    indptr = np.concatenate(([0], np.cumsum(interactions.item_degrees())))
    users = np.empty(interactions.nnz, np.int32)
    _fill_transposed(interactions.indptr, interactions.items, indptr[:-1].copy(), users)
    return indptr, users


@njit(cache=True, nogil=True)
def _fill_transposed(indptr, items, place, users):
    for user in range(indptr.size - 1):
        for item in items[indptr[user] : indptr[user + 1]]:
            users[place[item]] = user
            place[item] += 1
