"""The arrays of a model, as training makes them and a reader gives them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sparserec_np.errors import InputError
from sparserec_np.modelfile.bitpacking import MAX_CODE_BITS
from sparserec_np.modelfile.layout import (
    EIGHTHS,
    MAX_DIM,
    MAX_EXPONENT,
    MAX_NNZ,
    MAX_ROWS,
    MAX_VALUE,
)
from sparserec_np.vocabulary import Ids

VALUE_BITS = 6
"""Bits of a stored weight, unless given."""

NEIGHBOUR_BITS = 5
"""Bits of an entry of the neighbours."""

UserModel = Literal["history", "embedding"]


@dataclass(frozen=True, eq=False)
class Table:
    """A sparse table in CSR form.

    Attributes:
        indptr: int64 array of shape [n + 1]: row ``r`` is ``[indptr[r], indptr[r + 1])``.
        dims: uint16 array of shape [nnz], ascending and unique within a row.
        values: float32 array of shape [nnz].
        dim: Number of columns, at most 65,535.
    """

    indptr: npt.NDArray[np.int64]
    dims: npt.NDArray[np.uint16]
    values: npt.NDArray[np.float32]
    dim: int

    def __len__(self) -> int:
        return len(self.indptr) - 1


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A sparse matrix ``B`` from items of a history to the items whose scores they add to.

    Attributes:
        indptr: int64 array of shape [n_items + 1]: item ``j`` of a history adds to the items
            ``items[indptr[j]:indptr[j + 1]]``.
        items: int32 array of shape [nnz], ascending and unique within a row, none its row's own.
        values: ``B_ji``, what each adds to a score; float32 array of shape [nnz].
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def scaled(self, scale: float) -> Neighbours:
        """Return the same with all values multiplied by ``scale``."""
        return Neighbours(self.indptr, self.items, self.values * np.float32(scale))


@dataclass(frozen=True, eq=False)
class ModelArrays:
    """The contents of a model file, as arrays.

    Attributes:
        users: User model. ``"history"``: ``x_u = |H|^-alpha * sign(y) |y|^p`` with
            ``y = sum of w_j v_j over H``; ``"embedding"``: ``x_u`` is a row of ``user_rows``. The
            score of item ``i`` is ``x_u . v_i + b_i``.
        dim: Columns of the tables.
        item_ids: Ids of the rows of ``items``.
        items: The rows ``v_i``.
        item_bias: float32 array of shape [n_items], ``b_i``.
        history_weights: float32 array of shape [n_items], ``w_j > 0``; None means all 1
            (``"history"`` only).
        history_exponent: ``alpha`` (``"history"`` only).
        history_power: ``p``, a multiple of 1/8 above 0, at most 1 (``"history"`` only).
        history_recency: ``e`` in ``(age + 1)^-e``, which multiplies the weight ``w_j`` of an item
            of a history, ``age`` being the number of items that came after it: a multiple of 1/8
            from 0 to 1. ``|H|`` is then the sum of these factors (``"history"`` only).
        neighbours: What the items of a history add to the scores of others besides, or None
            (``"history"`` only).
        user_ids: Ids of the rows of ``user_rows`` (``"embedding"`` only).
        user_rows: The rows ``x_u`` (``"embedding"`` only).
        labels: A title or other text for each item, empty where there is none; or None.
        value_bits: Bits of a stored weight, 1 to 8.
        config: Hyperparameters of the training, as JSON can hold them.
        facts: What is known about data and result, as JSON can hold it.
    """

    users: UserModel
    dim: int
    item_ids: Ids
    items: Table
    item_bias: npt.NDArray[np.float32]
    history_weights: npt.NDArray[np.float32] | None = None
    history_exponent: float = 0.0
    history_power: float = 1.0
    history_recency: float = 0.0
    neighbours: Neighbours | None = None
    user_ids: Ids | None = None
    user_rows: Table | None = None
    labels: Sequence[str] | None = None
    value_bits: int = VALUE_BITS
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def check(arrays: ModelArrays) -> None:
    """Refuse arrays that no reader would accept.

    Raises:
        InputError: A value is not finite, arrays do not fit together, or a size is out of range.
    """
    n_items = len(arrays.item_ids)
    if not 1 <= arrays.dim <= MAX_DIM:
        raise InputError(f"dim must be 1 to {MAX_DIM:,}, but is {arrays.dim}")
    if not 1 <= n_items <= MAX_ROWS:
        raise InputError(f"a model has 1 to {MAX_ROWS:,} items, not {n_items:,}")
    if not 1 <= arrays.value_bits <= MAX_CODE_BITS:
        raise InputError(f"value_bits must be 1 to {MAX_CODE_BITS}, but is {arrays.value_bits}")
    check_table(arrays.items, arrays.dim, n_items, "item")
    _check_values(arrays.item_bias, n_items, "item bias")
    if arrays.labels is not None and len(arrays.labels) != n_items:
        raise InputError(f"{len(arrays.labels):,} labels for {n_items:,} items")
    if arrays.users == "embedding":
        if arrays.user_ids is None or arrays.user_rows is None or not len(arrays.user_ids):
            raise InputError("an embedding model needs user ids and user rows")
        check_table(arrays.user_rows, arrays.dim, len(arrays.user_ids), "user")
        if arrays.neighbours is not None:
            raise InputError("an embedding model has no neighbours")
    elif arrays.user_ids is not None or arrays.user_rows is not None:
        raise InputError("a history model has no user ids and no user rows")
    elif not 0 <= arrays.history_exponent <= MAX_EXPONENT:
        raise InputError(
            f"the history exponent must be 0 to {MAX_EXPONENT}, but is {arrays.history_exponent}"
        )
    elif arrays.history_power * EIGHTHS not in range(1, EIGHTHS + 1):
        raise InputError(
            f"the history power must be a multiple of 1/8 from 1/8 to 1, but is "
            f"{arrays.history_power}"
        )
    elif arrays.history_recency * EIGHTHS not in range(EIGHTHS + 1):
        raise InputError(
            f"the recency must be a multiple of 1/8 from 0 to 1, but is {arrays.history_recency}"
        )
    elif arrays.history_weights is not None:
        _check_values(arrays.history_weights, n_items, "history weight")
        if not arrays.history_weights.min() > 0:
            raise InputError("history weights must be above 0")
    if arrays.neighbours is not None:
        _check_neighbours(arrays.neighbours, n_items)


def _check_neighbours(neighbours: Neighbours, n_items: int) -> None:
    """Refuse a matrix whose rows are not those of the items, or do not rise."""
    indptr, items = neighbours.indptr, neighbours.items
    if len(neighbours) != n_items or len(items) > MAX_NNZ:
        raise InputError(
            f"the neighbours have {len(neighbours):,} rows and {len(items):,} entries, for "
            f"{n_items:,} items; most entries: {MAX_NNZ:,}"
        )
    if (indptr[0], indptr[-1]) != (0, len(items)) or (np.diff(indptr) < 0).any():
        raise InputError("the neighbours have rows out of range")
    if len(items) and not 0 <= items.min() <= items.max() < n_items:
        raise InputError("the neighbours have items out of range")
    rising = items[1:] > items[:-1]
    starts = indptr[1:-1]
    rising[starts[(starts > 0) & (starts < len(items))] - 1] = True  # between two rows
    if not rising.all():
        raise InputError("the neighbours have a row whose items do not rise")
    _check_values(neighbours.values, len(items), "neighbours")


def check_table(table: Table, dim: int, rows: int, what: str) -> None:
    """Refuse a table that is not one of ``rows`` rows and ``dim`` columns; ``what`` names it.

    Raises:
        InputError: Its size differs, rows or dims are out of range or order, or a value is not
            finite.
    """
    if table.dim != dim or len(table) != rows:
        raise InputError(
            f"the {what} table is {len(table):,} x {table.dim}, but the model {rows:,} x {dim}"
        )
    if len(table.dims) > MAX_NNZ:
        raise InputError(f"the {what} table has {len(table.dims):,} weights; most: {MAX_NNZ:,}")
    ends = (table.indptr[0], table.indptr[-1])
    falls = (np.diff(table.indptr) < 0).any()
    if ends != (0, len(table.dims)) or falls or (table.dims >= dim).any():
        raise InputError(f"the {what} table has rows or dims out of range")
    rising = table.dims[1:] > table.dims[:-1]
    starts = table.indptr[1:-1]
    rising[starts[(starts > 0) & (starts < len(table.dims))] - 1] = True  # between two rows
    if not rising.all():
        raise InputError(f"the {what} table has a row whose dims do not rise")
    _check_values(table.values, len(table.dims), f"{what} weight")


def _check_values(values: npt.NDArray[np.float32], count: int, what: str) -> None:
    if values.shape != (count,):
        raise InputError(f"the {what} array has shape {values.shape}, not ({count},)")
    if not (np.abs(values) <= MAX_VALUE).all():
        raise InputError(
            f"the {what} array holds NaN or values beyond {MAX_VALUE:.0e}: the training diverged; "
            "lower the learning rate"
        )
