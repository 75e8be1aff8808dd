"""Rows of items from their features: a regression, and the mean of the nearest known items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix, hstack, vstack

ROWS_AT_A_TIME = 256
"""Rows that are dense at a time."""

PENALTY = 5.0
"""Penalty of the ridge regression."""

NEAREST = 60
"""Number of nearest items."""

POWER = 3
"""Power of the cosines that weigh them."""

SHRINKAGE = 0.5
"""Factor of predicted scores beyond what brings them nearest to scores by own rows: what is only
predicted gives way to what is known."""

HELD_OUT = 0.2
"""Share of the known items that are held out to see how well predicted rows find them."""

BEST = 0.1
"""Share of the held-out items that are to be found, those with the highest scores."""

_MOST_HELD = 4096


class Targets(NamedTuple):
    """Rows, biases and popularity of items, known or predicted."""

    rows: csr_matrix
    """Rows, float32 of shape [m, dim]."""
    bias: NDArray[np.float32]
    """Biases, of shape [m]."""
    popularity: NDArray[np.float32]
    """Logarithm of 1 + the weights and neighbours that the model spends on an item, of shape [m]:
    the more users had it, the more these are."""

    def take(self, items: NDArray[np.int64]) -> Targets:
        """Return those of some items."""
        return Targets(self.rows[items], self.bias[items], self.popularity[items])


class Quality(NamedTuple):
    """Success of predicted rows on known items that are held out."""

    found: float
    """Of the tenth of them that suits a user best by their own rows, the share that is in the best
    tenth by predicted ones, too."""
    by_chance: float
    """The share that chance finds."""
    scale: float
    """Factor of the norms of predicted rows."""


def measure(
    features: csr_matrix,
    targets: Targets,
    width: int,
    users: Callable[[NDArray[np.int64]], NDArray[Any]],
    generator: np.random.Generator,
) -> Quality:
    """Predict a fifth of the known items from the others, and see who finds them.

    Args:
        features: Features of the known items, of shape [m, p], m at least 2.
        targets: What is known of them.
        width: Weights of a predicted row.
        users: Returns vectors of users, of shape [u, dim], who know of no items but the given ones.
        generator: Draws the held-out items.
    """
    order = generator.permutation(len(targets.bias))
    n_held = min(max(round(HELD_OUT * len(order)), 1), _MOST_HELD)
    held, kept = order[:n_held], order[n_held:]
    k = max(round(BEST * n_held), 1)
    vectors = users(np.sort(kept))
    near = nearest_items(features[held], features[kept])
    predicted = predict(features[kept], targets.take(kept), features[held], near, width, 1.0)
    own, ours = (rows @ vectors.T for rows in (targets.rows[held], predicted.rows))
    scale = SHRINKAGE * max(float((own * ours).sum() / ((ours * ours).sum() or 1.0)), 0.0)
    predicted = predicted._replace(rows=predicted.rows * np.float32(scale))
    both = (best_items(vectors, items, k) for items in (targets.take(held), predicted))
    hits = [len(np.intersect1d(*pair)) for pair in zip(*both, strict=True)]
    return Quality(float(np.mean(hits)) / k, k / n_held, scale)


def predict(
    known: csr_matrix,
    targets: Targets,
    features: csr_matrix,
    near: csr_matrix,
    width: int,
    scale: float,
) -> Targets:
    """Predict sparse rows, biases and popularity, some items at a time.

    The direction of a row is the mean of two: that of a ridge regression, and that of the mean of
    the nearest items. Its norm goes with the predicted popularity. Memory is ``O(p^2 + p * dim)``.

    Args:
        known: Features of the known items, of shape [m, p].
        targets: What is known of them.
        features: Features of n items.
        near: Their nearest items, as :func:`nearest_items` returns them.
        width: Weights of a row, at most: the largest ones are kept.
        scale: Norm of a row whose predicted popularity is 0.
    """
    from sklearn.preprocessing import normalize

    wide = known.astype(np.float64)
    gram = (wide.T @ wide).toarray()
    gram[np.diag_indices_from(gram)] += PENALTY
    factor = cho_factor(gram, lower=True, overwrite_a=True)
    numbers = np.column_stack((targets.bias, targets.popularity)).astype(np.float64)
    means = numbers.mean(axis=0)
    sums = hstack((wide.T @ targets.rows, csr_matrix(wide.T @ (numbers - means)))).T.tocsr()

    parts, others = [], [np.zeros((0, 2))]
    for first in range(0, features.shape[0], ROWS_AT_A_TIME):
        some = slice(first, first + ROWS_AT_A_TIME)
        found = (sums @ cho_solve(factor, features[some].astype(np.float64).T.toarray())).T
        others.append(found[:, -2:] + means)
        rows = normalize(csr_matrix(found[:, :-2])) + normalize(near[some] @ targets.rows)
        rows = normalize(largest(rows, width)).multiply(scale * np.exp(others[-1][:, 1:]))
        parts.append(rows.astype(np.float32))
    bias, popularity = np.concatenate(others).astype(np.float32).T
    return Targets(vstack(parts, format="csr"), bias, popularity)


def largest(rows: csr_matrix, width: int | NDArray[np.int64]) -> csr_matrix:
    """Keep the ``width`` largest entries of each sparse row, of equal ones the first.

    Args:
        rows: Rows, of shape [r, n].
        width: Entries to keep, of all rows or of each, of shape [r].
    """
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort((rows.indices, -np.abs(rows.data), owners))
    rank = np.arange(len(order)) - rows.indptr[owners]
    keep = order[rank < np.broadcast_to(width, rows.shape[0])[owners]]
    return csr_matrix((rows.data[keep], (owners[keep], rows.indices[keep])), rows.shape)


def nearest_items(features: csr_matrix, known: csr_matrix) -> csr_matrix:
    """Weigh the nearest known items of each item by a power of the cosine; a row sums to 1.

    The last column, which is 1 everywhere, does not count.

    Returns:
        float32 matrix of shape [r, m].
    """
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=min(NEAREST, known.shape[0]), metric="cosine")
    distances, items = index.fit(known[:, :-1]).kneighbors(features[:, :-1])
    weights = np.maximum(1.0 - distances, 1e-6) ** POWER
    weights /= weights.sum(axis=1, keepdims=True)
    indptr = np.arange(len(items) + 1) * items.shape[1]
    shape = (features.shape[0], known.shape[0])
    return csr_matrix((weights.astype(np.float32).ravel(), items.ravel(), indptr), shape)


def best_items(users: NDArray[Any], items: Targets, k: int) -> NDArray[np.int64]:
    """Return the k items of the highest scores for each user, in any order; int64 [users, k]."""
    scores = (items.rows @ users.T).T + items.bias
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
