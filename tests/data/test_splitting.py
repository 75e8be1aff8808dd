from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.data import Interactions, splitting
from sparserec_np.errors import InputError
from sparserec_np.vocabulary import IntIds


def make(rows: list[list[int]], *, times: list[float] | None = None) -> Interactions:
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    n_items = int(items.max(initial=-1)) + 1
    return Interactions(
        indptr,
        items,
        IntIds(np.arange(len(rows), dtype=np.int64)),
        IntIds(np.arange(n_items, dtype=np.int64)),
        None if times is None else np.array(times, dtype=np.float64),
    )


def pairs(interactions: Interactions) -> set[tuple[int, int]]:
    users = np.repeat(np.arange(interactions.n_users), interactions.user_degrees())
    return set(zip(users.tolist(), interactions.items.tolist(), strict=True))


def check_split(whole: Interactions, train: Interactions, held: Interactions) -> None:
    assert pairs(train) | pairs(held) == pairs(whole)
    assert not pairs(train) & pairs(held)
    assert train.nnz + held.nnz == whole.nnz
    assert (train.user_degrees() >= np.minimum(whole.user_degrees(), 1)).all()
    for part in (train, held):
        assert part.user_ids is whole.user_ids
        assert part.item_ids is whole.item_ids
        assert part.items.dtype == np.int32
        assert part.indptr.dtype == np.int64
        assert part.indptr[-1] == part.nnz
        for start, stop in zip(part.indptr[:-1], part.indptr[1:], strict=True):
            assert (np.diff(part.items[start:stop]) > 0).all()


histories = st.lists(st.sets(st.integers(0, 30), max_size=12).map(sorted), min_size=0, max_size=12)


@given(histories, st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(deadline=None, max_examples=80)
def test_hold_out_by_fraction_splits_every_interaction(rows, fraction, seed):
    whole = make(rows)
    check_split(whole, *splitting.hold_out(whole, fraction=fraction, seed=seed))


@given(histories, st.integers(1, 5), st.integers(0, 2**32))
@settings(deadline=None, max_examples=80)
def test_hold_out_by_count_takes_exactly_n_where_the_user_has_more(rows, n, seed):
    whole = make(rows)
    train, held = splitting.hold_out(whole, n=n, seed=seed)
    check_split(whole, train, held)
    degrees = whole.user_degrees()
    assert (held.user_degrees() == np.minimum(n, np.maximum(degrees - 1, 0))).all()


def test_hold_out_meets_the_fraction_on_average(rng):
    whole = make([sorted(rng.choice(50, size=6, replace=False)) for _ in range(4000)])
    _, held = splitting.hold_out(whole, fraction=0.1, seed=3)
    assert held.nnz / whole.nnz == pytest.approx(0.1, abs=0.005)
    assert set(held.user_degrees().tolist()) == {0, 1}


def test_hold_out_chooses_every_entry_of_a_row_alike():
    whole = make([list(range(5))] * 5000)
    _, held = splitting.hold_out(whole, n=1, seed=0)
    counts = np.bincount(held.items, minlength=5)
    assert (abs(counts - 1000) < 150).all()


def test_same_seed_same_split_whatever_the_block_size(monkeypatch, rng):
    whole = make([sorted(rng.choice(40, size=s, replace=False)) for s in range(30)])
    first = splitting.hold_out(whole, fraction=0.3, seed=7)[1]
    monkeypatch.setattr(splitting, "BLOCK", 25)
    again = splitting.hold_out(whole, fraction=0.3, seed=7)[1]
    other = splitting.hold_out(whole, fraction=0.3, seed=8)[1]
    assert pairs(first) == pairs(again)
    assert pairs(first) != pairs(other)


def test_times_go_with_their_interactions():
    whole = make([[1, 4, 6], [0, 2]], times=[10, 40, 60, 0, 20])
    for part in splitting.hold_out(whole, n=1, seed=1):
        assert (part.times == part.items * 10.0).all()


def test_leave_last_out_holds_the_latest():
    whole = make([[1, 4, 6], [0, 2], [5]], times=[10, 90, 60, 5, 1, 7])
    train, held = splitting.leave_last_out(whole)
    check_split(whole, train, held)
    assert pairs(held) == {(0, 4), (1, 0)}
    assert pairs(splitting.leave_last_out(whole, n=2)[1]) == {(0, 4), (0, 6), (1, 0)}


@given(rows=st.lists(st.integers(1, 12), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_hold_out_can_take_the_latest(rows, seed):
    times = np.random.default_rng(seed).permutation(sum(rows)).tolist()
    data = make([list(range(n)) for n in rows], times=times)
    train, held = splitting.hold_out(data, n=3, seed=seed, latest=True)
    expected = splitting.leave_last_out(data, n=3)
    for part, other in zip((train, held), expected, strict=True):
        assert part.items.tolist() == other.items.tolist()
        assert part.times.tolist() == other.times.tolist()


def test_of_equal_times_chance_decides(monkeypatch):
    data = make([list(range(20)) for _ in range(400)], times=[0.0] * 8000)
    _, held = splitting.hold_out(data, fraction=0.2, seed=3, latest=True)
    counts = np.bincount(held.items, minlength=20)
    assert held.nnz == 1600 and counts.min() > 45 and counts.max() < 120
    monkeypatch.setattr(splitting, "BLOCK", 70)
    again = splitting.hold_out(data, fraction=0.2, seed=3, latest=True)[1]
    assert again.items.tolist() == held.items.tolist()


def test_of_equal_times_the_larger_item_is_later():
    whole = make([[1, 4, 6]], times=[5, 5, 5])
    assert pairs(splitting.leave_last_out(whole)[1]) == {(0, 6)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either fraction or n"),
        ({"fraction": 0.1, "n": 1}, "either fraction or n"),
        ({"fraction": 0.0}, "between 0 and 1, not 0.0"),
        ({"fraction": 1.0}, "between 0 and 1, not 1.0"),
        ({"fraction": float("nan")}, "between 0 and 1, not nan"),
        ({"n": 0}, "at least 1, not 0"),
    ],
)
def test_hold_out_refuses_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        splitting.hold_out(make([[0, 1]]), **options)


def test_leave_last_out_needs_times():
    with pytest.raises(InputError, match="read with times"):
        splitting.leave_last_out(make([[0, 1]]))
    with pytest.raises(InputError, match="some have none"):
        splitting.leave_last_out(make([[0, 1]], times=[1, float("nan")]))


def cut(rows: list[tuple[object, object]], **options) -> list[tuple[list[int], list[int]]]:
    table = np.empty((len(rows), 2), dtype=object)
    table[:] = rows
    splits = splitting.InteractionSplit(**options).split(table)
    return [(train.tolist(), test.tolist()) for train, test in splits]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=60)
def test_rows_are_split_by_pair_and_no_user_is_lost(rows, fraction, n_splits):
    parts = cut(rows, fraction=fraction, n_splits=n_splits)
    assert len(parts) == n_splits
    for train, test in parts:
        assert sorted(train + test) == list(range(len(rows)))
        assert not {rows[n] for n in train} & {rows[n] for n in test}
        assert {rows[n][0] for n in train} == {user for user, _ in rows}


def test_splits_differ_and_come_again():
    rows = [(user, item) for user in "abcd" for item in range(20)]
    first, second = cut(rows, n_splits=2)
    assert len(first[1]) == len(second[1]) == 16
    assert first != second
    assert cut(rows, n_splits=2) == [first, second]
    assert cut(rows, seed=1) != [first]
    assert splitting.InteractionSplit(n_splits=7).get_n_splits(rows) == 7


@pytest.mark.parametrize(
    ("X", "kind"),
    [([(1, 2)], "list"), (([1], [2]), "tuple"), (make([[0]]), "Interactions"), ("a.csv", "str")],
)
def test_only_tables_are_split_by_rows(X, kind):
    with pytest.raises(InputError, match=f"the rows of a {kind} are no interactions"):
        next(splitting.InteractionSplit().split(X))


def test_what_a_splitter_refuses():
    with pytest.raises(InputError, match="between 0 and 1, not 1"):
        splitting.InteractionSplit(fraction=1)
    with pytest.raises(InputError, match="n_splits must be at least 1, not 0"):
        splitting.InteractionSplit(n_splits=0)
