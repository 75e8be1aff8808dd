"""Diverse lists, compiled: :func:`sparserec_np.runtime.taste.diversify`, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.utils.compiled import kernel

if TYPE_CHECKING:
    from sparserec_np.retrieval.inverted_index import InvertedIndex, NeighbourRows


class ComparedRows(NamedTuple):
    """Rows of items whose cosines say how alike they are, in CSR form.

    Attributes:
        indptr: int64 array of shape [n_items + 1].
        columns: Array of integers of shape [nnz], ascending within a row.
        values: float32 array of shape [nnz].
        n_columns: Number of columns.
    """

    indptr: NDArray[np.int64]
    columns: NDArray[np.integer]
    values: NDArray[np.float32]
    n_columns: int


def compared_rows(index: InvertedIndex, neighbours: NeighbourRows) -> ComparedRows:
    """Return the rows of the item table; those of the neighbours where that has no weights."""
    if index.values.size or not neighbours.items.size:
        return ComparedRows(index.indptr, index.dims, index.values, index.counts.size)
    return ComparedRows(*neighbours, index.bias.size)


@kernel
def diversify(rows, items, scores, diversity, best):
    """Choose items one by one for their score and for being unlike those chosen before.

    Args:
        rows: :class:`ComparedRows`.
        items: Indices, best first, array of integers of shape [n].
        scores: Their scores, float array of shape [n].
        diversity: Above 0, at most 1.
        best: The :class:`sparserec_np.retrieval.inverted_index.TopK` to fill, at most n long.
    """
    n = items.size
    if n == 0:
        return
    last = np.float64(scores[n - 1])
    spread = np.float64(scores[0]) - last
    worth, lengths, closest = np.zeros(n), np.zeros(n), np.zeros(n)
    for t in range(n):
        if spread > 0.0:
            worth[t] = (1.0 - diversity) * (np.float64(scores[t]) - last) / spread
        for e in range(rows.indptr[items[t]], rows.indptr[items[t] + 1]):
            lengths[t] += np.float64(rows.values[e]) * np.float64(rows.values[e])
        lengths[t] = np.sqrt(lengths[t])
    vector = np.zeros(rows.n_columns)
    for rank in range(best.items.size):
        place, most = 0, -np.inf
        for t in range(n):
            value = worth[t] - diversity * closest[t]
            if value > most:
                place, most = t, value
        best.items[rank], best.scores[rank] = items[place], scores[place]
        worth[place] = -np.inf
        first, end = rows.indptr[items[place]], rows.indptr[items[place] + 1]
        for e in range(first, end):
            vector[rows.columns[e]] = rows.values[e]
        for t in range(n):
            dot = 0.0
            for e in range(rows.indptr[items[t]], rows.indptr[items[t] + 1]):
                dot += vector[rows.columns[e]] * rows.values[e]
            product = lengths[t] * lengths[place]
            if product > 0.0:
                closest[t] = max(closest[t], dot / product)
        for e in range(first, end):
            vector[rows.columns[e]] = 0.0
