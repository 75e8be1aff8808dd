"""Whole trainings: the budget after each epoch, the schedule, odd data, data of known answer."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from reference import embeddings, interactions, ranking

from sparserec_np.errors import InputError
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.initialization import initialize
from sparserec_np.training.kernels.batches import GROUP_POSITIVES
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.state import EpochMetrics, TrainingState
from sparserec_np.training.trainer import Observer, Trainer, train

USERS = ["history", "embedding"]
ODD = {
    "one user, one of two items": interactions.as_interactions([[0]], 2),
    "one user, both items": interactions.as_interactions([[0, 1]], 2),
    "one item": interactions.as_interactions([[0], [0], [0]], 1),
    "single items": interactions.as_interactions([[i % 7] for i in range(30)], 7),
    "all items": interactions.as_interactions([list(range(20))] * 20, 20),
    "all items but one": interactions.as_interactions(
        [[i for i in range(20) if i != left_out] for left_out in range(20)], 20
    ),
    "items that nobody has": interactions.as_interactions([[3, 4], [3, 9], [4, 9], [0, 3]], 12),
    "users that have nothing": interactions.as_interactions([[], [0, 1], [], [1, 2, 3], []], 5),
    "one user of many items": interactions.as_interactions([list(range(0, 1400, 2)), [1, 2]], 1400),
}
FAST = {"sweeps": 1, "epochs": 2, "pool": 16, "buffer_bytes": 1 << 14}


class Recorder(Observer):
    """Keeps the metrics of all epochs."""

    def __init__(self) -> None:
        self.metrics: list[EpochMetrics] = []

    def on_epoch(self, metrics: EpochMetrics) -> None:
        self.metrics.append(metrics)


def budget(data, config: Config, mean: int = 4) -> Budget:
    """``mean`` weights a row, where the embeddings have so many columns."""
    mean = min(mean, config.dim)
    return Budget(mean * data.n_items, 0 if config.users == "history" else mean * data.n_users)


def fit(
    data,
    config: Config,
    validate: Callable[[Parameters], float] | None = None,
    observer: Observer | None = None,
) -> Parameters:
    parameters = initialize(data, config, budget(data, config))
    state = train(
        Trainer(parameters, data, config), TrainingState(parameters), epochs=config.epochs,
        validate=validate, observer=observer,
    )  # fmt: skip
    return state.result()[0]


def check(parameters: Parameters, data, config: Config) -> None:
    items, users, _ = budget(data, config)
    embeddings.check_rows(parameters.items.rows, config.dim, items)
    if config.users == "embedding":
        embeddings.check_rows(parameters.users, config.dim, users)
    assert parameters.dim == config.dim
    assert parameters.nnz == items + users
    for array in (parameters.items.bias, parameters.items.bias_squares, parameters.items.weight):
        assert array.shape == (data.n_items,)
        assert np.isfinite(array).all()


def test_there_is_room_for_gradients_as_rows_become_longer(rng):
    data, config = ODD["one user of many items"], Config(dim=64, **FAST)
    trainer = Trainer(initialize(data, config, budget(data, config)), data, config)
    history = data.items[: data.indptr[1]]
    assert history.size > GROUP_POSITIVES
    rooms = []
    for mean in (4, 5, 40):
        rows = embeddings.random_rows(rng, data.n_items, config.dim, mean)
        trainer.parameters.items = trainer.parameters.items._replace(rows=rows)
        lengths = np.diff(rows.indptr)
        rooms.append(trainer.make_room().room)
        assert rooms[-1] >= lengths[history].sum() + history.size * lengths.max()
    assert rooms[0] < rooms[2]


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("name", ODD)
def test_odd_data(name, users):
    """Dimensions from 1 to 4,096, beyond the number of items; more candidates than items."""
    data = ODD[name]
    for dim, candidates in ((1, 5), (3, 1), (64, 500), (4096, 2)):
        config = Config(users=users, dim=dim, candidates=candidates, **FAST)
        check(fit(data, config), data, config)


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("exploration", [0.0, 0.4, 0.95])
def test_the_budget_is_kept_after_every_epoch(users, exploration):
    data = interactions.random_interactions(7, n_users=120, n_items=80, mean=8)
    config = Config(
        users=users, dim=32, epochs=8, sweeps=2, exploration=exploration, buffer_bytes=1 << 14
    )
    recorder, masks = Recorder(), []

    def validate(parameters: Parameters) -> float:
        check(parameters, data, config)
        masks.append(embeddings.mask(parameters.items.rows, 32))
        return float(len(masks))

    fit(data, config, validate, recorder)
    moved = [metrics.moved for metrics in recorder.metrics]
    assert moved[6:] == [0, 0]  # the mask rests after exploration_end = 0.75
    if exploration == 0.0:
        assert moved == [0] * 8
    else:
        assert moved[0] > moved[2] > moved[4] > 0  # a cosine, of samples that vary
        assert moved[5] > 0
        assert (masks[0] != masks[4]).any()
    assert (masks[5] == masks[7]).all()


def test_metrics_and_the_best_epoch():
    data = interactions.random_interactions(8, n_users=60, n_items=40, mean=8)
    config = Config(dim=8, epochs=9, patience=3, sweeps=2, pool=64)
    parameters = initialize(data, config, budget(data, config))
    qualities = iter([0.1, 0.3, 0.2, 0.4, 0.1, 0.4, 0.3, 0.9])
    recorder, seen = Recorder(), []

    def validate(parameters: Parameters) -> float:
        seen.append(parameters.copy())
        return next(qualities)

    best, epoch, quality = train(
        Trainer(parameters, data, config), TrainingState(parameters), epochs=9, stage="choose",
        validate=validate, observer=recorder,
    ).result()  # fmt: skip
    metrics = recorder.metrics
    assert (epoch, quality) == (4, 0.4)
    assert [one.epoch for one in metrics] == [1, 2, 3, 4, 5, 6, 7]  # out of patience
    assert [one.ndcg for one in metrics] == [0.1, 0.3, 0.2, 0.4, 0.1, 0.4, 0.3]
    assert {one.epochs for one in metrics} == {9}
    assert {one.stage for one in metrics} == {"choose"}
    assert all(0 < one.loss < 2 and one.triples_per_second > 0 for one in metrics)
    assert best.items.rows.values.tobytes() == seen[3].items.rows.values.tobytes()


@pytest.mark.parametrize("users", USERS)
def test_states_that_are_kept_do_not_change_and_training_goes_on_from_any(users):
    data = interactions.random_interactions(8, n_users=60, n_items=40, mean=8)
    config = Config(users=users, dim=8, epochs=4, sweeps=2, pool=64)

    class Keeper(Observer):
        keeps_states = True

        def __init__(self) -> None:
            self.kept: list[tuple[TrainingState, list[bytes]]] = []

        def on_state(self, state: TrainingState) -> None:
            self.kept.append((state, content(state.parameters)))

    def content(parameters: Parameters) -> list[bytes]:
        items, users = parameters.items, parameters.users
        return [array.tobytes() for array in (*items.rows, *items[1:], *users)]

    keeper = Keeper()
    whole = content(fit(data, config, observer=keeper))
    assert [state.epoch for state, _ in keeper.kept] == [0, 1, 2, 3, 4]
    for state, then in keeper.kept:
        assert content(state.parameters) == then
    for state, _ in keeper.kept[1:]:
        trainer = Trainer(state.parameters, data, config)
        assert content(train(trainer, state, epochs=4).parameters) == whole


def test_the_loss_falls():
    data = interactions.random_interactions(9, n_users=150, n_items=60, mean=8)
    for users in USERS:
        recorder = Recorder()
        fit(data, Config(users=users, dim=16, epochs=6, candidates=1), observer=recorder)
        losses = [metrics.loss for metrics in recorder.metrics]
        assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("candidates", [1, 2])
def test_two_tastes_are_told_apart(users, candidates):
    """Users of even items are recommended even items, and the other way round.

    The more candidates, the more negatives are unseen items of the user's own half: here, where
    such an item is as good as those of the history, hard negatives teach nothing.
    """
    data = interactions.checkerboard()
    config = Config(
        users=users, dim=8, epochs=30, candidates=candidates, pool=64, sweeps=3, learning_rate=0.1,
        reg=1e-4,
    )  # fmt: skip
    parameters = fit(data, config)
    items = parameters.items
    dense = embeddings.dense(items.rows, 8)
    right = []
    for user, history in enumerate(interactions.as_histories(data)):
        if users == "history":
            x = items.weight[history] @ dense[history]
            x = np.sign(x) * np.abs(x) ** config.history_power
            x *= len(history) ** -config.history_exponent
        else:
            x = embeddings.dense(parameters.users, 8)[user]
        best = ranking.top_k(dense @ x + items.bias, history, 5)
        right += [item % 2 == user % 2 for item in best]
    assert np.mean(right) > 0.97


def test_history_weights_have_a_mean_square_of_one():
    data = interactions.random_interactions(10, n_users=60, n_items=40, mean=6)
    for exponent in (0.0, 0.5):
        config = Config(dim=8, degree_exponent=exponent, sweeps=1)
        weight = initialize(data, config, budget(data, config)).items.weight
        assert (weight[data.items].astype(float) ** 2).mean() == pytest.approx(1.0, rel=1e-5)
        degrees = data.item_degrees()
        expected = np.maximum(degrees, 1.0) ** -exponent
        np.testing.assert_allclose(weight / weight[0], expected / expected[0], rtol=1e-5)


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("candidates", [1, 16])
def test_numbers_that_are_not_finite_are_an_error(users, candidates):
    data = interactions.random_interactions(11, n_users=60, n_items=40, mean=8)
    config = Config(users=users, dim=8, epochs=3, candidates=candidates, sweeps=1)
    parameters = initialize(data, config, budget(data, config))
    parameters.items.rows.values[:] = np.nan
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        train(Trainer(parameters, data, config), TrainingState(parameters), epochs=3)


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("reg", [0.0, 1e3])
def test_huge_steps_end_in_an_error_or_in_finite_weights(users, reg):
    data = interactions.random_interactions(12, n_users=60, n_items=40, mean=8)
    config = Config(users=users, dim=8, epochs=4, sweeps=1, learning_rate=100.0, reg=reg)
    try:
        parameters = fit(data, config)
    except InputError as error:
        assert "learning_rate" in str(error)
    else:
        check(parameters, data, config)


@pytest.mark.parametrize("users", USERS)
def test_training_holds_no_dense_embeddings(users):
    """Gram matrix and buffers take some 30 MB; two arrays of 20,000 x 2,048 would take 330 MB."""
    n = 20_000
    rng = np.random.default_rng(0)
    items = rng.integers(0, n // 2, (n, 2)) + np.array([0, n // 2])
    data = interactions.as_interactions(items.tolist(), n)
    config = Config(users=users, dim=2048, epochs=2, sweeps=1)
    tracemalloc.start()
    check(fit(data, config), data, config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6
