"""Neighbours: against the reference, for any threads, within memory and an exact number."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from reference import neighbours as reference

from sparserec_np.data import Interactions
from sparserec_np.data.synthetic import generate
from sparserec_np.modelfile.arrays import Neighbours
from sparserec_np.training import neighbours
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.neighbours import SWEEPS
from sparserec_np.training.neighbours import fit_neighbours
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.utils.parallel import thread_count
from sparserec_np.vocabulary import RangeIds


def config_of(reg: float, user: float = 0.5, degree: float = 0.0, candidates: int = 50) -> Config:
    return Config(
        neighbour_reg=reg,
        neighbour_user_exponent=user,
        neighbour_degree_exponent=degree,
        neighbour_candidates=candidates,
    )


def drawn(n_users: int, n_items: int, density: float, seed: int = 0) -> Interactions:
    """Return random interactions in which some items are popular, some users have none."""
    rng = np.random.default_rng(seed)
    likely = density * rng.random(n_items) * 2
    has = rng.random((n_users, n_items)) < likely
    has[::7] = False
    users, items = np.nonzero(has)
    indptr = indptr_from_counts(np.bincount(users, minlength=n_users))
    return Interactions(indptr, items.astype(np.int32), RangeIds(0, n_users), RangeIds(0, n_items))


def dense(data: Interactions) -> np.ndarray:
    out = np.zeros((data.n_users, data.n_items))
    out[data.user_of_entry(), data.items] = 1
    return out


def to_dense(found: Neighbours) -> np.ndarray:
    out = np.zeros((len(found), len(found)))
    out[np.repeat(np.arange(len(found)), np.diff(found.indptr)), found.items] = found.values
    return out


@pytest.mark.parametrize("exponents", [(0.5, 0.0), (0.0, 0.5), (0.3, 0.7)])
@pytest.mark.parametrize("most", [25, 10_000])
def test_the_fit_is_that_of_the_reference(exponents, most, monkeypatch):
    monkeypatch.setattr(neighbours, "_TARGETS", 16)  # more than one block
    data = drawn(60, 40, 0.2)
    user_exponent, degree_exponent = exponents
    config = config_of(2.0, user_exponent, degree_exponent, candidates=6)
    found = fit_neighbours(data, config, most)
    wanted = reference.fit(
        dense(data),
        most,
        width=6,
        user_exponent=user_exponent,
        degree_exponent=degree_exponent,
        reg=2.0,
        sweeps=SWEEPS,
    )
    np.testing.assert_allclose(to_dense(found), wanted, atol=1e-5)
    assert 0 < found.values.size <= most


def test_the_number_of_entries_is_exact_and_the_items_rise():
    found = fit_neighbours(drawn(200, 80, 0.1), config_of(1.0), 500)
    assert found.values.size == 500
    assert (found.values > 0).all()
    rows = np.repeat(np.arange(80), np.diff(found.indptr))
    keys = rows * 80 + found.items
    assert (np.diff(keys) > 0).all()
    assert (rows != found.items).all()


def test_ties_keep_an_exact_number():
    """Users alike in threes: all weights are the same."""
    items = (
        np.tile(np.arange(3, dtype=np.int32), (8, 1)) + 3 * np.arange(8, dtype=np.int32)[:, None]
    )
    data = Interactions(np.arange(0, 25, 3), items.ravel(), RangeIds(0, 8), RangeIds(0, 24))
    found = fit_neighbours(data, config_of(1.0), 7)
    assert found.values.size == 7


def test_no_interactions_have_no_neighbours():
    data = Interactions(
        np.array([0, 1, 2]), np.array([0, 1], np.int32), RangeIds(0, 2), RangeIds(0, 2)
    )
    assert fit_neighbours(data, config_of(1.0), 10).values.size == 0
    assert fit_neighbours(drawn(30, 10, 0.3), config_of(1.0), 0).values.size == 0


def test_any_number_of_threads_gives_the_same_bits():
    data = generate(seed=3).interactions
    results = []
    for threads in (1, 2):
        with thread_count(threads):
            results.append(fit_neighbours(data, config_of(5.0), 3000))
    first, second = results
    for name in ("indptr", "items", "values"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_users_of_everything_are_left_out(monkeypatch):
    monkeypatch.setattr(neighbours, "LONGEST_HISTORY", 3)
    data = Interactions(
        np.array([0, 4, 6]), np.array([0, 1, 2, 3, 2, 3], np.int32), RangeIds(0, 2), RangeIds(0, 4)
    )
    found = fit_neighbours(data, config_of(1.0), 100)
    assert np.argwhere(to_dense(found)).tolist() == [[2, 3], [3, 2]]


def test_memory_does_not_grow_with_the_candidates_of_all_items():
    n_items = 30_000
    data = drawn(300, n_items, 0.01)
    fit_neighbours(drawn(40, 30, 0.2), config_of(1.0), 10)  # compiled
    tracemalloc.start()
    with thread_count(1):
        fit_neighbours(data, config_of(1.0, candidates=100), 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n_items * 100 * 8 * 0.5  # of an item and a value for each candidate
