"""Id vocabularies: exact for every integer and string, never a wrong match."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.errors import InputError
from sparserec_np.vocabulary import (
    INT64_MAX,
    INT64_MIN,
    IntIds,
    RangeIds,
    StrIds,
    canonical,
    first_disorder,
    from_values,
    strings_from_bytes,
)

integers = st.integers(INT64_MIN, INT64_MAX)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@settings(deadline=None, max_examples=100)
@given(st.sets(integers, max_size=60), st.lists(integers, max_size=10))
def test_integers_round_trip_and_are_found(known: set[int], others: list[int]) -> None:
    vocabulary = from_values(known)
    assert isinstance(vocabulary, IntIds)
    assert vocabulary.take(np.arange(len(known))) == sorted(known)
    expected = {value: rank for rank, value in enumerate(sorted(known))}
    wanted = list(known) + others
    assert vocabulary.locate(wanted).tolist() == [expected.get(value, -1) for value in wanted]


@settings(deadline=None, max_examples=100)
@given(st.sets(texts, min_size=1, max_size=60), st.lists(texts, max_size=10), st.booleans())
def test_strings_round_trip_and_are_found(known: set[str], others: list[str], one: bool) -> None:
    vocabulary = from_values(known)
    assert isinstance(vocabulary, StrIds)
    assert vocabulary.take(range(len(known))) == sorted(known)
    expected = {value: rank for rank, value in enumerate(sorted(known))}
    wanted = list(known) + others
    # An id that is unknown as it stands is looked for as vocabularies have it.
    answer = [expected.get(value, expected.get(canonical(value), -1)) for value in wanted]
    if one:  # one by one: the binary search; together: the dict
        assert [int(vocabulary.locate([value])[0]) for value in wanted] == answer
    else:
        assert vocabulary.locate(wanted).tolist() == answer


def test_binary_search_over_many_strings() -> None:
    known = [f"user {n:05d}" for n in range(0, 4000, 2)]
    vocabulary = from_values(known)
    wanted = ["", "user 00000", "user 00001", "user 03998", "user 1", "zebra", "\ud800"]
    assert vocabulary.locate(wanted).tolist() == [-1, 0, -1, 1999, -1, -1, -1]


def test_order_is_that_of_code_points() -> None:
    known = ["", "a", "a\0", "é", "\uffff", "\U0001f600", "\U0010ffff"]
    assert from_values(reversed(known)).take(range(7)) == known


@pytest.mark.parametrize(
    "other", [True, 1.5, float("nan"), float("inf"), "1", None, 2**63, -(2**64)]
)
def test_what_is_no_integer_id_is_unknown(other: object) -> None:
    vocabulary = from_values([0, 1, INT64_MAX, INT64_MIN])
    assert vocabulary.locate([other, 1]).tolist() == [-1, 2]
    assert vocabulary.locate([other]).tolist() == [-1]


def test_integral_values_of_other_types_are_known() -> None:
    vocabulary = from_values(np.array([5, 7, 5], dtype=np.uint8))
    assert vocabulary.locate([np.int16(7), 5.0, np.float32(7)]).tolist() == [1, 0, 1]
    assert vocabulary.locate(np.array([7.0, 6.5])).tolist() == [1, -1]
    assert vocabulary.locate(np.array([7, 2**64 - 1], dtype=np.uint64)).tolist() == [1, -1]


@pytest.mark.parametrize("other", [1, b"a", None, 1.0])
def test_what_is_no_string_is_unknown(other: object) -> None:
    assert from_values(["1", "a"]).locate([other, "a"]).tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "a"], "types are: int, str"),
        ([True, 2], "bool"),
        ([1.5], "not fractions such as 1.5"),
        ([2**63], "9223372036854775808"),
        ([-(2**63) - 1, 0], "-9223372036854775809"),
        (np.array([2**64 - 1], dtype=np.uint64), "18446744073709551615"),
        (["ok", "bad \udc80"], r"U\+DC80"),
    ],
)
def test_unusable_ids_are_refused(values: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_values(values)  # type: ignore[arg-type]


def test_no_ids() -> None:
    vocabulary = from_values([])
    assert vocabulary.kind == "int" and len(vocabulary) == 0
    assert vocabulary.locate([1, 2]).tolist() == [-1, -1]
    assert vocabulary.take([]) == []


@pytest.mark.parametrize("positions", [[-1], [2], [0, 5]])
@pytest.mark.parametrize("values", [[1, 2], ["a", "b"]])
def test_positions_out_of_range_are_refused(values: list[object], positions: list[int]) -> None:
    with pytest.raises(IndexError, match=r"\[0, 2\)"):
        from_values(values).take(positions)


def test_text_becomes_an_id_of_the_right_kind() -> None:
    assert from_values([1]).parse(" -42 ") == -42
    assert from_values([1]).parse("1.0") == 1
    assert from_values(["a"]).parse(" 42 ") == "42"
    for text in ("", "x", "1.5", "1_000", "٣", "9" * 5000):
        with pytest.raises(InputError, match="integers"):
            from_values([1]).parse(text)


@settings(deadline=None, max_examples=100)
@given(st.integers(INT64_MIN, INT64_MAX - 9), st.integers(1, 10), st.lists(integers, max_size=4))
def test_a_range_is_like_its_values(start: int, count: int, others: list[int]) -> None:
    lazy, plain = RangeIds(start, count), from_values(range(start, start + count))
    assert lazy.values.tolist() == plain.values.tolist()  # type: ignore[attr-defined]
    assert len(lazy) == count and lazy.take(range(count)) == plain.take(range(count))
    wanted = [*range(start - 1, start + count + 1), INT64_MIN, INT64_MAX, *others, True, 0.5]
    assert lazy.locate(wanted).tolist() == plain.locate(wanted).tolist()


short = st.binary(max_size=3) | st.sampled_from([b"", b"\0", b"a" * 8, b"a" * 31, b"a" * 33])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(short, short).map(b"".join), min_size=1, max_size=8), st.booleans())
def test_disorder_is_found_where_it_is(texts: list[bytes], in_order: bool) -> None:
    texts = sorted(set(texts)) if in_order else texts
    falls = [p for p in range(1, len(texts)) if texts[p] <= texts[p - 1]]
    assert first_disorder(strings_from_bytes(texts)) == (falls[0] if falls else None)
