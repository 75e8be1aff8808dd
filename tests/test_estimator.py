"""The estimator: arguments, what ``fit`` takes, what it leaves, recommendations, errors."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from reference import interactions
from sklearn.base import clone

import sparserec_np
from sparserec_np import SparseRec
from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import InputError, UnknownIdError
from sparserec_np.training.config import Config

FAST = {"dim": 16, "epochs": 2, "sweeps": 1}


@pytest.fixture(scope="module")
def pairs() -> tuple[list[str], list[int]]:
    """Users ``u0`` to ``u79``, items 100 to 129: two disjoint tastes."""
    data = interactions.checkerboard()
    return [f"u{n}" for n in data.user_of_entry()], (data.items + 100).tolist()


@pytest.fixture(scope="module", params=["history", "embedding"])
def fitted(request, pairs) -> SparseRec:
    model = SparseRec(
        users=request.param, dim=8, sparsity=0.5, epochs=30, sweeps=3, candidates=1,
        learning_rate=0.1, reg=1e-4,
    )  # fmt: skip
    return model.fit(pairs)


def test_parameters_can_be_read_set_and_cloned():
    model = SparseRec(users="embedding", dim=32, max_size="1MB")
    params = model.get_params()
    assert params["dim"] == 32
    assert params["epochs"] is None
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == params
    assert model.set_params(dim=64, seed=3) is model
    assert (model.dim, model.seed) == (64, 3)
    with pytest.raises(InputError, match="no argument 'dims'; it has: users, dim"):
        model.set_params(dims=3)


def test_arguments_are_hyperparameters_under_their_own_names():
    names = set(inspect.signature(SparseRec).parameters)
    own = {"sparsity", "max_size", "threads"}
    assert names - own <= {field.name for field in fields(Config)}
    for name in names:
        assert f"{name}:" in SparseRec.__doc__


def test_a_clone_of_a_fitted_estimator_is_not_fitted(fitted):
    with pytest.raises(InputError, match="not fitted"):
        clone(fitted).recommend("u0")


def test_repr_shows_what_is_not_the_default():
    assert repr(SparseRec()) == "SparseRec()"
    assert repr(SparseRec(dim=8, max_size="1MB")) == "SparseRec(dim=8, max_size='1MB')"


@pytest.mark.parametrize(
    "use",
    [
        lambda model, path: model.recommend("u0"),
        lambda model, path: model.recommend(history=[1]),
        lambda model, path: model.similar_items(1),
        lambda model, path: model.save(path),
    ],
)
def test_use_before_fit(tmp_path, use):
    path = tmp_path / "model.srec"
    with pytest.raises(InputError, match="not fitted yet: call fit first"):
        use(SparseRec(), path)
    assert not path.exists()


def test_arguments_are_checked_before_the_data():
    with pytest.raises(InputError, match="dim must be 1 to 4096"):
        SparseRec(dim=5000).fit("no-such-file.csv")
    with pytest.raises(InputError, match="threads must be at least 1"):
        SparseRec(**FAST, threads=0).fit(([1, 1], [2, 3]))


def test_recommendations_are_of_the_right_taste(fitted, pairs):
    for user in (f"u{n}" for n in range(80)):
        had = {item for name, item in zip(*pairs, strict=True) if name == user}
        ids, scores = fitted.recommend(user, k=5)
        assert len(ids) == 5
        assert not had & set(ids)
        assert scores.dtype == np.float32
        assert (np.diff(scores) <= 0).all()
        assert sum(item % 2 == int(user[1:]) % 2 for item in ids) >= 4


def test_similar_items_are_of_the_same_taste(fitted):
    ids, _ = fitted.similar_items(100, k=3)
    assert ids
    assert all(item % 2 == 0 for item in ids)


def test_exclude(fitted):
    first, _ = fitted.recommend("u0", k=30, exclude=[])
    assert len(first) == 30
    rest, _ = fitted.recommend("u0", k=30, exclude=first[:3])
    assert rest == first[3:]


def test_candidates(fitted):
    everything, _ = fitted.recommend("u0", k=30)
    some = everything[1:8:2]
    assert fitted.recommend("u0", k=3, candidates=[*some[::-1], 10**6])[0] == some[:3]


def test_whom_to_recommend_to(fitted):
    with pytest.raises(UnknownIdError, match=r"user 'nobody' is not in the training data"):
        fitted.recommend("nobody")
    with pytest.raises(InputError, match="either user or history, not both"):
        fitted.recommend("u0", history=[100])
    with pytest.raises(InputError):
        fitted.recommend()
    if fitted.users == "history":
        ids, _ = fitted.recommend(history=[100, 102, 104], k=4)
        assert not {100, 102, 104} & set(ids)
    else:
        with pytest.raises(InputError):
            fitted.recommend(history=[100])


def test_the_saved_file_recommends_the_same(fitted, tmp_path):
    path = tmp_path / "model.srec"
    fitted.save(path)
    model = sparserec_np.load(path)
    assert model.info()["bytes"] == path.stat().st_size
    data = fitted.interactions_
    had = data.item_ids.take(data.items[: data.indptr[1]])
    user = data.user_ids.take([0])[0]
    whom = {"history": had} if fitted.users == "history" else {"user": user}
    ids, scores = model.recommend(**whom, exclude=had)
    expected, expected_scores = fitted.recommend(user)
    assert ids == expected
    assert scores.tolist() == expected_scores.tolist()


def test_kinds_of_data_give_the_same_file(tmp_path, pairs):
    users, items = [int(name[1:]) for name in pairs[0]], pairs[1]
    columns = {"user": users, "item": items}
    matrix = scipy.sparse.csr_matrix((np.ones(len(users)), (users, [i - 100 for i in items])))
    kinds = {
        "lists": (users, items),
        "arrays": (np.array(users), np.array(items)),
        "pandas": pd.DataFrame(columns),
        "polars": pl.DataFrame(columns),
        "arrow": pa.table(columns),
    }
    for name, data in kinds.items():
        SparseRec(**FAST).fit(data).save(tmp_path / name)
    assert len({(tmp_path / name).read_bytes() for name in kinds}) == 1
    ids, _ = SparseRec(**FAST).fit(matrix).recommend(0, k=30)
    assert set(ids) <= set(range(30))


def test_labels_go_into_the_file(pairs):
    labels = {item: f"title {item}" for item in range(100, 120)}
    model = SparseRec(**FAST).fit(pairs, labels=labels).model_
    assert model.labels_of([100, 125]) == ["title 100", None]


def test_with_a_number_of_epochs_nothing_is_held_out(pairs):
    calls = []
    model = SparseRec(**FAST).fit(pairs, on_epoch=calls.append)
    assert calls == model.epoch_metrics_
    assert [(record.stage, record.epoch, record.ndcg) for record in calls] == [
        ("train", 1, None),
        ("train", 2, None),
    ]
    assert (model.best_epoch_, model.best_ndcg_) == (2, None)


def test_with_validation_data_the_best_epoch_is_kept():
    data = interactions.random_interactions(16, n_users=150, n_items=60, mean=12)
    train, valid = hold_out(data, fraction=0.2, seed=0)
    model = SparseRec(dim=16, sweeps=1).fit(train, valid=valid)
    quality = {record.epoch: record.ndcg for record in model.epoch_metrics_}
    assert model.best_ndcg_ == max(quality.values()) == quality[model.best_epoch_]
    assert {record.stage for record in model.epoch_metrics_} == {"train"}
    assert model.interactions_ is train
    facts = model.model_.info()["facts"]
    assert facts["epochs"] == model.best_epoch_
    assert facts["validation_ndcg@20"] == pytest.approx(model.best_ndcg_, abs=1e-6)


def test_without_both_it_holds_out_a_part_and_learns_from_everything():
    data = interactions.random_interactions(16, n_users=150, n_items=60, mean=12)
    model = SparseRec(dim=16, sweeps=1).fit(data)
    chosen = [record for record in model.epoch_metrics_ if record.stage == "choose"]
    final = [record for record in model.epoch_metrics_ if record.stage == "train"]
    assert model.best_ndcg_ == max(record.ndcg for record in chosen)
    assert [record.epoch for record in final] == list(range(1, model.best_epoch_ + 1))
    assert all(record.ndcg is None for record in final)
    assert model.interactions_ is data


def test_where_nothing_can_be_held_out():
    data = interactions.as_interactions([[n % 5] for n in range(20)], 5)
    model = SparseRec(users="embedding", dim=4, sweeps=1, sparsity=0.5).fit(data)
    assert model.best_ndcg_ is None
    assert len(model.recommend(3)[0]) == 4


def test_validation_data_that_nobody_can_be_scored_on(pairs):
    with pytest.raises(InputError, match="nothing to validate on"):
        SparseRec(**FAST).fit(pairs, valid=(["someone else"], [100]))


@pytest.mark.parametrize("users", ["history", "embedding"])
@pytest.mark.parametrize("dim", [None, 1, 4096])
def test_the_smallest_data_there_can_be(users, dim):
    model = SparseRec(users=users, dim=dim, epochs=1).fit(([7, 7, 8], [1, 2, 2]))
    assert model.recommend(8)[0] == [1]
    assert model.recommend(7)[0] == []
