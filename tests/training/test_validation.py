"""NDCG@20 during training against its formula, worked out user by user."""

from __future__ import annotations

import numpy as np
import pytest
from reference import embeddings, interactions, ranking

from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import InputError
from sparserec_np.training import validation
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.arrays import ItemParameters
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.training.validation import K, Validator, cautious

N_USERS, N_ITEMS, DIM, EXPONENT, POWER = 50, 45, 8, 0.5, 0.875
HISTORY = Config(history_exponent=EXPONENT, history_power=POWER)
EMBEDDING = Config(users="embedding")


@pytest.fixture
def parameters(rng):
    return Parameters(
        ItemParameters(
            embeddings.random_rows(rng, N_ITEMS, DIM, 4),
            rng.normal(size=N_ITEMS).astype(np.float32),
            np.ones(N_ITEMS, np.float32),
            rng.uniform(0.5, 1.5, N_ITEMS).astype(np.float32),
        ),
        embeddings.random_rows(rng, N_USERS, DIM, 4),
        DIM,
    )


@pytest.fixture
def parts():
    data = interactions.random_interactions(6, N_USERS, N_ITEMS, mean=9)
    return hold_out(data, fraction=0.3, seed=1)


def ndcg(ranked: list[int], relevant: list[int]) -> float:
    gains = [1 / np.log2(rank + 2) for rank, item in enumerate(ranked) if item in relevant]
    ideal = [1 / np.log2(rank + 2) for rank in range(min(K, len(relevant)))]
    return sum(gains) / sum(ideal)


@pytest.mark.parametrize("history", [True, False])
def test_ndcg(parameters, parts, history):
    train, held = parts
    if history:
        parameters.users = empty_embeddings(N_USERS)
    rows, bias, _, weight = parameters.items
    dense = embeddings.dense(rows, DIM)
    values = []
    for user, (known, relevant) in enumerate(
        zip(interactions.as_histories(train), interactions.as_histories(held), strict=True)
    ):
        if not relevant:
            continue
        if history:
            y = weight[known] @ dense[known]
            x = len(known) ** -EXPONENT * np.sign(y) * np.abs(y) ** POWER
        else:
            x = embeddings.dense(parameters.users, DIM)[user]
        values.append(ndcg(ranking.top_k(dense @ x + bias, known, K), relevant))
    score = Validator(train, held, HISTORY if history else EMBEDDING)
    assert 0 < len(values) < N_USERS
    assert score(parameters) == pytest.approx(np.mean(values), rel=1e-6)


def test_users_and_items_that_the_training_data_lacks_are_left_out(parameters, parts):
    train, held = parts
    more = interactions.as_interactions([*interactions.as_histories(held), [0, 1]], N_ITEMS)
    score = Validator(train, held, EMBEDDING)(parameters)
    assert Validator(train, more, EMBEDDING)(parameters) == score


def test_nothing_to_validate_on(parts):
    train, _ = parts
    nobody = interactions.as_interactions([[] for _ in range(N_USERS)], N_ITEMS)
    with pytest.raises(InputError, match="nothing to validate on"):
        Validator(train, nobody, EMBEDDING)


def test_of_many_users_the_seed_draws_some(parameters, parts, monkeypatch):
    monkeypatch.setattr(validation, "MAX_USERS", 10)
    first, again, other = (
        Validator(*parts, Config(users="embedding", seed=seed)) for seed in (0, 0, 1)
    )
    assert first(parameters) == again(parameters) != other(parameters)


@pytest.mark.parametrize(
    "scores, scale",
    [
        ({0.0: 0.20, 1.0: 0.205, 2.0: 0.212, 4.0: 0.22, 8.0: 0.21}, 2.0),  # half of the gain
        ({0.0: 0.20, 1.0: 0.21, 2.0: 0.25, 4.0: 0.30, 8.0: 0.295}, 4.0),  # not a sixth below
        ({0.0: 0.20, 1.0: 0.19, 2.0: 0.18}, 1.0),  # no gain at all
        ({0.0: 0.01, 1.0: 0.20}, 1.0),
    ],
)
def test_the_factor_of_neighbours_is_chosen_cautiously(
    scores: dict[float, float], scale: float
) -> None:
    assert cautious(scores) == (scale, scores[scale])
