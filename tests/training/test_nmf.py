"""The sparse NMF against its twin, scikit-learn's NMF, and a limit on memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reference import twins
from sklearn.decomposition import NMF

from sparserec_np.training import nmf
from sparserec_np.training.kernels.sparse_coding import (
    CODING_PASSES,
    Factor,
    Gram,
    empty_factor,
    empty_gram,
    half_sweep,
)
from sparserec_np.training.nmf import factorise
from sparserec_np.utils.parallel import thread_count

CLEAR_REFS = Path("/proc/self/clear_refs")


def to_dense(factor: Factor, dim: int) -> np.ndarray:
    out = np.zeros((factor.counts.size, dim))
    for row, n in enumerate(factor.counts):
        out[row, factor.dims[row, :n]] = factor.values[row, :n]
    return out


def normalised(data) -> np.ndarray:
    matrix = np.zeros((data.n_users, data.n_items))
    matrix[data.user_of_entry(), data.items] = 1.0
    degrees = np.outer(data.user_degrees(), data.item_degrees())
    return matrix / np.sqrt(np.maximum(degrees, 1))


def random_factor(rng: np.random.Generator, n_rows: int, dim: int, width: int) -> Factor:
    factor = empty_factor(n_rows, width)
    for row in range(n_rows):
        n = factor.counts[row] = rng.integers(0, width + 1)
        factor.dims[row, :n] = np.sort(rng.choice(dim, n, replace=False))
        factor.values[row, :n] = rng.uniform(0.1, 1.0, n)
    return factor


@pytest.fixture
def data():
    return twins.random_interactions(1, n_users=300, n_items=45, mean=8)


def gram_of(factor: Factor, dim: int) -> Gram:
    gram = empty_gram(dim)
    gram.products[:], gram.inverse[:] = 7.0, 7.0  # what an earlier sweep left there
    nmf._fill_gram(gram, factor)
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
    _, by_item = next(nmf._transposed(data, data.nnz))
    factor = empty_factor(data.n_users, 3)
    factor.dims[:], factor.counts[:] = np.arange(3), 3
    factor.values[:] = [0.5, 1e-8, 1e-8]
    one, tiny = np.ones(data.n_items, np.float32), np.full(data.n_users, 1e-30, np.float32)
    coded = empty_factor(data.n_items, 3)
    half_sweep(*by_item, one, tiny, factor, gram_of(factor, 3), coded)
    kept = np.arange(3) < coded.counts[:, None]
    assert (coded.values[kept] > 1e-12).all()  # so that no entry of G is zero
    assert (coded.values[~kept] == 0).all()


@pytest.mark.parametrize("most", [1, 60, 10_000])
def test_transposed(data, most):
    found = []
    for items, (indptr, users) in nmf._transposed(data, most):
        assert items.start == len(found)
        assert users.size <= most or items.stop == items.start + 1
        found += [part.tolist() for part in np.split(users, indptr[1:-1])]
    histories = twins.as_histories(data)
    assert found == [
        [user for user, had in enumerate(histories) if item in had] for item in range(data.n_items)
    ]


def test_the_factors_are_the_same_however_many_items_are_transposed_at_once(data, monkeypatch):
    def factors():
        how = {"user_width": 3, "item_width": 3, "sweeps": 4}
        return nmf.factorise(data, 8, rng=np.random.default_rng(1), **how)

    expected = factors()
    monkeypatch.setattr(nmf, "_AT_ONCE", 40)
    for one, other in zip(expected, factors(), strict=True):
        for array, again in zip(one, other, strict=True):
            assert array.tobytes() == again.tobytes()


@pytest.mark.parametrize("width", [1, 3, 16])
def test_half_sweep(rng, data, width):
    dim = 16
    factor = random_factor(rng, data.n_items, dim, 4)
    row_scale = nmf._inverse_root(data.user_degrees())
    column_scale = nmf._inverse_root(data.item_degrees())
    out = empty_factor(data.n_users, width)
    out.values[:] = 7.0  # what an earlier sweep left there
    gram = gram_of(factor, dim)
    half_sweep(data.indptr, data.items, row_scale, column_scale, factor, gram, out)
    codes, matrix, against = to_dense(out, dim), normalised(data), to_dense(factor, dim)
    for row in range(data.n_users):
        n = out.counts[row]
        assert (np.diff(out.dims[row, :n].astype(int)) > 0).all()
        assert (out.values[row, :n] > 0).all()
        assert (out.values[row, n:] == 0).all()
        expected = twins.code_row(matrix[row], against, width, CODING_PASSES)
        np.testing.assert_allclose(codes[row], expected, rtol=1e-3, atol=1e-4)


def test_half_sweep_gives_the_same_for_any_number_of_threads(rng):
    """Several tasks, which go to whoever is free."""
    data = twins.random_interactions(3, n_users=1500, n_items=45, mean=4)
    factor = random_factor(rng, data.n_items, 16, 4)
    scales = nmf._inverse_root(data.user_degrees()), nmf._inverse_root(data.item_degrees())
    codes = []
    for threads in (1, 2, 3):
        with thread_count(threads):
            codes.append(empty_factor(data.n_users, 4))
            gram = gram_of(factor, 16)
            half_sweep(data.indptr, data.items, *scales, factor, gram, codes[-1])
    for other in codes[1:]:
        for one, array in zip(codes[0], other, strict=True):
            assert one.tobytes() == array.tobytes()


def test_seed_users(data):
    degrees = data.item_degrees()
    dim_of_item = nmf._draw_seeds(degrees, 20, np.random.default_rng(3))
    scale = nmf._inverse_root(degrees)
    out = empty_factor(data.n_users, 3)
    nmf._seed_users(data.indptr, data.items, dim_of_item, scale, out)
    for row, had in enumerate(twins.as_histories(data)):
        seeds = [item for item in had if dim_of_item[item] >= 0]
        best = sorted(seeds, key=lambda item: -scale[item])[:3]
        n = out.counts[row]
        assert out.dims[row, :n].tolist() == dim_of_item[best].tolist()
        assert out.values[row, :n].tolist() == scale[best].tolist()


def test_seeds_are_items_that_somebody_has():
    degrees = np.array([0, 5, 0, 1, 2], np.int64)
    dims = nmf._draw_seeds(degrees, 4, np.random.default_rng(0))
    assert dims[[0, 2]].tolist() == [-1, -1]
    assert sorted(dims[[1, 3, 4]].tolist()) == [0, 1, 2]


def test_with_full_width_it_is_as_good_as_scikit_learn():
    data = twins.random_interactions(2, n_users=80, n_items=50, mean=8)
    matrix, dim = normalised(data), 8
    users, items = factorise(
        data, dim, user_width=dim, item_width=dim, sweeps=60, rng=np.random.default_rng(0)
    )
    error = np.linalg.norm(matrix - to_dense(users, dim) @ to_dense(items, dim).T)
    oracle = NMF(dim, init="nndsvda", max_iter=600, random_state=0)
    oracle_error = np.linalg.norm(matrix - oracle.fit_transform(matrix) @ oracle.components_)
    assert error < 1.03 * oracle_error


def test_supports_keep_tastes_apart():
    """Two disjoint tastes: no dimension is stored by items of both halves."""
    data = twins.checkerboard()
    _, items = factorise(
        data, 6, user_width=2, item_width=2, sweeps=8, rng=np.random.default_rng(4)
    )
    assert (items.counts > 0).all()
    stored = to_dense(items, 6) > 0
    assert not (stored[0::2].any(axis=0) & stored[1::2].any(axis=0)).any()


def test_items_that_nobody_has_stay_empty():
    data = twins.as_interactions([[0, 2], [0, 2], [2]], 4)
    users, items = factorise(
        data, 30, user_width=2, item_width=2, sweeps=3, rng=np.random.default_rng(0)
    )
    assert items.counts[[1, 3]].tolist() == [0, 0]
    assert (items.counts[[0, 2]] > 0).all()
    assert np.isfinite(users.values).all()
    assert np.isfinite(items.values).all()


def peak_memory(work: Callable[[], object]) -> int:
    """Bytes by which the process grew at most while it worked, compiled code included."""

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
    data = twins.as_interactions(items.tolist(), n)

    def work():
        rng = np.random.default_rng(0)
        factorise(data, dim, user_width=width, item_width=width, sweeps=2, rng=rng)

    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
    assert peak_memory(work) < 60e6
