"""Cutting users into groups and batches, and the weights of long histories."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import batches, embeddings, interactions

from sparserec_np.training.kernels.arrays import Histories
from sparserec_np.training.kernels.batches import GROUP_POSITIVES, cut_batches, most_weights

DIM = 12


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 700), max_size=70), st.randoms(use_true_random=False))
def test_groups_are_those_of_the_reference(degrees, random):
    order = list(range(len(degrees)))
    random.shuffle(order)
    order, degrees = np.array(order, np.int64), np.array(degrees, np.int64)
    starts = cut_batches(order, degrees).starts
    groups = [part.tolist() for part in np.split(order, starts[1:-1])] if order.size else []
    assert starts[-1] == order.size
    assert groups == batches.cut_groups(order, degrees)


def test_the_largest_groups_of_a_batch_have_the_first_turns():
    positives = [305, 302, 309, 301, 301, 301, 301, 301, 304, 303, 303]
    degrees = np.array([150, 152, *positives], np.int64)  # the first group has two users
    assert 302 <= GROUP_POSITIVES < 2 * 301
    cut = cut_batches(np.arange(degrees.size), degrees)
    assert cut.starts.tolist() == [0, *range(2, degrees.size + 1)]
    assert cut.turns.tolist() == [[3, 1, 0, 2, 4, 5, 6, 7], [1, 2, 3, 0, 4, 5, 6, 7]]


@pytest.mark.parametrize("above", [0, 6, 20])
def test_most_weights(above):
    data = interactions.random_interactions(4, n_users=50, n_items=20, mean=6)
    rows = embeddings.random_rows(np.random.default_rng(4), 20, DIM, 5)
    long = [history for history in interactions.as_histories(data) if len(history) > above]
    most = max((np.diff(rows.indptr)[history].sum() for history in long), default=0)
    assert most_weights(Histories(data.indptr, data.items), rows.indptr, above) == most
