"""Interactions from data of any kind: files, frames, arrays, matrices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.data.files import read
from sparserec_np.data.from_arrays import from_matrix, from_pairs, is_sparse
from sparserec_np.data.from_frames import frame_row_ids, from_frame
from sparserec_np.data.interactions import Interactions
from sparserec_np.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def from_any(data: Any) -> Interactions:
    """Build interactions from data of any kind.

    Args:
        data: :class:`Interactions` (returned as they are), a scipy sparse matrix, a tuple
            ``(users, items)`` or ``(users, items, times)``, a numpy array of two columns, a data
            frame, or one or several paths.

    Returns:
        The interactions; repeated pairs count once. Times are kept where every row has one.

    Raises:
        InputError: The data is none of these, or cannot be used; see :func:`from_matrix`,
            :func:`from_pairs`, :func:`from_frame` and :func:`read`.
    """
    if isinstance(data, Interactions):
        return data
    if isinstance(data, (str, Path)) or _is_list_of_paths(data):
        return read(data, with_times=None)
    if isinstance(data, tuple) and len(data) in (2, 3):
        return from_pairs(*data)
    if is_sparse(data):
        return from_matrix(data)
    if isinstance(data, np.ndarray):
        return from_pairs(*_two_columns(data))
    if isinstance(data, (list, tuple, dict, set, int, float)) or data is None:
        raise InputError(
            f"cannot make interactions of a {type(data).__name__}: give (users, items), a scipy "
            "sparse matrix, a data frame, or paths of files"
        )
    return from_frame(data, with_times=None)


def row_ids(data: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the user id and the item id of each row of a table of interactions.

    Args:
        data: A numpy array of two columns, or a data frame.

    Returns:
        The ids of the n rows as they are, missing ones included: two arrays of shape [n].

    Raises:
        InputError: ``data`` is not such a table.
    """
    if isinstance(data, np.ndarray):
        return _two_columns(data)
    if is_sparse(data) or isinstance(data, (Interactions, str, Path, list, tuple, dict)):
        raise InputError(
            f"the rows of a {type(data).__name__} are no interactions: give an array of two "
            "columns, users and items, or a data frame"
        )
    return frame_row_ids(data)


def _two_columns(data: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if data.ndim != 2 or data.shape[1] != 2:
        raise InputError(
            f"an array of shape {data.shape} is neither pairs ([n, 2]: user, item) nor sparse; "
            "for a dense matrix of users x items give scipy.sparse.csr_array(X)"
        )
    if isinstance(data, np.matrix):
        data = np.asarray(data)
    return data[:, 0], data[:, 1]


def _is_list_of_paths(data: Any) -> bool:
    return (
        isinstance(data, (list, tuple))
        and len(data) > 0
        and all(isinstance(entry, (str, Path)) for entry in data)
    )
