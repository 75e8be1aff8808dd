"""A Cornac ``Recommender``, for Cornac's ``Experiment`` and ``ranking_eval``.

Cornac defines ``Recall``, ``NDCG`` and ``HitRatio`` as we do. By default it leaves out test items
and users that the training data lacks (we count them with zero); its ``MRR`` has no cut at k, and
training items rated below ``rating_threshold`` stay in the ranking.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.errors import missing_extra
from sparserec_np.estimator import SparseRec

try:
    from cornac.exception import ScoreException
    from cornac.models import Recommender
except ModuleNotFoundError as error:
    raise missing_extra(error.name or "cornac", "cornac", "the adapter to Cornac") from error


class SparseRecRecommender(Recommender):
    """A ``SparseRec`` that Cornac can train and evaluate.

    Args:
        estimator: The estimator to train, ``SparseRec()`` if None. It learns the caller's ids, so
            ``recommender.estimator.save(path)`` writes a file to ship.
        name: Name in Cornac's tables.
        trainable: Train in ``fit``; if False, ``estimator`` is used as it is.
        verbose: Argument of Cornac; nothing is printed here.
    """

    def __init__(
        self,
        estimator: SparseRec | None = None,
        name: str = "SparseRec",
        trainable: bool = True,
        verbose: bool = False,
    ) -> None:
        super().__init__(name=name, trainable=trainable, verbose=verbose)
        self.estimator = SparseRec() if estimator is None else estimator

    def fit(self, train_set: Any, val_set: Any = None) -> SparseRecRecommender:
        """Learn from a ``cornac.data.Dataset``; every rating in it counts as liked.

        Args:
            train_set: Interactions to learn from.
            val_set: Interactions to choose the best epoch by.

        Raises:
            InputError: As :meth:`sparserec_np.SparseRec.fit`.
        """
        super().fit(train_set, val_set)
        if self.trainable:
            valid = None if val_set is None else self._pairs(val_set)
            self.estimator.fit(self._pairs(train_set), valid=valid)
        return self

    def score(self, user_idx: int, item_idx: int | None = None) -> Any:
        """Score the items of the training data for a user.

        Args:
            user_idx: Cornac's number of the user.
            item_idx: Cornac's number of an item, or None for all.

        Returns:
            A float, or a float32 array of shape [num_items].

        Raises:
            ScoreException: The user or the item is not in the training data.
        """
        if self.is_unknown_user(user_idx):
            raise ScoreException(f"user {user_idx} is not in the training data")
        if item_idx is not None and self.is_unknown_item(item_idx):
            raise ScoreException(f"item {item_idx} is not in the training data")
        items, best = self._ranking(user_idx)
        scores = np.empty(self.num_items, np.float32)
        scores[items] = best
        return scores if item_idx is None else float(scores[item_idx])

    def rank(
        self, user_idx: int, item_indices: Any = None, k: int = -1, **kwargs: Any
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rank items as the model file does, equal scores in the order of the ids.

        Args:
            user_idx: Cornac's number of the user.
            item_indices: Cornac's numbers of the items to rank, None for all.
            k: Not used: all items are ranked.
            kwargs: Not used.

        Returns:
            The numbers, best first, with unknown items last; and the scores of ``item_indices``.
        """
        if self.is_unknown_user(user_idx):
            return super().rank(user_idx, item_indices)  # type: ignore[no-any-return]
        items, best = self._ranking(user_idx)
        chosen = np.arange(self.num_items) if item_indices is None else np.asarray(item_indices)
        place, scores = np.full(self.total_items, len(items)), np.full(self.total_items, best[-1])
        place[items], scores[items] = np.arange(len(items)), best
        return chosen[np.argsort(place[chosen], kind="stable")], scores[chosen]

    def _ranking(self, user_idx: int) -> tuple[list[int], NDArray[np.float32]]:
        """Return Cornac's numbers of all training items, best first, and their scores."""
        user = self.user_ids[user_idx]
        ids, scores = self.estimator.recommend(user, k=self.num_items, exclude=[])
        return [self.iid_map[item] for item in ids], scores

    def _pairs(self, data: Any) -> tuple[list[Any], list[Any]]:
        users, items, _ = data.uir_tuple
        return [self.user_ids[u] for u in users], [self.item_ids[i] for i in items]
