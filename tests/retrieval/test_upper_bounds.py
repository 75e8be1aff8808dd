"""Upper bounds never change an answer: not an item, and not a bit of a score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ranking

import sparserec_np
from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.modelfile.writer import encode
from sparserec_np.retrieval import inverted_index
from sparserec_np.retrieval.batch_top_k import ItemLists, ItemScorer, UserRows, batch_top_k
from sparserec_np.runtime import item_index, upper_bounds
from sparserec_np.runtime.item_index import ItemIndex
from sparserec_np.vocabulary import from_values

DIM, N_ITEMS, ROW = 400, 2_000, 12


def long_tailed(
    seed: int, *, n_items: int = N_ITEMS, dim: int = DIM, whole: bool = False
) -> ModelArrays:
    """Draw a history model with many small weights; ``whole``: with many equal scores."""
    rng = np.random.default_rng(seed)
    dims = np.argsort(rng.random((n_items, dim)), axis=1)[:, :ROW]
    values = rng.choice([1, 1, 1, -1], dims.size) * np.exp(1.5 * rng.standard_normal(dims.size))
    bias = 0.1 * rng.standard_normal(n_items)
    if whole:
        values, bias = np.where(values > 3, 64, np.sign(values)), np.zeros(n_items)
    table = Table(
        np.arange(0, dims.size + 1, ROW),
        np.sort(dims, axis=1).ravel().astype(np.uint16),
        values.astype(np.float32),
        dim,
    )
    ids = from_values(range(n_items))
    return ModelArrays("history", dim, ids, table, bias.astype(np.float32), history_exponent=0.5)


def scores_of_all(model, history: list[int]) -> np.ndarray:
    """Score all items without bounds, in float64."""
    table = model.items_table()
    vector = sum_of_rows(table, sorted(history), np.float64)
    rows = table.indptr, table.dims, table.values
    return ranking.scores_in_order(*rows, model.item_bias, vector, len(history) ** -0.5)


def sum_of_rows(table: Table, items, dtype: type) -> np.ndarray:
    vector = np.zeros(table.dim, dtype)
    for item in items:
        entries = slice(table.indptr[item], table.indptr[item + 1])
        vector[table.dims[entries]] += table.values[entries].astype(dtype)
    return vector


@pytest.fixture
def without_bounds(monkeypatch) -> list[None]:
    """Grow at each request of the NumPy runtime that bounds did not answer."""
    requests: list[None] = []
    dots = ItemIndex.dots

    def watched(self, vector):
        requests.append(None)
        return dots(self, vector)

    monkeypatch.setattr(ItemIndex, "dots", watched)
    return requests


@pytest.mark.parametrize("dim", [DIM, 8 * ROW])  # the latter is kept as a dense table
@pytest.mark.parametrize("whole", [False, True])
def test_answers_are_those_of_all_scores(without_bounds, whole, dim):
    data = encode(long_tailed(1, whole=whole, dim=dim))
    plain, compiled = sparserec_np.load(data), sparserec_np.load_compiled(data)
    rng = np.random.default_rng(2)
    for k in (1, 3, 10, 40):
        history = rng.choice(N_ITEMS, 20, replace=False).tolist()
        scores = scores_of_all(plain, history)
        scores[history] = -np.inf
        best = np.argsort(-scores, kind="stable")[:k]
        for model in (plain, compiled):
            items, found = model.recommend(history=history, k=k)
            assert items == best.tolist()
            np.testing.assert_array_equal(found, scores[best].astype(np.float32))
        assert not without_bounds or whole or k > 3


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.integers(1, 70),
    st.booleans(),
    st.sampled_from([DIM, ROW, 2 * ROW]),
)
def test_numpy_and_compiled_are_equal_to_the_bit(seed, length, k, whole, dim):
    data = encode(long_tailed(seed % 3, whole=whole, dim=dim))
    plain, compiled = sparserec_np.load(data), sparserec_np.load_compiled(data)
    rng = np.random.default_rng(seed)
    history, some = (rng.choice(N_ITEMS, n, replace=False).tolist() for n in (length, 30))
    for options in ({}, {"exclude": some}, {"candidates": some}):
        one, other = (m.recommend(history=history, k=k, **options) for m in (plain, compiled))
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("length", [5, 20, 200])  # 200: the bounds give up
def test_a_catalogue_of_several_blocks(length):
    n_items = inverted_index.BLOCK + 5_000
    data = encode(long_tailed(7, n_items=n_items))
    plain, compiled = sparserec_np.load(data), sparserec_np.load_compiled(data)
    rng = np.random.default_rng(8)
    later = np.arange(inverted_index.BLOCK - 10, n_items, 7).tolist()
    for _ in range(3):
        history = rng.choice(n_items, length, replace=False).tolist()
        for options in ({}, {"candidates": later}, {"exclude": later}):
            one, other = (m.recommend(history=history, **options) for m in (plain, compiled))
            assert one[0] == other[0]
            np.testing.assert_array_equal(one[1], other[1])


def test_a_guess_that_is_too_high_is_put_right(monkeypatch, without_bounds):
    model = sparserec_np.load(encode(long_tailed(1)))
    history = np.random.default_rng(2).choice(N_ITEMS, 20, replace=False).tolist()
    expected = model.recommend(history=history, k=1)
    guesses = []

    def too_high(*args, **options):
        guesses.append(float(expected[1][-1]) + 1e-3)
        return guesses[-1]

    monkeypatch.setattr(item_index, "threshold", too_high)
    found = model.recommend(history=history, k=1)
    assert not without_bounds
    assert len(guesses) == 1
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


def test_no_essential_dimension_is_no_obstacle(without_bounds):
    n = DIM * 5  # each item is one dimension: a history of 1,000 of them has all alike
    table = Table(np.arange(n + 1), np.arange(n, dtype=np.uint16), np.ones(n, np.float32), n)
    arrays = ModelArrays("history", n, from_values(range(n)), table, np.zeros(n, np.float32))
    model = sparserec_np.load(encode(arrays))
    history = list(range(1_000))
    assert model.recommend(history=history, k=3, exclude=[])[0] == [0, 1, 2]
    assert len(without_bounds) == 1


@pytest.mark.parametrize(("dim", "dense"), [(8 * ROW, True), (8 * ROW + 1, False)])
def test_a_dense_table_is_multiplied_and_no_query_is_split(monkeypatch, dim, dense):
    splits, split_query = [], upper_bounds.split_query
    monkeypatch.setattr(upper_bounds, "split_query", lambda x: splits.append(x) or split_query(x))
    model = sparserec_np.load(encode(long_tailed(1, dim=dim)))
    model.recommend(history=[5, 17])
    assert len(splits) == (0 if dense else 1)


def test_batches_are_answered_as_without_bounds():
    table = long_tailed(4).items
    bias, weight = np.zeros(N_ITEMS, np.float32), np.ones(N_ITEMS, np.float32)
    rows = table.indptr, table.dims, table.values, bias
    scorer = ItemScorer(*rows, weight, exponent=0.5, power=1.0, dim=DIM)
    rng = np.random.default_rng(5)
    histories = np.sort(np.argsort(rng.random((40, N_ITEMS)), axis=1)[:, :20], axis=1)
    lists = ItemLists(np.arange(0, 801, 20), histories.ravel().astype(np.int32))
    users = UserRows(*lists, np.zeros(0, np.float32))
    items, scores = batch_top_k(scorer, users, np.arange(40), lists, history=True, k=7)
    index = inverted_index.build_index(*rows, DIM)
    for user, history in enumerate(histories):
        vector = sum_of_rows(table, history, np.float32) * np.float32(20**-0.5)
        assert inverted_index.split_query(index, vector).n_spared > 0
        expected = ranking.scores_in_order(*rows, vector)
        assert items[user].tolist() == ranking.top_k(expected, history.tolist(), 7)
        np.testing.assert_array_equal(scores[user], expected[items[user]])


@given(st.integers(0, 2**32), st.floats(-8, 8))
def test_no_score_is_above_its_bound(seed, exponent):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((50, 300)) * 10.0**exponent
    x = np.exp(2 * rng.standard_normal(300)) * rng.choice([-1, 1], 300)
    essential, n_rest, radius, limit = upper_bounds.split_query(x)
    assert len(essential) + n_rest == 300
    approximate = rows[:, essential].astype(np.float32) @ x[essential].astype(np.float32)
    for order, reach in ((2, radius), (1, limit)):
        exact = np.linalg.norm(rows, order, axis=1)
        norms = upper_bounds.round_up(exact)
        assert (np.abs(rows @ x - approximate) <= norms * reach).all()
        assert (norms >= exact).all()


def test_of_an_empty_vector_nothing_is_split():
    essential, n_rest, radius, limit = upper_bounds.split_query(np.zeros(8))
    assert len(essential) == n_rest == radius == limit == 0
