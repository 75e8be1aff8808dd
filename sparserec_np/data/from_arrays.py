"""Interactions from arrays, lists and sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.data.assembly import assemble
from sparserec_np.data.interactions import Interactions
from sparserec_np.data.values import MISSING_IDS, is_missing
from sparserec_np.errors import InputError
from sparserec_np.vocabulary import EXACT_FLOATS, Ids, RangeIds, canonical, from_values

if TYPE_CHECKING:
    from numpy.typing import NDArray


def from_pairs(users: Any, items: Any, times: Any = None) -> Interactions:
    """Build interactions from two columns of ids.

    Args:
        users: User id of each interaction: list or array of int or of str, length n. Floats count
            if all are whole numbers.
        items: Item id of each interaction, length n.
        times: Time of each interaction in seconds, length n; optional.

    Returns:
        The interactions; repeated pairs count once, with their latest time.

    Raises:
        InputError: Lengths differ, ids are missing, neither int nor str, or of mixed kinds, or a
            time is not a finite number.
    """
    user_column, item_column = _column(users, "users"), _column(items, "items")
    if len(user_column) != len(item_column):
        raise InputError(
            f"{len(user_column):,} users but {len(item_column):,} items: "
            "an interaction needs one of each"
        )
    seconds = None if times is None else _times(times, len(user_column))
    user_ids, user_codes = encode(user_column, "users", MISSING_IDS)
    item_ids, item_codes = encode(item_column, "items", MISSING_IDS)
    return assemble(user_codes, item_codes, user_ids, item_ids, seconds)[0]


def from_matrix(matrix: Any) -> Interactions:
    """Build interactions from a scipy sparse matrix of users x items.

    Row and column numbers are the ids; every row and column of the matrix becomes a user or an
    item, the empty ones too, so that ids equal the caller's numbers. Entries that are stored but
    zero are not interactions.

    Args:
        matrix: scipy sparse matrix or array of shape [n_users, n_items], of any real dtype, its
            values not negative: a dislike is no interaction.

    Returns:
        The interactions, without times.

    Raises:
        InputError: Not a two-dimensional sparse matrix, or it holds NaN, infinite, complex or
            negative values.
    """
    if not is_sparse(matrix) or len(matrix.shape) != 2:
        raise InputError(
            f"a {type(matrix).__name__} is no two-dimensional scipy sparse matrix: "
            "make one, scipy.sparse.csr_array(X)"
        )
    # Repeated entries are not summed: in few bits, or of both signs, they would vanish.
    entries = matrix.tocoo()
    if entries.data.dtype.kind not in "biuf":
        raise InputError(f"Complex data not supported: the matrix is of {entries.data.dtype}")
    if not np.all(np.isfinite(entries.data)):
        raise InputError("the matrix holds NaN or infinite values: remove or replace them first")
    if np.any(entries.data < 0):
        raise InputError(
            "Negative values in data: every entry of the matrix counts as liked, so leave out what "
            "was disliked"
        )
    stored = entries.data != 0
    n_users, n_items = matrix.shape
    return assemble(
        entries.row[stored],
        entries.col[stored],
        RangeIds(0, n_users),
        RangeIds(0, n_items),
    )[0]


def encode(
    column: NDArray[Any], name: str, missing: Sequence[str] = ()
) -> tuple[Ids, NDArray[np.int64]]:
    """Return the vocabulary of one column, and the number of each of its ids.

    Args:
        column: Ids, shape [n].
        name: Name of the column, for messages.
        missing: Texts, in lower case, that mean that there is no id.

    Returns:
        The vocabulary, and the number of each id, int64[n].

    Raises:
        InputError: An id is missing, or neither int nor str, or ids of both kinds are mixed.
    """
    try:
        if column.dtype.kind == "f":
            column = _integral(column)
        vocabulary = from_values(
            column if column.dtype.kind in "iu" else _distinct(column, missing)
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return vocabulary, vocabulary.locate(column)


def is_sparse(data: Any) -> bool:
    """Return True for a sparse matrix of scipy, without importing scipy."""
    return hasattr(data, "tocoo") and hasattr(data, "shape") and hasattr(data, "nnz")


def _integral(column: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Convert floats that are all whole numbers to integers."""
    large = np.abs(column) > EXACT_FLOATS
    odd = column[(column != np.floor(column)) | large | ~np.isfinite(column)]
    if len(odd):
        from_values(odd[:1].tolist())  # says what is wrong
    return column.astype(np.int64)


def _column(values: Any, name: str) -> NDArray[Any]:
    """Convert a column of ids to an array: of integers, floats, text or objects."""
    if isinstance(values, (str, bytes)):
        raise InputError(f"{name} is one text, not a list of ids")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{name}: some ids are missing (masked)")
    if isinstance(values, np.ndarray):
        column = np.asarray(values)
    else:
        if hasattr(values, "to_pylist"):  # iterating over Arrow gives scalars of its own
            values = values.to_pylist()
        # numpy would turn [1, "a"] into text, and integers beyond 64 bits into floats.
        listed = list(values)
        integers = all(type(value) is int for value in listed)
        column = np.array(listed) if integers and listed else np.empty(len(listed), dtype=object)
        if column.dtype.kind not in "iu":
            column = np.empty(len(listed), dtype=object)
            column[:] = listed
    if column.ndim != 1:
        raise InputError(f"{name} has {column.ndim} dimensions: give one id an interaction")
    return column


def _distinct(column: NDArray[Any], missing: Sequence[str]) -> set[Any]:
    """Return the distinct ids of a column, texts as vocabularies have them.

    Raises:
        InputError: A text means that there is no id, or holds a NUL character, or a value is a list
            or the like.
    """
    try:
        ids = set(column.tolist())
    except TypeError:
        raise InputError(
            "ids must be integers or strings, but some are lists or the like"
        ) from None
    for id_ in ids:
        if isinstance(id_, str):
            if is_missing(id_, missing):
                raise InputError(
                    f"some ids are missing ({id_!r}): leave these pairs out; if it is an id, give "
                    "a frame to sparserec_np.data.from_frame(..., missing_ids=())"
                )
            if "\0" in id_:
                raise InputError(f"the id {id_!r} holds a NUL character: repair it in the data")
    return {canonical(id_) if isinstance(id_, str) else id_ for id_ in ids}


def _times(times: Any, length: int) -> NDArray[np.float64]:
    """Convert a column of times to float64[length]."""
    try:
        seconds = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("times are not all numbers: give seconds") from None
    if seconds.shape != (length,):
        raise InputError(f"times has the shape {seconds.shape}, the pairs need ({length},)")
    if not np.all(np.isfinite(seconds)):
        raise InputError("times holds NaN or infinite values")
    return seconds
