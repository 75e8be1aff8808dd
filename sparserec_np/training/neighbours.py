"""Item-item neighbours: for each item a regression on a few of the items it shares users with.

Wide sparse factors and neighbours know different things. The factors say what goes with a taste;
the neighbours say which items are taken together, however few users tell. They are fitted by
themselves in a few seconds: choose the candidates of each item, regress it on them
(:mod:`sparserec_np.training.kernels.neighbours`), keep an exact number of the entries that matter
most, and regress again on what is left.

Sources: X. Ning, G. Karypis, "SLIM: sparse linear methods for top-N recommender systems", ICDM
2011; H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, of whose dense
regression on all items this is the sparse one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.modelfile.arrays import Neighbours
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.neighbours import Matrix, Rows, free_tasks, regress
from sparserec_np.training.nmf import transposed
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.utils.parallel import run_parallel

LONGEST_HISTORY = 10_000
"""Users of more items are left out: their pairs are most of the work, and say least."""

_TARGETS = 1024  # targets that are regressed before their entries are pruned


class _Entries(NamedTuple):
    """Entries of the matrix, by ascending target, then candidate; each array of shape [m]."""

    targets: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float32]

    def take(self, where: NDArray[Any] | slice) -> _Entries:
        """Return some of them, by their places or by a mask."""
        return _Entries(self.targets[where], self.items[where], self.values[where])


def fit_neighbours(interactions: Interactions, config: Config, most: int) -> Neighbours:
    """Fit the neighbours of all items.

    The result does not depend on the number of threads. Memory beyond the interactions is a second
    copy of them, by item, ``O(most + n_items)``, and for each thread ``O(n_users + n_items +
    neighbour_candidates^2)`` and the interactions of the candidates of one item.

    Args:
        interactions: Interactions to learn from.
        config: Hyperparameters, of which those named ``neighbour_...`` count.
        most: Entries to keep at most: those of the largest ``|b| sqrt(degree)``, ``degree`` being
            the number of users who have the item that adds ``b``.

    Returns:
        The weights, above 0, not scaled yet; fewer entries than ``most`` where there are not so
        many.
    """
    matrix = _matrix(interactions, config)
    root_degrees = np.sqrt(interactions.item_degrees())
    kept = _Entries(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    for first in range(0, interactions.n_items, _TARGETS):
        n = min(_TARGETS, interactions.n_items - first)
        rows = _room(n, config.neighbour_candidates)
        _regress(first, matrix, config.neighbour_reg, rows, choose=True)
        kept = _joined([kept, _entries(first, rows)])
        kept = _largest(kept, np.abs(kept.values) * root_degrees[kept.items], most)
    parts = [_entries(first, rows) for first, rows in _refitted(kept, matrix, config.neighbour_reg)]
    return _by_item(_joined(parts or [kept]), interactions.n_items)


def _matrix(interactions: Interactions, config: Config) -> Matrix:
    (_, (item_indptr, users)) = next(transposed(interactions, max(interactions.nnz, 1)))
    lengths = interactions.user_degrees()
    user_weight = np.maximum(lengths, 1).astype(np.float64) ** -config.neighbour_user_exponent
    user_weight[lengths > LONGEST_HISTORY] = 0.0
    degrees = np.maximum(interactions.item_degrees(), 1).astype(np.float64)
    return Matrix(
        interactions.indptr,
        interactions.items,
        item_indptr,
        users,
        user_weight,
        degrees**-config.neighbour_degree_exponent,
    )


def _room(n: int, width: int) -> Rows:
    """Return rows without candidates, with room for ``width`` each."""
    return Rows(
        np.zeros((n, width), np.int32), np.zeros((n, width), np.float32), np.zeros(n, np.int32)
    )


def _regress(first: int, matrix: Matrix, reg: float, rows: Rows, *, choose: bool) -> None:
    run_parallel(regress, free_tasks(rows.counts.size), first, choose, matrix, float(reg), rows)


def _entries(first: int, rows: Rows) -> _Entries:
    """Return what is not 0 of the rows of the targets from ``first`` on."""
    used = np.arange(rows.items.shape[1]) < rows.counts[:, None]
    used &= rows.values != 0
    targets = np.repeat(np.arange(first, first + len(used), dtype=np.int32), used.sum(axis=1))
    return _Entries(targets, rows.items[used], rows.values[used])


def _joined(parts: list[_Entries]) -> _Entries:
    return _Entries(
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _largest(entries: _Entries, importance: NDArray[np.float64], most: int) -> _Entries:
    """Keep the ``most`` most important entries, of equally important ones the first."""
    if importance.size <= most:
        return entries
    if most == 0:
        return entries.take(slice(0))
    least = np.partition(importance, importance.size - most)[importance.size - most]
    keep = importance > least
    ties = np.flatnonzero(importance == least)
    keep[ties[: most - np.count_nonzero(keep)]] = True
    return entries.take(keep)


def _refitted(kept: _Entries, matrix: Matrix, reg: float) -> Iterator[tuple[int, Rows]]:
    """Regress the targets again, some at a time, on what is kept of their candidates."""
    n_items = matrix.item_scale.size
    counts = np.bincount(kept.targets, minlength=n_items).astype(np.int32)
    for first in range(0, n_items, _TARGETS):
        some = counts[first : first + _TARGETS]
        here = slice(*np.searchsorted(kept.targets, (first, first + len(some))))
        if here.start == here.stop:
            continue
        rows = _room(len(some), int(some.max()))
        rows.counts[:] = some
        rows.items[np.arange(rows.items.shape[1]) < some[:, None]] = kept.items[here]
        _regress(first, matrix, reg, rows, choose=False)
        yield first, rows


def _by_item(entries: _Entries, n_items: int) -> Neighbours:
    """Sort entries by the item of a history, then by target."""
    order = np.argsort(entries.items, kind="stable")
    counts = np.bincount(entries.items, minlength=n_items)
    return Neighbours(indptr_from_counts(counts), entries.targets[order], entries.values[order])


def prune_neighbours(fitted: Neighbours, item_degrees: NDArray[np.int64], most: int) -> Neighbours:
    """Keep the entries that :func:`fit_neighbours` would keep, without regressing again.

    Args:
        fitted: Neighbours, not scaled.
        item_degrees: Users of each item, int64 array of shape [n_items].
        most: Entries to keep at most.
    """
    entries = _by_target(fitted)
    importance = np.abs(entries.values) * np.sqrt(item_degrees)[entries.items]
    return _by_item(_largest(entries, importance, most), item_degrees.size)


def join_neighbours(
    old: Neighbours, fitted: Neighbours, is_old: NDArray[np.bool_], most: int
) -> Neighbours:
    """Complete the neighbours of an older model by fitted ones that have a part in new items.

    Args:
        old: Those of the older model, in the numbering of all items.
        fitted: Those fitted on new interactions, scaled as the old ones are.
        is_old: Whether the older model knows each item, bool array of shape [n_items].
        most: Entries to keep at most, the largest ones.
    """
    ours, theirs = _by_target(old), _by_target(fitted)
    new = ~(is_old[theirs.targets] & is_old[theirs.items])
    joined = _joined([ours, theirs.take(new)])
    order = np.lexsort((joined.items, joined.targets))
    joined = joined.take(order)
    kept = _largest(joined, np.abs(joined.values).astype(np.float64), most)
    return _by_item(kept, is_old.size)


def _by_target(neighbours: Neighbours) -> _Entries:
    """Undo :func:`_by_item`."""
    items = np.repeat(np.arange(len(neighbours), dtype=np.int32), np.diff(neighbours.indptr))
    order = np.argsort(neighbours.items, kind="stable")
    return _Entries(neighbours.items[order], items[order], neighbours.values[order])
