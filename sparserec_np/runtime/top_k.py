"""Exact top-k of an array of scores, with NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_GROUP = 8  # in the search for a threshold a maximum stands for so many scores, again and again
_SHORT = 256  # scores that Python sorts: NumPy's sorts are 0.3 MB of code, loaded when first used


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
    best = candidates[descending(scores[candidates])[:k]]
    return best[scores[best] > -np.inf].astype(np.int64, copy=False)


def threshold(scores: npt.NDArray[np.floating], k: int) -> float:
    """Return a lower bound of the k-th largest score: the k-th largest of the maxima of groups."""
    while (groups := len(scores) // _GROUP) > 2 * k:
        scores = scores[: groups * _GROUP].reshape(_GROUP, groups).max(0)
    return float(scores[descending(scores)[k - 1]]) if k < len(scores) else -np.inf


def descending(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Return the indices of the scores by falling score, equal ones by rising index."""
    if len(scores) > _SHORT:
        return np.argsort(-scores, kind="stable")
    falling = (-scores).tolist()
    return np.array(sorted(range(len(falling)), key=falling.__getitem__), dtype=np.intp)
