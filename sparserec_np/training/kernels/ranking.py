"""Ranks of held-out items among all items, for the validation between epochs.

Only the ranks of a few items of each user are wanted, not the best items: no search is needed, and
the users of a group are scored side by side, as negatives are. Memory is ``O(dim * LANES)`` a
thread, and a number for each held-out item.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.retrieval.signed_power import signed_power
from sparserec_np.training.kernels.intrinsics import dot_lanes
from sparserec_np.training.kernels.negatives import add
from sparserec_np.utils.compiled import inline, kernel
from sparserec_np.utils.parallel import LANES

_BLOCK = 512  # items that are scored, then compared: their scores stay in the first-level cache
_NEVER = 1 << 30  # rank of an item that is left out of the ranking


class HistoryShape(NamedTuple):
    """Scale and power of the vector of a history, as in the config."""

    exponent: np.float32
    eighths: np.int64


class HeldOut(NamedTuple):
    """The held-out items of some users, and what is found of them.

    Attributes:
        indptr: int64 array of shape [n_users + 1].
        items: int32 array of shape [nnz].
        scores: float32 array of shape [nnz]; filled.
        ranks: Rank of each item from 0, exact below ``k``; int32 array of shape [nnz]; filled.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    ranks: NDArray[np.int32]


@inline
def _compose(users, user, shape, items, summed, lanes, lane):
    """Write the vector of a user into a lane; ``shape`` is None for one with a row of weights."""
    rows = items.rows
    first, last = users.indptr[user], users.indptr[user + 1]
    if shape is None:
        for d in range(summed.size):
            lanes[d, lane] = np.float32(0.0)
        for e in range(first, last):
            lanes[users.columns[e], lane] = users.values[e]
    else:
        length = np.float32(0.0)
        summed[:] = 0.0
        for e in range(first, last):
            item = users.columns[e]
            of_age = users.values[e] if users.values.size > 0 else np.float32(1.0)
            length += of_age
            start, end = rows.indptr[item], rows.indptr[item + 1]
            add(rows, start, end, items.weight[item] * of_age, summed)
        scale = max(length, np.float32(1.0)) ** -shape.exponent
        for d in range(summed.size):
            lanes[d, lane] = scale * signed_power(summed[d], shape.eighths)


@inline
def _score_held(items, lanes, lane, held, scores, held_scores, ranks):
    """Score a user's held-out items, before any item is compared with them."""
    rows = items.rows
    for t in range(held.size):
        start, stop = rows.indptr[held[t]], rows.indptr[held[t] + 1]
        dot_lanes(rows.values, rows.dims, start, stop, lanes, scores, 0)
        held_scores[t], ranks[t] = scores[0, lane] + items.bias[held[t]], 0


@inline
def _leave_out(seen, place, begin, end, held, scores, ranks):
    """Let no item that is left out, of a block from ``begin`` to ``end - 1``, rank above another.

    Returns:
        The place in ``seen``, from ``place`` on, of the first item behind the block.
    """
    while place < seen.size and seen[place] < end:
        scores[seen[place] - begin] = -np.inf
        for t in range(held.size):
            if held[t] == seen[place]:
                ranks[t] = _NEVER
        place += 1
    return place


@inline
def _count_better(scores, score, place):
    """Count the scores that rank above one; equal ones do where they stand before ``place``."""
    before, n = min(max(place, 0), scores.size), np.int32(0)
    for other in scores[:before]:  # two loops of comparisons alone: both become vectors
        n += np.int32(other >= score)
    for other in scores[before:]:
        n += np.int32(other > score)
    return n


@kernel
def rank_items(seat, n_seats, dim, items, users, shape, seen, held, k):
    """Find the ranks of held-out items; each thread calls it.

    Equally good items rank by their number, as in every top-k. The bits of the scores do not depend
    on the number of threads.

    Args:
        seat: Number of the thread.
        n_seats: How many threads there are.
        dim: Number of columns of the item table.
        items: :class:`sparserec_np.training.kernels.arrays.ItemParameters`.
        users: :class:`sparserec_np.retrieval.batch_top_k.UserRows`.
        shape: :class:`HistoryShape` where ``users`` are histories, else None.
        seen: :class:`sparserec_np.retrieval.batch_top_k.ItemLists` of what is left out, ascending
            for each user.
        held: :class:`HeldOut`; filled.
        k: Ranks from here on need not be exact.
    """
    rows, n_items, n_users = items.rows, items.bias.size, held.indptr.size - 1
    summed, lanes = np.zeros(dim, np.float32), np.zeros(dim * LANES, np.float32).reshape(dim, LANES)
    scores = np.zeros(_BLOCK * LANES, np.float32).reshape(_BLOCK, LANES)
    column = np.empty(_BLOCK, np.float32)
    for first in range(seat * LANES, n_users, n_seats * LANES):
        last = min(first + LANES, n_users)
        for user in range(first, last):
            _compose(users, user, shape, items, summed, lanes, user - first)
        for user in range(first, last):
            own = slice(held.indptr[user], held.indptr[user + 1])
            _score_held(
                items,
                lanes,
                user - first,
                held.items[own],
                scores,
                held.scores[own],
                held.ranks[own],
            )
        places = seen.indptr[first:last].copy()
        for begin in range(0, n_items, _BLOCK):
            end = min(begin + _BLOCK, n_items)
            for item in range(begin, end):
                start, stop = rows.indptr[item], rows.indptr[item + 1]
                dot_lanes(rows.values, rows.dims, start, stop, lanes, scores, item - begin)
            for user in range(first, last):
                of_user = column[: end - begin]
                for s in range(of_user.size):
                    of_user[s] = scores[s, user - first] + items.bias[begin + s]
                own = slice(held.indptr[user], held.indptr[user + 1])
                places[user - first] = _leave_out(
                    seen.items[: seen.indptr[user + 1]],
                    places[user - first],
                    begin,
                    end,
                    held.items[own],
                    of_user,
                    held.ranks[own],
                )
                for t in range(held.indptr[user], held.indptr[user + 1]):
                    if held.ranks[t] < k:
                        held.ranks[t] += _count_better(
                            of_user, held.scores[t], held.items[t] - begin
                        )
