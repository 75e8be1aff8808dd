"""From factors to the embeddings that training starts from, against the reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import embeddings, initialization, randomness

from sparserec_np.training.initialization import starting_rows
from sparserec_np.training.kernels.sparse_coding import Factor
from sparserec_np.training.parameters import empty_embeddings

NORM, SQUARE, SEED = 0.3, 0.01, 99


@st.composite
def factors(draw):
    """A factor with many equal values and empty rows, its dimensions, and a budget that fits."""
    n_rows, dim = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    width = draw(st.integers(1, dim))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    counts = rng.integers(0, width + 1, n_rows).astype(np.int32)
    dims, values = np.zeros((n_rows, width), np.uint16), np.zeros((n_rows, width), np.float32)
    for row, n in enumerate(counts):
        dims[row, :n] = np.sort(rng.choice(dim, n, replace=False))
        values[row, :n] = rng.integers(1, 4, n)
    return Factor(dims, values, counts), dim, draw(st.integers(n_rows, n_rows * dim))


def filled(taken: set[int], row: int, dim: int, length: int) -> set[int]:
    """The positions of a row, filled up at random from where the row's bits begin."""
    bits = SEED + randomness.GOLDEN * dim * row
    while len(taken) < length:
        bits += randomness.GOLDEN
        d = randomness.below(randomness.mix(bits & randomness.WORD), dim)
        while d in taken:
            d = (d + 1) % dim
        taken.add(d)
    return taken


@settings(deadline=None, max_examples=150)
@given(factors())
def test_starting_rows(case):
    factor, dim, budget = case
    original = factor.values.copy()
    chosen = initialization.starting_entries(original, budget)
    lengths = initialization.level_up(chosen.sum(axis=1), dim, budget)
    rows = starting_rows(factor, dim, budget, NORM, SQUARE, np.uint64(SEED))

    embeddings.check_rows(rows, dim, budget)
    assert np.diff(rows.indptr).tolist() == lengths.tolist()
    assert (rows.squares == np.float32(SQUARE)).all()
    values = np.zeros((len(lengths), dim))
    for row in range(len(lengths)):
        kept = factor.dims[row, chosen[row]]
        values[row, kept] = original[row, chosen[row]]
        expected = filled(set(kept.tolist()), row, dim, lengths[row])
        assert rows.dims[rows.indptr[row] : rows.indptr[row + 1]].tolist() == sorted(expected)
    mean_square = (values**2).sum() / len(lengths)
    if mean_square > 0:
        values *= NORM / np.sqrt(mean_square)
    np.testing.assert_allclose(embeddings.dense(rows, dim), values, rtol=1e-5)


def test_wide_embeddings(rng):
    """Positions up to the last dimension that there can be."""
    factor = Factor(
        np.full((3, 1), 4095, np.uint16), np.ones((3, 1), np.float32), np.ones(3, np.int32)
    )
    rows = starting_rows(factor, 4096, 3 * 4096, 1.0, SQUARE, np.uint64(SEED))
    embeddings.check_rows(rows, 4096, 3 * 4096)
    assert np.flatnonzero(rows.values).tolist() == [4095, 8191, 12287]


def test_empty_embeddings():
    rows = empty_embeddings(3)
    assert rows.indptr.tolist() == [0, 0, 0, 0]
    assert rows.dims.dtype == np.uint16
    assert rows.values.size == rows.squares.size == rows.dims.size == 0
