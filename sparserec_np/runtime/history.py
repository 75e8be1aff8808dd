"""Histories as a history model sees them: each item once, weighed by its age."""

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
    """The known items of a history.

    Attributes:
        items: Their indices, each once, ascending; int64 array of shape [n].
        weights: What recency makes of their weights, float64 array of shape [n]; None: nothing.
        length: How many they are, or the sum of ``weights`` by ascending age.
    """

    items: IntArray
    weights: FloatArray | None
    length: float


NOBODY = History(np.empty(0, dtype=np.int64), None, 0.0)


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


def take_history(history: IdSequence, item_ids: Ids, recency: float) -> History:
    """Find the items of a history in a model.

    Args:
        history: Ids, the latest last; of one that occurs again the last place counts.
        item_ids: Ids of the model's items.
        recency: As in :func:`age_weights`.

    Raises:
        UnknownIdError: Every item is unknown, or there is none.
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
    for place in reversed(places):
        if place >= 0:
            ages.setdefault(place, len(ages))
    if not ages:
        some = ", ".join(repr(item) for item in list(history)[:3])
        raise UnknownIdError(
            f"the model knows none of the {len(history)} items of the history ({some}"
            f"{', ...' if len(history) > 3 else ''})"
        )
    items = sorted(ages)
    if not recency:
        return History(np.array(items, dtype=np.int64), None, float(len(items)))
    weights = age_weights(len(items), recency)
    length = float(np.cumsum(weights)[-1])  # one after the other; numpy.sum adds in pairs
    own = weights[[ages[item] for item in items]]
    return History(np.array(items, dtype=np.int64), own, length)
