"""Upper bounds that spare a request most of its weights, and never change its answer.

As in MaxScore retrieval (H. Turtle, J. Flood, "Query evaluation: strategies and optimizations",
Information Processing & Management 31(6), 1995), the postings of a query ``x`` are split: those of
its few *essential* dimensions, each more than ``ESSENTIAL`` of the length of ``x``, are summed for
all items; the rest, which in a history holds most of the weights and little of the length, is
bounded. It adds to ``x . v_i`` at most ``|x_rest| |v_i|``, by Cauchy and Schwarz, and at most the
largest dimension of the rest times ``|v_i|_1``, the sum of the sizes of the item's weights. The
former is the smaller one for items of many weights, the latter for those of a dozen. So

1. the essential dimensions alone give every item an approximate score;
2. the exact scores of the k items that lead by it are a threshold, a lower bound of the k-th best;
3. an item whose approximate score does not reach the threshold with ``radius |v_i|`` on top, or not
   with ``limit |v_i|_1`` on top, is none of the best; for the few others exact scores are computed,
   in the order that ``FORMAT.md`` sets.

Without compiled code the k-th best approximate score takes the place of 2: two rounds of exact
scores would cost more. It is a guess, so the k-th best exact score of 3 has to confirm it.

Approximate scores are in float32. Their rounding errors, and those of exact scores, are a part of
the bounds. With ``u = 2**-24`` and rows of at most ``dim`` weights, a sum of products and a bias in
float32 is off by at most ``gamma (|x| |v_i| + |b_i|)`` in whatever order it is added up, where
``gamma = n u / (1 - n u)`` and ``n = dim + 4`` (N. Higham, "Accuracy and Stability of Numerical
Algorithms", section 3.1); and ``|v_i|`` is at most ``|v_i|_1``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

ESSENTIAL = 0.028
"""Measured, at power 3/4: smaller makes more weights essential, larger leaves more exact scores."""

TINY = 1e-30  # far above what float32 loses where it underflows, far below any score


class Split(NamedTuple):
    """The essential dimensions of a query, and bounds of the rest.

    Attributes:
        essential: Dimensions that are summed for all items, int64 array, ascending.
        n_rest: Number of the other ones that are not zero.
        radius: Factor of ``|v_i|``: the length of the rest, rounding included.
        limit: Factor of ``|v_i|_1``: no dimension of the rest exceeds it, rounding included.
    """

    essential: npt.NDArray[np.int64]
    n_rest: int
    radius: float
    limit: float


def split_query(vector: npt.NDArray[np.float64]) -> Split:
    """Split a query, float64 array of shape [dim], into what is summed and what is bounded."""
    square = float(vector @ vector)
    length = math.sqrt(square)
    limit = ESSENTIAL * length
    essential = (np.abs(vector) > limit).nonzero()[0]
    values = vector[essential]
    # A difference that cancels is off by less than the square of the rounding that is added.
    rest = math.sqrt(max(square - float(values @ values), 0.0))
    n_rest = int(np.count_nonzero(vector)) - len(essential)
    error = rounding(len(vector)) * length
    return Split(essential, n_rest, rest + error, limit + error)


def rounding(dim: int) -> float:
    """Return how far scores of ``dim`` columns may be off, relative to lengths and biases.

    Twice ``gamma``, as both the approximate and the exact score may be off by it; and twice that,
    which leaves more than the roundings of the lengths and in the comparisons take.
    """
    return 4 * (dim + 8) * 2.0**-24


def round_up(norms: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Round to float32, never down."""
    upper: npt.NDArray[np.float32] = np.nextafter(norms.astype(np.float32), np.float32(np.inf))
    return upper
