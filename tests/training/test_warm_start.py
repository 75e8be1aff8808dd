"""Continuing from a model file: ids and rows stay, new items and users get rows, budgets hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import sparserec_np
from sparserec_np import SparseRec
from sparserec_np.cli.app import app
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.errors import InputError, ModelFileError
from sparserec_np.modelfile.reader import open_model
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.warm_start import continue_from, hyperparameters, widen

USERS = ["history", "embedding"]
SMALL = {"dim": 32, "sparsity": 0.75}
TASTES = 3


def make_interactions(
    users: range, items: range, seed: int = 0, per_user: int = 12, text: bool = False
) -> Interactions:
    """User u likes the items i with i % 3 == u % 3."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.array(users), per_user)
    what = items.start + rng.integers(0, len(items) // TASTES, who.size) * TASTES
    what += (who - what) % TASTES
    return from_pairs(who, [f"{item}" for item in what] if text else what)


def in_one(*parts: Interactions) -> Interactions:
    users = [user for part in parts for user in part.user_ids.take(part.user_of_entry())]
    items = [item for part in parts for item in part.item_ids.take(part.items)]
    return from_pairs(users, items)


@pytest.fixture(scope="module")
def old_data() -> Interactions:
    return make_interactions(range(150), range(60))


@pytest.fixture(scope="module")
def new_data() -> Interactions:
    """New users, some with new items, and old users with new items."""
    return make_interactions(range(120, 180), range(30, 75), seed=1)


@pytest.fixture(scope="module", params=USERS)
def old_file(request, old_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("old") / f"{request.param}.srec"
    labels = {item: f"Film {item}" for item in range(60)}
    SparseRec(users=request.param, epochs=10, **SMALL).fit(old_data, labels=labels).save(path)
    return path


def continued(path, data, **more) -> SparseRec:
    users = sparserec_np.load(path).users
    return SparseRec(users=users, **more).fit(data, warm_start=path)


def test_ids_of_the_file_and_of_the_data_are_in_the_model(old_file, old_data, new_data):
    model = continued(old_file, new_data).model_
    everything = in_one(old_data, new_data)
    assert model.item_ids.take(range(len(model.item_ids))) == everything.item_ids.take(
        range(everything.n_items)
    )
    if model.users == "embedding":
        assert len(model.user_ids) == 180


def test_rows_start_where_they_were(old_file, new_data):
    old = open_model(old_file).arrays()
    data = widen(new_data, old)
    n = len(old.items.values) + 20 * data.n_items
    parameters = continue_from(old, data, Config(**hyperparameters(old)), Budget(n, n))
    at = data.item_ids.locate(old.item_ids.take(range(len(old.item_ids))))
    rows = parameters.items.rows
    for place, row in enumerate(at):
        here = slice(rows.indptr[row], rows.indptr[row + 1])
        there = slice(old.items.indptr[place], old.items.indptr[place + 1])
        assert np.array_equal(rows.dims[here], old.items.dims[there])
        assert np.array_equal(rows.values[here], old.items.values[there])
        assert parameters.items.bias[row] == old.item_bias[place]
        if old.users == "history":
            assert parameters.items.weight[row] == old.history_weights[place]


def test_new_items_are_among_their_neighbours_at_once(old_file, new_data):
    """Before any training, the row of a new item points to the items of its taste."""
    old = open_model(old_file).arrays()
    data = widen(new_data, old)
    budget = Budget(16 * data.n_items, 16 * data.n_users)
    rows = continue_from(old, data, Config(**hyperparameters(old)), budget).items.rows
    dense = np.zeros((data.n_items, old.dim))
    dense[np.repeat(np.arange(data.n_items), np.diff(rows.indptr)), rows.dims] = rows.values
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    new = np.arange(60, 75)
    cosines = dense[new] @ dense[:60].T
    same = (new[:, None] - np.arange(60)) % TASTES == 0
    assert cosines[same].mean() > cosines[~same].mean() + 0.2


def test_few_epochs_are_enough_to_serve_new_users(old_file, old_data, new_data):
    fitted = continued(old_file, in_one(old_data, new_data))
    assert [metrics.stage for metrics in fitted.epoch_metrics_] == ["train"] * 4
    right = 0
    for user in range(150, 180):
        ids, _ = fitted.recommend(user=user, k=5)
        right += sum((item - user) % TASTES == 0 for item in ids)
    assert right >= 0.9 * 5 * 30


def test_the_same_bytes_with_any_threads(old_file, new_data, three_cores):
    one, two, three = (
        continued(old_file, new_data, threads=threads).to_bytes() for threads in (1, 2, 3)
    )
    assert one == two == three


def test_labels_stay_and_new_ones_are_added(old_file, new_data):
    users = sparserec_np.load(old_file).users
    fitted = SparseRec(users=users).fit(
        new_data, warm_start=old_file, labels={3: "Another name", 70: "A new film"}
    )
    assert fitted.model_.labels_of([3, 4, 70, 71]) == ["Another name", "Film 4", "A new film", None]


def test_the_budget_is_that_of_the_old_model_unless_told(old_file, new_data):
    users = sparserec_np.load(old_file).users
    facts = continued(old_file, new_data).model_.info()
    assert facts["sparsity"] == pytest.approx(0.75, abs=0.01)
    assert facts["dim"] == 32
    bounded = SparseRec(users=users, max_size=3500).fit(new_data, warm_start=old_file)
    assert len(bounded.to_bytes()) <= 3500


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1), users=st.sampled_from(USERS))
def test_no_budget_is_exceeded_and_no_row_is_empty(random_model, seed, share, users):
    old = random_model(seed, users)
    rng = np.random.default_rng(seed)
    known = old.item_ids.take(range(3))
    new = from_pairs(rng.integers(0, 50, 200), [*known, *rng.integers(0, 90, 200 - len(known))])
    data = widen(new, old)
    budget = Budget(*(int(n * (1 + share * 9)) for n in (data.n_items, data.n_users)))
    parameters = continue_from(old, data, Config(**hyperparameters(old)), budget)
    for rows, nnz in zip((parameters.items.rows, parameters.users), budget[:2], strict=True):
        assert rows.values.size == rows.indptr[-1] == rows.dims.size <= nnz
        assert np.isfinite(rows.values).all()
        for first, last in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
            assert (np.diff(rows.dims[first:last].astype(int)) > 0).all()
    assert np.diff(parameters.items.rows.indptr).min() >= 1
    assert parameters.items.weight.min() > 0


def test_integer_ids_continue_with_text_and_the_other_way_round(old_file, tmp_path):
    text = make_interactions(range(20), range(60), text=True)
    mixed = from_pairs([1, 2, 3, 3], ["7", "abc", "7", "abc"])
    model = continued(old_file, mixed).model_
    assert model.item_ids.kind == "str"
    assert model.labels_of(["7", "abc"]) == ["Film 7", None]
    again = tmp_path / "text.srec"
    continued(old_file, mixed).save(again)
    assert continued(again, text).model_.item_ids.kind == "str"


def test_another_user_model_or_dim_is_refused(old_file, new_data):
    users = sparserec_np.load(old_file).users
    other = next(name for name in USERS if name != users)
    with pytest.raises(InputError, match=f"users={users!r} cannot be continued with"):
        SparseRec(users=other).fit(new_data, warm_start=old_file)
    with pytest.raises(InputError, match="has dim 32, and cannot be continued with dim 64"):
        SparseRec(users=users, dim=64).fit(new_data, warm_start=old_file)


def test_a_damaged_file_is_refused(old_file, new_data, tmp_path):
    damaged = bytearray(old_file.read_bytes())
    damaged[-5] ^= 1
    (tmp_path / "damaged.srec").write_bytes(damaged)
    with pytest.raises(ModelFileError, match="checksum"):
        SparseRec().fit(new_data, warm_start=tmp_path / "damaged.srec")


def test_a_warm_start_resumes_from_its_checkpoints(old_file, new_data, tmp_path):
    users = sparserec_np.load(old_file).users
    continued(old_file, new_data).save(tmp_path / "whole.srec")

    def stop(metrics):
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    options = {"warm_start": old_file, "checkpoint": tmp_path / "at"}
    with pytest.raises(KeyboardInterrupt):
        SparseRec(users=users).fit(new_data, on_epoch=stop, **options)
    resumed = SparseRec(users=users).fit(new_data, resume=True, **options)
    assert resumed.to_bytes() == (tmp_path / "whole.srec").read_bytes()
    with pytest.raises(InputError, match="checksum of the model to continue was"):
        SparseRec(users=users, dim=32).fit(
            new_data, warm_start=tmp_path / "whole.srec", checkpoint=tmp_path / "at", resume=True
        )


def test_on_the_command_line_the_old_model_is_never_the_output(old_file, tmp_path):
    model = tmp_path / "model.srec"
    ratings = tmp_path / "new.csv"
    lines = [f"{user},{user % 3 + 3 * n}\n" for user in range(9) for n in range(25)]
    ratings.write_text("user,item\n" + "".join(lines))
    line = ["fit", str(ratings), "--warm-start", str(old_file), "--json", "-q", "-o"]
    before = old_file.read_bytes()
    assert CliRunner().invoke(app, [*line, str(old_file)]).exit_code == 2
    assert old_file.read_bytes() == before
    done = CliRunner().invoke(app, [*line, str(model)])
    assert done.exit_code == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["n_items"], outcome["epochs"], outcome["dim"]) == (75, 4, 32)
    assert sparserec_np.load(model, verify=True).users == old_file.stem
