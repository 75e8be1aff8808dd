"""Interactions in the numbering of other vocabularies, such as those of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.data.assembly import assemble
from sparserec_np.data.interactions import Interactions
from sparserec_np.vocabulary import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Aligned:
    """Interactions in the numbering of given vocabularies, and counts of what these lack."""

    interactions: Interactions
    """One row for each user of the given vocabulary, those without interactions too."""
    unknown_items: NDArray[np.int64]
    """Number of each user's items that the item vocabulary lacks; int64[n_users]. They still count
    in the denominator of recall."""
    unknown_users: int
    """Number of users that the user vocabulary lacks; their interactions are left out."""
    distinct_unknown_items: int
    """Number of different items that the item vocabulary lacks."""


def align(interactions: Interactions, user_ids: Ids | None, item_ids: Ids) -> Aligned:
    """Number the users and items of interactions by other vocabularies.

    Integer ids and text that reads the same are one id: which of both a file gives depends on the
    other ids in it.

    Args:
        interactions: Interactions in their own numbering.
        user_ids: The vocabulary of users; None keeps the users as they are.
        item_ids: The vocabulary of items.

    Returns:
        The known interactions in the new numbering, times kept, and counts of the others.
    """
    user_ids = interactions.user_ids if user_ids is None else user_ids
    if user_ids is interactions.user_ids and item_ids is interactions.item_ids:
        nothing = np.zeros(len(user_ids), np.int64)
        return Aligned(replace(interactions, report=None), nothing, 0, 0)
    new_item = interactions.item_ids.positions_in(item_ids)
    if user_ids is interactions.user_ids:
        new_user = np.arange(len(user_ids))
    else:
        new_user = interactions.user_ids.positions_in(user_ids)
    users = new_user[interactions.user_of_entry()]
    items = new_item[interactions.items]
    known = (users >= 0) & (items >= 0)
    aligned, _ = assemble(
        users[known],
        items[known],
        user_ids,
        item_ids,
        None if interactions.times is None else interactions.times[known],
    )
    unknown = users[(users >= 0) & (items < 0)]
    return Aligned(
        aligned,
        np.bincount(unknown, minlength=len(user_ids)).astype(np.int64, copy=False),
        int(np.count_nonzero(new_user < 0)),
        int(np.count_nonzero(new_item < 0)),
    )
