"""Exact top-k for many users at once, compiled.

Users are served in blocks of ``LANES``, each block in the cheaper of two ways:

- *by dimension*, one user after the other, as :mod:`sparserec_np.retrieval.inverted_index` does it: only the weights
  at the user's dimensions are touched, and of those only a part where bounds spare the rest;
- *by item*, all users at once: their vectors lie side by side, so each weight of an item is read
  once and meets all of them in one vector instruction; the scores of an item are compared with each
  user's k-th best on the spot.

No ``users x items`` array exists. Both ways add up in the same order, so the bits of the scores do
not depend on which one is taken, nor on the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.retrieval.inverted_index import insert, plan, search, searchable
from sparserec_np.retrieval.signed_power import bend_all
from sparserec_np.runtime.history import by_age
from sparserec_np.utils.parallel import LANES, thread_count

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model


# What takes how long, where a weight and user by dimension takes 1: a weight and block of users by
# item, with their vectors in the first-level cache or out of it; and by dimension an item and user,
# without bounds and with them.
_CACHED_DIM = 512
_COST_NEAR, _COST_FAR = 5.0, 6.0
_COST_ITEM, _COST_BOUNDS = 0.3, 1.2

_ONE = np.float32(1.0)


class Scorer(NamedTuple):
    """What scores are made of; ``weight``, ``exponent`` and ``power`` matter to histories only.

    Attributes:
        indptr: Rows of the item table, int64 array of shape [n_items + 1].
        dims: uint16 array of shape [weights].
        values: float32 array of shape [weights].
        bias: float32 array of shape [n_items].
        weight: Weight of an item within a history, float32 array of shape [n_items].
        exponent: alpha in ``|H|^-alpha``.
        power: p in ``sign(y) |y|^p``, a multiple of 1/8 above 0, at most 1.
        dim: Columns of the table.
    """

    indptr: NDArray[np.int64]
    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    weight: NDArray[np.float32]
    exponent: float
    power: float
    dim: int


class Vectors(NamedTuple):
    """Sparse vectors of users: rows of a table, or histories.

    Histories are rows of items, with what recency makes of their weights, or without values where
    that is nothing.
    """

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


@njit(cache=True, nogil=True)
def _compose(scorer, history, indptr, columns, values, row, vector):
    if not history:
        for e in range(indptr[row], indptr[row + 1]):
            vector[columns[e]] = values[e]
        return
    length = 0.0
    for place in range(indptr[row], indptr[row + 1]):
        item = columns[place]
        weight = scorer.weight[item]
        if values.size:
            weight *= values[place]
            length += values[place]
        else:
            length += 1.0
        for e in range(scorer.indptr[item], scorer.indptr[item + 1]):
            vector[scorer.dims[e]] += weight * scorer.values[e]
    bend_all(vector, scorer.power)
    vector *= np.float32(max(length, 1.0) ** -scorer.exponent)


@njit(cache=True, nogil=True)
def _is_by_dimension(table, vectors, n_users):
    """Whether the way by dimension is the cheaper one for a block of users."""
    n_items = table.bias.size
    cost = 0.0
    for lane in range(n_users):
        _, touched, spared, _ = plan(table, vectors[lane])
        cost += touched + n_items * (_COST_BOUNDS if spared else _COST_ITEM)
    near = vectors.shape[1] <= _CACHED_DIM
    return cost < table.values.size * (_COST_NEAR if near else _COST_FAR)


@njit(cache=True, parallel=True)
def _top_k(
    scorer, table, history, indptr, columns, values, rows, ex_indptr, ex_items, out, out_scores
):  # fmt: skip
    n_users = rows.size
    for block in prange((n_users + LANES - 1) // LANES):
        first = block * LANES
        n = min(LANES, n_users - first)
        vectors = np.zeros((LANES, scorer.dim), np.float32)
        for lane in range(n):
            _compose(scorer, history, indptr, columns, values, rows[first + lane], vectors[lane])
        if _is_by_dimension(table, vectors, n):
            for lane in range(n):
                user = first + lane
                left_out = ex_items[ex_indptr[user] : ex_indptr[user + 1]]
                search(table, vectors[lane], _ONE, left_out, out[user], out_scores[user])
        else:
            lanes = vectors.T.copy()
            _by_item(scorer, lanes, n, first, ex_indptr, ex_items, out, out_scores)


@njit(cache=True, nogil=True)
def _by_item(scorer, lanes, n, first, ex_indptr, ex_items, out, out_scores):
    found = np.zeros(LANES, np.int64)
    bar = np.full(LANES, -np.inf, np.float32)  # the k-th best score so far
    place = np.zeros(LANES, np.int64)  # next item to leave out
    place[:n] = ex_indptr[first : first + n]
    scores = np.zeros(LANES, np.float32)
    for item in range(scorer.bias.size):
        scores[:] = 0.0
        for e in range(scorer.indptr[item], scorer.indptr[item + 1]):
            value = scorer.values[e]
            d = scorer.dims[e]
            for lane in range(LANES):
                scores[lane] += value * lanes[d, lane]
        better = 0
        for lane in range(LANES):
            scores[lane] += scorer.bias[item]
            better += scores[lane] > bar[lane]
        if not better:
            continue
        for lane in range(n):
            if scores[lane] > bar[lane]:
                user = first + lane
                while place[lane] < ex_indptr[user + 1] and ex_items[place[lane]] < item:
                    place[lane] += 1
                if place[lane] < ex_indptr[user + 1] and ex_items[place[lane]] == item:
                    continue
                best = out_scores[user]
                found[lane] = insert(out[user], best, found[lane], item, scores[lane])
                if found[lane] == best.size:
                    bar[lane] = best[-1]


def rank_all(
    scorer: Scorer,
    vectors: Vectors,
    rows: NDArray[np.int64],
    exclude_indptr: NDArray[np.int64],
    exclude_items: NDArray[np.int32],
    *,
    history: bool,
    k: int,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find the k best items for each of many users.

    Args:
        scorer: The item side.
        vectors: User rows (``history`` false), or histories (true).
        rows: Which of them to serve, int64 array of shape [n].
        exclude_indptr: Items to leave out of the n rankings, int64 array of shape [n + 1].
        exclude_items: int32 array, ascending within a user.
        history: What ``vectors`` holds.
        k: Items a user, at least 1.
        threads: Number of threads; None for all cores.

    Returns:
        Items, int32 array of shape [n, k], best first, of equal scores the smaller number first, -1
        where nothing is left; and their scores, float32 array of shape [n, k], -inf there.
    """
    out = np.full((rows.size, k), -1, np.int32)
    scores = np.full((rows.size, k), -np.inf, np.float32)
    table = searchable(scorer.indptr, scorer.dims, scorer.values, scorer.bias, scorer.dim)
    with thread_count(threads):
        _top_k(scorer, table, history, *vectors, rows, exclude_indptr, exclude_items, out, scores)
    return out, scores


def histories(users: Interactions, recency: float) -> Vectors:
    """Make vectors of histories.

    Args:
        users: The histories.
        recency: e in ``(age + 1)^-e``, a multiple of 1/8 from 0 to 1.

    Raises:
        InputError: The recency is above 0, and there are no times to tell ages by.
    """
    weights = np.zeros(0, np.float32)
    if recency > 0:
        ages = users.ages()
        weights = by_age(int(ages.max(initial=0)) + 1, recency).astype(np.float32)[ages]
    return Vectors(users.indptr, users.items, weights)


def top_k(
    model: Model,
    users: Interactions | NDArray[np.int64],
    *,
    exclude: Interactions | None = None,
    k: int = 10,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find the k best items of a model file for each of many users.

    Args:
        model: The loaded file.
        users: For a history model the histories, in the model's numbering of items, with times if
            its recency is above 0; for an embedding model the users' numbers, int64 array of shape
            [n].
        exclude: Items to leave out, one row for each of ``users``.
        k: Items a user, at least 1.
        threads: Number of threads; None for all cores.

    Returns:
        Item numbers, int32 array of shape [n, k], -1 where nothing is left, and their scores,
        float32 array of shape [n, k].
    """
    table = model.items_table()
    history = isinstance(users, Interactions)
    weight = model.history_weights
    if weight is None:
        weight = np.ones(len(table), np.float32)
    scorer = Scorer(
        table.indptr,
        table.dims,
        table.values,
        np.ascontiguousarray(model.item_bias, np.float32),
        np.ascontiguousarray(weight, np.float32),
        model.history_exponent,
        model.history_power,
        model.dim,
    )
    if isinstance(users, Interactions):
        vectors = histories(users, model.history_recency)
        rows = np.arange(users.n_users)
    else:
        own = model.users_table()
        vectors = Vectors(own.indptr, own.dims.astype(np.int32), own.values)
        rows = np.asarray(users, np.int64)
    if exclude is None:
        nothing = np.zeros(rows.size + 1, np.int64), np.zeros(0, np.int32)
    else:
        nothing = exclude.indptr, exclude.items
    return rank_all(scorer, vectors, rows, *nothing, history=history, k=k, threads=threads)
