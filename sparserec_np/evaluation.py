"""How good is a model file: recall, NDCG, hit rate, MRR and coverage of its rankings.

The protocol, which is that of the published figures on Gowalla, MovieLens and others: for each user
who has test items, rank **all** items of the model, leave out those that the user has in the
training data, take the first ``k``, and average over these users. A user that the model cannot
serve counts with zero, and a test item that the model does not know counts in the denominators.

The metrics take ``hits``, bool[n_users, k]: whether the item at each rank, best first, is one of
the user's test items; a place where no item was recommended is False. They return one value a user.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparserec_np.errors import InputError
from sparserec_np.interactions import Interactions

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)

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
    """Share of the catalogue that stands in the first k of at least one user.

    Args:
        ranked: Item numbers, int32[n_users, k], -1 where no item was recommended.
        n_items: Number of items that could be recommended; the denominator.

    >>> coverage(np.array([[0, 1], [1, -1]], dtype=np.int32), 4)
    0.5
    """
    return float(np.unique(ranked[ranked >= 0]).size / n_items)


def find_hits(ranked: npt.NDArray[np.int32], relevant: Interactions) -> Hits:
    """Mark the recommended items that are test items.

    Args:
        ranked: Item numbers, int32[n_users, k], -1 where no item was recommended.
        relevant: The test items of the same users, in the same numbering of items.

    Returns:
        bool[n_users, k].
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


def score(
    ranked: npt.NDArray[np.int32], relevant: Interactions, n_relevant: Counts
) -> dict[str, Any]:
    """Average all metrics over the users who have test items.

    Args:
        ranked: Item numbers, int32[n_users, k], best first, -1 where no item was recommended.
        relevant: The test items of the same users, in the same numbering of items.
        n_relevant: int64[n_users]: number of test items of each user, those included that the
            numbering does not know. Users with none are left out.

    Returns:
        ``{"k", "recall", "ndcg", "hit_rate", "mrr", "coverage", "users"}``.

    Raises:
        InputError: No user has a test item.
    """
    counted = n_relevant > 0
    if not counted.any():
        raise InputError("nothing to evaluate: no user has an item in the test data")
    hits, n_relevant = find_hits(ranked, relevant)[counted], n_relevant[counted]
    return {
        "k": ranked.shape[1],
        "recall": float(recall(hits, n_relevant).mean()),
        "ndcg": float(ndcg(hits, n_relevant).mean()),
        "hit_rate": float(hit_rate(hits).mean()),
        "mrr": float(mrr(hits).mean()),
        "coverage": coverage(ranked[counted], relevant.n_items),
        "users": int(counted.sum()),
    }


def rank_by_popularity(train: Interactions, k: int) -> npt.NDArray[np.int32]:
    """Rank the items by their number of users: the baseline that any model has to beat.

    Args:
        train: What is known of the users; their own items are left out.
        k: Number of items a user.

    Returns:
        Item numbers, int32[n_users, k], most popular first (of equally popular ones the smaller
        number), -1 where a user has nearly all items.
    """
    order = np.argsort(-train.item_degrees(), kind="stable").astype(np.int32)
    ranked = np.full((train.n_users, k), -1, dtype=np.int32)
    for row, start, stop in zip(ranked, train.indptr[:-1], train.indptr[1:], strict=True):
        best = order[: k + stop - start]
        left = best[~np.isin(best, train.items[start:stop])][:k]
        row[: len(left)] = left
    return ranked
