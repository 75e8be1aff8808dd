"""The runtime's requests, compiled: for servers that have numba.

The same model and the same answers to the bit, two to five times as fast once the first request has
decoded the tables, which takes 22 bytes a weight of the item table and, for an embedding model, 8
bytes a weight of the user table. Where memory or the time to open counts more,
:func:`sparserec_np.load` is the better choice.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.modelfile.arrays import Table
from sparserec_np.modelfile.reader import open_model
from sparserec_np.retrieval.diversity import ComparedRows, compared_rows, diversify
from sparserec_np.retrieval.inverted_index import (
    InvertedIndex,
    NeighbourRows,
    Query,
    TopK,
    add_rows,
    build_index,
    neighbour_rows,
    search_index,
    search_with_neighbours,
)
from sparserec_np.retrieval.signed_power import apply_signed_power
from sparserec_np.runtime.history import History
from sparserec_np.runtime.model import Model, checked_source
from sparserec_np.utils.compiled import kernel
from sparserec_np.vocabulary import Id

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparserec_np.runtime.item_index import FloatArray, IntArray


def load_compiled(
    source: str | os.PathLike[str] | bytes, *, verify: bool = False, copy: bool = False
) -> CompiledModel:
    """Open a model for fast requests.

    Args:
        source: Path of a model file, or its bytes.
        verify: Read the whole file, compare its checksum, and check every part, too.
        copy: Read the file into memory instead of mapping it; see :func:`sparserec_np.load`.

    Returns:
        The model, as from :func:`sparserec_np.load`, with a faster ``recommend``.

    Raises:
        ModelFileError: The file is missing, damaged, or of an unknown version.
    """
    return CompiledModel(open_model(checked_source(source), verify=verify, copy=copy))


class CompiledModel(Model):
    """A :class:`sparserec_np.Model` whose ``recommend`` runs compiled. Thread-safe."""

    def _best(
        self, user: Id | None, known: History, excluded: IntArray, k: int, popularity: float
    ) -> tuple[IntArray, FloatArray]:
        items, scores = np.empty(k, np.int64), np.empty(k)
        best = TopK(items, scores)
        if user is None:
            weights = self._weights[known.items].astype(np.float64)
            of_age = np.empty(0) if known.weights is None else known.weights
            if known.weights is not None:
                weights *= known.weights
            query = Query(np.zeros(self.dim), self._scale(known), popularity, excluded)
            found = _search_history(
                self._index,
                self._neighbour_rows,
                known.items,
                weights,
                of_age,
                self.history_power,
                query,
                best,
            )
        else:
            query = Query(self._user_vector(user, known), 1.0, popularity, excluded)
            found = search_index(self._index, query, best)
        return items[:found], scores[:found]

    def _diversify(
        self, items: IntArray, scores: FloatArray, k: int, diversity: float
    ) -> tuple[IntArray, FloatArray]:
        chosen, own = np.empty(min(k, len(items)), np.int64), np.empty(min(k, len(items)))
        diversify(self._compared_rows, items, scores, diversity, TopK(chosen, own))
        return chosen, own

    @cached_property
    def _index(self) -> InvertedIndex:
        rows = self.items_table()
        return build_index(rows.indptr, rows.dims, rows.values, self.item_bias, self.dim)

    @cached_property
    def _neighbour_rows(self) -> NeighbourRows:
        return neighbour_rows(self.neighbours())

    @cached_property
    def _compared_rows(self) -> ComparedRows:
        return compared_rows(self._index, self._neighbour_rows)

    @cached_property
    def _weights(self) -> npt.NDArray[np.float32]:
        weights = self.history_weights
        return np.ones(len(self.item_bias), np.float32) if weights is None else weights

    @cached_property
    def _user_rows(self) -> Table:
        return self.users_table()

    def _user_row(self, user: int) -> tuple[IntArray, npt.NDArray[np.float32]]:
        table = self._user_rows
        entries = slice(table.indptr[user], table.indptr[user + 1])
        return table.dims[entries].astype(np.int64), table.values[entries]


@kernel
def _search_history(index, neighbours, items, weights, of_age, power, query, best):
    """Compose a history in the query's vector, which is zeros so far, and search for it."""
    add_rows(index, items, weights, query.vector)
    apply_signed_power(query.vector, power)
    if neighbours.items.size:
        return search_with_neighbours(index, neighbours, items, of_age, query, best)
    return search_index(index, query, best)
