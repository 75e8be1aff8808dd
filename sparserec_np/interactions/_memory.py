"""Interactions from what is already in memory: arrays, lists, sparse matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.errors import InputError
from sparserec_np.ids import Ids, from_values
from sparserec_np.interactions._core import Interactions, assemble

if TYPE_CHECKING:
    from numpy.typing import NDArray


def from_pairs(users: Any, items: Any, times: Any = None) -> Interactions:
    """Build interactions from two columns of ids.

    Args:
        users: User id of each interaction: a list or array of int or of str, length n.
        items: Item id of each interaction, length n.
        times: When each happened, in seconds, length n; optional.

    Returns:
        The interactions, repeated pairs collapsed (the latest time is kept).

    Raises:
        InputError: Lengths differ, an id is missing or of a kind that is neither int nor str, ids
            of one column mix kinds, or a time is not a finite number.
    """
    user_column, item_column = _column(users, "users"), _column(items, "items")
    if len(user_column) != len(item_column):
        raise InputError(
            f"{len(user_column):,} users but {len(item_column):,} items: "
            "an interaction needs one of each"
        )
    seconds = None if times is None else _times(times, len(user_column))
    user_ids, user_codes = _encode(user_column, "users")
    item_ids, item_codes = _encode(item_column, "items")
    return assemble(user_codes, item_codes, user_ids, item_ids, seconds)[0]


def from_matrix(matrix: Any) -> Interactions:
    """Build interactions from a scipy sparse matrix of users x items.

    Row and column numbers are the ids; every row and column of the matrix becomes a user or an
    item, the empty ones too, so that ids equal the caller's numbers. Entries that are stored but
    zero are not interactions.

    Args:
        matrix: scipy sparse matrix or array of shape [n_users, n_items], any numeric dtype.

    Returns:
        The interactions, without times.

    Raises:
        InputError: Not a two-dimensional sparse matrix, or it holds NaN or infinite values.
    """
    from scipy import sparse

    if not sparse.issparse(matrix) or matrix.ndim != 2:
        raise InputError(
            f"a {type(matrix).__name__} is not a two-dimensional scipy sparse matrix: "
            "wrap it, scipy.sparse.csr_array(X)"
        )
    entries = matrix.tocoo()
    if not np.all(np.isfinite(entries.data)):
        raise InputError("the matrix holds NaN or infinite values: remove or replace them first")
    stored = entries.data != 0
    n_users, n_items = matrix.shape
    return assemble(
        entries.row[stored],
        entries.col[stored],
        from_values(np.arange(n_users, dtype=np.int64)),
        from_values(np.arange(n_items, dtype=np.int64)),
    )[0]


def _column(values: Any, name: str) -> NDArray[Any]:
    """Turn a column of ids into an array of integers, of str, or of objects."""
    if isinstance(values, (str, bytes)):
        raise InputError(f"{name} is one text, not a list of ids")
    column = np.asarray(values)
    if column.dtype.kind == "f" and not isinstance(values, np.ndarray):
        column = np.asarray(values, dtype=object)  # a list of huge ints becomes float: keep it
    if column.dtype.kind in "US" and not isinstance(values, np.ndarray):
        # numpy turns [1, "a"] into text in silence and drops trailing NULs of text.
        column = np.array(list(values), dtype=object)
    if column.ndim != 1:
        raise InputError(f"{name} has {column.ndim} dimensions: give one id an interaction")
    return column


def _encode(column: NDArray[Any], name: str) -> tuple[Ids, NDArray[np.int64]]:
    """Number the ids of one column by rank."""
    try:
        vocabulary = from_values(column)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return vocabulary, vocabulary.locate(column)


def _times(times: Any, length: int) -> NDArray[np.float64]:
    """Check and convert a column of times."""
    try:
        seconds = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("times are not all numbers: give seconds") from None
    if seconds.shape != (length,):
        raise InputError(f"times has the shape {seconds.shape}, the pairs need ({length},)")
    if not np.all(np.isfinite(seconds)):
        raise InputError("times holds NaN or infinite values")
    return seconds
