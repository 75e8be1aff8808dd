"""Negatives for training: for each positive of a user an item that is not in the history.

A group draws a pool of items uniformly and scores it for its users at once: they are the lanes of
a ``dim x LANES`` array, so a stored weight of a pool item meets all of them in one vector
instruction. Each positive takes the best scored of ``candidates`` consecutive pool items, from a
random place on, that are not in the history (dynamic negative sampling). One candidate means
uniform sampling, and no pool.
"""

from __future__ import annotations

import numpy as np

from sparserec_np.retrieval.signed_power import signed_power
from sparserec_np.training.kernels.intrinsics import dot_lanes, prefetch, prefetch_to_write
from sparserec_np.training.kernels.randomness import GOLDEN, below, mix
from sparserec_np.utils.compiled import helper, inline

DRAWS = 32  # tries to find a uniform negative before a positive is passed over

ONE = np.float32(1.0)

_AHEAD = 8  # items of a pool between prefetching a row and scoring it


@inline
def _is_seen(seen, item):
    return (seen[item >> 6] >> np.uint64(item & 63)) & np.uint64(1) != 0


@helper
def _score_pool(items, pool, lanes, scores, pool_bias):
    rows = items.rows
    for p in range(pool.size):
        if p + _AHEAD < pool.size:
            first = rows.indptr[pool[p + _AHEAD]]
            prefetch(rows.dims, first)
            prefetch(rows.values, first)
        item = pool[p]
        dot_lanes(
            rows.values, rows.dims, rows.indptr[item], rows.indptr[item + 1], lanes, scores, p
        )
        pool_bias[p] = items.bias[item]


@helper
def _hardest(bits, g, lane, scale, pools, step):
    """Draw a negative from the pool; return -1 if all candidates are in the history."""
    pool, scores, bias, seen = pools.items[g], pools.scores[g], pools.bias[g], pools.seen[g]
    p = below(bits, pool.size)
    best = np.float32(-np.inf)
    chosen = np.int64(-1)
    for _ in range(step.candidates):
        score = scale * scores[p, lane] + step.choice_bias * bias[p]
        if score > best and not _is_seen(seen, pool[p]):
            best = score
            chosen = np.int64(pool[p])
        p += 1
        if p == pool.size:
            p = 0
    return chosen


@inline
def _uniform(bits, n_items, seen):
    """Draw a negative uniformly; return -1 if none is found, as with a history of nearly all."""
    for _ in range(DRAWS):
        item = below(bits, n_items)
        if not _is_seen(seen, item):
            return item
        bits = mix(bits + GOLDEN)
    return np.int64(-1)


@inline
def _choose(g, lane, positives, n_items, scale, step, bits, pools, negatives):
    """Draw a negative for each positive of a user, -1 for none; return the next random bits."""
    seen = pools.seen[g]
    for t in range(positives.size):
        i = positives[t]
        seen[i >> 6] |= np.uint64(1) << np.uint64(i & 63)
    for t in range(positives.size):
        bits += GOLDEN
        if step.candidates > 1:
            negatives[t] = _hardest(mix(bits), g, lane, scale, pools, step)
        else:
            negatives[t] = _uniform(mix(bits), n_items, seen)
    for t in range(positives.size):
        seen[positives[t] >> 6] = 0
    return bits


@helper
def _prefetch_users(group, histories, users):
    """Prefetch the histories of users, and in the embedding model their rows."""
    for user in group:
        prefetch(histories.items, histories.indptr[user])
        if users is not None:
            prefetch(users.dims, users.indptr[user])
            prefetch(users.values, users.indptr[user])
            prefetch_to_write(users.squares, users.indptr[user])


@inline
def add(rows, first, last, factor, x):
    """Add the entries ``first`` to ``last - 1`` of a table, times a factor, to a dense vector."""
    for e in range(first, last):
        x[rows.dims[e]] += factor * rows.values[e]


@helper
def compose_group(g, group, histories, items, users, step, vectors, lanes):
    """Make the vectors of a group's users, also side by side in ``lanes``, unless that is empty.

    Further lanes keep what they have: nobody reads what is computed of it.
    """
    rows = items.rows
    _prefetch_users(group, histories, users)
    for lane in range(group.size):
        user, x = group[lane], vectors.x[g, lane]
        if users is None:
            summed = vectors.summed[g, lane]
            for d in range(x.size):
                summed[d] = 0.0
            for e in range(histories.indptr[user], histories.indptr[user + 1]):
                i = histories.items[e]
                add(rows, rows.indptr[i], rows.indptr[i + 1], items.weight[i], summed)
            for d in range(x.size):
                x[d] = signed_power(summed[d], step.history_eighths)
        else:
            for d in range(x.size):
                x[d] = 0.0
            add(users, users.indptr[user], users.indptr[user + 1], ONE, x)
        for d in range(lanes.shape[0]):
            lanes[d, lane] = x[d]


@inline
def scale_of(n, users, step):
    """Return the scale of a user vector; that of a history of n items has one left out."""
    return np.float32(n - 1) ** -step.history_exponent if users is None else ONE


@helper
def choose_negatives(g, number, group, histories, items, users, step, w):
    """Compose the users of a group, and draw a negative for each of their positives.

    Args:
        g: Place of the group in its batch.
        number: Number of its first user, which the random numbers depend on.
        group: Rows of its users in ``histories`` and ``users``, int64 array.
        histories: :class:`Histories`.
        items: :class:`ItemParameters`.
        users: Embeddings of the users; None in the history model.
        step: :class:`Step`.
        w: :class:`Workspace`; ``negatives`` and the user vectors are filled.
    """
    n_items, pools = items.bias.size, w.pools
    compose_group(g, group, histories, items, users, step, w.vectors, pools.lanes[g])
    bits = mix(step.seed + GOLDEN * np.uint64(number + 1))
    pool = pools.items[g]
    for p in range(pool.size):
        bits += GOLDEN
        pool[p] = below(mix(bits), n_items)
    _score_pool(items, pool, pools.lanes[g], pools.scores[g], pools.bias[g])
    at = 0
    for lane in range(group.size):
        user = group[lane]
        positives = histories.items[histories.indptr[user] : histories.indptr[user + 1]]
        if users is not None or positives.size > 1:  # without its only item a history is empty
            scale = scale_of(positives.size, users, step)
            negatives = w.records.negatives[g, at:]
            bits = _choose(g, lane, positives, n_items, scale, step, bits, pools, negatives)
        at += positives.size
