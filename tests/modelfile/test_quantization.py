"""Codebooks: least squares, deterministic, and never a zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sparserec_np.modelfile.quantization import assign, fit_levels

floats = st.floats(-1e6, 1e6, width=32)
arrays = npst.arrays(np.float32, st.integers(0, 60), elements=floats)


@settings(deadline=None, max_examples=150)
@given(arrays, st.integers(1, 8))
def test_levels_are_ascending_and_not_zero(values: np.ndarray, bits: int) -> None:
    levels = fit_levels(values, bits)
    assert levels.dtype == np.float32 and levels.shape == (1 << bits,)
    assert (np.diff(levels) >= 0).all() and (levels != 0).all() and np.isfinite(levels).all()
    codes = assign(values, levels)
    if len(values):
        nearest = np.abs(values[:, None].astype(np.float64) - levels).min(axis=1)
        np.testing.assert_array_equal(np.abs(values.astype(np.float64) - levels[codes]), nearest)


@settings(deadline=None, max_examples=60)
@given(arrays, st.integers(1, 6))
def test_quantising_twice_changes_nothing(values: np.ndarray, bits: int) -> None:
    levels = fit_levels(values, bits)
    once = levels[assign(values, levels)]
    again = fit_levels(once, bits)
    np.testing.assert_array_equal(again[assign(once, again)], once)


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0, 1.0], [-2.5], [3.0, 3.0]])
def test_few_values_are_kept_exactly(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    levels = fit_levels(array, 3)
    np.testing.assert_allclose(levels[assign(array, levels)], array, atol=1e-37)


def test_error_is_close_to_the_best_there_is(rng: np.random.Generator) -> None:
    values = rng.standard_normal(20_000).astype(np.float32)
    # Least mean squared errors of a normal variable: J. Max, IRE Trans. Inf. Theory 6(1), 1960.
    for bits, least in ((1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497), (5, 0.002499)):
        levels = fit_levels(values, bits)
        error = np.mean((values - levels[assign(values, levels)]) ** 2)
        assert error < 1.06 * least


def test_values_near_few_points_keep_them(rng: np.random.Generator) -> None:
    """As after a warm start: what was quantised once has moved a little since."""
    points = np.sort(rng.standard_normal(64)).astype(np.float32)
    often = rng.choice(64, 50_000, p=np.arange(1, 65) / 2080)
    values = points[often] + rng.normal(0, 1e-4, often.size).astype(np.float32)
    levels = fit_levels(values, 6)
    error = np.mean((values - levels[assign(values, levels)]) ** 2)
    assert error < 0.01 * np.mean(np.diff(points)) ** 2 / 12
