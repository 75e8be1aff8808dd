"""How good is a model file: recall, NDCG, hit rate, MRR and coverage of its rankings.

The protocol, which is that of the published figures on Gowalla, MovieLens and others: for each user
who has test items, rank **all** items of the model, leave out those that the user has in the
training data, take the first ``k``, and average over these users. A user that the model cannot
serve counts with zero, and a test item that the model does not know counts in the denominators.

The metrics take ``hits``, bool[n_users, k]: whether the item at each rank, best first, is one of
the user's test items; a place where no item was recommended is False. They return one value a user.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparserec_np.data import Interactions, align, from_any, select_users
from sparserec_np.errors import InputError
from sparserec_np.retrieval.batch_top_k import model_top_k
from sparserec_np.utils.log import logger

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model

_log = logger(__name__)

Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
PerUser = npt.NDArray[np.float64]

_METRICS = ("recall", "ndcg", "hit_rate", "mrr", "coverage")


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
    ranked: npt.NDArray[np.int32],
    relevant: Interactions,
    n_relevant: Counts,
    *,
    unserved_users: int = 0,
) -> dict[str, Any]:
    """Average all metrics over the users who have test items.

    Args:
        ranked: Item numbers, int32[n_users, k], best first, -1 where no item was recommended.
        relevant: The test items of the same users, in the same numbering of items.
        n_relevant: int64[n_users]: number of test items of each user, those included that the
            numbering does not know. Users with none are left out.
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


def evaluate(
    model: Model,
    train: Interactions,
    test: Interactions,
    *,
    k: int = 20,
    threads: int | None = None,
) -> dict[str, Any]:
    """Score a model file by the protocol above.

    Args:
        model: The loaded file: what is shipped is what is scored.
        train: What is known of the users: left out of the ranking, and the histories of a history
            model.
        test: What is to be predicted.
        k: Number of ranks that count.
        threads: Number of threads; None for all cores.

    Returns:
        ``{"k", "recall", "ndcg", "hit_rate", "mrr", "coverage", "users", "model_bytes"}``.

    Raises:
        InputError: No user has a test item, or ``k`` is below 1.
    """
    ranking = rank_for_test(model, train, test, k=k, threads=threads)
    metrics = score(
        ranking.ranked,
        ranking.relevant,
        ranking.n_relevant,
        unserved_users=ranking.unserved_users,
    )
    return {**metrics, "model_bytes": model.info()["bytes"]}


class Ranking(NamedTuple):
    """Rankings to be scored: a row for each user of ``relevant``, items numbered as the model's."""

    ranked: npt.NDArray[np.int32]
    """Item numbers, int32[n_users, k], best first, -1 where no item was recommended."""
    known: Interactions
    """What the users have, left out of their rankings."""
    relevant: Interactions
    """The test items that the model knows."""
    n_relevant: Counts
    """Number of test items of each user, unknown ones included; int64[n_users]."""
    unserved_users: int
    """Number of users with test items that have no row, because the model does not know them."""


def rank_for_test(
    model: Model,
    train: Interactions,
    test: Interactions,
    *,
    k: int,
    threads: int | None = None,
) -> Ranking:
    """Rank all items for each user with test items; arguments and errors as :func:`evaluate`."""
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    wanted = align(test, model.user_ids, model.item_ids)
    relevant = wanted.interactions
    known = align(train, relevant.user_ids, model.item_ids).interactions
    n_relevant = relevant.user_degrees() + wanted.unknown_items
    users = np.flatnonzero(n_relevant)
    unserved = int(np.count_nonzero(test.user_degrees())) - len(users)
    ranked = np.full((relevant.n_users, k), -1, dtype=np.int32)
    ranked[users], _ = rank(model, known, users, k=k, threads=threads)
    without = unserved + int(np.count_nonzero(ranked[users, 0] < 0))
    if without:
        _log.warning(
            "%s of %s users count with zero: the model does not know them, or none of their items",
            f"{without:,}",
            f"{len(users) + unserved:,}",
        )
    return Ranking(ranked, known, relevant, n_relevant, unserved)


def ranking_scorer(metric: str = "ndcg", *, k: int = 20) -> Callable[..., float]:
    """Make a scorer for scikit-learn's searches: ``GridSearchCV(..., scoring=ranking_scorer())``.

    Args:
        metric: ``"recall"``, ``"ndcg"``, ``"hit_rate"``, ``"mrr"`` or ``"coverage"``.
        k: Number of ranks that count.

    Returns:
        ``scorer(estimator, X, y=None) -> float``, which can be pickled: the metric of a fitted
        :class:`sparserec_np.SparseRec` on the interactions ``X``, by the protocol above. What the
        estimator learned from is left out of the rankings, so a score on that itself is 0.

    Raises:
        InputError: There is no such metric, or ``k`` is below 1.
    """
    if metric not in _METRICS:
        raise InputError(f"there is no metric {metric!r}: choose from {', '.join(_METRICS)}")
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    return partial(_score_estimator, metric=metric, k=k)


def _score_estimator(estimator: Any, X: Any, y: Any = None, *, metric: str, k: int) -> float:
    if not hasattr(estimator, "model_"):
        raise InputError("only a fitted SparseRec has a score: call fit first")
    learned = estimator.interactions_
    scores = evaluate(estimator.model_, learned, from_any(X), k=k, threads=estimator.threads)
    return float(scores[metric])


def rank(
    model: Model,
    known: Interactions,
    users: npt.NDArray[np.int64],
    *,
    k: int,
    threads: int | None = None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Rank all items for many users, without those that they have.

    Args:
        model: The loaded file.
        known: What the users have, in the model's numbering of items and, for an embedding model,
            of users.
        users: int64[n]: which rows of ``known`` to rank for.
        k: Number of items a user.
        threads: Number of threads; None for all cores.

    Returns:
        Item numbers, int32[n, k], best first, and their scores, float32[n, k]. Numbers are -1 where
        no item is left, and all along the row of a user whom a history model cannot serve because
        nothing is known of them.
    """
    mine = select_users(known, users)
    if model.users == "embedding":
        return model_top_k(model, users, exclude=mine, k=k, threads=threads)
    items, scores = model_top_k(model, mine, exclude=mine, k=k, threads=threads)
    items[mine.user_degrees() == 0] = -1
    return items, scores


def rank_by_popularity(
    train: Interactions, k: int, popularity: Counts | None = None
) -> npt.NDArray[np.int32]:
    """Rank the items by their number of users: the baseline that any model has to beat.

    Args:
        train: What is known of the users; their own items are left out.
        k: Number of items a user.
        popularity: Number of users of each item, int64[n_items]; None: those of ``train``.

    Returns:
        Item numbers, int32[n_users, k], most popular first (of equally popular ones the smaller
        number), -1 where a user has nearly all items.
    """
    popularity = train.item_degrees() if popularity is None else popularity
    order = np.argsort(-popularity, kind="stable").astype(np.int32)
    ranked = np.full((train.n_users, k), -1, dtype=np.int32)
    for row, start, stop in zip(ranked, train.indptr[:-1], train.indptr[1:], strict=True):
        best = order[: k + stop - start]
        left = best[~np.isin(best, train.items[start:stop])][:k]
        row[: len(left)] = left
    return ranked
