"""Sizes in bytes, as people write them."""

from __future__ import annotations

import pytest

from sparserec_np.errors import InputError
from sparserec_np.utils.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        (1, 1),
        ("2048", 2048),
        ("500KB", 500_000),
        ("500 kb", 500_000),
        ("500k", 500_000),
        ("1.5MB", 1_500_000),
        (" 1.5 MiB ", 1_572_864),
        ("1KiB", 1024),
        ("2GB", 2_000_000_000),
        ("1GiB", 1 << 30),
        ("12 B", 12),
    ],
)
def test_sizes_as_people_write_them(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "KB", "-1", -5, "1,5MB", "1TB", "10 mb/s", "1e6", "nan"])
def test_other_text_is_refused(text):
    with pytest.raises(InputError, match="is not a size: write it like 500KB"):
        parse_size(text)


@pytest.mark.parametrize("text", [0, "0", "0MB", "0.5"])
def test_sizes_below_one_byte_are_refused(text):
    with pytest.raises(InputError, match="must be above 0"):
        parse_size(text)
