"""Rankings by sorting all scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k(scores: NDArray[np.floating], exclude: list[int], k: int) -> list[int]:
    """Return the indices of the k largest scores, best first, then -1 for each that is missing.

    Of equal scores the smaller index comes first.
    """
    order = [i for i in np.argsort(-scores, kind="stable").tolist() if i not in set(exclude)][:k]
    return order + [-1] * (k - len(order))
