"""Pairs in any order and in blocks of any size become the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.data import assembly
from sparserec_np.data.assembly import assemble
from sparserec_np.vocabulary import RangeIds

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 9)), max_size=60)


@settings(deadline=None, max_examples=150)
@given(pairs=PAIRS, block=st.sampled_from([1, 3, 8, 1000]), with_times=st.booleans())
def test_rows_are_sorted_and_each_pair_is_there_once(pairs, block, with_times):
    users, items, times = np.array(pairs, np.int64).reshape(-1, 3).T
    latest: dict[tuple[int, int], int] = {}
    for user, item, time in sorted(pairs, key=lambda pair: pair[2]):
        latest[user, item] = time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "BLOCK", block)
        rows, duplicates = assemble(
            users,
            items.astype(np.int32),
            RangeIds(0, 7),
            RangeIds(0, 5),
            times.astype(np.float64) if with_times else None,
        )
    found = list(zip(rows.user_of_entry().tolist(), rows.items.tolist(), strict=True))
    assert found == sorted(latest)
    assert duplicates == len(pairs) - len(latest)
    assert (rows.indptr.dtype, rows.items.dtype) == (np.int64, np.int32)
    assert rows.indptr[-1] == len(rows.items) == rows.nnz
    if with_times:
        assert rows.times.tolist() == [latest[pair] for pair in sorted(latest)]
    else:
        assert rows.times is None
