"""The generator splitmix64 in Python's own integers."""

from __future__ import annotations

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """Scramble 64 bits."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & WORD
    return z ^ (z >> 31)


def below(bits: int, n: int) -> int:
    """Turn 64 random bits into a number from 0 to n - 1."""
    return (bits >> 32) * n >> 32
