"""The rules that fit hyperparameters to the data."""

from __future__ import annotations

import numpy as np
import pytest

from sparserec_np.data import from_pairs
from sparserec_np.errors import InputError
from sparserec_np.training.defaults import config_for


def data(n_users: int, n_items: int, a_user: int):
    users = np.repeat(np.arange(n_users), a_user)
    items = (np.arange(n_users * a_user) * 7) % n_items
    return from_pairs(np.append(users, np.zeros(n_items, int)), np.append(items, range(n_items)))


def test_wider_tables_for_more_items():
    dims = [config_for(data(50, n, 2), {}).dim for n in (1, 100, 2_000, 10_000, 50_000)]
    assert dims == sorted(dims)
    assert (dims[0], dims[-1]) == (64, 2048)
    assert all(np.log2(dim).is_integer() for dim in dims)


def test_rare_items_are_penalised_more():
    sparse, dense = data(2_000, 500, 2), data(2_000, 50, 20)
    assert config_for(sparse, {}).reg > config_for(dense, {}).reg


def test_biases_count_for_less_where_the_hardest_of_many_is_chosen():
    some = data(200, 1_000, 3)
    few, many = (config_for(some, {"candidates": n}) for n in (20, 40))
    assert (few.choice_bias, many.choice_bias) == (1.0, 0.5)
    assert config_for(some, {"candidates": 40, "users": "embedding"}).choice_bias == 1.0
    assert config_for(some, {"candidates": 40, "choice_bias": 0.9}).choice_bias == 0.9
    for wrong in (0, "many"):
        with pytest.raises(InputError, match="candidates"):
            config_for(some, {"candidates": wrong})


def test_dense_data_gets_fewer_candidates_and_shorter_histories():
    sparse, dense = data(200, 1_000, 3), data(200, 300, 100)
    assert config_for(sparse, {}).candidates > config_for(dense, {}).candidates >= 1
    assert config_for(sparse, {}).history_exponent < config_for(dense, {}).history_exponent
    assert config_for(sparse, {}).degree_exponent > config_for(dense, {}).degree_exponent


@pytest.mark.parametrize("users", ["history", "embedding"])
def test_given_hyperparameters_stay(users):
    given = {"users": users, "dim": 77, "reg": 0.5, "candidates": 3, "learning_rate": 0.01}
    config = config_for(data(20, 30, 3), given)
    assert {name: getattr(config, name) for name in given} == given


def test_a_value_out_of_range():
    with pytest.raises(InputError, match="dim must be"):
        config_for(data(20, 30, 3), {"dim": 0})
