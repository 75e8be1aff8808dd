"""Exact top-k for many users at once, compiled.

Users are served in blocks of ``LANES``, each block in the cheaper of two ways:

- *by dimension*, one user after the other, with the inverted index of
  :mod:`sparserec_np.retrieval.inverted_index`: only the weights at the user's dimensions are read,
  and of those only some where upper bounds spare the rest;
- *by item*, all users at once: their vectors lie side by side, so each weight of an item is read
  once and multiplied with all of them in one vector instruction; the scores of an item are compared
  with each user's k-th best at once.

No ``users x items`` array exists. Both ways add up in the same order, so the bits of the scores
depend neither on the way nor on the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.retrieval.inverted_index import build_index, insert, search_index, split_query
from sparserec_np.retrieval.signed_power import signed_power_all
from sparserec_np.runtime.history import age_weights
from sparserec_np.utils.parallel import LANES, run_parallel, thread_count

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model


# Costs, in units of a weight and user by dimension: a weight and block of users by item, with their
# vectors in the first-level cache or out of it; and an item and user by dimension, without bounds
# and with them.
_CACHED_DIM = 512
_COST_NEAR, _COST_FAR = 5.0, 6.0
_COST_ITEM, _COST_BOUNDS = 0.3, 1.2

_ONE = np.float32(1.0)


class Scorer(NamedTuple):
    """The item side of all scores; ``weight``, ``exponent`` and ``power`` are for histories only.

    Attributes:
        indptr: Rows of the item table, int64 array of shape [n_items + 1].
        dims: uint16 array of shape [nnz], ascending within a row.
        values: float32 array of shape [nnz].
        bias: float32 array of shape [n_items].
        weight: Weight of an item within a history, float32 array of shape [n_items].
        exponent: alpha in ``|H|^-alpha``.
        power: p in ``sign(y) |y|^p``, a multiple of 1/8 above 0, at most 1.
        dim: Number of columns of the table.
    """

    indptr: NDArray[np.int64]
    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    weight: NDArray[np.float32]
    exponent: float
    power: float
    dim: int


class UserRows(NamedTuple):
    """Users in CSR form: either their embeddings, or their histories.

    Attributes:
        indptr: int64 array of shape [n_users + 1].
        columns: Dimensions of an embedding, or items of a history; int32 array of shape [nnz].
        values: float32 array of shape [nnz]: values of an embedding, or recency weights of the
            items of a history; of shape [0] where all of these are 1.
    """

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


@njit(cache=True, nogil=True)
def _user_vector(scorer, history, users, row, vector):
    """Write the vector of a user, which is zeros so far."""
    entries = range(users.indptr[row], users.indptr[row + 1])
    if not history:
        for e in entries:
            vector[users.columns[e]] = users.values[e]
        return
    length = 0.0
    for place in entries:
        item = users.columns[place]
        weight = scorer.weight[item]
        if users.values.size:
            weight *= users.values[place]
            length += users.values[place]
        else:
            length += 1.0
        for e in range(scorer.indptr[item], scorer.indptr[item + 1]):
            vector[scorer.dims[e]] += weight * scorer.values[e]
    signed_power_all(vector, scorer.power)
    vector *= np.float32(max(length, 1.0) ** -scorer.exponent)


@njit(cache=True, nogil=True)
def _is_by_dimension_cheaper(index, vectors, n_users):
    n_items = index.bias.size
    cost = 0.0
    for lane in range(n_users):
        _, touched, spared, _ = split_query(index, vectors[lane])
        cost += touched + n_items * (_COST_BOUNDS if spared else _COST_ITEM)
    near = vectors.shape[1] <= _CACHED_DIM
    return cost < index.values.size * (_COST_NEAR if near else _COST_FAR)


@njit(cache=True, nogil=True)
def _top_k(
    seat, n_seats, scorer, index, history, users, rows, ex_indptr, ex_items, best, best_scores
):  # fmt: skip
    n_users = rows.size
    for first in range(seat * LANES, n_users, n_seats * LANES):
        n = min(LANES, n_users - first)
        vectors = np.zeros((LANES, scorer.dim), np.float32)
        for lane in range(n):
            _user_vector(scorer, history, users, rows[first + lane], vectors[lane])
        if _is_by_dimension_cheaper(index, vectors, n):
            for lane in range(n):
                user = first + lane
                excluded = ex_items[ex_indptr[user] : ex_indptr[user + 1]]
                search_index(index, vectors[lane], _ONE, excluded, best[user], best_scores[user])
        else:
            lanes = vectors.T.copy()
            _by_item(scorer, lanes, n, first, ex_indptr, ex_items, best, best_scores)


@njit(cache=True, nogil=True)
def _by_item(scorer, lanes, n, first, ex_indptr, ex_items, best, best_scores):
    found = np.zeros(LANES, np.int64)
    threshold = np.full(LANES, -np.inf, np.float32)  # the k-th best score so far
    next_excluded = np.zeros(LANES, np.int64)
    next_excluded[:n] = ex_indptr[first : first + n]
    scores = np.zeros(LANES, np.float32)
    for item in range(scorer.bias.size):
        scores[:] = 0.0
        for e in range(scorer.indptr[item], scorer.indptr[item + 1]):
            value = scorer.values[e]
            d = scorer.dims[e]
            for lane in range(LANES):
                scores[lane] += value * lanes[d, lane]
        n_better = 0
        for lane in range(LANES):
            scores[lane] += scorer.bias[item]
            n_better += scores[lane] > threshold[lane]
        if not n_better:
            continue
        for lane in range(n):
            if scores[lane] > threshold[lane]:
                user = first + lane
                end = ex_indptr[user + 1]
                while next_excluded[lane] < end and ex_items[next_excluded[lane]] < item:
                    next_excluded[lane] += 1
                if next_excluded[lane] < end and ex_items[next_excluded[lane]] == item:
                    continue
                found[lane] = insert(best[user], best_scores[user], found[lane], item, scores[lane])
                if found[lane] == best.shape[1]:
                    threshold[lane] = best_scores[user, -1]


def batch_top_k(
    scorer: Scorer,
    users: UserRows,
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
        users: Embeddings of users (``history`` false), or histories (true).
        rows: Which of the users to serve, int64 array of shape [n].
        exclude_indptr: Items to leave out of the n rankings, int64 array of shape [n + 1].
        exclude_items: int32 array, ascending within a user.
        history: What ``users`` holds.
        k: Number of items for each user, at least 1.
        threads: Number of threads; None for all cores.

    Returns:
        Items, int32 array of shape [n, k], best first, of equal scores the smaller number first, -1
        where nothing is left; and their scores, float32 array of shape [n, k], -inf there.
    """
    best = np.full((rows.size, k), -1, np.int32)
    scores = np.full((rows.size, k), -np.inf, np.float32)
    index = build_index(scorer.indptr, scorer.dims, scorer.values, scorer.bias, scorer.dim)
    excluded = exclude_indptr, exclude_items
    with thread_count(threads):
        run_parallel(_top_k, scorer, index, history, users, rows, *excluded, best, scores)
    return best, scores


def history_rows(users: Interactions, recency: float) -> UserRows:
    """Weigh the items of histories by their age.

    Args:
        users: The histories.
        recency: e in ``(age + 1)^-e``, a multiple of 1/8 from 0 to 1.

    Raises:
        InputError: The recency is above 0, and there are no times to tell ages by.
    """
    weights = np.zeros(0, np.float32)
    if recency > 0:
        ages = users.ages()
        weights = age_weights(int(ages.max(initial=0)) + 1, recency).astype(np.float32)[ages]
    return UserRows(users.indptr, users.items, weights)


def model_top_k(
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
        k: Number of items for each user, at least 1.
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
        user_rows = history_rows(users, model.history_recency)
        rows = np.arange(users.n_users)
    else:
        own = model.users_table()
        user_rows = UserRows(own.indptr, own.dims.astype(np.int32), own.values)
        rows = np.asarray(users, np.int64)
    if exclude is None:
        excluded = np.zeros(rows.size + 1, np.int64), np.zeros(0, np.int32)
    else:
        excluded = exclude.indptr, exclude.items
    return batch_top_k(scorer, user_rows, rows, *excluded, history=history, k=k, threads=threads)
