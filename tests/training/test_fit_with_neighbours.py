"""Fits with a share of neighbours: sizes kept, bytes the same, and better lists where they help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sparserec_np import InputError, SparseRec, load
from sparserec_np.data import Interactions, select_users
from sparserec_np.data.splitting import hold_out
from sparserec_np.data.synthetic import generate
from sparserec_np.evaluation.evaluate import evaluate
from sparserec_np.modelfile.reader import open_model


@pytest.fixture(scope="module")
def data() -> Interactions:
    everything = generate(seed=2).interactions
    return select_users(everything, np.arange(min(300, everything.n_users)))


def fitted(data: Interactions, **arguments: Any) -> SparseRec:
    return SparseRec(**{"dim": 32, "epochs": 2, "threads": 1, **arguments}).fit(data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_the_size_is_kept(data: Interactions, share: float) -> None:
    empty = fitted(data, max_size="1MB", neighbours=1.0, neighbour_candidates=1)
    most = len(empty.to_bytes())
    for size in (most + 5_000, most + 9_000):
        model = fitted(data, max_size=size, neighbours=share)
        info = model.model_.info()
        assert info["bytes"] <= size
        assert info["format_version"] == "4.0"
        assert info["neighbours"] > 0
        assert (info["weights"] == 0) == (share == 1)
        assert info["facts"]["neighbour_scale"] == (1.0 if share == 1 else 4.0)


def test_a_size_is_used_up(data: Interactions) -> None:
    info = fitted(data, max_size="20KB", neighbours=0.5).model_.info()
    assert 20_000 - 40 <= info["bytes"] <= 20_000


def test_without_a_size_neighbours_come_on_top(data: Interactions) -> None:
    plain, more = fitted(data).model_.info(), fitted(data, neighbours=0.5).model_.info()
    assert more["weights"] == plain["weights"]
    own = sum(size for name, size in plain["parts"].items() if name.startswith("items."))
    added = sum(size for name, size in more["parts"].items() if name.startswith("neighbours."))
    assert added == pytest.approx(own, rel=0.1)


def test_no_neighbours_leave_the_file_as_it_was(data: Interactions) -> None:
    model = fitted(data)
    assert model.model_.info()["neighbours"] == 0
    assert not any(name.startswith("neighbour") for name in model.model_.info()["config"])
    assert model.to_bytes() == fitted(data, neighbours=0.0, neighbour_reg=3.0).to_bytes()


def test_same_bytes_for_any_threads_and_after_a_resume(data: Interactions, tmp_path: Any) -> None:
    options = {"neighbours": 0.4, "epochs": None, "max_size": "20KB"}
    one = fitted(data, **options).to_bytes()
    assert one == fitted(data, **options, threads=2).to_bytes()
    stopped = SparseRec(dim=32, threads=1, neighbours=0.4, max_size="20KB")

    def stop(metrics: Any) -> None:
        if metrics.stage == "train" and metrics.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.fit(data, checkpoint=tmp_path, on_epoch=stop)
    assert stopped.fit(data, checkpoint=tmp_path, resume=True).to_bytes() == one


def test_the_scale_is_chosen_on_a_held_out_part(data: Interactions) -> None:
    train, test = hold_out(data, fraction=0.2)
    alone = SparseRec(dim=32, epochs=4, threads=1).fit(train, valid=test)
    both = SparseRec(dim=32, epochs=4, threads=1, neighbours=0.5).fit(train, valid=test)
    scale = both.model_.info()["facts"]["neighbour_scale"]
    for other in (0.25, scale, 256.0):
        given = SparseRec(dim=32, epochs=4, threads=1, neighbours=0.5, neighbour_scale=other)
        given.fit(train, valid=test)
        assert given.best_ndcg_ <= both.best_ndcg_
    assert both.best_ndcg_ >= 0.97 * alone.best_ndcg_
    found = evaluate(both.model_, train, test)["ndcg"]
    assert found == pytest.approx(both.best_ndcg_, rel=0.05)


def test_an_unlikely_scale_shows_in_the_file(data: Interactions) -> None:
    small, large = (
        open_model(fitted(data, neighbours=0.5, neighbour_scale=g).to_bytes()).neighbours()
        for g in (1.0, 8.0)
    )
    np.testing.assert_array_equal(small.items, large.items)
    np.testing.assert_allclose(8 * small.values, large.values, rtol=1e-2)


def test_recency_is_chosen_with_neighbours(data: Interactions) -> None:
    timed = replace(data, times=np.random.default_rng(0).permutation(data.nnz).astype(float))
    model = fitted(timed, epochs=None, neighbours=1.0)
    assert model.recency_ in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert model.best_epoch_ == 0


def test_a_warm_start_keeps_the_neighbours_and_adds_those_of_new_items(
    data: Interactions, tmp_path: Any
) -> None:
    users = data.user_of_entry()
    known = data.items < data.n_items - 20
    ids = data.item_ids.take(np.arange(data.n_items))
    pairs = [(int(u), ids[i]) for u, i in zip(users[known], data.items[known], strict=True)]
    old = SparseRec(dim=32, epochs=2, threads=1, neighbours=0.5, neighbour_scale=8.0).fit(
        ([u for u, _ in pairs], [i for _, i in pairs])
    )
    path = tmp_path / "old.srec"
    old.save(path)
    new = SparseRec(threads=1, max_size="60KB").fit(data, warm_start=path)
    assert new.model_.info()["facts"]["neighbour_scale"] == 8.0
    before, after = old.model_.neighbours(), new.model_.neighbours()
    n_old = len(before)
    n_before = np.diff(before.indptr)
    kept = after.indptr[n_old] - after.indptr[0]
    assert kept >= n_before.sum()  # some of the new items are added to as well
    assert after.indptr[-1] > kept
    first = slice(after.indptr[5], after.indptr[6])
    old_items = before.items[before.indptr[5] : before.indptr[6]]
    assert set(old_items) <= set(after.items[first])


def test_neighbours_need_histories_and_room(data: Interactions) -> None:
    with pytest.raises(InputError, match="neighbours go with users='history'"):
        fitted(data, users="embedding", neighbours=0.5)
    size = len(fitted(data, max_size="1MB", neighbours=1.0, neighbour_candidates=1).to_bytes())
    with pytest.raises(InputError, match=r"leaves no room for neighbours|cannot hold the model"):
        fitted(data, max_size=size // 3, neighbours=1.0)
    assert load(fitted(data, neighbours=1.0).to_bytes()).similar_items(
        data.item_ids.take([0])[0], k=3
    )
