"""Requests with neighbours, on tables so large that bounds spare work: exact all the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sparserec_np import load, load_compiled
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.modelfile.reader import open_model
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime.model import Model
from sparserec_np.vocabulary import RangeIds

N, DIM = 4000, 400
Open = Callable[[bytes], Model]


def large_model(size: float, *, seed: int = 0, added: int = 3) -> ModelArrays:
    """Return a model of long rows whose neighbours are small or large beside its factors."""
    rng = np.random.default_rng(seed)
    dims = np.sort(rng.permuted(np.tile(np.arange(DIM), (N, 1)), axis=1)[:, :12], axis=1)
    values = rng.standard_normal(dims.size) * rng.exponential(size=dims.size)
    items = np.sort(rng.permuted(np.tile(np.arange(N), (N, 1)), axis=1)[:, :added], axis=1)
    sums = (size * rng.integers(1, 4, items.size)).astype(np.float32)  # many alike
    return ModelArrays(
        "history",
        DIM,
        RangeIds(0, N),
        Table(
            np.arange(0, 12 * N + 1, 12), dims.ravel().astype(np.uint16), values.astype("f4"), DIM
        ),
        rng.integers(0, 3, N).astype(np.float32) / 4,
        history_exponent=0.5,
        history_power=0.75,
        history_recency=0.5,
        neighbours=Neighbours(np.arange(0, added * N + 1, added), items.ravel().astype("i4"), sums),
    )


def scores_of(stored: ModelArrays, history: list[int]) -> np.ndarray:
    """Return the scores of all items, on dense arrays."""
    table = np.zeros((N, DIM))
    table[np.repeat(np.arange(N), 12), stored.items.dims] = stored.items.values
    by_age = np.arange(len(history), 0, -1) ** -0.5
    y = by_age @ table[history]
    scores = by_age.sum() ** -0.5 * (table @ (np.sign(y) * np.abs(y) ** 0.75)) + stored.item_bias
    matrix = np.zeros((len(history), N))
    for place, item in enumerate(history):
        row = slice(stored.neighbours.indptr[item], stored.neighbours.indptr[item + 1])
        matrix[place, stored.neighbours.items[row]] = stored.neighbours.values[row]
    return scores + by_age @ matrix


@pytest.mark.parametrize("opened", [load, load_compiled])
@pytest.mark.parametrize("size", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("added", [3, 40])
def test_the_best_items_are_exact(opened: Open, size: float, added: int) -> None:
    data = encode(large_model(size, added=added))
    model, stored = opened(data), open_model(data).arrays()
    rng = np.random.default_rng(5)
    for n in (1, 4, 20):
        history = rng.choice(N, n, replace=False).tolist()
        scores = scores_of(stored, history)
        scores[history] = -np.inf
        for k in (1, 10, 30):
            ids, found = model.recommend(history=history, k=k)
            np.testing.assert_allclose(found, np.sort(scores)[::-1][:k], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found, scores[ids], rtol=1e-5, atol=1e-5)


def test_all_readers_give_the_same_bits() -> None:
    data = encode(large_model(1.0))
    plain, compiled = load(data), load_compiled(data)
    rng = np.random.default_rng(7)
    for _ in range(30):
        history = rng.choice(N, 12, replace=False).tolist()
        excluded = rng.choice(N, 500, replace=False).tolist()
        for k in (3, 12, 200):
            one = plain.recommend(history=history, k=k, exclude=excluded)
            other = compiled.recommend(history=history, k=k, exclude=excluded)
            assert one[0] == other[0]
            np.testing.assert_array_equal(one[1], other[1])


def test_equal_scores_come_in_the_order_of_the_ids() -> None:
    """Without factors, items that are added to and others that are not have the same scores."""
    n = 3000
    none = Table(np.zeros(n + 1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32), 2)
    indptr = np.zeros(n + 1, np.int64)
    indptr[5:] = 3
    added = Neighbours(indptr, np.array([7, 900, 2000], np.int32), np.ones(3, np.float32))
    bias = np.zeros(n, np.float32)
    bias[[3, 901]] = 1
    arrays = ModelArrays("history", 2, RangeIds(0, n), none, bias, neighbours=added)
    for opened in (load, load_compiled):
        ids, scores = opened(encode(arrays)).recommend(history=[4], k=8)
        assert ids == [3, 7, 900, 901, 2000, 0, 1, 2]
        np.testing.assert_allclose(scores, [1.0] * 5 + [0.0] * 3, atol=1e-30)


def test_an_explanation_has_what_each_item_adds() -> None:
    data = encode(large_model(1.0))
    model, stored = load(data), open_model(data).arrays()
    history = [17, 400, 2017]
    for item in (*stored.neighbours.items[3 * 400 : 3 * 400 + 3].tolist(), 1):
        found = model.explain(item, history=history)
        assert found.score == pytest.approx(scores_of(stored, history)[item])
        assert found.bias + sum(share for _, share in found.parts) == pytest.approx(found.score)
        without = ModelArrays(**{**vars(stored), "neighbours": None})
        shares = dict(load(encode(without)).explain(item, history=history).parts)
        age = {17: 3, 400: 2, 2017: 1}
        for own, share in found.parts:
            row = slice(3 * own, 3 * own + 3)
            added = stored.neighbours.values[row][stored.neighbours.items[row] == item].sum()
            assert share == pytest.approx(shares[own] + age[own] ** -0.5 * added)


def test_info_counts_them() -> None:
    info = load(encode(large_model(1.0))).info()
    assert info["format_version"] == "4.0"
    assert info["neighbours"] == 3 * N
    assert sum(info["parts"].values()) == info["bytes"]
