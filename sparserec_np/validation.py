"""Validation during training: NDCG@20 of the tables as they are, on held-out interactions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparserec_np.errors import InputError
from sparserec_np.evaluation import find_hits, ndcg
from sparserec_np.interactions import Interactions, align, take_users
from sparserec_np.retrieval import Scorer, Vectors, rank_all, top_k
from sparserec_np.runtime import Model
from sparserec_np.trainer import Tables

K = 20
MAX_USERS = 6_000
"""Users that are scored at most, drawn by the seed: enough for the choice of an epoch, and a cost
that does not grow with the data."""


class Validator:
    """NDCG@20 on held-out interactions, by the protocol of :mod:`sparserec_np.evaluation`.

    Args:
        train: What is learned from: the histories, and what is left out of the rankings.
        held: What is to be predicted; users and items that ``train`` lacks are left out.
        exponent: alpha of the history model, or None for the embedding model.
        seed: Draws the users, if there are more than ``MAX_USERS``.

    Raises:
        InputError: No user of ``train`` has an item in ``held``.
    """

    def __init__(
        self, train: Interactions, held: Interactions, exponent: float | None, seed: int
    ) -> None:
        relevant = align(held, train.user_ids, train.item_ids).interactions
        served = (relevant.user_degrees() > 0) & (train.user_degrees() > 0)
        users = np.flatnonzero(served)
        if users.size == 0:
            raise InputError(
                "nothing to validate on: no user of the training data has a known item in the "
                "validation data"
            )
        if users.size > MAX_USERS:
            drawn = np.random.default_rng([seed, users.size])
            users = np.sort(drawn.choice(users, MAX_USERS, replace=False))
        self._exponent = exponent
        self._users = users
        self._known = take_users(train, users)
        self._relevant = take_users(relevant, users)

    def __call__(self, tables: Tables) -> float:
        """Score the tables."""
        return self._score(self._rank(tables))

    def of_file(self, model: Model) -> float:
        """Score a model file of the same users and items: what rounding costs is in it."""
        users = self._users if self._exponent is None else self._known
        return self._score(top_k(model, users, exclude=self._known, k=K)[0])

    def _score(self, ranked: NDArray[np.int32]) -> float:
        hits = find_hits(ranked, self._relevant)
        return float(ndcg(hits, self._relevant.user_degrees()).mean())

    def _rank(self, tables: Tables) -> NDArray[np.int32]:
        items, users, known = tables.items, tables.users, self._known
        history = self._exponent is not None
        scorer = Scorer(
            *items.rows[:3], items.bias, items.weight, self._exponent or 0.0, tables.dim
        )
        if history:
            vectors = Vectors(known.indptr, known.items, np.zeros(0, np.float32))
            rows = np.arange(known.n_users)
        else:
            vectors = Vectors(users.indptr, users.dims.astype(np.int32), users.values)
            rows = self._users
        ranked, _ = rank_all(scorer, vectors, rows, known.indptr, known.items, history=history, k=K)
        return ranked
