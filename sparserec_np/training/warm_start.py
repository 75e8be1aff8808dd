"""Warm start: train a model file further; new users and items get rows by their neighbours.

The file has no training state and, for a history model, no interactions. So the interactions are
given anew: all of them, or the new ones alone. An item or user of the file that they lack stays in
the model.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions, align
from sparserec_np.data.alignment import check_overlap
from sparserec_np.errors import InputError
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.modelfile.reader import open_model
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.neighbours import join_neighbours
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.utils.csr import indptr_from_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scipy.sparse import csr_matrix

EPOCHS = 4
"""Passes over the interactions, unless given."""

RATE = 0.25
"""Learning rate, unless given, as a share of the one that the model was trained with."""

_OWN = {
    "dim",
    "epochs",
    "learning_rate",
    "exploration",
    "seed",
}  # hyperparameters that are not the old model's
_SQUARE = 0.3  # about what an interaction adds to Adagrad's sums in a training
_ROWS_AT_A_TIME = 256  # new rows coded at a time, in a dense array of so many rows
_WIDEST = 64  # most weights of a new row, whatever the budget


def read_old(path: str | os.PathLike[str], *, users: str | None, dim: int | None) -> ModelArrays:
    """Read the model to continue from.

    Args:
        path: Its file.
        users: The user model that is asked for, or None.
        dim: The dimension that is asked for, or None.

    Raises:
        ModelFileError: It is no valid model.
        InputError: It has another user model or dimension.
    """
    old = open_model(path, verify=True).arrays()
    if users not in (None, old.users):
        raise InputError(
            f"{path}: a model of users={old.users!r} cannot be continued with users={users!r}"
        )
    if dim not in (None, old.dim):
        raise InputError(f"{path}: has dim {old.dim}, and cannot be continued with dim {dim}")
    return old


def hyperparameters(old: ModelArrays) -> dict[str, Any]:
    """Return the old model's hyperparameters, with a short and gentle schedule.

    Gentle, because a trained model that is trained on learns the old interactions by heart: more
    epochs, larger steps or exploration gain where the future is like the past, and lose where
    tastes move on. The mask stays.

    Raises:
        InputError: The file's own are not what hyperparameters can be.
    """
    known = Config.__dataclass_fields__
    kept = {name: value for name, value in old.config.items() if name in known.keys() - _OWN}
    rate = old.config.get("learning_rate") or Config.learning_rate
    try:
        Config(**kept, learning_rate=rate)
    except InputError as error:
        raise InputError(
            f"the config in the model to continue from is not valid: {error}"
        ) from error
    schedule = {
        "epochs": EPOCHS,
        "learning_rate": RATE * rate,
        "exploration": 0.0,
        "recency": old.history_recency,
    }
    if old.neighbours is not None:
        schedule["neighbour_scale"] = old.facts.get("neighbour_scale", 1.0)
    return {**kept, **schedule, "dim": old.dim, "users": old.users}


def sparsity_of(old: ModelArrays) -> float:
    """Return the share of the entries that the model does not store."""
    tables = [table for table in (old.items, old.user_rows) if table is not None]
    return 1.0 - sum(len(t.values) for t in tables) / sum(len(t) * old.dim for t in tables)


def widen(interactions: Interactions, old: ModelArrays) -> Interactions:
    """Number interactions by the ids of the data and of the old model together."""
    users = interactions.user_ids
    names = ("the data", "the model to continue from")
    known = interactions.item_ids.positions_in(old.item_ids)
    check_overlap(interactions.item_ids, old.item_ids, known, ("item", *names))
    if old.user_ids is not None:
        users = users.union(old.user_ids)
    items = interactions.item_ids.union(old.item_ids)
    return align(interactions, users, items).interactions


def continue_from(
    old: ModelArrays, interactions: Interactions, config: Config, budget: Budget
) -> Parameters:
    """Make the parameters that training starts from out of those of a model.

    A new row is the sum of the rows that it interacted with, cut to its largest entries. The
    budget is not exceeded: if need be, the smallest weights of the old rows go.

    Args:
        old: The model.
        interactions: Interactions to learn from, as :func:`widen` returns them.
        config: Hyperparameters.
        budget: Most weights.

    Returns:
        The parameters. Memory beyond them is ``O(weights + interactions + 256 * dim)``.
    """
    n_items, n_users = interactions.n_items, interactions.n_users
    at = old.item_ids.positions_in(interactions.item_ids)
    weight = _history_weights(old, at, interactions, config)
    matrix = _matrix(interactions)
    by_item = matrix.T.tocsr()
    items = _placed(old.items, at)
    users = empty_embeddings(n_users)
    if old.user_rows is None or old.user_ids is None:
        # A user is a history: the neighbours of an item are the others in the same histories.
        together = by_item, matrix.multiply(weight).tocsr()
        items = _completed(items, together, _matrix_of(items, n_items, old.dim), budget.item_nnz)
    else:
        user_at = old.user_ids.positions_in(interactions.user_ids)
        own = _placed(old.user_rows, user_at)
        items = _completed(items, (by_item,), _matrix_of(own, n_users, old.dim), budget.item_nnz)
        own = _completed(own, (matrix,), _matrix_of(items, n_items, old.dim), budget.user_nnz)
        users = _rows(own, _squares(interactions.user_degrees(), user_at, config))
    bias = np.full(n_items, np.median(old.item_bias), np.float32)
    bias[at] = old.item_bias
    squares = _squares(interactions.item_degrees(), at, config)
    return Parameters(ItemParameters(_rows(items, squares), bias, squares, weight), users, old.dim)


def complete_neighbours(
    old: ModelArrays, interactions: Interactions, fitted: Neighbours, most: int
) -> Neighbours:
    """Keep the neighbours of the old model; take fitted ones where a new item has a part.

    Args:
        old: The model.
        interactions: Interactions that were learned from, as :func:`widen` returns them.
        fitted: Neighbours fitted on them, scaled.
        most: Entries at most.
    """
    if old.neighbours is None:
        return fitted
    at, n_items = old.item_ids.positions_in(interactions.item_ids), interactions.n_items
    counts = np.zeros(n_items, np.int64)
    counts[at] = np.diff(old.neighbours.indptr)  # ids ascend, so rows keep their order
    items = at[old.neighbours.items].astype(np.int32)
    widened = Neighbours(indptr_from_counts(counts), items, old.neighbours.values)
    is_old = np.zeros(n_items, np.bool_)
    is_old[at] = True
    return join_neighbours(widened, fitted, is_old, most)


class _Entries(NamedTuple):
    """Weights of a table, in any order: their rows, dimensions and values, each of shape [m]."""

    rows: NDArray[np.int64]
    dims: NDArray[np.int64]
    values: NDArray[np.float32]


def _history_weights(
    old: ModelArrays, at: NDArray[np.int64], interactions: Interactions, config: Config
) -> NDArray[np.float32]:
    """Keep the old weights; give new items those that go with their degrees."""
    if old.history_weights is None:
        return np.ones(interactions.n_items, np.float32)
    by_degree = np.maximum(interactions.item_degrees(), 1) ** -config.degree_exponent
    weight = by_degree * np.median(old.history_weights / by_degree[at])
    weight[at] = old.history_weights
    return np.asarray(weight, np.float32)


def _matrix(interactions: Interactions) -> csr_matrix:
    """Interactions as a matrix of ones, float32 of shape [n_users, n_items]."""
    from scipy.sparse import csr_matrix

    ones = np.ones(interactions.nnz, np.float32)
    shape = (interactions.n_users, interactions.n_items)
    return csr_matrix((ones, interactions.items, interactions.indptr), shape)


def _matrix_of(entries: _Entries, n_rows: int, dim: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((entries.values, (entries.rows, entries.dims)), (n_rows, dim))


def _placed(table: Table, at: NDArray[np.int64]) -> _Entries:
    """Number the rows of a table anew."""
    return _Entries(np.repeat(at, np.diff(table.indptr)), table.dims.astype(np.int64), table.values)


def _completed(
    entries: _Entries, neighbours: tuple[csr_matrix, ...], of: csr_matrix, budget: int
) -> _Entries:
    """Fill the empty rows of a table with the sums of their neighbours' rows, within the budget.

    Args:
        entries: The old rows.
        neighbours: Matrices whose product, of shape [n, m], says how much each row of the table has
            to do with each row of ``of``.
        of: Rows of shape [m, dim].
        budget: Most weights.
    """
    n_rows, dim = neighbours[0].shape[0], of.shape[1]
    empty = np.flatnonzero(np.bincount(entries.rows, minlength=n_rows) == 0)
    entries = _largest(entries, budget - empty.size)
    if not empty.size:
        return entries
    width = min(dim, _WIDEST, (budget - entries.rows.size) // empty.size)
    norm = np.sqrt(np.square(entries.values, dtype=np.float64).sum() / max(n_rows - empty.size, 1))
    parts = [entries]
    for first in range(0, empty.size, _ROWS_AT_A_TIME):
        rows = empty[first : first + _ROWS_AT_A_TIME]
        sums = neighbours[0][rows]
        for factor in (*neighbours[1:], of):
            sums = sums @ factor
        parts.append(_coded(rows, sums.toarray(), width, float(norm)))
    return _Entries(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.dims for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _largest(entries: _Entries, most: int) -> _Entries:
    """Keep the ``most`` largest weights, but the largest of each row in any case."""
    excess = entries.rows.size - most
    if excess <= 0:
        return entries
    size = np.abs(entries.values)
    order = np.lexsort((-size, entries.rows))
    rows = entries.rows[order]
    size[order[np.concatenate(([True], rows[1:] != rows[:-1]))]] = np.inf
    keep = np.sort(np.argsort(size, kind="stable")[excess:])
    return _Entries(entries.rows[keep], entries.dims[keep], entries.values[keep])


def _coded(rows: NDArray[np.int64], sums: NDArray[np.float32], width: int, norm: float) -> _Entries:
    """Keep the ``width`` largest entries of each row, at least one, scaled to a norm.

    Args:
        rows: Numbers of the rows, of shape [r].
        sums: float32 array of shape [r, dim].
        width: Most entries of a row.
        norm: Norm of a row that is not all zero.
    """
    dims = np.argsort(-np.abs(sums), axis=1, kind="stable")[:, :width]
    values = np.take_along_axis(sums, dims, axis=1)
    norms = np.sqrt(np.square(values).sum(axis=1, keepdims=True))
    values = np.divide(norm * values, norms, out=np.zeros_like(values), where=norms > 0)
    keep = values != 0
    keep[:, 0] = True
    owners = np.broadcast_to(rows[:, None], dims.shape)
    return _Entries(owners[keep], dims[keep], values[keep])


def _squares(
    degrees: NDArray[np.int64], old: NDArray[np.int64], config: Config
) -> NDArray[np.float32]:
    """Guess Adagrad's sum for each row: old rows of many interactions take the smallest steps.

    Args:
        degrees: Interactions of each row, of shape [n].
        old: Numbers of the old rows.
        config: Hyperparameters.
    """
    squares = np.full(degrees.size, config.initial_square, np.float32)
    squares[old] += _SQUARE * degrees[old]
    return squares


def _rows(entries: _Entries, squares: NDArray[np.float32]) -> Embeddings:
    """Sort weights into rows; ``squares`` has Adagrad's sum for each row."""
    order = np.lexsort((entries.dims, entries.rows))
    lengths = np.bincount(entries.rows, minlength=squares.size)
    return Embeddings(
        indptr_from_counts(lengths),
        entries.dims[order].astype(np.uint16),
        entries.values[order].astype(np.float32),
        np.repeat(squares, lengths),
    )


def texts_of(
    labels: Mapping[Any, str] | None, interactions: Interactions, old: ModelArrays | None
) -> list[str] | None:
    """Return a text for each item: the given one, else that of the old model, else none."""
    ids = interactions.item_ids
    texts = [""] * len(ids)
    if old is not None and old.labels is not None:
        for position, label in zip(old.item_ids.positions_in(ids), old.labels, strict=True):
            texts[position] = label
    if labels:
        items = ids.take(np.arange(len(ids)))
        texts = [labels.get(item, text) for item, text in zip(items, texts, strict=True)]
    return texts if any(texts) else None
