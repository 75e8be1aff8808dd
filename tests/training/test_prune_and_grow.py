"""Prune and grow: exact counts, ties by index, no empty row, sorted, no duplicates."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import embeddings, prune_and_grow

from sparserec_np.training.kernels.arrays import Embeddings, GradientAccumulator
from sparserec_np.training.prune_and_grow import (
    empty_accumulator,
    explore,
    new_accumulator,
    sample_rows,
)

SQUARE = 0.01


@st.composite
def cases(draw):
    """Embeddings and gradient sums with many equal magnitudes, zeros and signs of both kinds."""
    n_rows, dim = draw(st.integers(1, 8)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    rows = embeddings.random_rows(rng, n_rows, dim, draw(st.integers(1, dim)))
    sampled = np.flatnonzero(rng.random(n_rows) < draw(st.sampled_from([0.0, 0.5, 1.0])))
    slot = np.full(n_rows, -1, np.int32)
    slot[sampled] = np.arange(sampled.size)
    lines = sampled.size + draw(st.integers(0, 2))  # rows may be fewer than there are lines
    sums = np.zeros((lines, dim), np.float32)
    sums[: sampled.size] = rng.integers(-2, 3, (sampled.size, dim))
    if draw(st.booleans()):
        rows.values[:] = rng.integers(-2, 3, rows.values.size)
    return rows, GradientAccumulator(slot, sums), draw(st.floats(0.0, 0.95))


def copy(rows: Embeddings) -> Embeddings:
    return Embeddings(*(array.copy() for array in rows))


@settings(deadline=None, max_examples=250)
@given(cases())
def test_explore(case):
    rows, accumulator, share = case
    dim, nnz = accumulator.sums.shape[1], rows.values.size
    before = copy(rows)
    expected, expected_moves = prune_and_grow.explore(
        before, accumulator.slot, accumulator.sums.copy(), share, SQUARE
    )
    result, moved = explore(rows, accumulator, share, SQUARE)

    assert moved == expected_moves
    for array, other in zip(result, expected, strict=True):
        assert array.tolist() == other.tolist()
    embeddings.check_rows(result, dim, nnz)
    was, now = embeddings.mask(before, dim), embeddings.mask(result, dim)
    assert (now & ~was).sum() == (was & ~now).sum() == moved
    assert (accumulator.slot[np.nonzero(now & ~was)[0]] >= 0).all()
    assert (embeddings.dense(result, dim)[now & ~was] == 0).all()
    stayed = now & was
    assert (embeddings.dense(result, dim)[stayed] == embeddings.dense(before, dim)[stayed]).all()
    for array, original in zip(rows[:2], before[:2], strict=True):  # the old positions stay
        assert array.tolist() == original.tolist()


def test_the_largest_weight_of_a_row_is_never_pruned():
    rows = Embeddings(
        np.array([0, 2, 3]), np.array([0, 1, 2], np.uint16),
        np.array([1e-6, 1e-5, 5.0], np.float32), np.ones(3, np.float32),
    )  # fmt: skip
    accumulator = GradientAccumulator(np.array([0, 1], np.int32), np.ones((2, 4), np.float32))
    result, moved = explore(rows, accumulator, 0.95, SQUARE)
    assert moved == 1
    assert result.dims.tolist() == [1, 2, 2]
    assert result.values.tolist() == np.array([1e-5, 0.0, 5.0], np.float32).tolist()
    assert result.squares.tolist() == np.array([1.0, SQUARE, 1.0], np.float32).tolist()


def test_nothing_to_grow_and_nothing_sampled(rng):
    rows = embeddings.random_rows(rng, 6, 5, 3)
    result, moved = explore(rows, empty_accumulator(6, 5), 0.5, SQUARE)
    assert (moved, result) == (0, rows)
    silent = GradientAccumulator(np.arange(6, dtype=np.int32), np.zeros((6, 5), np.float32))
    result, moved = explore(rows, silent, 0.5, SQUARE)
    assert (moved, result) == (0, rows)


def test_an_accumulator_has_at_least_one_line_and_at_most_one_a_row():
    assert new_accumulator(10_000, 64, 500).sums.shape == (500, 64)
    assert new_accumulator(10, 4096, 0).sums.shape == (1, 4096)
    assert new_accumulator(3, 8, 1000).sums.shape == (3, 8)


def test_sampling_is_by_degree_and_clears_the_sums(rng):
    degrees = np.array([0, 1, 1, 8, 0, 30], np.int64)
    accumulator = new_accumulator(6, 4, 2)
    counts = np.zeros(6)
    for _ in range(500):
        accumulator.sums[:] = 1.0
        sample_rows(accumulator, degrees, rng)
        chosen = np.flatnonzero(accumulator.slot >= 0)
        assert accumulator.slot[chosen].tolist() == [0, 1]
        assert not accumulator.sums.any()
        counts[chosen] += 1
    assert counts[[0, 4]].tolist() == [0, 0]
    assert counts[5] > counts[3] > 2 * counts[1]


def test_sampling_where_few_rows_have_interactions(rng):
    accumulator = new_accumulator(5, 4, 5)
    sample_rows(accumulator, np.array([0, 0, 3, 0, 1], np.int64), rng)
    assert accumulator.slot.tolist() == [-1, -1, 0, -1, 1]
    sample_rows(accumulator, np.zeros(5, np.int64), rng)
    assert (accumulator.slot == -1).all()
