"""Histories as a history model sees them: each item once, weighed by its age; dislikes below 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparserec_np.errors import UnknownIdError, UnknownIdWarning
from sparserec_np.runtime.signed_power import signed_power
from sparserec_np.vocabulary import listed

if TYPE_CHECKING:
    from sparserec_np.runtime.item_index import FloatArray, IntArray
    from sparserec_np.vocabulary import Ids, IdSequence


class History(NamedTuple):
    """The known items of a history, and those that are disliked.

    Attributes:
        items: Their indices, each once, ascending; int64 array of shape [n].
        weights: What recency makes of their weights, and -1 for what is disliked; float64 array of
            shape [n]; None: 1 for each.
        length: How many the items of the history are, or the sum of their weights by ascending age.
    """

    items: IntArray
    weights: FloatArray | None
    length: float

    def disliked(self) -> IntArray:
        """Return the indices of what is disliked."""
        return NO_ITEMS if self.weights is None else self.items[self.weights < 0]


NO_ITEMS = np.empty(0, dtype=np.int64)
DISLIKED = -1.0
"""Weight of what is disliked; that of the latest item of a history is 1."""


def age_weights(n: int, recency: float) -> FloatArray:
    """Weigh the items of a history by their age, as ``FORMAT.md`` has it.

    Args:
        n: Items of the history.
        recency: A multiple of 1/8 from 0 to 1.

    Returns:
        ``(age + 1)^-recency`` for the ages 0, that of the latest item, to n - 1; float64 array.
    """
    return np.ones(n) if recency == 0 else signed_power(1.0 / np.arange(1, n + 1), recency)


def warn_unknown(unknown: int, total: int, name: str) -> None:
    """Warn if some ids of a request are unknown."""
    if unknown:
        import warnings

        message = f"{unknown:,} of the {total:,} ids in {name} are unknown to the model"
        warnings.warn(message, UnknownIdWarning, stacklevel=4)


def take_history(
    history: IdSequence, item_ids: Ids, recency: float, disliked: IntArray = NO_ITEMS
) -> History:
    """Find the items of a history in a model.

    Args:
        history: Ids, the latest last; of one that occurs again the last place counts.
        item_ids: Ids of the model's items.
        recency: As in :func:`age_weights`.
        disliked: Indices of items that are disliked, and no part of the history.

    Raises:
        UnknownIdError: Every item is unknown, or there is none, or all are disliked.
        InputError: It is no list, or of ids of another type than the model's.
    """
    history = listed(history, "history", item_ids)
    if not len(history):
        raise UnknownIdError("the history is empty: give at least one item id")
    # np.unique would import numpy.ma: 6 ms and more memory than all the rest of a request.
    places = item_ids.locate(history).tolist()
    unknown = places.count(-1)
    if unknown < len(places):
        warn_unknown(unknown, len(places), "history")
    ages: dict[int, int] = {}
    left_out = {-1, *disliked.tolist()}
    for place in reversed(places):
        if place not in left_out:
            ages.setdefault(place, len(ages))
    if not ages:
        if unknown < len(places):
            raise UnknownIdError("all known items of the history are dislikes: nothing is left")
        some = ", ".join(repr(item) for item in list(history)[:3])
        raise UnknownIdError(
            f"the model knows none of the items of the history ({some}"
            f"{', ...' if len(history) > 3 else ''})"
        )
    if not recency and not len(disliked):
        return History(np.array(sorted(ages), dtype=np.int64), None, float(len(ages)))
    weights = age_weights(len(ages), recency)
    length = float(np.cumsum(weights)[-1])  # one after the other; numpy.sum adds in pairs
    return with_dislikes({item: weights[age] for item, age in ages.items()}, length, disliked)


def with_dislikes(weights: dict[int, float], length: float, disliked: IntArray) -> History:
    """Make a history of weights by item, and of what is disliked, which is in none of these."""
    weights = weights | dict.fromkeys(disliked.tolist(), DISLIKED)
    items = sorted(weights)
    own = np.array([weights[item] for item in items], dtype=np.float64)
    return History(np.array(items, dtype=np.int64), own, length)
