"""Recency: what came later in a history counts for more, where times are known and it pays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command_line import fails, run, run_json

import sparserec_np
from sparserec_np import InputError, SparseRec, runtime_stdlib
from sparserec_np.data import Interactions, from_any, from_pairs, select_users
from sparserec_np.data.splitting import hold_out
from sparserec_np.distributed import recommend_all
from sparserec_np.evaluation.evaluate import evaluate, rank
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.training.config import Config
from sparserec_np.training.validation import RECENCIES, Validator

Make = Callable[..., ModelArrays]

SMALL = {"dim": 16, "sparsity": 0.5, "fast": True}
N_ITEMS, TASTES = 120, 6


def drifting(n_users: int = 150, *, moves: bool = True, seed: int = 0) -> pd.DataFrame:
    """Users whose taste moves on after two thirds of what they had, or never.

    Rows are shuffled; the columns have the usual names.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        first, then = rng.choice(TASTES, 2, replace=False)
        tastes = [first] * 12 + [then if moves else first] * 6
        items = np.array(tastes) * (N_ITEMS // TASTES) + rng.integers(N_ITEMS // TASTES, size=18)
        rows += [(f"u{user}", int(item), 1e9 + 3600 * n) for n, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return drifting()


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> SparseRec:
    return SparseRec(**SMALL).fit(frame)


@pytest.fixture
def files(frame: pd.DataFrame, fitted: SparseRec, tmp_path: Path) -> Path:
    """A folder with the data, with them without times, and with the model."""
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame[["user", "item"]].to_csv(tmp_path / "untimed.csv", index=False)
    fitted.save(tmp_path / "m.srec")
    return tmp_path


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)), min_size=1)
)
def test_ages_count_what_came_after(rows: list[tuple[int, int, int]]) -> None:
    data = from_pairs(*zip(*rows, strict=True))
    latest = {(user, item): max(t for u, i, t in rows if (u, i) == (user, item))
              for user, item, _ in rows}  # fmt: skip
    ages = data.ages()
    for place, (user, item) in enumerate(zip(data.user_of_entry(), data.items, strict=True)):
        own = (data.user_ids.take([user])[0], data.item_ids.take([item])[0])
        mine = (latest[own], own[1])
        after = [other for (u, i), t in latest.items() if u == own[0] and (other := (t, i)) > mine]
        assert ages[place] == len(after)
    for user in range(data.n_users):
        row = slice(data.indptr[user], data.indptr[user + 1])
        assert data.items_of(user).tolist() == data.items[row][np.argsort(-ages[row])].tolist()


def test_ages_need_times() -> None:
    with pytest.raises(InputError, match="there are no times: read with times, or name"):
        from_pairs([1], [1]).ages()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), recency=st.sampled_from([0.125, 0.5, 1.0]))
def test_many_are_ranked_as_one(random_model: Make, seed: int, recency: float) -> None:
    model = sparserec_np.load(encode(random_model(seed, recency=recency, power=0.75)))
    rng = np.random.default_rng(seed)
    names = np.array(model.item_ids.take(np.arange(60)))
    histories = [rng.choice(60, rng.integers(1, 30), replace=False) for _ in range(20)]
    users = np.repeat(np.arange(20), [len(items) for items in histories])
    order = rng.permutation(len(users))
    times = np.concatenate([np.arange(len(items)) for items in histories])[order]
    pairs = users[order], names[np.concatenate(histories)[order]], times
    known = sparserec_np.data.align(from_pairs(*pairs), None, model.item_ids).interactions
    items, scores = rank(model, known, np.arange(20), k=5)
    for user, history in enumerate(histories):
        ids, expected = model.recommend(history=names[history].tolist(), k=5)
        np.testing.assert_allclose(scores[user, : len(ids)], expected, rtol=1e-4, atol=1e-5)
        assert set(model.item_ids.take(items[user, :1])) <= set(ids[:2])  # but for rounding


def test_shares_explain_the_score(random_model: Make) -> None:
    model = sparserec_np.load(encode(random_model(5, recency=0.625, power=0.75)))
    names = model.item_ids.take([3, 40, 8, 21])
    ids, scores = model.recommend(history=names, k=1)
    why = model.explain(ids[0], history=names)
    assert why.score == pytest.approx(float(scores[0]), rel=1e-6)
    assert why.bias + sum(share for _, share in why.parts) == pytest.approx(why.score)
    other = model.explain(ids[0], history=names[::-1])
    assert other.score != pytest.approx(why.score, rel=1e-3)


def test_it_is_chosen_where_tastes_move_on(frame: pd.DataFrame, fitted: SparseRec) -> None:
    assert fitted.recency_ > 0 and fitted.model_.history_recency == fitted.recency_
    assert fitted.model_.info()["format_version"] == "3.0"
    learned, held = hold_out(from_any(frame), fraction=0.1, latest=True)
    ndcg = {}
    for recency in (0, None):
        estimator = SparseRec(**SMALL, recency=recency).fit(learned)
        assert (estimator.recency_ > 0) == (recency is None)
        ndcg[recency] = evaluate(estimator.model_, learned, held)["ndcg"]
    assert ndcg[None] > 1.2 * ndcg[0]


def test_the_reported_ndcg_is_that_of_the_chosen_recency(frame: pd.DataFrame) -> None:
    learned, held = hold_out(from_any(frame), fraction=0.1, latest=True)
    estimator = SparseRec(**SMALL).fit(learned, valid=held)
    scores = evaluate(estimator.model_, learned, held)
    assert estimator.best_ndcg_ == pytest.approx(scores["ndcg"], rel=0.1)  # quantised, that is
    best = max(record.ndcg for record in estimator.epoch_metrics_)
    assert estimator.best_ndcg_ >= best  # of recencies that are there to be chosen


def test_without_times_nothing_is_chosen(frame: pd.DataFrame) -> None:
    for data in (frame[["user", "item"]], (frame["user"].tolist(), frame["item"].to_numpy())):
        estimator = SparseRec(**SMALL).fit(data)
        assert estimator.recency_ == 0
        assert estimator.model_.info()["format_version"] == "2.0"
    embedding = SparseRec(users="embedding", **SMALL).fit(frame)
    assert embedding.recency_ == 0 and embedding.model_.info()["format_version"] == "1.0"


def test_times_that_are_all_the_same_say_nothing(frame: pd.DataFrame) -> None:
    assert SparseRec(**SMALL).fit(frame.assign(timestamp=5)).recency_ == 0


def test_with_a_number_of_epochs_it_has_to_be_given(frame: pd.DataFrame) -> None:
    assert SparseRec(**SMALL, epochs=2).fit(frame).recency_ == 0
    assert SparseRec(**SMALL, epochs=2, recency=0.5).fit(frame).model_.history_recency == 0.5


@pytest.mark.parametrize("recency", [-0.125, 1.125, 0.3, "much"])
def test_what_it_can_be(recency: object) -> None:
    with pytest.raises(InputError, match="recency must be"):
        SparseRec(recency=recency).fit(([1, 1], [1, 2]))


def test_a_given_one_needs_times_to_choose_epochs_by(frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="the order of each user's interactions matters here"):
        SparseRec(**SMALL, recency=0.5).fit(frame[["user", "item"]])


def test_same_bytes_for_any_order_and_threads(frame: pd.DataFrame, fitted: SparseRec) -> None:
    again = SparseRec(**SMALL, threads=1).fit(frame.sort_values("item"))
    assert again.to_bytes() == fitted.to_bytes()
    later = SparseRec(**SMALL).fit(frame.assign(timestamp=frame["timestamp"][::-1].to_numpy()))
    assert later.to_bytes() != fitted.to_bytes()


@pytest.mark.parametrize("max_size", ["5KB", "7KB"])
def test_the_file_is_as_large_as_asked(frame: pd.DataFrame, max_size: str) -> None:
    estimator = SparseRec(dim=256, max_size=max_size, fast=True).fit(frame)
    size = int(max_size[0]) * 1000
    assert estimator.recency_ > 0 and 0.95 * size <= len(estimator.to_bytes()) <= size


@pytest.mark.parametrize("stage, epoch", [("choose", 2), ("train", 1)])
def test_a_resumed_fit_ends_in_the_same_bytes(
    frame: pd.DataFrame, fitted: SparseRec, stage: str, epoch: int, tmp_path: Path
) -> None:
    def stop(record) -> None:
        if (record.stage, record.epoch) == (stage, epoch):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SparseRec(**SMALL).fit(frame, checkpoint=tmp_path, on_epoch=stop)
    with pytest.raises(InputError, match="checksum of the training data was"):
        other = frame.assign(timestamp=frame["timestamp"][::-1].to_numpy())
        SparseRec(**SMALL).fit(other, checkpoint=tmp_path, resume=True)
    resumed = SparseRec(**SMALL).fit(frame, checkpoint=tmp_path, resume=True)
    assert resumed.to_bytes() == fitted.to_bytes()
    assert (resumed.recency_, resumed.best_ndcg_) == (fitted.recency_, fitted.best_ndcg_)


def test_a_warm_start_keeps_it(files: Path, fitted: SparseRec) -> None:
    new = drifting(30, seed=5)
    warm = SparseRec().fit(new, warm_start=files / "m.srec")
    assert warm.recency_ == warm.model_.history_recency == fitted.recency_


def test_the_validator_chooses_the_best_of_all(frame: pd.DataFrame, fitted: SparseRec) -> None:
    learned, held = hold_out(from_any(frame), fraction=0.1, latest=True)
    scores = {}

    def judge(recency: float | None) -> Validator:
        return Validator(learned, held, Config(dim=16, recency=recency))

    estimator = SparseRec(**SMALL, epochs=4)
    tables = tables_of(estimator, learned)
    for recency in RECENCIES:
        assert judge(recency).choose_recency(tables) == (recency, judge(recency)(tables))
        scores[recency] = judge(recency)(tables)
    best = max(scores, key=scores.__getitem__)
    assert judge(None).choose_recency(tables) == (best, scores[best])
    assert not judge(0.5).chooses_recency and judge(None).chooses_recency


def tables_of(estimator: SparseRec, data: Interactions):
    """Tables of a short training."""
    from sparserec_np.training.budget import Budget
    from sparserec_np.training.defaults import config_for
    from sparserec_np.training.initialization import initialize
    from sparserec_np.training.state import TrainingState
    from sparserec_np.training.trainer import Trainer, train

    config = config_for(data, {"dim": 16, "epochs": estimator.epochs})
    parameters = initialize(data, config, Budget(8 * data.n_items, 0))
    trainer = Trainer(parameters, data, config)
    return train(trainer, TrainingState(parameters), epochs=estimator.epochs).parameters


def test_a_part_of_the_users_keeps_its_times(frame: pd.DataFrame) -> None:
    data = from_any(frame)
    some = select_users(data, np.array([3, 70]))
    for place, user in enumerate((3, 70)):
        assert some.items_of(place).tolist() == data.items_of(user).tolist()


def test_a_user_of_the_training_data_is_served_by_the_order(fitted: SparseRec) -> None:
    data = fitted.interactions_
    had = data.item_ids.take(data.items_of(7))
    (user,) = data.user_ids.take([7])
    by_user, by_history = fitted.recommend(user), fitted.recommend(history=had)
    assert by_user[0] == by_history[0] != fitted.recommend(history=had[::-1])[0]
    doubled = [had[-1], *had]  # the last occurrence counts
    assert fitted.recommend(history=doubled)[0] == by_user[0]


def test_training_data_without_times_cannot_say_the_order() -> None:
    estimator = SparseRec(**SMALL, epochs=1, recency=0.5).fit(([1, 1, 2], [1, 2, 2]))
    with pytest.raises(InputError, match="the order of each user's interactions matters here"):
        estimator.recommend(1)
    assert len(estimator.recommend(history=[1], k=1)[0]) == 1


def test_commands(files: Path, fitted: SparseRec) -> None:
    made = run_json("fit", files / "all.csv", "-o", files / "made.srec", "--dim", 16,
                    "--sparsity", 0.5, "--fast")  # fmt: skip
    assert (files / "made.srec").read_bytes() == (files / "m.srec").read_bytes()
    assert made["recency"] == fitted.recency_
    assert f"{fitted.recency_:g}: histories are ordered" in run("info", files / "made.srec").stdout
    for user in ("u3", "u41"):
        found = run_json("recommend", files / "m.srec", "--user", user, "--interactions",
                         files / "all.csv")  # fmt: skip
        assert found["items"] == fitted.recommend(user)[0]
    off = run_json("fit", files / "all.csv", "-o", files / "off.srec", "--dim", 16, "--sparsity",
                   0.5, "--recency", 0, "--fast")  # fmt: skip
    assert off["recency"] == 0
    assert run_json("evaluate", files / "m.srec", "--train", files / "all.csv", "--test",
                    files / "untimed.csv")["users"] == 150  # fmt: skip


@pytest.mark.parametrize("options", [{"users": "embedding"}, {"recency": 0.0}])
def test_files_are_held_out_alike_from_python_and_the_command_line(
    files: Path, options: dict[str, object]
) -> None:
    named = [part for name, value in options.items() for part in (f"--{name}", value)]
    run_json(
        "fit",
        files / "all.csv",
        "-o",
        files / "by.srec",
        "--dim",
        16,
        "--sparsity",
        0.5,
        "--fast",
        *named,
    )
    estimator = SparseRec(**SMALL, **options).fit(files / "all.csv")
    assert (files / "by.srec").read_bytes() == estimator.to_bytes()


def test_batches_go_by_the_order(files: Path, fitted: SparseRec) -> None:
    run_json("recommend", files / "m.srec", "--all-users", "--interactions", files / "all.csv",
             "-o", files / "all.parquet")  # fmt: skip
    whole = duckdb.read_parquet(str(files / "all.parquet")).df()
    for user, rows in list(whole.groupby("user"))[:20]:
        assert rows.sort_values("rank")["item"].tolist() == fitted.recommend(user)[0]
    frame = pd.read_csv(files / "all.csv")
    for part in range(3):  # the rows of a user are in all of them
        frame.iloc[part::3].to_parquet(files / f"part{part}.parquet")
    recommend_all(files / "m.srec", str(files / "part*.parquet"), files / "dealt")
    dealt = duckdb.read_parquet(str(files / "dealt" / "*.parquet")).df()
    keys = ["user", "rank"]
    pd.testing.assert_frame_equal(
        whole.sort_values(keys, ignore_index=True), dealt.sort_values(keys, ignore_index=True)
    )


def test_data_without_times_are_refused(files: Path, fitted: SparseRec) -> None:
    model, untimed = files / "m.srec", files / "untimed.csv"
    message = "times are needed, but no column looks like a time; name it with --time-col"
    for command in (
        ("recommend", model, "--user", "u3", "--interactions", untimed),
        ("recommend", model, "--all-users", "--interactions", untimed, "-o", files / "o.parquet"),
        ("evaluate", model, "--train", untimed, "--test", untimed),
    ):
        fails(run(*command), message)
    assert not (files / "o.parquet").exists()
    untimed_data = sparserec_np.read(untimed)
    with pytest.raises(InputError, match="the order of each user's interactions matters here"):
        evaluate(fitted.model_, untimed_data, untimed_data)


def test_a_row_without_a_time_leaves_times_out(files: Path) -> None:
    text = (files / "all.csv").read_text().splitlines()
    text[9] = text[9].rsplit(",", 1)[0] + ","
    (files / "holes.csv").write_text("\n".join(text) + "\n")
    data = from_any(files / "holes.csv")
    assert data.times is None and "some rows have no time" in data.report.notes[0]
    assert from_any(pd.read_csv(files / "holes.csv")).times is None
    words = pd.read_csv(files / "all.csv").assign(timestamp="some day")
    assert from_any(words).times is None
    told = run("fit", files / "holes.csv", "-o", files / "h.srec", "--dim", 16, "--epochs", 1)
    assert told.exit_code == 0 and "warning: some rows have no time" in told.stderr
    with pytest.raises(InputError, match="is neither seconds nor a date"):
        sparserec_np.read(files / "holes.csv", with_times=True)


def test_of_several_files_all_must_have_times(files: Path) -> None:
    data = from_any([files / "all.csv", files / "untimed.csv"])
    (note,) = data.report.notes
    assert data.times is None and "untimed.csv has no column of times" in note


def test_the_standard_library_goes_by_the_order(files: Path, fitted: SparseRec) -> None:
    model = runtime_stdlib.load(files / "m.srec")
    had = fitted.interactions_.item_ids.take(fitted.interactions_.items_of(11))
    for history in (had, had[::-1], [had[0], *had, 10**9]):
        assert model.recommend(history)[0] == fitted.recommend(history=history)[0]
