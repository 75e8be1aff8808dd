"""Scalar quantisation: real values become small codes and a codebook fitted to them.

The codebook is the least-squares one of Lloyd's algorithm (S. Lloyd, "Least squares quantization in
PCM", IEEE Trans. Inf. Theory 28(2), 1982). In one dimension the cells are intervals of the sorted
values, so that an iteration costs a binary search a level over prefix sums, not a pass over the
values; nothing is drawn at random, so the same values give the same codebook. Where it ends depends
on where it starts: from quantiles, which crowd where values do, with a third to two thirds more
squared error than from the best codebook on a grid, which takes some ten milliseconds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_ITERATIONS = 200
_MOST = 1 << 20  # values that a codebook is fitted to
_PIECE = 1 << 16  # values coded at a time
_GRID = 512  # cells of the grid that the first codebook is found on, at least
_LINES_AT_ONCE = 64  # of that grid; bounds the scratch memory


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
    every = np.sort(values) if len(values) else np.ones(1, np.float32)
    # Every so many of the sorted values stand for all of them: the same codebook to the eye.
    ordered = every[:: -(-len(every) // _MOST)].astype(np.float64)
    count = 1 << bits
    distinct = every[np.r_[True, every[1:] > every[:-1]]].astype(np.float64)
    if len(distinct) <= count:
        levels = np.r_[distinct, np.full(count - len(distinct), distinct[-1])]
    else:
        levels = _lloyd(ordered, count)
    rounded = levels.astype(np.float32)
    rounded[rounded == 0] = np.finfo(np.float32).tiny
    return np.sort(rounded)


def _lloyd(ordered: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Alternate between nearest levels and means of cells until nothing moves."""
    levels = _best_on_grid(ordered, count)
    sums = np.zeros(len(ordered) + 1)
    np.cumsum(ordered, out=sums[1:])
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


def _best_on_grid(ordered: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Find the best levels whose cells end on the lines of a grid, by dynamic programming.

    Args:
        ordered: float64 array, ascending.
        count: Number of levels.

    Returns:
        float64 array of shape [count], ascending.
    """
    lines = np.linspace(ordered[0], ordered[-1], max(_GRID, 2 * count) + 1)
    ends = np.r_[0, np.searchsorted(ordered, lines[1:-1]), len(ordered)]
    mean = ordered.mean()  # differences of large squares would lose digits
    sums = _sums_of_first(ordered - mean, ends)
    squared = ordered - mean
    squared *= squared
    squares = _sums_of_first(squared, ends)
    del squared
    # errors[b, a]: squared error of one level for all values between the lines a and b.
    errors = np.full((len(lines), len(lines)), np.inf)
    for a in range(len(lines)):
        sizes = np.maximum(ends[a:] - ends[a], 1)
        errors[a:, a] = squares[a:] - squares[a] - (sums[a:] - sums[a]) ** 2 / sizes
    parts = range(_LINES_AT_ONCE, len(lines), _LINES_AT_ONCE)
    least = errors[:, 0]  # of the values up to each line, with one level
    begins = []
    for _ in range(count - 1):
        begin = np.concatenate([(part + least).argmin(axis=1) for part in np.split(errors, parts)])
        least = least[begin] + errors[np.arange(len(lines)), begin]
        begins.append(begin)
    cuts = [len(lines) - 1]
    for begin in reversed(begins):
        cuts.append(begin[cuts[-1]])
    cut = np.array([0, *reversed(cuts)])
    sizes = np.diff(ends[cut])
    means = mean + np.diff(sums[cut]) / np.maximum(sizes, 1)
    levels: npt.NDArray[np.float64] = np.where(sizes > 0, means, lines[cut[1:]])
    return levels


def _sums_of_first(
    values: npt.NDArray[np.float64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Sum the first so many values, for each of ``ends``; the values are lost."""
    np.cumsum(values, out=values)
    return np.where(ends > 0, values[ends - 1], 0.0)


def assign(values: FloatArray, levels: FloatArray) -> npt.NDArray[np.uint8]:
    """Code each value with its nearest level.

    Args:
        values: float32 array of shape [n].
        levels: float32 array of at most 256 ascending levels.

    Returns:
        uint8 array of shape [n], indices into ``levels``.
    """
    middles = (levels[1:].astype(np.float64) + levels[:-1]) / 2
    codes = np.empty(len(values), np.uint8)
    for start in range(0, len(values), _PIECE):  # in wide types, so a few at a time
        piece = slice(start, start + _PIECE)
        codes[piece] = np.searchsorted(middles, values[piece])
    return codes
