"""Exact selection of the n smallest or largest magnitudes, without sorting and without a copy.

For floats that are not negative the order is that of their bits read as integers, so a threshold is
found by two histograms of 16 bits each. Equal magnitudes are told apart by their index: whoever
selects takes the first ones.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ABS = np.uint32(0x7FFFFFFF)
"""All bits of a float32 but its sign."""

NEVER = np.uint32(0xFFFFFFFF)
"""A key that is selected by nothing."""


@njit(cache=True, nogil=True)
def threshold(bits, n, largest):
    """Find the n-th smallest or largest magnitude.

    Args:
        bits: float32 values as uint32, of any sign, or ``NEVER``.
        n: How many are selected: at least 1, at most those that are not ``NEVER``.
        largest: Whether the largest are selected.

    Returns:
        The n-th magnitude as uint32, and how many of the values equal to it are selected.
    """
    prefix = np.uint32(0)
    for level in range(2):
        counts = np.zeros(65536, np.int64)
        for t in range(bits.size):
            if bits[t] == NEVER:
                continue
            key = bits[t] & ABS
            if level == 0:
                counts[key >> np.uint32(16)] += 1
            elif key >> np.uint32(16) == prefix:
                counts[key & np.uint32(0xFFFF)] += 1
        b = 65535 if largest else 0
        while counts[b] < n:
            n -= counts[b]
            b += -1 if largest else 1
        prefix = (prefix << np.uint32(16)) | np.uint32(b)
    return prefix, n
