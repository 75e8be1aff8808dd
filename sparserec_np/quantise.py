"""Scalar quantisation: real values become small codes and a codebook fitted to them.

The codebook is the least-squares one of Lloyd's algorithm (S. Lloyd, "Least squares quantization in
PCM", IEEE Trans. Inf. Theory 28(2), 1982). In one dimension the cells are intervals of the sorted
values, so that an iteration costs a binary search a level over prefix sums, not a pass over the
values; nothing is drawn at random, so the same values give the same codebook.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_ITERATIONS = 200


def fit_levels(values: FloatArray, bits: int) -> FloatArray:
    """Fit a codebook.

    Args:
        values: float32 array of shape [n], finite.
        bits: Bits of a code, 1 to 8.

    Returns:
        float32 array of shape [2**bits], ascending, never 0 (a stored weight stays a weight).
        Values that are at most ``2**bits`` different ones are the levels themselves, the last one
        repeated: quantising twice changes nothing.
    """
    ordered = np.sort(values.astype(np.float64))
    distinct = ordered[np.r_[True, ordered[1:] > ordered[:-1]]] if len(ordered) else np.ones(1)
    count = 1 << bits
    if len(distinct) <= count:
        levels = np.r_[distinct, np.full(count - len(distinct), distinct[-1])]
    else:
        levels = _lloyd(ordered, count)
    rounded = levels.astype(np.float32)
    rounded[rounded == 0] = np.finfo(np.float32).tiny
    return np.sort(rounded)


def _lloyd(ordered: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Alternate between nearest levels and means of cells, from quantiles, until nothing moves."""
    sums = np.r_[0.0, np.cumsum(ordered)]
    levels = np.quantile(ordered, (np.arange(count) + 0.5) / count)
    for _ in range(_ITERATIONS):
        edges = np.searchsorted(ordered, (levels[1:] + levels[:-1]) / 2)
        edges = np.r_[0, edges, len(ordered)]
        sizes = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(sizes, 1)
        moved = np.where(sizes > 0, means, levels)  # an empty cell keeps its level
        if np.array_equal(moved, levels):
            break
        levels = moved
    return levels


def assign(values: FloatArray, levels: FloatArray) -> npt.NDArray[np.uint8]:
    """Code each value with its nearest level.

    Args:
        values: float32 array of shape [n].
        levels: float32 array of at most 256 ascending levels.

    Returns:
        uint8 array of shape [n], indices into ``levels``.
    """
    middles = (levels[1:].astype(np.float64) + levels[:-1]) / 2
    return np.searchsorted(middles, values).astype(np.uint8)
