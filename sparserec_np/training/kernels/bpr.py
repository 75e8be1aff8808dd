"""Compiled training: BPR over sparse rows, for both user models.

**Who owns what.** The users of an epoch come in a random order, cut into *groups* of at most
``LANES`` users; ``GROUPS`` groups form a *batch*. A batch has two parallel phases:

1. One task a group reads the item table as the last batch left it. :func:`choose_group` draws a
   negative for each positive; :func:`_visit_group` then writes *records*: the gradient of one item
   row from one user. Neither writes anything shared. In the embedding model the latter also makes
   the step of its users' own rows, which no other group of the batch touches.
2. :func:`apply_part`, one task a part of the item rows, walks the records of its rows in the order
   (group, record) and makes their Adagrad steps. No row belongs to two parts.

Threads take the largest groups first, so that they end at about the same time. Of the parts each
begins with those at its own *seat*, the same ones in each batch, so that most of what it changes
stays in its core's cache; then it takes what others have not begun.

Every number is computed from the same inputs in the same order whatever the number of threads, so
the same seed gives the same bytes. What a group chooses are a few integers, and all else follows
from them: so several machines share out the choosing, tell each other what they chose, and do the
rest alike (:func:`choose_batch`, :func:`finish_batch`).

What is called for every user is inlined by Numba itself, not left to LLVM: to pass the workspace
on, a call counts references to each of its arrays.

**Triples.** A user's vector ``x`` stays as it is while all its positives are visited; the gradient
of ``x`` is gathered in ``dx`` on the way and passed on at the end: to the user's own row, or to all
rows of the history. With history users ``x`` is the sum of the history, bent
(:mod:`sparserec_np.retrieval.signed_power`), and a positive ``i`` is scored by ``x`` without its own part.
Its negative is chosen beforehand, by :mod:`sparserec_np.training.kernels.negatives`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sparserec_np.retrieval.signed_power import bend, slope
from sparserec_np.training.kernels.arrays import GROUPS, PARTS, ItemParameters
from sparserec_np.training.kernels.gradients import apply_part, lay_out, record, span
from sparserec_np.training.kernels.intrinsics import SEATS, step_row, take, task_of
from sparserec_np.training.kernels.negatives import ONE, add, choose_group, compose_group, scale_of
from sparserec_np.utils.parallel import LANES

GROUP_POSITIVES = 512  # a group takes no further user once it has so many positives

_MANY = 1e200  # a product that is not far from overflowing


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _dot(rows, first, last, x):
    total = np.float32(0.0)
    for e in range(first, last):
        total += rows.values[e] * x[rows.dims[e]]
    return total


@njit(error_model="numpy", cache=True, nogil=True)
def _keep(g, lane, eighths, w):
    """Keep the vector of a user as it is with nothing left out, and its derivative."""
    x, summed = w.x[g, lane], w.summed[g, lane]
    for d in range(x.size):
        w.whole[g, d] = x[d]
        w.slope[g, d] = slope(summed[d], x[d], eighths)


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _visit(g, lane, positives, negatives, items, history, scale, step, w):
    """Visit one user's positives: write two records a triple, gather ``dx``; return the totals."""
    rows, x, dx, spare, gradient, own_start = (
        items.rows,
        w.x[g, lane],
        w.dx[g, lane],
        w.spare[g],
        w.gradient[g],
        w.own_start[g],
    )
    nothing = np.float32(0.0)
    if history:
        summed, whole, slopes = w.summed[g, lane], w.whole[g], w.slope[g]
        _keep(g, lane, step.history_eighths, w)
    loss = 0.0
    odds = 1.0
    triples = 0
    for t in range(positives.size):
        i, j = np.uint64(positives[t]), np.uint64(negatives[t])
        own = items.weight[i] if history else nothing
        i0, i1 = span(rows, i)
        if negatives[t] < 0:  # nothing to learn from i, but its row still takes its part of dx
            if history:
                start = record(w, g, i, ~lane, nothing, i1 - i0)
                own_start[t] = start
                gradient[start : start + (i1 - i0)] = 0.0
            continue
        j0, j1 = span(rows, j)
        if history:  # leave i out
            for e in range(i0, i1):
                d = rows.dims[e]
                y = summed[d] - own * rows.values[e]
                x[d] = bend(y, step.history_eighths)
                slopes[d] = slope(y, x[d], step.history_eighths)
        margin = scale * (_dot(rows, i0, i1, x) - _dot(rows, j0, j1, x))
        margin = margin + items.bias[i] - items.bias[j]
        small = np.exp(-abs(margin))
        push = (small if margin > 0 else ONE) / (ONE + small)  # sigmoid(-margin)
        loss += max(-margin, nothing)
        odds *= 1.0 + small
        if odds > _MANY:
            loss += np.log(odds)
            odds = 1.0
        triples += 1
        pull = push * scale
        start = record(w, g, i, ~lane, -push, i1 - i0)
        if history:
            own_start[t] = start
            add(rows, j0, j1, ONE, spare)
            for e in range(i0, i1):
                d, value = rows.dims[e], rows.values[e]
                of_own = pull * slopes[d] * (value - spare[d])
                gradient[start + (e - i0)] = own * of_own - pull * x[d]
                dx[d] += pull * slopes[d] * value
            for e in range(j0, j1):
                spare[rows.dims[e]] = 0.0
        else:
            for e in range(i0, i1):
                d = rows.dims[e]
                gradient[start + (e - i0)] = -pull * x[d]
                dx[d] += pull * rows.values[e]
        start = record(w, g, j, lane, push, j1 - j0)
        for e in range(j0, j1):
            d = rows.dims[e]
            gradient[start + (e - j0)] = pull * x[d]
            through = pull * slopes[d] if history else pull
            dx[d] -= through * rows.values[e]
        if history:
            for e in range(i0, i1):
                d = rows.dims[e]
                x[d] = whole[d]
                slopes[d] = slope(summed[d], x[d], step.history_eighths)
    if history:
        for t in range(positives.size):
            i = positives[t]
            own = items.weight[i]
            i0, i1 = span(rows, i)
            for e in range(i0, i1):
                gradient[own_start[t] + (e - i0)] -= own * dx[rows.dims[e]]
    return loss + np.log(odds), triples


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _step_user(users, user, dx, gradient, positives, step, growth):
    """Make the step of a user's own row, and note its gradient where nothing is stored.

    ``gradient`` is scratch memory for that of the stored weights, float32 array of shape [dim].
    """
    slot = growth.slot[user]
    if slot >= 0:
        for d in range(dx.size):
            growth.sums[slot, d] -= dx[d]
    first, last = span(users, user)
    for e in range(first, last):
        gradient[e - first] = -dx[users.dims[e]]
    step_row(
        users.values, users.squares, first, last, last, gradient, np.uint64(0),
        step.learning_rate, step.reg * np.float32(positives),
    )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def _visit_group(
    g, group, indptr, interactions, rows, bias, bias_squares, weight, users, history, step, w,
    growth,
):  # fmt: skip
    items = ItemParameters(rows, bias, bias_squares, weight)
    lay_out(g, group, indptr, interactions, rows, bias, history, w)
    w.dx[g, : group.size] = 0.0
    sum_of_losses, n_triples = 0.0, 0
    at = 0
    for lane in range(group.size):
        user = group[lane]
        positives = interactions[indptr[user] : indptr[user + 1]]
        negatives = w.negatives[g, at : at + positives.size]
        at += positives.size
        if history and positives.size < 2:
            continue
        scale = scale_of(positives.size, history, step)
        w.scale[g, lane] = scale
        loss, triples = _visit(g, lane, positives, negatives, items, history, scale, step, w)
        sum_of_losses += loss
        n_triples += triples
        if not history:
            _step_user(users, user, w.dx[g, lane], w.whole[g], positives.size, step, growth)
    w.loss[g] = sum_of_losses
    w.triples[g] = n_triples


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _count(batch, starts):
    """Number of groups in a batch."""
    return min(GROUPS, starts.size - 1 - batch * GROUPS)


@njit(error_model="numpy", cache=True, parallel=True)
def run_batches(
    first, last, starts, order, turns, indptr, interactions, rows, bias, bias_squares, weight,
    users, history, step, w, item_growth, user_growth,
):  # fmt: skip
    """Train on the batches ``first`` to ``last - 1`` of an epoch.

    Args:
        first: First batch.
        last: One past the last batch.
        starts: Where each group begins in ``order``, int64 array of shape [groups + 1].
        order: Users, int64 array.
        turns: In which order the groups of each batch are taken, see :func:`take_turns`.
        indptr: int64 array of shape [n_users + 1].
        interactions: Items of the users, int32 array.
        rows: The item table; it is changed.
        bias: See :class:`ItemParameters`, as the two that follow; it is changed.
        bias_squares: It is changed.
        weight: Weight of an item within a history.
        users: The user table, empty for the history model; it is changed.
        history: Whether users are composed from their histories.
        step: Scalars.
        w: Scratch memory.
        item_growth: Where the gradients of sampled item rows are summed.
        user_growth: The same for user rows.

    Returns:
        Sum of the losses, and number of triples.
    """
    loss = 0.0
    triples = 0
    for batch in range(first, last):
        begin = batch * GROUPS
        n_groups = _count(batch, starts)
        w.tasks[:] = 0
        for _ in prange(SEATS):
            for turn in range(n_groups):
                g = turns[batch, turn]
                if w.tasks[g] == 0 and take(w.tasks, g):
                    group = order[starts[begin + g] : starts[begin + g + 1]]
                    choose_group(
                        g, group[0], group, indptr, interactions, rows, bias, weight, users,
                        history, step, w,
                    )  # fmt: skip
                    _visit_group(
                        g, group, indptr, interactions, rows, bias, bias_squares, weight, users,
                        history, step, w, user_growth,
                    )  # fmt: skip
        w.tasks[:] = 0
        for seat in prange(SEATS):
            for turn in range(PARTS):
                part = task_of(seat, turn, PARTS)
                if w.tasks[part] == 0 and take(w.tasks, part):
                    apply_part(
                        part, n_groups, rows, bias, bias_squares, weight, history, step, w,
                        item_growth,
                    )  # fmt: skip
        for g in range(n_groups):
            loss += w.loss[g]
            triples += w.triples[g]
    return loss, triples


@njit(error_model="numpy", cache=True, parallel=True)
def choose_batch(
    batch, rank, size, starts, order, indptr, interactions, rows, bias, bias_squares, weight, users,
    history, step, w,
):  # fmt: skip
    """Draw the negatives of those groups of a batch whose place in it is ``rank`` modulo ``size``.

    All else is as :func:`run_batches` has it, but that the user at place t of ``order`` is row t of
    ``indptr`` and ``users``, whatever the number of that user.
    """
    begin = batch * GROUPS
    for g in prange(_count(batch, starts)):
        if g % size == rank:
            group = np.arange(starts[begin + g], starts[begin + g + 1])
            choose_group(
                g, order[starts[begin + g]], group, indptr, interactions, rows, bias, weight, users,
                history, step, w,
            )  # fmt: skip


@njit(error_model="numpy", cache=True, parallel=True)
def finish_batch(
    batch, rank, size, starts, indptr, interactions, rows, bias, bias_squares, weight, users,
    history, step, w, item_growth, user_growth,
):  # fmt: skip
    """Train on one batch, whose negatives are all in ``w``; see :func:`choose_batch`.

    Returns:
        Sum of the losses, and number of triples.
    """
    begin = batch * GROUPS
    n_groups = _count(batch, starts)
    for g in prange(n_groups):
        group = np.arange(starts[begin + g], starts[begin + g + 1])
        if g % size != rank:  # the others were composed for the choice
            compose_group(
                g,
                group,
                indptr,
                interactions,
                rows,
                weight,
                users,
                history,
                step,
                w,
                w.lanes[g, :0],
            )
        _visit_group(
            g, group, indptr, interactions, rows, bias, bias_squares, weight, users, history, step,
            w, user_growth,
        )  # fmt: skip
    for part in prange(PARTS):
        apply_part(part, n_groups, rows, bias, bias_squares, weight, history, step, w, item_growth)
    return w.loss[:n_groups].sum(), w.triples[:n_groups].sum()


@njit(error_model="numpy", cache=True)
def cut_groups(order, degrees, starts):
    """Cut the users into groups.

    Args:
        order: Users, int64 array.
        degrees: Positives of each user, int64 array of shape [n_users].
        starts: Filled with where each group begins, int64 array of shape [order.size + 1].

    Returns:
        Number of groups.
    """
    n = 0
    users = LANES
    positives = 0
    for t in range(order.size):
        if users == LANES or positives + degrees[order[t]] > GROUP_POSITIVES:
            starts[n] = t
            n += 1
            users = 0
            positives = 0
        users += 1
        positives += degrees[order[t]]
    starts[n] = order.size
    return n


def take_turns(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order the groups of each batch: those of most positives first.

    Args:
        starts: Where each group begins in ``sizes``, int64 array of shape [groups + 1].
        sizes: Positives of each user, int64 array.

    Returns:
        Places of groups in their batch, int64 array of shape [batches, GROUPS].
    """
    n_groups = starts.size - 1
    positives = np.zeros((-(-n_groups // GROUPS), GROUPS), np.int64)
    positives.flat[:n_groups] = np.add.reduceat(sizes, starts[:-1])
    return np.argsort(-positives, axis=1, kind="stable")


@njit(error_model="numpy", cache=True, parallel=True)
def most_weights(indptr, interactions, item_indptr, above):
    """Sum the lengths of the item rows in each long history.

    Args:
        indptr: int64 array of shape [n_users + 1].
        interactions: Items of the users, int32 array.
        item_indptr: Of the item table, int64 array of shape [n_items + 1].
        above: Items that a long history has more of.

    Returns:
        The largest sum; 0 if there is no long history.
    """
    most = 0
    for user in prange(indptr.size - 1):
        weights = 0
        if indptr[user + 1] - indptr[user] <= above:
            continue
        for item in interactions[indptr[user] : indptr[user + 1]]:
            weights += item_indptr[item + 1] - item_indptr[item]
        most = max(most, weights)
    return most
