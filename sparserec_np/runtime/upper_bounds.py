"""Bounds that spare a request most of its weights, and never change its answer.

A vector ``x`` is split: its few *strong* dimensions, each more than ``STRONG`` of the length of
``x``, and the *weak* rest, which in a history holds most of the weights and little of the length.
What the rest adds to ``x . v_i`` is at most ``|x_weak| |v_i|``, by Cauchy and Schwarz, and at most
the largest weak dimension times ``|v_i|_1``, the sum of the sizes of the item's weights. The former
is the smaller one for items of many weights, the latter for those of a dozen. So

1. the strong dimensions alone give every item an approximate score;
2. the exact scores of the k items that lead by it bound the k-th best score from below;
3. an item whose approximate score does not reach that bound with ``radius |v_i|`` on top, or not
   with ``limit |v_i|_1`` on top, is none of the best; for the few others exact scores are computed,
   in the order that ``FORMAT.md`` sets.

Without compiled code the k-th best approximate score takes the place of 2: two rounds of exact
scores would cost more. It is a guess, so the k-th best exact score of 3 has to confirm it.

Approximate scores are in float32. Their rounding errors, and those of exact scores, are a part of
the bounds. With ``u = 2**-24`` and rows of at most ``dim`` weights, a sum of products and a bias in
float32 is off by at most ``gamma (|x| |v_i| + |b_i|)`` in whatever order it is added up, where
``gamma = n u / (1 - n u)`` and ``n = dim + 4`` (Higham, "Accuracy and Stability of Numerical
Algorithms", section 3.1); and ``|v_i|`` is at most ``|v_i|_1``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

STRONG = 0.028
"""Measured, at power 3/4: smaller makes more weights strong, larger leaves more exact scores."""

TINY = 1e-30  # far above what float32 loses where it underflows, far below any score


class Split(NamedTuple):
    """A vector's strong dimensions, and what is left.

    Attributes:
        strong: Dimensions that are summed for all items, int64 array, ascending.
        n_weak: Number of the other ones that are not zero.
        radius: What ``|v_i|`` is multiplied by: the length of the weak part, rounding included.
        limit: What ``|v_i|_1`` is multiplied by: what no weak dimension exceeds, likewise.
    """

    strong: npt.NDArray[np.int64]
    n_weak: int
    radius: float
    limit: float


def split(vector: npt.NDArray[np.float64]) -> Split:
    """Split a vector, float64 array of shape [dim], into what is summed and what is bounded."""
    square = float(vector @ vector)
    length = math.sqrt(square)
    limit = STRONG * length
    strong = (np.abs(vector) > limit).nonzero()[0]
    values = vector[strong]
    # A difference that cancels is off by less than the square of the rounding that is added.
    weak = math.sqrt(max(square - float(values @ values), 0.0))
    n_weak = int(np.count_nonzero(vector)) - len(strong)
    error = rounding(len(vector)) * length
    return Split(strong, n_weak, weak + error, limit + error)


def rounding(dim: int) -> float:
    """How far scores of a table of ``dim`` columns may be off, relative to lengths and biases.

    Twice ``gamma``, as both the approximate and the exact score may be off by it; and twice that,
    which leaves more than the roundings of the lengths and in the comparisons take.
    """
    return 4 * (dim + 8) * 2.0**-24


def upwards(norms: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Round to float32, never down."""
    upper: npt.NDArray[np.float32] = np.nextafter(norms.astype(np.float32), np.float32(np.inf))
    return upper
