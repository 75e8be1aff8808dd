from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.training.kernels.selection import ABS, NEVER, threshold

MAGNITUDES = st.one_of(
    st.integers(-3, 3).map(float),  # ties and zeros, -0.0 among them
    st.just(-0.0),
    st.floats(-100, 100, width=32),
    st.floats(0, 2.0**-126, width=32),  # subnormal
)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(MAGNITUDES, min_size=1, max_size=60),
    st.lists(st.booleans(), min_size=60, max_size=60),
    st.booleans(),
    st.data(),
)
def test_threshold_is_the_nth_of_the_sorted_magnitudes(values, hidden, largest, data):
    values = np.array(values, np.float32)
    hidden = np.array(hidden[: values.size])
    hidden[0] = False
    n = data.draw(st.integers(1, int((~hidden).sum())))
    bits = np.where(hidden, NEVER, values.view(np.uint32))
    key, ties = threshold(bits, n, largest)
    in_order = np.sort(np.abs(values[~hidden]))[:: -1 if largest else 1]
    found = np.array([key], np.uint32).view(np.float32)[0]
    assert found == in_order[n - 1]
    strictly = (in_order > found) if largest else (in_order < found)
    assert strictly.sum() + ties == n
    assert 1 <= ties <= (in_order == found).sum()


@pytest.mark.parametrize("largest", [False, True])
def test_threshold_among_many_values_that_share_their_upper_bits(rng, largest):
    values = (1.0 + rng.integers(0, 500, 5000) * np.float32(2.0**-23)).astype(np.float32)
    values *= rng.choice([-1, 1], values.size).astype(np.float32)
    for n in (1, 17, 2500, 5000):
        key, _ = threshold(values.view(np.uint32), n, largest)
        expected = np.sort(np.abs(values))[-n if largest else n - 1]
        assert np.uint32(key) & ABS == expected.view(np.uint32)
