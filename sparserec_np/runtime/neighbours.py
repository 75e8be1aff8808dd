"""The neighbours of a model, decoded for requests: what the items of a history add to others.

Sums are in float64, over the items of a history by ascending index, each starting from 0
(``FORMAT.md``, "Scores").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparserec_np.runtime.sparse_rows import GatheredRows, SparseRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparserec_np.modelfile.reader import NeighbourCodes
    from sparserec_np.runtime.history import History
    from sparserec_np.runtime.item_index import FloatArray, IntArray


class Additions(NamedTuple):
    """Additions to the scores of some items.

    Attributes:
        items: Their indices, ascending and unique, int64 array of shape [n].
        values: What is added, float64 array of shape [n].
    """

    items: IntArray
    values: FloatArray

    def of_items(self, chosen: npt.NDArray[np.bool_]) -> Additions:
        """Return those of some items, bool array of shape [n]."""
        return Additions(self.items[chosen], self.values[chosen])


NOTHING = Additions(np.empty(0, dtype=np.int64), np.empty(0))


class NeighbourIndex:
    """The neighbours by item of a history; thread-safe. Takes 5 bytes an entry, and 4 an item.

    Attributes:
        dim: Columns of a row: the number of items.

    Args:
        stored: The neighbours as :meth:`sparserec_np.modelfile.reader.ModelFile.neighbour_codes`
            decodes them.
    """

    def __init__(self, stored: NeighbourCodes) -> None:
        self._rows = SparseRows(stored.indptr.astype(np.uint32), stored.items, stored.codes)
        self._indptr, self._items, self._codes = self._rows
        self._levels = stored.levels.astype(np.float64)
        self.dim = len(stored.indptr) - 1

    def rows(self, items: IntArray) -> GatheredRows:
        """Gather what some items, int64 array, add to the items that are the columns."""
        return self._rows.gather(items, self._levels)

    def additions(self, known: History) -> Additions:
        """Sum what the items of a history add to the scores."""
        dims, values, owners = self.rows(known.items)
        if known.weights is not None:
            values *= known.weights.take(owners)
        targets = dims.astype(np.int64)
        order = np.argsort(targets, kind="stable")  # the items of the history stay in their order
        targets = targets[order]
        is_first = np.diff(targets, prepend=-1) > 0
        sums = np.bincount(is_first.cumsum() - 1, weights=values[order])
        return Additions(targets[is_first], sums.astype(np.float64, copy=False))

    def of_item(self, item: int) -> Additions:
        """Return what an item adds to the others."""
        row = slice(int(self._indptr[item]), int(self._indptr[item + 1]))
        return Additions(self._items[row].astype(np.int64), self._levels[self._codes[row]])

    def to_item(self, known: History, item: int) -> FloatArray:
        """Return what each item of a history adds to the score of one, float64 of shape [n]."""
        shares = np.zeros(len(known.items))
        for place, own in enumerate(known.items.tolist()):
            row = slice(int(self._indptr[own]), int(self._indptr[own + 1]))
            for found in np.flatnonzero(self._items[row] == item).tolist():
                shares[place] = self._levels[self._codes[row.start + found]]
        return shares if known.weights is None else shares * known.weights

    def both_ways(self, item: int) -> FloatArray:
        """Return how much an item and each other one add to each other, -1 to 1.

        Returns:
            ``(B_ij + B_ji) / 2`` over the largest size of an entry; float64 array of shape
            [n_items].
        """
        values = np.zeros(self.dim)
        targets, added = self.of_item(item)
        values[targets] += added
        entries = np.flatnonzero(self._items == item)
        sources = np.searchsorted(self._indptr, entries, side="right") - 1
        values[sources] += self._levels[self._codes[entries]]
        return values / (2 * float(np.abs(self._levels).max()) or 1.0)
