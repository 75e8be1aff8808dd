"""The light runtime against the formula on dense arrays, and its manners."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ranking

import sparserec_np
from sparserec_np import InputError, UnknownIdError, UnknownIdWarning, load_compiled
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.modelfile.reader import open_model
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime.model import Model, load
from sparserec_np.runtime.top_k import top_k
from sparserec_np.vocabulary import from_values

Make = Callable[..., ModelArrays]


def dense(table: Table) -> np.ndarray:
    out = np.zeros((len(table), table.dim))
    out[np.repeat(np.arange(len(table)), np.diff(table.indptr).astype(np.intp)), table.dims] = (
        table.values
    )
    return out


def opened(model: ModelArrays) -> tuple[Model, ModelArrays]:
    """The model as loaded, and its arrays as stored."""
    data = encode(model)
    return load(data), open_model(data).arrays()


def oracle(
    stored: ModelArrays,
    user: object = None,
    history: list[object] | None = None,
    popularity: float = 1.0,
):
    """Scores of all items by the formula, on dense arrays."""
    items, bias = dense(stored.items), stored.item_bias * popularity
    if history is None:
        vector = dense(stored.user_rows)[stored.user_ids.locate([user])[0]]
    else:
        places = [p for p in stored.item_ids.locate(history).tolist() if p >= 0]
        known = np.array(sorted(set(places), key=places[::-1].index))  # the latest first
        by_age = np.arange(1, len(known) + 1) ** -stored.history_recency
        weights = np.ones(len(items)) if stored.history_weights is None else stored.history_weights
        summed = (weights[known] * by_age) @ items[known]
        bent = np.sign(summed) * np.abs(summed) ** stored.history_power
        vector = by_age.sum() ** -stored.history_exponent * bent
        if stored.neighbours is not None:
            added = by_age @ added_by(stored.neighbours)[known]
            return items @ vector + bias + added
    return items @ vector + bias


def added_by(neighbours: Neighbours) -> np.ndarray:
    out = np.zeros((len(neighbours), len(neighbours)))
    sources = np.repeat(np.arange(len(neighbours)), np.diff(neighbours.indptr).astype(np.intp))
    out[sources, neighbours.items] = neighbours.values
    return out


def ranked(stored: ModelArrays, scores: np.ndarray, k: int, left_out: set[int]) -> list[object]:
    order = [int(i) for i in np.argsort(-scores, kind="stable") if int(i) not in left_out]
    return stored.item_ids.take(order[:k])


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), data=st.data(), ids=st.sampled_from(["range", "int", "str"]))
def test_history_recommendations_are_the_formula(
    random_model: Make, seed: int, data: st.DataObject, ids: str
) -> None:
    kind = {
        "weighted": data.draw(st.booleans()),
        "power": data.draw(st.sampled_from([0.5, 0.875, 1])),
        "recency": data.draw(st.sampled_from([0.0, 0.375, 1.0])),
        "neighbours": data.draw(st.sampled_from([0, 6])),
    }
    model, stored = opened(random_model(seed, ids=ids, n_items=70, **kind))
    assert model.history_power == stored.history_power == kind["power"]
    assert model.history_recency == stored.history_recency == kind["recency"]
    everything = stored.item_ids.take(range(70))
    unknown = "no such item" if ids == "str" else 10**9
    for _ in range(2):  # the first request scans the table, the second has the index
        history = data.draw(st.lists(st.sampled_from(everything), min_size=1, max_size=30))
        k = data.draw(st.integers(1, 80))
        popularity = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
        got, scores = model.recommend(
            history=[*history[-1:], *history, unknown], k=k, popularity=popularity
        )
        expected = oracle(stored, history=history, popularity=popularity)
        own = set(stored.item_ids.locate(history).tolist())
        assert got == ranked(stored, expected, k, own)
        assert scores.dtype == np.float32 and len(got) == min(k, 70 - len(own))
        np.testing.assert_allclose(
            scores, expected[stored.item_ids.locate(got)], rtol=1e-5, atol=1e-6
        )


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_embedding_recommendations_are_the_formula(
    random_model: Make, seed: int, data: st.DataObject
) -> None:
    model, stored = opened(random_model(seed, "embedding", n_users=700))
    user = data.draw(st.sampled_from(stored.user_ids.take(range(700))))
    left_out = data.draw(st.lists(st.sampled_from(stored.item_ids.take(range(60))), max_size=20))
    got, scores = model.recommend(user, k=10, exclude=[*left_out, -(10**9)])
    expected = oracle(stored, user)
    assert got == ranked(stored, expected, 10, set(stored.item_ids.locate(left_out).tolist()))
    np.testing.assert_allclose(scores, expected[stored.item_ids.locate(got)], rtol=1e-5, atol=1e-6)


def test_dislikes_are_subtracted_and_left_out(random_model: Make) -> None:
    model, stored = opened(random_model(5, power=0.75, recency=0.5, neighbours=4))
    a, b, c, d = stored.item_ids.take([3, 10, 20, 30])
    got, scores = model.recommend(history=[c, a, b], dislikes=[c, d], k=60)
    assert {a, b, c, d} & set(got) == set() and len(got) == 56
    assert model.recommend(history=[a, b], dislikes=[d, c], k=60)[0] == got
    assert c not in model.recommend(history=[a, b], dislikes=[c], exclude=[], k=60)[0]
    items, by_age = dense(stored.items), np.zeros(60)
    by_age[[10, 3, 20, 30]] = [1, 2**-0.5, -1, -1]
    summed = (by_age * stored.history_weights) @ items
    vector = (1 + 2**-0.5) ** -stored.history_exponent * np.sign(summed) * np.abs(summed) ** 0.75
    expected = items @ vector + stored.item_bias + by_age @ added_by(stored.neighbours)
    np.testing.assert_allclose(scores, expected[stored.item_ids.locate(got)], rtol=1e-5, atol=1e-6)
    with pytest.raises(UnknownIdError, match="dislikes: nothing is left"):
        model.recommend(history=[c], dislikes=[c])
    with pytest.warns(UnknownIdWarning, match="in dislikes"):
        model.recommend(history=[a], dislikes=[-(10**9)])


def test_an_embedding_model_subtracts_rows(random_model: Make) -> None:
    model, stored = opened(random_model(6, "embedding"))
    (user,), (a, b) = stored.user_ids.take([7]), stored.item_ids.take([4, 40])
    got, scores = model.recommend(user, k=60, dislikes=[b, a], popularity=0.5)
    items = dense(stored.items)
    vector = dense(stored.user_rows)[7] - items[4] - items[40]
    expected = items @ vector + 0.5 * stored.item_bias
    assert {a, b} & set(got) == set() and len(got) == 58
    np.testing.assert_allclose(scores, expected[stored.item_ids.locate(got)], rtol=1e-5, atol=1e-6)
    why = model.explain(got[0], user, dislikes=[a, b], popularity=0.5)
    assert why.score == pytest.approx(float(scores[0]), rel=1e-5)


def test_diverse_lists_avoid_what_is_alike(random_model: Make) -> None:
    model, stored = opened(random_model(7, n_items=300))
    history = stored.item_ids.take([2, 9])
    best, _ = model.recommend(history=history, k=20)
    rows = dense(stored.items)
    lengths = np.linalg.norm(rows, axis=1)
    unit = np.divide(rows, lengths[:, None], out=np.zeros_like(rows), where=lengths[:, None] > 0)

    def closeness(names: list[object]) -> float:
        some = unit[stored.item_ids.locate(names)]
        return float((some @ some.T)[~np.eye(len(some), dtype=bool)].mean())

    before = closeness(best)
    for diversity in (0.3, 1.0):
        diverse, scores = model.recommend(history=history, k=20, diversity=diversity)
        assert diverse[0] == best[0] and len(set(diverse)) == len(scores) == 20
        assert closeness(diverse) < before
        before = closeness(diverse)
    few = stored.item_ids.take([1, 5, 6])
    ranked_few, _ = model.recommend(history=history, candidates=few, diversity=0.5)
    assert sorted(ranked_few) == sorted(few)


@pytest.mark.parametrize("diversity", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("opener", [load, load_compiled])
def test_neighbours_alone_say_what_is_alike(
    random_model: Make, opener: Callable[[bytes], Model], diversity: float
) -> None:
    data = encode(random_model(7, n_items=300, neighbours=60, alone=True))
    model, stored = opener(data), open_model(data).arrays()
    history = stored.item_ids.take([2, 9, 30])
    best, _ = model.recommend(history=history, k=20)
    got, scores = model.recommend(history=history, k=20, diversity=diversity)
    all_scores = oracle(stored, history=history)
    pool = np.array(ranking.top_k(all_scores, stored.item_ids.locate(history).tolist(), 100))
    rows, worth = added_by(stored.neighbours)[pool], all_scores[pool]
    expected = pool[ranking.most_diverse(rows, worth, 20, diversity)]
    assert got == stored.item_ids.take(expected) != best
    np.testing.assert_allclose(scores, all_scores[expected], rtol=1e-6)


@pytest.mark.parametrize(
    "wish",
    [{"popularity": 2}, {"popularity": "1"}, {"diversity": -0.1}, {"diversity": True},
     {"recency": 0.3}, {"recency": float("nan")}],
)  # fmt: skip
def test_wishes_out_of_range_are_refused(random_model: Make, wish: dict[str, object]) -> None:
    model, _ = opened(random_model(1))
    with pytest.raises(InputError, match=f"{next(iter(wish))} must be a"):
        model.recommend(history=model.item_ids.take([0]), **wish)


def test_recency_of_a_request_stands_for_the_learned_one(random_model: Make) -> None:
    learned, _ = opened(random_model(8, recency=0.5))
    plain, _ = opened(random_model(8, recency=0.0))
    history = learned.item_ids.take([9, 3, 7])
    expected = plain.recommend(history=history)
    got = learned.recommend(history=history, recency=0)
    assert got[0] == expected[0] and got[1].tolist() == expected[1].tolist()
    back = plain.recommend(history=history, recency=0.5)
    assert back[1].tolist() == learned.recommend(history=history)[1].tolist()
    embedding, _ = opened(random_model(1, "embedding"))
    with pytest.raises(InputError, match="weighs histories"):
        embedding.recommend(embedding.user_ids.take([0])[0], recency=0)


def test_exclude_and_candidates(random_model: Make) -> None:
    model, stored = opened(random_model(2))
    a, b, c, d, e = stored.item_ids.take([3, 10, 20, 30, 40])
    everything, scores = model.recommend(history=[a, b], k=100, exclude=[])
    assert len(everything) == 60 and {a, b} <= set(everything)
    assert len(model.recommend(history=[a, b], k=100)[0]) == 58
    assert set(everything) - set(model.recommend(history=[a, b], k=100, exclude=[c])[0]) == {c}
    few, few_scores = model.recommend(history=[a, b], candidates=[e, d, e, a, -5])
    assert few == [i for i in everything if i in {d, e}]
    np.testing.assert_array_equal(
        few_scores, [s for i, s in zip(everything, scores, strict=True) if i in {d, e}]
    )
    assert model.recommend(history=[a], candidates=[])[0] == []
    assert model.recommend(history=[a], candidates=[a])[0] == []


def test_equal_scores_come_in_the_order_of_the_ids() -> None:
    n = 3000
    table = Table(np.arange(n + 1), np.zeros(n, np.uint16), np.ones(n, np.float32), 2)
    ids = from_values(range(0, 2 * n, 2))
    model = load(encode(ModelArrays("history", 2, ids, table, np.zeros(n, np.float32))))
    got, scores = model.recommend(history=[4], k=5)
    assert got == [0, 2, 6, 8, 10] and scores.tolist() == [1.0] * 5


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 3000), st.integers(1, 40), st.booleans())
def test_top_k_is_a_stable_sort(seed: int, n: int, k: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 9, n).astype(float) if ties else rng.standard_normal(n)
    scores[rng.random(n) < rng.random()] = -np.inf
    order = [i for i in np.argsort(-scores, kind="stable").tolist() if scores[i] > -np.inf]
    assert top_k(scores, k).tolist() == order[:k]


def test_similar_items_are_by_cosine(random_model: Make) -> None:
    model, stored = opened(random_model(4, n_items=80))
    rows = dense(stored.items)
    for index in (0, 5, 79):
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(rows[index])
        cosines = np.divide(rows @ rows[index], norms, out=np.zeros(80), where=norms > 0)
        cosines[index] = -1
        (item,) = stored.item_ids.take([index])
        got, scores = model.similar_items(item, k=20)
        positions = stored.item_ids.locate(got)
        assert set(positions) == {i for i in np.argsort(-cosines)[:20] if cosines[i] > 0}
        np.testing.assert_allclose(scores, cosines[positions], rtol=1e-5)
        assert (np.diff(scores) <= 0).all()


def test_similar_items_are_also_those_that_add_to_each_other(random_model: Make) -> None:
    arrays = random_model(4, n_items=80)
    (without, with_) = opened(arrays)[0], opened(replace(arrays, neighbours=one_way(80, 3, 7)))[0]
    three, seven = arrays.item_ids.take([3, 7])
    for item, other in ((three, seven), (seven, three)):
        cosines = dict(zip(*without.similar_items(item, k=80), strict=True))
        both = dict(zip(*with_.similar_items(item, k=80), strict=True))
        assert both[other] == pytest.approx((cosines.get(other, 0) + 0.5) / 2, abs=0.05)
        assert {i: s for i, s in both.items() if i != other} == pytest.approx(
            {i: s / 2 for i, s in cosines.items() if i != other}
        )


def one_way(n_items: int, source: int, item: int) -> Neighbours:
    """Return neighbours of one entry, which is 2."""
    indptr = np.zeros(n_items + 1, np.int64)
    indptr[source + 1 :] = 1
    return Neighbours(indptr, np.array([item], np.int32), np.array([2], np.float32))


def test_an_item_without_weights_is_similar_to_none(random_model: Make) -> None:
    model, stored = opened(random_model(4))
    (empty,) = np.flatnonzero(np.diff(stored.items.indptr) == 0)[:1]
    assert model.similar_items(*stored.item_ids.take([empty]))[0] == []


@pytest.mark.parametrize(("users", "power"), [("history", 1), ("history", 0.875), ("embedding", 1)])
def test_an_explanation_sums_to_the_score(random_model: Make, users: str, power: float) -> None:
    model, stored = opened(random_model(6, users, power=power))
    if users == "history":
        history = stored.item_ids.take([1, 7, 30, 31, 50])
        request = {"history": [*history, history[0], 10**9]}
    else:
        request = {"user": stored.user_ids.take([12])[0]}
    ids, scores = model.recommend(**request, k=5)
    for item, score in zip(ids, scores, strict=True):
        explanation = model.explain(item, **request)
        shares = [share for _, share in explanation.parts]
        assert explanation.bias + sum(shares) == pytest.approx(explanation.score, abs=1e-12)
        assert explanation.score == pytest.approx(float(score), rel=1e-6)
        assert shares == sorted(shares, reverse=True)
        if users == "history":
            assert {name for name, _ in explanation.parts} == set(history)
    if users == "history" and power == 1:
        # Shares are what is lost when an item leaves, the scale kept.
        explanation = model.explain(ids[0], **request)
        name, share = explanation.parts[0]
        rest = [item for item in history if item != name]
        scale = (5 / 4) ** -stored.history_exponent
        without = (oracle(stored, history=rest) - stored.item_bias) * scale
        place = stored.item_ids.locate(ids[:1])[0]
        assert share == pytest.approx(
            explanation.score - explanation.bias - without[place], rel=1e-5
        )


def test_of_a_bent_history_an_item_has_its_share_of_each_dimension(random_model: Make) -> None:
    model, stored = opened(random_model(6, power=0.625))
    items, places = dense(stored.items), [1, 7, 30, 31, 50]
    rows = stored.history_weights[places, None].astype(float) * items[places]
    y = rows.sum(axis=0)
    z = np.sign(y) * np.abs(y) ** 0.625
    of_dims = np.divide(z, y, out=np.zeros_like(y), where=y != 0)
    assert (y == 0).any() and (y != 0).any()
    target = stored.item_ids.take([3])[0]
    shares = len(places) ** -stored.history_exponent * (rows * of_dims) @ items[3]
    names = stored.item_ids.take(places)
    parts = dict(model.explain(target, history=names).parts)
    assert [parts[name] for name in names] == pytest.approx(shares.tolist(), rel=1e-9, abs=1e-12)


def test_dimensions_that_cancel_are_explained() -> None:
    """What says nothing has no share if histories are bent; else opposite shares, as they are."""
    table = Table(np.arange(4), np.zeros(3, np.uint16), np.float32([1, -1, 1]), 1)
    arrays = ModelArrays("history", 1, from_values([1, 2, 3]), table, np.zeros(3, np.float32))
    for power, size in ((1.0, 1.0), (0.875, 0.0)):
        model = load(encode(replace(arrays, history_power=power)))
        explanation = model.explain(3, history=[1, 2])
        assert explanation.score == explanation.bias
        assert [abs(share) for _, share in explanation.parts] == [size, size]


def test_a_batch_is_its_requests(random_model: Make) -> None:
    model, stored = opened(random_model(8))
    histories = [stored.item_ids.take(p) for p in ([1], [2, 3], [4, 5, 6])]
    batch = model.recommend_batch(histories=histories, k=4, exclude=[None, [], histories[0]])
    for got, request, left_out in zip(batch, histories, [None, [], histories[0]], strict=True):
        one = model.recommend(history=request, k=4, exclude=left_out)
        assert got[0] == one[0] and (got[1] == one[1]).all()
    model, stored = opened(random_model(8, "embedding"))
    users = stored.user_ids.take([3, 4])
    assert [ids for ids, _ in model.recommend_batch(users)] == [
        model.recommend(u)[0] for u in users
    ]
    with pytest.raises(InputError, match="1 lists to exclude for 2"):
        model.recommend_batch(users, exclude=[[]])
    with pytest.raises(InputError, match="give users"):
        model.recommend_batch()


def test_requests_that_do_not_fit_are_refused(random_model: Make) -> None:
    history_model, _ = opened(random_model(1))
    embedding_model, _ = opened(random_model(1, "embedding"))
    with pytest.raises(InputError, match="embedding model: give the id of a user"):
        embedding_model.recommend(history=[1])
    with pytest.raises(InputError, match="knows no users: give the history"):
        history_model.recommend(user=1)
    with pytest.raises(InputError, match="history is empty"):
        history_model.recommend(history=[])
    with pytest.raises(InputError, match="list of ids, not 'abc'"):
        history_model.recommend(history="abc")
    with pytest.raises(
        UnknownIdError, match=r"none of the items of the history \(-9, -8, -7, ...\)"
    ):
        history_model.recommend(history=[-9, -8, -7, -6])
    with pytest.raises(UnknownIdError, match="does not know the user 'x'"):
        embedding_model.recommend("x")
    with pytest.raises(UnknownIdError, match="does not know the item True"):
        history_model.similar_items(True)
    for history, why in (
        (1, r"not 1: give \[1\]"),
        (["1"], "the ids are integers, but '1' is a str"),
        (np.ones((2, 2), int), r"shape \(2, 2\)"),
    ):
        with pytest.raises(InputError, match=why):
            history_model.recommend(history=history)
    for k in (0, -1, 1.5, True):
        with pytest.raises(InputError, match="k must be"):
            embedding_model.recommend(embedding_model.user_ids.take([0])[0], k=k)
    with pytest.raises(InputError, match="no user rows"):
        history_model.users_table()


def test_labels(random_model: Make) -> None:
    model, stored = opened(random_model(1, labels=True))
    ids = stored.item_ids.take([5, 0])
    assert model.labels_of([ids[0], 10**9, ids[1]]) == [stored.labels[5], None, stored.labels[0]]
    model, _ = opened(replace(stored, labels=[""] * 60))
    assert model.labels_of(ids) == [None, None]
    model, _ = opened(replace(stored, labels=None))
    assert model.labels_of(ids) == [None, None]


@pytest.mark.parametrize("users", ["history", "embedding"])
def test_info_and_tables(random_model: Make, users: str) -> None:
    arrays = random_model(1, users, labels=True)
    model, stored = opened(arrays)
    info = model.info()
    weights = len(arrays.items.dims) + (len(arrays.user_rows.dims) if arrays.user_rows else 0)
    rows = 60 + (30 if users == "embedding" else 0)
    assert info["weights"] == weights and info["n_items"] == 60 and info["n_users"] == 30
    assert info["sparsity"] == pytest.approx(1 - weights / (rows * 16))
    assert info["bytes"] == len(encode(arrays)) == sum(info["parts"].values())
    assert info["config"] == arrays.config and info["facts"] == arrays.facts
    np.testing.assert_array_equal(model.items_table().values, stored.items.values)
    if users == "embedding":
        np.testing.assert_array_equal(model.users_table().dims, stored.user_rows.dims)


def test_threads_get_the_answers_of_one(random_model: Make) -> None:
    arrays = random_model(9, n_items=2000, dim=200)
    data = encode(arrays)
    histories = [arrays.item_ids.take([n, n + 500, n + 900]) for n in range(200)]
    alone = load(data)
    expected = [alone.recommend(history=h)[0] for h in histories]
    shared = load(data)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda h: shared.recommend(history=h)[0], histories)) == expected


def test_the_file_is_never_changed(random_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    path.write_bytes(encode(random_model(1)))
    before = path.read_bytes()
    model = load(path)
    _, scores = model.recommend(history=model.item_ids.take([0]))
    scores[:] = 0
    assert model.recommend(history=model.item_ids.take([0]))[1].any()
    assert (
        path.read_bytes() == before
        and not model._file._container.mapped("items.low").flags.writeable
    )


def test_nothing_but_numpy_is_imported(random_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    path.write_bytes(encode(random_model(1, ids="range")))
    code = f"""
import sys
import sparserec_np
model = sparserec_np.load({str(path)!r}, verify=True)
first = model.item_ids.take([0])
assert model.recommend(history=first)[0]
model.similar_items(first[0]), model.explain(first[0], history=first), model.info()
heavy = {{"numba", "scipy", "sklearn", "click", "duckdb", "rich", "pandas"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_load_is_a_public_name() -> None:
    assert sparserec_np.load is load and sparserec_np.Model is Model


def test_histories_of_any_iterable_and_unknown_ids(random_model: Make) -> None:
    model, stored = opened(random_model(1))
    known = stored.item_ids.take([3, 5])
    expected = model.recommend(history=known, k=3)[0]
    for history in (set(known), (item for item in known), tuple(known), np.array(known)):
        assert model.recommend(history=history, k=3)[0] == expected
    with pytest.warns(UnknownIdWarning, match="1 of the 3 ids in history are unknown"):
        model.recommend(history=[*known, 10**9])
    with pytest.warns(UnknownIdWarning, match="2 of the 3 ids in candidates are unknown"):
        model.recommend(history=known, candidates=[known[0], -5, -6])
    with pytest.raises(UnknownIdError, match="history 1 of 3: the model knows none"):
        model.recommend_batch(histories=[known, [10**9], known])
    found = model.recommend_batch(histories=[known, [10**9], []], k=3, skip_unknown=True)
    assert [ids for ids, _ in found] == [expected, [], []]


def test_a_copy_outlives_its_file(random_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    path.write_bytes(encode(random_model(1, "embedding", ids="str", labels=True)))
    mapped, copied = load(path), load(path, copy=True)
    assert mapped.user_ids is not None
    user = mapped.user_ids.take([0])[0]
    expected = mapped.recommend(user=user)
    path.write_bytes(b"")  # in place: who has it mapped would be killed by a request
    items, scores = copied.recommend(user=user)
    assert items == expected[0] and scores.tolist() == expected[1].tolist()
    assert copied.info()["bytes"] > 0
    with pytest.raises(sparserec_np.ModelFileError, match=r"m\.srec: 0 bytes, too short"):
        load(path, copy=True)
