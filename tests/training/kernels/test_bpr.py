"""The compiled training against the reference, and the reference against finite differences."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from reference import bpr, embeddings, gradients, interactions

from sparserec_np.retrieval.signed_power import steepest_slope
from sparserec_np.training.kernels.arrays import (
    GROUPS,
    PARTS,
    GradientAccumulator,
    Histories,
    ItemParameters,
    Step,
    workspace,
)
from sparserec_np.training.kernels.batches import cut_batches, train_batches
from sparserec_np.training.kernels.gradients import BLOCK
from sparserec_np.utils.parallel import run_parallel, thread_count

DIM, POOL = 12, 40
LEARNING_RATE, REG = 0.05, 0.01
CASES = [
    (users, n, power)
    for users, power in (("history", 1.0), ("history", 0.875), ("embedding", 1.0))
    for n in (1, 7, 60)
]


class Batch:
    """One batch, trained on by the kernels and by the reference."""

    def __init__(
        self, users: str, candidates: int, power: float = 1.0, threads: int | None = None
    ) -> None:
        rng = np.random.default_rng(candidates)
        choice_bias = 0.5 if candidates > 7 else 1.0
        data = interactions.random_interactions(3, n_users=70, n_items=33, mean=9)
        # One user with all items but two, one with all, one with a single item, one with none.
        self.histories = [
            *interactions.as_histories(data), list(range(31)), list(range(33)), [4], []
        ]  # fmt: skip
        self.data = data = interactions.as_interactions(self.histories, 33)
        self.rows = embeddings.random_rows(rng, 33, DIM, 5)
        self.users = (
            None if users == "history" else embeddings.random_rows(rng, data.n_users, DIM, 5)
        )
        self.items = ItemParameters(
            self.rows,
            rng.normal(size=33).astype(np.float32),
            rng.uniform(0.01, 1.0, 33).astype(np.float32),
            rng.uniform(0.5, 1.5, 33).astype(np.float32),
        )
        self.params = bpr.Params(
            items=embeddings.dense(self.rows, DIM),
            bias=self.items.bias.astype(float),
            weight=self.items.weight.astype(float),
            users=None if self.users is None else embeddings.dense(self.users, DIM),
            exponent=0.4,
            candidates=candidates,
            choice_bias=choice_bias,
            pool=POOL,
            seed=1234567,
            power=power,
        )
        self.squares_before = {
            "items": embeddings.dense(self.rows, DIM, "squares"),
            "bias": self.items.bias_squares.astype(float),
        }
        if self.users is not None:
            self.squares_before["users"] = embeddings.dense(self.users, DIM, "squares")
        order = rng.permutation(np.flatnonzero(data.user_degrees()))
        batches = cut_batches(order, data.user_degrees())
        assert 1 < batches.starts.size - 1 <= GROUPS
        groups = [part.tolist() for part in np.split(order, batches.starts[1:-1])]
        self.item_sums = every_other_row(33)
        self.user_sums = None if self.users is None else every_other_row(data.n_users)
        self.item_reg = rng.uniform(0.0, 0.02, 33).astype(np.float32)
        self.workspace = workspace(
            self.item_reg, DIM, self.users is None, candidates, POOL, 600, 600 * 2 * 5
        )
        step = Step(
            np.float32(LEARNING_RATE),
            np.float32(REG),
            np.float32(self.params.exponent),
            np.int64(8 * power),
            steepest_slope(int(8 * power)),
            np.int64(candidates),
            np.float32(choice_bias),
            np.uint64(self.params.seed),
        )
        args = (
            0, 1, batches, Histories(data.indptr, data.items), self.items, self.users, step,
            self.workspace, self.item_sums, self.user_sums,
        )  # fmt: skip
        if threads is None:
            train_batches(0, 1, *args)
        else:
            with thread_count(threads):
                run_parallel(train_batches, *args)
        self.loss = self.workspace.turns.total_loss[0]
        self.triples = self.workspace.turns.total_triples[0]
        self.expected = [bpr.run_group(self.params, group, self.histories) for group in groups]

    @property
    def records(self) -> list[bpr.Record]:
        """The records in the order in which a row takes its steps."""
        return [record for group in self.expected for record in group.records]

    def changed(self) -> list[np.ndarray]:
        """All arrays that the kernels have changed, losses included."""
        users = () if self.users is None else (self.users.values, self.users.squares)
        sums = () if self.user_sums is None else (self.user_sums.sums,)
        turns = self.workspace.turns
        return [
            self.rows.values, self.rows.squares, self.items.bias, self.items.bias_squares, *users,
            self.item_sums.sums, *sums, turns.total_loss, turns.total_triples,
        ]  # fmt: skip


def every_other_row(n_rows: int) -> GradientAccumulator:
    """A gradient accumulator in which every other row is sampled."""
    slot = np.full(n_rows, -1, np.int32)
    slot[::2] = np.arange((n_rows + 1) // 2)
    return GradientAccumulator(slot, np.zeros(((n_rows + 1) // 2, DIM), np.float32))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[2]}-{case[1]}")
def case(request) -> tuple[str, int, float]:
    return request.param


@pytest.fixture(scope="module")
def batch(case) -> Batch:
    return Batch(*case)


def test_loss_and_number_of_triples(batch):
    assert batch.triples == sum(len(group.triples) for group in batch.expected)
    np.testing.assert_allclose(batch.loss, sum(group.loss for group in batch.expected), rtol=1e-5)


def test_the_cases_are_not_trivial(batch):
    positives = sum(map(len, batch.histories))
    assert 0.5 * positives < batch.triples < positives  # some find no negative
    negatives = {triple.negative for group in batch.expected for triple in group.triples}
    assert len(negatives) > 8


def test_no_negative_is_an_item_that_the_user_has(batch):
    for group in batch.expected:
        for user, positive, negative in group.triples:
            assert positive in batch.histories[user]
            assert negative not in batch.histories[user]


def test_records(batch):
    w, stored = batch.workspace, embeddings.mask(batch.rows, DIM)
    for g, group in enumerate(batch.expected):
        by_part = [
            [record for record in group.records if record.row // BLOCK % PARTS == part]
            for part in range(PARTS)
        ]
        assert np.diff(w.records.first[g]).tolist() == list(map(len, by_part))
        begins = [0]
        for r, record in enumerate(chain.from_iterable(by_part)):
            assert w.records.row[g, r] == record.row
            np.testing.assert_allclose(
                w.records.bias_gradient[g, r], record.bias_gradient, atol=1e-5
            )
            expected = record.gradient[stored[record.row]]
            gradient = w.records.gradient[g, begins[-1] : begins[-1] + expected.size]
            np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=2e-5)
            begins.append(begins[-1] + expected.size)
        assert w.records.begin[g].tolist() == [begins[r] for r in w.records.first[g, :-1]]


def test_item_rows_after_their_steps(batch):
    stored = embeddings.mask(batch.rows, DIM)
    values, squares = batch.params.items.copy(), batch.squares_before["items"]
    for record in batch.records:
        row = stored[record.row]
        after = values[record.row, row], squares[record.row, row]
        gradients.adagrad(*after, record.gradient[row], LEARNING_RATE, batch.item_reg[record.row])
        values[record.row, row], squares[record.row, row] = after
    np.testing.assert_allclose(embeddings.dense(batch.rows, DIM), values, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(embeddings.dense(batch.rows, DIM, "squares"), squares, rtol=1e-3)


def test_biases_after_their_steps(batch):
    bias, squares = batch.params.bias.copy(), batch.squares_before["bias"].copy()
    for record in batch.records:
        i = slice(record.row, record.row + 1)  # no penalty on biases
        gradients.adagrad(bias[i], squares[i], np.array([record.bias_gradient]), LEARNING_RATE, 0.0)
    np.testing.assert_allclose(batch.items.bias, bias, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(batch.items.bias_squares, squares, rtol=1e-3)


def test_user_rows_after_their_step(batch):
    if batch.users is None:
        return
    stored = embeddings.mask(batch.users, DIM)
    values, squares = batch.params.users.copy(), batch.squares_before["users"]
    for group in batch.expected:
        for user, gradient in group.user_gradients.items():
            row = stored[user]
            after = values[user, row], squares[user, row]
            reg = REG * len(batch.histories[user])
            gradients.adagrad(*after, gradient[row], LEARNING_RATE, reg)
            values[user, row], squares[user, row] = after
    np.testing.assert_allclose(embeddings.dense(batch.users, DIM), values, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(embeddings.dense(batch.users, DIM, "squares"), squares, rtol=1e-3)


def test_gradient_accumulators(batch):
    items, users = np.zeros((33, DIM)), np.zeros((batch.data.n_users, DIM))
    for record in batch.records:
        items[record.row] += record.accumulated
    np.testing.assert_allclose(batch.item_sums.sums, items[::2], rtol=1e-3, atol=2e-4)
    for group in batch.expected:
        for user, gradient in group.user_gradients.items():
            users[user] += gradient
    if batch.user_sums is not None:
        np.testing.assert_allclose(batch.user_sums.sums, users[::2], rtol=1e-3, atol=2e-4)


def test_three_threads_compute_the_same_to_the_bit(batch, case, three_cores):
    for one, other in zip(batch.changed(), Batch(*case, threads=3).changed(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_workspace_is_left_clean(batch):
    assert not batch.workspace.pools.seen.any()
    assert not batch.workspace.vectors.spare.any()


def test_what_is_accumulated_for_a_history_item_lacks_only_the_part_left_out():
    """With a long history that part is small: it is the error of the approximation."""
    group = Batch("history", 7).expected[0]
    error = [np.abs(record.accumulated - record.gradient).sum() for record in group.records]
    size = [np.abs(record.gradient).sum() for record in group.records]
    assert 0 < sum(error) < 0.35 * sum(size)
    for group in Batch("embedding", 7).expected:
        assert all((record.accumulated == record.gradient).all() for record in group.records)


def summed(params: bpr.Params, groups: list[bpr.Group]) -> dict[str, np.ndarray]:
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

    With a signed power below 1 most of them do: near the pole of its derivative, which is where
    no history has a weight stored, the kernels cut the derivative off.
    """
    triples = [triple for group in batch.expected for triple in group.triples]
    rng = np.random.default_rng(8)
    step = 1e-5
    for name, gradient in summed(batch.params, batch.expected).items():
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
                losses.append(bpr.bpr_loss(params, triples, batch.histories))
            slopes.append((losses[0] - losses[1]) / (2 * step))
            found.append(gradient[at])
        if batch.params.power == 1:
            np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-6)
        else:
            error = np.abs(np.subtract(found, slopes)) / np.abs(slopes)
            assert np.quantile(error, 0.6) < 1e-4
            assert error.max() < 0.3
