"""The search for hyperparameters: its first trial, repeatability, storage."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest

from sparserec_np import SparseRec, evaluate, hold_out
from sparserec_np.data import from_pairs
from sparserec_np.errors import InputError
from sparserec_np.training.defaults import config_for
from sparserec_np.tuning.tune import tune


@pytest.fixture(scope="module")
def data():
    """120 users, each of one of four tastes, with 7 of its 12 items and one other."""
    rng = np.random.default_rng(3)
    pairs = [
        (user, item)
        for user in range(120)
        for item in {*(12 * (user % 4) + rng.permutation(12)[:7]), rng.integers(48)}
    ]
    return from_pairs(*map(np.array, zip(*pairs, strict=True)))


@pytest.fixture(scope="module")
def tuned(data):
    return tune(data, trials=6, max_size="3KB", seed=4)


def outcomes(tuned):
    return [(trial.params, trial.state, trial.ndcg, trial.epochs) for trial in tuned.trials]


def test_the_first_trial_is_the_defaults(data, tuned):
    defaults = config_for(data, {})
    assert tuned.default.params == {name: getattr(defaults, name) for name in tuned.default.params}
    assert tuned.default.state == "complete"
    assert {"dim", "learning_rate", "reg", "value_bits"} <= tuned.default.params.keys()


def test_the_best_is_the_first_of_the_largest(tuned):
    ndcgs = [trial.ndcg or 0.0 for trial in tuned.trials]
    assert tuned.best.number == int(np.argmax(ndcgs))
    assert tuned.best.ndcg >= tuned.default.ndcg
    assert len(tuned.trials) == 6
    assert not tuned.interrupted


def test_the_searched_values_differ_and_have_six_digits(tuned):
    rates = [trial.params["learning_rate"] for trial in tuned.trials]
    assert len(set(rates)) == len(rates)
    assert all(rate == float(f"{rate:.6g}") for rate in rates)


def test_no_file_is_above_the_size(tuned):
    assert all(trial.bytes <= 3000 for trial in tuned.trials if trial.state == "complete")


def test_the_same_seed_gives_the_same_trials(data, tuned):
    assert outcomes(tune(data, trials=6, max_size=3000, seed=4)) == outcomes(tuned)
    other = tune(data, trials=2, max_size=3000, seed=5)
    assert other.trials[1].params != tuned.trials[1].params


@pytest.mark.parametrize("users", ["history", "embedding"])
def test_a_fit_with_the_best_config_is_the_best_trial(data, users):
    learned, held = hold_out(data, fraction=0.2, seed=1)
    found = tune(learned, valid=held, trials=3, max_size="6KB", users=users)
    again = SparseRec(**found.config, fast=True).fit(learned, valid=held)
    assert again.best_epoch_ == found.best.epochs
    assert again.model_.info()["bytes"] == found.best.bytes
    assert evaluate(again.model_, learned, held)["ndcg"] == pytest.approx(found.best.ndcg, abs=1e-9)


def test_trials_that_fall_behind_are_pruned(data):
    epochs: list[int] = []
    ended: dict[int, list[int]] = {}

    def on_trial(trial):
        ended[trial.number] = epochs.copy()
        epochs.clear()

    found = tune(
        data, trials=16, on_epoch=lambda metrics: epochs.append(metrics.epoch), on_trial=on_trial
    )
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.ndcg is None and trial.number >= 5 for trial in pruned)
    whole = np.mean([len(ended[t.number]) for t in found.trials if t.state == "complete"])
    assert np.mean([len(ended[trial.number]) for trial in pruned]) < whole


def test_a_search_is_resumed_from_its_storage(data, tuned, tmp_path):
    path = tmp_path / "tune.db"
    tune(data, trials=3, max_size="3KB", seed=4, storage=path)
    new: list[int] = []
    found = tune(
        data,
        trials=6,
        max_size="3KB",
        seed=4,
        storage=path,
        on_trial=lambda trial: new.append(trial.number),
    )
    assert new == [3, 4, 5]
    assert outcomes(found) == outcomes(tuned)


@pytest.mark.parametrize("stop", [1, 50])
def test_an_interruption_keeps_the_finished_trials_and_changes_none(data, tuned, tmp_path, stop):
    calls = itertools.count(1)

    def interrupt(metrics):
        if next(calls) == stop:
            raise KeyboardInterrupt

    args = {"trials": 6, "max_size": "3KB", "seed": 4, "storage": tmp_path / "tune.db"}
    if stop == 1:  # within the first trial: nothing is found yet
        with pytest.raises(KeyboardInterrupt):
            tune(data, on_epoch=interrupt, **args)
    else:
        found = tune(data, on_epoch=interrupt, **args)
        assert found.interrupted
        assert outcomes(found) == outcomes(tuned)[: len(found.trials)]
        assert 1 <= len(found.trials) < 6
    assert outcomes(tune(data, **args)) == outcomes(tuned)


def test_a_storage_of_another_search_is_refused(data, tmp_path):
    path = tmp_path / "tune.db"
    tune(data, trials=1, storage=path)
    with pytest.raises(InputError, match=r"tune\.db: holds a search of something else: seed was 0"):
        tune(data, trials=1, storage=path, seed=1)
    with pytest.raises(InputError, match=r"sparsity was None and is 0\.5"):
        tune(data, trials=1, storage=path, sparsity=0.5)
    smaller, _ = hold_out(data, n=1)
    with pytest.raises(InputError, match="interactions of the training data was"):
        tune(smaller, trials=1, storage=path)
    tune(data, trials=1, storage=path, max_size="3KB")  # each size has a study of its own there


@pytest.mark.parametrize("name", ["no/tune.db", "text", "."])
def test_a_file_that_cannot_be_a_storage_is_refused(data, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("user,item\n1,2\n")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        tune(data, trials=1, storage=name)
    assert (tmp_path / "text").read_text() == "user,item\n1,2\n"


def test_fixed_hyperparameters_are_not_searched(data):
    found = tune(data, trials=3, dim=32, learning_rate=0.05)
    assert found.config["dim"] == 32
    assert all("dim" not in trial.params for trial in found.trials)


def test_the_best_of_a_smaller_size_is_tried_second(data, tuned):
    found = tune(data, trials=2, max_size="4KB", try_first=tuned.best.params)
    assert found.trials[1].params == tuned.best.params


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"trials": 0}, "trials must be a whole number of at least 1, not 0"),
        ({"epochs": 3}, "tune cannot set 'epochs'; it can set: users, dim"),
        ({"dim": 0}, "dim must be"),
        ({"max_size": "3KB", "sparsity": 0.5}, "give either sparsity or max_size"),
        ({"max_size": "500B"}, "cannot hold the model"),
        ({"max_size": "many"}, "is not a size"),
    ],
)
def test_bad_arguments_are_refused_before_any_trial(data, args, message):
    with pytest.raises(InputError, match=message):
        tune(data, on_epoch=lambda metrics: pytest.fail("a trial was begun"), **args)


def test_it_is_silent(data, capfd, caplog):
    with caplog.at_level(logging.INFO):
        tune(data, trials=2)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_function_is_public_and_not_hidden_by_a_module():
    import sparserec_np.tuning.tune  # the module, under a name of its own

    assert sparserec_np.tune is sparserec_np.tuning.tune.tune
