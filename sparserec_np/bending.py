"""The power of a history, compiled; :func:`sparserec_np.scoring.bend` does the same with NumPy."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def bend(vector, power):
    """Turn each value of a vector into ``sign(y) |y|^power``, by square roots alone.

    Args:
        vector: float32 or float64 array of shape [dim], changed in place; all is computed in its
            precision.
        power: A multiple of 1/8 above 0, at most 1.
    """
    eighths = round(power * 8)
    if eighths == 8:
        return
    one = vector.dtype.type(1)
    for d in range(vector.size):
        half = np.sqrt(np.abs(vector[d]))
        quarter = np.sqrt(half)
        size = half if eighths & 4 else one
        size *= quarter if eighths & 2 else one
        size *= np.sqrt(quarter) if eighths & 1 else one
        vector[d] = np.copysign(size, vector[d])
