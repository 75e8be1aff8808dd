"""The compiled training against its plain-NumPy twin, and the twin against finite differences."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import twins

from sparserec_np.training.initialization import empty_rows
from sparserec_np.training.kernels import bpr
from sparserec_np.training.kernels.arrays import (
    GROUPS,
    PARTS,
    GradientAccumulator,
    ItemParameters,
    Step,
    workspace,
)
from sparserec_np.training.kernels.gradients import BLOCK
from sparserec_np.training.prune_and_grow import no_growth

DIM, POOL = 12, 40
LEARNING_RATE, REG = 0.05, 0.01
CASES = [
    (users, n, power)
    for users, power in (("history", 1.0), ("history", 0.875), ("embedding", 1.0))
    for n in (1, 7, 60)
]


class Batch:
    """One batch, done by the kernels, and what its twin says to it."""

    def __init__(self, users: str, candidates: int, power: float = 1.0) -> None:
        rng = np.random.default_rng(candidates)
        choice_bias = 0.5 if candidates > 7 else 1.0
        self.history = users == "history"
        data = twins.random_interactions(3, n_users=70, n_items=33, mean=9)
        # One who has all items but two, one who has all, one with a single item, one with none.
        self.histories = [
            *twins.as_histories(data), list(range(31)), list(range(33)), [4], []
        ]  # fmt: skip
        self.data = data = twins.as_interactions(self.histories, 33)
        self.rows = twins.random_rows(rng, 33, DIM, 5)
        self.users = (
            empty_rows(data.n_users)
            if self.history
            else twins.random_rows(rng, data.n_users, DIM, 5)
        )
        self.items = ItemParameters(
            self.rows,
            rng.normal(size=33).astype(np.float32),
            rng.uniform(0.01, 1.0, 33).astype(np.float32),
            rng.uniform(0.5, 1.5, 33).astype(np.float32),
        )
        self.seed = 1234567
        self.params = twins.Params(
            items=twins.dense(self.rows, DIM),
            bias=self.items.bias.astype(float),
            weight=self.items.weight.astype(float),
            users=None if self.history else twins.dense(self.users, DIM),
            exponent=0.4,
            candidates=candidates,
            choice_bias=choice_bias,
            pool=POOL,
            seed=self.seed,
            power=power,
        )
        self.before = {
            "items": twins.dense(self.rows, DIM, "squares"),
            "users": twins.dense(self.users, DIM, "squares"),
            "bias": self.items.bias_squares.astype(float),
        }
        order = rng.permutation(np.flatnonzero(data.user_degrees()))
        starts = np.empty(order.size + 1, np.int64)
        n_groups = bpr.cut_groups(order, data.user_degrees(), starts)
        assert 1 < n_groups <= GROUPS
        self.groups = [part.tolist() for part in np.split(order, starts[1:n_groups])]
        self.item_growth, self.user_growth = self._growth(33), self._growth(data.n_users)
        self.item_reg = rng.uniform(0.0, 0.02, 33).astype(np.float32)
        self.scratch = workspace(
            self.item_reg, DIM, self.history, candidates, POOL, 600, 600 * 2 * 5
        )
        starts = starts[: n_groups + 1]
        turns = bpr.take_turns(starts, data.user_degrees()[order])
        self.loss, self.triples = bpr.run_batches(
            0, 1, starts, order, turns, data.indptr, data.items, *self.items, self.users,
            self.history,
            Step(
                np.float32(LEARNING_RATE),
                np.float32(REG),
                np.float32(self.params.exponent),
                np.int64(8 * power),
                np.int64(candidates),
                np.float32(choice_bias),
                np.uint64(self.seed),
            ),
            self.scratch, self.item_growth, self.user_growth,
        )  # fmt: skip
        self.twins = [twins.run_group(self.params, group, self.histories) for group in self.groups]

    def _growth(self, n_rows: int) -> GradientAccumulator:
        """Every other row is sampled."""
        growth = no_growth(n_rows, DIM)
        growth.slot[::2] = np.arange((n_rows + 1) // 2)
        return growth._replace(sums=np.zeros(((n_rows + 1) // 2, DIM), np.float32))

    @property
    def records(self) -> list[twins.Record]:
        """In the order in which they are applied to a row."""
        return [record for group in self.twins for record in group.records]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def batch(request) -> Batch:
    return Batch(*request.param)


def test_loss_and_number_of_triples(batch):
    assert batch.triples == sum(len(group.triples) for group in batch.twins)
    np.testing.assert_allclose(batch.loss, sum(group.loss for group in batch.twins), rtol=1e-5)


def test_the_cases_are_not_trivial(batch):
    positives = sum(map(len, batch.histories))
    assert 0.5 * positives < batch.triples < positives  # some find no negative
    negatives = {triple.negative for group in batch.twins for triple in group.triples}
    assert len(negatives) > 8


def test_no_negative_is_an_item_that_the_user_has(batch):
    for group in batch.twins:
        for user, positive, negative in group.triples:
            assert positive in batch.histories[user]
            assert negative not in batch.histories[user]


def test_records(batch):
    w, stored = batch.scratch, twins.mask(batch.rows, DIM)
    for g, group in enumerate(batch.twins):
        by_part = [
            [record for record in group.records if record.row // BLOCK % PARTS == part]
            for part in range(PARTS)
        ]
        assert np.diff(w.first[g]).tolist() == list(map(len, by_part))
        begins = [0]
        for r, record in enumerate(chain.from_iterable(by_part)):
            assert w.row[g, r] == record.row
            np.testing.assert_allclose(w.bias_gradient[g, r], record.bias_gradient, atol=1e-5)
            expected = record.gradient[stored[record.row]]
            gradient = w.gradient[g, begins[-1] : begins[-1] + expected.size]
            np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=2e-5)
            begins.append(begins[-1] + expected.size)
        assert w.begin[g].tolist() == [begins[r] for r in w.first[g, :-1]]


def test_item_rows_after_their_steps(batch):
    stored = twins.mask(batch.rows, DIM)
    values, squares = batch.params.items.copy(), batch.before["items"]
    for record in batch.records:
        row = stored[record.row]
        after = values[record.row, row], squares[record.row, row]
        twins.adagrad(*after, record.gradient[row], LEARNING_RATE, batch.item_reg[record.row])
        values[record.row, row], squares[record.row, row] = after
    np.testing.assert_allclose(twins.dense(batch.rows, DIM), values, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(twins.dense(batch.rows, DIM, "squares"), squares, rtol=1e-3)


def test_biases_after_their_steps(batch):
    bias, squares = batch.params.bias.copy(), batch.before["bias"].copy()
    for record in batch.records:
        i = slice(record.row, record.row + 1)  # no penalty on biases
        twins.adagrad(bias[i], squares[i], np.array([record.bias_gradient]), LEARNING_RATE, 0.0)
    np.testing.assert_allclose(batch.items.bias, bias, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(batch.items.bias_squares, squares, rtol=1e-3)


def test_user_rows_after_their_step(batch):
    if batch.history:
        assert batch.users.values.size == 0
        return
    stored = twins.mask(batch.users, DIM)
    values, squares = batch.params.users.copy(), batch.before["users"]
    for group in batch.twins:
        for user, gradient in group.user_gradients.items():
            row = stored[user]
            after = values[user, row], squares[user, row]
            reg = REG * len(batch.histories[user])
            twins.adagrad(*after, gradient[row], LEARNING_RATE, reg)
            values[user, row], squares[user, row] = after
    np.testing.assert_allclose(twins.dense(batch.users, DIM), values, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(twins.dense(batch.users, DIM, "squares"), squares, rtol=1e-3)


def test_growth_sums(batch):
    items, users = np.zeros((33, DIM)), np.zeros((batch.data.n_users, DIM))
    for record in batch.records:
        items[record.row] += record.growth
    for group in batch.twins:
        for user, gradient in group.user_gradients.items():
            users[user] += gradient
    np.testing.assert_allclose(batch.item_growth.sums, items[::2], rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(batch.user_growth.sums, users[::2], rtol=1e-3, atol=2e-4)


def test_scratch_is_left_clean(batch):
    assert not batch.scratch.seen.any()
    assert not batch.scratch.spare.any()


def test_the_growth_of_a_history_item_is_off_by_the_part_left_out_alone():
    """Where a user has many items that part is small: this is the price of the approximation."""
    group = Batch("history", 7).twins[0]
    error = [np.abs(record.growth - record.gradient).sum() for record in group.records]
    size = [np.abs(record.gradient).sum() for record in group.records]
    assert 0 < sum(error) < 0.35 * sum(size)
    for group in Batch("embedding", 7).twins:
        assert all((record.growth == record.gradient).all() for record in group.records)


def gradients(params: twins.Params, groups: list[twins.Group]) -> dict[str, np.ndarray]:
    out = {"items": np.zeros_like(params.items), "bias": np.zeros_like(params.bias)}
    if params.users is not None:
        out["users"] = np.zeros_like(params.users)
    for group in groups:
        for record in group.records:
            out["items"][record.row] += record.gradient
            out["bias"][record.row] += record.bias_gradient
        for user, gradient in group.user_gradients.items():
            out["users"][user] += gradient
    return out


def test_gradients_by_finite_differences(batch):
    """Records and user gradients add up to the gradient of the summed BPR losses.

    Where histories are bent most of them do: near the pole of its derivative, and that is where
    nobody's history has anything stored, the bend has a derivative that is cut off.
    """
    triples = [triple for group in batch.twins for triple in group.triples]
    rng = np.random.default_rng(8)
    step = 1e-5
    for name, gradient in gradients(batch.params, batch.twins).items():
        slopes, found = [], []
        for _ in range(40):
            at = tuple(int(rng.integers(n)) for n in gradient.shape)
            if batch.params.power < 1 and getattr(batch.params, name)[at] == 0:
                continue
            losses = []
            for sign in (1, -1):
                moved = getattr(batch.params, name).copy()
                moved[at] += sign * step
                params = batch.params._replace(**{name: moved})
                losses.append(twins.bpr_loss(params, triples, batch.histories))
            slopes.append((losses[0] - losses[1]) / (2 * step))
            found.append(gradient[at])
        if batch.params.power == 1:
            np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-6)
        else:
            error = np.abs(np.subtract(found, slopes)) / np.abs(slopes)
            assert np.quantile(error, 0.6) < 1e-4
            assert error.max() < 0.3


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 700), max_size=70), st.randoms(use_true_random=False))
def test_cut_groups(degrees, random):
    order = list(range(len(degrees)))
    random.shuffle(order)
    order, degrees = np.array(order, np.int64), np.array(degrees, np.int64)
    starts = np.empty(order.size + 1, np.int64)
    n = bpr.cut_groups(order, degrees, starts)
    groups = [part.tolist() for part in np.split(order, starts[1:n])] if n else []
    assert starts[n] == order.size
    assert groups == twins.cut_groups(order, degrees)


def test_the_largest_groups_of_a_batch_are_taken_first():
    sizes = np.array([1, 1, 5, 2, 9, 1, 1, 1, 1, 1, 4, 3, 3], np.int64)
    starts = np.array([0, 2, *range(3, sizes.size + 1)], np.int64)  # the first group has two users
    turns = bpr.take_turns(starts, sizes)
    assert turns.tolist() == [[3, 1, 0, 2, 4, 5, 6, 7], [1, 2, 3, 0, 4, 5, 6, 7]]


@pytest.mark.parametrize("above", [0, 6, 20])
def test_most_weights(above):
    data = twins.random_interactions(4, n_users=50, n_items=20, mean=6)
    rows = twins.random_rows(np.random.default_rng(4), 20, DIM, 5)
    long = [had for had in twins.as_histories(data) if len(had) > above]
    most = max((np.diff(rows.indptr)[had].sum() for had in long), default=0)
    assert bpr.most_weights(data.indptr, data.items, rows.indptr, above) == most
