"""Exact selection of the n smallest or largest magnitudes, without sorting and without a copy.

For floats that are not negative the order is that of their bits read as integers, so a threshold is
found by two histograms of 16 bits each. Of equal magnitudes the first ones are selected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparserec_np.utils.communicator import communicator
from sparserec_np.utils.compiled import inline, kernel

ABS = np.uint32(0x7FFFFFFF)
"""All bits of a float32 but its sign."""

NEVER = np.uint32(0xFFFFFFFF)
"""Bits that are never selected."""


def threshold(bits: NDArray[np.uint32], n: int, largest: bool) -> tuple[np.uint32, int]:
    """Find the n-th smallest or largest magnitude.

    Args:
        bits: float32 values of this worker as uint32, of any sign, or ``NEVER``.
        n: Number of values to select: at least 1, at most those of all workers not ``NEVER``.
        largest: Whether the largest are selected.

    Returns:
        The n-th magnitude as uint32, and how many of this worker's values equal to it are selected.
    """
    comm, prefix = communicator(), np.uint32(0)
    for level in range(2):
        counts = np.zeros(65_536, np.int64)
        _count_keys(bits, level, prefix, counts)
        counts = comm.all_reduce(counts)
        up_to = np.cumsum(counts[::-1] if largest else counts)
        rank = int(np.searchsorted(up_to, n))
        n -= int(up_to[rank - 1]) if rank else 0
        prefix = np.uint32((int(prefix) << 16) | (65_535 - rank if largest else rank))
    if comm.world_size > 1:
        equal = int(np.count_nonzero(bits & ABS == prefix))
        n = min(max(n - comm.exclusive_scan(equal), 0), equal)
    return prefix, int(n)


def select(bits: NDArray[np.uint32], n: int, largest: bool) -> NDArray[np.int64]:
    """Find the n smallest or largest magnitudes; see :func:`threshold`.

    Returns:
        The positions of this worker's values among them, int64 array, ascending.
    """
    key, ties = threshold(bits, n, largest)
    places = np.empty(min(n, bits.size), np.int64)
    return places[: _places(bits, key, ties, largest, places)]


@kernel
def _places(bits, threshold, ties, largest, places):
    flip = ABS if largest else np.uint32(0)  # then the order is the other one
    threshold ^= flip
    n = np.uint64(0)
    for t in range(np.uint64(bits.size)):
        key = (bits[t] & ABS) ^ flip
        if key > threshold or bits[t] == NEVER:
            continue
        if key == threshold:
            if ties == 0:
                continue
            ties -= 1
        places[n] = t
        n += np.uint64(1)
    return n


@kernel
def _count_keys(bits, level, prefix, counts):
    """Count the values by their upper 16 bits, or those of a prefix by their lower ones."""
    for t in range(bits.size):
        if bits[t] == NEVER:
            continue
        key = bits[t] & ABS
        if level == 0:
            counts[key >> np.uint32(16)] += 1
        elif key >> np.uint32(16) == prefix:
            counts[key & np.uint32(0xFFFF)] += 1


@inline
def sort_few(values):
    """Sort a few values in place, by insertion: NumPy's own sort takes seconds to compile."""
    for s in range(1, values.size):
        value, t = values[s], s
        while t > 0 and values[t - 1] > value:
            values[t] = values[t - 1]
            t -= 1
        values[t] = value
