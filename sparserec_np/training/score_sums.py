"""NDCG of sums of two scores: what the factors say, and what the neighbours of a history add.

Used to choose the factor of the neighbours, and between several fits of them: the scores of the
factors are the same for all, so they are computed once. With sparse products of SciPy, some users
at a time: memory is a number for each item and each of :data:`_USERS` users, a few times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.evaluation.metrics import ndcg
from sparserec_np.modelfile.arrays import Neighbours
from sparserec_np.retrieval.batch_top_k import UserRows
from sparserec_np.runtime.signed_power import signed_power
from sparserec_np.training.config import Config
from sparserec_np.training.parameters import Parameters

_USERS = 32  # whose scores are in memory at a time


def ndcg_of_sums(
    parameters: Parameters,
    config: Config,
    histories: UserRows,
    relevant: Interactions,
    several: Sequence[Neighbours],
    scales: Sequence[float],
    k: int,
) -> NDArray[np.float64]:
    """Score ``factors + scale * neighbours`` on held-out items, the histories left out.

    Args:
        parameters: Item embeddings and biases, perhaps without any weight.
        config: Scale and power of the vector of a history.
        histories: Items and, unless all count alike, the weights by age of each user.
        relevant: Held-out items of the same users, at least one of each.
        several: Neighbours to compare.
        scales: Their factors to compare.
        k: Ranks that count.

    Returns:
        Mean NDCG@k by neighbours, then scale; float64 array of shape [len(several), len(scales)].
    """
    from scipy.sparse import csr_array

    items = parameters.items
    rows, n_items = items.rows, items.bias.size
    table = csr_array(
        (rows.values, rows.dims.astype(np.int32), rows.indptr), shape=(n_items, parameters.dim)
    )
    added = [csr_array((n.values, n.items, n.indptr), shape=(n_items, n_items)) for n in several]
    factors = np.array(scales, np.float32)[:, None]
    n_users = histories.indptr.size - 1
    counts = relevant.user_degrees()
    hits = np.zeros((len(several), len(scales), n_users, k), np.bool_)
    for first in range(0, n_users, _USERS):
        some = slice(first, min(first + _USERS, n_users))
        own, shape = _slice(histories, some), (some.stop - some.start, n_items)
        ages = csr_array((own.values, own.columns, own.indptr), shape=shape)
        weighted = csr_array(
            (own.values * items.weight[own.columns], own.columns, own.indptr), shape=shape
        )
        summed = signed_power((weighted @ table).toarray(), config.history_power)
        summed *= np.maximum(ages.sum(axis=1), 1.0)[:, None] ** -np.float32(config.history_exponent)
        base = np.ascontiguousarray((table @ summed.T.astype(np.float32)).T) + items.bias
        base[ages.nonzero()] = -np.inf
        for n, matrix in enumerate(added):
            addition = (ages @ matrix).toarray()
            for user in range(some.start, some.stop):
                wanted = relevant.items_of(user)
                ranks = _ranks(base[user - first] + factors * addition[user - first], wanted, k)
                scale, one = np.nonzero(ranks < k)
                hits[n, scale, user, ranks[scale, one]] = True
    return np.array([[ndcg(one, counts).mean() for one in of_all] for of_all in hits])


def _ranks(scores: NDArray[np.float32], wanted: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    """Return the rank from 0 of some items in each line of scores; equal ones by their number.

    Ranks from ``k`` on are ``k``: few items come so far that their rank has to be counted.
    """
    best = min(k, scores.shape[1])
    worst = np.partition(scores, -best, axis=1)[:, -best, None]
    ranks = np.full((len(scores), wanted.size), k, np.int64)
    for line, place in zip(*np.nonzero(scores[:, wanted] >= worst), strict=True):
        item, row = wanted[place], scores[line]
        before = np.count_nonzero(row[:item] == row[item])
        ranks[line, place] = np.count_nonzero(row > row[item]) + before
    return ranks


def _slice(rows: UserRows, some: slice) -> UserRows:
    """Return the histories of some users, with weights of 1 where there are none."""
    indptr = rows.indptr[some.start : some.stop + 1]
    entries = slice(indptr[0], indptr[-1])
    columns = rows.columns[entries]
    values = rows.values[entries] if rows.values.size else np.ones(columns.size, np.float32)
    return UserRows(indptr - indptr[0], columns, values)
