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
