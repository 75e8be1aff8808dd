"""Sparse embeddings: drawn at random, as dense arrays, and their invariants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparserec_np.training.kernels.arrays import Embeddings

Floats = NDArray[np.float64]


def random_rows(rng: np.random.Generator, n_rows: int, dim: int, most: int) -> Embeddings:
    """Draw embeddings of one to ``most`` weights a row."""
    dims = [
        np.sort(rng.choice(dim, n, replace=False))
        for n in rng.integers(1, min(dim, most) + 1, n_rows)
    ]
    indptr = np.cumsum([0, *map(len, dims)], dtype=np.int64)
    values = rng.normal(size=indptr[-1]).astype(np.float32)
    squares = rng.uniform(0.01, 1.0, indptr[-1]).astype(np.float32)
    return Embeddings(indptr, np.concatenate(dims).astype(np.uint16), values, squares)


def dense(rows: Embeddings, dim: int, field: str = "values") -> Floats:
    """Return the values (or squares) of embeddings as an array of shape [n, dim]."""
    out = np.zeros((rows.indptr.size - 1, dim))
    out[row_of_entry(rows), rows.dims] = getattr(rows, field)
    return out


def mask(rows: Embeddings, dim: int) -> NDArray[np.bool_]:
    """Return where weights are stored, bool array of shape [n, dim]."""
    out = np.zeros((rows.indptr.size - 1, dim), bool)
    out[row_of_entry(rows), rows.dims] = True
    return out


def row_of_entry(rows: Embeddings) -> NDArray[np.int64]:
    """Return the row of each stored weight."""
    return np.repeat(np.arange(rows.indptr.size - 1), np.diff(rows.indptr))


def check_rows(rows: Embeddings, dim: int, nnz: int) -> None:
    """Check the invariants: exact count, no empty row, sorted, no duplicates, finite."""
    assert rows.indptr[0] == 0
    assert rows.indptr[-1] == nnz == rows.dims.size == rows.values.size == rows.squares.size
    assert np.diff(rows.indptr).min() >= 1
    keys = row_of_entry(rows) * dim + rows.dims
    assert (np.diff(keys) > 0).all()
    assert rows.dims.max() < dim
    assert np.isfinite(rows.values).all()
    assert np.isfinite(rows.squares).all()
