"""Some users are selected; rare users and items are dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.interactions import check_layout, columns, pairs_of

from sparserec_np.data import drop_rare, from_pairs, select_users
from sparserec_np.errors import InputError


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_rare_users_and_items_are_dropped_until_none_is_left(pairs, min_user, min_item) -> None:
    kept = set(pairs)
    while True:  # the definition, in plain Python
        users, items = [u for u, _ in kept], [i for _, i in kept]
        fewer = {
            (u, i) for u, i in kept if users.count(u) >= min_user and items.count(i) >= min_item
        }
        if fewer == kept:
            break
        kept = fewer
    interactions = from_pairs(*columns(pairs))
    if not kept:
        with pytest.raises(InputError, match="lower min_user_interactions"):
            drop_rare(interactions, min_user, min_item)
        return
    core = drop_rare(interactions, min_user, min_item)
    check_layout(core)
    assert pairs_of(core) == sorted(kept)
    assert core.n_users == len({u for u, _ in kept})
    assert core.n_items == len({i for _, i in kept})


def test_selected_users_keep_their_interactions() -> None:
    data = from_pairs([5, 5, 7, 9], ["a", "c", "b", "c"], [1.0, 2.0, 3.0, 4.0])
    some = select_users(data, np.array([0, 2]))
    check_layout(some)
    assert pairs_of(some) == [(5, "a"), (5, "c"), (9, "c")]
    assert some.times.tolist() == [1.0, 2.0, 4.0]
    assert some.item_ids is data.item_ids


def test_nothing_rare_nothing_changed() -> None:
    data = from_pairs([1, 1, 2, 2], [1, 2, 1, 2])
    assert drop_rare(data, 2, 2) is data
