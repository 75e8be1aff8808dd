"""NDCG@20 during training against its formula, worked out user by user."""

from __future__ import annotations

import numpy as np
import pytest
from reference import twins

from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import InputError
from sparserec_np.training import validation
from sparserec_np.training.config import Config
from sparserec_np.training.initialization import empty_rows
from sparserec_np.training.kernels.arrays import ItemParameters
from sparserec_np.training.trainer import Parameters
from sparserec_np.training.validation import K, Validator

N_USERS, N_ITEMS, DIM, EXPONENT, POWER = 50, 45, 8, 0.5, 0.875
HISTORY = Config(history_exponent=EXPONENT, history_power=POWER)
EMBEDDING = Config(users="embedding")


@pytest.fixture
def tables(rng):
    return Parameters(
        ItemParameters(
            twins.random_rows(rng, N_ITEMS, DIM, 4),
            rng.normal(size=N_ITEMS).astype(np.float32),
            np.ones(N_ITEMS, np.float32),
            rng.uniform(0.5, 1.5, N_ITEMS).astype(np.float32),
        ),
        twins.random_rows(rng, N_USERS, DIM, 4),
        DIM,
    )


@pytest.fixture
def parts():
    data = twins.random_interactions(6, N_USERS, N_ITEMS, mean=9)
    return hold_out(data, fraction=0.3, seed=1)


def ndcg(ranked: list[int], relevant: list[int]) -> float:
    gains = [1 / np.log2(rank + 2) for rank, item in enumerate(ranked) if item in relevant]
    ideal = [1 / np.log2(rank + 2) for rank in range(min(K, len(relevant)))]
    return sum(gains) / sum(ideal)


@pytest.mark.parametrize("history", [True, False])
def test_ndcg(tables, parts, history):
    train, held = parts
    if history:
        tables.users = empty_rows(N_USERS)
    rows, bias, _, weight = tables.items
    dense = twins.dense(rows, DIM)
    values = []
    for user, (had, relevant) in enumerate(
        zip(twins.as_histories(train), twins.as_histories(held), strict=True)
    ):
        if not relevant:
            continue
        if history:
            y = weight[had] @ dense[had]
            x = len(had) ** -EXPONENT * np.sign(y) * np.abs(y) ** POWER
        else:
            x = twins.dense(tables.users, DIM)[user]
        values.append(ndcg(twins.top_k(dense @ x + bias, had, K), relevant))
    score = Validator(train, held, HISTORY if history else EMBEDDING)
    assert 0 < len(values) < N_USERS
    assert score(tables) == pytest.approx(np.mean(values), rel=1e-6)


def test_users_and_items_that_the_training_data_lacks_are_left_out(tables, parts):
    train, held = parts
    more = twins.as_interactions([*twins.as_histories(held), [0, 1]], N_ITEMS)
    assert Validator(train, more, EMBEDDING)(tables) == Validator(train, held, EMBEDDING)(tables)


def test_nothing_to_validate_on(parts):
    train, _ = parts
    nobody = twins.as_interactions([[] for _ in range(N_USERS)], N_ITEMS)
    with pytest.raises(InputError, match="nothing to validate on"):
        Validator(train, nobody, EMBEDDING)


def test_of_many_users_the_seed_draws_some(tables, parts, monkeypatch):
    monkeypatch.setattr(validation, "MAX_USERS", 10)
    first, again, other = (
        Validator(*parts, Config(users="embedding", seed=seed)) for seed in (0, 0, 1)
    )
    assert first(tables) == again(tables) != other(tables)
