"""The interaction matrix built in memory: pairs, matrices, frames; merged, aligned, filtered."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sparserec_np.data import (
    Interactions,
    align,
    drop_rare,
    from_any,
    from_frame,
    from_matrix,
    from_pairs,
    merge,
)
from sparserec_np.errors import InputError
from sparserec_np.vocabulary import IntIds

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PAIRS = st.one_of(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40),
    st.lists(st.tuples(INT64, TEXT), max_size=20),
    st.lists(st.tuples(TEXT, INT64), max_size=20),
)
quick = settings(deadline=None, max_examples=60)


def pairs_of(interactions: Interactions) -> list[tuple[object, object]]:
    users = interactions.user_ids.take(interactions.user_of_entry())
    items = interactions.item_ids.take(interactions.items)
    return list(zip(users, items, strict=True))


def columns(pairs: list[tuple[object, object]]) -> tuple[list[object], list[object]]:
    return [user for user, _ in pairs], [item for _, item in pairs]


def check_layout(interactions: Interactions) -> None:
    assert interactions.indptr.dtype == np.int64
    assert interactions.items.dtype == np.int32
    assert interactions.indptr[0] == 0
    assert interactions.indptr[-1] == interactions.nnz
    assert len(interactions.indptr) == interactions.n_users + 1
    for start, end in zip(interactions.indptr[:-1], interactions.indptr[1:], strict=True):
        assert np.all(np.diff(interactions.items[start:end]) > 0)


@quick
@given(PAIRS)
def test_pairs_are_kept_once_and_sorted(pairs: list[tuple[object, object]]) -> None:
    interactions = from_pairs(*columns(pairs))
    check_layout(interactions)
    assert pairs_of(interactions) == sorted(set(pairs))


@quick
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


def test_degrees_count_users_and_items() -> None:
    interactions = from_pairs([0, 0, 2], [7, 8, 8])
    np.testing.assert_array_equal(interactions.user_degrees(), [2, 1])
    np.testing.assert_array_equal(interactions.item_degrees(), [1, 2])
    assert interactions.item_degrees().dtype == np.int64


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
        ([1.0, 0.0, 2.0, 3.0, -3.0], ([0, 0, 2, 1, 1], [3, 1, 0, 1, 1])), shape=(4, 5)
    )
    interactions = from_matrix(matrix)
    assert (interactions.n_users, interactions.n_items) == (4, 5)
    assert pairs_of(interactions) == [(0, 3), (2, 0)]  # 3 and -3 in one place sum to nothing
    check_layout(interactions)


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


def test_anything_that_holds_interactions() -> None:
    pandas = pytest.importorskip("pandas")
    expected = [(1, 3), (2, 4)]
    interactions = from_pairs([1, 2], [3, 4])
    assert from_any(interactions) is interactions
    for data in (
        ([1, 2], [3, 4]),
        ([1, 2], [3, 4], [0.5, 0.6]),
        np.array([[1, 3], [2, 4]]),
        pandas.DataFrame({"user": [1, 2], "item": [3, 4]}),
        pandas.DataFrame([[1, 3], [2, 4]]),
    ):
        assert pairs_of(from_any(data)) == expected
    assert pairs_of(from_any(sparse.eye_array(2))) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("data", [None, 5, [], {"user": [1]}, np.eye(3), object(), [1, 2]])
def test_anything_else_is_refused(data: object) -> None:
    with pytest.raises(InputError):
        from_any(data)


FRAMES = ["pandas", "polars", "polars lazy", "arrow"]


def make_frame(kind: str, columns: dict[str, list[object]]) -> object:
    if kind == "pandas":
        return pytest.importorskip("pandas").DataFrame(columns)
    if kind == "arrow":
        return pytest.importorskip("pyarrow").table(columns)
    polars = pytest.importorskip("polars")
    return polars.DataFrame(columns) if kind == "polars" else polars.LazyFrame(columns)


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind: str) -> None:
    from datetime import datetime

    frame = make_frame(
        kind,
        {
            "timestamp": [datetime(2020, 1, day) for day in (1, 2, 3, 4)],
            "movieId": ["007", "b", "b", "b"],
            "userId": [5, 5, 3, 5],
            "rating": [4.0, 1.0, 5.0, 4.5],
        },
    )
    interactions = from_frame(frame, min_rating=2, with_times=True)
    assert pairs_of(interactions) == [(3, "b"), (5, "007"), (5, "b")]
    np.testing.assert_array_equal(interactions.times, np.array([3, 1, 4]) * 86400 + 1577750400)
    report = interactions.report
    assert (report.rows, report.below_min_rating, report.duplicates) == (4, 1, 0)
    assert str(report.columns[0]) == "user=userId item=movieId rating=rating time=timestamp"


@pytest.mark.parametrize("kind", FRAMES)
def test_bad_rows_of_frames(kind: str) -> None:
    frame = make_frame(
        kind,
        {
            "user": [1, None, 3, 4],
            "item": ["a", "b", " ", "d"],
            "rating": [1.0, 2.0, 3.0, None],
        },
    )
    with pytest.raises(InputError, match=r"row 2: no user id in column 'user'.*on_bad_rows"):
        from_frame(frame)
    interactions = from_frame(frame, on_bad_rows="skip")
    assert pairs_of(interactions) == [(1, "a")]
    assert interactions.report.bad_rows == 3
    assert [row.place for row in interactions.report.bad_examples] == ["row 2", "row 3", "row 4"]


def test_frames_that_cannot_be_used() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1], "item": [1], "rating": ["good"], "date": ["x"]})
    with pytest.raises(InputError, match="'rating' holds no numbers"):
        from_frame(frame)
    with pytest.raises(InputError, match="no column 'who'"):
        from_frame(frame, user_col="who")
    with pytest.raises(InputError, match="no usable row"):
        from_frame(pandas.DataFrame({"user": [], "item": []}))


@quick
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


@quick
@given(PAIRS, PAIRS)
def test_merging_is_reading_both_as_one(first, second) -> None:
    merged = merge(from_pairs(*columns(first)), from_pairs(*columns(second)))
    check_layout(merged)

    both = []
    for values in (a + b for a, b in zip(columns(first), columns(second), strict=True)):
        mixed = any(isinstance(value, str) for value in values)
        both.append([str(value) for value in values] if mixed else values)
    assert pairs_of(merged) == sorted(set(zip(*both, strict=True)))


def test_merging_keeps_the_later_time() -> None:
    first = from_pairs([1, 2], [1, 1], [5.0, 6.0])
    second = from_pairs([1], [1], [7.0])
    np.testing.assert_array_equal(merge(first, second).times, [7.0, 6.0])
    assert merge(first, from_pairs([1], [1])).times is None


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


def test_importing_interactions_loads_nothing_heavy() -> None:
    code = (
        "import sys, sparserec_np.data as x; x.from_pairs([1], [2]);"
        "print({'duckdb', 'scipy', 'pandas', 'polars', 'narwhals', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
