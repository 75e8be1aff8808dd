"""Sparse rows of codes, of which some are gathered at a time, with NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


class GatheredRows(NamedTuple):
    """Some rows of a table, one after the other.

    Attributes:
        dims: Columns, array of integers of shape [nnz of these rows], ascending within a row.
        values: float64 array of the same shape.
        owners: int64 array of the same shape: number of the row among those gathered, from 0.
    """

    dims: npt.NDArray[Any]
    values: npt.NDArray[np.float64]
    owners: npt.NDArray[np.int64]


class SparseRows(NamedTuple):
    """A table in CSR form, with codes of values.

    Attributes:
        indptr: First weight of each row, uint32 array, its last entry nnz.
        indices: Column of each weight, ascending within its row, integer array of shape [nnz].
        codes: Code of each weight's value, uint8 array of shape [nnz].
    """

    indptr: npt.NDArray[np.uint32]
    indices: npt.NDArray[Any]
    codes: npt.NDArray[np.uint8]

    def bounds(
        self, chosen: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the first weight of some rows, and the end of each."""
        begins, ends = self.indptr.take(chosen), self.indptr.take(chosen + 1)
        return begins.astype(np.intp), ends.astype(np.intp)

    def gather(
        self, chosen: npt.NDArray[np.int64], levels: npt.NDArray[np.float64]
    ) -> GatheredRows:
        """Gather some rows, with the values of their codes."""
        begins, ends = self.bounds(chosen)
        lengths = ends - begins
        places = (ends - lengths.cumsum()).repeat(lengths)
        places += np.arange(len(places))
        values = levels.take(self.codes.take(places), mode="wrap")
        owners = np.arange(len(chosen)).repeat(lengths)
        return GatheredRows(self.indices.take(places), values, owners)
