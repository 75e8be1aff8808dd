"""Dynamic negative sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reference.randomness import GOLDEN, WORD, below, mix
from sparserec_np.training.kernels.negatives import DRAWS


def draw_pool(size: int, bits: int, n_items: int) -> tuple[list[int], int]:
    """Draw the items of a pool; return the next random bits as well."""
    pool = []
    for _ in range(size):
        bits = bits + GOLDEN & WORD
        pool.append(below(mix(bits), n_items))
    return pool, bits


def draw_negative(
    candidates: int,
    bits: int,
    history: list[int],
    n_items: int,
    pool: list[int],
    ranking: NDArray[np.float64],
) -> int:
    """Draw the best scored of consecutive pool items, or a uniform one; -1 where there is none.

    Args:
        candidates: Number of consecutive pool items; 1: uniform sampling, without a pool.
        bits: Random bits.
        history: Items of the user.
        n_items: Number of items.
        pool: Items of the pool.
        ranking: Score of each of them, -inf for an item of the history.
    """
    if candidates == 1:
        for _ in range(DRAWS):
            item = below(bits, n_items)
            if item not in history:
                return item
            bits = mix(bits + GOLDEN & WORD)
        return -1
    places = (below(bits, len(pool)) + np.arange(candidates)) % len(pool)
    best = places[np.argmax(ranking[places])]
    return -1 if ranking[best] == -np.inf else pool[best]
