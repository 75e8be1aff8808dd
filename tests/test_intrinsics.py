"""Instructions that Numba has no name for, beside what they mean in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from sparserec_np.intrinsics import step_row
from sparserec_np.state import LANES


@njit
def step(values, squares, first, last, gradient, start, rate, reg):
    step_row(values, squares, first, last, gradient, start, rate, reg)


@pytest.mark.parametrize("length", [0, 1, 7, LANES - 1, LANES, LANES + 1, 3 * LANES + 5])
def test_a_row_is_stepped_to_the_bit_and_no_other(length):
    rng = np.random.default_rng(length)
    first, start, room = 5, 3, 4 * LANES
    values = rng.normal(size=first + room).astype(np.float32)
    squares = rng.uniform(0.01, 2, first + room).astype(np.float32)
    gradient = rng.normal(size=start + room).astype(np.float32)
    rate, reg = np.float32(0.1), np.float32(0.01)
    row = slice(first, first + length)
    g = gradient[start : start + length] + reg * values[row]
    expected_squares, expected = squares.copy(), values.copy()
    expected_squares[row] += g * g
    expected[row] -= rate * g / np.sqrt(expected_squares[row])
    step(values, squares, first, first + length, gradient, start, rate, reg)
    assert values.tobytes() == expected.tobytes()
    assert squares.tobytes() == expected_squares.tobytes()


def test_a_row_may_end_where_its_arrays_do():
    values, squares = np.ones(20, np.float32), np.ones(20, np.float32)
    step(values, squares, 17, 20, np.ones(3, np.float32), 0, np.float32(1), np.float32(0))
    assert (values[:17] == 1).all()
    assert (squares[17:] == 2).all()
