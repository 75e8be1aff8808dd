"""Ranks of held-out items against whole rankings, made one user at a time."""

from __future__ import annotations

import numpy as np
import pytest
from reference import embeddings, ranking

from sparserec_np.retrieval.batch_top_k import ItemLists, UserRows
from sparserec_np.training.kernels.arrays import ItemParameters
from sparserec_np.training.kernels.ranking import HeldOut, HistoryShape, rank_items
from sparserec_np.utils.parallel import run_parallel, thread_count

N_USERS, N_ITEMS, DIM, K = 37, 1100, 24, 20  # several groups of users and blocks of items
SHAPE = HistoryShape(np.float32(0.5), np.int64(6))


def lists(rng: np.random.Generator, longest: int) -> ItemLists:
    rows = [
        np.sort(rng.choice(N_ITEMS, rng.integers(1, longest), replace=False))
        for _ in range(N_USERS)
    ]
    indptr = np.concatenate(([0], np.cumsum([row.size for row in rows])))
    return ItemLists(indptr, np.concatenate(rows).astype(np.int32))


@pytest.fixture
def items(rng) -> ItemParameters:
    rows = embeddings.random_rows(rng, N_ITEMS, DIM, 5)
    np.round(rows.values, 1, out=rows.values)  # so that some scores are equal
    ones = np.ones(N_ITEMS, np.float32)
    bias = np.round(rng.normal(size=N_ITEMS), 1).astype(np.float32)
    return ItemParameters(rows, bias, ones, rng.uniform(0.5, 1.5, N_ITEMS).astype(np.float32))


def ranks(threads, items, users, shape, seen, held) -> HeldOut:
    found = HeldOut(*held, np.empty(held.items.size, np.float32), np.empty_like(held.items))
    with thread_count(threads):
        run_parallel(rank_items, DIM, items, users, shape, seen, found, K)
    return found


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["set", "by age", "row"])
def test_ranks_are_those_of_the_whole_ranking(rng, items, kind, threads):
    seen, held = lists(rng, 40), lists(rng, 30)
    dense = embeddings.dense(items.rows, DIM)
    users = UserRows(seen.indptr, seen.items, np.zeros(0, np.float32))
    if kind == "by age":
        users = users._replace(values=rng.uniform(0.1, 1, seen.items.size).astype(np.float32))
    if kind == "row":
        own = embeddings.random_rows(rng, N_USERS, DIM, 4)
        users = UserRows(own.indptr, own.dims.astype(np.int32), own.values)
    found = ranks(threads, items, users, None if kind == "row" else SHAPE, seen, held)
    for user in range(N_USERS):
        mine = slice(seen.indptr[user], seen.indptr[user + 1])
        known = seen.items[mine]
        if kind == "row":
            x = embeddings.dense(own, DIM)[user]
        else:
            ages = users.values[mine] if kind == "by age" else np.ones(known.size)
            y = (items.weight[known] * ages) @ dense[known]
            x = ages.sum().clip(1) ** -0.5 * np.sign(y) * np.abs(y) ** 0.75
        best = ranking.top_k(np.round(dense @ x + items.bias, 4), known, K)
        for t in range(held.indptr[user], held.indptr[user + 1]):
            rank = best.index(held.items[t]) if held.items[t] in best else None
            assert found.ranks[t] == rank if rank is not None else found.ranks[t] >= K


def test_equal_scores_rank_by_number(rng, items):
    flat = items._replace(bias=np.zeros(N_ITEMS, np.float32))
    flat.rows.values[:] = 0.0
    seen = ItemLists(np.array([0, 2]), np.array([3, 700], np.int32))
    held = ItemLists(np.array([0, 4]), np.array([0, 3, 5, 900], np.int32))
    users = UserRows(seen.indptr, seen.items, np.zeros(0, np.float32))
    found = ranks(1, flat, users, SHAPE, seen, held)
    assert found.ranks[0] == 0
    assert found.ranks[1] >= K  # left out
    assert found.ranks[2] == 4
    assert found.ranks[3] >= K
