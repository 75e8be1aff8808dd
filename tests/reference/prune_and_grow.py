"""An exploration step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reference.embeddings import dense, mask
from sparserec_np.training.kernels.arrays import Embeddings


def explore(
    rows: Embeddings,
    slot: NDArray[np.int32],
    sums: NDArray[np.float32],
    share: float,
    square: float,
) -> tuple[Embeddings, int]:
    """Prune and grow on dense arrays; return the new embeddings and the number that moved."""
    n_rows, dim = rows.indptr.size - 1, sums.shape[1]
    stored, values, squares = mask(rows, dim), dense(rows, dim), dense(rows, dim, "squares")
    sampled = slot >= 0
    demand = np.zeros((n_rows, dim))
    demand[sampled] = np.abs(sums[slot[sampled]])
    demand[stored] = 0
    magnitude = np.where(stored, np.abs(values), np.inf)
    largest = np.where(stored, np.abs(values), -1.0).argmax(axis=1)
    magnitude[np.arange(n_rows), largest] = np.inf
    n = min(
        int(share * stored[sampled].sum()),
        np.isfinite(magnitude).sum(),
        np.count_nonzero(demand),
    )
    pruned = np.argsort(magnitude, axis=None, kind="stable")[:n]
    grown = np.argsort(-demand, axis=None, kind="stable")[:n]
    stored.flat[pruned] = False
    stored.flat[grown] = True
    values.flat[grown] = 0.0
    squares.flat[grown] = square
    return (
        Embeddings(
            np.concatenate(([0], np.cumsum(stored.sum(axis=1)))),
            np.nonzero(stored)[1].astype(np.uint16),
            values[stored].astype(np.float32),
            squares[stored].astype(np.float32),
        ),
        n,
    )
