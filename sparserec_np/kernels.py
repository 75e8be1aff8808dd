"""Compiled training: BPR over sparse rows, for both user models.

**Who owns what.** The users of an epoch come in a random order, cut into *groups* of at most
``LANES`` users; ``GROUPS`` groups form a *batch*. A batch has two parallel phases:

1. :func:`_run_group`, one task a group, reads the item table as the last batch left it and writes
   *records*: the gradient of one item row from one user. It writes nothing shared. In the embedding
   model it also makes the step of its users' own rows, which no other group of the batch touches.
2. :func:`_apply_part`, one task a part of the item rows, walks the records of its rows in the order
   (group, record) and makes their Adagrad steps. No row belongs to two parts.

Every number is computed from the same inputs in the same order whatever the number of threads, so
the same seed gives the same bytes.

**Triples.** A user's vector ``x`` stays as it is while all its positives are visited; the gradient
of ``x`` is gathered in ``dx`` on the way and passed on at the end: to the user's own row, or to all
rows of the history. With history users a positive ``i`` is scored by ``x`` without its own part.

**Negatives.** A group draws a pool of items uniformly and scores it for its users at once: they are
the lanes of a ``dim x LANES`` array, so a stored weight of a pool item meets all of them in one
vector instruction. Each positive takes the best scored of ``candidates`` consecutive pool items,
from a random place on, that are not in the history (dynamic negative sampling). One candidate means
uniform sampling, and no pool.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from sparserec_np.randomness import GOLDEN, below, mix
from sparserec_np.state import GROUPS, LANES, PARTS, Items

GROUP_POSITIVES = 512  # a group takes no further user once it has so many positives
DRAWS = 32  # tries to find a uniform negative before a positive is passed over

_ONE = np.float32(1.0)


@njit(cache=True, nogil=True, inline="always")
def _is_seen(seen, item):
    return (seen[item >> 6] >> np.uint64(item & 63)) & np.uint64(1) != 0


@njit(cache=True, nogil=True, inline="always")
def _dot(rows, row, x):
    total = np.float32(0.0)
    for e in range(rows.indptr[row], rows.indptr[row + 1]):
        total += rows.values[e] * x[rows.dims[e]]
    return total


@njit(cache=True, nogil=True, inline="always")
def _add(rows, row, factor, x):
    for e in range(rows.indptr[row], rows.indptr[row + 1]):
        x[rows.dims[e]] += factor * rows.values[e]


@njit(cache=True, nogil=True)
def _compose(rows, row, factor, x, lanes, lane):
    """Add a row to a user vector, in both of its layouts."""
    for e in range(rows.indptr[row], rows.indptr[row + 1]):
        value = factor * rows.values[e]
        x[rows.dims[e]] += value
        if lanes.shape[0]:
            lanes[rows.dims[e], lane] += value


@njit(cache=True, nogil=True)
def _score_pool(rows, pool, lanes, scores):
    for p in range(pool.size):
        for lane in range(LANES):
            scores[p, lane] = 0.0
        for e in range(rows.indptr[pool[p]], rows.indptr[pool[p] + 1]):
            value = rows.values[e]
            d = rows.dims[e]
            for lane in range(LANES):
                scores[p, lane] += value * lanes[d, lane]


@njit(cache=True, nogil=True)
def _rank_pool(pool, scores, lane, scale, bias, seen, ranking, candidates):
    """Put one user's scores in a row; what the user has never wins."""
    for p in range(pool.size):
        item = pool[p]
        if _is_seen(seen, item):
            ranking[p] = -np.inf
        else:
            ranking[p] = scale * scores[p, lane] + bias[item]
    for p in range(candidates):
        ranking[pool.size + p] = ranking[p % pool.size]


@njit(cache=True, nogil=True)
def _hardest(bits, pool, ranking, candidates):
    """Draw a negative from the pool; -1 if the user has all candidates."""
    begin = below(bits, pool.size)
    best = np.float32(-np.inf)
    chosen = -1
    for p in range(begin, begin + candidates):
        if ranking[p] > best:
            best = ranking[p]
            chosen = p
    return np.int64(-1) if chosen < 0 else np.int64(pool[chosen % pool.size])


@njit(cache=True, nogil=True)
def _uniform(bits, n_items, seen):
    """Draw a negative uniformly; -1 if none is found, as when a user has nearly all items."""
    for _ in range(DRAWS):
        item = below(bits, n_items)
        if not _is_seen(seen, item):
            return item
        bits = mix(bits + GOLDEN)
    return np.int64(-1)


@njit(cache=True, nogil=True, inline="always")
def _record(w, g, r, row, start, lane, by_x, by_dx, bias_gradient):
    w.row[g, r] = row
    w.start[g, r] = start
    w.lane[g, r] = lane
    w.by_x[g, r] = by_x
    w.by_dx[g, r] = by_dx
    w.bias_gradient[g, r] = bias_gradient
    part = row % PARTS
    w.next[g, r] = -1
    if w.first[g, part] < 0:
        w.first[g, part] = r
    else:
        w.next[g, w.last[g, part]] = r
    w.last[g, part] = r


@njit(cache=True, nogil=True)
def _visit(g, lane, positives, items, history, step, bits, w, r, end):
    """Visit one user's positives: write two records a triple, gather ``dx``; return the totals."""
    rows, x, dx, spare, gradient = (
        items.rows,
        w.x[g, lane],
        w.dx[g, lane],
        w.spare[g],
        w.gradient[g],
    )
    n = positives.size
    first = r
    loss = 0.0
    triples = 0
    scale = _ONE
    if history:
        scale = np.float32(n - 1) ** -step.history_exponent
    for i in positives:
        w.seen[g, i >> 6] |= np.uint64(1) << np.uint64(i & 63)
    if step.candidates > 1:
        _rank_pool(
            w.pool[g], w.pool_scores[g], lane, scale, items.bias, w.seen[g], w.ranking[g],
            step.candidates,
        )  # fmt: skip
    for t in range(n):
        i = positives[t]
        bits += GOLDEN
        if step.candidates > 1:
            j = _hardest(mix(bits), w.pool[g], w.ranking[g], step.candidates)
        else:
            j = _uniform(mix(bits), items.bias.size, w.seen[g])
        own = items.weight[i] if history else np.float32(0.0)
        i0, i1 = rows.indptr[i], rows.indptr[i + 1]
        if j < 0:  # nothing to learn from i, but its row still takes its part of dx
            if history:
                _record(w, g, r, i, end, lane, np.float32(0.0), -own, np.float32(0.0))
                r += 1
                gradient[end : end + i1 - i0] = 0.0
                end += i1 - i0
            continue
        j0, j1 = rows.indptr[j], rows.indptr[j + 1]
        if history:
            _add(rows, i, -own, x)
        margin = scale * (_dot(rows, i, x) - _dot(rows, j, x)) + items.bias[i] - items.bias[j]
        small = np.exp(-abs(margin))
        push = (small if margin > 0 else _ONE) / (_ONE + small)  # sigmoid(-margin)
        loss += np.log1p(small) + max(-margin, np.float32(0.0))
        triples += 1
        pull = push * scale
        _record(w, g, r, i, end, lane, -pull, -own, -push)
        if history:
            _add(rows, j, _ONE, spare)
            for e in range(i0, i1):
                d = rows.dims[e]
                gradient[end] = -pull * x[d] + own * pull * (rows.values[e] - spare[d])
                end += 1
            for e in range(j0, j1):
                spare[rows.dims[e]] = 0.0
        else:
            for e in range(i0, i1):
                gradient[end] = -pull * x[rows.dims[e]]
                end += 1
        _record(w, g, r + 1, j, end, lane, pull, np.float32(0.0), push)
        for e in range(j0, j1):
            gradient[end] = pull * x[rows.dims[e]]
            end += 1
        r += 2
        if history:
            _add(rows, i, own, x)
        _add(rows, i, pull, dx)
        _add(rows, j, -pull, dx)
    for i in positives:
        w.seen[g, i >> 6] = 0
    if history:
        for q in range(first, r):
            own = -w.by_dx[g, q]
            if own > 0.0:
                e0 = rows.indptr[w.row[g, q]]
                for e in range(rows.indptr[w.row[g, q] + 1] - e0):
                    gradient[w.start[g, q] + e] -= own * dx[rows.dims[e0 + e]]
    return bits, r, end, loss, triples


@njit(cache=True, nogil=True, inline="always")
def _adagrad(rows, e, gradient, step, reg):
    gradient += reg * rows.values[e]
    rows.squares[e] += gradient * gradient
    rows.values[e] -= step.learning_rate * gradient / np.sqrt(rows.squares[e])


@njit(cache=True, nogil=True)
def _step_user(users, user, dx, positives, step, growth):
    """Make the step of a user's own row, and note its gradient where nothing is stored."""
    slot = growth.slot[user]
    if slot >= 0:
        for d in range(dx.size):
            growth.sums[slot, d] -= dx[d]
    for e in range(users.indptr[user], users.indptr[user + 1]):
        _adagrad(users, e, -dx[users.dims[e]], step, step.reg * np.float32(positives))


@njit(cache=True, nogil=True)
def _run_group(
    g, group, indptr, interactions, rows, bias, bias_squares, weight, users, history, step, w,
    growth,
):  # fmt: skip
    items = Items(rows, bias, bias_squares, weight)
    w.first[g, :] = -1
    w.x[g, : group.size] = 0.0
    w.dx[g, : group.size] = 0.0
    w.lanes[g] = 0.0
    for lane in range(group.size):
        user = group[lane]
        if history:
            for item in interactions[indptr[user] : indptr[user + 1]]:
                _compose(items.rows, item, items.weight[item], w.x[g, lane], w.lanes[g], lane)
        else:
            _compose(users, user, _ONE, w.x[g, lane], w.lanes[g], lane)
    bits = mix(step.seed + GOLDEN * np.uint64(group[0] + 1))
    pool = w.pool[g]
    for p in range(pool.size):
        bits += GOLDEN
        pool[p] = below(mix(bits), items.bias.size)
    _score_pool(items.rows, pool, w.lanes[g], w.pool_scores[g])
    r = 0
    end = 0
    w.loss[g] = 0.0
    w.triples[g] = 0
    for lane in range(group.size):
        user = group[lane]
        positives = interactions[indptr[user] : indptr[user + 1]]
        if history and positives.size < 2:  # without its only item the user has no vector
            continue
        bits, r, end, loss, triples = _visit(
            g, lane, positives, items, history, step, bits, w, r, end
        )
        w.loss[g] += loss
        w.triples[g] += triples
        if not history:
            _step_user(users, user, w.dx[g, lane], positives.size, step, growth)


@njit(cache=True, nogil=True)
def _note_growth(sums, x, dx, by_x, by_dx):
    """Add a record's gradient at all dimensions, but for the part of the positive left out."""
    if by_dx != 0.0:
        for d in range(sums.size):
            sums[d] += by_x * x[d] + by_dx * dx[d]
    else:
        for d in range(sums.size):
            sums[d] += by_x * x[d]


@njit(cache=True, nogil=True)
def _apply_part(part, n_groups, rows, bias, bias_squares, step, w, growth):
    for g in range(n_groups):
        r = w.first[g, part]
        while r >= 0:
            row = w.row[g, r]
            e0 = rows.indptr[row]
            start = w.start[g, r]
            for e in range(rows.indptr[row + 1] - e0):
                _adagrad(rows, e0 + e, w.gradient[g, start + e], step, w.item_reg[row])
            gradient = w.bias_gradient[g, r]
            bias_squares[row] += gradient * gradient
            bias[row] -= step.learning_rate * gradient / np.sqrt(bias_squares[row])
            slot = growth.slot[row]
            if slot >= 0:
                lane = w.lane[g, r]
                by_x, by_dx = w.by_x[g, r], w.by_dx[g, r]
                _note_growth(growth.sums[slot], w.x[g, lane], w.dx[g, lane], by_x, by_dx)
            r = w.next[g, r]


@njit(cache=True, parallel=True)
def run_batches(
    first, last, starts, order, indptr, interactions, rows, bias, bias_squares, weight, users,
    history, step, w, item_growth, user_growth,
):  # fmt: skip
    """Train on the batches ``first`` to ``last - 1`` of an epoch.

    Args:
        first: First batch.
        last: One past the last batch.
        starts: Where each group begins in ``order``, int64 array of shape [groups + 1].
        order: Users, int64 array.
        indptr: int64 array of shape [n_users + 1].
        interactions: Items of the users, int32 array.
        rows: The item table; it is changed.
        bias: See :class:`Items`, as the two that follow; it is changed.
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
        n_groups = min(GROUPS, starts.size - 1 - begin)
        for g in prange(n_groups):
            group = order[starts[begin + g] : starts[begin + g + 1]]
            _run_group(
                g, group, indptr, interactions, rows, bias, bias_squares, weight, users, history,
                step, w, user_growth,
            )  # fmt: skip
        for part in prange(PARTS):
            _apply_part(part, n_groups, rows, bias, bias_squares, step, w, item_growth)
        for g in range(n_groups):
            loss += w.loss[g]
            triples += w.triples[g]
    return loss, triples


@njit(cache=True)
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
