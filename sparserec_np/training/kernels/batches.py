"""Batches: how users are grouped, and which thread does what when.

The users of an epoch come in a random order, cut into *groups* of at most ``LANES`` users;
``GROUPS`` groups form a *batch*. A batch has two phases, each shared out to all threads:

1. One task a group reads the item rows as the last batch left them: it draws a negative for each
   positive (:mod:`sparserec_np.training.kernels.negatives`) and writes records, the gradient of one
   item row from one user (:mod:`sparserec_np.training.kernels.bpr`). Neither writes anything that
   groups share.
2. One task a part of the item rows walks the records of its rows in the order (group, record) and
   makes their Adagrad steps (:mod:`sparserec_np.training.kernels.gradients`). No row belongs to two
   parts.

Threads take the largest groups first, so that they end at about the same time. Of the parts each
thread begins with its own, the same ones in each batch, so that most of what it changes stays in
its core's cache; then it takes what others have not begun.

Every number is computed from the same inputs in the same order whatever the number of threads, so
the same seed gives the same bytes. What a group chooses are a few integers, and all else follows
from them: so several machines share out the choosing, tell each other what they chose, and do the
rest alike (:func:`choose_batch`, :func:`visit_chosen`, :func:`finish_batch`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparserec_np.training.kernels.arrays import GROUPS, PARTS, Batches
from sparserec_np.training.kernels.bpr import visit_group
from sparserec_np.training.kernels.gradients import apply_part
from sparserec_np.training.kernels.intrinsics import barrier, claim, task_at
from sparserec_np.training.kernels.negatives import choose_negatives, compose_group
from sparserec_np.utils.compiled import inline, kernel
from sparserec_np.utils.parallel import LANES

GROUP_POSITIVES = 512  # a group takes no further user once it has so many positives


@inline
def _count(batch, starts):
    """Return the number of groups in a batch."""
    return min(GROUPS, starts.size - 1 - batch * GROUPS)


@kernel
def train_batches(
    seat, n_seats, first, last, batches, histories, items, users, step, w, item_sums, user_sums
):  # fmt: skip
    """Train on the batches ``first`` to ``last - 1`` of an epoch; each thread calls it.

    Args:
        seat: Number of the thread.
        n_seats: How many threads there are.
        first: First batch.
        last: One past the last batch.
        batches: :class:`Batches`.
        histories: :class:`Histories` of all users.
        items: :class:`ItemParameters`; changed.
        users: Embeddings of the users, changed; None in the history model.
        step: :class:`Step`.
        w: :class:`Workspace`, with ``turns.arrivals`` at 0; ``turns.total_loss`` and
            ``turns.total_triples`` are filled.
        item_sums: :class:`GradientAccumulator` of the items; changed.
        user_sums: The same of the users; None in the history model.
    """
    turns = w.turns
    expected = 0
    loss, triples = 0.0, 0
    for batch in range(first, last):
        begin = batch * GROUPS
        n_groups = _count(batch, batches.starts)
        if seat == 0:  # all are past the parts of the batch before, and none has come to these
            for part in range(PARTS):
                turns.parts_taken[part] = 0
        for turn in range(n_groups):
            g = batches.turns[batch, turn]
            if turns.groups_taken[g] == 0 and claim(turns.groups_taken, g):
                group = batches.order[batches.starts[begin + g] : batches.starts[begin + g + 1]]
                choose_negatives(g, group[0], group, histories, items, users, step, w)
                visit_group(g, group, histories, items, users, step, w, user_sums)
        expected += n_seats
        barrier(turns.arrivals, expected)
        if seat == 0:
            for g in range(n_groups):
                turns.groups_taken[g] = 0
                loss += turns.loss[g]
                triples += turns.triples[g]
        for turn in range(PARTS):
            part = task_at(turn, seat, n_seats, PARTS)
            if turns.parts_taken[part] == 0 and claim(turns.parts_taken, part):
                apply_part(
                    part, n_groups, items, w.item_reg, users, step, w.vectors, w.records, item_sums
                )
        expected += n_seats
        barrier(turns.arrivals, expected)
    if seat == 0:
        turns.total_loss[0], turns.total_triples[0] = loss, triples


@kernel
def choose_batch(seat, n_seats, batch, rank, size, batches, histories, items, users, step, w):
    """Draw the negatives of those groups of a batch whose place in it is ``rank`` modulo ``size``.

    All else is as :func:`train_batches` has it, but that the user at place t of ``batches.order``
    is row t of ``histories`` and ``users``, whatever the number of that user.
    """
    starts = batches.starts
    begin = batch * GROUPS
    for g in range(_count(batch, starts)):
        if g % size == rank and g // size % n_seats == seat:
            group = np.arange(starts[begin + g], starts[begin + g + 1])
            number = batches.order[starts[begin + g]]
            choose_negatives(g, number, group, histories, items, users, step, w)


@kernel
def visit_chosen(
    seat, n_seats, batch, rank, size, batches, histories, items, users, step, w, user_sums
):  # fmt: skip
    """Write the records of the groups whose negatives :func:`choose_batch` has drawn here."""
    starts = batches.starts
    begin = batch * GROUPS
    for g in range(_count(batch, starts)):
        if g % size == rank and g // size % n_seats == seat:
            group = np.arange(starts[begin + g], starts[begin + g + 1])
            visit_group(g, group, histories, items, users, step, w, user_sums)


@kernel
def finish_batch(
    seat, n_seats, batch, rank, size, batches, histories, items, users, step, w, item_sums,
    user_sums,
):  # fmt: skip
    """Visit the other groups, whose negatives are in ``w`` as well, and make all steps."""
    starts = batches.starts
    begin = batch * GROUPS
    n_groups = _count(batch, starts)
    turn = 0
    for g in range(n_groups):
        if g % size == rank:
            continue
        if turn % n_seats == seat:
            group = np.arange(starts[begin + g], starts[begin + g + 1])
            compose_group(g, group, histories, items, users, step, w.vectors, w.pools.lanes[g, :0])
            visit_group(g, group, histories, items, users, step, w, user_sums)
        turn += 1
    turns = w.turns
    barrier(turns.arrivals, n_seats)
    for part in range(seat, PARTS, n_seats):
        apply_part(part, n_groups, items, w.item_reg, users, step, w.vectors, w.records, item_sums)
    if seat == 0:
        loss, triples = 0.0, 0
        for g in range(n_groups):
            loss += turns.loss[g]
            triples += turns.triples[g]
        turns.total_loss[0], turns.total_triples[0] = loss, triples


@kernel
def _cut_groups(order, degrees, starts):
    """Fill in where each group begins in ``order``; return the number of groups."""
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


def cut_batches(order: NDArray[np.int64], degrees: NDArray[np.int64]) -> Batches:
    """Cut the users of an epoch into groups and batches.

    Args:
        order: Users in the order in which they are visited, int64 array.
        degrees: Positives of each user, int64 array of shape [n_users].

    Returns:
        The batches; of the groups of each batch those with the most positives have the first turns.
    """
    starts = np.empty(order.size + 1, np.int64)
    n_groups = _cut_groups(order, degrees, starts)
    starts = starts[: n_groups + 1]
    positives = np.zeros((-(-n_groups // GROUPS), GROUPS), np.int64)
    positives.flat[:n_groups] = np.add.reduceat(degrees[order], starts[:-1])
    return Batches(order, starts, np.argsort(-positives, axis=1, kind="stable"))


@kernel
def most_weights(histories, item_indptr, above):
    """Sum the weights of the item rows in each long history.

    Args:
        histories: :class:`Histories`.
        item_indptr: Of the item embeddings, int64 array of shape [n_items + 1].
        above: Items that a long history has more of.

    Returns:
        The largest sum; 0 if there is no long history.
    """
    most = 0
    indptr = histories.indptr
    for user in range(indptr.size - 1):
        if indptr[user + 1] - indptr[user] <= above:
            continue
        nnz = 0
        for item in histories.items[indptr[user] : indptr[user + 1]]:
            nnz += item_indptr[item + 1] - item_indptr[item]
        most = max(most, nnz)
    return most
