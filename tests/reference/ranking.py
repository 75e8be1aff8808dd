"""Scores of all items, and rankings by sorting them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k(scores: NDArray[np.floating], exclude: list[int], k: int) -> list[int]:
    """Return the indices of the k largest scores, best first, then -1 for each that is missing.

    Of equal scores the smaller index comes first.
    """
    order = [i for i in np.argsort(-scores, kind="stable").tolist() if i not in set(exclude)][:k]
    return order + [-1] * (k - len(order))


def scores_in_order(
    indptr: NDArray[np.int64],
    dims: NDArray[np.uint16],
    values: NDArray[np.float32],
    bias: NDArray[np.float32],
    vector: NDArray[np.floating],
    scale: float = 1.0,
) -> NDArray[np.floating]:
    """Score all items, ``scale * (vector . v_i) + b_i``, to the last bit.

    Each sum is taken over the dimensions ascending, in the precision of the vector.
    """
    scores = np.zeros(bias.size, vector.dtype)
    rows = np.repeat(np.arange(bias.size), np.diff(indptr))
    np.add.at(scores, rows, values.astype(vector.dtype) * vector[dims])
    return scores * vector.dtype.type(scale) + bias.astype(vector.dtype)


def most_diverse(
    rows: NDArray[np.floating], scores: NDArray[np.floating], k: int, diversity: float
) -> list[int]:
    """Return the places of k items, best first, by maximal marginal relevance.

    Args:
        rows: Dense rows of the items, whose cosines say how alike they are; shape [n, columns].
        scores: Scores of the items, falling, shape [n].
        k: Number of items, at most n.
        diversity: Above 0, at most 1.
    """
    lengths = np.linalg.norm(rows, axis=1)
    products = np.outer(lengths, lengths)
    cosines = np.divide(rows @ rows.T, products, out=np.zeros_like(products), where=products > 0)
    relevance = (scores - scores[-1]) / (scores[0] - scores[-1])
    chosen: list[int] = []
    for _ in range(k):
        closest = cosines[chosen].max(axis=0, initial=0.0)
        value = (1 - diversity) * relevance - diversity * closest
        value[chosen] = -np.inf
        chosen.append(int(np.argmax(value.round(12))))
    return chosen
