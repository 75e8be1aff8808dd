"""Taste at request time: how popular, how diverse, how recent, and unlike what.

All of it is exact, and the order of operations is part of the contract (``FORMAT.md``, "Taste"), so
that readers in other languages give the same lists.
"""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparserec_np.errors import InputError

if TYPE_CHECKING:
    from sparserec_np.runtime.item_index import FloatArray, IntArray, ItemIndex
    from sparserec_np.runtime.neighbours import NeighbourIndex

POOL = 100
"""Items that diversity chooses from; twice as many as are wanted, where that is more."""


class Taste(NamedTuple):
    """Wishes of a request.

    Attributes:
        popularity: Factor of the item biases, 0 to 1; 1 is as learned.
        diversity: Weight of unlikeness to the items above, 0 to 1; 0 is none.
        recency: Stands for the model's own, a multiple of 1/8 from 0 to 1; None leaves that.
    """

    popularity: float = 1.0
    diversity: float = 0.0
    recency: float | None = None

    def n_ranked(self, k: int, n_items: int) -> int:
        """Return how many of the best items must be known for a list of ``k``."""
        return min(max(POOL, 2 * k) if self.diversity else k, n_items)


AS_LEARNED = Taste()


def checked_taste(popularity: Any, diversity: Any, recency: Any, users: str) -> Taste:
    """Check the wishes of a request.

    Args:
        popularity: As in :class:`Taste`, of any type.
        diversity: Likewise.
        recency: Likewise.
        users: The user model: only histories have a recency.

    Raises:
        InputError: A value is out of its range, or of another type.
    """
    for name, value in (("popularity", popularity), ("diversity", diversity), ("recency", recency)):
        if name == "recency" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
            raise InputError(f"{name} must be a number from 0 to 1, not {value!r:.40}")
    if recency is not None:
        if users == "embedding":
            raise InputError("recency weighs histories, and an embedding model has none")
        if recency * 8 % 1:
            raise InputError(f"recency must be a multiple of 1/8 (0, 0.125, ..., 1), not {recency}")
    return Taste(float(popularity), float(diversity), None if recency is None else float(recency))


def diversify(
    index: ItemIndex | NeighbourIndex,
    items: IntArray,
    scores: FloatArray,
    k: int,
    diversity: float,
) -> tuple[IntArray, FloatArray]:
    """Choose items one by one for their score and for being unlike those chosen before.

    Maximal marginal relevance (J. Carbonell, J. Goldstein, SIGIR 1998): each time the item of the
    largest ``(1 - diversity) * relevance - diversity * closest``, the better placed of equal ones.
    ``relevance`` is 1 for the best score and 0 for the worst of ``items``; ``closest`` is the
    largest cosine with the row of a chosen item, at least 0. In a model of neighbours alone the row
    of an item is what it adds to others.

    Args:
        index: The item table; the neighbours where that has no weights.
        items: Indices, best first, int64 array of shape [n].
        scores: Their scores, float64 array of shape [n].
        k: Number of items to choose.
        diversity: Above 0, at most 1.

    Returns:
        At most ``k`` items in the order of choice, and their scores.
    """
    if not len(items):
        return items, scores
    spread = scores[0] - scores[-1]
    worth = (1 - diversity) * (scores - scores[-1]) / spread if spread > 0 else np.zeros(len(items))
    order = np.array(sorted(range(len(items)), key=items.tolist().__getitem__))
    rows = index.rows(items[order])
    owners = order[rows.owners]
    lengths = np.sqrt(np.bincount(owners, weights=rows.values * rows.values, minlength=len(items)))
    vector = np.zeros(index.dim)
    closest = np.zeros(len(items))
    chosen: list[int] = []
    for _ in range(min(k, len(items))):
        place = int(np.argmax(worth - diversity * closest))
        chosen.append(place)
        worth[place] = -np.inf
        own = owners == place
        vector[rows.dims[own]] = rows.values[own]
        dots = np.bincount(owners, weights=vector[rows.dims] * rows.values, minlength=len(items))
        vector[rows.dims[own]] = 0.0
        products = lengths * lengths[place]
        cosines = np.divide(dots, products, out=np.zeros(len(items)), where=products > 0)
        np.maximum(closest, cosines, out=closest)
    return items[chosen], scores[chosen]
