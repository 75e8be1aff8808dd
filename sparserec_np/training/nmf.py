"""Sparse non-negative matrix factorisation: the starting mask and values.

The degree-normalised interactions ``D_u^-1/2 R D_i^-1/2`` are approximated by ``W H^T`` with at
most ``width`` entries in each row of ``W`` (users) and ``H`` (items). Rows are coded one at a time
against the other factor, so memory beyond the interactions is ``O((n_users + n_items) * width +
dim^2)``, no ``n x dim`` array exists at any moment. Where the same interactions by item would take
more than 32 MB, they are made anew in each sweep, for some items at a time.

A half-sweep codes all rows of one side (:mod:`sparserec_np.training.kernels.sparse_coding`). They
are independent, so they run in parallel and give the same bits for any number of threads. The start
is ``dim`` seed items, drawn by their number of users: a user has dimension c if the c-th seed is in
the history. The first sweeps are overwritten by the last ones, so half the width is enough for
them, in half the time.

With several workers each codes the users that it holds; the sums over users, ``G`` and the ``b`` of
the items, are added up by one worker after the other, which keeps their bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.training.kernels.intrinsics import claim, task_at
from sparserec_np.training.kernels.sparse_coding import (
    ROWS_PER_TASK,
    Factor,
    Gram,
    Matrix,
    add_gram,
    choose_support,
    empty_factor,
    empty_gram,
    free_tasks,
    half_sweep,
    invert_diagonal,
    project,
    scratch,
    solve,
)
from sparserec_np.utils.communicator import communicator, replicated
from sparserec_np.utils.compiled import kernel
from sparserec_np.utils.csr import blocks_of_rows, indptr_from_counts
from sparserec_np.utils.parallel import run_parallel

_WIDE_SWEEPS = 3  # the last sweeps, which code rows in their whole width
BLOCK_ITEMS = 512  # items whose sums go from worker to worker at once
TRANSPOSED_AT_ONCE = 8_000_000  # interactions that are transposed at a time: 32 MB

_Part: TypeAlias = "tuple[slice, tuple[NDArray[np.int64], NDArray[np.int32]]]"


@kernel
def _project_items(seat, n_seats, taken, first, matrix, factor, counts, dims, sums):
    """Add the users of this worker to the ``b`` of some items; each thread calls it.

    Each ``b`` is kept as its touched dimensions, in the order in which they were touched, and its
    sums there: the order settles ties. Row r of the last three arguments is item ``first + r``.
    """
    work = scratch(dims.shape[1], 1)
    b, touched = work.b, work.touched
    for turn in range(taken.size):
        task = task_at(turn, seat, n_seats, taken.size)
        if taken[task] != 0 or not claim(taken, task):
            continue
        for r in range(task * ROWS_PER_TASK, min(counts.size, (task + 1) * ROWS_PER_TASK)):
            for t in range(counts[r]):
                touched[t] = dims[r, t]
                b[touched[t]] = sums[r, t]
            item = first + r
            columns = matrix.columns[matrix.indptr[item] : matrix.indptr[item + 1]]
            n = project(
                columns, matrix.column_scale, matrix.row_scale[item], factor, b, touched, counts[r]
            )
            for t in range(n):
                dims[r, t] = touched[t]
                sums[r, t] = b[touched[t]]
                b[touched[t]] = 0.0
            counts[r] = n


@kernel
def _code_items(seat, n_seats, taken, first, counts, dims, sums, gram, out):
    """Code items by their complete ``b``; each thread calls it."""
    work = scratch(dims.shape[1], out.dims.shape[1])
    for turn in range(taken.size):
        task = task_at(turn, seat, n_seats, taken.size)
        if taken[task] != 0 or not claim(taken, task):
            continue
        for r in range(task * ROWS_PER_TASK, min(counts.size, (task + 1) * ROWS_PER_TASK)):
            for t in range(counts[r]):
                work.touched[t] = dims[r, t]
                work.b[work.touched[t]] = sums[r, t]
            keep = choose_support(0, counts[r], gram, work)
            solve(0, keep, gram, work, out, first + r)


def _code(matrix: Matrix, factor: Factor, gram: Gram, out: Factor) -> None:
    """Code all rows of a matrix against a factor."""
    run_parallel(half_sweep, free_tasks(matrix.indptr.size - 1), matrix, factor, gram, out)


def _code_items_together(matrix: Matrix, users: Factor, gram: Gram, items: Factor) -> None:
    """Code all items, the ``b`` of a block of them going from worker to worker, by rank.

    As in a pipeline: in each turn every worker works on another block, and what the last one has
    finished is coded by all, some items each.
    """
    comm, n_items = communicator(), matrix.row_scale.size
    blocks = [
        (first, min(first + BLOCK_ITEMS, n_items)) for first in range(0, n_items, BLOCK_ITEMS)
    ]
    last, dim = comm.world_size - 1, gram.inverse.size
    received: dict[int, bytes] = {}
    counts = np.empty(BLOCK_ITEMS, np.int32)
    dims, sums = np.empty((BLOCK_ITEMS, dim), np.uint16), np.empty((BLOCK_ITEMS, dim), np.float32)
    for turn in range(len(blocks) + last):
        messages: dict[int, bytes] = {}
        at = turn - comm.rank
        if 0 <= at < len(blocks):
            first, end = blocks[at]
            parts = counts[: end - first], dims[: end - first], sums[: end - first]
            _unpack(received.get(comm.rank - 1, b""), *parts)
            run_parallel(_project_items, free_tasks(end - first), first, matrix, users, *parts)
            if comm.rank == last:
                for r, (a, b) in enumerate(_shares(0, end - first, comm.world_size)):
                    messages[r] = _packed(parts[0][a:b], parts[1][a:b], parts[2][a:b])
            else:
                messages[comm.rank + 1] = _packed(*parts)
        received = comm.all_to_all(messages)
        if turn >= last:
            a, b = _shares(*blocks[turn - last], comm.world_size)[comm.rank]
            parts = counts[: b - a], dims[: b - a], sums[: b - a]
            _unpack(received[last], *parts)
            run_parallel(_code_items, free_tasks(b - a), a, *parts, gram, items)
    coded = [
        np.concatenate([np.arange(*_shares(*block, comm.world_size)[r]) for block in blocks])
        for r in range(comm.world_size)
    ]
    for array in (items.dims, items.values, items.counts):
        of_all = comm.all_gather(array[coded[comm.rank]])
        for rows, part in zip(coded, of_all, strict=True):
            array[rows] = part


def _shares(first: int, end: int, size: int) -> list[tuple[int, int]]:
    """Cut a range into one for each worker."""
    cuts = [first + (end - first) * r // size for r in range(size + 1)]
    return list(pairwise(cuts))


def _packed(
    counts: NDArray[np.int32], dims: NDArray[np.uint16], sums: NDArray[np.float32]
) -> bytes:
    """Put the ``b`` of some items in bytes, without the room behind their touched dimensions."""
    total = int(counts.sum())
    used_dims, used_sums = np.empty(total, np.uint16), np.empty(total, np.float32)
    _copy_used(counts, dims, sums, used_dims, used_sums)
    return counts.tobytes() + used_sums.tobytes() + used_dims.tobytes()


def _unpack(
    data: bytes, counts: NDArray[np.int32], dims: NDArray[np.uint16], sums: NDArray[np.float32]
) -> None:
    """Undo :func:`_packed`; no bytes at all mean that nothing is touched."""
    counts[:] = 0
    if data:
        counts[:] = np.frombuffer(data, np.int32, counts.size)
        total, at = int(counts.sum()), 4 * counts.size
        used_sums = np.frombuffer(data, np.float32, total, at)
        used_dims = np.frombuffer(data, np.uint16, total, at + 4 * total)
        _copy_back(counts, used_dims, used_sums, dims, sums)


@kernel
def _copy_used(counts, dims, sums, used_dims, used_sums):
    e = 0
    for r in range(counts.size):
        for t in range(counts[r]):
            used_dims[e] = dims[r, t]
            used_sums[e] = sums[r, t]
            e += 1


@kernel
def _copy_back(counts, used_dims, used_sums, dims, sums):
    e = 0
    for r in range(counts.size):
        for t in range(counts[r]):
            dims[r, t] = used_dims[e]
            sums[r, t] = used_sums[e]
            e += 1


@kernel
def _seed_users(indptr, items, dim_of_item, item_scale, factor):
    """Start ``W``: a user has dimension c if the history has the c-th seed; rarest seeds first."""
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


def factorize(
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
        interactions: What to factorise, of the users of this worker.
        dim: Number of dimensions, at most 65,536.
        user_width: Most entries of a user's row.
        item_width: Most entries of an item's row.
        sweeps: How often both factors are coded, the users first.
        rng: Draws the seed items.

    Returns:
        ``W`` of the users of this worker, and ``H``. A row that shares no dimension with the rows
        that it touches stays empty.
    """
    comm = communicator()
    degrees = comm.all_reduce(interactions.item_degrees())
    dim_of_item = _draw_seeds(degrees, dim, rng)  # its scratch is gone before the rest is there
    most = TRANSPOSED_AT_ONCE if comm.world_size == 1 else max(interactions.nnz, 1)
    kept = list(transposed(interactions, most)) if interactions.nnz <= most else None
    user_scale = _inverse_root(interactions.user_degrees())
    item_scale = _inverse_root(degrees)
    users, items = empty_factor(0, 0), empty_factor(interactions.n_items, 0)  # users come first
    gram = empty_gram(dim)
    for sweep in range(sweeps):
        narrow = 1 + (sweep < sweeps - _WIDE_SWEEPS)
        del users  # before there are new ones
        users = empty_factor(interactions.n_users, -(-user_width // narrow))
        if sweep == 0:
            _seed_users(interactions.indptr, interactions.items, dim_of_item, item_scale, users)
        else:
            with replicated():
                fill_gram(gram, items)
            _code(
                Matrix(interactions.indptr, interactions.items, user_scale, item_scale),
                items,
                gram,
                users,
            )
        del items
        items = empty_factor(interactions.n_items, -(-item_width // narrow))
        fill_gram(gram, users)
        for some, (indptr, of_items) in kept or transposed(interactions, most):
            by_item = Matrix(indptr, of_items, item_scale[some], user_scale)
            if comm.world_size == 1:
                out = Factor(items.dims[some], items.values[some], items.counts[some])
                _code(by_item, users, gram, out)
            else:  # then all items are one part
                _code_items_together(by_item, users, gram, items)
    return users, items


def fill_gram(gram: Gram, factor: Factor) -> None:
    """Fill in the Gram matrix of a factor, whose other rows the other workers hold."""
    gram.products[:] = 0.0
    add = partial(run_parallel, add_gram, factor)
    communicator().ordered_reduce(gram.products, add)
    invert_diagonal(gram)


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


def transposed(interactions: Interactions, most: int) -> Iterator[_Part]:
    """Transpose the interactions; the users of all items take as much memory as these.

    Args:
        interactions: Interactions by user.
        most: Interactions that are transposed at a time.

    Yields:
        Some n items, and their rows: int64 array of shape [n + 1], int32 array of their users,
        which is overwritten by the next.
    """
    begins = indptr_from_counts(interactions.item_degrees())
    done = interactions.indptr[:-1].copy()
    parts = list(blocks_of_rows(begins, most))
    users = np.empty(max(begins[last] - begins[first] for first, last in parts), np.int32)
    for first, last in parts:
        indptr = begins[first : last + 1] - begins[first]
        place = indptr[:-1].copy()
        _fill_transposed(interactions.indptr, interactions.items, first, last, done, place, users)
        yield slice(first, last), (indptr, users[: indptr[-1]])


@kernel
def _fill_transposed(indptr, items, first, last, done, place, users):
    """Fill in the users of the items ``first`` to ``last - 1``.

    Args:
        indptr: Of the users, int64 array of shape [n_users + 1].
        items: Their items, ascending in the row of a user; int32 array.
        first: First item.
        last: One past the last one.
        done: Up to where each row has been read, int64 array of shape [n_users]; moved on.
        place: Where the users of each item begin, int64 array of shape [last - first]; changed.
        users: Filled in.
    """
    for user in range(done.size):
        e = done[user]
        while e < indptr[user + 1] and items[e] < last:
            users[place[items[e] - first]] = user
            place[items[e] - first] += 1
            e += 1
        done[user] = e
