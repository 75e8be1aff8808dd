"""Exact top-k of an array of scores, with NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_GROUP = 8  # in the search for a threshold a maximum stands for so many scores, squared


def top_k(scores: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int64]:
    """Return the indices of the k largest scores.

    Args:
        scores: float array of shape [n]; -inf marks what is left out.
        k: Number of indices, at least 1.

    Returns:
        int64 array of at most ``k`` indices, by falling score, equal ones by rising index; none is
        of a score of -inf.
    """
    candidates = np.flatnonzero(scores >= threshold(scores, k))
    candidates = candidates[scores[candidates] > -np.inf]
    order = np.argsort(-scores[candidates], kind="stable")[:k]
    return candidates[order].astype(np.int64, copy=False)


def threshold(scores: npt.NDArray[np.floating], k: int) -> float:
    """Return a lower bound of the k-th largest score: the k-th largest of the maxima of groups."""
    while (groups := len(scores) // _GROUP**2) > 2 * k:
        for n in (groups * _GROUP, groups):  # in two steps: few long passes are faster
            scores = scores[: n * _GROUP].reshape(_GROUP, n).max(0)
    if k >= len(scores):
        return -np.inf
    return float(np.partition(scores, len(scores) - k)[-k])
