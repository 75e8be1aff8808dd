from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from reference import randomness

from sparserec_np.training.kernels.randomness import GOLDEN, below, mix


@njit
def scrambled(start, n):
    out = np.zeros(n, np.uint64)
    for t in range(n):
        out[t] = mix(start)
        start += GOLDEN
    return out


@njit
def numbers(bits, n):
    return np.array([below(b, n) for b in bits])


def test_splitmix64_gives_its_published_sequence():
    """The first outputs for seed 1234567 of the reference implementation."""
    seed = np.uint64((1234567 + 0x9E3779B97F4A7C15) % 2**64)
    assert scrambled(seed, 3).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**64 - 1), st.integers(1, 2**32 - 1))
def test_bits_and_numbers_are_those_of_the_reference(start, n):
    bits = scrambled(np.uint64(start), 4)
    assert bits.tolist() == [
        randomness.mix(start + t * randomness.GOLDEN & randomness.WORD) for t in range(4)
    ]
    drawn = numbers(bits, n).tolist()
    assert drawn == [randomness.below(int(b), n) for b in bits]
    assert all(0 <= d < n for d in drawn)


def test_numbers_are_uniform():
    drawn = numbers(scrambled(np.uint64(7), 70_000), 7)
    counts = np.bincount(drawn, minlength=7)
    assert counts.size == 7
    assert np.abs(counts - 10_000).max() < 400  # some four standard deviations
