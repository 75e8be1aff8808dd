"""A training that diverges is rolled back, slowed down, and in the end given up."""

from __future__ import annotations

import logging
import tempfile
from unittest.mock import Mock

import numpy as np
import pytest

from sparserec_np import SparseRec
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.errors import InputError
from sparserec_np.training import trainer
from sparserec_np.training.budget import Budget
from sparserec_np.training.defaults import config_for
from sparserec_np.training.divergence import LastGood
from sparserec_np.training.initialization import initialize
from sparserec_np.training.kernels.arrays import ItemParameters

USERS = ["history", "embedding"]


@pytest.fixture(scope="module")
def data() -> Interactions:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(200), 10)
    return from_pairs(users, rng.integers(0, 30, users.size) + users % 3 * 30)


def estimator(users: str, **more: object) -> SparseRec:
    return SparseRec(users=users, dim=32, sparsity=0.7, **{"epochs": 3, **more})


@pytest.mark.parametrize("users", USERS)
def test_far_too_high_a_rate_is_halved_until_it_works(users, data, caplog):
    fitted = estimator(users, learning_rate=100.0).fit(data)
    halvings = [record for record in caplog.records if "half the learning rate" in record.msg]
    assert 1 <= len(halvings) <= 10
    assert "the training diverged in epoch 1 (mean loss " in halvings[0].getMessage()
    assert "with half the learning rate (50)" in halvings[0].getMessage()
    assert [metrics.epoch for metrics in fitted.epoch_metrics_][-3:] == [1, 2, 3]
    assert fitted.epoch_metrics_[-1].loss < 3
    again = estimator(users, learning_rate=100.0, threads=1).fit(data)
    assert again.to_bytes() == fitted.to_bytes()


@pytest.mark.parametrize("users", USERS)
def test_a_divergence_that_no_rate_cures_is_an_error(users, data):
    with pytest.raises(InputError, match=r"diverged in epoch 1 .*10 times half the"):
        estimator(users, initial_norm=1000.0).fit(data)


def test_healthy_training_is_left_alone(data, caplog):
    estimator("history").fit(data)
    assert "diverged" not in caplog.text


def test_a_divergence_survives_a_resume(data, tmp_path, caplog):
    whole = estimator("history", learning_rate=100.0).fit(data)

    def stop(metrics):
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimator("history", learning_rate=100.0).fit(
            data, checkpoint=tmp_path / "at", on_epoch=stop
        )
    caplog.clear()
    resumed = estimator("history", learning_rate=100.0).fit(
        data, checkpoint=tmp_path / "at", resume=True
    )
    assert "in epoch 1 " not in caplog.text  # the halved rate was in the checkpoint
    assert resumed.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_number_gone_wrong_within_an_epoch_is_undone(poison, data, monkeypatch, caplog):
    """Poison one weight after the last slice of the second epoch: the epoch is done again."""
    real, calls = trainer.run_parallel, []

    def poisoned(*args):
        real(*args)
        calls.append(args)
        if len(calls) == 2:
            (items,) = (one for one in args if isinstance(one, ItemParameters))
            items.rows.values[0] = poison

    monkeypatch.setattr(trainer, "run_parallel", poisoned)
    with caplog.at_level(logging.WARNING):
        fitted = estimator("history").fit(data)
    assert len(calls) == 1 + 2 + 1  # the first epoch is not lost
    assert [metrics.epoch for metrics in fitted.epoch_metrics_] == [1, 2, 3]
    assert "in epoch 2 (weights that are no finite numbers)" in caplog.text
    assert np.isfinite(fitted.model_.items_table().values).all()


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("has_disk", [True, False])
def test_the_last_good_parameters_come_back(users, has_disk, data, monkeypatch):
    if not has_disk:
        monkeypatch.setattr(tempfile, "TemporaryFile", Mock(side_effect=OSError("no space left")))
    config = config_for(data, {"users": users, "dim": 32})
    parameters = initialize(data, config, Budget(900, 900 if users == "embedding" else 0))
    before, last_good = parameters.copy(), LastGood()
    for _ in range(2):
        last_good.keep(parameters)
        for array in parameters.changing():
            array[:] = np.nan
        parameters = last_good.restore()
        for one, other in zip(arrays(parameters), arrays(before), strict=True):
            np.testing.assert_array_equal(one, other)


def arrays(parameters):
    items, users = parameters.items, parameters.users
    return [*items.rows, items.bias, items.bias_squares, items.weight, *users]
