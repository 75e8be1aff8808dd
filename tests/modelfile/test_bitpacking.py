"""Packed integers and monotone sequences: exact round trips, exact sizes, refusal of nonsense."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.modelfile import bitpacking


def read(low: np.ndarray, high: np.ndarray, low_bits: int, **where: int) -> list[int]:
    return [
        int(k) for part in bitpacking.decode_monotone(low, high, low_bits, **where) for k in part
    ]


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_packed_integers_round_trip(data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, bitpacking.MAX_BITS))
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=70))
    packed = bitpacking.pack_bits(np.array(values, dtype=np.uint64), bits)
    assert len(packed) == bitpacking.packed_bytes(len(values), bits)
    expected = sum(value << (i * bits) for i, value in enumerate(values))  # the definition
    assert int.from_bytes(packed.tobytes(), "little") == expected
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    assert bitpacking.unpack_bits(packed, bits, start, stop).tolist() == values[start:stop]


@pytest.mark.parametrize("bits", [1, 3, 6, 8, 11, 16, 33, 56])
def test_packed_integers_over_several_pieces(bits: int) -> None:
    count = 3 * bitpacking._PACK_PIECE + 5
    values = np.random.default_rng(bits).integers(0, 1 << bits, count, dtype=np.uint64)
    packed = bitpacking.pack_bits(values, bits)
    np.testing.assert_array_equal(bitpacking.unpack_bits(packed, bits, 0, count), values)
    start = bitpacking._PACK_PIECE - 3
    np.testing.assert_array_equal(
        bitpacking.unpack_bits(packed, bits, start, count - 1), values[start:-1]
    )


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.data())
def test_monotone_sequences_round_trip(values: list[int], data: st.DataObject) -> None:
    top = data.draw(st.sampled_from([1, 3, 100, 2**20, 2**63, 2**64]))
    keys = sorted(value % top for value in values)
    low_bits = bitpacking.choose_low_bits(len(keys), top)
    low, high = bitpacking.encode_monotone(np.array(keys, dtype=np.uint64), top, low_bits)
    assert len(low) == bitpacking.packed_bytes(len(keys), low_bits)
    assert len(high) == bitpacking.unary_bytes(len(keys), top, low_bits)
    assert read(low, high, low_bits, count=len(keys)) == keys


def test_a_long_sequence_and_its_size() -> None:
    universe = 84_000_000
    keys = np.unique(np.random.default_rng(0).integers(0, universe, 450_000))
    low_bits = bitpacking.choose_low_bits(len(keys), universe)
    low, high = bitpacking.encode_monotone(keys, universe, low_bits)
    parts = list(bitpacking.decode_monotone(low, high, low_bits, count=len(keys)))
    assert len(parts) > 2
    np.testing.assert_array_equal(np.concatenate(parts), keys)
    least = np.log2(universe / len(keys)) + np.log2(np.e)  # bits a key of the smallest code
    assert 8 * (len(low) + len(high)) / len(keys) < least + 0.56


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 999), min_size=1, max_size=80), st.integers(0, 8), st.data())
def test_a_range_is_read_alone(values: list[int], low_bits: int, data: st.DataObject) -> None:
    keys = sorted(values)
    low, high = bitpacking.encode_monotone(np.array(keys), 1000, low_bits)
    begin = data.draw(st.integers(0, 999))
    end = data.draw(st.integers(begin + 1, 1000))
    first, last = np.searchsorted(keys, [begin, end]).tolist()
    got = read(
        low, high, low_bits, first=first, count=last - first,
        start_bit=(begin >> low_bits) + first, stop_bit=(end - 1 >> low_bits) + last,
    )  # fmt: skip
    assert got == keys[first:last]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_some_ranges_are_read(data: st.DataObject) -> None:
    universe = data.draw(st.sampled_from([7, 1000, 10**6, 2**46]))
    keys = sorted(data.draw(st.sets(st.integers(0, universe - 1), max_size=300)))
    low_bits = data.draw(st.integers(0, bitpacking.choose_low_bits(max(len(keys), 1), universe)))
    low_bits = max(low_bits, universe.bit_length() - 20)  # or the unary vector is long
    low, high = bitpacking.encode_monotone(np.array(keys, dtype=np.int64), universe, low_bits)
    cuts = sorted(data.draw(st.sets(st.integers(0, universe), min_size=2, max_size=20)))
    begins, ends = np.array(cuts[: len(cuts) // 2 * 2], dtype=np.int64).reshape(-1, 2).T
    found: dict[int, int] = {}
    for some, places in bitpacking.decode_ranges(
        low, high, low_bits, count=len(keys), begins=begins, ends=ends
    ):
        assert len(some)
        found |= zip(places.tolist(), some.tolist(), strict=True)
    assert list(found) == sorted(found)
    assert all(keys[place] == key for place, key in found.items())
    wanted = {k for k in keys for b, e in zip(begins, ends, strict=True) if b <= k < e}
    assert wanted <= set(found.values())


def test_ranges_skip_what_they_do_not_need() -> None:
    keys = np.arange(0, 10**7, 100)
    low, high = bitpacking.encode_monotone(keys, 10**7, 6)
    begins = np.array([5_000, 5_000_000, 5_000_500, 9_999_900])
    parts = list(
        bitpacking.decode_ranges(low, high, 6, count=len(keys), begins=begins, ends=begins + 100)
    )
    found = np.concatenate([some for some, _ in parts])
    assert set(begins) <= set(found)
    assert len(found) < 2_000
    nothing = np.zeros(0, dtype=np.int64)
    assert not list(
        bitpacking.decode_ranges(low, high, 6, count=len(keys), begins=nothing, ends=nothing)
    )


def test_ranges_of_no_sequence_are_refused() -> None:
    everything = {"begins": np.array([0]), "ends": np.array([16])}
    low, high = bitpacking.encode_monotone(np.array([3, 9, 12]), 16, 2)
    for count in (2, 4):
        with pytest.raises(ValueError, match=f"3 keys, where {count} should be"):
            list(bitpacking.decode_ranges(low, high, 2, count=count, **everything))
    for keys in ([3, 2], [3, 3]):
        low, high = bitpacking.encode_monotone(np.array(keys), 4, 2)
        with pytest.raises(ValueError, match="not in ascending order"):
            list(bitpacking.decode_ranges(low, high, 2, count=2, **everything))


@settings(deadline=None, max_examples=100)
@given(st.integers(0, bitpacking.MAX_BITS), st.data())
def test_some_packed_integers_are_read(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=70))
    places = sorted(data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1)))
    packed = bitpacking.pack_bits(np.array(values, dtype=np.uint64), bits)
    got = bitpacking.unpack_at(packed, bits, np.array(places, dtype=np.int64))
    assert got.tolist() == [values[place] for place in places]


@pytest.mark.parametrize(
    ("keys", "universe"), [([], 0), ([], 10**6), ([0], 1), ([2**64 - 1], 2**64), ([5, 5, 5], 6)]
)
def test_corner_cases(keys: list[int], universe: int) -> None:
    low_bits = bitpacking.choose_low_bits(len(keys), universe)
    low, high = bitpacking.encode_monotone(np.array(keys, dtype=np.uint64), universe, low_bits)
    assert read(low, high, low_bits, count=len(keys)) == keys


def test_wrong_counts_and_falling_keys_are_refused() -> None:
    keys = np.array([3, 9, 12])
    low, high = bitpacking.encode_monotone(keys, 16, 2)
    with pytest.raises(ValueError, match="more than the 2 keys"):
        read(low, high, 2, count=2)
    with pytest.raises(ValueError, match="3 keys, where 4 should be"):
        read(low, high, 2, count=4)
    low, high = bitpacking.encode_monotone(np.array([3, 2]), 4, 2)  # same high part, low parts fall
    with pytest.raises(ValueError, match="not in ascending order"):
        read(low, high, 2, count=2)
