"""The estimator: arguments, kinds of data, fitted attributes, recommendations, errors."""

from __future__ import annotations

import copy
import inspect
import io
import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from reference import interactions
from sklearn.base import clone
from support.command_line import run_json

import sparserec_np
from sparserec_np import SparseRec, load, load_compiled
from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import InputError, UnknownIdError
from sparserec_np.training.config import HYPERPARAMETERS

FAST = {"dim": 16, "epochs": 2, "sweeps": 1}
OWN = ["sparsity", "max_size", "fast", "threads"]  # arguments that are no hyperparameters
OTHERS = {
    "users": "embedding", "dim": 8, "epochs": 3, "patience": 2, "learning_rate": 0.05, "reg": 0.02,
    "reg_exponent": 0.5, "candidates": 3, "choice_bias": 0.5, "pool": 64, "history_exponent": 0.25,
    "history_power": 0.5, "recency": 0.25, "degree_exponent": 0.35, "initial_norm": 0.5,
    "initial_square": 0.1, "sweeps": 2, "exploration": 0.25, "exploration_end": 0.5,
    "buffer_bytes": 1 << 14, "buffer_rows": 7, "value_bits": 5, "seed": 3,
    "neighbours": 0.25,
    "neighbour_scale": 2.0,
    "neighbour_reg": 5.0,
    "neighbour_user_exponent": 0.25,
    "neighbour_degree_exponent": 0.75,
    "neighbour_candidates": 20,
}  # fmt: skip
"""A value of each hyperparameter that no default and no rule gives."""


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


def test_arguments_are_all_hyperparameters_and_a_few_more():
    parameters = inspect.signature(SparseRec).parameters
    assert set(parameters) == {*HYPERPARAMETERS, *OWN}
    assert {one.kind for one in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    defaults = {name: one.default for name, one in parameters.items()}
    assert SparseRec().get_params() == defaults
    chosen = {name: value for name, value in defaults.items() if value is not None}
    assert chosen == {"users": "history", "seed": 0, "fast": False}
    for name in (*HYPERPARAMETERS, *OWN):
        assert inspect.cleandoc(SparseRec.__doc__).count(f"\n    {name}: ") == 1


def test_every_hyperparameter_can_be_set(pairs):
    assert OTHERS.keys() == HYPERPARAMETERS.keys()
    for name, value in OTHERS.items():
        few = {"dim": 4, "epochs": 1, "sweeps": 1}
        if name.startswith("neighbour"):  # the rest is of no use without the first
            few["neighbours"] = 0.5
        fitted = SparseRec(**few | {name: value}).fit(pairs)
        config = fitted.model_.info()["config"]
        assert config[name] == value
        assert fitted.get_params()[name] == value
    defaults = SparseRec(epochs=1).fit(pairs).model_.info()["config"]
    assert not [name for name, value in OTHERS.items() if defaults.get(name) == value]


def test_a_clone_has_all_arguments():
    given = {**OTHERS, "sparsity": 0.5, "max_size": 9000, "fast": True, "threads": 1}
    model = SparseRec(**given)
    assert clone(model).get_params() == model.get_params() == given


def test_unknown_arguments_are_refused_as_by_any_function():
    with pytest.raises(TypeError, match="unexpected keyword argument 'dims'"):
        SparseRec(dims=3)
    with pytest.raises(TypeError, match="positional argument"):
        SparseRec("history")


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
        lambda model, path: model.to_bytes(),
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
        history = {item for name, item in zip(*pairs, strict=True) if name == user}
        ids, scores = fitted.recommend(user, k=5)
        assert len(ids) == 5
        assert not history & set(ids)
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


def test_recommending_to_users_and_histories(fitted):
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
    history = data.item_ids.take(data.items[: data.indptr[1]])
    user = data.user_ids.take([0])[0]
    target = {"history": history} if fitted.users == "history" else {"user": user}
    ids, scores = model.recommend(**target, exclude=history)
    expected, expected_scores = fitted.recommend(user)
    assert ids == expected
    assert scores.tolist() == expected_scores.tolist()


def test_kinds_of_data_give_the_same_file(pairs):
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
    assert len({SparseRec(**FAST).fit(data).to_bytes() for data in kinds.values()}) == 1
    ids, _ = SparseRec(**FAST).fit(matrix).recommend(0, k=30)
    assert set(ids) <= set(range(30))


@pytest.mark.parametrize("users", ["history", "embedding"])
@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="all chosen"),
        pytest.param({"dim": 16, "epochs": 2, "candidates": 3, "reg": 0.1, "seed": 5}, id="some"),
        pytest.param({"epochs": 1, "max_size": "4KB"}, id="a size"),
        pytest.param({**OTHERS, "sparsity": 0.5, "neighbours": 0.0}, id="all given"),
    ],
)
def test_the_command_line_writes_the_same_file(tmp_path, pairs, users, given, log_as_it_was):
    given = {**given, "users": users}
    data, config, out = (tmp_path / name for name in ("data.csv", "config.json", "model.srec"))
    pd.DataFrame({"user": pairs[0], "item": pairs[1]}).to_csv(data, index=False)
    expected = SparseRec(**given).fit(pairs)
    config.write_text(json.dumps(given))
    run_json("fit", data, "-o", out, "--config", config, "-q")
    assert out.read_bytes() == expected.to_bytes()
    options = [
        (f"--{name.replace('_', '-')}", value)
        for name, value in given.items()
        if name in OWN or "option" in HYPERPARAMETERS[name].metadata
    ]
    if len(options) == len(given):
        run_json("fit", data, "-o", out, *(part for one in options for part in one), "-q")
        assert out.read_bytes() == expected.to_bytes()


def test_the_command_line_does_the_same_with_labels_and_validation(tmp_path, log_as_it_was):
    data = interactions.random_interactions(16, n_users=150, n_items=60, mean=12)
    parts = dict(zip(("train", "valid"), hold_out(data, fraction=0.2, seed=0), strict=True))
    for name, part in parts.items():
        frame = pd.DataFrame({"user": part.user_of_entry(), "item": part.items})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    titles, out = tmp_path / "titles.csv", tmp_path / "model.srec"
    titles.write_text("id,title\n3,Three\n5,Five\n")
    expected = SparseRec(dim=16).fit(
        str(tmp_path / "train.csv"), valid=str(tmp_path / "valid.csv"),
        labels={3: "Three", 5: "Five"},
    )  # fmt: skip
    run_json(
        "fit", tmp_path / "train.csv", "-o", out, "--valid", tmp_path / "valid.csv", "--dim", 16,
        "--labels", f"{titles}:id,title", "-q",
    )  # fmt: skip
    assert out.read_bytes() == expected.to_bytes()


def test_the_bytes_of_the_file_are_those_that_are_saved(fitted, tmp_path):
    fitted.save(tmp_path / "model.srec")
    assert (tmp_path / "model.srec").read_bytes() == fitted.to_bytes()


def test_labels_go_into_the_file(pairs):
    labels = {item: f"title {item}" for item in range(100, 120)}
    model = SparseRec(**FAST).fit(pairs, labels=labels).model_
    assert model.labels_of([100, 125]) == ["title 100", None]


def test_with_a_number_of_epochs_nothing_is_held_out(pairs):
    calls = []
    model = SparseRec(**FAST).fit(pairs, on_epoch=calls.append)
    assert calls == model.epoch_metrics_
    assert [(one.stage, one.epoch, one.ndcg) for one in calls] == [
        ("train", 1, None),
        ("train", 2, None),
    ]
    assert (model.best_epoch_, model.best_ndcg_) == (2, None)


def test_with_validation_data_the_best_epoch_is_kept():
    data = interactions.random_interactions(16, n_users=150, n_items=60, mean=12)
    train, valid = hold_out(data, fraction=0.2, seed=0)
    model = SparseRec(dim=16, sweeps=1, fast=True).fit(train, valid=valid)
    quality = {one.epoch: one.ndcg for one in model.epoch_metrics_}
    assert model.best_ndcg_ == max(quality.values()) == quality[model.best_epoch_]
    assert {one.stage for one in model.epoch_metrics_} == {"train"}
    assert model.interactions_ is train
    facts = model.model_.info()["facts"]
    assert facts["epochs"] == model.best_epoch_
    assert facts["validation_ndcg@20"] == pytest.approx(model.best_ndcg_, abs=1e-6)


def test_without_both_it_holds_out_a_part_and_learns_from_everything():
    data = interactions.random_interactions(16, n_users=150, n_items=60, mean=12)
    model = SparseRec(dim=16, sweeps=1, fast=True).fit(data)
    chosen = [one for one in model.epoch_metrics_ if one.stage == "choose"]
    final = [one for one in model.epoch_metrics_ if one.stage == "train"]
    assert model.best_ndcg_ == max(one.ndcg for one in chosen)
    assert [one.epoch for one in final] == list(range(1, model.best_epoch_ + 1))
    assert all(one.ndcg is None for one in final)
    assert model.interactions_ is data


def test_where_nothing_can_be_held_out():
    data = interactions.as_interactions([[n % 5] for n in range(20)], 5)
    model = SparseRec(users="embedding", dim=4, sweeps=1, sparsity=0.5).fit(data)
    assert model.best_ndcg_ is None
    assert len(model.recommend(3)[0]) == 4


def test_validation_data_that_nobody_can_be_scored_on(pairs):
    with pytest.raises(InputError, match="none of the 1 user ids of the validation data are"):
        SparseRec(**FAST).fit(pairs, valid=(["someone else"], [100]))


@pytest.mark.parametrize("users", ["history", "embedding"])
@pytest.mark.parametrize("dim", [None, 1, 4096])
def test_the_smallest_data_there_can_be(users, dim):
    model = SparseRec(users=users, dim=dim, epochs=1).fit(([7, 7, 8], [1, 2, 2]))
    assert model.recommend(8)[0] == [1]
    assert model.recommend(7)[0] == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ((range(9), range(9)), "no user has two items"),
        ((range(9), [1] * 9), "no user has two items"),
        (([1, 1, 2, 2], [1, 2, 1, 2]), "every user has every item"),
    ],
)
def test_data_that_teach_nothing_are_warned_of(data, why, caplog):
    SparseRec(dim=8, epochs=1).fit(data)
    assert any(f"nothing can be learned, as {why}" in r.getMessage() for r in caplog.records)


def test_titles_that_belong_to_no_item_are_warned_of(pairs, caplog):
    caplog.set_level("INFO")
    SparseRec(**FAST).fit(pairs, labels={"nothing": "Title"})
    assert any("none of the titles belongs to an item" in r.getMessage() for r in caplog.records)
    caplog.clear()
    some = pairs[1][0]
    SparseRec(**FAST).fit(pairs, labels={some: "Title"})
    assert any("titles for 1 of" in r.getMessage() for r in caplog.records)


def test_a_model_is_saved_to_a_file_object_pickled_and_copied(pairs, tmp_path):
    fitted = SparseRec(**FAST).fit(pairs)
    buffer = io.BytesIO()
    fitted.save(buffer)
    fitted.save(tmp_path / "m.srec")
    assert buffer.getvalue() == (tmp_path / "m.srec").read_bytes() == fitted.to_bytes()
    for target in (io.StringIO(), 5):
        with pytest.raises(InputError, match="a path or a binary file object"):
            fitted.save(target)
    for open_model in (load, load_compiled):
        model = open_model(tmp_path / "m.srec")
        asked = {"history": model.item_ids.take([0, 1]), "k": 3}
        for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert type(again) is type(model)
            assert again.recommend(**asked)[0] == model.recommend(**asked)[0]
    assert load(bytearray(buffer.getvalue())).item_ids.take([0]) == model.item_ids.take([0])
    for source, why in ((5, "not from a int"), ("a\0b", "NUL"), (None, "not from a NoneType")):
        with pytest.raises(InputError, match=why):
            load(source)


def test_many_users_are_served_at_once():
    rng = np.random.default_rng(3)
    users, items, times = rng.integers(0, 40, 600), rng.integers(0, 30, 600), rng.random(600)
    for kind in ("history", "embedding"):
        fitted = SparseRec(users=kind, dim=16, sparsity=0.5, epochs=2).fit((users, items, times))
        everyone = fitted.interactions_.user_ids.take(range(fitted.interactions_.n_users))
        many = fitted.recommend_batch(k=5, popularity=0.5)
        assert len(many) == len(everyone)
        for user, found in zip(everyone, many, strict=True):
            alone = fitted.recommend(user, k=5, popularity=0.5)
            assert found.ids == alone.ids
            np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-4, atol=1e-5)
        (last,) = fitted.recommend_batch([everyone[-1]], k=5, popularity=0.5)
        assert last.ids == many[-1].ids
        with pytest.raises(UnknownIdError, match="not in the training data"):
            fitted.recommend_batch([everyone[0], 10**6])


def test_a_fit_says_how_it_goes(capsys, caplog):
    rng = np.random.default_rng(3)
    pairs = (rng.integers(0, 40, 400), rng.integers(0, 30, 400))
    seen = []
    with caplog.at_level("INFO", logger="sparserec_np"):
        SparseRec(dim=16, sparsity=0.5, epochs=3).fit(pairs, verbose=True, on_epoch=seen.append)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(seen) == 3 and "epoch 3/3: loss" in lines[-1]
    assert [r.getMessage() for r in caplog.records if r.name == "sparserec_np.epochs"] == lines
    SparseRec(dim=16, sparsity=0.5, epochs=1).fit(pairs)
    assert capsys.readouterr().err == ""
