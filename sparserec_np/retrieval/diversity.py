"""Diverse lists, compiled: :func:`sparserec_np.runtime.taste.diversify`, to the bit."""

from __future__ import annotations

import numpy as np

from sparserec_np.utils.compiled import kernel


@kernel
def diversify(index, items, scores, diversity, best):
    """Choose items one by one for their score and for being unlike those chosen before.

    Args:
        index: The :class:`sparserec_np.retrieval.inverted_index.InvertedIndex`.
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
        for e in range(index.indptr[items[t]], index.indptr[items[t] + 1]):
            lengths[t] += np.float64(index.values[e]) * np.float64(index.values[e])
        lengths[t] = np.sqrt(lengths[t])
    vector = np.zeros(index.counts.size)
    for rank in range(best.items.size):
        place, most = 0, -np.inf
        for t in range(n):
            value = worth[t] - diversity * closest[t]
            if value > most:
                place, most = t, value
        best.items[rank], best.scores[rank] = items[place], scores[place]
        worth[place] = -np.inf
        first, end = index.indptr[items[place]], index.indptr[items[place] + 1]
        for e in range(first, end):
            vector[index.dims[e]] = index.values[e]
        for t in range(n):
            dot = 0.0
            for e in range(index.indptr[items[t]], index.indptr[items[t] + 1]):
                dot += vector[index.dims[e]] * index.values[e]
            product = lengths[t] * lengths[place]
            if product > 0.0:
                closest[t] = max(closest[t], dot / product)
        for e in range(first, end):
            vector[index.dims[e]] = 0.0
