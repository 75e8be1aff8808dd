"""The runtime's requests, compiled: for servers that have numba.

The same model, the same answers to the bit, some ten times as fast once the first request has
decoded the tables: 22 bytes a weight of the item table and, for an embedding model, 8 bytes a
weight of the user table. Where memory or the time to open counts more, :func:`sparserec_np.load`
is the better choice.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from sparserec_np.arrays import Table
from sparserec_np.ids import Id
from sparserec_np.reader import open_model
from sparserec_np.runtime import Model

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparserec_np.scoring import FloatArray, IntArray

_BLOCK = 64  # scores that are compared with the k-th best at once


def load_compiled(source: str | os.PathLike[str] | bytes, *, verify: bool = False) -> CompiledModel:
    """Open a model for fast requests.

    Args:
        source: Path of a model file, or its bytes.
        verify: Read the whole file and compare its checksum, too.

    Returns:
        The model: what :func:`sparserec_np.load` gives, with a faster ``recommend``.

    Raises:
        ModelFileError: The file is missing, damaged, or of an unknown version.
    """
    return CompiledModel(open_model(source, verify=verify))


class CompiledModel(Model):
    """A :class:`sparserec_np.Model` whose ``recommend`` runs compiled. Thread-safe."""

    def _best(
        self, user: Id | None, known: IntArray, left_out: IntArray, k: int
    ) -> tuple[IntArray, FloatArray]:
        rows, weights = self._rows, self._weights
        if user is None:
            vector = compose(rows.indptr, rows.dims, rows.values, weights, known, self.dim)
            scale = self._scale(known)
        else:
            vector, scale = self._user_vector(user), 1.0
        best, scores, scratch = np.empty(k, np.int64), np.empty(k), np.empty(len(self._bias))
        found = search(
            *self._by_dimension, self._bias, vector, scale, left_out, scratch, best, scores
        )
        return best[:found], scores[:found]

    @cached_property
    def _rows(self) -> Table:
        return self.items_table()

    @cached_property
    def _bias(self) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(self.item_bias, np.float32)

    @cached_property
    def _weights(self) -> npt.NDArray[np.float32]:
        weights = self.history_weights
        return np.ones(len(self._bias), np.float32) if weights is None else weights

    @cached_property
    def _by_dimension(self) -> tuple[IntArray, npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        postings = self._file.postings()
        return (
            postings.offsets.astype(np.int64),
            postings.items.astype(np.int32),
            postings.levels[postings.codes],
        )

    @cached_property
    def _user_rows(self) -> Table:
        return self.users_table()

    def _user_row(self, user: int) -> tuple[IntArray, npt.NDArray[np.float32]]:
        table = self._user_rows
        entries = slice(table.indptr[user], table.indptr[user + 1])
        return table.dims[entries].astype(np.int64), table.values[entries]


@njit(cache=True, nogil=True)
def compose(indptr, dims, values, weights, known, dim):
    """Sum the weighted rows of a history, in the order of ``FORMAT.md``.

    Args:
        indptr: Rows of the item table, int64 array of shape [n_items + 1].
        dims: uint16 array of shape [weights].
        values: float32 array of shape [weights].
        weights: Weights within a history, float32 array of shape [n_items].
        known: Items of the history, int64 array, ascending.
        dim: Columns of the table.

    Returns:
        float64 array of shape [dim].
    """
    vector = np.zeros(dim)
    for item in known:
        weight = np.float64(weights[item])
        for e in range(indptr[item], indptr[item + 1]):
            vector[dims[e]] += values[e] * weight
    return vector


@njit(cache=True, nogil=True)
def search(offsets, items, values, bias, vector, scale, left_out, scores, best, best_scores):
    """Score all items by the dimensions of one vector, and keep the best.

    Sums have the precision of ``vector`` and ``scores``.

    Args:
        offsets: Where the items of a dimension begin, int64 array of shape [dim + 1].
        items: Items by dimension, int32 array of shape [weights].
        values: Their values there, float32 array of shape [weights].
        bias: float32 array of shape [n_items].
        vector: float64 or float32 array of shape [dim].
        scale: What the products are multiplied by before the bias is added, above 0.
        left_out: Items that are not ranked, array of integers.
        scores: Scratch memory, array of shape [n_items].
        best: Filled with items by falling score, equal ones by rising number; shape [k].
        best_scores: Filled with their scores, shape [k].

    Returns:
        How many there are, at most k.
    """
    scores[:] = 0.0
    for d in range(vector.size):
        x = vector[d]
        if x != 0.0:
            for e in range(offsets[d], offsets[d + 1]):
                scores[items[e]] += values[e] * x
    for item in left_out:
        scores[item] = -np.inf
    found, bar = 0, -np.inf
    for first in range(0, bias.size, _BLOCK):
        last = min(first + _BLOCK, bias.size)
        better = False
        for item in range(first, last):
            scores[item] = scores[item] * scale + bias[item]
            better |= scores[item] > bar
        if not better:
            continue
        for item in range(first, last):
            if scores[item] > bar:
                found = insert(best, best_scores, found, item, scores[item])
                if found == best.size:
                    bar = best_scores[found - 1]
    return found


@njit(cache=True, nogil=True)
def insert(best, best_scores, found, item, score):
    """Put an item in its place among the best, after equals; return how many there are now."""
    found = min(found + 1, best.size)
    t = found - 1
    while t > 0 and best_scores[t - 1] < score:
        best_scores[t], best[t] = best_scores[t - 1], best[t - 1]
        t -= 1
    best_scores[t], best[t] = score, item
    return found
