"""The mask that training starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def starting_entries(factor: NDArray[np.float32], budget: int) -> NDArray[np.bool_]:
    """Choose the entries of a factor, shape [n, width], that the starting mask keeps."""
    chosen = np.zeros(factor.shape, bool)
    some = (factor > 0).any(axis=1)
    chosen[some, factor[some].argmax(axis=1)] = True
    rest = np.flatnonzero((factor > 0) & ~chosen)
    order = rest[np.argsort(-factor.flat[rest], kind="stable")]
    chosen.flat[order[: budget - len(factor)]] = True
    return chosen


def level_up(lengths: NDArray[np.int64], dim: int, budget: int) -> NDArray[np.int64]:
    """Lengthen the shortest rows, the first ones first, to ``budget`` in all."""
    lengths = lengths.copy()
    for _ in range(budget - lengths.sum()):
        lengths[np.argmin(np.where(lengths < dim, lengths, dim + 1))] += 1
    return lengths
