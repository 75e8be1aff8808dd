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

With several peers each codes the users that it holds; the sums over users, ``G`` and the ``b`` of
the items, are added up by one peer after the other, which keeps their bits.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sparserec_np.interactions import Interactions
from sparserec_np.peers import ALONE, Peers

ROWS_PER_TASK = 256  # rows coded by one task; fixes who owns which scratch vector
CODING_PASSES = 4  # coordinate-descent passes over the support of a row
SMALLEST = np.float32(1e-12)  # values up to it count as zero: their squares in G could be zero
_RELAYED = 512  # items whose sums go from peer to peer at once


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
def _project(columns, column_scale, row_scale, factor, b, touched, n_touched):
    """Add a row's columns to ``b``; return how many dimensions it has touched by now."""
    for column in columns:
        weight = row_scale * column_scale[column]
        for t in range(factor.counts[column]):
            c = factor.dims[column, t]
            if b[c] == 0.0:
                touched[n_touched] = c
                n_touched += 1
            b[c] += weight * factor.values[column, t]
    return n_touched


@njit(cache=True, nogil=True)
def _code(b, touched, n_touched, gram, out, row, scratch):
    """Code a row by its ``b``, which is all zero afterwards."""
    gain, support, local = scratch
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
        b, touched = np.zeros(dim, np.float32), np.zeros(dim, np.int32)
        scratch = (
            np.zeros(width, np.float32),
            np.zeros(width, np.int32),
            np.zeros((width, width), np.float32),
        )
        for row in range(block * ROWS_PER_TASK, min(n_rows, (block + 1) * ROWS_PER_TASK)):
            columns = indices[indptr[row] : indptr[row + 1]]
            n = _project(columns, column_scale, row_scale[row], factor, b, touched, 0)
            _code(b, touched, n, gram, out, row, scratch)


@njit(cache=True, parallel=True)
def _project_items(first, indptr, users, item_scale, user_scale, factor, counts, dims, sums):
    """Add the users here to the ``b`` of some items; row r of the last three is item first + r.

    Each ``b`` is kept as its touched dimensions, in the order in which they were touched, and its
    sums there: the order settles ties.
    """
    dim = dims.shape[1]
    for block in prange((counts.size + ROWS_PER_TASK - 1) // ROWS_PER_TASK):
        b, touched = np.zeros(dim, np.float32), np.zeros(dim, np.int32)
        for r in range(block * ROWS_PER_TASK, min(counts.size, (block + 1) * ROWS_PER_TASK)):
            for t in range(counts[r]):
                touched[t] = dims[r, t]
                b[touched[t]] = sums[r, t]
            item = first + r
            columns = users[indptr[item] : indptr[item + 1]]
            n = _project(columns, user_scale, item_scale[item], factor, b, touched, counts[r])
            for t in range(n):
                dims[r, t] = touched[t]
                sums[r, t] = b[touched[t]]
                b[touched[t]] = 0.0
            counts[r] = n


@njit(cache=True, parallel=True)
def _code_items(first, counts, dims, sums, gram, out):
    """Code items by their whole ``b``."""
    dim = gram.shape[0]
    width = out.dims.shape[1]
    for block in prange((counts.size + ROWS_PER_TASK - 1) // ROWS_PER_TASK):
        b, touched = np.zeros(dim, np.float32), np.zeros(dim, np.int32)
        scratch = (
            np.zeros(width, np.float32),
            np.zeros(width, np.int32),
            np.zeros((width, width), np.float32),
        )
        for r in range(block * ROWS_PER_TASK, min(counts.size, (block + 1) * ROWS_PER_TASK)):
            for t in range(counts[r]):
                touched[t] = dims[r, t]
                b[touched[t]] = sums[r, t]
            _code(b, touched, counts[r], gram, out, first + r, scratch)


def _code_items_together(
    by_item: tuple[NDArray[np.int64], NDArray[np.int32]],
    item_scale: NDArray[np.float32],
    user_scale: NDArray[np.float32],
    users: Factor,
    gram: NDArray[np.float32],
    items: Factor,
    peers: Peers,
) -> None:
    """Code all items, the ``b`` of a block of them going from peer to peer, by rank.

    As in a pipeline: in each turn every peer works on another block, and what the last one has
    finished is coded by all, some items each.
    """
    blocks = [
        (first, min(first + _RELAYED, item_scale.size))
        for first in range(0, item_scale.size, _RELAYED)
    ]
    last, dim = peers.size - 1, gram.shape[0]
    came: dict[int, bytes] = {}
    for turn in range(len(blocks) + last):
        parcels: dict[int, bytes] = {}
        at = turn - peers.rank
        if 0 <= at < len(blocks):
            first, end = blocks[at]
            parts = _unpacked(came.get(peers.rank - 1, b""), end - first, dim)
            _project_items(first, *by_item, item_scale, user_scale, users, *parts)
            if peers.rank == last:
                for r, (a, b) in enumerate(_shares(0, end - first, peers.size)):
                    parcels[r] = _packed(parts[0][a:b], parts[1][a:b], parts[2][a:b])
            else:
                parcels[peers.rank + 1] = _packed(*parts)
        came = peers.exchange(parcels)
        if turn >= last:
            a, b = _shares(*blocks[turn - last], peers.size)[peers.rank]
            _code_items(a, *_unpacked(came[last], b - a, dim), gram, items)
    coded = [
        np.concatenate([np.arange(*_shares(*block, peers.size)[r]) for block in blocks])
        for r in range(peers.size)
    ]
    for array in (items.dims, items.values, items.counts):
        of_all = peers.gather(array[coded[peers.rank]])
        for rows, part in zip(coded, of_all, strict=True):
            array[rows] = part


def _shares(first: int, end: int, size: int) -> list[tuple[int, int]]:
    """Cut a range into one for each peer."""
    cuts = [first + (end - first) * r // size for r in range(size + 1)]
    return list(pairwise(cuts))


def _packed(
    counts: NDArray[np.int32], dims: NDArray[np.uint16], sums: NDArray[np.float32]
) -> bytes:
    """Put the ``b`` of some items in bytes, without the room behind their touched dimensions."""
    used = np.arange(dims.shape[1]) < counts[:, None]
    return counts.tobytes() + sums[used].tobytes() + dims[used].tobytes()


def _unpacked(
    data: bytes, n: int, dim: int
) -> tuple[NDArray[np.int32], NDArray[np.uint16], NDArray[np.float32]]:
    """Undo :func:`_packed`; no bytes at all mean that nothing is touched."""
    counts = np.zeros(n, np.int32)
    dims, sums = np.zeros((n, dim), np.uint16), np.zeros((n, dim), np.float32)
    if data:
        counts[:] = np.frombuffer(data, np.int32, n)
        total = int(counts.sum())
        used = np.arange(dim) < counts[:, None]
        sums[used] = np.frombuffer(data, np.float32, total, 4 * n)
        dims[used] = np.frombuffer(data, np.uint16, total, 4 * (n + total))
    return counts, dims, sums


@njit(cache=True, nogil=True)
def _gram(factor, gram):
    """Add the products of the dimensions of all rows."""
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
    peers: Peers = ALONE,
) -> tuple[Factor, Factor]:
    """Factorise the degree-normalised interactions.

    Args:
        interactions: What to factorise.
        dim: Number of dimensions, at most 65,536.
        user_width: Most entries of a user's row.
        item_width: Most entries of an item's row.
        sweeps: How often both factors are coded, the users first.
        rng: Draws the seed items.
        peers: Who has the other users.

    Returns:
        ``W`` of the users here, and ``H``. A row that shares no dimension with what it touches
        stays empty.
    """
    degrees = peers.sum(interactions.item_degrees())
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
            gram[:] = 0.0
            _gram(items, gram)
            _half_sweep(
                interactions.indptr, interactions.items, user_scale, item_scale, items, gram, users
            )
        gram[:] = 0.0
        peers.relay(gram, lambda total: _gram(users, total))
        if peers.size == 1:
            _half_sweep(*by_item, item_scale, user_scale, users, gram, items)
        else:
            _code_items_together(by_item, item_scale, user_scale, users, gram, items, peers)
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
