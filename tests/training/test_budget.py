"""Numbers of weights from a size or a sparsity, and the size of the file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import interactions

from sparserec_np import SparseRec
from sparserec_np.errors import InputError
from sparserec_np.training.budget import (
    MOST_DENSE,
    WEIGHTS_A_ROW,
    Budget,
    SizeLimit,
    plan_budget,
)
from sparserec_np.training.config import Config

DATA = interactions.random_interactions(15, n_users=150, n_items=400, mean=10)
ROWS = {"history": 400, "embedding": 550}
USERS = list(ROWS)


def plan(config: Config, sparsity=None, max_size=None) -> Budget:
    return plan_budget(DATA, config, SizeLimit.parse(sparsity=sparsity, max_size=max_size))


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.98])
def test_sparsity_is_an_exact_number_of_weights(users, sparsity):
    rows, dim = ROWS[users], 64
    budget = plan(Config(users=users, dim=dim), sparsity=sparsity)
    assert sum(budget) == round((1 - sparsity) * rows * dim)
    assert budget.item_nnz / (rows * dim) == pytest.approx((1 - sparsity) * 400 / rows, abs=1e-3)
    model = SparseRec(users=users, dim=dim, sparsity=sparsity, epochs=1, sweeps=1).fit(DATA)
    assert model.model_.info()["weights"] == sum(budget)


@settings(deadline=None, max_examples=12)
@given(
    users=st.sampled_from(USERS),
    size=st.integers(6_000, 30_000),
    dim=st.sampled_from([96, 256, 1024]),
    bits=st.integers(3, 8),
    labelled=st.booleans(),
)
def test_the_file_is_at_most_as_large_as_asked_and_nearly_so(
    tmp_path_factory, users, size, dim, bits, labelled
):
    labels = {item: f"item {item}" for item in range(400)} if labelled else None
    path = tmp_path_factory.getbasetemp() / "budget.srec"
    model = SparseRec(
        users=users, dim=dim, max_size=size, value_bits=bits, epochs=1, sweeps=1, threads=2
    )
    model.fit(DATA, labels=labels).save(path)
    most = int(MOST_DENSE * ROWS[users] * dim)  # a denser table is not sparse
    assert path.stat().st_size <= size
    assert path.stat().st_size >= 0.95 * size or model.model_.info()["weights"] == most


@pytest.mark.parametrize("users", USERS)
def test_sizes_that_are_too_small(users):
    with pytest.raises(InputError, match=r"1,000 bytes cannot hold the model.*allow more"):
        plan(Config(users=users), max_size="1KB")
    least = next(size for size in range(1000, 9000, 50) if _fits(users, size))
    with pytest.raises(InputError, match=r"weights for .* rows, and each row needs one"):
        plan(Config(users=users), max_size=least - 50)


def _fits(users: str, size: int) -> bool:
    try:
        return sum(plan(Config(users=users), max_size=size)) >= ROWS[users]
    except InputError:
        return False


def test_impossible_budgets():
    with pytest.raises(InputError, match="give either sparsity or max_size, not both"):
        plan(Config(), sparsity=0.9, max_size="1MB")
    for sparsity in (1.0, -0.1, float("nan"), True, "0.9"):
        with pytest.raises(InputError, match="sparsity must be a number from 0 to below 1, not"):
            plan(Config(), sparsity=sparsity)
    with pytest.raises(InputError, match=r"sparsity 0.99 of 400 rows x 64 columns leaves 256 wei"):
        plan(Config(dim=64), sparsity=0.99)
    with pytest.raises(InputError, match="is not a size"):
        plan(Config(), max_size="large")


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("dim", [1, 2, 13, 64, 4096])
def test_without_size_and_sparsity_some_weights_a_row(users, dim):
    budget = plan(Config(users=users, dim=dim))
    mean = max(1, min(WEIGHTS_A_ROW, MOST_DENSE * dim))
    assert sum(budget) == pytest.approx(mean * ROWS[users], rel=0.1)
    assert budget.item_nnz >= 400
    assert budget.user_nnz >= ROWS[users] - 400


def test_a_size_is_enough_for_a_table_of_one_column():
    assert sum(plan(Config(dim=1), max_size="1MB")) == 400


def test_a_size_beyond_what_the_data_can_use():
    assert sum(plan(Config(dim=64), max_size="1GB")) == int(MOST_DENSE * 400 * 64)
