"""Random bits for compiled code: a counter in, bits out, so there is no state to share.

A sequence is ``mix(start), mix(start + GOLDEN), mix(start + 2 * GOLDEN), ...``: the generator
splitmix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014). Work that runs in parallel starts from a place of its own.
"""

from __future__ import annotations

import numpy as np

from sparserec_np.utils.compiled import inline

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@inline
def mix(z):
    """Scramble 64 bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inline
def below(bits, n):
    """Turn 64 random bits into a number from 0 to n - 1, n < 2^32 (multiply and shift)."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))
