"""Pairs and sparse matrices become sorted rows with vocabularies of ids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from support.interactions import PAIRS, check_layout, columns, pairs_of

from sparserec_np.data import from_matrix, from_pairs
from sparserec_np.errors import InputError


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_pairs_are_kept_once_and_sorted(pairs: list[tuple[object, object]]) -> None:
    interactions = from_pairs(*columns(pairs))
    check_layout(interactions)
    assert pairs_of(interactions) == sorted(set(pairs))


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.randoms())
def test_the_order_of_arrival_does_not_matter(pairs, random) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    first, second = from_pairs(*columns(pairs)), from_pairs(*columns(shuffled))
    np.testing.assert_array_equal(first.indptr, second.indptr)
    np.testing.assert_array_equal(first.items, second.items)


def test_the_latest_time_of_a_repeated_pair_is_kept() -> None:
    interactions = from_pairs([1, 1, 1, 0], ["a", "b", "a", "a"], [5.0, 1.0, 3.0, 9.0])
    assert pairs_of(interactions) == [(0, "a"), (1, "a"), (1, "b")]
    np.testing.assert_array_equal(interactions.times, [9.0, 5.0, 1.0])


@pytest.mark.parametrize(
    ("users", "items", "times", "message"),
    [
        ([1, 2], [1], None, "2 users but 1 items"),
        ([1, "a"], [1, 2], None, "users: ids must be all integers or all strings"),
        ([1, None], [1, 2], None, "users: ids must be"),
        ([True, False], [1, 2], None, "users: ids must be"),
        ([b"a"], [1], None, "users: ids must be"),
        ([1], [2**63], None, "items: integer ids must fit in 64 bits"),
        (["\ud800"], [1], None, "surrogate"),
        (np.array([1.5, 2]), [1, 2], None, "users: ids must be integers or text, not fractions"),
        (np.array([np.nan, 2]), [1, 2], None, "users: some ids are missing"),
        (np.zeros((2, 2), int), [1, 2], None, "users has 2 dimensions"),
        ("abc", [1, 2, 3], None, "users is one text"),
        ([1], [1], ["x"], "times are not all numbers"),
        ([1], [1], [np.inf], "times holds NaN or infinite"),
        ([1], [1], [1, 2], "times has the shape (2,)"),
    ],
)
def test_pairs_that_cannot_be_used(users, items, times, message) -> None:
    with pytest.raises(InputError) as caught:
        from_pairs(users, items, times)
    assert message in str(caught.value)


def test_integral_floats_are_integer_ids() -> None:
    assert pairs_of(from_pairs(np.array([2.0, 1.0]), [4, 4])) == [(1, 4), (2, 4)]


def test_a_matrix_keeps_its_numbers() -> None:
    matrix = sparse.coo_array(
        (np.array([1, 0, 2, 128, 128], np.uint8), ([0, 0, 2, 1, 1], [3, 1, 0, 1, 1])), shape=(4, 5)
    )
    interactions = from_matrix(matrix)
    assert (interactions.n_users, interactions.n_items) == (4, 5)
    assert pairs_of(interactions) == [(0, 3), (1, 1), (2, 0)]  # 128 + 128 are 0 in 8 bits
    check_layout(interactions)
    both = sparse.coo_array(([3.0, -3.0], ([1, 1], [1, 1])), shape=(2, 2))
    with pytest.raises(InputError, match="Negative values"):  # the sum would be nothing
        from_matrix(both)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok"])
def test_any_sparse_form_and_dtype(form: str, rng: np.random.Generator) -> None:
    dense = rng.random((6, 9)) < 0.3
    for kind in (bool, np.int8, np.float32):
        interactions = from_matrix(sparse.csr_array(dense.astype(kind)).asformat(form))
        assert pairs_of(interactions) == [(int(u), int(i)) for u, i in np.argwhere(dense)]


def test_matrices_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="NaN"):
        from_matrix(sparse.csr_array([[1.0, np.nan]]))
    with pytest.raises(InputError, match=r"csr_array"):
        from_matrix(np.eye(3))
