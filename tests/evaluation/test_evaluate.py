"""``evaluate`` and batch recommendation against the runtime's ``recommend``, user by user."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pytest

from sparserec_np.data import Interactions, from_pairs
from sparserec_np.errors import InputError, UnknownIdError
from sparserec_np.evaluation.batch_recommend import write_recommendations
from sparserec_np.evaluation.evaluate import evaluate
from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.modelfile.reader import open_model
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime import Model, load
from sparserec_np.vocabulary import from_values

N_USERS, N_ITEMS, DIM, K = 30, 50, 16, 7


def random_table(rng: np.random.Generator, rows: int) -> Table:
    stored = [np.sort(rng.choice(DIM, size=4, replace=False)) for _ in range(rows)]
    return Table(
        indptr=np.arange(rows + 1, dtype=np.int64) * 4,
        dims=np.concatenate(stored).astype(np.uint16),
        values=rng.normal(size=4 * rows).astype(np.float32),
        dim=DIM,
    )


def random_model(users: str, kind: str) -> Model:
    rng = np.random.default_rng(11)
    item_ids = from_values([f"i{n}" for n in range(N_ITEMS)] if kind == "str" else range(N_ITEMS))
    embedding = users == "embedding"
    arrays = ModelArrays(
        users=users,
        dim=DIM,
        item_ids=item_ids,
        items=random_table(rng, N_ITEMS),
        item_bias=rng.normal(size=N_ITEMS).astype(np.float32),
        history_weights=None if embedding else rng.uniform(0.5, 1, N_ITEMS).astype(np.float32),
        history_exponent=0.0 if embedding else 0.5,
        user_ids=from_values(range(N_USERS)) if embedding else None,
        user_rows=random_table(rng, N_USERS) if embedding else None,
        labels=None,
        value_bits=8,
        config={},
        facts={},
    )
    return load(encode(arrays))


def random_pairs(kind: str) -> tuple[Interactions, Interactions]:
    """Draw training and test pairs of users 0 to 34 and items 0 to 54; five of each are unknown."""
    rng = np.random.default_rng(12)
    pairs = [
        (user, item)
        for user in range(N_USERS + 5)
        for item in rng.choice(N_ITEMS + 5, size=12, replace=False)
    ]
    rng.shuffle(pairs)
    users, items = np.array(pairs).T
    names = [f"i{n}" for n in items] if kind == "str" else items.tolist()
    cut = len(pairs) // 2
    return (
        from_pairs(users[:cut].tolist(), names[:cut]),
        from_pairs(users[cut:].tolist(), names[cut:]),
    )


def rows(interactions: Interactions) -> dict[int, list]:
    items = interactions.item_ids.take(interactions.items)
    users = interactions.user_ids.take(np.arange(interactions.n_users))
    indptr = interactions.indptr.tolist()
    return {u: items[indptr[p] : indptr[p + 1]] for p, u in enumerate(users)}


def recommend(model: Model, user: int, liked: list) -> list:
    try:
        if model.users == "history":
            return model.recommend(history=liked, k=K)[0]
        return model.recommend(user=user, exclude=liked, k=K)[0]
    except UnknownIdError:
        return []


@pytest.fixture(params=[("history", "int"), ("history", "str"), ("embedding", "int")])
def case(request):
    users, kind = request.param
    return random_model(users, kind), *random_pairs(kind)


def test_evaluate_agrees_with_recommending_one_by_one(case, caplog):
    model, train, test = case
    liked, wanted = rows(train), rows(test)
    lists = {user: recommend(model, user, liked[user]) for user in wanted}
    recalls = [len(set(lists[u]) & set(wanted[u])) / len(wanted[u]) for u in wanted]
    metrics = evaluate(model, train, test, k=K)
    assert metrics["users"] == len(wanted)
    assert metrics["recall"] == pytest.approx(np.mean(recalls), abs=1e-12)
    hits = [bool(set(lists[u]) & set(wanted[u])) for u in wanted]
    assert metrics["hit_rate"] == pytest.approx(np.mean(hits), abs=1e-12)
    assert metrics["coverage"] == len(set().union(*lists.values())) / N_ITEMS
    assert metrics["model_bytes"] == model.info()["bytes"]
    if model.users == "embedding":
        assert "5 of 35 users count with zero" in caplog.text


def test_batch_recommendation_agrees_with_recommending_one_by_one(case, tmp_path, monkeypatch):
    model, train, _ = case
    monkeypatch.setattr("sparserec_np.evaluation.batch_recommend.BLOCK", 9 * K)
    path = tmp_path / "it's all.parquet"
    written = write_recommendations(model, train, path, k=K)
    stored: dict[int, list] = {}
    for user, place, item, _ in duckdb.read_parquet(str(path)).fetchall():
        stored.setdefault(user, []).append(item)
        assert len(stored[user]) == place
    expected = {user: recommend(model, user, liked) for user, liked in rows(train).items()}
    assert stored == {user: items for user, items in expected.items() if items}
    assert written.rows == sum(map(len, stored.values()))
    assert written.users == len(stored)
    assert written.users + written.skipped == len(expected)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_batch_for_nobody_is_an_empty_table(case, tmp_path):
    model, train, _ = case
    nobody = from_pairs([10**6], train.item_ids.take([0]))
    path = tmp_path / "none.parquet"
    written = write_recommendations(model, nobody, path, k=K)
    if model.users == "embedding":
        assert (written.users, written.rows, written.skipped) == (0, 0, 1)
        assert len(duckdb.read_parquet(str(path))) == 0


def test_k_must_be_positive(case):
    with pytest.raises(InputError, match="k must be at least 1"):
        evaluate(*case, k=0)


def test_what_is_known_already_is_warned_of(case, caplog):
    model, train, test = case
    evaluate(model, train, test, k=K)
    assert not any("training data as well" in r.getMessage() for r in caplog.records)
    evaluate(model, train, train, k=K)
    assert any("100 % of the test interactions" in r.getMessage() for r in caplog.records)


def test_a_small_overlap_is_warned_of_too(case, caplog):
    model, train, test = case
    pairs = [(user, item) for user, items in rows(train).items() for item in items]
    first, *_ = rows(test).items()
    users, items = zip(*pairs, *((first[0], item) for item in first[1]), strict=True)
    evaluate(model, from_pairs(list(users), list(items)), test, k=K)
    assert any("the metrics say too little" in r.getMessage() for r in caplog.records)


def test_popularity_stands_beside_the_model(case):
    model, train, test = case
    found = evaluate(model, train, test, k=K)["popularity"]
    degrees: dict[object, int] = {}
    liked, wanted = rows(train), rows(test)
    for items in liked.values():
        for item in items:
            degrees[item] = degrees.get(item, 0) + 1
    everything = sorted(model.item_ids.take(range(N_ITEMS)), key=lambda item: -degrees.get(item, 0))
    known_users = set(wanted if model.user_ids is None else model.user_ids.take(
        range(len(model.user_ids))))  # fmt: skip
    hits = [
        bool(set([i for i in everything if i not in liked[user]][:K]) & set(wanted[user]))
        for user in wanted
        if user in known_users
    ]
    assert found["hit_rate"] == pytest.approx(sum(hits) / len(wanted), abs=1e-12)
    assert found.keys() == {"k", "recall", "ndcg", "hit_rate", "mrr", "coverage", "users"}


def test_a_model_that_was_fitted_on_more_is_warned_of(case, caplog):
    model, train, test = case
    evaluate(model, train, test, k=K)
    assert not any("metrics are too good" in r.getMessage() for r in caplog.records)
    arrays = open_model(model.__getstate__()).arrays()
    facts = {**arrays.facts, "interactions": train.nnz + test.nnz}
    evaluate(load(encode(replace(arrays, facts=facts))), train, test, k=K)
    assert any("metrics are too good" in r.getMessage() for r in caplog.records)


def test_data_of_other_ids_is_no_zero(case):
    model, train, test = case
    others = from_pairs(test.user_ids.take([0, 1]), ["neither", "of these"])
    with pytest.raises(InputError, match="none of the 2 item ids of the test data"):
        evaluate(model, train, others)
