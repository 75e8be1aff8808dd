"""Exact top-k for many users at once, compiled.

Users are served one after the other, each with the inverted index, by as many threads as there are.
No ``users x items`` array exists: beyond the result, memory is the index and for each thread some
arrays of shape [dim] and [n_items].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.retrieval.diversity import compared_rows, diversify
from sparserec_np.retrieval.inverted_index import (
    NeighbourRows,
    Query,
    TopK,
    add_rows,
    build_index,
    neighbour_rows,
    search_index,
    search_with_neighbours,
)
from sparserec_np.retrieval.signed_power import apply_signed_power
from sparserec_np.runtime.history import age_weights
from sparserec_np.runtime.taste import AS_LEARNED, Taste
from sparserec_np.utils.compiled import helper, kernel
from sparserec_np.utils.parallel import run_parallel, thread_count

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model

_CHUNK = 16  # consecutive users of a thread, so that threads seldom write to the same cache line
_BLOCK = 4096  # users whose lists are made diverse together: their pools take a few MB
_ONE = np.float32(1.0)
NOTHING_ADDED = neighbour_rows(None)


class ItemScorer(NamedTuple):
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
        neighbours: What the items of a history add to the scores of others.
        popularity: Factor of the biases, 0 to 1.
    """

    indptr: NDArray[np.int64]
    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    weight: NDArray[np.float32]
    exponent: float
    power: float
    dim: int
    neighbours: NeighbourRows = NOTHING_ADDED
    popularity: np.float32 = _ONE


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


class ItemLists(NamedTuple):
    """Lists of items in CSR form.

    Attributes:
        indptr: int64 array of shape [n_lists + 1].
        items: int32 array of shape [nnz].
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]


@kernel
def _serve_users(seat, n_seats, scorer, index, history, users, rows, exclude, best):
    for n in range(rows.size):
        if n // _CHUNK % n_seats == seat:
            vector = np.zeros(scorer.dim, np.float32)
            entries = slice(users.indptr[rows[n]], users.indptr[rows[n] + 1])
            columns, values = users.columns[entries], users.values[entries]
            if history:
                _sum_history(scorer, index, columns, values, vector)
            else:
                for e in range(columns.size):
                    vector[columns[e]] = values[e]
            excluded = exclude.items[exclude.indptr[n] : exclude.indptr[n + 1]]
            query = Query(vector, _ONE, scorer.popularity, excluded)
            found = TopK(best.items[n], best.scores[n])
            if history and scorer.neighbours.items.size:
                search_with_neighbours(index, scorer.neighbours, columns, values, query, found)
            else:
                search_index(index, query, found)


@kernel
def _diversify_lists(seat, n_seats, rows, diversity, pools, best):
    """Choose some items of each list, which ends where its items are -1."""
    for n in range(pools.items.shape[0]):
        if n // _CHUNK % n_seats == seat:
            found = (pools.items[n] >= 0).sum()
            few = min(found, best.items.shape[1])
            chosen = TopK(best.items[n, :few], best.scores[n, :few])
            diversify(rows, pools.items[n, :found], pools.scores[n, :found], diversity, chosen)


@helper
def _sum_history(scorer, index, items, age_weights, vector):
    """Write the vector of a history, which is zeros so far."""
    weights = scorer.weight[items]
    length = 0.0
    if age_weights.size:
        weights *= age_weights
        for weight in age_weights:
            length += weight
    else:
        length += items.size
    add_rows(index, items, weights, vector)
    apply_signed_power(vector, scorer.power)
    vector *= np.float32(max(length, 1.0) ** -scorer.exponent)


def batch_top_k(
    scorer: ItemScorer,
    users: UserRows,
    rows: NDArray[np.int64],
    exclude: ItemLists,
    *,
    history: bool,
    k: int,
    diversity: float = 0.0,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find the k best items for each of many users.

    The bits of the scores do not depend on the number of threads, nor on the other users.

    Args:
        scorer: The item side.
        users: Embeddings of users (``history`` false), or histories (true).
        rows: Rows of ``users`` to serve, int64 array of shape [n].
        exclude: Items to leave out of each of the n rankings.
        history: Kind of ``users``.
        k: Number of items for each user, at least 1.
        diversity: As in :func:`sparserec_np.runtime.taste.diversify`; 0 for none.
        threads: Number of threads; None for all cores.

    Returns:
        Items, int32 array of shape [n, k], best first, of equal scores the smaller number first, -1
        where nothing is left; and their scores, float32 array of shape [n, k], -inf there.
    """
    items, scores = _empty_lists(rows.size, k)
    index = build_index(scorer.indptr, scorer.dims, scorer.values, scorer.bias, scorer.dim)
    with thread_count(threads):
        if not diversity:
            best = TopK(items, scores)
            run_parallel(_serve_users, scorer, index, history, users, rows, exclude, best)
            return items, scores
        alike = compared_rows(index, scorer.neighbours)
        n_ranked = Taste(diversity=diversity).n_ranked(k, scorer.bias.size)
        for first in range(0, rows.size, _BLOCK):
            some = slice(first, first + _BLOCK)
            pools = TopK(*_empty_lists(rows[some].size, n_ranked))
            left_out = ItemLists(exclude.indptr[first : first + _BLOCK + 1], exclude.items)
            run_parallel(_serve_users, scorer, index, history, users, rows[some], left_out, pools)
            lists = TopK(items[some], scores[some])
            run_parallel(_diversify_lists, alike, diversity, pools, lists)
    return items, scores


def _empty_lists(n: int, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    return np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32)


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
    taste: Taste = AS_LEARNED,
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
        taste: Wishes; with a recency above 0 the histories must have times.
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
    scorer = ItemScorer(
        table.indptr,
        table.dims,
        table.values,
        np.ascontiguousarray(model.item_bias, np.float32),
        np.ascontiguousarray(weight, np.float32),
        model.history_exponent,
        model.history_power,
        model.dim,
        neighbour_rows(model.neighbours()),
        np.float32(taste.popularity),
    )
    if isinstance(users, Interactions):
        recency = model.history_recency if taste.recency is None else taste.recency
        user_rows = history_rows(users, recency)
        rows = np.arange(users.n_users)
    else:
        own = model.users_table()
        user_rows = UserRows(own.indptr, own.dims.astype(np.int32), own.values)
        rows = np.asarray(users, np.int64)
    if exclude is None:
        excluded = ItemLists(np.zeros(rows.size + 1, np.int64), np.zeros(0, np.int32))
    else:
        excluded = ItemLists(exclude.indptr, exclude.items)
    return batch_top_k(
        scorer,
        user_rows,
        rows,
        excluded,
        history=history,
        k=k,
        diversity=taste.diversity,
        threads=threads,
    )
