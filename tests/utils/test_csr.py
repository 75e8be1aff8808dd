"""Arithmetic on compressed sparse rows, against lists of lists."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sparserec_np.utils.csr import blocks_of_rows, entries_of_rows, indptr_from_counts

COUNTS = np.array([3, 0, 5, 1, 0, 0, 2])


def test_indptr_bounds_each_row():
    assert indptr_from_counts(COUNTS).tolist() == [0, 3, 3, 8, 9, 9, 9, 11]
    assert indptr_from_counts(COUNTS[:0]).tolist() == [0]


@pytest.mark.parametrize("rows", [[], [0], [1], [2, 0], [6, 1, 2, 2], list(range(7))])
def test_entries_are_those_of_the_rows_in_their_order(rows):
    indptr = indptr_from_counts(COUNTS)
    expected = [entry for row in rows for entry in range(indptr[row], indptr[row + 1])]
    assert entries_of_rows(indptr, np.array(rows, np.int64)).tolist() == expected


@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 100])
def test_blocks_are_consecutive_and_no_larger_than_allowed(most):
    indptr = indptr_from_counts(COUNTS)
    blocks = list(blocks_of_rows(indptr, most))
    assert [row for first, last in blocks for row in range(first, last)] == list(range(7))
    for first, last in blocks:
        assert last == first + 1 or indptr[last] - indptr[first] <= most
    for (first, _), (_, last) in pairwise(blocks):
        assert indptr[last] - indptr[first] > most  # no two of them would fit in one
