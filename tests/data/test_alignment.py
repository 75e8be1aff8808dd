"""Interactions in the numbering of other vocabularies."""

from __future__ import annotations

import numpy as np
import pytest
from support.interactions import pairs_of

from sparserec_np.data import align, from_pairs
from sparserec_np.errors import InputError
from sparserec_np.vocabulary import IntIds


def test_aligning_counts_what_is_unknown() -> None:
    train = from_pairs([10, 20, 30], [1, 2, 3])
    test = from_pairs([20, 20, 20, 40, 40], [3, 8, 9, 1, 8], [1.0, 2.0, 3.0, 4.0, 5.0])
    aligned = align(test, train.user_ids, train.item_ids)
    assert pairs_of(aligned.interactions) == [(20, 3)]
    np.testing.assert_array_equal(aligned.interactions.indptr, [0, 0, 1, 1])
    np.testing.assert_array_equal(aligned.interactions.times, [1.0])
    np.testing.assert_array_equal(aligned.unknown_items, [0, 2, 0])
    assert (aligned.unknown_users, aligned.distinct_unknown_items) == (1, 2)
    own_users = align(test, None, train.item_ids)
    np.testing.assert_array_equal(own_users.interactions.indptr, [0, 1, 2])
    np.testing.assert_array_equal(own_users.unknown_items, [2, 1])


def test_aligning_with_the_own_vocabularies_changes_nothing() -> None:
    data = from_pairs([10, 20, 20], [1, 2, 3], [1.0, 2.0, 3.0])
    for users in (None, data.user_ids):
        aligned = align(data, users, data.item_ids)
        assert pairs_of(aligned.interactions) == pairs_of(data)
        np.testing.assert_array_equal(aligned.interactions.times, data.times)
        np.testing.assert_array_equal(aligned.unknown_items, [0, 0])
        assert (aligned.unknown_users, aligned.distinct_unknown_items) == (0, 0)


def test_aligning_with_no_user_at_all_leaves_nothing() -> None:
    data = from_pairs([10, 20], [1, 2])
    aligned = align(data, IntIds(np.zeros(0, np.int64)), data.item_ids)
    assert aligned.interactions.nnz == 0
    assert aligned.unknown_users == 2


def test_aligning_matches_integers_with_text_that_reads_the_same() -> None:
    text = from_pairs(["1", "2", "x", "03"], [1, 1, 1, 1])
    numbers = from_pairs([1, 3], [1, 1])
    assert pairs_of(align(numbers, text.user_ids, text.item_ids).interactions) == [("1", 1)]
    assert pairs_of(align(text, numbers.user_ids, numbers.item_ids).interactions) == [(1, 1)]


def test_inputs_that_must_have_ids_in_common(caplog) -> None:
    names = ("the test data", "the model")
    known = from_pairs(range(40), range(40))
    with pytest.raises(
        InputError, match="none of the 2 item ids of the test data are in the model"
    ):
        align(from_pairs([1, 2], ["a", "b"]), known.user_ids, known.item_ids, names)
    with pytest.raises(InputError, match=r"none of the 2 user ids .* such as 100, .* such as 0"):
        align(from_pairs([100, 101], [1, 2]), known.user_ids, known.item_ids, names)
    align(from_pairs([1, 2], [1, 99]), known.user_ids, known.item_ids, names)
    assert not caplog.records
    few = from_pairs(range(40), [0, *range(100, 139)])
    align(few, known.user_ids, known.item_ids, names)
    (record,) = caplog.records
    assert "only 1 of the 40 item ids of the test data are in the model" in record.getMessage()
    assert "such as 100, the model such as 0" in record.getMessage()
