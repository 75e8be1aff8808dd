"""Evaluation of a model file: metrics of its rankings on held-out interactions.

The protocol, which is that of the published figures on Gowalla, MovieLens and others: for each user
who has test items, rank **all** items of the model, leave out those that the user has in the
training data, take the first ``k``, and average over these users. A user that the model cannot
serve counts with zero, and a test item that the model does not know counts in the denominators.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparserec_np.data import Interactions, align, from_any, select_users
from sparserec_np.errors import InputError
from sparserec_np.evaluation.metrics import Counts, average_metrics
from sparserec_np.retrieval.batch_top_k import model_top_k
from sparserec_np.runtime.taste import AS_LEARNED, Taste
from sparserec_np.utils.log import logger

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model

_log = logger(__name__)

_SAMPLE = 10_000  # test interactions that are looked up in the training data
_OVERLAP = 0.01  # share of them that is warned of
_METRICS = ("recall", "ndcg", "hit_rate", "mrr", "coverage")


def evaluate(
    model: Model,
    train: Interactions,
    test: Interactions,
    *,
    k: int = 20,
    taste: Taste = AS_LEARNED,
    threads: int | None = None,
) -> dict[str, Any]:
    """Evaluate a model file by the protocol above.

    Args:
        model: The loaded file: its rounded weights are scored, as they are shipped.
        train: Known interactions: left out of the ranking, and the histories of a history model.
        test: Interactions to be predicted.
        k: Number of ranks that count.
        taste: Wishes for all users, such as ``Taste(popularity=0.5)``.
        threads: Number of threads; None for all cores.

    Returns:
        ``{"k", "recall", "ndcg", "hit_rate", "mrr", "coverage", "users", "model_bytes"}``, and
        under ``"popularity"`` all but the last for the items that most users of ``train`` have.

    Raises:
        InputError: No user has a test item, or ``k`` is below 1.
    """
    ranking = rank_for_test(model, train, test, k=k, taste=taste, threads=threads)
    info = model.info()
    fitted_on = info["facts"].get("interactions")
    if isinstance(fitted_on, int) and fitted_on >= train.nnz + test.nnz / 2:
        _log.warning(
            "the model was fitted on %s interactions, and the training data has %s: if the test "
            "interactions were among them, the metrics are too good",
            f"{fitted_on:,}",
            f"{train.nnz:,}",
        )
    popularity = align(train, None, model.item_ids).interactions.item_degrees()
    return {
        **ranking.metrics(),
        "k": k,
        "model_bytes": info["bytes"],
        "popularity": {**ranking.of_the_popular(popularity).metrics(), "k": k},
    }


class Ranking(NamedTuple):
    """Rankings for users with test items; items are numbered as in the model.

    Attributes:
        ranked: Item numbers, best first, -1 where there is none; int32 array of shape
            [n_users, min(k, n_items)].
        known: Training items of the same users, left out of their rankings.
        relevant: The test items that the model knows.
        n_relevant: Number of test items of each user, unknown ones included; int64 array of shape
            [n_users].
        unserved_users: Number of users with test items that have no row, because the model does not
            know them.
    """

    ranked: npt.NDArray[np.int32]
    known: Interactions
    relevant: Interactions
    n_relevant: Counts
    unserved_users: int

    def metrics(self) -> dict[str, Any]:
        """Average the metrics, as :func:`sparserec_np.evaluation.metrics.average_metrics` does."""
        return average_metrics(
            self.ranked, self.relevant, self.n_relevant, unserved_users=self.unserved_users
        )

    def of_the_popular(self, popularity: Counts) -> Ranking:
        """Rank by popularity for the same users, the baseline of any model.

        Args:
            popularity: Number of users of each item, int64 array of shape [n_items].
        """
        users = np.flatnonzero(self.n_relevant)
        ranked = np.full_like(self.ranked, -1)
        known = select_users(self.known, users)
        ranked[users] = rank_by_popularity(known, ranked.shape[1], popularity)
        return self._replace(ranked=ranked)


def rank_for_test(
    model: Model,
    train: Interactions,
    test: Interactions,
    *,
    k: int,
    taste: Taste = AS_LEARNED,
    threads: int | None = None,
) -> Ranking:
    """Rank all items for each user with test items; arguments and errors as :func:`evaluate`."""
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    k = min(k, len(model.item_ids))
    wanted = align(test, model.user_ids, model.item_ids, ("the test data", "the model"))
    relevant = wanted.interactions
    own = "the test data" if model.user_ids is None else "the model"
    aligned = align(train, relevant.user_ids, model.item_ids, ("the training data", own))
    known = aligned.interactions
    _warn_if_known(relevant, known)
    n_relevant = relevant.user_degrees() + wanted.unknown_items
    users = np.flatnonzero(n_relevant)
    unserved = int(np.count_nonzero(test.user_degrees())) - len(users)
    ranked = np.full((relevant.n_users, k), -1, dtype=np.int32)
    ranked[users], _ = rank(model, known, users, k=k, taste=taste, threads=threads)
    without = unserved + int(np.count_nonzero(ranked[users, 0] < 0))
    if without:
        _log.warning(
            "%s of %s users count with zero: the model does not know them, or none of their items",
            f"{without:,}",
            f"{len(users) + unserved:,}",
        )
    return Ranking(ranked, known, relevant, n_relevant, unserved)


def _warn_if_known(relevant: Interactions, known: Interactions) -> None:
    """Warn if what is to be predicted is known already, and so left out of the rankings."""
    some = slice(0, _SAMPLE)
    users = relevant.user_of_entry()[some].astype(np.int64)
    if not users.size:
        return
    wanted = users * relevant.n_items + relevant.items[some]
    there = slice(0, known.indptr[users[-1] + 1])
    seen = known.user_of_entry()[there].astype(np.int64) * known.n_items + known.items[there]
    share = float(np.isin(wanted, seen).mean())
    if share > _OVERLAP:
        _log.warning(
            "%.0f %% of the test interactions are in the training data as well, and so left out of "
            "the rankings: the metrics say %s; sparserec-np split makes parts that share nothing",
            100 * share,
            "nothing" if share > 0.5 else "too little",
        )


def ranking_scorer(metric: str = "ndcg", *, k: int = 20) -> Callable[..., float]:
    """Make a scorer for scikit-learn's searches: ``GridSearchCV(..., scoring=ranking_scorer())``.

    Args:
        metric: ``"recall"``, ``"ndcg"``, ``"hit_rate"``, ``"mrr"`` or ``"coverage"``.
        k: Number of ranks that count.

    Returns:
        ``scorer(estimator, X, y=None) -> float``, which can be pickled: the metric of a fitted
        :class:`sparserec_np.SparseRec` on the interactions ``X``, by the protocol above. Rankings
        leave out the interactions of the fit, so the score on these is 0.

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
    model, threads = estimator.model_, estimator.threads
    ranking = rank_for_test(model, learned, from_any(X), k=k, threads=threads)
    return float(ranking.metrics()[metric])


def rank(
    model: Model,
    known: Interactions,
    users: npt.NDArray[np.int64],
    *,
    k: int,
    taste: Taste = AS_LEARNED,
    threads: int | None = None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Rank all items for many users, without their known items.

    Args:
        model: The loaded file.
        known: Interactions of the users, in the model's numbering of items and, for an embedding
            model, of users.
        users: Rows of ``known`` to rank for, int64 array of shape [n].
        k: Number of items for each user.
        taste: Wishes for all of them.
        threads: Number of threads; None for all cores.

    Returns:
        Item numbers, int32 array of shape [n, k], best first, and their scores, float32 array of
        the same shape. Numbers are -1 where no item is left, and in the whole row of a user without
        a history, whom a history model cannot serve.
    """
    mine = select_users(known, users)
    if model.users == "embedding":
        return model_top_k(model, users, exclude=mine, k=k, taste=taste, threads=threads)
    items, scores = model_top_k(model, mine, exclude=mine, k=k, taste=taste, threads=threads)
    items[mine.user_degrees() == 0] = -1
    return items, scores


def rank_by_popularity(
    train: Interactions, k: int, popularity: Counts | None = None
) -> npt.NDArray[np.int32]:
    """Rank the items by their number of users: the baseline that any model has to beat.

    Args:
        train: Interactions of the users; their own items are left out.
        k: Number of items for each user.
        popularity: Number of users of each item, int64 array of shape [n_items]; None: those of
            ``train``.

    Returns:
        Item numbers, int32 array of shape [n_users, k], most popular first (of equally popular ones
        the smaller number), -1 where a user has nearly all items.
    """
    popularity = train.item_degrees() if popularity is None else popularity
    order = np.argsort(-popularity, kind="stable").astype(np.int32)
    ranked = np.full((train.n_users, k), -1, dtype=np.int32)
    for row, start, stop in zip(ranked, train.indptr[:-1], train.indptr[1:], strict=True):
        best = order[: k + stop - start]
        left = best[~np.isin(best, train.items[start:stop])][:k]
        row[: len(left)] = left
    return ranked
