"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re

from sparserec_np.errors import InputError

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmg", start=1):
    _UNITS[_letter] = _UNITS[f"{_letter}b"] = 1000**_power
    _UNITS[f"{_letter}ib"] = 1024**_power


def parse_size(size: int | str) -> int:
    """Turn a size into bytes: KB, MB, GB are powers of 1,000; KiB, MiB, GiB powers of 1,024.

    >>> parse_size("500KB"), parse_size("1.5 MiB"), parse_size(2048)
    (500000, 1572864, 2048)

    Raises:
        InputError: ``size`` is not a size, or not above 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(size).lower())
    if match is None or match[2] not in _UNITS:
        raise InputError(f"{size!r} is not a size: write it like 500KB, 1MB or 1MiB")
    n_bytes = int(float(match[1]) * _UNITS[match[2]])
    if n_bytes < 1:
        raise InputError(f"a size must be above 0, not {size!r}")
    return n_bytes
