"""Regression from features to rows and biases, chosen on known items that are held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix, vstack

ROWS_AT_A_TIME = 256
"""Rows that are dense at a time."""

PENALTY = 100.0
"""Penalty of the ridge regression. Lighter ones come nearer to the rows of held-out items, and find
fewer of them for real users."""

NEAREST = 60
"""Number of nearest items."""

HELD_OUT = 0.2
"""Share of the known items that the choice is made on."""

BEST = 0.1
"""Share of the held-out items that are to be found, those with the highest scores."""

_MOST_HELD = 4096


class Targets(NamedTuple):
    """Rows and biases of items: known ones, or predicted ones."""

    rows: csr_matrix
    """Rows, float32 of shape [m, dim]."""
    bias: NDArray[np.float32]
    """Biases, of shape [m]."""

    def take(self, items: NDArray[np.int64]) -> Targets:
        """Return those of some items."""
        return Targets(self.rows[items], self.bias[items])


Predictor = Callable[[csr_matrix], tuple[NDArray[Any], NDArray[Any]]]
"""Turns features of some items into rows, dense of shape [r, dim], and biases, of shape [r]."""


Method = Callable[[csr_matrix, Targets], Predictor]
"""Learns from features and targets of known items."""


class Choice(NamedTuple):
    """The method that does best on held-out items."""

    method: str
    """``"ridge regression"`` or ``"nearest items"``."""
    found: float
    """Of the tenth of the held-out items that suit a user best by their own rows, the share that
    is in the best tenth by predicted ones, too."""
    by_chance: float
    """The share that chance finds."""


def choose(
    features: csr_matrix,
    targets: Targets,
    width: int,
    users: Callable[[NDArray[np.int64]], NDArray[Any]],
    generator: np.random.Generator,
) -> Choice:
    """Choose a method on a fifth of the known items, whose rows are predicted from the others'.

    Args:
        features: Features of the known items, of shape [m, p], m at least 2.
        targets: Their rows and biases.
        width: Weights of a predicted row.
        users: Returns vectors of users, of shape [u, dim], who know of no items but the given ones.
        generator: Draws the held-out items.
    """
    order = generator.permutation(len(targets.bias))
    n_held = min(max(round(HELD_OUT * len(order)), 1), _MOST_HELD)
    held, kept = order[:n_held], order[n_held:]
    k = max(round(BEST * n_held), 1)
    vectors = users(np.sort(kept))
    best = best_items(vectors, targets.take(held), k)
    learned = features[kept], targets.take(kept)

    choices = []
    for name, method in METHODS.items():
        predicted = predict(method(*learned), features[held], width, row_norm(targets))
        ours = best_items(vectors, predicted, k)
        hits = sum(len(np.intersect1d(a, b)) for a, b in zip(best, ours, strict=True))
        choices.append(Choice(name, hits / best.size, k / n_held))
    return max(choices, key=lambda choice: choice.found)


def row_norm(targets: Targets) -> float:
    """Return the mean norm of the rows."""
    return float(np.sqrt(targets.rows.multiply(targets.rows).sum(axis=1)).mean())


def predict(predictor: Predictor, features: csr_matrix, width: int, norm: float) -> Targets:
    """Predict sparse rows and biases, some at a time.

    Predicted rows are the shorter the less features tell. Half of that is made up for: their norm
    becomes its geometric mean with that of learned rows.

    Args:
        predictor: As a :data:`Method` returns it.
        features: Features of n items.
        width: Weights of a row, at most: the largest ones are kept.
        norm: Mean norm of learned rows.
    """
    parts, biases = [], [np.zeros(0)]
    for first in range(0, features.shape[0], ROWS_AT_A_TIME):
        rows, bias = predictor(features[first : first + ROWS_AT_A_TIME])
        parts.append(_largest(rows, width, norm))
        biases.append(bias)
    return Targets(vstack(parts, format="csr"), np.concatenate(biases).astype(np.float32))


def _largest(rows: NDArray[Any], width: int, norm: float) -> csr_matrix:
    """Keep the ``width`` largest entries of each dense row, of equal ones the first, and scale."""
    width = min(width, rows.shape[1])
    places = np.sort(np.argsort(-np.abs(rows), axis=1, kind="stable")[:, :width], axis=1)
    values = np.take_along_axis(rows, places, axis=1)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    values = values * np.sqrt(norm / np.where(norms > 0, norms, 1))
    indptr = np.arange(len(rows) + 1) * width
    found = csr_matrix((values.astype(np.float32).ravel(), places.ravel(), indptr), rows.shape)
    found.eliminate_zeros()
    return found


def nearest_items(features: csr_matrix, known: csr_matrix, n: int) -> csr_matrix:
    """Weigh the n nearest known items of each item by cosine; a row sums to 1.

    Returns:
        float32 matrix of shape [r, m].
    """
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=min(n, known.shape[0]), metric="cosine").fit(known)
    distances, items = index.kneighbors(features)
    weights = np.maximum(1 - distances, 1e-6)
    weights /= weights.sum(axis=1, keepdims=True)
    indptr = np.arange(len(items) + 1) * items.shape[1]
    shape = (features.shape[0], known.shape[0])
    return csr_matrix((weights.astype(np.float32).ravel(), items.ravel(), indptr), shape)


def _ridge(features: csr_matrix, targets: Targets) -> Predictor:
    """Regress rows and biases on features; memory is ``O(p^2 + p * weights of a row)``."""
    wide = features.astype(np.float64)
    gram = (wide.T @ wide).toarray()
    gram[np.diag_indices_from(gram)] += PENALTY
    factor = cho_factor(gram, lower=True, overwrite_a=True)
    mean = float(targets.bias.mean())
    sums = (wide.T @ targets.rows).tocsr()
    bias = cho_solve(factor, wide.T @ (targets.bias - mean))

    def predictor(some: csr_matrix) -> tuple[NDArray[Any], NDArray[Any]]:
        solved = cho_solve(factor, some.astype(np.float64).T.toarray())
        return (sums.T @ solved).T, some @ bias + mean

    return predictor


def _nearest(features: csr_matrix, targets: Targets) -> Predictor:
    """Average the rows and biases of the nearest items, weighted by cosine."""

    def predictor(some: csr_matrix) -> tuple[NDArray[Any], NDArray[Any]]:
        weights = nearest_items(some, features, NEAREST)
        return (weights @ targets.rows).toarray(), weights @ targets.bias

    return predictor


METHODS: dict[str, Method] = {"ridge regression": _ridge, "nearest items": _nearest}
"""Methods to choose from, by name."""


def best_items(users: NDArray[Any], items: Targets, k: int) -> NDArray[np.int64]:
    """Return the k items of the highest scores for each user, in any order; int64 [users, k]."""
    scores = (items.rows @ users.T).T + items.bias
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
