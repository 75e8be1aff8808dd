"""Regressions of items on the items that they share most users with: compiled.

For a *target* item ``i`` the *candidates* are the items ``j`` with the largest
``c_ij / degree_j^a``, where ``c_ij`` is the sum of ``n_u^-w`` over the users ``u`` who have both,
``n_u`` being the length of their histories. The weights ``b_j`` of the candidates minimise

    sum over u of n_u^-w (x_ui - sum over j of b_j x_uj)^2 + reg |b|^2

and are not negative, by coordinate descent. (Weights of either sign were no better on any of five
data sets.) The products ``G`` of the candidates' columns, which that takes, are counted
for each target anew: every user of a candidate keeps a list of those that came before, which costs
one addition for each pair of candidates of a user, not one for each pair of items. So no array is
larger than the interactions, and none has a place for each pair of items.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.training.kernels.intrinsics import claim, task_at
from sparserec_np.training.kernels.selection import sort_few
from sparserec_np.utils.compiled import helper, kernel

SWEEPS = 12
"""Passes of coordinate descent over the candidates of a target."""

TARGETS_PER_TASK = 16  # targets that a thread takes at a time: popular ones take far longer


class Matrix(NamedTuple):
    """Interactions by user and by item, and their weights.

    Attributes:
        indptr: Histories of the users, int64 array of shape [n_users + 1].
        items: int32 array of shape [nnz], ascending within a history.
        item_indptr: Users of the items, int64 array of shape [n_items + 1].
        users: int32 array of shape [nnz], ascending for each item.
        user_weight: ``n_u^-w``, float64 array of shape [n_users].
        item_scale: ``degree_j^-a``, float64 array of shape [n_items].
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    item_indptr: NDArray[np.int64]
    users: NDArray[np.int32]
    user_weight: NDArray[np.float64]
    item_scale: NDArray[np.float64]


class Rows(NamedTuple):
    """Regressions of some consecutive targets, with room for the same number of candidates each.

    Attributes:
        items: Candidates, int32 array of shape [n, width], ascending in the used places.
        values: Their weights, float32 array of shape [n, width].
        counts: How many places are used, int32 array of shape [n].
    """

    items: NDArray[np.int32]
    values: NDArray[np.float32]
    counts: NDArray[np.int32]


class _Scratch(NamedTuple):
    """Scratch memory of a thread.

    Attributes:
        shared: ``c_ij`` of the target, zero between targets, float64 array of shape [n_items].
        touched: Where it is not zero, int32 array of shape [n_items].
        head: Last entry in the list of each user's candidates, -1 between targets, int64 array of
            shape [n_users].
        products: ``G``, the column behind the last candidate for the target; float64 array of shape
            [width + 1, width + 1].
        rest: ``g - G b``, float64 array of shape [width].
        similarity: Of the candidates, largest first, float64 array of shape [width].
    """

    shared: NDArray[np.float64]
    touched: NDArray[np.int32]
    head: NDArray[np.int64]
    products: NDArray[np.float64]
    rest: NDArray[np.float64]
    similarity: NDArray[np.float64]


class _Lists(NamedTuple):
    """For each user the candidates that the user has, linked from the last to the first.

    Attributes:
        before: The entry before in the list of the same user, -1 for none, int64 array of shape
            [m].
        candidate: The candidate, numbered from 0; int32 array of shape [m].
    """

    before: NDArray[np.int64]
    candidate: NDArray[np.int32]


@helper
def _choose(target, matrix, work, chosen):
    """Write the best candidates of a target, ascending, to ``chosen``; return their number.

    Of equally good ones those of the smaller numbers are taken.
    """
    n_touched = 0
    for e in range(matrix.item_indptr[target], matrix.item_indptr[target + 1]):
        user = matrix.users[e]
        weight = matrix.user_weight[user]
        if weight == 0.0:
            continue
        for item in matrix.items[matrix.indptr[user] : matrix.indptr[user + 1]]:
            if work.shared[item] == 0.0:
                work.touched[n_touched] = item
                n_touched += 1
            work.shared[item] += weight
    best, n = work.similarity, 0
    for item in work.touched[:n_touched]:
        value = work.shared[item] * matrix.item_scale[item]
        work.shared[item] = 0.0
        if item == target or (n == chosen.size and value < best[n - 1]):
            continue
        if n == chosen.size and value == best[n - 1] and item > chosen[n - 1]:
            continue
        n = min(n + 1, chosen.size)
        t = n - 1
        while t > 0 and (value > best[t - 1] or (value == best[t - 1] and item < chosen[t - 1])):
            best[t], chosen[t] = best[t - 1], chosen[t - 1]
            t -= 1
        best[t], chosen[t] = value, item
    sort_few(chosen[:n])
    return n


@helper
def _count_products(target, candidates, matrix, work, lists):
    """Count ``G`` of the candidates and the target.

    Args:
        target: The item that is regressed.
        candidates: The items that it is regressed on, int32 array of shape [n].
        matrix: :class:`Matrix`.
        work: :class:`_Scratch`; its ``products`` are filled above the diagonal.
        lists: :class:`_Lists` of any size.

    Returns:
        The lists, or larger ones.
    """
    n = candidates.size
    needed = 0
    for item in candidates:
        needed += matrix.item_indptr[item + 1] - matrix.item_indptr[item]
    if needed > lists.before.size:
        room = needed + needed // 4
        lists = _Lists(np.empty(room, np.int64), np.empty(room, np.int32))
    work.products[: n + 1, : n + 1] = 0.0
    filled = 0
    for t in range(n + 1):
        item = candidates[t] if t < n else target
        for e in range(matrix.item_indptr[item], matrix.item_indptr[item + 1]):
            user = matrix.users[e]
            weight = matrix.user_weight[user]
            place = work.head[user]
            while place >= 0:
                work.products[lists.candidate[place], t] += weight
                place = lists.before[place]
            if t < n:
                work.products[t, t] += weight
                lists.before[filled], lists.candidate[filled] = work.head[user], t
                work.head[user] = filled
                filled += 1
    for item in candidates:
        for e in range(matrix.item_indptr[item], matrix.item_indptr[item + 1]):
            work.head[matrix.users[e]] = -1
    return lists


@helper
def _solve(n, reg, work, values):
    """Minimise over weights that are not negative, by coordinate descent from zero."""
    products, rest = work.products, work.rest
    for s in range(n):
        rest[s] = products[s, n]
        values[s] = 0.0
        for t in range(s):
            products[s, t] = products[t, s]
    for _ in range(SWEEPS):
        for s in range(n):
            before = np.float64(values[s])
            wanted = before + (rest[s] - reg * before) / (products[s, s] + reg)
            values[s] = max(wanted, 0.0)
            change = np.float64(values[s]) - before
            if change != 0.0:
                for t in range(n):
                    rest[t] -= change * products[s, t]


@kernel
def regress(seat, n_seats, taken, first, choose, matrix, reg, rows):
    """Regress consecutive targets; each thread calls it.

    Args:
        seat: Number of the thread.
        n_seats: How many threads there are.
        taken: All 0, int64 array with an element for each ``TARGETS_PER_TASK`` targets.
        first: The first target.
        choose: Whether to choose the candidates; else those in ``rows`` are taken.
        matrix: :class:`Matrix`.
        reg: Penalty on the squares of the weights.
        rows: :class:`Rows` to fill.
    """
    n_rows, width = rows.items.shape
    work = _Scratch(
        np.zeros(matrix.item_scale.size),
        np.empty(matrix.item_scale.size, np.int32),
        np.full(matrix.user_weight.size, -1, np.int64),
        np.empty((width + 1, width + 1)),
        np.empty(width),
        np.empty(width),
    )
    lists = _Lists(np.empty(0, np.int64), np.empty(0, np.int32))
    for turn in range(taken.size):
        task = task_at(turn, seat, n_seats, taken.size)
        if taken[task] != 0 or not claim(taken, task):
            continue
        for r in range(task * TARGETS_PER_TASK, min(n_rows, (task + 1) * TARGETS_PER_TASK)):
            target = first + r
            if choose:
                rows.counts[r] = _choose(target, matrix, work, rows.items[r])
            n = rows.counts[r]
            if n:
                lists = _count_products(target, rows.items[r, :n], matrix, work, lists)
                _solve(n, reg, work, rows.values[r])


def free_tasks(n_targets: int) -> NDArray[np.int64]:
    """Return an array in which no task of regressing ``n_targets`` targets is taken yet."""
    return np.zeros(-(-n_targets // TARGETS_PER_TASK), np.int64)
