"""The sparse NMF against the reference and scikit-learn's NMF, and its use of memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reference import interactions, sparse_coding
from sklearn.decomposition import NMF

from sparserec_np.data import Interactions
from sparserec_np.training import nmf
from sparserec_np.training.kernels.sparse_coding import (
    CODING_PASSES,
    ROWS_PER_TASK,
    Factor,
    Gram,
    Matrix,
    empty_factor,
    empty_gram,
    free_tasks,
    half_sweep,
)
from sparserec_np.training.nmf import factorize, fill_gram, transposed
from sparserec_np.utils.parallel import run_parallel, thread_count

CLEAR_REFS = Path("/proc/self/clear_refs")


def to_dense(factor: Factor, dim: int) -> np.ndarray:
    out = np.zeros((factor.counts.size, dim))
    for row, n in enumerate(factor.counts):
        out[row, factor.dims[row, :n]] = factor.values[row, :n]
    return out


def normalized(data) -> np.ndarray:
    matrix = np.zeros((data.n_users, data.n_items))
    matrix[data.user_of_entry(), data.items] = 1.0
    degrees = np.outer(data.user_degrees(), data.item_degrees())
    return matrix / np.sqrt(np.maximum(degrees, 1))


def inverse_root(degrees: np.ndarray) -> np.ndarray:
    return (1.0 / np.sqrt(np.maximum(degrees, 1))).astype(np.float32)


def by_user(data: Interactions) -> Matrix:
    scales = inverse_root(data.user_degrees()), inverse_root(data.item_degrees())
    return Matrix(data.indptr, data.items, *scales)


def random_factor(rng: np.random.Generator, n_rows: int, dim: int, width: int) -> Factor:
    factor = empty_factor(n_rows, width)
    for row in range(n_rows):
        n = factor.counts[row] = rng.integers(0, width + 1)
        factor.dims[row, :n] = np.sort(rng.choice(dim, n, replace=False))
        factor.values[row, :n] = rng.uniform(0.1, 1.0, n)
    return factor


@pytest.fixture
def data():
    return interactions.random_interactions(1, n_users=300, n_items=45, mean=8)


def gram_of(factor: Factor, dim: int) -> Gram:
    gram = empty_gram(dim)
    gram.products[:], gram.inverse[:] = 7.0, 7.0  # left there by an earlier sweep
    fill_gram(gram, factor)
    return gram


def test_gram(rng):
    factor = random_factor(rng, 50, 9, 4)
    factor.values[factor.dims == 3] = 0.0
    gram, dense = gram_of(factor, 9), to_dense(factor, 9)
    expected = dense.T @ dense
    np.testing.assert_allclose(gram.products, expected, rtol=1e-5, atol=1e-6)
    known = np.arange(9) != 3
    np.testing.assert_allclose(gram.inverse[known], 1 / expected.diagonal()[known], rtol=1e-5)
    assert gram.inverse[3] == 0


def test_values_whose_squares_vanish_are_not_kept(data):
    _, by_item = next(transposed(data, data.nnz))
    factor = empty_factor(data.n_users, 3)
    factor.dims[:], factor.counts[:] = np.arange(3), 3
    factor.values[:] = [0.5, 1e-8, 1e-8]
    one, tiny = np.ones(data.n_items, np.float32), np.full(data.n_users, 1e-30, np.float32)
    coded = empty_factor(data.n_items, 3)
    matrix = Matrix(*by_item, one, tiny)
    half_sweep(0, 1, free_tasks(data.n_items), matrix, factor, gram_of(factor, 3), coded)
    kept = np.arange(3) < coded.counts[:, None]
    assert (coded.values[kept] > 1e-12).all()  # so that no entry of G is zero
    assert (coded.values[~kept] == 0).all()


@pytest.mark.parametrize("most", [1, 60, 10_000])
def test_transposed(data, most):
    found = []
    for items, (indptr, users) in transposed(data, most):
        assert items.start == len(found)
        assert users.size <= most or items.stop == items.start + 1
        found += [part.tolist() for part in np.split(users, indptr[1:-1])]
    histories = interactions.as_histories(data)
    assert found == [
        [user for user, history in enumerate(histories) if item in history]
        for item in range(data.n_items)
    ]


def test_the_factors_are_the_same_however_many_items_are_transposed_at_once(data, monkeypatch):
    def factors():
        how = {"user_width": 3, "item_width": 3, "sweeps": 4}
        return factorize(data, 8, rng=np.random.default_rng(1), **how)

    expected = factors()
    monkeypatch.setattr(nmf, "TRANSPOSED_AT_ONCE", 40)
    for one, other in zip(expected, factors(), strict=True):
        for array, again in zip(one, other, strict=True):
            assert array.tobytes() == again.tobytes()


@pytest.mark.parametrize("width", [1, 3, 16])
def test_half_sweep(rng, data, width):
    dim = 16
    factor = random_factor(rng, data.n_items, dim, 4)
    out = empty_factor(data.n_users, width)
    out.values[:] = 7.0  # left there by an earlier sweep
    gram = gram_of(factor, dim)
    half_sweep(0, 1, free_tasks(data.n_users), by_user(data), factor, gram, out)
    codes, matrix, against = to_dense(out, dim), normalized(data), to_dense(factor, dim)
    for row in range(data.n_users):
        n = out.counts[row]
        assert (np.diff(out.dims[row, :n].astype(int)) > 0).all()
        assert (out.values[row, :n] > 0).all()
        assert (out.values[row, n:] == 0).all()
        expected = sparse_coding.code_row(matrix[row], against, width, CODING_PASSES)
        np.testing.assert_allclose(codes[row], expected, rtol=1e-3, atol=1e-4)


def test_half_sweep_gives_the_same_for_any_number_of_threads(rng, three_cores):
    """Several tasks, each done by the thread that is free."""
    data = interactions.random_interactions(3, n_users=1500, n_items=45, mean=4)
    assert data.n_users > 5 * ROWS_PER_TASK
    factor = random_factor(rng, data.n_items, 16, 4)
    results = []
    for threads in (1, 2, 3):
        with thread_count(threads):
            codes, gram = empty_factor(data.n_users, 4), gram_of(factor, 16)
            tasks = free_tasks(data.n_users)
            run_parallel(half_sweep, tasks, by_user(data), factor, gram, codes)
        assert (tasks == 1).all()
        results.append([array.tobytes() for array in (*codes, *gram)])
    assert results[0] == results[1] == results[2]


def seeded_users(data, dim: int, width: int) -> Factor:
    """Factor of the users at the start of a factorization; the first sweep does not change it."""
    rng = np.random.default_rng(3)
    return factorize(data, dim, user_width=width, item_width=1, sweeps=1, rng=rng)[0]


def test_users_start_with_the_rarest_seeds_of_their_history(data):
    dim, histories = 20, interactions.as_histories(data)
    users_of = [frozenset(np.flatnonzero([i in h for h in histories])) for i in range(data.n_items)]
    assert len(set(users_of)) == data.n_items  # so that a dimension's users name its seed
    with_all = to_dense(seeded_users(data, dim, dim), dim)
    seeds = [users_of.index(frozenset(np.flatnonzero(column))) for column in with_all.T]
    assert len(set(seeds)) == dim
    scale = inverse_root(data.item_degrees())
    out = seeded_users(data, dim, 3)
    for user, history in enumerate(histories):
        dims = [seeds.index(item) for item in history if item in seeds]
        best = sorted(dims, key=lambda c: -scale[seeds[c]])[:3]
        n = out.counts[user]
        assert out.dims[user, :n].tolist() == best
        assert out.values[user, :n].tolist() == [scale[seeds[c]] for c in best]


def test_seeds_are_items_that_somebody_has():
    data = interactions.as_interactions([[1], [1, 4], [1, 3], [1, 4], [1]], 5)
    users = to_dense(seeded_users(data, 4, 4), 4)
    assert sorted((users > 0).sum(axis=0).tolist()) == [0, 1, 2, 5]  # no fourth seed
    assert (users[:, 3] == 0).all()


def test_with_full_width_it_is_as_good_as_scikit_learn():
    data = interactions.random_interactions(2, n_users=80, n_items=50, mean=8)
    matrix, dim = normalized(data), 8
    users, items = factorize(
        data, dim, user_width=dim, item_width=dim, sweeps=60, rng=np.random.default_rng(0)
    )
    error = np.linalg.norm(matrix - to_dense(users, dim) @ to_dense(items, dim).T)
    oracle = NMF(dim, init="nndsvda", max_iter=600, random_state=0)
    oracle_error = np.linalg.norm(matrix - oracle.fit_transform(matrix) @ oracle.components_)
    assert error < 1.03 * oracle_error


def test_supports_keep_tastes_apart():
    """Two disjoint tastes: no dimension is stored by items of both halves."""
    data = interactions.checkerboard()
    _, items = factorize(
        data, 6, user_width=2, item_width=2, sweeps=8, rng=np.random.default_rng(4)
    )
    assert (items.counts > 0).all()
    stored = to_dense(items, 6) > 0
    assert not (stored[0::2].any(axis=0) & stored[1::2].any(axis=0)).any()


def test_items_that_nobody_has_stay_empty():
    data = interactions.as_interactions([[0, 2], [0, 2], [2]], 4)
    users, items = factorize(
        data, 30, user_width=2, item_width=2, sweeps=3, rng=np.random.default_rng(0)
    )
    assert items.counts[[1, 3]].tolist() == [0, 0]
    assert (items.counts[[0, 2]] > 0).all()
    assert np.isfinite(users.values).all()
    assert np.isfinite(items.values).all()


def peak_memory(work: Callable[[], object]) -> int:
    """Return the bytes by which the process grew at most, compiled code included."""

    def status(field: str) -> int:
        (line,) = [
            line for line in Path("/proc/self/status").read_text().splitlines() if field in line
        ]
        return int(line.split()[1]) * 1024

    if not CLEAR_REFS.exists():
        pytest.skip("the peak of a process's memory is told by Linux alone")
    CLEAR_REFS.write_text("5")  # forget the peak so far
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


def test_it_holds_no_dense_table():
    """dim^2 and the factors: 17 MB + 2 MB; tables of ``n x dim`` would take 500 MB."""
    n, dim, width = 30_000, 2048, 3
    rng = np.random.default_rng(0)
    items = np.sort(rng.integers(0, n // 2, (n, 2)) + np.array([0, n // 2]), axis=1)
    data = interactions.as_interactions(items.tolist(), n)

    def work():
        rng = np.random.default_rng(0)
        factorize(data, dim, user_width=width, item_width=width, sweeps=2, rng=rng)

    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
    assert peak_memory(work) < 60e6
