"""Streams of random numbers: one for each purpose and epoch, all from the seed.

No generator is carried along, so an epoch can be done again from the state before it: after a
crash, after an interrupt, or with a smaller step when it diverged.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Purposes of random numbers; the numbers are part of the algorithm."""

    SEED_ITEMS = 0
    FILL = 1
    ORDER = 2
    NEGATIVES = 3
    SAMPLE = 4


def generator(seed: int, purpose: Purpose, *epoch: int) -> np.random.Generator:
    """Return the generator of a purpose, or of a purpose in an epoch."""
    return np.random.default_rng([seed, int(purpose), *epoch])


def random_bits(seed: int, purpose: Purpose, *epoch: int) -> np.uint64:
    """Return 64 random bits, where counter-based random numbers of compiled code start."""
    sequence = np.random.SeedSequence([seed, int(purpose), *epoch])
    bits: np.uint64 = sequence.generate_state(1, np.uint64)[0]
    return bits
