"""Compiled top-k for many users against rankings by dense scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import embeddings, interactions, ranking

from sparserec_np.modelfile.writer import encode
from sparserec_np.retrieval.batch_top_k import (
    ItemLists,
    ItemScorer,
    UserRows,
    batch_top_k,
    model_top_k,
)
from sparserec_np.runtime import load
from sparserec_np.runtime.taste import Taste
from sparserec_np.training.kernels.arrays import Embeddings


def make_scorer(
    rng, n_items: int, dim: int, exponent: float, *, power: float = 1.0, whole: bool
) -> ItemScorer:
    """Draw the item side; with whole numbers sums are exact, and many scores are equal."""
    rows = embeddings.random_rows(rng, n_items, dim, 4)
    values, bias, weight = rows.values, rng.normal(size=n_items), rng.uniform(0.5, 2, n_items)
    if whole:
        values = rng.integers(-1, 2, values.size)
        bias, weight = rng.integers(-1, 2, n_items), rng.integers(1, 3, n_items)
    return ItemScorer(
        rows.indptr, rows.dims, values.astype(np.float32), bias.astype(np.float32),
        weight.astype(np.float32), exponent, power, dim,
    )  # fmt: skip


def dense_items(scorer: ItemScorer) -> np.ndarray:
    rows = Embeddings(scorer.indptr, scorer.dims, scorer.values, scorer.values)
    return embeddings.dense(rows, scorer.dim)


def dense_scores(scorer: ItemScorer, vectors: np.ndarray) -> np.ndarray:
    return vectors @ dense_items(scorer).T + scorer.bias


def as_lists(lists: list[list[int]]) -> ItemLists:
    indptr = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return ItemLists(indptr, np.array([x for row in lists for x in row], np.int32))


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10_000), st.integers(0, 37), st.integers(1, 40), st.integers(1, 30))
def test_batch_top_k_for_user_rows_with_many_equal_scores(seed, n_users, n_items, k):
    rng = np.random.default_rng(seed)
    scorer = make_scorer(rng, n_items, 6, 0.0, whole=True)
    table = embeddings.random_rows(rng, 50, 6, 3)
    table = table._replace(values=rng.integers(-1, 2, table.values.size).astype(np.float32))
    chosen = rng.integers(0, 50, n_users)
    exclude = [
        np.sort(rng.choice(n_items, rng.integers(0, n_items + 1), replace=False)).tolist()
        for _ in range(n_users)
    ]
    vectors = UserRows(table.indptr, table.dims.astype(np.int32), table.values)
    items, scores = batch_top_k(scorer, vectors, chosen, as_lists(exclude), history=False, k=k)

    assert (items.dtype, scores.dtype) == (np.int32, np.float32)
    expected = dense_scores(scorer, embeddings.dense(table, 6)[chosen])
    for row in range(n_users):
        best = ranking.top_k(expected[row], exclude[row], k)
        assert items[row].tolist() == best
        found = np.array(best) >= 0
        assert scores[row, found].tolist() == expected[row][np.array(best)[found]].tolist()
        assert (scores[row, ~found] == -np.inf).all()


@pytest.mark.parametrize("dim", [700, 40, 3])
def test_neither_threads_nor_other_users_change_a_bit(rng, dim):
    n_items, n_users, k = 300, 37, 11
    scorer = make_scorer(rng, n_items, dim, 0.0, whole=False)
    table = embeddings.random_rows(rng, n_users, dim, 3)
    exclude = [np.sort(rng.choice(n_items, 20, replace=False)).tolist() for _ in range(n_users)]
    vectors = UserRows(table.indptr, table.dims.astype(np.int32), table.values)
    for threads in (1, 2):
        items, scores = batch_top_k(
            scorer, vectors, np.arange(n_users), as_lists(exclude),
            history=False, k=k, threads=threads,
        )  # fmt: skip
        for row, vector in enumerate(embeddings.dense(table, dim).astype(np.float32)):
            expected = ranking.scores_in_order(*scorer[:4], vector)
            assert items[row].tolist() == ranking.top_k(expected, exclude[row], k)
            np.testing.assert_array_equal(scores[row], expected[items[row]])
    for row in (3, 20):
        alone = batch_top_k(
            scorer, vectors, np.array([row]), as_lists([exclude[row]]), history=False, k=k
        )
        np.testing.assert_array_equal(alone[0][0], items[row])
        np.testing.assert_array_equal(alone[1][0], scores[row])


@pytest.mark.parametrize(("exponent", "power"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.875), (0, 0.5)])
def test_batch_top_k_for_histories(rng, exponent, power):
    n_items, dim, k = 60, 9, 12
    scorer = make_scorer(rng, n_items, dim, exponent, power=power, whole=False)
    histories = [
        np.sort(rng.choice(n_items, n, replace=False)).tolist() for n in rng.integers(0, 30, 40)
    ]
    rows = rng.permutation(40)[:21]
    exclude = [histories[row] for row in rows]
    vectors = UserRows(*as_lists(histories), np.zeros(0, np.float32))
    items, scores = batch_top_k(scorer, vectors, rows, as_lists(exclude), history=True, k=k)
    table = dense_items(scorer)
    for t, row in enumerate(rows):
        liked = histories[row]
        y = scorer.weight[liked] @ table[liked]
        x = max(len(liked), 1) ** -exponent * np.sign(y) * np.abs(y) ** power
        expected = dense_scores(scorer, x)
        assert items[t].tolist() == ranking.top_k(expected, liked, k)
        np.testing.assert_allclose(scores[t], expected[items[t]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("users", ["history", "neighbours alone", "embedding"])
@pytest.mark.parametrize(("popularity", "diversity"), [(0.4, 0), (1, 0.3), (0, 1)])
def test_batches_know_the_wishes(random_model, users, popularity, diversity):
    size = {"n_items": 200, "n_users": 30}
    added = {"history": 3, "neighbours alone": 30, "embedding": 0}[users]
    alone = users == "neighbours alone"
    users = "history" if alone else users
    model = load(encode(random_model(3, users, **size, neighbours=added, alone=alone)))
    histories = interactions.random_interactions(4, n_users=30, n_items=200, mean=6)
    who = histories if users == "history" else np.arange(30)
    taste = Taste(popularity, diversity, 0.0 if users == "history" else None)
    items, scores = model_top_k(model, who, exclude=histories, k=8, taste=taste)
    for number in range(30):
        own = model.item_ids.take(histories.items_of(number))
        if users == "history" and not own:
            continue
        user = None if users == "history" else model.user_ids.take([number])[0]
        request = {"user": user} if user is not None else {"history": own}
        wishes = {"popularity": popularity, "diversity": diversity, "exclude": own}
        ids, expected = model.recommend(**request, **wishes, k=8)
        assert model.item_ids.take(items[number]) == ids
        np.testing.assert_allclose(scores[number], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("users", "power"), [("history", 1), ("history", 0.875), ("embedding", 1)])
def test_top_k_of_a_model_file_is_what_the_runtime_recommends(random_model, users, power):
    model = load(encode(random_model(3, users, n_items=60, n_users=30, power=power)))
    histories = interactions.random_interactions(4, n_users=30, n_items=60, mean=6)
    numbers = np.arange(30)
    items, scores = model_top_k(
        model, histories if users == "history" else numbers, exclude=histories, k=8
    )
    for row, liked in enumerate(interactions.as_histories(histories)):
        ids = model.item_ids.take(np.array(liked))
        whom = {"history": ids} if users == "history" else {"user": model.user_ids.take([row])[0]}
        expected, expected_scores = model.recommend(**whom, k=8, exclude=ids)
        assert model.item_ids.take(items[row]) == expected
        np.testing.assert_allclose(scores[row], expected_scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recency", [0.0, 0.5])
def test_top_k_with_neighbours_is_what_the_runtime_recommends(random_model, recency):
    kind = {"n_items": 60, "power": 0.75, "recency": recency, "neighbours": 12}
    model = load(encode(random_model(3, "history", **kind)))
    histories = interactions.random_interactions(4, n_users=30, n_items=60, mean=6)
    times = np.random.default_rng(0).permutation(histories.nnz).astype(float)
    histories = replace(histories, times=times)
    items, scores = model_top_k(model, histories, exclude=histories, k=8)
    for row in range(histories.n_users):
        liked = histories.items_of(row)
        if liked.size:
            ids = model.item_ids.take(liked)
            expected, expected_scores = model.recommend(history=ids, k=8)
            assert model.item_ids.take(items[row]) == expected
            np.testing.assert_allclose(scores[row], expected_scores, rtol=1e-4, atol=1e-5)


def test_top_k_without_exclusions(random_model):
    model = load(encode(random_model(5, "embedding", n_items=20, n_users=9)))
    items, _ = model_top_k(model, np.array([8, 2]), k=20)
    assert (np.sort(items, axis=1) == np.arange(20)).all()
