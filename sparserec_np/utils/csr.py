"""Compressed sparse rows: row ``r`` has the entries ``indptr[r]`` to ``indptr[r + 1] - 1``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt


def indptr_from_counts(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the first entry of each row, and the end of the last one.

    Args:
        counts: Entries of each row, integer array of shape [n].

    Returns:
        int64 array of shape [n + 1].
    """
    indptr = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    return indptr


def entries_of_rows(
    indptr: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the positions of the entries of some rows, row after row.

    Args:
        indptr: int64 array of shape [n + 1].
        rows: Row numbers in any order, int64 array.

    Returns:
        int64 array of shape [entries of these rows].
    """
    lengths = indptr[rows + 1] - indptr[rows]
    before = np.cumsum(lengths) - lengths
    entries: npt.NDArray[np.int64] = np.arange(lengths.sum())
    entries += np.repeat(indptr[rows] - before, lengths)
    return entries


def blocks_of_rows(indptr: npt.NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Cut rows into consecutive blocks of at most ``most`` entries, but of at least one row.

    Args:
        indptr: int64 array of shape [n + 1].
        most: Entries of a block.

    Yields:
        The first row of a block, and one past its last.
    """
    first, n_rows = 0, len(indptr) - 1
    while first < n_rows:
        last = int(np.searchsorted(indptr, indptr[first] + most, side="right")) - 1
        last = min(max(last, first + 1), n_rows)
        yield first, last
        first = last
