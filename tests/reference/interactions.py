"""Interactions made for tests."""

from __future__ import annotations

import numpy as np

from sparserec_np.data import Interactions
from sparserec_np.vocabulary import from_values


def as_interactions(histories: list[list[int]], n_items: int) -> Interactions:
    """Make interactions of users 0, 1, ... with items out of 0 to ``n_items - 1``."""
    return Interactions(
        indptr=np.cumsum([0, *map(len, histories)], dtype=np.int64),
        items=np.array([item for history in histories for item in sorted(history)], np.int32),
        user_ids=from_values(range(len(histories))),
        item_ids=from_values(range(n_items)),
    )


def as_histories(interactions: Interactions) -> list[list[int]]:
    """Undo :func:`as_interactions`."""
    return [part.tolist() for part in np.split(interactions.items, interactions.indptr[1:-1])]


def random_interactions(seed: int, n_users: int, n_items: int, mean: float) -> Interactions:
    """Draw two to ``2 * mean - 2`` items for each user, some items far more popular than others."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(3, n_items + 3)
    popularity /= popularity.sum()
    histories = []
    for _ in range(n_users):
        n = min(n_items, int(rng.integers(2, max(3, int(2 * mean) - 1))))
        histories.append(rng.choice(n_items, n, replace=False, p=popularity).tolist())
    return as_interactions(histories, n_items)


def checkerboard(n_users: int = 80, n_items: int = 30, each: int = 8) -> Interactions:
    """Draw ``each`` even items for even users and odd ones for odd users: two disjoint tastes."""
    rng = np.random.default_rng(5)
    halves = [np.arange(0, n_items, 2), np.arange(1, n_items, 2)]
    return as_interactions(
        [rng.choice(halves[u % 2], each, replace=False).tolist() for u in range(n_users)], n_items
    )
