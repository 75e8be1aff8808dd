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
