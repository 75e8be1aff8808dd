"""Interactions as pairs of ids, and back."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sparserec_np.data import Interactions
from sparserec_np.data.values import MISSING_IDS, is_missing
from sparserec_np.vocabulary import canonical

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5
).filter(lambda text: canonical(text) == text and not is_missing(text, MISSING_IDS))
PAIRS = st.one_of(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40),
    st.lists(st.tuples(INT64, TEXT), max_size=20),
    st.lists(st.tuples(TEXT, INT64), max_size=20),
)


def columns(pairs: list[tuple[object, object]]) -> tuple[list[object], list[object]]:
    """Return the users and the items of pairs."""
    return [user for user, _ in pairs], [item for _, item in pairs]


def pairs_of(interactions: Interactions) -> list[tuple[object, object]]:
    """Return the ids of user and item of each entry."""
    users = interactions.user_ids.take(interactions.user_of_entry())
    items = interactions.item_ids.take(interactions.items)
    return list(zip(users, items, strict=True))


def check_layout(interactions: Interactions) -> None:
    """Fail unless rows are what :class:`Interactions` says of them."""
    assert interactions.indptr.dtype == np.int64
    assert interactions.items.dtype == np.int32
    assert interactions.indptr[0] == 0
    assert interactions.indptr[-1] == interactions.nnz
    assert len(interactions.indptr) == interactions.n_users + 1
    for start, end in zip(interactions.indptr[:-1], interactions.indptr[1:], strict=True):
        assert np.all(np.diff(interactions.items[start:end]) > 0)
