"""Ranking metrics: recall, NDCG, hit rate, MRR and coverage of the first k ranks.

They take ``hits``, a bool array of shape [n_users, k]: whether the item at each rank, best first,
is one of the user's test items, and False where no item was recommended. All but coverage return
one value for each user, a float64 array of shape [n_users].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sparserec_np.data import Interactions
from sparserec_np.errors import InputError

Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
PerUser = npt.NDArray[np.float64]


def recall(hits: Hits, n_relevant: Counts) -> PerUser:
    """Recall@k: hits in the first k, divided by the number of the user's test items.

    The denominator is the number of test items even where it exceeds k.

    >>> recall(np.array([[True, False, True]]), np.array([4]))
    array([0.5])
    """
    share: PerUser = hits.sum(axis=1) / n_relevant
    return share


def ndcg(hits: Hits, n_relevant: Counts) -> PerUser:
    """NDCG@k with binary gains: DCG = sum over the ranks r of the hits of 1 / log2(r + 1).

    The denominator is the DCG of the best ranking, one with min(k, number of test items) hits at
    the top.

    >>> ndcg(np.array([[False, True, False]]), np.array([1])).round(4)
    array([0.6309])
    """
    discount = 1.0 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.concatenate(([0.0], np.cumsum(discount)))
    best: PerUser = ideal[np.minimum(n_relevant, hits.shape[1])]
    gain: PerUser = (hits * discount).sum(axis=1)
    return gain / best


def hit_rate(hits: Hits) -> PerUser:
    """Hit rate@k: 1 for a user with at least one hit in the first k, else 0.

    >>> hit_rate(np.array([[False, True, True], [False, False, False]]))
    array([1., 0.])
    """
    return np.asarray(hits.any(axis=1), dtype=np.float64)


def mrr(hits: Hits) -> PerUser:
    """Reciprocal rank@k: 1 / rank of the first hit, 0 for a user without a hit in the first k.

    >>> mrr(np.array([[False, True, True], [False, False, False]]))
    array([0.5, 0. ])
    """
    first: PerUser = hits.argmax(axis=1) + 1.0
    return hit_rate(hits) / first


def coverage(ranked: npt.NDArray[np.int32], n_items: int) -> float:
    """Return the share of the catalogue that is in the first k of at least one user.

    Args:
        ranked: Item numbers, int32 array of shape [n_users, k], -1 where no item was recommended.
        n_items: Number of items that could be recommended; the denominator.

    >>> coverage(np.array([[0, 1], [1, -1]], dtype=np.int32), 4)
    0.5
    """
    return float(np.unique(ranked[ranked >= 0]).size / n_items)


def find_hits(ranked: npt.NDArray[np.int32], relevant: Interactions) -> Hits:
    """Mark the recommended items that are test items.

    Args:
        ranked: Item numbers, int32 array of shape [n_users, k], -1 where no item was recommended.
        relevant: The test items of the same users, in the same numbering of items.

    Returns:
        Bool array of shape [n_users, k].
    """
    # One sorted int64 key a (user, item) pair; padding gets the key -1, which no pair has.
    stride = relevant.n_items
    users = np.arange(relevant.n_users, dtype=np.int64)[:, None]
    wanted = np.where(ranked < 0, -1, users * stride + ranked)
    existing = np.repeat(users[:, 0], relevant.user_degrees()) * stride + relevant.items
    if existing.size == 0:
        return np.zeros(ranked.shape, dtype=np.bool_)
    place = np.minimum(np.searchsorted(existing, wanted), existing.size - 1)
    return np.asarray(existing[place] == wanted)


def average_metrics(
    ranked: npt.NDArray[np.int32],
    relevant: Interactions,
    n_relevant: Counts,
    *,
    unserved_users: int = 0,
) -> dict[str, Any]:
    """Average all metrics over the users who have test items.

    Args:
        ranked: Item numbers, int32 array of shape [n_users, k], best first, -1 where no item was
            recommended.
        relevant: The test items of the same users, in the same numbering of items.
        n_relevant: Number of test items of each user, int64 array of shape [n_users]; those count
            that the numbering does not know. Users with none are left out.
        unserved_users: Number of users with test items beyond these rows, for whom there is no
            ranking; they count with zero.

    Returns:
        ``{"k", "recall", "ndcg", "hit_rate", "mrr", "coverage", "users"}``.

    Raises:
        InputError: No user has a test item.
    """
    counted = n_relevant > 0
    users = int(counted.sum()) + unserved_users
    if users == 0:
        raise InputError("nothing to evaluate: no user has an item in the test data")
    hits, n_relevant = find_hits(ranked, relevant)[counted], n_relevant[counted]
    return {
        "k": ranked.shape[1],
        "recall": float(recall(hits, n_relevant).sum() / users),
        "ndcg": float(ndcg(hits, n_relevant).sum() / users),
        "hit_rate": float(hit_rate(hits).sum() / users),
        "mrr": float(mrr(hits).sum() / users),
        "coverage": coverage(ranked[counted], relevant.n_items),
        "users": users,
    }
