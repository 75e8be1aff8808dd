"""The signed power of a summed history, compiled; its derivative for the training.

The same square roots and products as in :mod:`sparserec_np.runtime.signed_power`, so the same bits.
"""

from __future__ import annotations

import numpy as np

from sparserec_np.modelfile.layout import EIGHTHS
from sparserec_np.utils.compiled import inline, kernel

# The derivative has a pole at 0. A history's norm is near 1, over some 100 dimensions: less than
# this is next to nothing.
_LEAST = np.float32(0.02)


@inline
def signed_power(y, eighths):
    """Raise the size of a number to a power, and keep its sign.

    Args:
        y: float32 or float64.
        eighths: 8 p, 1 to 8.

    Returns:
        ``sign(y) |y|^p``, of the type of ``y``.
    """
    if eighths == EIGHTHS:
        return y
    second = np.sqrt(abs(y))
    fourth = np.sqrt(second)
    size = np.float32(1.0)
    if eighths & 4:
        size = size * second
    if eighths & 2:
        size = size * fourth
    if eighths & 1:
        size = size * np.sqrt(fourth)
    return np.copysign(size, y)


@inline
def signed_power_slope(y, powered, eighths, steepest):
    """Differentiate :func:`signed_power`, with the pole at 0 cut off.

    Args:
        y: float32.
        powered: ``signed_power(y, eighths)``.
        eighths: 8 p, 1 to 8.
        steepest: The slope near 0: :func:`steepest_slope`.

    Returns:
        ``p |y|^(p - 1)``, float32.
    """
    if abs(y) < _LEAST:
        return steepest
    return np.float32(eighths) / np.float32(EIGHTHS) * (powered / y)


def steepest_slope(eighths: int) -> np.float32:
    """Return the slope that the pole at 0 is cut off at."""
    power = np.float32(eighths) / np.float32(EIGHTHS)
    slope: np.float32 = power * (signed_power.py_func(_LEAST, eighths) / _LEAST)
    return slope


@kernel
def apply_signed_power(vector, power):
    """Apply :func:`signed_power` to all values of a vector.

    Args:
        vector: float32 or float64 array of shape [dim], changed in place; all is computed in its
            precision.
        power: p, a multiple of 1/8 above 0, at most 1.
    """
    eighths = round(power * EIGHTHS)
    if eighths == EIGHTHS:
        return
    for d in range(vector.size):
        vector[d] = signed_power(vector[d], eighths)
