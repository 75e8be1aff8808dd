"""The BPR loss over sparse rows, and its gradients: one kernel for each user model.

A user's vector ``x`` stays as it is while all its positives are visited. For each triple of a user,
a positive ``i`` and a negative ``j`` the loss is ``-log sigmoid(s(u, i) - s(u, j))``. Its gradient
at both item rows becomes two records (:mod:`sparserec_np.training.kernels.gradients`); that of
``x`` is gathered in ``dx`` and passed on at the end: to the user's own row, or to all rows of the
history. A history is its summed rows to a signed power
(:mod:`sparserec_np.retrieval.signed_power`), and a positive is scored by ``x`` without its own
part. Its negative is chosen beforehand, by :mod:`sparserec_np.training.kernels.negatives`.

Per-user helpers are inlined by Numba (``inline="always"``), not left to LLVM: a call would count
references to every array of the workspace.
"""

from __future__ import annotations

import numpy as np

from sparserec_np.retrieval.signed_power import signed_power, signed_power_slope
from sparserec_np.training.kernels.gradients import lay_out, record, span
from sparserec_np.training.kernels.intrinsics import step_row
from sparserec_np.training.kernels.negatives import ONE, add, scale_of
from sparserec_np.utils.compiled import helper, inline

_NOTHING = np.float32(0.0)
_MANY = 1e200  # a product that is not far from overflowing


@inline
def _dot(rows, first, last, x):
    total = np.float32(0.0)
    for e in range(first, last):
        total += rows.values[e] * x[rows.dims[e]]
    return total


@inline
def _pushed(margin):
    """Return the derivative of the loss by the margin, negated, and ``exp(-abs(margin))``.

    The loss itself is ``max(-margin, 0) + log(1 + exp(-abs(margin)))``; the logarithms of many
    triples are taken at once, of the product.
    """
    small = np.exp(-abs(margin))
    return (small if margin > 0 else ONE) / (ONE + small), small


@helper
def _raise(sums, n, eighths, steepest, powers, slopes):
    """Fill in the signed powers of the first ``n`` sums and their derivatives.

    The loop stands alone, over memory without gaps, so that LLVM makes vectors of its roots.
    """
    for t in range(n):
        powers[t] = signed_power(sums[t], eighths)
        slopes[t] = signed_power_slope(sums[t], powers[t], eighths, steepest)


@inline
def _visit_history(g, lane, positives, negatives, items, scale, step, vectors, records):
    """Visit the positives of a history: write its records; return the loss and the triples."""
    rows, x, dx = items.rows, vectors.x[g, lane], vectors.dx[g, lane]
    spare, gradient, own_start = vectors.spare[g], records.gradient[g], records.own_start[g]
    summed, whole = vectors.summed[g, lane], vectors.whole[g]
    slope, whole_slope = vectors.slope[g], vectors.whole_slope[g]
    own_sums, own_x, own_slope = vectors.own_sums[g], vectors.own_x[g], vectors.own_slope[g]
    _raise(summed, x.size, step.history_eighths, step.steepest, whole, whole_slope)
    for d in range(x.size):
        slope[d] = whole_slope[d]
    loss, odds, triples = 0.0, 1.0, 0
    for t in range(positives.size):
        i, j = np.uint64(positives[t]), np.uint64(negatives[t])
        own = items.weight[i]
        i0, i1 = span(rows, i)
        r, start = record(records, g, i, ~lane, i1 - i0)
        own_start[t] = start
        if negatives[t] < 0:  # nothing to learn from i, but its row still takes its part of dx
            records.bias_gradient[g, r] = _NOTHING
            for e in range(start, start + (i1 - i0)):
                gradient[e] = _NOTHING
            continue
        j0, j1 = span(rows, j)
        for e in range(i0, i1):  # leave i out
            own_sums[e - i0] = summed[rows.dims[e]] - own * rows.values[e]
        _raise(own_sums, np.int64(i1 - i0), step.history_eighths, step.steepest, own_x, own_slope)
        of_i = _NOTHING
        for e in range(i0, i1):
            d = rows.dims[e]
            x[d], slope[d] = own_x[e - i0], own_slope[e - i0]
            of_i += rows.values[e] * own_x[e - i0]
        margin = scale * (of_i - _dot(rows, j0, j1, x))
        margin = margin + items.bias[i] - items.bias[j]
        push, small = _pushed(margin)
        loss += max(-margin, _NOTHING)
        odds *= 1.0 + small
        if odds > _MANY:
            loss += np.log(odds)
            odds = 1.0
        triples += 1
        pull = push * scale
        records.bias_gradient[g, r] = -push
        add(rows, j0, j1, ONE, spare)
        for e in range(i0, i1):
            d, value = rows.dims[e], rows.values[e]
            through = pull * own_slope[e - i0]
            of_own = through * (value - spare[d])
            gradient[start + (e - i0)] = own * of_own - pull * own_x[e - i0]
            dx[d] += through * value
        r, start = record(records, g, j, lane, j1 - j0)
        records.bias_gradient[g, r] = push
        for e in range(j0, j1):
            d = rows.dims[e]
            spare[d] = _NOTHING
            gradient[start + (e - j0)] = pull * x[d]
            through = pull * slope[d]
            dx[d] -= through * rows.values[e]
        for e in range(i0, i1):
            d = rows.dims[e]
            x[d] = whole[d]
            slope[d] = whole_slope[d]
    for t in range(positives.size):
        i = np.uint64(positives[t])
        own = items.weight[i]
        i0, i1 = span(rows, i)
        for e in range(i0, i1):
            gradient[own_start[t] + (e - i0)] -= own * dx[rows.dims[e]]
    return loss + np.log(odds), triples


@inline
def _visit_embedding(g, lane, positives, negatives, items, vectors, records):
    """Visit the positives of a user with a row: write its records; return loss and triples."""
    rows, gradient = items.rows, records.gradient[g]
    x, dx = vectors.x[g, lane], vectors.dx[g, lane]
    loss, odds, triples = 0.0, 1.0, 0
    for t in range(positives.size):
        i, j = np.uint64(positives[t]), np.uint64(negatives[t])
        if negatives[t] < 0:
            continue
        i0, i1 = span(rows, i)
        j0, j1 = span(rows, j)
        margin = _dot(rows, i0, i1, x) - _dot(rows, j0, j1, x)
        margin = margin + items.bias[i] - items.bias[j]
        push, small = _pushed(margin)
        loss += max(-margin, _NOTHING)
        odds *= 1.0 + small
        if odds > _MANY:
            loss += np.log(odds)
            odds = 1.0
        triples += 1
        r, start = record(records, g, i, ~lane, i1 - i0)
        records.bias_gradient[g, r] = -push
        for e in range(i0, i1):
            d = rows.dims[e]
            gradient[start + (e - i0)] = -push * x[d]
            dx[d] += push * rows.values[e]
        r, start = record(records, g, j, lane, j1 - j0)
        records.bias_gradient[g, r] = push
        for e in range(j0, j1):
            d = rows.dims[e]
            gradient[start + (e - j0)] = push * x[d]
            dx[d] -= push * rows.values[e]
    return loss + np.log(odds), triples


@inline
def _step_user(users, user, dx, gradient, positives, step, accumulator):
    """Make the step of a user's own row, and accumulate its gradient where nothing is stored.

    ``gradient`` is scratch memory for that of the stored weights, float32 array of shape [dim].
    """
    slot = accumulator.slot[user]
    if slot >= 0:
        for d in range(dx.size):
            accumulator.sums[slot, d] -= dx[d]
    first, last = span(users, user)
    for e in range(first, last):
        gradient[e - first] = -dx[users.dims[e]]
    step_row(
        users.values, users.squares, first, last, last, gradient, np.uint64(0),
        step.learning_rate, step.reg * np.float32(positives),
    )  # fmt: skip


@helper
def visit_group(g, group, histories, items, users, step, w, accumulator):
    """Write the records of a group, whose users are composed and whose negatives are chosen.

    In the embedding model the steps of the users' own rows are made, too: no other group of the
    batch touches them.

    Args:
        g: Place of the group in its batch.
        group: Rows of its users in ``histories`` and ``users``, int64 array.
        histories: :class:`Histories`.
        items: :class:`ItemParameters`.
        users: Embeddings of the users, changed; None in the history model.
        step: :class:`Step`.
        w: :class:`Workspace`; the group's records, losses and triples are filled.
        accumulator: :class:`GradientAccumulator` of the users, changed; None in the history model.
    """
    vectors, records = w.vectors, w.records
    lay_out(g, group, histories, items, users, records)
    sum_of_losses, n_triples = 0.0, 0
    at = 0
    for lane in range(group.size):
        user = group[lane]
        positives = histories.items[histories.indptr[user] : histories.indptr[user + 1]]
        negatives = records.negatives[g, at : at + positives.size]
        at += positives.size
        dx = vectors.dx[g, lane]
        for d in range(dx.size):
            dx[d] = _NOTHING
        if users is None and positives.size < 2:
            continue
        scale = scale_of(positives.size, users, step)
        vectors.scale[g, lane] = scale
        if users is None:
            loss, triples = _visit_history(
                g, lane, positives, negatives, items, scale, step, vectors, records
            )
        else:
            loss, triples = _visit_embedding(g, lane, positives, negatives, items, vectors, records)
            _step_user(users, user, dx, vectors.whole[g], positives.size, step, accumulator)
        sum_of_losses += loss
        n_triples += triples
    w.turns.loss[g] = sum_of_losses
    w.turns.triples[g] = n_triples
