"""The interaction matrix, and what it takes to build one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from sparserec_np.data import from_pairs, select_users


def test_degrees_count_users_and_items() -> None:
    interactions = from_pairs([0, 0, 2], [7, 8, 8])
    np.testing.assert_array_equal(interactions.user_degrees(), [2, 1])
    np.testing.assert_array_equal(interactions.item_degrees(), [1, 2])
    assert interactions.item_degrees().dtype == np.int64


def test_their_repr_is_a_line() -> None:
    interactions = from_pairs(["a"] * 1000 + ["b"], [*range(1000), 7])
    assert repr(interactions) == (
        "<sparserec_np.Interactions: 1,001 of 2 users and 1,000 items, without times>"
    )


def test_importing_interactions_loads_nothing_heavy() -> None:
    code = (
        "import sys, sparserec_np.data as x; x.from_pairs([1], [2]);"
        "print({'duckdb', 'scipy', 'pandas', 'polars', 'narwhals', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_hashes_of_ranges_of_users_add_up() -> None:
    users, items, times = [0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 1, 2], [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    whole = from_pairs(users, items, times)
    parts = [select_users(whole, np.array(some)) for some in ([0, 1], [2])]
    added = parts[0].fingerprint() + parts[1].fingerprint(users_before=2)
    assert added % (1 << 64) == whole.fingerprint()
    others = {from_pairs(users, items).fingerprint(), from_pairs(users, items, users).fingerprint()}
    assert whole.fingerprint() not in others and len(others) == 2
