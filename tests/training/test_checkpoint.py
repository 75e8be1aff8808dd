"""Checkpoints: resumed anywhere, a fit ends in the same bytes; those of other fits are refused."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from sparserec_np import SparseRec
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.errors import InputError
from sparserec_np.training.checkpoint import KEPT, Checkpointing, clear

SMALL = {"dim": 16, "sparsity": 0.7, "exploration": 0.3, "fast": True}


def make_interactions(seed: int = 0, n_users: int = 90, n_items: int = 60) -> Interactions:
    """Users of three tastes, each with some items of one third."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_users), 8)
    items = (rng.integers(0, n_items // 3, users.size) + users % 3 * (n_items // 3)).tolist()
    return from_pairs(users, [f"item {item}" for item in items])


def stop_after(epochs: int, stage: str = "train"):
    """A callback that interrupts as Ctrl-C does, before the epoch's state is handed on."""

    def on_epoch(metrics):
        if (metrics.stage, metrics.epoch) == (stage, epochs):
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.parametrize("users", ["history", "embedding"])
@pytest.mark.parametrize("stage, epoch", [("choose", 1), ("choose", 3), ("train", 1), ("train", 2)])
def test_a_resumed_fit_ends_in_the_same_bytes(users, stage, epoch, tmp_path):
    data = make_interactions()
    whole = SparseRec(users=users, **SMALL).fit(data)
    assert whole.best_epoch_ >= 2
    with pytest.raises(KeyboardInterrupt):
        SparseRec(users=users, **SMALL).fit(
            data, checkpoint=tmp_path / "at", on_epoch=stop_after(epoch, stage)
        )
    resumed = SparseRec(users=users, **SMALL).fit(data, checkpoint=tmp_path / "at", resume=True)
    assert resumed.to_bytes() == whole.to_bytes()
    assert [(r.stage, r.epoch, r.loss, r.ndcg, r.moved) for r in resumed.epoch_metrics_] == [
        (r.stage, r.epoch, r.loss, r.ndcg, r.moved) for r in whole.epoch_metrics_
    ]
    assert (resumed.best_epoch_, resumed.best_ndcg_) == (whole.best_epoch_, whole.best_ndcg_)


def test_a_fit_with_validation_data_resumes_past_its_best_epoch(tmp_path):
    data, held = make_interactions(0), make_interactions(1)
    whole = SparseRec(**SMALL, epochs=12, learning_rate=0.5).fit(data, valid=held)
    last = whole.epoch_metrics_[-1].epoch
    assert last > whole.best_epoch_
    with pytest.raises(KeyboardInterrupt):
        SparseRec(**SMALL, epochs=12, learning_rate=0.5).fit(
            data, valid=held, checkpoint=tmp_path / "at", on_epoch=stop_after(last)
        )
    resumed = SparseRec(**SMALL, epochs=12, learning_rate=0.5).fit(
        data, valid=held, checkpoint=tmp_path / "at", resume=True
    )
    assert resumed.to_bytes() == whole.to_bytes()


def test_a_finished_fit_can_be_resumed(tmp_path):
    data = make_interactions()
    whole = SparseRec(**SMALL, epochs=3).fit(data, checkpoint=tmp_path / "at")
    again = SparseRec(**SMALL, epochs=3).fit(data, checkpoint=tmp_path / "at", resume=True)
    assert again.to_bytes() == whole.to_bytes()


def test_resuming_from_nothing_starts_from_the_beginning(tmp_path):
    data = make_interactions()
    plain = SparseRec(**SMALL, epochs=2).fit(data)
    fresh = SparseRec(**SMALL, epochs=2).fit(data, checkpoint=tmp_path / "at", resume=True)
    assert fresh.to_bytes() == plain.to_bytes()


@pytest.fixture
def stopped(tmp_path):
    """A folder with the checkpoints of a fit that was stopped after two of four epochs."""
    with pytest.raises(KeyboardInterrupt):
        SparseRec(**SMALL, epochs=4).fit(
            make_interactions(), checkpoint=tmp_path / "at", on_epoch=stop_after(3)
        )
    return tmp_path / "at"


@pytest.mark.parametrize(
    "change, named",
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"learning_rate": 0.2}, "learning_rate was "),
        ({"epochs": 5}, "epochs was 4 and is 5"),
        ({"users": "embedding"}, "users was history and is embedding"),
        ({"sparsity": 0.6}, "item weights was 288 and is 384"),
    ],
)
def test_another_config_is_refused_by_name(change, named, stopped):
    estimator = SparseRec(**{**SMALL, "epochs": 4, **change})
    with pytest.raises(InputError, match="a checkpoint of another fit") as caught:
        estimator.fit(make_interactions(), checkpoint=stopped, resume=True)
    assert named in str(caught.value)


def test_other_data_is_refused_even_if_it_has_the_same_size(stopped):
    estimator = SparseRec(**SMALL, epochs=4)
    with pytest.raises(InputError, match="checksum of the training data was"):
        estimator.fit(make_interactions(seed=5), checkpoint=stopped, resume=True)
    with pytest.raises(InputError, match="interactions of the validation data was None and is"):
        estimator.fit(
            make_interactions(), valid=make_interactions(1), checkpoint=stopped, resume=True
        )


def test_a_name_that_this_version_does_not_know_is_shown_as_it_is(stopped):
    for path in stopped.iterdir():
        with np.load(path) as stored:
            arrays = dict(stored)
        meta = json.loads(arrays["meta"].tobytes())
        meta["fingerprint"]["old_setting"] = 7
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(path, **arrays)
    with pytest.raises(InputError, match="another fit: old_setting was 7 and is None"):
        SparseRec(**SMALL, epochs=4).fit(make_interactions(), checkpoint=stopped, resume=True)


def test_an_earlier_fit_is_not_overwritten(stopped):
    with pytest.raises(InputError, match="holds checkpoints of an earlier fit"):
        SparseRec(**SMALL, epochs=4).fit(make_interactions(), checkpoint=stopped)


def test_the_last_two_are_kept_and_nothing_else(stopped):
    assert sorted(path.name for path in stopped.iterdir()) == [
        "checkpoint-000001.npz",
        "checkpoint-000002.npz",
    ]
    assert KEPT == 2
    clear(stopped)
    assert list(stopped.iterdir()) == []


def test_a_damaged_checkpoint_is_passed_over(stopped, caplog):
    last = stopped / "checkpoint-000002.npz"
    damaged = bytearray(last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    last.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        resumed = SparseRec(**SMALL, epochs=4).fit(
            make_interactions(), checkpoint=stopped, resume=True
        )
    assert "checkpoint-000002.npz: damaged, so it is passed over" in caplog.text
    whole = SparseRec(**SMALL, epochs=4).fit(make_interactions())
    assert resumed.to_bytes() == whole.to_bytes()


def test_only_damaged_checkpoints_are_an_error(stopped):
    for path in stopped.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="all checkpoints are damaged"):
        SparseRec(**SMALL, epochs=4).fit(make_interactions(), checkpoint=stopped, resume=True)


def test_files_that_a_killed_fit_left_half_written_are_removed(stopped):
    left_over = stopped / ".checkpoint-000003.npz.00ff00ff00ff"
    left_over.write_bytes(b"half")
    Checkpointing.parse(stopped, resume=True)
    assert not left_over.exists()


def test_checkpoints_hold_no_pickles_and_only_finite_numbers(stopped):
    for path in stopped.iterdir():
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        assert all(np.isfinite(array).all() for array in arrays.values())


def test_a_fit_goes_on_when_a_checkpoint_cannot_be_written(tmp_path, caplog):
    folder = tmp_path / "at"

    def remove_folder(metrics):
        if metrics.epoch == 1:
            clear(folder)
            folder.rmdir()

    SparseRec(**SMALL, epochs=2).fit(make_interactions(), checkpoint=folder, on_epoch=remove_folder)
    assert "the fit goes on without this checkpoint" in caplog.text


def test_they_are_written_as_often_as_asked(tmp_path):
    seen = []

    def look(metrics):
        seen.append([path.name[-5] for path in sorted((tmp_path / "at").iterdir())])

    SparseRec(**SMALL, epochs=5).fit(
        make_interactions(), checkpoint=tmp_path / "at", checkpoint_every="2", on_epoch=look
    )
    assert seen == [["0"], ["0"], ["0", "2"], ["0", "2"], ["2", "4"]]


def test_by_the_clock_an_interrupt_still_writes_the_last_epoch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        SparseRec(**SMALL, epochs=4).fit(
            make_interactions(),
            checkpoint=tmp_path / "at",
            checkpoint_every="1h",
            on_epoch=stop_after(3),
        )
    assert [path.name for path in (tmp_path / "at").iterdir()] == ["checkpoint-000002.npz"]


@pytest.mark.parametrize(
    "every, epochs, seconds",
    [
        (2, 2, None),
        ("10", 10, None),
        ("30s", None, 30),
        ("5min", None, 300),
        ("1.5 h", None, 5400),
    ],
)
def test_how_often_can_be_epochs_or_a_time(every, epochs, seconds, tmp_path):
    options = Checkpointing.parse(tmp_path, every=every)
    assert (options.every_epochs, options.every_seconds) == (epochs, seconds)


@pytest.mark.parametrize("text", ["", "0", "1.5", "-1", "5 epochs", "1d"])
def test_other_ways_to_say_how_often_are_refused(text, tmp_path):
    with pytest.raises(InputError, match="give a number of epochs, like 2, or a time"):
        Checkpointing.parse(tmp_path, every=text)


def test_resume_needs_a_folder():
    with pytest.raises(InputError, match="resume needs the folder of the checkpoints"):
        SparseRec(**SMALL).fit(make_interactions(), resume=True)
