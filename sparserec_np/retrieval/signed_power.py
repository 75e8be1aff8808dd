"""The bend of a summed history, compiled: ``sign(y) |y|^p`` by square roots alone.

What a dimension says is not twice as sure for being said twice: p below 1 lets small interests of
a user be heard beside a large one. Powers are multiples of 1/8, made of the second, fourth and
eighth roots, which are the same to the last bit in every language; ``FORMAT.md`` has the order.
:func:`sparserec_np.runtime.item_index.bend` does the same with NumPy.
"""

from __future__ import annotations

import numpy as np
from numba import njit

WHOLE = 8  # eighths of the power 1: nothing is bent

# The derivative has a pole at 0. A history's norm is near 1, over some 100 dimensions: less than
# this is next to nothing.
_LEAST = np.float32(0.02)


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def bend(y, eighths):
    """Bend a number.

    Args:
        y: float32 or float64.
        eighths: 8 p, 1 to 8.

    Returns:
        ``sign(y) |y|^p``, of the type of ``y``.
    """
    if eighths == WHOLE:
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


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def slope(y, bent, eighths):
    """Derivative of :func:`bend`, with its pole cut off.

    Args:
        y: float32.
        bent: ``bend(y, eighths)``.
        eighths: 8 p, 1 to 8.

    Returns:
        ``p |y|^(p - 1)``, float32.
    """
    power = np.float32(eighths) / np.float32(WHOLE)
    if abs(y) < _LEAST:
        return power * (bend(_LEAST, eighths) / _LEAST)
    return power * (bent / y)


@njit(error_model="numpy", cache=True, nogil=True)
def bend_all(vector, power):
    """Bend all values of a vector.

    Args:
        vector: float32 or float64 array of shape [dim], changed in place; all is computed in its
            precision.
        power: p, a multiple of 1/8 above 0, at most 1.
    """
    eighths = round(power * WHOLE)
    if eighths == WHOLE:
        return
    for d in range(vector.size):
        vector[d] = bend(vector[d], eighths)
