"""Negatives for training: for each positive of a user an item that the user has not.

A group draws a pool of items uniformly and scores it for its users at once: they are the lanes of
a ``dim x LANES`` array, so a stored weight of a pool item meets all of them in one vector
instruction. Each positive takes the best scored of ``candidates`` consecutive pool items, from a
random place on, that are not in the history (dynamic negative sampling). One candidate means
uniform sampling, and no pool.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sparserec_np.retrieval.signed_power import bend
from sparserec_np.training.kernels.intrinsics import dot_lanes, prefetch, prefetch_to_write
from sparserec_np.training.kernels.randomness import GOLDEN, below, mix

DRAWS = 32  # tries to find a uniform negative before a positive is passed over

ONE = np.float32(1.0)

_AHEAD = 8  # items of a pool between asking for a row and scoring it


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _is_seen(seen, item):
    return (seen[item >> 6] >> np.uint64(item & 63)) & np.uint64(1) != 0


@njit(error_model="numpy", cache=True, nogil=True)
def _score_pool(rows, bias, pool, lanes, scores, pool_bias):
    for p in range(pool.size):
        if p + _AHEAD < pool.size:
            first = rows.indptr[pool[p + _AHEAD]]
            prefetch(rows.dims, first)
            prefetch(rows.values, first)
        item = pool[p]
        dot_lanes(
            rows.values, rows.dims, rows.indptr[item], rows.indptr[item + 1], lanes, scores, p
        )
        pool_bias[p] = bias[item]


@njit(error_model="numpy", cache=True, nogil=True)
def _hardest(bits, pool, scores, pool_bias, lane, scale, seen, candidates, choice_bias):
    """Draw a negative from the pool; -1 if the user has all candidates."""
    p = below(bits, pool.size)
    best = np.float32(-np.inf)
    chosen = np.int64(-1)
    for _ in range(candidates):
        score = scale * scores[p, lane] + choice_bias * pool_bias[p]
        if score > best and not _is_seen(seen, pool[p]):
            best = score
            chosen = np.int64(pool[p])
        p += 1
        if p == pool.size:
            p = 0
    return chosen


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _uniform(bits, n_items, seen):
    """Draw a negative uniformly; -1 if none is found, as when a user has nearly all items."""
    for _ in range(DRAWS):
        item = below(bits, n_items)
        if not _is_seen(seen, item):
            return item
        bits = mix(bits + GOLDEN)
    return np.int64(-1)


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _choose(g, lane, positives, bias, scale, step, bits, w, at):
    """Draw a negative for each positive of a user, -1 where there is none; return the next bits."""
    seen = w.seen[g]
    for i in positives:
        seen[i >> 6] |= np.uint64(1) << np.uint64(i & 63)
    for t in range(positives.size):
        bits += GOLDEN
        if step.candidates > 1:
            j = _hardest(
                mix(bits), w.pool[g], w.pool_scores[g], w.pool_bias[g], lane, scale, seen,
                step.candidates, step.choice_bias,
            )  # fmt: skip
        else:
            j = _uniform(mix(bits), bias.size, seen)
        w.negatives[g, at + t] = j
    for i in positives:
        seen[i >> 6] = 0
    return bits


@njit(error_model="numpy", cache=True, nogil=True)
def _ask_for(group, indptr, interactions, users, history):
    """Ask for what users had, and in the embedding model for their rows."""
    for user in group:
        prefetch(interactions, indptr[user])
        if not history:
            prefetch(users.dims, users.indptr[user])
            prefetch(users.values, users.indptr[user])
            prefetch_to_write(users.squares, users.indptr[user])


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def add(rows, first, last, factor, x):
    """Add the entries ``first`` to ``last - 1`` of a table, times a factor, to a dense vector."""
    for e in range(first, last):
        x[rows.dims[e]] += factor * rows.values[e]


@njit(error_model="numpy", cache=True, nogil=True)
def compose_group(g, group, indptr, interactions, rows, weight, users, history, step, w, lanes):
    """Make the vectors of a group's users, also side by side in ``lanes``, unless that is empty."""
    _ask_for(group, indptr, interactions, users, history)
    lanes[:] = 0.0
    for lane in range(group.size):
        user, x = group[lane], w.x[g, lane]
        if history:
            summed = w.summed[g, lane]
            summed[:] = 0.0
            for i in interactions[indptr[user] : indptr[user + 1]]:
                add(rows, rows.indptr[i], rows.indptr[i + 1], weight[i], summed)
            for d in range(x.size):
                x[d] = bend(summed[d], step.history_eighths)
        else:
            x[:] = 0.0
            add(users, users.indptr[user], users.indptr[user + 1], ONE, x)
        if lanes.shape[0]:
            for d in range(x.size):
                lanes[d, lane] = x[d]


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def scale_of(n, history, step):
    """Scale of a vector made of n items, one of them left out."""
    return np.float32(n - 1) ** -step.history_exponent if history else ONE


@njit(error_model="numpy", cache=True, nogil=True)
def choose_group(
    g, number, group, indptr, interactions, rows, bias, weight, users, history, step, w,
):  # fmt: skip
    """Compose the users of a group, and draw a negative for each of their positives.

    ``g`` is the place of the group in its batch, ``number`` the number of its first user, which the
    random numbers depend on; ``group`` has the rows of its users in ``indptr`` and ``users``. The
    rest is as :func:`sparserec_np.training.kernels.bpr.run_batches` has it.
    """
    compose_group(g, group, indptr, interactions, rows, weight, users, history, step, w, w.lanes[g])
    bits = mix(step.seed + GOLDEN * np.uint64(number + 1))
    pool = w.pool[g]
    for p in range(pool.size):
        bits += GOLDEN
        pool[p] = below(mix(bits), bias.size)
    _score_pool(rows, bias, pool, w.lanes[g], w.pool_scores[g], w.pool_bias[g])
    at = 0
    for lane in range(group.size):
        user = group[lane]
        positives = interactions[indptr[user] : indptr[user + 1]]
        if not history or positives.size > 1:  # without its only item the user has no vector
            scale = scale_of(positives.size, history, step)
            bits = _choose(g, lane, positives, bias, scale, step, bits, w, at)
        at += positives.size
