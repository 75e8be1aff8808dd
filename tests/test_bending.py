"""Powers by square roots: near the true power, odd, and 1 changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.bending import bend, slope

EIGHTHS = range(1, 9)


def slope_at(y: float, eighths: int) -> float:
    y = np.float32(y)
    return slope(y, bend(y, eighths), eighths)


@settings(deadline=None, max_examples=200)
@given(st.floats(-1e6, 1e6), st.sampled_from(EIGHTHS))
def test_bend_is_an_odd_power(y, eighths):
    expected = np.sign(y) * abs(y) ** (eighths / 8)
    assert bend(y, eighths) == pytest.approx(expected, rel=1e-14, abs=1e-300)
    assert bend(-y, eighths) == -bend(y, eighths)


@pytest.mark.parametrize("eighths", EIGHTHS)
def test_types_are_kept(eighths):
    assert isinstance(bend.py_func(np.float32(0.3), eighths), np.float32)
    assert bend(0.0, eighths) == 0.0
    assert bend(1.0, eighths) == 1.0
    assert bend(0.7, 8) == 0.7


@settings(deadline=None, max_examples=100)
@given(st.floats(0.0625, 100.0, width=32), st.sampled_from(EIGHTHS))
def test_slope_is_the_derivative(y, eighths):
    step = 1e-4 * y
    expected = (bend(y + step, eighths) - bend(y - step, eighths)) / (2 * step)
    assert slope_at(y, eighths) == pytest.approx(expected, rel=1e-3)
    assert slope_at(-y, eighths) == slope_at(y, eighths)


@pytest.mark.parametrize("eighths", EIGHTHS)
def test_slope_is_bounded(eighths):
    assert 0 < slope_at(0.0, eighths) == slope_at(0.01, eighths) < 35
