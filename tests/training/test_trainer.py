"""Training as a whole: the budget at every moment, the schedule, odd data, data of known answer."""

from __future__ import annotations

import tracemalloc

import numba
import numpy as np
import pytest
from reference import twins

from sparserec_np.errors import InputError
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.bpr import GROUP_POSITIVES
from sparserec_np.training.trainer import Parameters, Run, start, train
from sparserec_np.utils.parallel import thread_count

USERS = ["history", "embedding"]
ODD = {
    "one user, one of two items": twins.as_interactions([[0]], 2),
    "one user, both items": twins.as_interactions([[0, 1]], 2),
    "one item": twins.as_interactions([[0], [0], [0]], 1),
    "single items": twins.as_interactions([[i % 7] for i in range(30)], 7),
    "all items": twins.as_interactions([list(range(20))] * 20, 20),
    "all items but one": twins.as_interactions(
        [[i for i in range(20) if i != left_out] for left_out in range(20)], 20
    ),
    "items that nobody has": twins.as_interactions([[3, 4], [3, 9], [4, 9], [0, 3]], 12),
    "users that have nothing": twins.as_interactions([[], [0, 1], [], [1, 2, 3], []], 5),
    "one user of many items": twins.as_interactions([list(range(0, 1400, 2)), [1, 2]], 1400),
}
FAST = {"sweeps": 1, "epochs": 2, "pool": 16, "buffer_bytes": 1 << 14}


def budgets(data, config: Config, dim: int, mean: int = 4) -> tuple[int, int]:
    """``mean`` weights a row, where the table has so many columns."""
    mean = min(mean, dim)
    return mean * data.n_items, 0 if config.users == "history" else mean * data.n_users


def fit(data, config: Config, dim: int, **options) -> Parameters:
    begin = start(data, config, dim, budgets(data, config, dim))
    tables, _, _ = train(begin, data, config, epochs=config.epochs, **options)
    return tables


def check(tables: Parameters, data, config: Config) -> None:
    items, users = budgets(data, config, tables.dim)
    twins.check_rows(tables.items.rows, tables.dim, items)
    if config.users == "embedding":
        twins.check_rows(tables.users, tables.dim, users)
    assert tables.weights == items + users
    for array in (tables.items.bias, tables.items.bias_squares, tables.items.weight):
        assert array.shape == (data.n_items,)
        assert np.isfinite(array).all()


def test_there_is_room_for_gradients_as_rows_become_longer(rng):
    data, config, dim = ODD["one user of many items"], Config(**FAST), 64
    run = Run(start(data, config, dim, budgets(data, config, dim)), data, config)
    history = data.items[: data.indptr[1]]
    assert history.size > GROUP_POSITIVES
    rooms = []
    for mean in (4, 5, 40):
        rows = twins.random_rows(rng, data.n_items, dim, mean)
        run.tables.items = run.tables.items._replace(rows=rows)
        run._make_room()
        lengths = np.diff(rows.indptr)
        assert run._scratch.room >= lengths[history].sum() + history.size * lengths.max()
        rooms.append(run._scratch.room)
    assert rooms[0] < rooms[2]


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("name", ODD)
def test_odd_data(name, users):
    """Dimensions from 1 to 4,096, beyond the number of items; more candidates than items."""
    data = ODD[name]
    for dim, candidates in ((1, 5), (3, 1), (64, 500), (4096, 2)):
        config = Config(users=users, dim=dim, candidates=candidates, **FAST)
        check(fit(data, config, dim), data, config)


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("exploration", [0.0, 0.4, 0.95])
def test_the_budget_is_kept_after_every_epoch(users, exploration):
    data = twins.random_interactions(7, n_users=120, n_items=80, mean=8)
    config = Config(
        users=users, dim=32, epochs=8, sweeps=2, exploration=exploration, buffer_bytes=1 << 14
    )
    records, masks = [], []

    def validate(tables: Parameters) -> float:
        check(tables, data, config)
        masks.append(twins.mask(tables.items.rows, 32))
        return float(len(masks))

    fit(data, config, 32, validate=validate, on_epoch=records.append)
    moved = [record.moved for record in records]
    assert moved[6:] == [0, 0]  # the mask rests after exploration_end = 0.75
    if exploration == 0.0:
        assert moved == [0] * 8
    else:
        assert moved[0] > moved[2] > moved[4] > 0  # a cosine, of samples that vary
        assert moved[5] > 0
        assert (masks[0] != masks[4]).any()
    assert (masks[5] == masks[7]).all()


def test_records_and_the_best_epoch():
    data = twins.random_interactions(8, n_users=60, n_items=40, mean=8)
    config = Config(dim=8, epochs=9, patience=3, sweeps=2, pool=64)
    begin = start(data, config, 8, budgets(data, config, 8))
    qualities = iter([0.1, 0.3, 0.2, 0.4, 0.1, 0.4, 0.3, 0.9])
    records, seen = [], []

    def validate(tables: Parameters) -> float:
        seen.append(tables.copy())
        return next(qualities)

    best, epoch, quality = train(
        begin, data, config, epochs=9, validate=validate, on_epoch=records.append, stage="choose"
    )
    assert (epoch, quality) == (4, 0.4)
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5, 6, 7]  # out of patience
    assert [record.ndcg for record in records] == [0.1, 0.3, 0.2, 0.4, 0.1, 0.4, 0.3]
    assert {record.epochs for record in records} == {9}
    assert {record.stage for record in records} == {"choose"}
    assert all(0 < record.loss < 2 and record.triples_per_second > 0 for record in records)
    assert best.items.rows.values.tobytes() == seen[3].items.rows.values.tobytes()


def test_the_loss_falls():
    data = twins.random_interactions(9, n_users=150, n_items=60, mean=8)
    for users in USERS:
        records = []
        fit(data, Config(users=users, epochs=6, candidates=1), 16, on_epoch=records.append)
        losses = [record.loss for record in records]
        assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("candidates", [1, 2])
def test_two_tastes_are_told_apart(users, candidates):
    """Whoever has even items is recommended even items, and the other way round.

    The more candidates, the more negatives are unseen items of the user's own half: here, where
    such an item is as good as those the user has, hard negatives teach nothing.
    """
    data = twins.checkerboard()
    config = Config(
        users=users, epochs=30, candidates=candidates, pool=64, sweeps=3, learning_rate=0.1,
        reg=1e-4,
    )  # fmt: skip
    tables = fit(data, config, 8)
    dense = twins.dense(tables.items.rows, 8)
    right = []
    for user, had in enumerate(twins.as_histories(data)):
        if users == "history":
            x = tables.items.weight[had] @ dense[had]
            x = np.sign(x) * np.abs(x) ** config.history_power
            x *= len(had) ** -config.history_exponent
        else:
            x = twins.dense(tables.users, 8)[user]
        best = twins.top_k(dense @ x + tables.items.bias, had, 5)
        right += [item % 2 == user % 2 for item in best]
    assert np.mean(right) > 0.97


def test_history_weights_have_a_mean_square_of_one():
    data = twins.random_interactions(10, n_users=60, n_items=40, mean=6)
    for exponent in (0.0, 0.5):
        config = Config(degree_exponent=exponent, sweeps=1)
        weight = start(data, config, 8, budgets(data, config, 8)).items.weight
        assert (weight[data.items].astype(float) ** 2).mean() == pytest.approx(1.0, rel=1e-5)
        degrees = data.item_degrees()
        expected = np.maximum(degrees, 1.0) ** -exponent
        np.testing.assert_allclose(weight / weight[0], expected / expected[0], rtol=1e-5)


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("candidates", [1, 16])
def test_numbers_that_are_not_finite_are_an_error(users, candidates):
    data = twins.random_interactions(11, n_users=60, n_items=40, mean=8)
    config = Config(users=users, epochs=3, candidates=candidates, sweeps=1)
    begin = start(data, config, 8, budgets(data, config, 8))
    begin.items.rows.values[:] = np.nan
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        train(begin, data, config, epochs=3)


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("reg", [0.0, 1e3])
def test_huge_steps_end_in_an_error_or_in_finite_weights(users, reg):
    data = twins.random_interactions(12, n_users=60, n_items=40, mean=8)
    config = Config(users=users, epochs=4, sweeps=1, learning_rate=100.0, reg=reg)
    try:
        tables = fit(data, config, 8)
    except InputError as error:
        assert "learning_rate" in str(error)
    else:
        check(tables, data, config)


@pytest.mark.parametrize("users", USERS)
def test_training_holds_no_dense_table(users):
    """Gram matrix and buffers take some 30 MB; two tables of 20,000 x 2,048 would take 330 MB."""
    n, dim = 20_000, 2048
    rng = np.random.default_rng(0)
    items = rng.integers(0, n // 2, (n, 2)) + np.array([0, n // 2])
    data = twins.as_interactions(items.tolist(), n)
    config = Config(users=users, dim=dim, epochs=2, sweeps=1)
    tracemalloc.start()
    check(fit(data, config, dim), data, config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6


def test_the_number_of_threads_is_put_back():
    before = numba.get_num_threads()
    with pytest.raises(RuntimeError), thread_count(1):
        assert numba.get_num_threads() == 1
        raise RuntimeError
    assert numba.get_num_threads() == before
    with thread_count(10_000):
        assert numba.get_num_threads() == before
    with pytest.raises(InputError, match="threads must be at least 1, not 0"), thread_count(0):
        pass
