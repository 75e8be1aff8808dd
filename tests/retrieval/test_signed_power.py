"""The signed power: the same bits with NumPy and compiled, and the values of the formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparserec_np.retrieval import signed_power as compiled
from sparserec_np.runtime import signed_power as plain

POWERS = [eighths / 8 for eighths in range(1, 9)]

some_power = st.sampled_from(POWERS)
vectors = arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e15, 1e15))


def bits(values: np.ndarray) -> list[int]:
    return values.view(np.int64).tolist()


@settings(deadline=None)
@given(vectors, some_power)
def test_compiled_and_numpy_give_the_same_bits(values, power):
    expected = plain.signed_power(values, power)
    found = values.copy()
    compiled.apply_signed_power(found, power)
    assert bits(found) == bits(expected)


@settings(deadline=None)
@given(vectors, some_power)
def test_it_is_the_power_with_the_sign(values, power):
    powered = plain.signed_power(values, power)
    np.testing.assert_allclose(powered, np.sign(values) * np.abs(values) ** power, rtol=1e-14)
    np.testing.assert_array_equal(powered, -plain.signed_power(-values, power))


@pytest.mark.parametrize("power", POWERS)
def test_short_floats_stay_short(rng, power):
    values = (100 * rng.standard_normal(50)).astype(np.float32)
    powered = values.copy()
    compiled.apply_signed_power(powered, power)
    assert powered.dtype == np.float32
    expected = plain.signed_power(values.astype(np.float64), power)
    np.testing.assert_allclose(powered, expected, rtol=1e-6)
    root, sizes = np.abs(values), np.ones_like(values)
    for bit in (8, 4, 2, 1):  # not one operation is in another precision
        sizes = sizes * root if round(8 * power) & bit else sizes
        root = np.sqrt(root)
    np.testing.assert_array_equal(powered, np.copysign(sizes, values))


@settings(deadline=None)
@given(vectors, some_power)
def test_the_ratio_times_the_value_is_the_power(values, power):
    ratio = plain.signed_power_ratio(values, power)
    np.testing.assert_allclose(ratio * values, plain.signed_power(values, power), rtol=1e-15)
    assert (ratio[values == 0] == (power == 1)).all()


def slope_at(y: float, power: float) -> float:
    y, eighths = np.float32(y), round(8 * power)
    return compiled.signed_power_slope(
        y, compiled.signed_power(y, eighths), eighths, compiled.steepest_slope(eighths)
    )


@settings(deadline=None)
@given(st.floats(0.0625, 100.0, width=32), some_power)
def test_slope_is_the_derivative(y, power):
    expected = power * y ** (power - 1)
    assert slope_at(y, power) == pytest.approx(expected, rel=1e-5)
    assert slope_at(-y, power) == slope_at(y, power)


@pytest.mark.parametrize("power", POWERS)
def test_slope_is_bounded(power):
    assert 0 < slope_at(0.0, power) == slope_at(0.01, power) < 35
