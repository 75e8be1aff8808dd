"""The demonstration's data: seeded, and shaped like real ratings where it matters."""

from __future__ import annotations

import numpy as np
import pytest

from sparserec_np.data import synthetic


@pytest.fixture(scope="module")
def data() -> synthetic.DemoData:
    return synthetic.generate(seed=0)


def test_same_seed_same_data(data):
    again, other = synthetic.generate(seed=0), synthetic.generate(seed=1)
    assert (again.interactions.items == data.interactions.items).all()
    assert again.titles == data.titles
    assert again.interactions.nnz != other.interactions.nnz or again.titles != other.titles


def test_popularity_and_activity_are_long_tailed(data):
    by_item = np.sort(data.interactions.item_degrees())[::-1]
    assert by_item[: len(by_item) // 10].sum() > 0.3 * by_item.sum()
    by_user = data.interactions.user_degrees()
    assert by_user.max() > 5 * np.median(by_user)
    assert by_user.min() >= 8


def test_users_watch_the_kinds_that_they_are_fond_of(data):
    x = data.interactions
    kind = np.array(
        [synthetic.KINDS.index(data.kinds[i]) for i in x.item_ids.take(np.arange(x.n_items))]
    )
    users = np.repeat(np.arange(x.n_users), x.user_degrees())
    fond = data.tastes[users, kind[x.items]] > 0
    assert fond.mean() > 0.6  # three of twelve kinds: 0.25 by chance


def test_titles_are_different_and_every_film_has_one(data):
    assert len(set(data.titles.values())) == synthetic.N_ITEMS
    assert set(data.titles) == set(data.kinds) == set(range(1, synthetic.N_ITEMS + 1))


def test_every_interaction_has_a_time(data):
    times = data.interactions.times
    assert times is not None
    assert np.isfinite(times).all()
    assert (times > 0).all()
